"""A packed ring's positions, read out of its descriptors: they are nowhere written down.

The driver writes each descriptor that it makes available with AVAIL as its wrap counter and USED as the inverse; the
device leaves AVAIL as it is and makes USED equal in the first descriptor of what it uses. So AVAIL alone, over the
ring, has one step: there the driver is. From there backwards the first descriptor with both equal is the last that the
device used; behind it (and behind what else belonged to that buffer, told by its id) the device is. With IN_ORDER one
used descriptor stands for all up to the buffer of that id. ``in_flight`` counts descriptors, and at most: how many a
used buffer had is known to the driver alone.

Source: VIRTIO 1.3, Packed Virtqueues.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

AVAIL, USED = 1 << 7, 1 << 15
_BOTH = AVAIL | USED
_ENABLE, _DISABLE, _AT = 0, 1, 2
_ENTRY = Struct("<QIHH")
#: what nobody has written yet looks used
_UNTOUCHED = (0, 0, 0, 0)


class Seen(NamedTuple):
    """Next positions of driver and device, with the wrap counters that they write there."""

    available: int
    available_wrap: bool
    used: int
    used_wrap: bool
    in_flight: int


class Event(NamedTuple):
    """An event suppression area: nothing is wanted, or only from a position on."""

    disabled: bool
    position: int | None
    wrap: bool | None


def read(octets: bytes, size: int, in_order: bool = False) -> Seen:
    """Where driver and device are in a ring of ``size`` descriptors of 16 octets each."""
    entries = list(_ENTRY.iter_unpack(octets[: 16 * size]))
    flags = [entry[3] for entry in entries]
    first = bool(flags[0] & AVAIL)
    driver = next((at for at in range(size) if bool(flags[at] & AVAIL) != first), size)
    # the same all over: the driver is at the beginning, and about to write the other value
    available, available_wrap = (driver, first) if driver < size else (0, not first)
    back = 0
    while back < size and flags[(available - 1 - back) % size] & _BOTH in (AVAIL, USED):
        back += 1
    in_flight = back
    if back < size:
        last = (available - 1 - back) % size
        behind = [entries[(available - in_flight + at) % size][2] for at in range(in_flight)]
        if entries[last] != _UNTOUCHED:
            in_flight -= _belonging(behind, entries[last][2], in_order)
    used = (available - in_flight) % size
    used_wrap = available_wrap if used <= available and in_flight < size else not available_wrap
    return Seen(available, available_wrap, used, used_wrap, in_flight)


def _belonging(behind: list[int], identity: int, in_order: bool) -> int:
    """How many descriptors behind a used one, by their ids, were used with it."""
    count = 0
    if in_order and identity in behind:
        count = behind.index(identity)
    while count < len(behind) and behind[count] == identity:
        count += 1
    return count


def event(word: int, flags: int) -> Event:
    """A driver's or device's event area: u16 position with the wrap counter in bit 15, u16 flags."""
    kind = flags & 3
    if kind == _AT:
        return Event(False, word & 0x7FFF, bool(word & 0x8000))
    return Event(kind == _DISABLE, None, None)
