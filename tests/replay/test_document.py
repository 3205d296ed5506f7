"""docs/replay.md says what replays do: its outputs are made anew, its Python runs."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

from vhostspy.message import Message
from vhostspy.replay import Outcome, Script, replay
from vhostspy.replay.edit import load

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/replay.md").read_text("utf-8")


def output(command: str) -> str:
    """What the document shows below a command."""
    found = re.search(rf"^```\n\$ {re.escape(command)}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert found, command
    return found[1].rstrip("\n")


def played(other_size: bool = False) -> Outcome:
    """The recorded front-end before the recorded back-end, whose disk may have another size."""

    def larger(message: Message) -> object:
        if message.name != "GET_CONFIG":
            return None
        config = message.fields["config"]
        return {"config": (4096).to_bytes(8, "little") + config[8:]}

    script = Script.read(ROOT / "captures/s.pcapng")._replace(name="session.pcapng")
    ours, theirs = socket.socketpair()
    back_end = threading.Thread(
        target=lambda: replay(script, "back-end", connect=theirs, timeout_s=5, edit=larger if other_size else None)
    )
    back_end.start()
    outcome = replay(script, "front-end", connect=ours, timeout_s=5)
    back_end.join(10)
    assert not back_end.is_alive()
    return outcome


def test_as_recorded() -> None:
    assert played().text == output("vhostspy replay session.pcapng --as front-end --connect be.sock")


def test_a_mismatch() -> None:
    outcome = played(other_size=True)
    assert outcome.text == output("vhostspy replay session.pcapng --as front-end --connect be2.sock")
    assert outcome.status == 1


def test_the_silent_peer() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        outcome = replay(ROOT / "captures/s.pcapng", "front-end", connect=ours, timeout_s=0.1)
    said = outcome.text.splitlines()
    assert said[0] in TEXT
    assert said[-2] in TEXT


def test_the_example_of_edit(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(def edit.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "rule.py").write_text(code)
    edit = load(tmp_path / "rule.py")
    (part,) = Script.read(ROOT / "captures/s.pcapng").parts
    changed = {message.name: edit(message) for message in part.messages if edit(message) is not None}
    assert changed == {"SET_VRING_NUM": {"num": 7}, "SET_VRING_ERR": False}
