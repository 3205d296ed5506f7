"""A filter over all rows, in slices."""

from __future__ import annotations

from array import array
from time import monotonic
from typing import TYPE_CHECKING

from vhostspy.filter import Filter
from vhostspy.message import Message

if TYPE_CHECKING:
    from .index import Index

#: rows between two looks at the clock
_SLICE = 64


class Search:
    """The messages that match, found from the first row on; ``rows`` grows in order."""

    def __init__(self, index: Index, filter: Filter) -> None:
        self.filter = filter
        self.rows = array("I")
        #: so many rows, from the first on, were looked at
        self.searched = 0
        self._index = index

    def advance(self, budget_s: float) -> bool:
        """Search for about so long; True: there is more to search now."""
        deadline = monotonic() + budget_s
        index = self._index
        while self.searched < index.studied:
            end = min(index.studied, self.searched + _SLICE)
            for row in range(self.searched, end):
                item = index.item(row)
                if isinstance(item, Message) and self.filter(item):
                    self.rows.append(row)
            self.searched = end
            if monotonic() >= deadline:
                return self.searched < index.studied
        return False
