"""Guest memory by address: a user address (of the front-end), a guest address, or one behind an IOMMU.

Rings are found by user address; by guest address with GPA_ADDRESSES. What descriptors name are guest addresses. With
ACCESS_PLATFORM both are I/O virtual addresses, translated as the wire told it. Source: vhost-user, Memory access.

Nothing here reads a file: each region brings its own way to be read, by offset in its file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vhostspy.dissectors import virtio
from vhostspy.session.state import Region, Session

from .iotlb import Translations, translate

#: a protocol feature: ring addresses are the guest's
GPA_ADDRESSES = 1 << 21
ACCESS_PLATFORM = 1 << next(bit for bit, name in virtio.COMMON_FEATURES.names.items() if name == "ACCESS_PLATFORM")

#: (offset in the file, length) -> octets, fewer where the file ends
Read = Callable[[int, int], bytes]
#: (offset in the file, a multiple of 2, count) -> 16-bit words, each loaded at once, live
Words = Callable[[int, int], Sequence[int]]


class Outside(Exception):
    """An address leads to no memory that can be looked at."""


class Mapped(NamedTuple):
    """A region of the session that can be looked at."""

    region: Region
    read: Read
    words: Words


class Piece(NamedTuple):
    """``length`` bytes at ``offset`` of a region's file."""

    mapped: Mapped
    offset: int
    length: int

    def octets(self) -> bytes:
        octets = self.mapped.read(self.offset, self.length)
        if len(octets) < self.length:
            raise Outside(f"a region's file ends at {self.offset + len(octets):#x}, before {self.offset:#x} + "
                          f"{self.length}")  # fmt: skip
        return octets


class Space(NamedTuple):
    """A session's memory, and how its addresses are meant."""

    mapped: tuple[Mapped, ...]
    translations: Translations = ()
    iommu: bool = False
    #: rings are given by guest address
    guest_rings: bool = False
    #: all that there are
    regions: tuple[Region, ...] = ()

    def ring(self, address: int, length: int) -> Piece:
        """A part of a ring, which lies in one piece."""
        pieces = self._pieces(address, length, self.guest_rings, "ring address")
        if len(pieces) > 1:
            raise Outside(f"{length} bytes of a ring at {address:#x} lie in {len(pieces)} pieces")
        return pieces[0]

    def buffer(self, address: int, length: int) -> list[Piece]:
        """What a descriptor names; it may cross from region to region."""
        return self._pieces(address, length, not self.iommu or self.guest_rings, "address")

    def octets(self, address: int, length: int) -> bytes:
        """The octets that a descriptor names."""
        return b"".join(piece.octets() for piece in self.buffer(address, length))

    def _pieces(self, address: int, length: int, by_guest: bool, what: str) -> list[Piece]:
        pieces: list[Piece] = []
        at, left = address, length
        while left or not pieces:
            real, most = at, left
            if self.iommu:
                translated = translate(self.translations, at)
                if translated is None:
                    raise Outside(f"{what} {at:#x} is not translated")
                real, most = translated[0], min(left, translated[1])
            for mapped in self.mapped:
                region = mapped.region
                start = real - (region.guest_address if by_guest else region.user_address)
                if 0 <= start < region.size:
                    most = min(most, region.size - start)
                    pieces.append(Piece(mapped, region.offset + start, most))
                    break
            else:
                raise Outside(f"{what} {at:#x} is in {self._where(real, by_guest)}")
            at, left = at + most, left - most
        return pieces

    def _where(self, address: int, by_guest: bool) -> str:
        for region in self.regions:
            if 0 <= address - (region.guest_address if by_guest else region.user_address) < region.size:
                return f"a region (#{region.no}) that cannot be looked at"
        return "no region"


def space(session: Session, mapped: tuple[Mapped, ...], translations: Translations = ()) -> Space:
    """The session's memory as it is agreed on now."""
    iommu = bool((session.virtio_agreed or 0) & ACCESS_PLATFORM)
    guest_rings = bool((session.protocol_agreed or 0) & GPA_ADDRESSES)
    return Space(mapped, translations if iommu else (), iommu, guest_rings, session.regions)
