"""The benchmark of replays runs, and what it replays is as recorded. Its times are nobody's business here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.needs("cc")
def test_a_round_of_one_capture() -> None:
    command = [sys.executable, "-m", "benchmarks.replaying", "--rounds", "1", "s"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    # 1: slower than the goal, as a busy machine may be
    assert done.returncode in (0, 1), done.stderr
    assert "set-up of s (28 messages), back-end in C" in done.stdout, done.stderr
