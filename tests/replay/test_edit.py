"""--edit: what a function of the user's makes of messages before they are sent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vhostspy.demo.back_end import BackEnd
from vhostspy.demo.block import Disk
from vhostspy.demo.numbers import Request
from vhostspy.demo.wire import Connection
from vhostspy.demo.wire import Message as Received
from vhostspy.errors import WrongUse
from vhostspy.message import Message
from vhostspy.replay.edit import edited, load, with_members

from .support import SECTORS, recorded, to_back_end, whole_session

ROOT = Path(__file__).parents[2]


class Notes(BackEnd):
    """Writes down what comes."""

    def __init__(self) -> None:
        super().__init__(Disk(SECTORS))
        self.got: list[tuple[int, bytes]] = []

    def _dispatch(self, main: Connection, message: Received) -> None:
        self.got.append((message.id, message.payload))
        super()._dispatch(main, message)


@pytest.fixture(scope="module")
def capture() -> bytes:
    return recorded(whole_session)


def test_members_are_changed(capture: bytes) -> None:
    back_end = Notes()
    outcome = to_back_end(
        capture, back_end, edit=lambda message: {"num": 32} if message.name == "SET_VRING_NUM" else None
    )
    assert outcome.status == 0, outcome.text
    sizes = [payload[4:] for id, payload in back_end.got if id == Request.SET_VRING_NUM]
    assert sizes == [(32).to_bytes(4, "little")] * 2


def test_nothing_is_sent_and_no_answer_waited_for(capture: bytes) -> None:
    back_end = Notes()
    outcome = to_back_end(capture, back_end, edit=lambda message: message.name != "GET_CONFIG" and None)
    assert outcome.status == 0, outcome.text
    assert Request.GET_CONFIG not in {id for id, _ in back_end.got}
    assert "GET_CONFIG #" in outcome.text and "was left out" in outcome.text


def test_octets_and_lists_of_them(capture: bytes) -> None:
    """SET_OWNER twice, and a word that was not recorded."""
    back_end = Notes()
    to_back_end(capture, back_end, edit=lambda one: [one.data, None] if one.name == "SET_OWNER" else None)
    assert [id for id, _ in back_end.got].count(Request.SET_OWNER) == 2


def test_a_message_of_scapys() -> None:
    """In a process of its own: scapy is loaded by nobody else."""
    script = """
from vhostspy.dissectors.scapy_layers import VHOST_USER_SET_VRING_NUM, VhostUser
from tests.replay.support import recorded, to_back_end, whole_session
from tests.replay.test_edit import Notes

def edit(message):
    if message.name == "SET_VRING_NUM":
        return VhostUser() / VHOST_USER_SET_VRING_NUM(index=message.fields["index"], num=32)

back_end = Notes()
assert to_back_end(recorded(whole_session), back_end, edit=edit).status == 0
print([payload.hex() for id, payload in back_end.got if id == 8])
"""
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "['0000000020000000', '0100000020000000']", found.stderr


def test_a_file(tmp_path: Path, capture: bytes) -> None:
    rule = tmp_path / "rule.py"
    rule.write_text("def edit(message):\n    if message.name == 'SET_VRING_BASE':\n        return {'num': 7}\n")
    back_end = Notes()
    assert to_back_end(capture, back_end, edit=load(rule)).status == 0
    assert {payload[4:] for id, payload in back_end.got if id == Request.SET_VRING_BASE} == {b"\7\0\0\0"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def edit(", "line 1"),
        ("x = 1\n", "has no function edit"),
        (None, "No such file"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "rule.py").write_text(text)
    with pytest.raises(WrongUse, match=said):
        load(tmp_path / "rule.py")


def test_functions_that_cannot_be_used(capture: bytes) -> None:
    with pytest.raises(WrongUse, match="GET_FEATURES #1: ZeroDivisionError"):
        to_back_end(capture, edit=lambda one: 1 / 0)
    with pytest.raises(WrongUse, match="GET_FEATURES #1: 'x' is no message"):
        to_back_end(capture, edit=lambda one: "x")
    with pytest.raises(WrongUse, match="there is no member 'nim'"):
        to_back_end(capture, edit=lambda one: {"nim": 1} if one.name == "SET_VRING_NUM" else None)


def test_the_size_follows(capture: bytes) -> None:
    from vhostspy.replay import Script

    (part,) = Script.read(capture).parts
    message = next(one for one in part.messages if one.name == "SET_CONFIG" or one.name == "GET_CONFIG")
    longer = with_members(message, {"config": bytes(100), "length": 100})
    assert int.from_bytes(longer[8:12], "little") == len(longer) - 12 == 112
    assert edited(None, message) == [message.data]
    assert isinstance(message, Message)
