"""The index itself: what a screen asks of a capture."""

from __future__ import annotations

import os
import stat
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from vhostspy.capture.reader import CaptureError
from vhostspy.filter import Filter
from vhostspy.message import Event, Finding, Message, answering, awaiting, judged, read
from vhostspy.pipeline import Item
from vhostspy.session.state import Session

from .columns import AWAITED, EVENTS, ODD, SEVERITY, Columns
from .scan import Records, Scanner
from .search import Search
from .study import Stretch, Study

if TYPE_CHECKING:
    from vhostspy.rules.engine import Rules

#: rows between two looks at the clock
_SCANNED, _STUDIED = 512, 32
#: rows' items that are kept
_MOST_ITEMS = 512
#: stretches of rows between checkpoints, gone through again, that are kept
_MOST_STRETCHES = 3
_new = tuple.__new__


class Glance(NamedTuple):
    """A row as far as columns know it; nothing is decoded for it."""

    row: int
    #: the message's number; 0: an event
    no: int
    monotonic_ns: int
    session: int
    protocol: str
    channel: str
    channel_no: int
    sender: int
    #: request, reply, ack, raw; event
    kind: str
    name: str | None
    id: int | None
    size: int | None
    #: how many descriptors came with it
    fds: int
    marks: int
    #: the row that answers it, or that it answers
    partner: int | None
    #: of a reply: nanoseconds since its request
    latency_ns: int | None
    #: of its worst finding: 3 error, 2 warning, 1 note, 0 none
    severity: int
    #: its sender waits, or waited, for an answer
    awaited: bool
    #: the last four are known
    studied: bool


class Index:
    """A capture's index.

    source: a path, a descriptor of a regular file (it stays the caller's; its position does not matter), or octets.
    follow: the file grows; ``complete`` says that it no longer does. device, rules: as for the pipeline; rules may also
    be what makes them when the first row is studied.

    Raises OSError and CaptureError where a file cannot be opened, or is no capture at all. Damage further on is told
    in ``note``: what is before it is there.
    """

    def __init__(
        self, source: str | os.PathLike[str] | int | bytes, *, follow: bool = False, device: str | None = None,
        rules: Rules | Callable[[], Rules] | None = None,
    ) -> None:  # fmt: skip
        path = os.fspath(source) if isinstance(source, os.PathLike) else source
        self._owned = -1
        if isinstance(path, str):
            path = self._owned = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._fd = path if isinstance(path, int) else -1
        self._octets = 0 if isinstance(path, int) else len(path)
        if isinstance(path, int) and not stat.S_ISREG(mode := os.fstat(path).st_mode):
            self.close()
            raise CaptureError(
                0, "a directory, not a capture" if stat.S_ISDIR(mode) else "no file that can be read twice"
            )
        self.follow = follow
        #: a sentence where the capture is damaged, or stops within a record; else ""
        self.note = ""
        self.damaged = False
        self.columns = Columns()
        self._scanner = Scanner(path, self.columns, follow=follow)
        made = rules if callable(rules) else lambda: rules
        self._study = Study(path, self.columns, device, made, follow)
        self._records = Records(path, self._scanner)
        self._scanned = False
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._stretches: OrderedDict[int, Stretch] = OrderedDict()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._owned >= 0:
            os.close(self._owned)
        self._owned = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- the work

    def advance(self, budget_s: float) -> bool:
        """Work for about so long; True: there is more to do now. First all rows are found, then they are studied; none
        is studied where there is no time at all.
        """
        deadline = monotonic() + budget_s
        if not self._scanned or self.follow:
            while self._scan(_SCANNED):
                if monotonic() >= deadline:
                    return True
        if budget_s <= 0:
            return self.studied < self.rows
        while self._study.go_on(_STUDIED):
            if monotonic() >= deadline:
                return True
        if not self.follow:
            self._study.finish()
        return False

    def _scan(self, most: int) -> bool:
        if self.damaged:
            return False
        try:
            if self._scanner.scan(most):
                return True
        except CaptureError as error:
            self.damaged = self._scanned = True
            self.note = f"{error}; what comes behind it is not shown"
            self._scanner.forget()
            if not self._scanner.offset:
                raise
            return False
        self._scanned = not self.follow
        self.note = self._scanner.note
        if self._scanned:
            self._scanner.forget()
        return False

    def complete(self) -> None:
        """The file that was followed does not grow any more; what it ends with is found by ``advance``."""
        self.follow = self._scanner.follow = self._study.reader.follow = False

    def tick(self, now_ns: int) -> Sequence[Event]:
        """Live: the silences due at monotonic time ``now_ns``, once all rows of an earlier time were studied."""
        return self._study.tick(now_ns)

    @property
    def rows(self) -> int:
        """Messages, pieces that could not be framed, and events that were found so far."""
        return len(self.columns.place)

    @property
    def studied(self) -> int:
        """So many of them, from the first on, the pipeline has seen."""
        return self._study.rows

    @property
    def offset(self) -> int:
        """The file offset up to which rows were found."""
        return self._scanner.offset

    @property
    def size(self) -> int:
        """The file's size, as it is now."""
        return self._octets if self._fd < 0 else os.fstat(self._fd).st_size

    @property
    def done(self) -> bool:
        """All that there will be was found and studied."""
        return self._scanned and self.studied == self.rows

    # -- rows

    def glance(self, row: int) -> Glance:
        """A row without decoding it. Raises IndexError where there is none."""
        columns = self.columns
        shape = columns.shapes[columns.shape[row]]
        # how far away its partner is; 0: it has none
        state, apart, studied = 0, 0, row < len(columns.state)
        if studied:
            state, apart = columns.state[row], columns.partner[row]
        message = shape.message
        kind: str = "event"
        if not columns.shape[row]:
            # a shape that is not kept
            item = self.item(row)
            if isinstance(item, Message):
                message = item
            sender, protocol, channel, channel_no = item.sender, item.protocol, item.channel, item.channel_no
        else:
            sender, protocol, channel, channel_no = shape.sender, shape.protocol, shape.channel, shape.channel_no
        common = row, columns.number(row) if message is not None else 0, columns.time[row], columns.session[row]
        where = protocol, channel, channel_no, 2 if sender is None else sender
        name = id_ = size = latency = None
        fds = marks = 0
        if message is not None:
            kind, name, id_, size = message.kind, message.name, message.id, message.size
            fds, marks = len(message.fds), message.marks
            if apart < 0:
                latency = max(0, columns.time[row] - columns.time[row + apart])
        # what Glance(...) does, in half the time
        return _new(Glance, (
            *common, *where, kind, name, id_, size, fds, marks, row + apart if apart else None, latency,
            state & SEVERITY, bool(state & AWAITED), studied,
        ))  # fmt: skip

    def item(self, row: int) -> Item:
        """The row as the pipeline gives it; where it was not studied yet, as it is known without.

        Raises IndexError where there is no such row, CaptureError where the file does not hold it any more.
        """
        found = self._items.get(row)
        if found is None:
            found = self._make(row)
            if row < self.studied:
                self._items[row] = found
                if len(self._items) > _MOST_ITEMS:
                    self._items.popitem(last=False)
        return found

    def _make(self, row: int) -> Item:
        columns = self.columns
        studied = row < self.studied
        if studied and (columns.state[row] & ODD or columns.shapes[columns.shape[row]].kind in EVENTS):
            return self._with_findings(row, self._stretch(row).item(row))
        record = self._records.row(row)
        if record.kind in EVENTS:
            return next(iter([*self._study.pipeline.from_snapshot(self._study.checkpoints[0]).feed(record)][-1:]))
        context = columns.contexts[columns.context[row] if studied else columns.context[-1] if columns.context else 0]
        came = self._records.came(row)
        message = read(record, context, None if came is None else came.data)
        if not studied:
            return message
        apart = columns.partner[row]
        if columns.state[row] & AWAITED:
            message = awaiting(message)
        elif apart < 0:
            partner = row + apart
            request = columns.shapes[columns.shape[partner]].message
            if request is None:
                asked = self._records.row(partner)
                request = read(asked, context)
            message = answering(
                message, request._replace(no=columns.number(partner), monotonic_ns=columns.time[partner])
            )
        return self._with_findings(row, message)

    def _with_findings(self, row: int, item: Item) -> Item:
        if not self.columns.state[row] & SEVERITY:
            return item
        findings = self.findings(row)
        return judged(item, findings) if isinstance(item, Message) else item._replace(findings=findings)

    def sketch(self, row: int) -> Message | None:
        """A message of which only columns' knowledge is there: no payload, no descriptors but their number. None: an
        event, or one of which columns know too little. For filters (``filter.PLACE``).
        """
        columns = self.columns
        message = columns.shapes[columns.shape[row]].message
        if message is None or row >= len(columns.state):
            return None
        state, apart = columns.state[row], columns.partner[row]
        answers = latency = None
        if state & ODD or (state & SEVERITY and row not in self._study.findings):
            return None
        if apart < 0:
            partner = row + apart
            answers, latency = columns.number(partner), max(0, columns.time[row] - columns.time[partner])
        # what _replace(...) does, in a third of the time: a search makes one of each row that it asks
        at = columns.number(row), 0, columns.time[row], columns.session[row]
        found = self.findings(row), answers, latency, bool(state & AWAITED) and not apart
        return _new(Message, at + message[4:-4] + found)

    def row_of(self, no: int) -> int | None:
        """The row of message ``no``."""
        return self.columns.row_of(no)

    def asides(self, row: int) -> Sequence[Event]:
        """Events that have no row of their own, said just before ``row``: who waits, who stays unanswered. Those at
        the end of the capture come before the row that would be next.
        """
        return self._study.asides_of(row)

    # -- sessions

    def sessions(self, row: int) -> Mapping[int, Session]:
        """The sessions right after a row, those that ended last among them. Of a row that was not studied yet: as they
        are at the last that was.
        """
        row = min(row, self.studied - 1)
        return self._stretch(row).sessions(row) if row >= 0 else {}

    def _stretch(self, row: int) -> Stretch:
        start = self._study.nearest(row)
        stretch = self._stretches.get(start)
        if stretch is None:
            stretch = self._stretches[start] = self._study.stretch(start)
            if len(self._stretches) > _MOST_STRETCHES:
                self._stretches.popitem(last=False)
        else:
            self._stretches.move_to_end(start)
        stretch.reach(row, self._records)
        return stretch

    @property
    def latest(self) -> Mapping[int, Session]:
        """The sessions after the last row that was studied."""
        return self._study.pipeline.sessions

    # -- findings

    def findings(self, row: int) -> tuple[Finding, ...]:
        """What is wrong with a row. Of the first 20,000 rows with findings; of others only the severity is kept."""
        return self._study.findings.get(row, ())

    @property
    def findings_by_rule(self) -> Mapping[tuple[str, str], int]:
        """(rule, severity) -> how often, in what was studied so far."""
        return self._study.counts

    def next_finding(self, row: int, least: int = 1) -> int | None:
        """The first row behind ``row`` with a finding of that severity (1 note, 2 warning, 3 error) or worse."""
        rows = self._study.found[least]
        at = bisect_right(rows, row)
        return rows[at] if at < len(rows) else None

    def previous_finding(self, row: int, least: int = 1) -> int | None:
        """The last such row before ``row``."""
        rows = self._study.found[least]
        at = bisect_left(rows, row)
        return rows[at - 1] if at else None

    # -- searching

    def matching(self, filter: Filter) -> Search:
        """A search for the messages that match, which is to be advanced in slices as well."""
        return Search(self, filter)
