"""An index says of every row what a straight run says, whichever row is asked for first."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from vhostspy.index import Index
from vhostspy.message import Message
from vhostspy.rules.engine import Rules

from .straight import Straight, straight

ROOT = Path(__file__).parent.parent.parent
CAPTURES = sorted((ROOT / "captures").glob("*.pcapng"))


def studied(source: Path | bytes, rules: bool = True) -> Index:
    index = Index(source, rules=Rules() if rules else None)
    while index.advance(0.001):
        pass
    return index


def assert_same(index: Index, run: Straight, seed: int = 1) -> None:
    """Every row, in an order that no reader would take."""
    assert index.rows == index.studied == len(run.items)
    rows = list(range(index.rows))
    Random(seed).shuffle(rows)
    for row in rows:
        item = run.items[row]
        assert index.item(row) == item, row
        assert index.sessions(row) == run.sessions[row], row
        assert list(index.asides(row)) == run.asides[row], row
        glance = index.glance(row)
        if isinstance(item, Message):
            assert (glance.no, glance.kind, glance.name, glance.id) == (item.no, item.kind, item.name, item.id)
            assert (glance.size, glance.fds, glance.marks) == (item.size, len(item.fds), item.marks)
            assert glance.awaited == item.awaited
            if item.answers != 0:  # numbers count from 1 where nothing is damaged
                assert glance.latency_ns == item.latency_ns
                assert (glance.partner is not None and glance.partner < row) == (item.answers is not None)
            if item.answers is not None and glance.partner is not None:
                assert index.glance(glance.partner).no == item.answers
                assert index.glance(glance.partner).partner == row
            if item.no and [one.no for one in run.items if isinstance(one, Message)].count(item.no) == 1:
                assert index.row_of(item.no) == row
        else:
            assert (glance.no, glance.kind) == (0, "event")
        assert (glance.session, glance.monotonic_ns) == (item.session, item.monotonic_ns)
        assert glance.severity == max(
            (("", "note", "warning", "error").index(f.severity) for f in item.findings), default=0
        )
    assert list(index.asides(index.rows)) == run.asides[-1]


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_each_row_of_a_recorded_session_is_as_in_a_straight_run(capture: Path) -> None:
    with studied(capture) as index:
        assert_same(index, straight(str(capture), Rules()))
