"""The live view: a process that follows the relay's capture, and ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import IO

import pytest

from .captures import FEATURES, GET_FEATURES, OWNER, SECOND, Recorded, recording

TIMEOUT_S = 60


class View:
    """A view of the capture at ``path``, and our end of its pipes."""

    def __init__(self, path: Path, *options: str) -> None:
        capture = os.open(path, os.O_RDONLY)
        alive, self._alive = os.pipe()
        self.consumed, consumed = os.pipe()
        words = ["--fd", str(capture), "--alive", str(alive), "--consumed", str(consumed)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vhostspy", "_view", *words, *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(capture, alive, consumed),
        )  # fmt: skip
        for fd in (capture, alive, consumed):
            os.close(fd)

    @property
    def out(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def line(self) -> str:
        return self.out.readline().decode().rstrip("\n")

    def relay_ends(self) -> None:
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1

    def rest(self) -> tuple[bytes, bytes]:
        """What else it writes to both outputs, and nothing must be left running."""
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        return out, err

    def close(self) -> None:
        self.relay_ends()
        os.close(self.consumed)
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Recorded]:
    with recording(tmp_path / "live.pcapng", monotonic_ns() - 10 * SECOND) as recorded:
        yield recorded


@pytest.fixture
def path(growing: Recorded, tmp_path: Path) -> Path:
    growing.flush()
    return tmp_path / "live.pcapng"


def test_it_shows_what_has_come_and_ends_with_the_capture(growing: Recorded, path: Path) -> None:
    view = View(path)
    try:
        growing.says(0, OWNER)
        growing.flush()
        assert view.line() == "   1   0.000000     0 ns  main     → front-end  SET_OWNER"
        growing.says(0, GET_FEATURES)
        growing.says(1, FEATURES)
        growing.flush()
        assert "GET_FEATURES" in view.line()
        assert "↩ #2 1.0 ms" in view.line()
        growing.event("end", session=0, text="the capture is complete")
        growing.flush()
        out, err = view.rest()
        assert out.decode().splitlines()[:3] == [
            "       0.003000  ── the capture is complete",
            "",
            "3 messages, 2.0 ms",
        ]
        assert (err, view.process.returncode) == (b"", 0)
    finally:
        view.close()


def test_it_ends_with_the_relay_and_shows_all_that_was_written(growing: Recorded, path: Path) -> None:
    view = View(path, "--no-summary")
    try:
        growing.says(0, OWNER)
        growing.flush()
        assert view.line()
        growing.says(0, GET_FEATURES)
        growing.flush()
        view.relay_ends()
        out, err = view.rest()
        assert [line.split()[-1] for line in out.decode().splitlines() if "→" in line] == ["GET_FEATURES"]
        assert (err, view.process.returncode) == (b"", 0)
    finally:
        view.close()


def test_silence_is_shown_while_it_lasts(growing: Recorded, path: Path) -> None:
    growing.event("open", text="session 1 begins")
    growing.says(0, GET_FEATURES)  # ten seconds ago
    growing.flush()
    view = View(path)
    try:
        seen = [view.line() for _ in range(4)]
        assert seen[2] == "       1.000000  ── GET_FEATURES #1 unanswered for 1.0 s"
        assert seen[3] == "       2.000000  ── GET_FEATURES #1 unanswered for 2.0 s"
    finally:
        view.close()


def test_interrupts_are_for_the_relay(growing: Recorded, path: Path) -> None:
    view = View(path)
    try:
        growing.says(0, OWNER)
        growing.flush()
        assert view.line()
        view.process.send_signal(signal.SIGINT)
        view.process.send_signal(signal.SIGTERM)
        growing.says(0, GET_FEATURES)
        growing.flush()
        assert "GET_FEATURES" in view.line()
        view.relay_ends()
        view.rest()
        assert view.process.returncode == 0
    finally:
        view.close()


def test_it_says_how_far_it_has_read(growing: Recorded, path: Path) -> None:
    view = View(path)
    try:
        growing.says(0, OWNER)
        growing.flush()
        offset, until = 0, monotonic() + TIMEOUT_S
        while offset < path.stat().st_size:
            assert monotonic() < until
            offset = int.from_bytes(os.read(view.consumed, 8), "little")
        assert offset == path.stat().st_size
    finally:
        view.close()


def test_a_copy_is_the_capture_itself(growing: Recorded, path: Path) -> None:
    view = View(path, "--copy")
    try:
        begun = path.read_bytes()
        assert view.out.read(len(begun)) == begun
        growing.says(0, OWNER)
        growing.flush()
        more = path.read_bytes()[len(begun) :]
        assert view.out.read(len(more)) == more
        # a record that is being filled: its type is still 0
        with path.open("ab") as file:
            file.write(bytes(4) + (64).to_bytes(4, "little") + bytes(56))
        view.relay_ends()
        assert view.rest() == (b"", b"")
        assert view.process.returncode == 0
    finally:
        view.close()


@pytest.mark.parametrize("option", ["--copy", "--json"])
def test_a_closed_output_ends_it_quietly(option: str, growing: Recorded, path: Path) -> None:
    view = View(path, option)
    try:
        view.out.close()
        view.process.stdout = None
        growing.says(0, OWNER)
        growing.flush()
        assert view.process.wait(TIMEOUT_S) == 0
        assert view.process.stderr is not None
        assert view.process.stderr.read() == b""
        view.process.stderr.close()
    finally:
        view.process.stdout = view.process.stdout or open(os.devnull, "rb")  # noqa: SIM115
        view.close()


def test_a_report_is_written_whether_somebody_looks_or_not(growing: Recorded, path: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    view = View(path, "--validate", "--junit", str(report))
    try:
        view.out.close()
        growing.says(0, OWNER)
        growing.flush()
        view.relay_ends()
        assert view.process.wait(TIMEOUT_S) == 0
        assert report.read_text().startswith("<?xml")
    finally:
        view.close()
