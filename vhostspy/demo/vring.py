"""A split virtqueue, from both sides.

Layout (little-endian, virtio 1): a table of N descriptors of 16 bytes; the available ring, written by the driver only;
the used ring, written by the device only. Both indexes run freely from 0 to 65535 and around; N divides 65536.

Python has no memory barriers. It needs none here: each index has one writer, is stored and loaded as one aligned 16-bit
word after what it announces, and every hand-over goes through a system call (kick or call) besides.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from .memory import GuestMemory, RingError

#: u64 guest address, u32 length, u16 flags, u16 next
DESCRIPTOR = struct.Struct("<QIHH")
#: u32 head of the chain, u32 bytes the device wrote
USED = struct.Struct("<II")
NEXT, WRITE, INDIRECT = 1, 2, 4


class Addresses(NamedTuple):
    """Front-end addresses of the three parts."""

    descriptors: int
    available: int
    used: int


class Piece(NamedTuple):
    """A buffer: guest address and length in bytes."""

    address: int
    length: int


class Chain(NamedTuple):
    """What the driver offers: buffers to read from, then buffers to write into."""

    head: int
    readable: tuple[Piece, ...]
    writable: tuple[Piece, ...]


class Used(NamedTuple):
    head: int
    written: int


class SplitRing:
    """What both sides share: where things are, and how a word is read and written."""

    def __init__(self, memory: GuestMemory, size: int, addresses: Addresses) -> None:
        """ValueError: not a power of two up to 32768, or an address not aligned as its part needs."""
        if not 0 < size <= 32768 or size & (size - 1):
            raise ValueError(f"a split ring can't have {size} entries")
        for address, alignment in zip(addresses, (16, 2, 4), strict=True):
            if address % alignment:
                raise ValueError(f"0x{address:x} is not aligned to {alignment} bytes")
        self.memory = memory
        self.size = size
        self.addresses = addresses

    @staticmethod
    def octets(size: int) -> tuple[int, int, int]:
        """Bytes of the three parts, with the event words at their ends."""
        return 16 * size, 6 + 2 * size, 6 + 8 * size

    def available_index(self) -> int:
        return self._word(self.addresses.available + 2)

    def used_index(self) -> int:
        return self._word(self.addresses.used + 2)

    def _word(self, address: int) -> int:
        region, start = self.memory.at_user(address, 2)
        if start % 2:
            raise RingError(f"0x{address:x} is not aligned in its region")
        word: int = region.words[start // 2]
        return word if sys.byteorder == "little" else (word >> 8 | word << 8 & 0xFFFF)

    def _set_word(self, address: int, word: int) -> None:
        region, start = self.memory.at_user(address, 2)
        if start % 2:
            raise RingError(f"0x{address:x} is not aligned in its region")
        region.words[start // 2] = word if sys.byteorder == "little" else (word >> 8 | word << 8 & 0xFFFF)


class DriverRing(SplitRing):
    """The driver's side: owns the descriptor table and the available ring."""

    def __init__(self, memory: GuestMemory, size: int, addresses: Addresses, base: int = 0) -> None:
        super().__init__(memory, size, addresses)
        self._free = list(range(size - 1, -1, -1))
        #: head -> the descriptors of its chain
        self._out: dict[int, list[int]] = {}
        self._next_available = self._next_used = base
        self._set_word(addresses.available, 0)
        self._set_word(addresses.available + 2, base)
        self._set_word(addresses.used, 0)
        self._set_word(addresses.used + 2, base)

    @property
    def outstanding(self) -> int:
        return len(self._out)

    def offer(self, readable: Sequence[Piece], writable: Sequence[Piece], table: Piece | None = None) -> int:
        """Make one chain available and give its head. ``table``: room for an indirect table, to be used for it.

        ValueError: no buffers, or more than there are free descriptors.
        """
        entries = [(piece, 0) for piece in readable] + [(piece, WRITE) for piece in writable]
        needed = 1 if table is not None else len(entries)
        if not entries or needed > len(self._free):
            raise ValueError(f"{len(entries)} buffers don't fit into {len(self._free)} free descriptors")
        if table is not None and table.length < len(entries) * DESCRIPTOR.size:
            raise ValueError(f"{len(entries)} buffers don't fit into an indirect table of {table.length} bytes")
        taken = [self._free.pop() for _ in range(needed)]
        if table is not None:
            self.memory.write(table.address, self._linked(entries, list(range(len(entries)))))
            self._set_descriptor(taken[0], table.address, len(entries) * DESCRIPTOR.size, INDIRECT, 0)
        else:
            octets = self._linked(entries, taken)
            for at, index in enumerate(taken):
                self._set_descriptor(index, *DESCRIPTOR.unpack_from(octets, at * DESCRIPTOR.size))
        self._out[taken[0]] = taken
        self._set_word(self.addresses.available + 4 + 2 * (self._next_available % self.size), taken[0])
        self._next_available = (self._next_available + 1) & 0xFFFF
        self._set_word(self.addresses.available + 2, self._next_available)
        return taken[0]

    def take_used(self) -> Used | None:
        """The next chain that the device has given back. RingError: it gave back what it never got."""
        pending = (self.used_index() - self._next_used) & 0xFFFF
        if not pending:
            return None
        if pending > len(self._out):
            raise RingError(f"the device gave back {pending} chains, it had {len(self._out)}")
        address = self.addresses.used + 4 + 8 * (self._next_used % self.size)
        region, start = self.memory.at_user(address, USED.size)
        head, written = USED.unpack_from(region.octets, start)
        if head not in self._out:
            raise RingError(f"the device gave back chain {head}, which it didn't have")
        self._free.extend(reversed(self._out.pop(head)))
        self._next_used = (self._next_used + 1) & 0xFFFF
        return Used(head, written)

    def write_descriptor(self, index: int, address: int, length: int, flags: int, next: int) -> None:
        """For tests: put any descriptor into the table, sound or not."""
        self._set_descriptor(index, address, length, flags, next)

    def announce(self, head: int) -> None:
        """For tests: make any number available as a head, sound or not."""
        self._set_word(self.addresses.available + 4 + 2 * (self._next_available % self.size), head)
        self._next_available = (self._next_available + 1) & 0xFFFF
        self._set_word(self.addresses.available + 2, self._next_available)

    @staticmethod
    def _linked(entries: Sequence[tuple[Piece, int]], indexes: Sequence[int]) -> bytes:
        following = [*indexes[1:], 0]
        return b"".join(
            DESCRIPTOR.pack(piece.address, piece.length, flags | (NEXT if at < len(entries) - 1 else 0), following[at])
            for at, (piece, flags) in enumerate(entries)
        )

    def _set_descriptor(self, index: int, address: int, length: int, flags: int, next: int) -> None:
        region, start = self.memory.at_user(self.addresses.descriptors + DESCRIPTOR.size * index, DESCRIPTOR.size)
        DESCRIPTOR.pack_into(region.octets, start, address, length, flags, next)


class DeviceRing(SplitRing):
    """The device's side: reads descriptors and available ring with distrust, writes the used ring."""

    def __init__(self, memory: GuestMemory, size: int, addresses: Addresses, base: int = 0) -> None:
        super().__init__(memory, size, addresses)
        #: next available index to look at: what GET_VRING_BASE tells
        self.next_available = base
        self._next_used = self.used_index()

    def pending(self) -> int:
        """Chains made available and not fetched yet. RingError: more than the ring can hold."""
        pending = (self.available_index() - self.next_available) & 0xFFFF
        if pending > self.size:
            raise RingError(f"{pending} chains are available in a ring of {self.size}")
        return pending

    def fetch(self) -> Chain | None:
        """The next available chain. RingError: a loop, an index outside, readable behind writable, a bad table."""
        if not self.pending():
            return None
        head = self._word(self.addresses.available + 4 + 2 * (self.next_available % self.size))
        chain = self.chain(head)
        self.next_available = (self.next_available + 1) & 0xFFFF
        return chain

    def chain(self, head: int) -> Chain:
        """Follow the chain that begins at ``head`` (fetch does; resubmitting in-flight chains does it again)."""
        region, start = self.memory.at_user(self.addresses.descriptors, DESCRIPTOR.size * self.size)
        readable: list[Piece] = []
        writable: list[Piece] = []
        with region.octets[start : start + DESCRIPTOR.size * self.size] as table:
            self._follow(table, head, readable, writable, indirect=False)
        return Chain(head, tuple(readable), tuple(writable))

    def complete(self, head: int, written: int) -> int:
        """Give a chain back; the used index afterwards."""
        address = self.addresses.used + 4 + 8 * (self._next_used % self.size)
        region, start = self.memory.at_user(address, USED.size)
        USED.pack_into(region.octets, start, head, written)
        self._next_used = (self._next_used + 1) & 0xFFFF
        self._set_word(self.addresses.used + 2, self._next_used)
        return self._next_used

    def _follow(
        self, table: memoryview | bytes, at: int, readable: list[Piece], writable: list[Piece], *, indirect: bool
    ) -> None:
        count = len(table) // DESCRIPTOR.size
        for _ in range(count):  # a chain longer than its table goes round
            if at >= count:
                raise RingError(f"descriptor {at} is outside a table of {count}")
            address, length, flags, next = DESCRIPTOR.unpack_from(table, at * DESCRIPTOR.size)
            if flags & INDIRECT:
                if indirect:
                    raise RingError("an indirect table names another one")
                if not length or length % DESCRIPTOR.size or length > DESCRIPTOR.size * 65536:
                    raise RingError(f"an indirect table can't be {length} bytes long")
                if flags & NEXT:
                    raise RingError("an indirect descriptor has a next one")
                self._follow(self.memory.read(address, length), 0, readable, writable, indirect=True)
                return
            if flags & WRITE:
                writable.append(Piece(address, length))
            elif writable:
                raise RingError(f"descriptor {at} is readable behind a writable one")
            else:
                readable.append(Piece(address, length))
            if not flags & NEXT:
                return
            at = next
        raise RingError(f"a chain of more than {count} descriptors goes round in a loop")
