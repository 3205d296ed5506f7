"""The indices of many rings at once: set up once, then as fast as memory can be read.

Only split rings have indices to be read; they lie in few files, each of which is seen through one mapping here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

from vhostspy.session.state import Session

from .guest import Mapped, Outside, Space
from .ring import RING_PACKED


class Scan(NamedTuple):
    """``read()`` gives used and available index of each of ``rings`` in turn, all as they are now."""

    rings: tuple[int, ...]
    read: Callable[[], tuple[int, ...]]


def scan(session: Session, memory: Space) -> Scan:
    """All split rings that can be looked at. Valid while memory and rings are where they are."""
    places: list[tuple[int, Mapped, int, Mapped, int]] = []
    for number, ring in sorted(session.rings.items()):
        if ring.addresses is None or not ring.size or (session.virtio_agreed or 0) & RING_PACKED:
            continue
        try:
            used = memory.ring(ring.addresses[1] + 2, 2)
            available = memory.ring(ring.addresses[2] + 2, 2)
        except Outside:
            continue
        if used.offset % 2 == available.offset % 2 == 0:
            places.append((number, used.mapped, used.offset, available.mapped, available.offset))
    wanted = [place for _, used, at, available, at2 in places for place in ((used, at), (available, at2))]
    return Scan(tuple(place[0] for place in places), _reader(wanted))


def _reader(wanted: Sequence[tuple[Mapped, int]]) -> Callable[[], tuple[int, ...]]:
    """Reads the words at these offsets of files, live."""
    if not wanted:
        return tuple
    views: dict[int, tuple[memoryview | Sequence[int], int]] = {}
    for mapped, _ in wanted:
        offsets = [offset for other, offset in wanted if other is mapped]
        first = min(offsets)
        if id(mapped) not in views:
            views[id(mapped)] = mapped.words(first, (max(offsets) - first) // 2 + 1), first
    places = [(views[id(mapped)][0], offset - views[id(mapped)][1] >> 1) for mapped, offset in wanted]
    if len(views) == 1:
        words, getter = places[0][0], itemgetter(*(at for _, at in places))
        return lambda: getter(words)  # two values at least, so a tuple
    return lambda: tuple([view[at] for view, at in places])
