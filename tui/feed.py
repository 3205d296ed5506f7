"""What the screen sees of a capture: rows by number, and what each is when somebody looks at it.

A feed knows nothing of widgets, and a screen nothing of files. Rows are messages, raw pieces and events in the order of
the file, counted from 0; ``no`` is a message's own number, from 1. A feed works in slices (``advance``), so that a
screen never waits for it: first it learns which rows there are, then what they mean.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping
from time import monotonic, monotonic_ns
from typing import NamedTuple, Protocol

from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.message import Event, Message
from vhostspy.pipeline import Item, Pipeline
from vhostspy.rules.engine import Rules
from vhostspy.session.state import Session

#: weight of a finding: 0 none, 1 note, 2 warning, 3 error
SEVERITIES = {"note": 1, "warning": 2, "error": 3}
Test = Callable[[Message], bool]


class Counts(NamedTuple):
    """What the head of the screen says."""

    messages: int = 0
    sessions: int = 0
    errors: int = 0
    warnings: int = 0
    waiting: int = 0


class Search(Protocol):
    """Rows that pass a test, found bit by bit."""

    @property
    def rows(self) -> array[int]:
        """Rows found so far, rising."""

    @property
    def at(self) -> int:
        """All before this row has been looked at."""

    def advance(self, budget_s: float) -> bool:
        """Look on for a while; True while there is more to look at now."""


class Feed(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def rows(self) -> int:
        """Rows that are known."""

    @property
    def studied(self) -> int:
        """Rows whose meaning is known: answers, findings, state."""

    @property
    def live(self) -> bool:
        """The capture is being written."""

    @property
    def note(self) -> str:
        """Damage, or where the capture stops; "" if all is well."""

    @property
    def start_ns(self) -> int:
        """The monotonic time of the first message."""

    @property
    def progress(self) -> float:
        """How much of the file is known, 0 to 1."""

    def advance(self, budget_s: float) -> bool:
        """Work a little; True while more is to be done now."""

    def item(self, row: int) -> Item: ...

    def sessions(self, row: int) -> Mapping[int, Session]:
        """The sessions as they stood right after that row."""

    def counts(self) -> Counts: ...

    def row_of(self, no: int) -> int | None:
        """The row of a message's number."""

    def answered_by(self, row: int) -> int | None:
        """The row of the answer to this request."""

    def severity(self, row: int) -> int:
        """Of the worst finding of a row, see SEVERITIES."""

    def is_message(self, row: int) -> bool:
        """Else it is an event."""

    def fds(self, row: int) -> int: ...

    def time_ns(self, row: int) -> int:
        """Monotonic."""

    def shape(self, row: int) -> object:
        """What repeated messages have in common; None for what never repeats."""

    def next_finding(self, row: int, step: int) -> int | None:
        """The next row with a finding, worse than a note if there is one; ``step`` is 1 or -1."""

    def matching(self, test: Test | None, text: str = "", start: int = 0) -> Search:
        """Messages that pass a filter's test, from row ``start`` on."""

    def close(self) -> None: ...


class Scan:
    """A search that looks at every item."""

    def __init__(self, feed: Feed, test: Test, start: int = 0) -> None:
        self.feed = feed
        self.test = test
        self.rows: array[int] = array("q")
        self.at = start

    def advance(self, budget_s: float) -> bool:
        end = monotonic() + budget_s
        feed, test = self.feed, self.test
        while self.at < feed.studied:
            item = feed.item(self.at)
            if isinstance(item, Message) and test(item):
                self.rows.append(self.at)
            self.at += 1
            if monotonic() > end:
                return self.at < feed.studied
        return False


class Recorded:
    """A feed of a whole capture that fits into memory: every item is kept."""

    #: records between two looks at the clock
    _STRIDE = 64

    def __init__(
        self,
        source: str | int,
        name: str = "",
        *,
        follow: bool = False,
        device: str | None = None,
        rules: Rules | None = None,
        alive: Callable[[], bool] = lambda: True,
        lag_ns: int = 250_000_000,
    ) -> None:
        self.name = name or (source if isinstance(source, str) else "")
        self.reader = Reader(source, follow=follow)
        if isinstance(source, int):
            self.reader.offset = 0
        self.pipeline = Pipeline(device, rules)
        self.live = follow
        self.note = ""
        self.start_ns = 0
        self._alive = alive
        self._lag_ns = lag_ns
        self._size = 0
        self._items: list[Item] = []
        self._states: list[Mapping[int, Session]] = []
        self._rows_of = array("q")
        self._answers: dict[int, int] = {}
        self._findings = array("q")
        self._errors = self._warnings = 0
        self._seen_sessions: set[int] = set()
        self._records = iter(self.reader)
        self._done = False

    @property
    def rows(self) -> int:
        return len(self._items)

    @property
    def studied(self) -> int:
        return len(self._items)

    @property
    def progress(self) -> float:
        return 1.0 if self._done or not self._size else min(1.0, self.reader.offset / self._size)

    def advance(self, budget_s: float) -> bool:
        if self._done:
            return False
        end = monotonic() + budget_s
        last = self.live and not self._alive()
        if last:
            self.reader.follow = False
        try:
            for count, record in enumerate(self._records):
                for item in self.pipeline.feed(record):
                    self._add(item)
                if count % self._STRIDE == 0 and monotonic() > end:
                    return True
        except CaptureError as error:
            self.note = f"damaged at {error}"
            self._finish()
            return False
        if not self.live or last or self._ended():
            self.note = self.reader.note
            self._finish()
            return False
        for event in self.pipeline.tick(monotonic_ns() - self._lag_ns):
            self._add(event)
        self._records = iter(self.reader)
        return False

    def _ended(self) -> bool:
        item = self._items[-1] if self._items else None
        return isinstance(item, Event) and item.event == "end" and not item.session

    def _finish(self) -> None:
        self.live = False
        self._done = True
        for event in self.pipeline.finish():
            self._add(event)

    def _add(self, item: Item) -> None:
        row = len(self._items)
        self._items.append(item)
        before = self._states[-1] if self._states else {}
        now = self.pipeline.sessions.get(item.session)
        if now is not None and before.get(item.session) is not now:
            self._seen_sessions.add(item.session)
            before = {**before, item.session: now}
        self._states.append(before)
        if isinstance(item, Message):
            if not self.start_ns:
                self.start_ns = item.monotonic_ns
            self._rows_of.append(row)
            if item.answers is not None and (request := self.row_of(item.answers)) is not None:
                self._answers[request] = row
        if item.findings:
            self._findings.append(row)
            for finding in item.findings:
                self._errors += finding.severity == "error"
                self._warnings += finding.severity == "warning"

    def item(self, row: int) -> Item:
        return self._items[row]

    def sessions(self, row: int) -> Mapping[int, Session]:
        return self._states[row] if self._states else {}

    def counts(self) -> Counts:
        waiting = 0
        for session in self.pipeline.sessions.values():
            waiting += sum(len(queue.waiting) for queue in session.ledger.values())
        return Counts(len(self._rows_of), len(self._seen_sessions), self._errors, self._warnings, waiting)

    def row_of(self, no: int) -> int | None:
        return self._rows_of[no - 1] if 0 < no <= len(self._rows_of) else None

    def answered_by(self, row: int) -> int | None:
        return self._answers.get(row)

    def severity(self, row: int) -> int:
        return max((SEVERITIES[one.severity] for one in self._items[row].findings), default=0)

    def is_message(self, row: int) -> bool:
        return isinstance(self._items[row], Message)

    def fds(self, row: int) -> int:
        item = self._items[row]
        return len(item.fds) if isinstance(item, Message) else 0

    def time_ns(self, row: int) -> int:
        return self._items[row].monotonic_ns

    def shape(self, row: int) -> object:
        item = self._items[row]
        if not isinstance(item, Message) or item.findings:
            return None
        return item.session, item.channel, item.channel_no, item.sender, item.id, item.kind

    def next_finding(self, row: int, step: int) -> int | None:
        at = bisect_right(self._findings, row) if step > 0 else bisect_right(self._findings, row - 1) - 1
        return self._findings[at] if 0 <= at < len(self._findings) else None

    def matching(self, test: Test | None, text: str = "", start: int = 0) -> Search:
        return Scan(self, test or (lambda message: True), start)

    def close(self) -> None:
        self.reader.close()


def open_capture(path: str, *, device: str | None = None, rules: Rules | None = None) -> Recorded:
    """Raises OSError, or CaptureError for what is no capture."""
    feed = Recorded(path, device=device, rules=rules)
    try:
        feed._size = os.stat(path).st_size
    except OSError:
        pass
    return feed
