"""Translations of I/O virtual addresses, as IOTLB_MSG told them.

Source: vhost-user, IOTLB message, IOMMU support.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vhostspy.message import Message

_UPDATE, _INVALIDATE = 2, 3
#: peers may tell ever more; the oldest are let go
MOST = 65_536


class Translation(NamedTuple):
    """``size`` bytes from ``iova`` on are at ``address``: the front-end's, or with GPA_ADDRESSES the guest's."""

    iova: int
    size: int
    address: int


class Translations:
    """What is translated now. None overlaps another: an update takes the place of all that it touches."""

    def __init__(self, known: Iterable[Translation] = ()) -> None:
        #: by iova, in the order in which they came
        self._known: dict[int, Translation] = {}
        #: the iovas, sorted
        self._starts: list[int] = []
        #: of the changes so far
        self.count = 0
        for one in known:
            self.update(one)

    def __iter__(self) -> Iterator[Translation]:
        return iter(self._known.values())

    def feed(self, message: Message) -> None:
        """A message has passed."""
        if message.name != "IOTLB_MSG" or message.channel != "main" or message.kind != "request" or message.dropped:
            return
        fields = message.fields
        kind, iova, size, address = (fields.get(name) for name in ("type", "iova", "length", "user_address"))
        if not isinstance(iova, int) or not isinstance(size, int) or not isinstance(address, int):
            return
        if kind == _UPDATE:
            self.update(Translation(iova, size, address))
        elif kind == _INVALIDATE:
            self.invalidate(iova, size)

    def update(self, one: Translation) -> None:
        self.invalidate(one.iova, one.size)
        if not one.size:
            return
        while len(self._known) >= MOST:
            oldest = next(iter(self._known.values()))
            self.invalidate(oldest.iova, oldest.size)
        self._starts.insert(bisect_left(self._starts, one.iova), one.iova)
        self._known[one.iova] = one

    def invalidate(self, iova: int, size: int) -> None:
        """Nothing is known of these addresses any more, nor of what belonged together with one of them."""
        self.count += 1
        first, end = bisect_right(self._starts, iova), bisect_left(self._starts, iova + size)
        if first and iova < self._end(first - 1):
            first -= 1
        for start in self._starts[first:end]:
            del self._known[start]
        del self._starts[first:end]

    def translate(self, iova: int) -> tuple[int, int] | None:
        """The address there, and how many bytes from it on belong together; None: nobody has told."""
        at = bisect_right(self._starts, iova) - 1
        if at < 0 or iova >= self._end(at):
            return None
        one = self._known[self._starts[at]]
        return one.address + iova - one.iova, one.iova + one.size - iova

    def _end(self, at: int) -> int:
        one = self._known[self._starts[at]]
        return one.iova + one.size
