"""Files that commands write besides what they print: what is in their way is told before any work is done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vhostspy.arguments import kept_apart, write_file
from vhostspy.cli import main
from vhostspy.errors import Failure, WrongUse

from .captures import small

#: by the commands that have them; FILE is the capture, OUT what is written
OPTIONS = [
    ("show FILE --junit", "vhostspy show: --junit: "),
    ("check FILE --junit", "vhostspy check: --junit: "),
    ("check FILE --write-baseline", "vhostspy check: --write-baseline: "),
    ("diff FILE FILE --junit", "vhostspy diff: --junit: "),
    ("replay FILE --as front-end --connect nobody.sock --junit", "vhostspy replay: --junit: "),
    ("replay FILE --as front-end --connect nobody.sock -w", "vhostspy replay: -w/--write: "),
    ("demo --keep", "vhostspy demo: --keep: "),
    ("--listen a.sock --connect b.sock --junit", "vhostspy: --junit: "),
    ("--listen a.sock --connect b.sock -w", "vhostspy: -w "),
]
every_option = pytest.mark.parametrize(("words", "begin"), OPTIONS)

Output = pytest.CaptureFixture[str]


@pytest.fixture
def capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return small(tmp_path / "capture")


def refused(words: str, path: str, capsys: Output) -> str:
    """Try it: nothing is done or printed, and one sentence says why."""
    before = set(os.listdir())
    assert main([*words.replace("FILE", "capture").split(), path]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n"), set(os.listdir())) == ("", 1, before)
    return said.err


@every_option
@pytest.mark.parametrize(
    ("path", "why"),
    [("missing/out", "No such file or directory"), ("capture/out", "Not a directory"), (".", "s a directory")],
)
def test_a_place_where_nothing_can_be_written(
    words: str, begin: str, path: str, why: str, capture: Path, capsys: Output
) -> None:
    said = refused(words, path, capsys)
    assert said.startswith(f"{begin}{path}: ") and why in said


@every_option
def test_a_name_that_is_none(words: str, begin: str, capture: Path, capsys: Output) -> None:
    assert refused(words, "", capsys).startswith(begin)


@pytest.mark.parametrize(("read_only_system", "why"), [(False, "Permission denied"), (True, "Read-only file system")])
def test_a_folder_that_cannot_be_written(
    read_only_system: bool, why: str, capture: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stands(path: str) -> os.statvfs_result:
        return os.statvfs_result([0] * 8 + [os.ST_RDONLY if read_only_system else 0, 255])

    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    monkeypatch.setattr(os, "statvfs", stands)
    assert why in refused("check FILE --junit", "out", capsys)


@pytest.mark.parametrize(
    "words",
    [
        "show FILE --junit FILE",
        "check FILE --junit ./FILE",
        "check FILE --junit out --write-baseline out",
        "diff FILE FILE --junit FILE",
        "replay FILE --as front-end --connect nobody.sock -w FILE",
        "replay FILE --as front-end --connect nobody.sock -w out --junit out",
        "--listen a.sock --connect b.sock -w out --junit out",
    ],
)
def test_what_would_be_written_over_is_kept(words: str, capture: Path, capsys: Output) -> None:
    octets = capture.read_bytes()
    begin, last = words.rsplit(" ", 1)
    assert "would be lost" in refused(begin, last.replace("FILE", "capture"), capsys)
    assert capture.read_bytes() == octets


def test_devices_and_pipes_may_be_named(tmp_path: Path) -> None:
    kept_apart({"--junit": "/dev/null", "-w": "/dev/null"}, ["/dev/null", str(tmp_path)])
    with pytest.raises(WrongUse):
        kept_apart({"--junit": "a", "-w": "./a"})


def test_what_fails_only_in_the_end_is_a_failure_of_the_system() -> None:
    with pytest.raises(Failure, match="^--junit /dev/full: No space left on device$"):
        write_file("--junit", "/dev/full", "text")
