"""``vhostspy show FILE --at N``: one message, and the session right after it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Thread

import pytest

from vhostspy.cli import main

from .captures import small

ROOT = Path(__file__).parent.parent.parent
QEMU = str(ROOT / "captures" / "c.pcapng")

Printed = pytest.CaptureFixture[str]


def test_a_session_as_it_stood(capsys: Printed) -> None:
    assert main(["show", QEMU, "--at", "#26"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ("  26   0.177562   1.5 ms  main     ← back-end   ADD_MEM_REG ack           ok  ↩ #25 1.5 ms")
    assert lines[1:3] == ["", "session 1 after #26"]
    assert "  memory     1 region, 256 MiB" in lines
    assert "  rings      0: no size, call, err, stopped, disabled" in lines
    assert not any("waiting" in line for line in lines)


def test_before_anything_was_agreed_on_there_is_an_offer_only(capsys: Printed) -> None:
    assert main(["show", QEMU, "--at", "3"]) == 0
    printed = capsys.readouterr().out
    assert "  virtio     offered 0x175007e46: SIZE_MAX" in printed
    assert "agreed" not in printed


def test_who_waits(capsys: Printed) -> None:
    assert main(["show", QEMU, "--at", "25"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  waiting    front-end for ADD_MEM_REG #25, since 0 ns"


def test_json(capsys: Printed) -> None:
    assert main(["show", QEMU, "--at", "30", "--json"]) == 0
    message, state = map(json.loads, capsys.readouterr().out.splitlines())
    assert (message["no"], message["message"]) == (30, "SET_VRING_KICK")
    assert (state["event"], state["no"], state["text"]) == ("state", 30, "as of #30")
    (session,) = state["sessions"]
    assert [(ring["index"], ring["started"], ring["enabled"]) for ring in session["rings"]] == [
        (0, True, False),
        (1, False, False),
    ]
    assert session["waiting"] == []


def test_from_a_pipe(tmp_path: Path, capsys: Printed) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(small(tmp_path / "small.pcapng").read_bytes(),))
    writer.start()
    assert main(["show", str(pipe), "--at", "2"]) == 0
    writer.join()
    assert capsys.readouterr().out.splitlines()[-1] == "  waiting    front-end for GET_FEATURES #2, since 0 ns"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--at", "4"], "{}: there is no message #4; the last is #3"),
        (["--at", "0"], "--at: '0' is no message's number; they count from 1; vhostspy show --help tells more"),
        (["--at", "1", "-Y", "reply"], "--at shows one message: there is nothing for -Y to choose"),
    ],
)
def test_wrong_use(words: list[str], said: str, tmp_path: Path, capsys: Printed) -> None:
    capture = small(tmp_path / "small.pcapng")
    assert main(["show", str(capture), *words]) == 2
    assert capsys.readouterr() == ("", f"vhostspy show: {said.format(capture)}\n")


def test_no_capture(tmp_path: Path, capsys: Printed) -> None:
    text = tmp_path / "text"
    text.write_text("this is no capture at all")
    assert main(["show", str(text), "--at", "1"]) == 2
    assert "not a capture" in capsys.readouterr().err
