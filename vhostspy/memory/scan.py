"""The indices of many rings at once: set up once, then as fast as memory can be read.

Only split rings have indices to be read; they lie in few files, each of which is seen through one mapping here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from sys import byteorder
from typing import NamedTuple

from vhostspy.session.state import Session

from .guest import Mapped, Outside, Space
from .ring import RING_PACKED, order

#: words are read as this machine has them
_NATIVE = ("=", "<" if byteorder == "little" else ">")


class Scan(NamedTuple):
    """``read()`` gives used and available index of each of ``rings`` in turn, all as they are now."""

    rings: tuple[int, ...]
    read: Callable[[], tuple[int, ...]]


def scan(session: Session, memory: Space) -> Scan:
    """All split rings that are started and can be looked at so; of others nobody may have made the pages yet.

    Valid while memory, its files and rings are where they are.
    """
    features = memory.features
    rings: list[int] = []
    wanted: list[tuple[Mapped, int]] = []
    for number, ring in sorted(session.rings.items()):
        if ring.addresses is None or not ring.size or not ring.started:
            continue
        if features & RING_PACKED or order(ring, features) not in _NATIVE:
            continue
        try:
            pieces = [memory.ring(address + 2, 2).pieces for address in ring.addresses[1:3]]
            if any(len(found) != 1 or found[0].offset % 2 or not found[0].octets() for found in pieces):
                continue
        except Outside:
            continue
        rings.append(number)
        wanted += [(mapped, offset) for ((mapped, offset, _),) in pieces]
    try:
        return Scan(tuple(rings), _reader(wanted))
    except Outside:
        return Scan((), tuple)


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
