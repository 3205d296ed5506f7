"""Guest memory by address: a user address (of the front-end), a guest address, or one behind an IOMMU.

Rings are found by user address; by guest address with GPA_ADDRESSES. What descriptors name are guest addresses. With
ACCESS_PLATFORM both are I/O virtual addresses, translated as the wire told it. Source: vhost-user, Memory access.

Nothing here reads a file: each region brings its own way to be read, by offset in its file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from vhostspy.dissectors import virtio
from vhostspy.session.state import Region, Session

from .iotlb import Translations

#: a protocol feature: ring addresses are the guest's
GPA_ADDRESSES = 1 << 21
ACCESS_PLATFORM = 1 << next(bit for bit, name in virtio.COMMON_FEATURES.names.items() if name == "ACCESS_PLATFORM")

#: (offset in the file, length) -> octets, fewer where the file ends; raises Outside where it cannot be read
Read = Callable[[int, int], bytes]
#: (offset in the file, a multiple of 2, count) -> 16-bit words, each loaded at once, live; likewise
Words = Callable[[int, int], Sequence[int]]


class Outside(Exception):
    """An address leads to no memory that can be looked at."""


class Unknown(Outside):
    """Where it leads cannot be told here: the device may know, or be able to look."""


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
            raise Outside(f"a region's file ends before {self.offset + self.length:#x}")
        return octets


class Span(NamedTuple):
    """``length`` bytes whose addresses follow each other, in one piece or several."""

    pieces: tuple[Piece, ...]
    length: int

    def octets(self) -> bytes:
        return b"".join([piece.octets() for piece in self.pieces])


class Space:
    """A session's memory, and how its addresses are meant.

    mapped: what of the regions can be looked at. translations: None where there is no IOMMU. guest_rings: rings are
    given by guest address. regions: all that there are. features: what virtio features are agreed on.
    """

    def __init__(
        self,
        mapped: tuple[Mapped, ...],
        translations: Translations | None = None,
        guest_rings: bool = False,
        regions: tuple[Region, ...] = (),
        features: int = 0,
    ) -> None:
        self.mapped, self.regions = mapped, regions
        self.translations, self.guest_rings, self.features = translations, guest_rings, features
        #: by guest address or not: where they begin, sorted, and the regions in that order
        self._sorted: dict[bool, tuple[list[int], list[Mapped]]] = {}
        for by_guest in (False, True):
            ordered = sorted(mapped, key=lambda one: _start(one.region, by_guest))
            self._sorted[by_guest] = [_start(one.region, by_guest) for one in ordered], ordered

    def ring(self, address: int, length: int) -> Span:
        """A part of a ring."""
        return Span(tuple(self._pieces(address, length, self.guest_rings, "ring address")), length)

    def buffer(self, address: int, length: int) -> Span:
        """What a descriptor names; it may cross from region to region."""
        by_guest = self.translations is None or self.guest_rings
        return Span(tuple(self._pieces(address, length, by_guest, "address")), length)

    def octets(self, address: int, length: int) -> bytes:
        """The octets that a descriptor names."""
        return self.buffer(address, length).octets()

    def _pieces(self, address: int, length: int, by_guest: bool, what: str) -> list[Piece]:
        pieces: list[Piece] = []
        at, left = address, length
        while left or not pieces:
            real, most = at, left
            if self.translations is not None:
                translated = self.translations.translate(at)
                if translated is None:
                    raise Unknown(f"{what} {at:#x} is not translated")
                real, most = translated[0], min(left, translated[1])
            mapped = self._find(real, by_guest)
            if mapped is None:
                self._miss(what, at, real, by_guest)
            region = mapped.region
            start = real - _start(region, by_guest)
            most = min(most, region.size - start)
            pieces.append(Piece(mapped, region.offset + start, most))
            at, left = at + most, left - most
        return pieces

    def _find(self, address: int, by_guest: bool) -> Mapped | None:
        starts, ordered = self._sorted[by_guest]
        at = bisect_right(starts, address) - 1
        # where regions overlap, which they should not, the one before may reach further
        while at >= 0:
            if address - starts[at] < ordered[at].region.size:
                return ordered[at]
            at -= 1
        return None

    def _miss(self, what: str, address: int, real: int, by_guest: bool) -> NoReturn:
        for region in self.regions:
            if 0 <= real - _start(region, by_guest) < region.size:
                raise Unknown(f"{what} {address:#x} is in a region (#{region.no}) that cannot be looked at")
        raise Outside(f"{what} {address:#x} is in no region")


def _start(region: Region, by_guest: bool) -> int:
    return region.guest_address if by_guest else region.user_address


def space(session: Session, mapped: tuple[Mapped, ...], translations: Translations | None = None) -> Space:
    """The session's memory as it is agreed on now."""
    features = session.virtio_agreed or 0
    guest_rings = bool((session.protocol_agreed or 0) & GPA_ADDRESSES)
    translated = (translations or Translations()) if features & ACCESS_PLATFORM else None
    return Space(mapped, translated, guest_rings, session.regions, features)
