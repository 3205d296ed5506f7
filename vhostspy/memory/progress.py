"""How rings move from one sample to the next: since when a ring stands still, and how fast it went. Values only."""

from __future__ import annotations

from typing import NamedTuple

from .ring import Ring

#: rings that are remembered
MOST = 65_536


class Pace(NamedTuple):
    """``still_ns``: how long the device has used nothing, as far as was seen; None: it was seen once only."""

    still_ns: int | None
    #: buffers used a second since the sample before; None: not known
    per_second: float | None


class Progress:
    """Remembers the last sample of each ring."""

    def __init__(self) -> None:
        #: (session, ring) -> when it was seen last, since when it stands still, and where
        self._last: dict[tuple[int, int], tuple[int, int, tuple[int | None, bool | None]]] = {}

    def feed(self, session: int, ring: Ring, now_ns: int) -> Pace:
        """What a ring's new sample tells, beside the one before."""
        key, where = (session, ring.number), (ring.used, ring.used_wrap)
        last = self._last.get(key)
        if last is None:
            if len(self._last) < MOST:
                self._last[key] = now_ns, now_ns, where
            return Pace(None, None)
        seen_ns, since_ns, before = last
        if where != before:
            since_ns = now_ns
        self._last[key] = now_ns, since_ns, where
        rate = None
        if ring.layout == "split" and ring.used is not None and before[0] is not None and now_ns > seen_ns:
            rate = ((ring.used - before[0]) & 0xFFFF) * 1e9 / (now_ns - seen_ns)
        return Pace(now_ns - since_ns, rate)
