"""Where what is printed goes, of each command: who closes it has seen enough, and what was found out still counts."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

C, G, BROKEN = "captures/c.pcapng", "captures/g.pcapng", "captures/gpu-sid.pcapng"
#: what each command ends with, whether all it prints is read or nothing
STATUSES = [
    ("--version", 0),
    ("show --help", 0),
    (f"show {BROKEN} --validate", 0),
    (f"show {C} --at 5", 0),
    (f"check {C}", 0),
    (f"check {C} {BROKEN}", 1),
    (f"check {BROKEN} --json", 1),
    (f"diff {C} {C}", 0),
    (f"diff {C} {G}", 1),
    (f"diff {C} {G} --json", 1),
    ("explain", 0),
    ("explain nothing-of-that-name", 2),
    ("replay --corpus", 0),
    ("rings captures/c.pcapng", 2),
    ("wireshark", 0),
    ("demo", 0),
]
every_command = pytest.mark.parametrize(("words", "status"), STATUSES)


def run(folder: Path, words: str, stdout: int | None, closed: tuple[int, ...] = ()) -> tuple[int, str]:
    """Exit status, and what was said on standard error. ``closed``: descriptors that it has none of."""

    def close() -> None:
        for fd in closed:
            os.close(fd)

    done = subprocess.run(
        [sys.executable, "-m", "vhostspy", *words.split()], cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout,
        stderr=subprocess.PIPE, preexec_fn=close, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr.decode()


def on_a_terminal(folder: Path, words: str) -> list[str]:
    """The lines it writes to a terminal, without colour."""
    ours, its = os.openpty()
    environment = {**os.environ, "TERM": "dumb"}
    with subprocess.Popen(
        [sys.executable, "-m", "vhostspy", *words.split()], cwd=folder, stdout=its, stderr=its, env=environment
    ):
        os.close(its)
        said = b""
        with suppress(OSError):  # the other side was closed
            while data := os.read(ours, 65536):
                said += data
    os.close(ours)
    return said.decode().splitlines()


def pipe_without_a_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@every_command
def test_the_status_is_the_same_when_nobody_reads(words: str, status: int, checkout: Path) -> None:
    pipe = pipe_without_a_reader()
    try:
        found, said = run(checkout, words, pipe)
    finally:
        os.close(pipe)
    assert found == status
    assert bool(said) == (status > 1), said  # a sentence is for what could not be done


@every_command
def test_the_status_is_the_same_without_any_output(words: str, status: int, checkout: Path) -> None:
    assert run(checkout, words, None, closed=(1, 2)) == (status, "")


@pytest.mark.parametrize("words", ["--version", f"show {C}", f"check {C}", f"diff {C} {G}", "explain net", "demo"])
def test_an_output_that_is_full_is_told(words: str, checkout: Path) -> None:
    with open("/dev/full", "wb") as full:
        status, said = run(checkout, words, full.fileno())
    assert (status, said.count("\n")) == (3, 1)
    assert said.endswith("No space left on device\n")


@pytest.mark.parametrize(
    "words",
    [
        f"show {C} --junit FILE",
        f"check {BROKEN} --junit FILE",
        f"check {BROKEN} --write-baseline FILE",
        f"diff {C} {G} --junit FILE",
        "demo --keep FILE",
    ],
)
def test_what_goes_into_a_file_does_not_need_a_reader(words: str, checkout: Path, tmp_path: Path) -> None:
    file, pipe = tmp_path / "file", pipe_without_a_reader()
    try:
        run(checkout, words.replace("FILE", str(file)), pipe)
    finally:
        os.close(pipe)
    assert file.stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "heading"),
    [
        (f"show {C}", True),
        (f"show {C} -v --no-summary", True),
        (f"show {C} --at 5", True),
        (f"show {C} --json", False),
        (f"show {C} --at 5 --json", False),
        (f"check {C}", False),
    ],
)
def test_on_a_terminal_the_columns_have_a_heading(words: str, heading: bool, checkout: Path) -> None:
    first = on_a_terminal(checkout, words)[0]
    assert (first.split() == ["#", "time", "Δ", "channel", "from", "message", "info"]) == heading
