"""A block driver's queue: requests put into guest memory, offered, and taken back."""

from __future__ import annotations

from typing import NamedTuple

from .block import GET_ID, ID_SIZE, IN, OK, OUT, REQUEST, SECTOR
from .memory import GuestMemory, RingError
from .vring import DriverRing, Piece

#: a request's place in guest memory: header, status byte, indirect table, then data; all in bytes
_STATUS_AT, _TABLE_AT, _TABLE_SIZE, _DATA_AT = 16, 64, 16 * 16, 512
#: the longest request, in sectors
MOST_SECTORS = 16
PLACE_SIZE = _DATA_AT + MOST_SECTORS * SECTOR


class Done(NamedTuple):
    """A request that came back. ``written`` is what the device says it wrote, the status byte included."""

    head: int
    kind: int
    sector: int
    status: int
    data: bytes
    written: int


class _Pending(NamedTuple):
    place: int
    kind: int
    sector: int
    length: int


class BlockQueue:
    """One ring and the places for its requests, which begin at a guest address."""

    def __init__(self, memory: GuestMemory, ring: DriverRing, places_at: int, places: int, indirect: bool) -> None:
        self.memory = memory
        self.ring = ring
        self.indirect = indirect
        self._free = [places_at + PLACE_SIZE * number for number in reversed(range(places))]
        self._pending: dict[int, _Pending] = {}

    @property
    def room(self) -> int:
        """Requests that can still be offered before one comes back."""
        return len(self._free)

    def offer(self, kind: int, sector: int, data: bytes = b"", length: int = 0) -> int:
        """Make one request available; its head. ``data`` for OUT, ``length`` in bytes for what the device writes."""
        if max(len(data), length) > MOST_SECTORS * SECTOR:
            raise ValueError(f"a request carries at most {MOST_SECTORS} sectors")
        if not self._free:
            raise ValueError("all places for requests are taken")
        place = self._free[-1]
        self.memory.write(place, REQUEST.pack(kind, 0, sector))
        self.memory.write(place + _STATUS_AT, b"\xff")  # not a status: shows whether the device wrote one
        readable = [Piece(place, REQUEST.size)]
        writable = [Piece(place + _STATUS_AT, 1)]
        if data:
            self.memory.write(place + _DATA_AT, data)
            readable.append(Piece(place + _DATA_AT, len(data)))
        if length:
            writable.insert(0, Piece(place + _DATA_AT, length))
        table = Piece(place + _TABLE_AT, _TABLE_SIZE) if self.indirect else None
        head = self.ring.offer(readable, writable, table)
        self._free.pop()
        self._pending[head] = _Pending(place, kind, sector, length)
        return head

    def write(self, sector: int, data: bytes) -> int:
        return self.offer(OUT, sector, data)

    def read(self, sector: int, sectors: int) -> int:
        return self.offer(IN, sector, length=sectors * SECTOR)

    def get_id(self) -> int:
        return self.offer(GET_ID, 0, length=ID_SIZE)

    def take(self) -> Done | None:
        """The next request that the device has given back. RingError: it lies about which, or about how much."""
        used = self.ring.take_used()
        if used is None:
            return None
        place, kind, sector, length = self._pending.pop(used.head)
        self._free.append(place)
        if used.written > length + 1:
            raise RingError(f"the device says it wrote {used.written} bytes into {length + 1}")
        status = self.memory.read(place + _STATUS_AT, 1)[0]
        data = self.memory.read(place + _DATA_AT, length) if status == OK else b""
        return Done(used.head, kind, sector, status, data, used.written)
