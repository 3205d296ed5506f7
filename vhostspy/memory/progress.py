"""How rings move from one sample to the next: since when a ring stands still, and how fast it went. Values only."""

from __future__ import annotations

from typing import NamedTuple

from .dirty_log import Dirty
from .ring import Ring

#: rings that are remembered
MOST = 65_536


class Pace(NamedTuple):
    """``still_ns``: how long the device has used nothing, as far as was seen; None: it was seen once only."""

    still_ns: int | None
    #: buffers used a second since the sample before; None: not known
    per_second: float | None


class _Last(NamedTuple):
    """A ring's last sample, and since when it stands still where it stood at the last glance."""

    seen_ns: int
    sampled: int | None
    since_ns: int
    used: int | None
    wrap: bool | None


class Progress:
    """Remembers the last sample of each ring."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], _Last] = {}
        #: (session, guest address) of dirty logs -> when, and how many pages
        self._dirty: dict[tuple[int, int], tuple[int, int]] = {}

    def feed(self, session: int, ring: Ring, now_ns: int) -> Pace:
        """What a ring's new sample tells, beside the one before."""
        key = session, ring.number
        last = self._last.get(key)
        if last is None:
            if len(self._last) < MOST:
                self._last[key] = _Last(now_ns, ring.used, now_ns, ring.used, ring.used_wrap)
            return Pace(None, None)
        moved = (ring.used, ring.used_wrap) != (last.used, last.wrap)
        since_ns = now_ns if moved else last.since_ns
        self._last[key] = _Last(now_ns, ring.used, since_ns, ring.used, ring.used_wrap)
        rate = None
        if ring.layout == "split" and ring.used is not None and last.sampled is not None and now_ns > last.seen_ns:
            rate = ((ring.used - last.sampled) & 0xFFFF) * 1e9 / (now_ns - last.seen_ns)
        return Pace(now_ns - since_ns, rate)

    def forget(self, session: int) -> None:
        """It has ended."""
        for known in (self._last, self._dirty):
            for key in [key for key in known if key[0] == session]:
                del known[key]

    def dirtied(self, session: int, region: Dirty, now_ns: int) -> float | None:
        """Pages a second that became dirty since the sample before, at least: its reader may have cleared some."""
        key = session, region.guest_address
        before = self._dirty.get(key)
        if len(self._dirty) < MOST:
            self._dirty[key] = now_ns, region.dirty
        if before is None or now_ns <= before[0]:
            return None
        return max(region.dirty - before[1], 0) * 1e9 / (now_ns - before[0])

    def glance(self, session: int, ring: int, used: int, now_ns: int) -> None:
        """A split ring's used index between two samples: its standing still is known more closely."""
        last = self._last.get((session, ring))
        if last is not None and used != last.used:
            self._last[session, ring] = last._replace(since_ns=now_ns, used=used)
