"""What the pipeline says of the rows: who answers whom, what is wrong; and checkpoints, to go back to any moment.

The capture is read a second time from its start, behind the scanner, and fed to one pipeline. What it gives is not kept
but for what columns can hold, findings, and the pipeline itself every thousand rows. A message is then made again from
its record and the columns; the sessions at any row, from the checkpoint before it and the rows between.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import ORIGINAL, Record
from vhostspy.dissectors.codec import Context
from vhostspy.message import SEVERITIES, Event, Finding, Message
from vhostspy.pipeline import Item, Pipeline, Snapshot
from vhostspy.session.state import Session

from .checkpoints import Checkpoints
from .columns import AWAITED, ODD, ROWS, Columns
from .scan import Records

if TYPE_CHECKING:
    from vhostspy.rules.engine import Rules

#: rows between two checkpoints
STRIDE = 1000
#: rows whose findings are kept as they are, and events without a row
MOST_KEPT = 20_000


class Study:
    """``source`` as for the scanner; ``columns`` hold rows that are further on. ``rules``: what makes them, once the
    first row is studied.
    """

    def __init__(
        self, source: str | int | bytes, columns: Columns, device: str | None, rules: Callable[[], Rules | None],
        follow: bool,
    ) -> None:  # fmt: skip
        self.columns = columns
        self.reader = Reader(source, follow=follow)
        self.reader.offset = 0
        self.pipeline = Pipeline(device)
        self._rules: Callable[[], Rules | None] | None = rules
        self._records: Iterator[Record] | None = None
        #: the pipeline after so many rows
        self.checkpoints = Checkpoints()
        self.checkpoints.append(self.pipeline.snapshot())
        #: rows with a finding of at least that severity (events that have no row of their own: the row behind them)
        self.found: tuple[array[int], ...] = (array("I"), array("I"), array("I"), array("I"))
        #: (rule, severity) -> how often
        self.counts: dict[tuple[str, str], int] = {}
        self.findings: dict[int, tuple[Finding, ...]] = {}
        #: events without a record: rows that they come before, and the events
        self.asides: tuple[array[int], list[Event]] = (array("I"), [])
        self.finished = False
        #: of the last message: its context, that one's number, and ODD where it has none
        self._context: Context | None = None
        self._context_no = 0
        self._context_odd = 0

    @property
    def rows(self) -> int:
        return len(self.columns.state)

    def close(self) -> None:
        self.reader.close()

    def go_on(self, most: int) -> bool:
        """Study up to so many more rows; False: there are no more for now."""
        limit = len(self.columns.place)
        row = len(self.columns.state)
        end = min(limit, row + most)
        if self._rules is not None and row < end:
            self.pipeline.rules, self._rules = self._rules(), None
        while row < end:
            if self._records is None:
                self._records = iter(self.reader)
            try:
                for record in self._records:
                    row = self._feed(row, record)
                    if row >= end:
                        break
                else:
                    # the file ended there when it was last looked at
                    self._records = None
                    if not self.reader.follow and row < end:
                        break
            except CaptureError:
                self._records = None
                break
        return row < limit and row == end

    def finish(self) -> None:
        """All rows have been studied, and no more will come: say what stays unanswered."""
        if not self.finished:
            self.finished = True
            # what it read last, and knows of records, is of no use any more
            self.reader.close()
            self.reader, self._records = Reader(b""), None
            for event in self.pipeline.finish():
                self._aside(len(self.columns.state), event)

    def tick(self, now_ns: int) -> Sequence[Event]:
        """The silences of a live capture that are due."""
        events = tuple(self.pipeline.tick(now_ns))
        for event in events:
            self._aside(len(self.columns.state), event)
        return events

    def _feed(self, row: int, record: Record) -> int:
        """The next row's number, after this record."""
        items = [*self.pipeline.feed(record)]
        if record.kind not in ROWS or record.flags & ORIGINAL:
            self._asides(row, items)
            return row
        item = items.pop()
        if items:
            self._asides(row, items)
        columns, state = self.columns, 0
        columns.partner.append(0)
        if isinstance(item, Message):
            if item.context is not self._context:
                self._context = item.context
                self._context_no = columns.context_no(item.context)
                self._context_odd = 0 if columns.contexts[self._context_no] == item.context else ODD
            state = self._context_odd
            if item.awaited:
                state |= AWAITED
            if item.answers is not None:
                state |= self._answered(row, item)
        columns.context.append(self._context_no)
        columns.state.append(state)
        if item.findings:
            self._found(row, item.findings, True)
        row += 1
        if not row % STRIDE:
            self.checkpoints.append(self.pipeline.snapshot())
        return row

    def _answered(self, row: int, message: Message) -> int:
        columns = self.columns
        request = columns.request(message.answers or 0, message.session, row)
        if request is None:
            return ODD
        columns.pair(request, row)
        shape = columns.shape[row]
        known = columns.shapes[shape]
        if known.doubtful and shape:
            columns.shape[row] = columns.answered_as(shape, message)
        return 0

    def _asides(self, row: int, items: Iterable[Item]) -> None:
        for item in items:
            if isinstance(item, Event):
                self._aside(row, item)

    def _aside(self, row: int, event: Event) -> None:
        rows, events = self.asides
        if len(events) < MOST_KEPT:
            rows.append(row)
            events.append(event)
        if event.findings:
            self._found(row, event.findings, False)

    def _found(self, row: int, findings: Sequence[Finding], own: bool) -> None:
        worst = 0
        for finding in findings:
            key = finding.rule, finding.severity
            self.counts[key] = self.counts.get(key, 0) + 1
            worst = max(worst, SEVERITIES[finding.severity])
        if own:
            self.columns.state[row] |= worst
            if len(self.findings) < MOST_KEPT:
                self.findings[row] = tuple(findings)
        for severity in range(1, worst + 1):
            rows = self.found[severity]
            if not rows or rows[-1] != row:
                rows.append(row)

    # -- what is asked of it

    def asides_of(self, row: int) -> Sequence[Event]:
        """Events that the pipeline gave just before a row."""
        rows, events = self.asides
        return events[bisect_left(rows, row) : bisect_right(rows, row)]

    def nearest(self, row: int) -> int:
        """The last checkpoint from which ``row`` can be reached: the row that comes behind it."""
        return min(row // STRIDE, len(self.checkpoints) - 1) * STRIDE

    def stretch(self, start: int) -> Stretch:
        """The rows from such a checkpoint on."""
        return Stretch(start, self.checkpoints[start // STRIDE])


class Stretch:
    """The rows from one checkpoint on, gone through again as far as it was asked for."""

    def __init__(self, start: int, known: Snapshot) -> None:
        self.start = start
        self._pipeline = Pipeline.from_snapshot(known)
        self._items: list[Item] = []
        self._sessions: list[Mapping[int, Session]] = []

    def reach(self, row: int, records: Records) -> None:
        pipeline, items, sessions = self._pipeline, self._items, self._sessions
        for at in range(self.start + len(items), row + 1):
            came = records.came(at)
            if came is not None:
                pipeline.feed(came)
            items.append([*pipeline.feed(records.row(at))][-1])
            sessions.append(pipeline.sessions.copy())

    def item(self, row: int) -> Item:
        return self._items[row - self.start]

    def sessions(self, row: int) -> Mapping[int, Session]:
        return self._sessions[row - self.start]
