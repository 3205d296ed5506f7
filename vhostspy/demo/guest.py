"""The guest behind the front-end: one memory file, its regions, and the block driver's rings in them."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import NamedTuple

from .driver import PLACE_SIZE, BlockQueue
from .memory import GuestMemory, Place, Region
from .vring import Addresses, DriverRing, SplitRing
from .wire import OwnedFd

#: where the regions after the first one are in the guest: as QEMU's memory above the hole for devices
_ABOVE_4G = 1 << 32
#: pretended addresses of the front-end's own mapping
_USER_BASE = 0x7F10_0000_0000
#: requests that a ring can have out at once
_PLACES = 16


class Ring(NamedTuple):
    """A queue of requests and its eventfds, which are the guest's."""

    queue: BlockQueue
    kick: OwnedFd
    call: OwnedFd
    err: OwnedFd


class Guest:
    """Owns the memory file, its mapping and the eventfds; ``close`` gives all back.

    Rings lie in the first region, a page boundary between their parts; buffers of requests in the last one.
    """

    def __init__(self, queues: int, queue_size: int, region_sizes: Sequence[int]) -> None:
        self.memory = GuestMemory()
        self.memory_fd = OwnedFd(os.memfd_create("guest-memory", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
        self.rings: list[Ring] = []
        try:
            self._make_memory(region_sizes)
            self._make_rings(queues, queue_size)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for ring in self.rings:
            for fd in (ring.kick, ring.call, ring.err):
                fd.close()
        self.rings.clear()
        self.memory.clear()
        self.memory_fd.close()

    def _make_memory(self, sizes: Sequence[int]) -> None:
        """One file, a region after the other in it; the first at guest address 0, the others above 4 GiB."""
        os.ftruncate(self.memory_fd.fileno(), sum(sizes))
        offset = 0
        for number, size in enumerate(sizes):
            guest = 0 if number == 0 else _ABOVE_4G + offset - sizes[0]
            self.memory.add(Region(self.memory_fd.fileno(), Place(guest, size, _USER_BASE + offset, offset)))
            offset += size

    def _make_rings(self, queues: int, queue_size: int) -> None:
        parts = [-(-octets // mmap.PAGESIZE) * mmap.PAGESIZE for octets in SplitRing.octets(queue_size)]
        at = self.memory.regions[0].place.user_address
        places_at = self.memory.regions[-1].place.guest_address
        if len(self.memory.regions) == 1:
            places_at += queues * sum(parts)
        for _ in range(queues):
            addresses = Addresses(at, at + parts[0], at + parts[0] + parts[1])
            at += sum(parts)
            # a quarter: a request without an indirect table takes up to four descriptors
            places = max(min(_PLACES, queue_size // 4), 1)
            queue = BlockQueue(self.memory, DriverRing(self.memory, queue_size, addresses), places_at, places, False)
            places_at += places * PLACE_SIZE
            self.rings.append(Ring(queue, _eventfd(), _eventfd(), _eventfd()))


def _eventfd() -> OwnedFd:
    return OwnedFd(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
