"""A recorded front-end is played to a back-end: what it sends, when, with which descriptors, and what it waits for."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from vhostspy.compare import Strictness
from vhostspy.demo import wire
from vhostspy.demo.back_end import BackEnd
from vhostspy.demo.block import Disk
from vhostspy.demo.front_end import FrontEnd
from vhostspy.demo.numbers import VERSION, Request
from vhostspy.demo.wire import Connection
from vhostspy.errors import WrongUse
from vhostspy.message import Message
from vhostspy.replay import Script, replay

from .support import SECTORS, growing_disk, recorded, to_back_end, whole_session

CAPTURES = Path(__file__).parents[2] / "captures"


@pytest.fixture(scope="module")
def capture() -> bytes:
    return recorded(whole_session)


def script(capture: bytes) -> tuple[Message, ...]:
    (part,) = Script.read(capture).parts
    return part.messages


def test_all_of_it_is_sent_as_recorded(capture: bytes) -> None:
    outcome = to_back_end(capture)
    assert outcome.status == 0, outcome.text
    (session,) = outcome.sessions
    ours = [message.data for message in session.messages if message.sender == 0]
    assert ours == [message.data for message in script(capture) if message.sender == 0]
    assert session.matched == sum(message.sender == 1 for message in script(capture))
    assert outcome.text.endswith("capture: as recorded")


def test_an_answer_is_waited_for_where_the_record_has_it_before(capture: bytes) -> None:
    """Whatever came before a message in the record came before it in the replay."""
    outcome = to_back_end(capture)
    live = [(message.name, message.kind, message.sender) for message in outcome.sessions[0].messages]
    was = [(message.name, message.kind, message.sender) for message in script(capture)]
    places: dict[tuple[str | None, str, int], list[int]] = {}
    for at, one in enumerate(live):
        places.setdefault(one, []).append(at)
    seen: dict[tuple[str | None, str, int], int] = {}
    answers_before: list[tuple[int, int]] = []
    for at, one in enumerate(was):
        number = seen[one] = seen.get(one, -1) + 1
        answers_before.append((at, places[one][number]))
    for at, (_, there) in enumerate(answers_before):
        if was[at][2] == 0:
            for earlier, its_place in answers_before[:at]:
                assert was[earlier][2] == 0 or its_place < there


def test_memory_and_rings_are_there(capture: bytes) -> None:
    """The back-end maps what the record's front-end had, and finds its rings empty at their bases."""

    def twice(front_end: FrontEnd, back_end: BackEnd) -> None:
        whole_session(front_end, back_end)
        for index in range(len(front_end.rings)):
            front_end.start_ring(index)

    with_base = recorded(twice)
    found: list[tuple[int, int, int]] = []

    class Looks(BackEnd):
        def _dispatch(self, main: Connection, message: wire.Message) -> None:
            super()._dispatch(main, message)
            for vring in self.rings.rings:
                if vring.ring is not None:
                    found.append((vring.base, vring.ring.available_index(), vring.ring.used_index()))

    outcome = to_back_end(with_base, Looks(Disk(SECTORS)))
    assert outcome.status == 0, outcome.text
    assert {(base, base, base) for base, _, _ in found} == set(found)
    assert {base for base, _, _ in found} == {0, 1}


def test_a_region_that_came_back_is_given_again(capture: bytes) -> None:
    """SET_INFLIGHT_FD carries what GET_INFLIGHT_FD of the replay was answered with."""
    inodes: dict[str, list[int]] = {"GET_INFLIGHT_FD": [], "SET_INFLIGHT_FD": []}

    class Looks(BackEnd):
        def _dispatch(self, main: Connection, message: wire.Message) -> None:
            if message.id == Request.SET_INFLIGHT_FD:
                inodes["SET_INFLIGHT_FD"].append(os.fstat(message.fds[0].fileno()).st_ino)
            super()._dispatch(main, message)
            if message.id == Request.GET_INFLIGHT_FD and self.sharing.inflight is not None:
                inodes["GET_INFLIGHT_FD"].append(os.fstat(self.sharing.inflight.fileno()).st_ino)

    outcome = to_back_end(capture, Looks(Disk(SECTORS)))
    assert outcome.status == 0, outcome.text
    assert inodes["GET_INFLIGHT_FD"] and inodes["GET_INFLIGHT_FD"] == inodes["SET_INFLIGHT_FD"]


def test_the_back_end_channel_is_served_from_the_record() -> None:
    capture = recorded(growing_disk)
    back_end = BackEnd(Disk(SECTORS))
    grown = threading.Event()

    def see(message: Message) -> None:
        if message.name == "SET_STATUS" and message.fields["status"] & 4 and not grown.is_set():
            grown.set()
            back_end.resize(2 * SECTORS)

    outcome = to_back_end(capture, back_end, see=see, timeout_s=5)
    assert outcome.status == 0, outcome.text
    assert back_end.config_acks == [0]
    assert not outcome.sessions[0].notes


def test_what_does_not_come_again_is_said_and_holds_nothing_up() -> None:
    """Nobody lets the disk grow this time: the message is missed, and what the front-end reads then is another size."""
    outcome = to_back_end(recorded(growing_disk))
    assert outcome.status == 1
    assert "went on without CONFIG_CHANGE_MSG" in outcome.text
    (mismatch,) = outcome.mismatches
    assert [one.member for one in mismatch.differences] == ["config.capacity"]


def test_a_request_that_the_record_does_not_have(capture: bytes) -> None:
    class Asks(BackEnd):
        def set_status(self, message: wire.Message) -> None:
            super().set_status(message)
            if self.backend_channel is not None and self.status & 4:
                self.backend_channel.send(6, bytes(16), flags=VERSION | 8)

    outcome = to_back_end(capture, Asks(Disk(SECTORS)))
    assert outcome.status == 1
    assert "SHARED_OBJECT_ADD #" in outcome.text and "the record has no such request" in outcome.text
    outcome = to_back_end(capture, Asks(Disk(SECTORS)), unmatched="close")
    assert outcome.status == 0 and "--unmatched close" in outcome.text


def test_exact_wants_octets_shape_does_not(capture: bytes) -> None:
    """The same disk answers alike; one with another size has the same shape."""
    assert to_back_end(capture, BackEnd(Disk(SECTORS)), strictness=Strictness.SHAPE).status == 0
    assert to_back_end(capture, BackEnd(Disk(2 * SECTORS)), strictness=Strictness.SHAPE).status == 0
    assert to_back_end(capture, BackEnd(Disk(2 * SECTORS)), strictness=Strictness.SEMANTIC).status == 1
    outcome = to_back_end(capture, strictness=Strictness.EXACT)
    # rings that nobody uses do not get on
    assert {one.expected.name for one in outcome.mismatches if one.expected} == {"GET_VRING_BASE"}


def test_only_a_part_of_it(capture: bytes) -> None:
    messages = script(capture)
    set_owner = next(message.no for message in messages if message.name == "SET_OWNER")
    outcome = to_back_end(capture, until_no=set_owner)
    assert outcome.status == 0, outcome.text
    assert outcome.sessions[0].messages[-1].name == "SET_OWNER"
    outcome = to_back_end(capture, keep=lambda message: message.name in ("GET_FEATURES", "GET_QUEUE_NUM"))
    assert [message.name for message in outcome.sessions[0].messages if message.sender == 0] == [
        "GET_FEATURES", "GET_QUEUE_NUM", "GET_FEATURES", "GET_FEATURES",
    ]  # fmt: skip
    outcome = to_back_end(capture, from_no=set_owner, until_no=set_owner)
    assert [message.name for message in outcome.sessions[0].messages] == ["SET_OWNER"]
    with pytest.raises(WrongUse, match="no message to be played"):
        to_back_end(capture, from_no=10**6)


def test_until_the_set_up_is_done(capture: bytes) -> None:
    outcome = to_back_end(capture, until_no="set-up")
    names = [message.name for message in outcome.sessions[0].messages]
    assert names[-1] == "SET_STATUS" and "GET_VRING_BASE" not in names


def test_original_timing_holds_messages_back(capture: bytes) -> None:
    """No gap between two messages of ours is shorter than it was, but for what the clock's steps make of it."""

    def slowly(front_end: FrontEnd, back_end: BackEnd) -> None:
        front_end.get_features()
        threading.Event().wait(0.15)
        front_end.set_owner()

    slow = Script.read(recorded(slowly))
    (part,) = slow.parts
    later = [one._replace(monotonic_ns=one.monotonic_ns + 20_000_000_000) for one in part.messages[2:]]
    slower = slow._replace(parts=(part._replace(messages=(*part.messages[:2], *later)),))
    took = []
    for script, timing in ((slower, "causes"), (slow, "original")):
        outcome = to_back_end(script, timing=timing)
        assert outcome.status == 0, outcome.text
        answer, set_owner = outcome.sessions[0].messages[1:3]
        took.append(set_owner.monotonic_ns - answer.monotonic_ns)
    assert took[0] < 10_000_000_000
    assert took[1] >= 149_000_000


def test_a_long_pause_of_the_record_is_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vhostspy.replay.speaking.SAID_S", 0.1)

    def slowly(front_end: FrontEnd, back_end: BackEnd) -> None:
        front_end.get_features()
        threading.Event().wait(0.15)
        front_end.set_owner()

    said: list[str] = []
    assert to_back_end(recorded(slowly), timing="original", say=said.append).status == 0
    assert [re.sub(r"\d+\.\d+", "N", sentence) for sentence in said] == ["waits N s before SET_OWNER #3, as recorded"]


def test_who_waits_for_a_peer_is_told_once(capture: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vhostspy.replay.meeting.SAID_S", 0.0)
    said: list[str] = []
    for end, path in (("connect", tmp_path / "no.sock"), ("listen", tmp_path / "l.sock")):
        where: Any = {end: path}
        assert replay(capture, "front-end", connect_timeout_s=0.25, say=said.append, **where).status == 3
    assert said == [
        f"{tmp_path}/no.sock: No such file or directory; trying again for 0.25 s more",
        f"{tmp_path}/l.sock: nobody has connected yet; waiting for 0.25 s more",
    ]


def test_a_silent_back_end_is_told_with_the_request_that_stands(capture: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        outcome = replay(capture, "front-end", connect=ours, timeout_s=0.1)
    assert outcome.status == 1
    assert (
        "GET_FEATURES reply #2 from the back-end did not come: GET_FEATURES #1 stands unanswered for 0.1 s"
        in outcome.text
    )
    assert "the back-end did not answer within 0.1 s" in outcome.text


def test_a_back_end_that_reads_no_more_but_stays(capture: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.shutdown(socket.SHUT_RD)
        outcome = replay(capture, "front-end", connect=ours, timeout_s=0.1)
    assert outcome.status == 1
    assert "the back-end takes nothing more before GET_FEATURES #1 and " in outcome.text


def test_nobody_there(capture: bytes, tmp_path: Path) -> None:
    outcome = replay(capture, "front-end", connect=tmp_path / "no.sock", connect_timeout_s=0.05)
    assert outcome.status == 3
    assert "cannot connect within 0.05 s" in outcome.text
    outcome = replay(capture, "front-end", listen=tmp_path / "no.sock", connect_timeout_s=0.05)
    assert outcome.status == 3
    assert "nobody connected within 0.05 s" in outcome.text
    assert not (tmp_path / "no.sock").exists()


def test_octets_that_are_no_message(capture: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(struct.pack("=III", 1, 5, 1 << 30))
        outcome = replay(capture, "front-end", connect=ours, timeout_s=1)
    assert outcome.status == 1
    assert "they begin no message" in outcome.text


def test_what_passed_is_kept_as_a_capture(capture: bytes, tmp_path: Path) -> None:
    """Its numbers are those that mismatches name, and it plays again."""
    kept = tmp_path / "kept.pcapng"
    outcome = to_back_end(capture, write=kept)
    (part,) = Script.read(kept).parts
    assert [(one.no, one.data, len(one.fds)) for one in part.messages] == [
        (one.no, one.data, len(one.fds)) for one in outcome.sessions[0].messages
    ]
    assert to_back_end(kept.read_bytes()).status == 0


def test_several_sessions_one_after_the_other(tmp_path: Path) -> None:
    """A front-end that reconnects, with its in-flight region, to a back-end that was ended twice."""
    capture = CAPTURES / "j.pcapng"
    assert len(Script.read(capture).parts) == 3
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(tmp_path / "be.sock"))
        listener.listen()
        connections = []

        def accept() -> None:
            for _ in range(3):
                connections.append(listener.accept()[0])
                connections[-1].close()

        thread = threading.Thread(target=accept)
        thread.start()
        outcome = replay(capture, "front-end", connect=tmp_path / "be.sock", timeout_s=2)
        thread.join(5)
    assert [session.number for session in outcome.sessions] == [1, 2, 3]
    assert all(session.mismatches for session in outcome.sessions)
