"""The relay as a process, used wrongly: one sentence, status 2, and nothing that was there is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .harness import listening

CHECKOUT = Path(__file__).parents[2]
#: starting Python on a busy machine
PATIENCE_S = 30


def wrong_use(folder: Path, *words: str) -> str:
    """The one sentence that it ends with, with status 2."""
    done = subprocess.run(
        [sys.executable, "-m", "vhostspy", *words],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=PATIENCE_S,
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
    )
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


WRONG = [
    # what is in the way, further options, words of the sentence
    ("file", [], "is a file, not overwritten"),
    ("directory", [], "is a directory, not overwritten"),
    ("live", [], "somebody listens here already"),
    ("", ["--socket-mode", "9"], "expected three octal digits"),
    ("", ["-w", "{folder}"], "is a directory"),
    ("", ["-w", "{folder}/none/c"], "No such file"),
    ("", ["-w", "{folder}/back"], "socket"),
    ("", ["--mask-features", "NONSENSE"], "NONSENSE is no feature that vhostspy knows"),
    ("", ["--connect", "{folder}/more"], "two sockets are needed"),
    ("", ["--exact-reads", "--mask-features", "3"], "--exact-reads"),
    ("", ["-q"], "nothing would be left to do"),
    ("", ["-w", "-", "--json"], "-w -"),
]


@pytest.mark.parametrize(
    ("there", "options", "words"), WRONG, ids=[f"{one[0]} {' '.join(one[1])}".strip() for one in WRONG]
)
def test_wrong_use_is_one_sentence_and_status_2(folder: Path, there: str, options: list[str], words: str) -> None:
    front = folder / "front"
    with listening(str(folder / "back")), listening(str(folder / "other")):
        match there:
            case "file":
                front.write_text("mine")
            case "directory":
                front.mkdir()
            case "live":
                os.link(folder / "other", front)
        arguments = ["--listen", str(front), "--connect", str(folder / "back")]
        assert words in wrong_use(folder, *arguments, *(option.format(folder=folder) for option in options))
        assert not there or front.exists()
        assert there or not front.exists(), "nothing is left behind"


def test_wrong_use_leaves_an_older_capture_alone(folder: Path) -> None:
    (folder / "front").write_text("in the way")
    (folder / "capture").write_text("of last week")
    with listening(str(folder / "back")):
        wrong_use(
            folder, "--listen", str(folder / "front"), "--connect", str(folder / "back"), "-w", str(folder / "capture")
        )
    assert (folder / "capture").read_text() == "of last week"


def test_the_first_of_two_listening_sockets_goes_again_if_the_second_cannot_be_had(folder: Path) -> None:
    (folder / "back").write_text("in the way")
    wrong_use(folder, "--listen", str(folder / "front"), "--listen", str(folder / "back"))
    assert not (folder / "front").exists()
