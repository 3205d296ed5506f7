"""The incomplete message at the end of what was read, and what its record will say."""

from __future__ import annotations

from typing import NamedTuple

from vhostspy.capture import record


class Whole(NamedTuple):
    """A whole message on its way, with everything its record needs; ``fds`` are owned by whoever holds this.

    wall, mono: times of its first byte, ns. span: ns to its last. reads: how many it came in. fds_at: at which byte the
    read began that brought its descriptors, 0 when that was its first.
    """

    data: memoryview | bytes
    fds: list[int]
    wall: int
    mono: int
    span: int = 0
    reads: int = 1
    fds_at: int = 0
    flags: int = 0


class Held:
    """Bytes and descriptors that wait for the rest of their message; owns the descriptors.

    ``sent`` of the bytes went on already, and with them ``sent_fds`` of the descriptors: those that had come by then.
    """

    __slots__ = ("data", "fds", "fds_at", "flags", "last", "mono", "reads", "sent", "sent_fds", "wall")

    def __init__(self) -> None:
        self.data = bytearray()
        self.fds: list[int] = []
        self.clear()

    def clear(self) -> None:
        """Nothing is held; who took the data took the descriptors."""
        self.data = bytearray()
        self.fds = []
        self.sent = self.sent_fds = 0
        self.reads = 0
        self.flags = 0
        self.fds_at = 0
        self.wall = self.mono = self.last = 0

    def keep(self, data: memoryview, old: int, fds: list[int], wall: int, mono: int) -> None:
        """``data`` is all there is of it, the first ``old`` bytes from before; takes over ``fds``, which came now."""
        if not old:
            self.wall, self.mono = wall, mono
        self._late(fds, old)
        self.data = bytearray(data)
        self.reads += 1
        self.last = mono
        self.fds += fds

    def complete(self, data: memoryview, fds: list[int], old: int, mono: int) -> Whole:
        """The rest came, and with it ``fds``: what was held is whole now, and held no more."""
        self._late(fds, old)
        whole = Whole(
            data, self.fds + fds, self.wall, self.mono, mono - self.mono, self.reads + 1, self.fds_at, self.flags
        )
        self.clear()
        return whole

    def _late(self, fds: list[int], old: int) -> None:
        """Descriptors belong with the first byte; these came later, at ``old``."""
        if fds and old:
            self.flags |= record.LATE_FDS
            self.fds_at = self.fds_at or old
