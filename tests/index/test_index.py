"""An index says of every row what a straight run says, whichever row is asked for first."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path
from random import Random
from struct import pack

import pytest

from vhostspy.capture.record import Record
from vhostspy.dissectors import registry
from vhostspy.index import Index
from vhostspy.index.columns import Columns
from vhostspy.index.study import STRIDE
from vhostspy.message import Message
from vhostspy.pipeline import Item, Pipeline
from vhostspy.rules.engine import Rules

from ..output.captures import FEATURES, GET_FEATURES, OWNER, SECOND, recording
from .straight import Straight, straight

ROOT = Path(__file__).parent.parent.parent
CAPTURES = sorted((ROOT / "captures").glob("*.pcapng"))


def vhost_user(request: int, value: int) -> bytes:
    """A request of eight octets."""
    return pack("=IIIQ", request, 1, 8, value)


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


def test_a_row_is_17_octets_and_a_sort_of_message_is_kept_once(tmp_path: Path) -> None:
    with recording(tmp_path / "long.pcapng") as recorded:
        recorded.event("open", text="session 1 begins")
        for _ in range(3 * STRIDE):
            recorded.says(0, GET_FEATURES)
            recorded.says(1, FEATURES)
    with studied(tmp_path / "long.pcapng") as index:
        columns = index.columns
        arrays = [value for name in Columns.__slots__ if isinstance(value := getattr(columns, name), array)]
        arrays.append(columns.time.low)
        assert sum(one.itemsize for one in arrays) + 1 == 17  # one is of octets
        assert {len(one) for one in arrays} == {len(columns.state)} == {6 * STRIDE + 1}
        # six seconds
        assert len(columns.time.turns) == 2
        # that no shape is kept, the event, and two messages
        assert len(columns.shapes) == 4
        assert len(columns.contexts) <= 3
        assert index.sessions(5 * STRIDE)[1].virtio_offered == 0x140000000


def test_columns_become_as_wide_as_a_capture_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "wide.pcapng"
    with recording(path) as recorded:
        others = registry.channel("vhost-user", "main")
        recorded.says(0, GET_FEATURES)
        for number in range(2, 400):
            recorded.at_ns += 3 * SECOND
            # a session, a shape and a context of its own, and none of them answered
            lane = recorded.writer.lane("main", 0, number, 1, "vhost-user", others)
            for octets in (OWNER + bytes(4 * number), vhost_user(2, number), vhost_user(2, number + 1)):
                lane.plain(memoryview(octets), recorded.at_ns, recorded.at_ns)
        recorded.says(1, FEATURES)
    with studied(path) as index:
        columns = index.columns
        wide = columns.session, columns.shape, columns.context, columns.partner
        assert "".join(one.typecode for one in wide) == "HHHh"
        assert index.glance(index.rows - 1).partner == 0
        assert_same(index, straight(str(path), Rules()))


def test_rules_are_made_for_the_first_row_that_is_studied() -> None:
    made = []

    def rules() -> Rules:
        made.append(index.rows)
        return Rules()

    with Index(CAPTURES[0], rules=rules) as index:
        assert index.advance(0)
        assert index.rows and not index.studied and not made
        assert index.glance(0).kind == "event"
        while index.advance(0.01):
            pass
        assert len(made) == 1
        assert_same(index, straight(str(CAPTURES[0]), Rules()))


def test_what_finding_and_studying_rows_took_is_given_back(tmp_path: Path) -> None:
    with recording(tmp_path / "long.pcapng") as recorded:
        for _ in range(STRIDE):
            recorded.says(0, OWNER)
    with studied(tmp_path / "long.pcapng") as index:
        scanner, reader = index._scanner, index._study.reader
        assert not (scanner._forms or scanner._shared or scanner._window or reader._familiar or reader._window)
        assert index.done


def test_a_moment_is_reached_from_the_checkpoint_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with recording(tmp_path / "long.pcapng") as recorded:
        for _ in range(5 * STRIDE):
            recorded.says(0, OWNER)
    with studied(tmp_path / "long.pcapng", rules=False) as index:
        fed: list[int] = []
        feed = Pipeline.feed

        def counted(pipeline: Pipeline, record: Record) -> Iterable[Item]:
            fed.append(record.number)
            return feed(pipeline, record)

        monkeypatch.setattr(Pipeline, "feed", counted)
        index.sessions(4 * STRIDE + 7)
        assert fed == list(range(4 * STRIDE + 1, 4 * STRIDE + 9))
        index.sessions(4 * STRIDE + 3)
        assert len(fed) == 8
