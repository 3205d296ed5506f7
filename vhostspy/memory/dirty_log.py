"""The dirty log: one bit a page of 4 KiB of guest memory that somebody wrote to since the front-end last looked.

Source: vhost-user, Migration; VHOST_LOG_PAGE of Linux.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vhostspy.session.state import Log, Region

from .guest import Read

PAGE = 4096
#: octets of a log that are read at once: 1 MiB tells of 32 GiB
MOST = 1 << 25
_SHADES = " ▁▂▃▄▅▆▇█"


class Dirty(NamedTuple):
    """Of a region: its pages, how many of them are dirty, and how densely, part by part (0 to 1)."""

    guest_address: int
    size: int
    pages: int
    dirty: int
    shares: tuple[float, ...]

    def map(self) -> str:
        """The shares as a line of blocks; the least bit shows."""
        return "".join(_SHADES[0 if not share else max(1, round(share * 8))] for share in self.shares)


def dirty(log: Log, regions: Sequence[Region], read: Read, width: int = 32) -> tuple[Dirty, ...]:
    """What the log says of each region, in ``width`` parts; ``read`` is of its file."""
    found = []
    left = MOST
    for region in regions:
        first, last = region.guest_address // PAGE, (region.guest_address + region.size - 1) // PAGE
        start, end = first // 8, min(last // 8 + 1, log.size)
        octets = read(log.offset + start, min(end - start, left)) if end > start else b""
        left -= len(octets)
        bits = int.from_bytes(octets, "little") >> first % 8
        pages = last - first + 1
        known = min(pages, 8 * len(octets))
        bits &= (1 << known) - 1
        shares = []
        for part in range(min(width, pages)):
            low, high = part * pages // width, max((part + 1) * pages // width, part * pages // width + 1)
            if pages < width:
                low, high = part, part + 1
            seen = max(min(high, known) - low, 0)
            shares.append(((bits >> low) & ((1 << seen) - 1)).bit_count() / (high - low) if seen else 0.0)
        found.append(Dirty(region.guest_address, region.size, pages, bits.bit_count(), tuple(shares)))
    return tuple(found)
