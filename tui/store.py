"""What is shown of a feed, and where one is in it: filter, focus, marks, search, folded repetitions. No widget.

*Rows* are the feed's, *places* are lines of the list. Without a filter and without folding they are the same numbers,
and nothing is kept for them; otherwise ``_shown`` holds the row of each place.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from time import monotonic

from vhostspy.filter import Filter
from vhostspy.index import Glance
from vhostspy.message import Event, Message

from .columns import searchable
from .feed import Feed, Search

#: rows that one is looked through for repetitions at a time
_STRIDE = 512
#: how many rows one came from are remembered
_MOST_JUMPS = 100


class Store:
    """One feed, as one person looks at it. ``advance`` works in slices; everything else answers at once."""

    def __init__(self, feed: Feed, filter: Filter | None = None) -> None:
        self.feed = feed
        self.filter: Filter | None = None
        #: only messages with descriptors; only marked ones; events too
        self.only_fds = False
        self.only_marked = False
        self.with_events = True
        self.folded = False
        #: the row in focus
        self.focus = 0
        #: the list stays at its end while the capture grows
        self.follow = feed.live
        #: the picture stands still; rows from here on are not shown
        self.paused_at: int | None = None
        #: row -> comment ("" is a mark alone)
        self.marks: dict[int, str] = {}
        self.find_text = ""
        #: counts changes of what is shown, for those who keep pictures of it
        self.version = 0
        self._shown: array[int] | None = None
        #: place -> how many rows it stands for, where that is more than one
        self._times: dict[int, int] = {}
        #: a row that was folded, and may have to be shown after all
        self._held: int | None = None
        self._search: Search | None = None
        self._taken = 0
        self._jumps: list[int] = []
        self._find: Seek | None = None
        #: a text that was looked for and is nowhere; until somebody has said so
        self.missed = ""
        self._stopped = False
        if filter is not None:
            self.set_filter(filter)

    # -- what is shown

    @property
    def rows(self) -> int:
        """Rows that there are to be shown; fewer than the feed's while the picture stands still."""
        return self.feed.rows if self.paused_at is None else min(self.paused_at, self.feed.rows)

    @property
    def places(self) -> int:
        if self._shown is None:
            return self.rows
        if self.paused_at is None:
            return len(self._shown)
        return bisect_left(self._shown, self.paused_at)

    def row(self, place: int) -> int:
        return place if self._shown is None else self._shown[place]

    def place(self, row: int) -> int:
        """Where a row is shown, or the one before it that is."""
        if self._shown is None:
            return min(row, max(0, self.rows - 1))
        return max(0, bisect_right(self._shown, row) - 1)

    def is_shown(self, row: int) -> bool:
        if self._shown is None:
            return 0 <= row < self.rows
        place = bisect_left(self._shown, row)
        return place < len(self._shown) and self._shown[place] == row

    def times(self, place: int) -> int:
        """How many repetitions are folded into a place (1: none)."""
        return self._times.get(place, 1)

    @property
    def narrowed(self) -> bool:
        return self.filter is not None or self.only_fds or self.only_marked or not self.with_events

    @property
    def busy(self) -> float | None:
        """How far the search for what is shown has come, 0 to 1; None: nothing is being searched."""
        if self._find is not None:
            return self._find.progress
        if self._shown is None or self._stopped or self._taken_rows >= self.feed.studied:
            return None
        return self._taken_rows / self.feed.studied

    @property
    def _taken_rows(self) -> int:
        """So many rows of the feed were looked at."""
        return self._taken if self._search is None else self._search.searched

    def set_filter(self, filter: Filter | None) -> None:
        self.filter = filter if filter is not None and filter.text.strip() else None
        self._again()

    def toggle_fds(self) -> None:
        self.only_fds = not self.only_fds
        self._again()

    def toggle_marked(self) -> None:
        self.only_marked = not self.only_marked
        self._again()

    def toggle_events(self) -> None:
        self.with_events = not self.with_events
        self._again()

    def toggle_fold(self) -> None:
        self.folded = not self.folded
        self._again()

    def show_all(self) -> None:
        self.only_fds = self.only_marked = False
        self.with_events = True
        self.set_filter(None)

    def stop(self) -> bool:
        """Stop searching; what was found stays. Tells whether anything was going on."""
        if self._find is not None:
            self._find = None
            return True
        if self.busy is not None:
            self._stopped = True
            return True
        return False

    def _again(self) -> None:
        self.version += 1
        self._stopped = False
        self._taken = 0
        self._times = {}
        self._held = None
        self._search = self.feed.matching(self.filter) if self.filter is not None else None
        self._shown = array("I") if self.narrowed or self.folded else None

    def advance(self, budget_s: float) -> bool:
        """Search on for what is shown and what is to be found; True if the picture may have changed."""
        end = monotonic() + budget_s
        before = self.places, self.focus
        if self._shown is not None and not self._stopped:
            self._narrow(end)
        if self._find is not None:
            self._seek(self._find, end)
        if self.places:
            if self.follow and self.paused_at is None:
                self.focus = self.row(self.places - 1)
            elif self._taken_rows > self.focus or self._stopped:
                self._settle()
        return before != (self.places, self.focus)

    def _settle(self) -> None:
        """Where the row in focus is hidden, the next one before it that is shown takes its place."""
        if self._shown is not None and not self.is_shown(self.focus):
            self.focus = self.row(self.place(self.focus))

    def _narrow(self, end: float) -> None:
        """Look at more rows, and keep those that are to be shown."""
        search = self._search
        if search is not None:
            search.advance(max(0.0, end - monotonic()))
            for row in search.rows[self._taken :]:
                self._take(row)
            self._taken = len(search.rows)
            return
        feed = self.feed
        while self._taken < feed.studied:
            until = min(self._taken + _STRIDE, feed.studied)
            for row in range(self._taken, until):
                self._take(row)
            self._taken = until
            if monotonic() > end:
                return

    def _take(self, row: int) -> None:
        if self.only_marked and row not in self.marks:
            return
        if self.only_fds or not self.with_events or self.folded:
            glance = self.feed.glance(row)
            if self.only_fds and not glance.fds or not self.with_events and not glance.no:
                return
            if self.folded and self._folds(row, glance):
                return
        assert self._shown is not None
        self._shown.append(row)

    def _folds(self, row: int, glance: Glance) -> bool:
        """Whether a row repeats what is there already; then it only counts.

        Two that take turns (a request and its answer) are folded as well: the first of them is held back until it is
        known whether the second follows.
        """
        shown = self._shown
        assert shown is not None
        held, self._held = self._held, None
        if held is not None:
            if self._repeats(1, glance):
                self._count(1)
                return True
            # it was no repetition after all
            self._times[len(shown) - 2] -= 1
            shown.append(held)
        if self._repeats(1, glance):
            self._count(1)
            return True
        if held is None and self._repeats(2, glance) and self.times(len(shown) - 2) == self.times(len(shown) - 1):
            second = self.feed.glance(shown[-1])
            if second.no and not second.severity:
                self._count(2)
                self._held = row
                return True
        return False

    def _repeats(self, back: int, glance: Glance) -> bool:
        shown = self._shown
        return shown is not None and len(shown) >= back and _alike(self.feed.glance(shown[-back]), glance)

    def _count(self, back: int) -> None:
        place = len(self._shown or ()) - back
        self._times[place] = self.times(place) + 1

    # -- where one is

    def move(self, places: int) -> None:
        """Up or down by so many lines."""
        self.go_to_place(self.place(self.focus) + places)

    def go_to_place(self, place: int) -> None:
        """To a line; moving to the last one is what follows a growing capture again, moving elsewhere stops that."""
        last = self.places - 1
        place = max(0, min(place, last))
        self.focus = self.row(place) if last >= 0 else 0
        self.follow = self.follow and place == last

    def go_to_row(self, row: int) -> bool:
        """Jump to a row, remembering where from. A row that the filter hides is reached by showing everything again:
        False tells so."""
        if not 0 <= row < self.feed.rows:
            return True
        if row != self.focus:
            self._jumps.append(self.focus)
            del self._jumps[:-_MOST_JUMPS]
        shown = self.is_shown(row) or (self.folded and not self.narrowed)
        if not shown:
            self.show_all()
        if not self.is_shown(row) and self.folded:
            self.toggle_fold()
        self.focus = row
        self.follow = False
        return shown

    def go_back(self) -> bool:
        """To where the last jump began."""
        while self._jumps:
            row = self._jumps.pop()
            if row != self.focus and 0 <= row < self.feed.rows:
                if not self.is_shown(row):
                    self.show_all()
                self.focus = row
                self.follow = False
                return True
        return False

    @property
    def other(self) -> int | None:
        """The row of the request that the message in focus answers, or of the answer to it."""
        if not 0 <= self.focus < self.feed.rows:
            return None
        return self.feed.glance(self.focus).partner

    @property
    def item(self) -> Message | Event | None:
        """What is in focus; None in an empty capture."""
        return self.feed.item(self.focus) if 0 <= self.focus < self.feed.rows else None

    def edge_finding(self, step: int = 1) -> int | None:
        """The first row with a finding, or the last one; None: there is none at all."""
        return self.feed.next_finding(-1 if step > 0 else self.feed.rows + 1, step)

    # -- pausing

    def pause(self) -> bool:
        """Let the picture stand still, or go on; the feed goes on in any case. Tells whether it now stands still."""
        self.paused_at = self.feed.rows if self.paused_at is None else None
        self.version += 1
        return self.paused_at is not None

    # -- marks

    def toggle_mark(self, row: int | None = None) -> bool:
        row = self.focus if row is None else row
        self.version += 1
        if row in self.marks:
            del self.marks[row]
            return False
        self.marks[row] = ""
        return True

    def comment(self, text: str, row: int | None = None) -> None:
        self.version += 1
        self.marks[self.focus if row is None else row] = text

    def next_mark(self, step: int = 1) -> int | None:
        marks = sorted(self.marks)
        at = bisect_right(marks, self.focus) if step > 0 else bisect_left(marks, self.focus) - 1
        return marks[at] if 0 <= at < len(marks) else None

    # -- finding text

    def find(self, text: str, step: int = 1) -> None:
        """Begin to look for a text in the messages' lines, from the focus on; ``found`` is asked when it is done."""
        self.find_text = text
        self.missed = ""
        self._find = Seek(self, text, step) if text else None

    def _seek(self, seek: Seek, end: float) -> None:
        seek.advance(max(0.0, end - monotonic()))
        if seek.found is not None:
            self._find = None
            self.go_to_row(seek.found)
        elif seek.done:
            self._find = None
            self.missed = seek.text


class Seek:
    """Looks for the next shown line that holds a text, once around; letters' case does not count."""

    def __init__(self, store: Store, text: str, step: int) -> None:
        self.store = store
        self.text = text
        self.step = step
        self.found: int | None = None
        self._wanted = text.casefold()
        self._start = store.place(store.focus)
        self._gone = 0

    @property
    def done(self) -> bool:
        return self._gone >= self.store.places

    @property
    def progress(self) -> float:
        return min(1.0, self._gone / max(1, self.store.places))

    def advance(self, budget_s: float) -> None:
        end = monotonic() + budget_s
        store = self.store
        while not self.done:
            self._gone += 1
            row = store.row((self._start + self.step * self._gone) % store.places)
            if self._wanted in searchable(store.feed.item(row)).casefold():
                self.found = row
                return
            if monotonic() > end:
                return


def _alike(one: Glance, other: Glance) -> bool:
    """The same sort of message, on the same channel, from the same end; nothing is wrong with either."""
    return (
        one.no > 0
        and other.no > 0
        and not one.severity
        and not other.severity
        and one.id == other.id
        and one.kind == other.kind
        and one.sender == other.sender
        and one.session == other.session
        and (one.channel, one.channel_no) == (other.channel, other.channel_no)
    )
