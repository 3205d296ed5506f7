"""Each recorded session, both sides played to each other: two replays of one capture agree with it, and so with real
programs' every message, channel and descriptor.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from vhostspy.message import Message
from vhostspy.replay import Outcome, Script, replay

CAPTURES = Path(__file__).parents[2] / "captures"


def both(script: Script) -> tuple[Outcome, Outcome]:
    """Front-end and back-end of the script's only session, connected to each other."""
    ours, theirs = socket.socketpair()
    outcomes: list[Outcome] = []

    def run() -> None:
        outcomes.append(replay(script, "back-end", connect=theirs, timeout_s=5))

    thread = threading.Thread(target=run)
    thread.start()
    outcome = replay(script, "front-end", connect=ours, timeout_s=5)
    thread.join(20)
    assert not thread.is_alive()
    return outcome, outcomes[0]


@pytest.mark.parametrize("capture", sorted(path.stem for path in CAPTURES.glob("*.pcapng")))
def test_both_sides_of_a_capture_agree(capture: str) -> None:
    script = Script.read(CAPTURES / f"{capture}.pcapng")
    for part in script.parts:
        front, back = both(script.session([part.number]))
        # what the relay's policy offered was not the back-end's, and is to be told: its front-end saw another word
        offered = [one for one in part.messages if one.original is not None]
        found = [one.member for each in front.mismatches for one in each.differences]
        assert found == ["protocol_features.INFLIGHT_SHMFD"] * len(offered), front.text
        assert len(front.mismatches) == len(offered), front.text
        assert back.status == 0, back.text
        assert said(front, 0) == said(back, 0)
        assert said(front, 1) == said(back, 1)
        assert not front.failure
        # each message of the record came again, on its channel
        recorded = [one for one in part.messages if not one.dropped]
        assert len(front.sessions[0].messages) == len(recorded)


def said(outcome: Outcome, sender: int) -> dict[tuple[str, int], list[tuple[bytes, int]]]:
    """What one end said on each channel, and with how many descriptors."""
    found: dict[tuple[str, int], list[tuple[bytes, int]]] = {}
    for message in outcome.sessions[0].messages:
        if message.sender == sender:
            found.setdefault(channel(message), []).append((message.data, len(message.fds)))
    return found


def channel(message: Message) -> tuple[str, int]:
    return message.channel, message.channel_no
