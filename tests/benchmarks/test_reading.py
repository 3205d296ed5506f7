"""The reading benchmark runs, and reads what tshark reads. Its times are nobody's business here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import other, reading
from benchmarks.peers import Failed
from benchmarks.table import Result, as_markdown, as_text, put_into

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.needs("tshark")
def test_a_quick_run_finds_the_same_messages() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.reading", "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for area in ("decode, ", "list of 2,000, ", "JSON, ", "filter, ", "check of 2,000, ", "index of 2,000, "):
        assert any(line.startswith(area) for line in done.stdout.splitlines()), area


@pytest.mark.needs("tshark")
def test_a_message_that_is_read_otherwise_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    captures = reading.write(tmp_path, 30, 20)
    assert reading.compare(captures) == 20
    with pytest.raises(reading.Differs, match="20 messages were written: 30 here, 30 in tshark"):
        reading.compare(captures._replace(few=captures.many))
    monkeypatch.setattr(reading, "ours", lambda *words: ["cat", str(tmp_path / "lines")])
    (tmp_path / "lines").write_text('{"kind": "request", "message": "SET_OWNER", "flags": 1, "size": 8}\n')
    with pytest.raises(reading.Differs, match="message 1: SET_OWNER here, SET_OWNER with flags 0x00000001, size 0"):
        reading.compare(captures)


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no such"):
        reading.cost([sys.executable, "-c", "import sys; print('no such', file=sys.stderr); sys.exit(2)"], tmp_path)
    assert reading.cost([sys.executable, "-c", "pass"], tmp_path) > 0
    with pytest.raises(Failed, match="finds nothing"):
        nowhere = str(ROOT / "captures" / "s.pcapng")
        other.run([sys.executable, "-m", "benchmarks.other", "search", nowhere, "message == SEND_RARP"], tmp_path)
    assert other.run([sys.executable, "-m", "benchmarks.other", "peak", "--version"], tmp_path) > 1


RESULTS = [
    Result("faster", (50.0, 30.0, 41.0), 40, 80, at_least=True),
    Result("beyond", (90.0,), 40, 80, at_least=True),
    Result("too slow", (2.0,), 3, None, at_least=True),
    Result("held", (24.0,), 48, 32, unit="MB"),
    Result("for information", (1.0,), None, None),
]


def test_a_table_says_what_was_met() -> None:
    verdicts = ["met", "met, and the stretch", "missed by 33%", "met, and the stretch", "no goal"]
    lines = as_text(RESULTS).splitlines()
    assert lines[0].split() == ["area", "median", "rounds", "bar", "stretch", "verdict"]
    assert [line.rpartition("  ")[2] for line in lines[1:]] == verdicts


def test_figures_are_put_between_their_marks(tmp_path: Path) -> None:
    path = tmp_path / "figures.md"
    path.write_text("a\n<!-- one: begin -->\nold\n<!-- one: end -->\nb\n<!-- two: begin -->\n<!-- two: end -->\nc\n")
    put_into(path, "two", as_markdown(RESULTS[:1], "today"))
    before, _, after = path.read_text().partition("<!-- two: begin -->\n")
    assert before == "a\n<!-- one: begin -->\nold\n<!-- one: end -->\nb\n"
    assert after.startswith("today\n\n| area |") and "| faster | 41 × | 30–50 | ≥ 40 | ≥ 80 | met |" in after
    with pytest.raises(Failed, match="no lines <!-- three: begin -->"):
        put_into(path, "three", "")
