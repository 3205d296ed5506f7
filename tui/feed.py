"""What the screen sees of a capture: rows by number, and what each is when somebody looks at it.

A feed knows nothing of widgets, and a screen nothing of files. Rows are messages, raw pieces and events in the order of
the file, counted from 0; ``no`` is a message's own number, from 1. A feed works in slices (``advance``), so that a
screen never waits for it: first it learns which rows there are, then what they mean.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vhostspy.filter import Filter
from vhostspy.index import Glance, Index
from vhostspy.message import Event
from vhostspy.pipeline import LAG_NS, Item
from vhostspy.session import ledger as ledgers
from vhostspy.session.state import Session

if TYPE_CHECKING:
    from vhostspy.rules.engine import Rules


class Counts(NamedTuple):
    """What the head of the screen says."""

    messages: int = 0
    sessions: int = 0
    errors: int = 0
    warnings: int = 0
    #: requests whose senders wait now, and the monotonic time of the oldest
    waiting: int = 0
    since_ns: int = 0
    #: whether the latest session's ends are there
    ends: tuple[bool, bool] = (False, False)


class Search(Protocol):
    """Rows that pass a filter, found bit by bit."""

    #: Rows found so far, rising.
    @property
    def rows(self) -> Sequence[int]: ...

    #: So many rows, from the first on, were looked at.
    @property
    def searched(self) -> int: ...

    #: Look on for a while; True while there is more to look at now.
    def advance(self, budget_s: float) -> bool: ...


class Feed(Protocol):
    """A capture, finished or growing, as the store and the screen see it."""

    @property
    def name(self) -> str: ...

    #: Rows that are known.
    @property
    def rows(self) -> int: ...

    #: Rows whose meaning is known: answers, findings, state.
    @property
    def studied(self) -> int: ...

    #: The capture is being written.
    @property
    def live(self) -> bool: ...

    #: Damage, or where the capture stops; "" if all is well.
    @property
    def note(self) -> str: ...

    #: The monotonic time of the first message; 0: there is none yet.
    @property
    def start_ns(self) -> int: ...

    #: How much of the file is known, 0 to 1.
    @property
    def progress(self) -> float: ...

    #: Work a little; True while more is to be done now. With no time at all: only find rows.
    def advance(self, budget_s: float) -> bool: ...

    def item(self, row: int) -> Item: ...

    #: A row as far as it is known without decoding it.
    def glance(self, row: int) -> Glance: ...

    #: The sessions as they stood right after that row.
    def sessions(self, row: int) -> Mapping[int, Session]: ...

    #: What was said just before a row and has no row of its own: silences; at ``rows`` those of the end.
    def asides(self, row: int) -> Sequence[Event]: ...

    def counts(self) -> Counts: ...

    #: The row of a message's number.
    def row_of(self, no: int) -> int | None: ...

    #: The next row with a finding; ``step`` is 1 or -1.
    def next_finding(self, row: int, step: int) -> int | None: ...

    #: (rule, severity) -> how often, in what was studied so far.
    def findings_by_rule(self) -> Mapping[tuple[str, str], int]: ...

    def matching(self, filter: Filter) -> Search: ...

    #: Where in the file the records of a row begin, what came before it was changed among them.
    def offsets(self, row: int) -> Sequence[int]: ...

    def close(self) -> None: ...


class Indexed:
    """A feed over a capture's index.

    source: a path, or a descriptor, which stays the caller's. follow: the file grows for as long as ``alive`` says.
    Raises OSError and CaptureError where it is no capture.
    """

    def __init__(
        self,
        source: str | int | bytes,
        name: str = "",
        *,
        follow: bool = False,
        device: str | None = None,
        rules: Rules | Callable[[], Rules] | None = None,
        alive: Callable[[], bool] = lambda: True,
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.name = name or (os.path.basename(source) if isinstance(source, str) else "")
        #: where the capture is; "" if it has no name
        self.path = source if isinstance(source, str) else ""
        self.index = Index(source, follow=follow, device=device, rules=rules)
        self._alive = alive
        self._now_ns = now_ns
        self._start_ns = 0

    @property
    def rows(self) -> int:
        return self.index.rows

    @property
    def studied(self) -> int:
        return self.index.studied

    @property
    def live(self) -> bool:
        return self.index.follow

    @property
    def note(self) -> str:
        return self.index.note

    @property
    def start_ns(self) -> int:
        if not self._start_ns:
            row = self.index.row_of(1)
            if row is not None:
                self._start_ns = self.index.columns.time[row]
        return self._start_ns

    @property
    def progress(self) -> float:
        index = self.index
        if index.done or index.follow:
            return 1.0
        size = max(1, index.size)
        scanned = index.offset / size
        return min(1.0, (scanned + scanned * index.studied / max(1, index.rows)) / 2)

    def advance(self, budget_s: float) -> bool:
        index = self.index
        if index.follow and (not self._alive() or self._ended()):
            index.complete()
        more = index.advance(budget_s)
        if index.follow and not more:
            index.tick(self._now_ns() - LAG_NS)
        return more

    def _ended(self) -> bool:
        """The capture's last record has been read."""
        rows = self.index.rows
        if not rows or self.index.columns.session[rows - 1] or self.glance(rows - 1).no:
            return False
        item = self.index.item(rows - 1)
        return isinstance(item, Event) and item.event == "end"

    def item(self, row: int) -> Item:
        return self.index.item(row)

    def glance(self, row: int) -> Glance:
        return self.index.glance(row)

    def sessions(self, row: int) -> Mapping[int, Session]:
        return self.index.sessions(row)

    def asides(self, row: int) -> Sequence[Event]:
        return self.index.asides(row)

    def counts(self) -> Counts:
        index = self.index
        by_severity = {"error": 0, "warning": 0, "note": 0}
        for (_, severity), count in index.findings_by_rule.items():
            by_severity[severity] += count
        waiting, since = 0, 0
        for session in index.latest.values():
            for request in ledgers.outstanding(session.ledger):
                waiting += 1
                since = min(since or request.monotonic_ns, request.monotonic_ns)
        columns = index.columns
        messages = columns.no[-1] if columns.no else 0
        sessions = max(index.latest, default=0)
        ends = ends_there(index.latest.get(sessions))
        return Counts(messages, sessions, by_severity["error"], by_severity["warning"], waiting, since, ends)

    def row_of(self, no: int) -> int | None:
        return self.index.row_of(no)

    def next_finding(self, row: int, step: int) -> int | None:
        found = self.index.next_finding(row) if step > 0 else self.index.previous_finding(row)
        # what is said at the end has no row: the last one stands for it
        last = self.rows - 1
        return None if found is None or found > last == row else min(found, last)

    def findings_by_rule(self) -> Mapping[tuple[str, str], int]:
        return self.index.findings_by_rule

    def matching(self, filter: Filter) -> Search:
        return self.index.matching(filter)

    def offsets(self, row: int) -> Sequence[int]:
        columns = self.index.columns
        odd = columns.odd.get(row)
        places = (columns.place[row] << 2,) if odd is None else odd.places
        came = columns.originals.get(row)
        return places if came is None else (came, *places)

    def close(self) -> None:
        self.index.close()


def ends_there(session: Session | None) -> tuple[bool, bool]:
    """Which ends of a session are there: once one has closed, the other soon does."""
    there = session is not None and session.ended is None
    return there, there
