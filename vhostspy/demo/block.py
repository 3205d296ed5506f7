"""The virtio block device itself: configuration space, requests, and a disk in memory.

A request is one chain: 16 bytes of header (u32 type, u32 reserved, u64 sector), data, and one status byte that the
device writes last. Little-endian, sectors of 512 bytes. Source: virtio 1.3, Block Device.
"""

from __future__ import annotations

import struct

from .memory import GuestMemory, RingError
from .vring import Chain, Piece

SECTOR = 512
REQUEST = struct.Struct("<IIQ")
IN, OUT, FLUSH, GET_ID = 0, 1, 4, 8
OK, IOERR, UNSUPP = 0, 1, 2

#: the configuration space up to the write-zeroes members, which is what QEMU asks for, in bytes
CONFIG_SIZE = 60
#: offset of the one byte that a driver may write: the write-back cache switch
WRITEBACK_AT = 32
ID_SIZE = 20


class Disk:
    """A disk of so many sectors, zeroes at first."""

    def __init__(self, sectors: int = 2048, serial: str = "vhostspy-demo") -> None:
        self.octets = bytearray(sectors * SECTOR)
        self.serial = serial.encode()[:ID_SIZE].ljust(ID_SIZE, b"\0")
        self.writeback = True
        #: requests answered, and sectors written and read by them
        self.requests = self.sectors_read = 0

    @property
    def sectors(self) -> int:
        return len(self.octets) // SECTOR

    def resize(self, sectors: int) -> None:
        """Keeps what is there; new sectors are zeroes."""
        wanted = sectors * SECTOR
        if wanted < len(self.octets):
            del self.octets[wanted:]
        self.octets.extend(bytes(wanted - len(self.octets)))

    def config(self, queues: int) -> bytes:
        """The configuration space, ``CONFIG_SIZE`` bytes."""
        space = bytearray(CONFIG_SIZE)
        # u64 capacity in sectors, u32 size_max, u32 seg_max, geometry (4), u32 blk_size
        struct.pack_into("<QII4xI", space, 0, self.sectors, 0, 126, SECTOR)
        space[WRITEBACK_AT] = self.writeback
        struct.pack_into("<H", space, 34, queues)
        return bytes(space)

    def serve(self, memory: GuestMemory, chain: Chain) -> int:
        """Carry out one request and write its answer; the number of bytes written. RingError: not a request at all."""
        if sum(piece.length for piece in chain.readable) < REQUEST.size or not chain.writable:
            raise RingError("a request without header or without a place for its status")
        head, data_out = cut(chain.readable, REQUEST.size)
        kind, _, sector = REQUEST.unpack(gather(memory, head))
        room = sum(piece.length for piece in chain.writable) - 1
        if room < 0:
            raise RingError("a request without a place for its status")
        data_in, status_at = cut(chain.writable, room)
        status, written = self._carry_out(memory, kind, sector, data_out, data_in, room)
        scatter(memory, status_at, bytes([status]))
        self.requests += 1
        return written + 1

    def _carry_out(
        self, memory: GuestMemory, kind: int, sector: int, data_out: list[Piece], data_in: list[Piece], room: int
    ) -> tuple[int, int]:
        """Status, and bytes of data written."""
        if kind == FLUSH:
            return OK, 0
        if kind == GET_ID:
            if room < ID_SIZE:
                return IOERR, 0
            scatter(memory, data_in, self.serial)
            return OK, ID_SIZE
        if kind not in (IN, OUT):
            return UNSUPP, 0
        # the size is looked at before anything is copied: a driver may claim gigabytes
        length = room if kind == IN else sum(piece.length for piece in data_out)
        if length % SECTOR or sector * SECTOR + length > len(self.octets):
            return IOERR, 0
        start = sector * SECTOR
        if kind == IN:
            scatter(memory, data_in, bytes(self.octets[start : start + length]))
            self.sectors_read += length // SECTOR
            return OK, length
        self.octets[start : start + length] = gather(memory, data_out)
        return OK, 0


def cut(pieces: tuple[Piece, ...], at: int) -> tuple[list[Piece], list[Piece]]:
    """The first ``at`` bytes of the buffers, and the rest."""
    before: list[Piece] = []
    after: list[Piece] = []
    for address, length in pieces:
        here = min(at, length)
        if here:
            before.append(Piece(address, here))
        if length > here:
            after.append(Piece(address + here, length - here))
        at -= here
    return before, after


def gather(memory: GuestMemory, pieces: list[Piece]) -> bytes:
    return b"".join(memory.read(*piece) for piece in pieces)


def scatter(memory: GuestMemory, pieces: list[Piece], data: bytes) -> None:
    """Fill the buffers from their beginning; ``data`` must not be longer than they are."""
    at = 0
    for address, length in pieces:
        part = data[at : at + length]
        memory.write(address, part)
        at += len(part)
