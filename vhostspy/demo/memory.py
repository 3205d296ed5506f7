"""Guest memory as both sides see it: regions of shared files, found by guest address or by front-end address."""

from __future__ import annotations

import mmap
import os
import struct
from typing import NamedTuple

#: u64 guest address, u64 size, u64 front-end ("user") address, u64 offset in the file
REGION = struct.Struct("=QQQQ")
_LAST = (1 << 64) - 1


class RingError(Exception):
    """A ring or the memory it names is not what it has to be; the device or driver can't go on with it."""


class Place(NamedTuple):
    """Where a region is: bytes everywhere, ends are not included."""

    guest_address: int
    size: int
    user_address: int
    mmap_offset: int

    def packed(self) -> bytes:
        return REGION.pack(*self)


class Region:
    """One mapped region. The descriptor stays the caller's and may be closed afterwards."""

    def __init__(self, fd: int, place: Place) -> None:
        """ValueError: the place is empty, wraps around, or the file is too short (touching it would kill us)."""
        self.place = place
        if not place.size or max(place.guest_address, place.user_address, place.mmap_offset) + place.size - 1 > _LAST:
            raise ValueError(f"a region of {place.size} bytes at 0x{place.guest_address:x} can't be")
        if place.mmap_offset + place.size > os.fstat(fd).st_size:
            raise ValueError(f"the region ends at {place.mmap_offset + place.size}, its file at {os.fstat(fd).st_size}")
        skip = place.mmap_offset % mmap.ALLOCATIONGRANULARITY
        self._map = mmap.mmap(fd, place.size + skip, offset=place.mmap_offset - skip)
        self._whole = memoryview(self._map)
        self.octets = self._whole[skip : skip + place.size]
        #: the same as 16-bit words: one store or load each, so that an index is never seen half written
        self.words = self.octets[: place.size & ~1].cast("H")

    def close(self) -> None:
        self.words.release()
        self.octets.release()
        self._whole.release()
        self._map.close()


class GuestMemory:
    """The memory table. Every access looks its region up, so the table may change between any two of them."""

    def __init__(self) -> None:
        self.regions: list[Region] = []

    def add(self, region: Region) -> None:
        """Takes the region over; ValueError (and the region closed) if it overlaps another one's guest addresses."""
        new = region.place
        for old in (known.place for known in self.regions):
            if new.guest_address < old.guest_address + old.size and old.guest_address < new.guest_address + new.size:
                region.close()
                raise ValueError(f"the region at 0x{new.guest_address:x} overlaps the one at 0x{old.guest_address:x}")
        self.regions.append(region)

    def remove(self, place: Place) -> None:
        """By guest address, size and user address, as REM_MEM_REG does; ValueError if there is none."""
        for region in self.regions:
            if region.place[:3] == place[:3]:
                self.regions.remove(region)
                region.close()
                return
        raise ValueError(f"no region of {place.size} bytes at 0x{place.guest_address:x}")

    def clear(self) -> None:
        while self.regions:
            self.regions.pop().close()

    def pieces(self, guest_address: int, length: int) -> list[tuple[Region, int, int]]:
        """Where the bytes at a guest address are: region, start in it, length. RingError where there is no memory."""
        found = []
        while length:
            for region in self.regions:
                start = guest_address - region.place.guest_address
                if 0 <= start < region.place.size:
                    here = min(length, region.place.size - start)
                    break
            else:
                raise RingError(f"guest address 0x{guest_address:x} is in no region")
            found.append((region, start, here))
            guest_address += here
            length -= here
        return found

    def read(self, guest_address: int, length: int) -> bytes:
        return b"".join(
            region.octets[start : start + here].tobytes() for region, start, here in self.pieces(guest_address, length)
        )

    def write(self, guest_address: int, data: bytes) -> None:
        """Nothing is written if a part has no place."""
        at = 0
        for region, start, here in self.pieces(guest_address, len(data)):
            region.octets[start : start + here] = data[at : at + here]
            at += here

    def at_user(self, user_address: int, length: int) -> tuple[Region, int]:
        """The region that holds these bytes in one piece (rings must not be split), and where in it they begin."""
        for region in self.regions:
            start = user_address - region.place.user_address
            if start >= 0 and start + length <= region.place.size:
                return region, start
        raise RingError(f"{length} bytes at front-end address 0x{user_address:x} are in no region")
