"""The socket of a vfio-user peer: messages of a 16-byte header and a payload, with descriptors.

Octets are put together here by ``struct``, from the specification: a mistake in vhostspy's rows cannot hide in them.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

HEADER = Struct("=HHIII")
REPLY, NO_REPLY, ERROR = 1, 1 << 4, 1 << 5

VERSION, DMA_MAP, DMA_UNMAP, DEVICE_GET_INFO, DEVICE_GET_REGION_INFO, DEVICE_GET_REGION_IO_FDS = range(1, 7)
DEVICE_GET_IRQ_INFO, DEVICE_SET_IRQS, REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, DEVICE_RESET = range(7, 14)
REGION_WRITE_MULTI, DEVICE_FEATURE, MIG_DATA_READ, MIG_DATA_WRITE = range(15, 19)

BAR0, BAR2, CONFIG = 0, 2, 7
INTX, MSI, MSIX, ERR, REQ = range(5)


class Packet(NamedTuple):
    """A message; ``fds`` belong to whoever has it."""

    msgid: int
    command: int
    flags: int
    error: int
    payload: bytes
    fds: list[int]

    @property
    def is_reply(self) -> bool:
        return self.flags & 0xF == REPLY


class Gone(Exception):
    """The other end closed the socket."""


class Wire:
    """Owns its socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._next = 0

    def send(self, command: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = 0) -> int:
        """A command; gives its message id. The descriptors stay the caller's."""
        self._next = (self._next + 1) & 0xFFFF
        self._put(HEADER.pack(self._next, command, HEADER.size + len(payload), flags, 0) + payload, fds)
        return self._next

    def answer(self, asked: Packet, payload: bytes = b"", fds: Sequence[int] = (), error: int | None = None) -> None:
        """Its reply, unless it declines one."""
        if not asked.flags & NO_REPLY:
            flags = REPLY if error is None else REPLY | ERROR
            head = HEADER.pack(asked.msgid, asked.command, HEADER.size + len(payload), flags, error or 0)
            self._put(head + payload, fds)

    def receive(self) -> Packet:
        """The next message, whole."""
        fds: list[int] = []
        msgid, command, size, flags, error = HEADER.unpack(self._read(HEADER.size, fds))
        return Packet(msgid, command, flags, error, self._read(size - HEADER.size, fds), fds)

    def close(self) -> None:
        self.sock.close()

    def _put(self, data: bytes, fds: Sequence[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds).tobytes())] if fds else []
        sent = self.sock.sendmsg([data], rights)
        if sent < len(data):  # an empty rest would be an error once the other end is gone
            self.sock.sendall(data[sent:])

    def _read(self, count: int, fds: list[int]) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece, ancillary, _, _ = self.sock.recvmsg(count - len(data), socket.CMSG_SPACE(64 * 4))
            for _, _, octets in ancillary:
                came = array("i")
                came.frombytes(octets)
                fds.extend(came)
            if not piece:
                raise Gone
            data += piece
        return bytes(data)


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
