"""``vhostspy show``, as people call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vhostspy.cli import main
from vhostspy.output.stream import Output, wants_colour

from .captures import FEATURES, OWNER, recording, small

Printed = pytest.CaptureFixture[str]

LINES = [
    "                 ── vhostspy begins to relay",
    "                 ── session 1 begins",
    "   1   0.000000     0 ns  main     → front-end  SET_OWNER",
    "   2   0.001000   1.0 ms  main     → front-end  GET_FEATURES",
    "   3   0.002000   1.0 ms  main     ← back-end   GET_FEATURES              0x140000000  ↩ #2 1.0 ms",
    "       0.003000  ── session 1 ends",
    "       0.004000  ── the capture is complete",
]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return small(tmp_path / "small.pcapng")


def test_the_lines_and_the_summary(capture: Path, capsys: Printed) -> None:
    assert main(["show", str(capture)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[: len(LINES)] == LINES
    assert printed.out.splitlines()[len(LINES) : len(LINES) + 2] == ["", "3 messages, 2.0 ms"]
    assert printed.err == ""


def test_without_the_summary(capture: Path, capsys: Printed) -> None:
    assert main(["show", str(capture), "--no-summary"]) == 0
    assert capsys.readouterr().out.splitlines() == LINES


def test_json(capture: Path, capsys: Printed) -> None:
    assert main(["show", "--json", str(capture)]) == 0
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [value.get("message") or value.get("event") for value in values] == [
        "start", "open", "SET_OWNER", "GET_FEATURES", "GET_FEATURES", "close", "end", "summary",
    ]  # fmt: skip


def test_members_octets_and_filter(capture: Path, capsys: Printed) -> None:
    assert main(["show", str(capture), "-v", "-x", "-Y", "reply", "--no-summary"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        LINES[4].replace("  1.0 ms", "  2.0 ms", 1),
        "      id 1, flags 0x5, 8 bytes of payload",
        "      features  0x140000000  PROTOCOL_FEATURES, VERSION_1",
        "      0000  01 00 00 00 05 00 00 00  08 00 00 00 00 00 00 40  ...............@",
        "      0010  01 00 00 00                                       ....",
    ]


def test_a_filter_that_cannot_be_read(capture: Path, capsys: Printed) -> None:
    assert main(["show", str(capture), "-Y", "mesage == X"]) == 2
    assert capsys.readouterr() == (
        "",
        "vhostspy show: -Y: there is no mesage (at character 1); did you mean message?\nmesage == X\n^\n",
    )


def test_a_device_that_there_is_not(capture: Path, capsys: Printed) -> None:
    assert main(["show", str(capture), "--device", "blok"]) == 2
    said = "--device: there is no device 'blok' (did you mean block?); vhostspy show --help tells more"
    assert capsys.readouterr().err == f"vhostspy show: {said}\n"


def test_a_device_by_its_other_name(capture: Path, capsys: Printed) -> None:
    assert main(["show", str(capture), "--device", "blk"]) == 0
    assert "  device     block" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (None, "No such file or directory"),
        (b"", "an empty file, not a capture"),
        (b"#!/bin/sh\necho hello\n", "not a capture"),
        (b"\xd4\xc3\xb2\xa1" + bytes(20), "a classic pcap file"),
    ],
)
def test_what_is_no_capture_is_wrong_use(octets: bytes | None, said: str, tmp_path: Path, capsys: Printed) -> None:
    path = tmp_path / "file"
    if octets is not None:
        path.write_bytes(octets)
    assert main(["show", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"vhostspy show: {path}: {said}")
    assert printed.err.count("\n") == 1


def test_a_capture_that_stops_in_a_record_is_shown_to_there(capture: Path, capsys: Printed) -> None:
    capture.write_bytes(capture.read_bytes()[:-10])
    assert main(["show", str(capture), "--no-summary"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == LINES[:-1]
    assert "the capture stops" in printed.err


def test_what_is_before_damage_is_shown(capture: Path, capsys: Printed) -> None:
    octets = bytearray(capture.read_bytes())
    start = 0
    while (end := start + int.from_bytes(octets[start + 4 : start + 8], "little")) <= octets.index(FEATURES):
        start = end
    octets[start + 4 : start + 8] = b"\xff\xff\xff\x7f"
    capture.write_bytes(octets)
    assert main(["show", str(capture), "--no-summary"]) == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        *LINES[:4],
        "       0.001000  ── GET_FEATURES #2 unanswered when the capture ends",
    ]
    assert printed.err.startswith(f"vhostspy show: {capture}: octet {start}: ")


def test_standard_input(capture: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vhostspy", "show", "-", "--no-summary"],
        input=capture.read_bytes(), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.decode().splitlines() == LINES
    assert done.stderr == b""


@pytest.mark.parametrize("options", [[], ["--json"], ["-v", "-x"]])
def test_who_closes_standard_output_has_seen_enough(options: list[str], tmp_path: Path) -> None:
    path = tmp_path / "many.pcapng"
    with recording(path) as recorded:
        for _ in range(20_000):
            recorded.says(0, OWNER)
    program = [sys.executable, "-m", "vhostspy", "show", str(path), *options]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_without_standard_output_nothing_is_printed(capture: Path) -> None:
    program = f"exec {sys.executable} -m vhostspy show {capture} >&-"
    done = subprocess.run(["sh", "-c", program], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


class Terminal:
    def __init__(self) -> None:
        self.written: list[str] = []
        self.flushes = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.written.append(text)

    def flush(self) -> None:
        self.flushes += 1


@pytest.mark.parametrize(
    ("variables", "colour"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
    ],
)
def test_colour_is_for_terminals_that_have_it(
    variables: dict[str, str], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert wants_colour(Terminal()) is colour  # type: ignore[arg-type]


def test_lines_are_written_in_large_pieces() -> None:
    terminal = Terminal()
    output = Output(terminal)  # type: ignore[arg-type]
    for _ in range(3):
        output.write("x" * 30_000)
    assert [len(piece) for piece in terminal.written] == [90_000]
    output.write("y")
    output.flush()
    assert (terminal.written[-1], terminal.flushes) == ("y", 1)
