"""The benchmark runs, and finds every descriptor and message where it belongs. Its times are nobody's business here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.needs("cc")
def test_a_quick_run_misplaces_and_loses_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ladder", "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("misplaced descriptors: 0 in ") for line in lines), done.stdout
    chunks = next(line for line in lines if line.startswith("misplaced by a relay of chunks"))
    assert int(chunks.rpartition(" ")[2]) > 0
