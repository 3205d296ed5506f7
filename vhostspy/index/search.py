"""A filter over all rows, in slices: first asked of each shape, then of what columns know, and of the message last."""

from __future__ import annotations

from array import array
from time import monotonic
from typing import TYPE_CHECKING, Final

from vhostspy.filter import PLACE, SORT, Filter
from vhostspy.message import Message

from .columns import EVENTS

if TYPE_CHECKING:
    from .index import Index

#: rows that are looked at together, and those that need more than a look
_CHUNK: Final = 1 << 13
_SLICE: Final = 64
#: what is known of a shape: its rows pass, don't, or are to be looked at one by one
_NO, _YES, _ASK = 0, 1, 2


class Search:
    """The messages that match, found from the first row on; ``rows`` grows in order.

    ``pending`` is told as of the moment a row is looked at: with a file that grows, its answer may still come.
    """

    def __init__(self, index: Index, filter: Filter) -> None:
        self.filter = filter
        self.rows = array("I")
        #: so many rows, from the first on, were looked at
        self.searched = 0
        self._index = index
        #: by shape
        self._verdicts = bytearray()

    def advance(self, budget_s: float) -> bool:
        """Search for about so long; True: there is more to search now. A filter that asks for more than the columns
        know waits for rows to be studied. Raises CaptureError where the file does not hold a row any more.
        """
        deadline = monotonic() + budget_s
        while self.searched < (limit := self._limit()):
            self._chunk(min(limit, self.searched + _CHUNK), deadline)
            if monotonic() >= deadline:
                return self.searched < self._limit()
        return False

    def _limit(self) -> int:
        """Rows of which all is known that the filter may ask for."""
        tree = self.filter.tree
        return self._index.rows if tree is not None and tree.asks == SORT else self._index.studied

    def _chunk(self, end: int, deadline: float) -> None:
        start = self.searched
        columns = self._index.columns
        self._learn()
        verdicts = self._verdicts
        found = self.rows
        candidates = [
            (row, verdict) for row, shape in enumerate(columns.shape[start:end], start) if (verdict := verdicts[shape])
        ]
        for count, (row, verdict) in enumerate(candidates, 1):
            if verdict == _YES or self._passes(row):
                found.append(row)
            if verdict == _ASK and not count % _SLICE and monotonic() >= deadline:
                self.searched = row + 1
                return
        self.searched = end

    def _learn(self) -> None:
        """Ask the filter of the shapes that are new."""
        shapes = self._index.columns.shapes
        for shape in shapes[len(self._verdicts) :]:
            verdict = _ASK
            if shape.kind in EVENTS:
                verdict = _NO
            elif shape.message is not None:
                known = self.filter.verdict(shape.message, SORT)
                verdict = _ASK if known is None else _YES if known else _NO
            self._verdicts.append(verdict)

    def _passes(self, row: int) -> bool:
        index = self._index
        known = index.sketch(row)
        if known is not None:
            verdict = self.filter.verdict(known, PLACE)
            if verdict is not None:
                return verdict
        item = index.item(row)
        if not isinstance(item, Message):
            return False
        return self.filter.settled(item, index.glance(row).partner is not None)
