"""Captures of real programs that begin in the middle, end early, have a hole, or lost a channel.

Nothing is an error then that is none in the whole capture: what was not seen is not judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from vhostspy.capture.reader import Reader
from vhostspy.capture.record import EVENT, MESSAGE, Record
from vhostspy.message import Finding
from vhostspy.pipeline import Pipeline
from vhostspy.rules.catalogue import BY_ID
from vhostspy.rules.engine import Rules

CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*.pcapng"))
#: cuts of one capture; `make fuzz` tries every place
FEW, ALL = 20, 100_000
every_place = pytest.mark.parametrize("most", [FEW, pytest.param(ALL, marks=pytest.mark.fuzz)])
#: records that a hole takes
HOLE = 3

#: rules that found something; which message it is of may depend on what came before, where a thing is told once
Wrong = set[str]


def findings(records: Iterable[Record]) -> Iterable[Finding]:
    pipeline = Pipeline(rules=Rules())
    for record in records:
        for item in pipeline.feed(record):
            yield from item.findings
    for event in pipeline.finish():
        yield from event.findings


def wrong(records: Iterable[Record]) -> Wrong:
    """Errors; and warnings of rules that weigh the same whoever breaks them, as who it is may not be seen any more."""
    return {
        one.rule
        for one in findings(records)
        if one.severity == "error" or one.severity == "warning" and not BY_ID[one.rule].bends
    }


def read(path: Path) -> list[Record]:
    with Reader(path) as reader:
        return list(reader)


def gap(after: Record) -> Record:
    data = json.dumps({"event": "gap", "text": "records are missing"}).encode()
    return after._replace(kind=EVENT, number=0, session=0, channel="", channel_no=0, sender=2, data=data, fds=())


@pytest.fixture(scope="module", params=CAPTURES, ids=lambda path: path.stem)
def capture(request: pytest.FixtureRequest) -> tuple[list[Record], Wrong]:
    records = read(request.param)
    return records, wrong(records)


def cuts(records: list[Record], most: int) -> range:
    return range(1, len(records), max(1, len(records) // most))


@every_place
def test_the_beginning_is_missing(capture: tuple[list[Record], Wrong], most: int) -> None:
    records, whole = capture
    for cut in cuts(records, most):
        assert wrong(records[cut:]) <= whole, f"cut at {cut}"


@every_place
def test_the_end_is_missing(capture: tuple[list[Record], Wrong], most: int) -> None:
    records, whole = capture
    for cut in cuts(records, most):
        assert wrong(records[:cut]) <= whole, f"cut at {cut}"


@every_place
def test_there_is_a_hole(capture: tuple[list[Record], Wrong], most: int) -> None:
    records, whole = capture
    for cut in cuts(records, most):
        assert wrong([*records[:cut], gap(records[cut]), *records[cut + HOLE :]]) <= whole, f"a hole at {cut}"


@every_place
def test_messages_were_filtered_out(capture: tuple[list[Record], Wrong], most: int) -> None:
    """By another program: nothing says so but the numbers that are left out."""
    records, whole = capture
    for cut in cuts(records, most):
        left = [one for one in records[cut : cut + HOLE] if one.kind == EVENT]
        if all(one.kind != MESSAGE for one in records[cut + HOLE :][:1]):
            continue  # no number follows at once that would tell
        assert wrong([*records[:cut], *left, *records[cut + HOLE :]]) <= whole, f"a hole at {cut}"


def test_a_channel_is_missing(capture: tuple[list[Record], Wrong]) -> None:
    records, whole = capture
    for channel in {record.channel for record in records} - {""}:
        others = [one for one in records if one.channel != channel]
        assert wrong(others) <= whole, f"without the channel {channel}"
        # and what says that it began is there
        others = [one for one in records if one.channel != channel or one.kind == EVENT]
        assert wrong(others) <= whole, f"without what passed on the channel {channel}"
