"""Feature bits in people's views: called by what their device calls them, as soon as it can be told which that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from vhostspy.cli import main
from vhostspy.output.members import UNNAMED
from vhostspy.output.naming import MOST_WAITING
from vhostspy.output.printer import Printer, Show
from vhostspy.output.text import Look

from ..pipeline.conversation import Conversation, features

COMMON = 1 << 30 | 1 << 32
#: of a block device: SIZE_MAX, SEG_MAX, BLK_SIZE; the last two together no other device has
BLOCK = COMMON | 1 << 1 | 1 << 2 | 1 << 6
#: of a graphics device: VIRGL and EDID, which say nothing alone
GPU = COMMON | 0b11
CONFIG = {"offset": 0, "length": 16, "config_flags": 0, "config": bytes(16)}
ROOT = Path(__file__).parents[2]


def shown(conversation: Conversation, patient: bool = True, json: bool = False) -> list[str]:
    """What is there after each record."""
    again = Conversation(step=0)
    again.pipeline.sessions.clear()
    written: list[str] = []
    printer = Printer(Show(json, Look(verbose=True), None, False, patient=patient), again.pipeline, written.append)
    after = []
    for record in conversation.records:
        printer.items(again.pipeline.feed(record))
        after.append("".join(written))
        written.clear()
    printer.end()
    return [*after, "".join(written)]


def offered(lines: str) -> list[str]:
    """The lines of the members called features."""
    found = lines.splitlines()
    return [line.strip() for at, line in enumerate(found) if "  features  " in line or UNNAMED in line]


@pytest.mark.parametrize("patient", [True, False])
def test_the_offer_itself_may_tell_the_device(patient: bool) -> None:
    conversation = Conversation()
    conversation.ask("GET_FEATURES", {"features": BLOCK})
    *_, offer, rest = shown(conversation, patient)
    assert offered(offer) == ["features  0x140000046  SIZE_MAX, SEG_MAX, BLK_SIZE, PROTOCOL_FEATURES, VERSION_1"]
    assert rest == ""


def told_later() -> Conversation:
    conversation = Conversation()
    features(conversation, GPU)
    conversation.ask("GET_CONFIG", CONFIG, **CONFIG)
    conversation.front_end("RESET_OWNER")
    return conversation


def test_lines_wait_until_it_shows() -> None:
    before = shown(told_later(), patient=False)
    after = shown(told_later())
    named = "features  0x140000003  VIRGL, EDID, PROTOCOL_FEATURES, VERSION_1"
    assert offered("".join(after)) == [named, named]
    assert offered("".join(before)) == [named.replace("VIRGL, EDID", "bit 0, bit 1"), UNNAMED] * 2

    # nothing is lost, put into another order, or of another time
    def kept(lines: list[str]) -> list[str]:
        return [line for line in "".join(lines).splitlines() if line.startswith("  ") and line[3].isdigit()]

    assert kept(after) == kept(before)
    assert [len(lines) for lines in after[2:-3]] == [0] * len(after[2:-3])
    assert after[-3] and after[-2] and not after[-1]


def test_it_may_never_show() -> None:
    conversation = Conversation()
    features(conversation, GPU)
    after = shown(conversation)
    assert offered(after[-1]) == ["features  0x140000003  bit 0, bit 1, PROTOCOL_FEATURES, VERSION_1", UNNAMED] * 2
    conversation.event("close", text="session 1 ends")
    *_, closing, rest = shown(conversation)
    assert "session 1 ends" in closing and not rest


def test_not_much_is_kept_back() -> None:
    conversation = Conversation()
    features(conversation, GPU)
    for _ in range(MOST_WAITING):
        conversation.front_end("SET_VRING_NUM", index=0, num=64)
    after = shown(conversation)
    longest = max(len(lines.splitlines()) for lines in after)
    assert [bool(lines) for lines in after].count(False) == MOST_WAITING - 1 + 1  # and nothing is left for the end
    assert longest > MOST_WAITING


def test_no_bit_that_a_device_has_is_waited_for() -> None:
    conversation = Conversation()
    features(conversation, COMMON)
    *lines, rest = shown(conversation)
    assert all(lines) and not rest and UNNAMED not in "".join(lines)


def test_json_says_what_was_known_when_it_came() -> None:
    conversation = told_later()
    after = shown(conversation, json=True)
    assert all(after[:-1])
    assert '"names": {"features": ["bit 0", "bit 1", "PROTOCOL_FEATURES", "VERSION_1"]}' in after[2]


@pytest.mark.parametrize(("capture", "name"), [("c", "SIZE_MAX"), ("gpu-sid", "EDID")])
def test_one_message_alone(capture: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(ROOT / f"captures/{capture}.pcapng"), "--at", "2", "-v"]) == 0
    message = capsys.readouterr().out.partition("\n\n")[0]
    assert name in message and "bit " not in message
