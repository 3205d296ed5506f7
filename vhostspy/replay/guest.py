"""Guest memory of a replayed front-end: rings that are as empty as their recorded base says.

A back-end that starts such a ring finds nothing in it: both indexes of a split ring are the recorded base. A packed
ring needs nothing, zeroed descriptors are neither available nor used, whatever the wrap counters are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from vhostspy.message import Message
from vhostspy.session.state import Region, Ring, Session

from .store import Store

_RING_PACKED = 1 << 34
_IOMMU = 1 << 33
#: messages before which rings must be ready
BEFORE = frozenset({"SET_VRING_KICK", "SET_VRING_ENABLE", "VRING_KICK", "SET_STATUS"})


class Guest:
    """Writes rings into the memory that a session's front-end has handed over; owns nothing."""

    def __init__(self, store: Store, messages: Sequence[Message]) -> None:
        self._store = store
        #: whether a ring begins anywhere else than at 0, where new memory is as it should be
        self.has_bases = any(
            one.name == "SET_VRING_BASE" and one.kind == "request" and one.fields.get("num") for one in messages
        )
        #: ring -> what it was made ready for
        self._ready: dict[int, tuple[tuple[int, ...], int]] = {}
        #: (I/O address, size, front-end address) of everything that the record translates
        self._translations = [
            (fields["iova"], fields["length"], fields["user_address"])
            for fields in (one.fields for one in messages if one.name == "IOTLB_MSG" and one.channel == "main")
            if {"iova", "length", "user_address"} <= fields.keys() and fields["length"]
        ]

    def prepare(self, session: Session) -> None:
        """Set up what the next start of a ring will look at."""
        if (session.virtio_agreed or 0) & _RING_PACKED:
            return
        for ring in session.rings.values():
            if ring.addresses is None or ring.started:
                continue
            base = (ring.base or 0) & 0xFFFF
            if self._ready.get(ring.number) != (ring.addresses, base):
                self._ready[ring.number] = (ring.addresses, base)
                self._write(session, ring, base)

    def _write(self, session: Session, ring: Ring, base: int) -> None:
        """u16 flags and u16 index begin the available ring, and the used ring."""
        _, used, available, _ = ring.addresses or (0, 0, 0, 0)
        octets = bytes(2) + base.to_bytes(2, "big" if ring.big_endian else "little")
        for address in (available, used):
            if (session.virtio_agreed or 0) & _IOMMU:
                address = self._translated(address)
            place = self._place(session.regions, address)
            if place is None:
                continue
            with suppress(OSError, OverflowError):  # a ring that lies outside its file has no empty state
                # a new memfd is all zeros
                if base or os.pread(place[0], 4, place[1]).strip(b"\0"):
                    os.pwrite(place[0], octets, place[1])

    def _translated(self, address: int) -> int:
        for iova, size, user in reversed(self._translations):
            if iova <= address < iova + size:
                return int(user + address - iova)
        return address

    def _place(self, regions: tuple[Region, ...], address: int) -> tuple[int, int] | None:
        """The file that an address of the front-end is in, lent, and the offset in it."""
        for region in regions:
            if region.user_address <= address <= region.user_address + region.size - 4:
                fd = self._store.find(region.fd)
                if fd is not None:
                    return fd, region.offset + address - region.user_address
        return None
