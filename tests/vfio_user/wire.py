"""The socket of a vfio-user peer: messages of a 16-byte header and a payload, with descriptors.

Octets are put together here by ``struct``, from the specification: a mistake in vhostspy's rows cannot hide in them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from tests.stream import Gone as Gone
from tests.stream import Stream

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


class Wire(Stream):
    """Owns its socket."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._next = 0

    def send(self, command: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = 0) -> int:
        """A command; gives its message id. The descriptors stay the caller's."""
        self._next = (self._next + 1) & 0xFFFF
        self.put(HEADER.pack(self._next, command, HEADER.size + len(payload), flags, 0) + payload, fds)
        return self._next

    def answer(self, asked: Packet, payload: bytes = b"", fds: Sequence[int] = (), error: int | None = None) -> None:
        """Its reply, unless it declines one."""
        if not asked.flags & NO_REPLY:
            flags = REPLY if error is None else REPLY | ERROR
            head = HEADER.pack(asked.msgid, asked.command, HEADER.size + len(payload), flags, error or 0)
            self.put(head + payload, fds)

    def receive(self) -> Packet:
        """The next message, whole."""
        fds: list[int] = []
        msgid, command, size, flags, error = HEADER.unpack(self.read(HEADER.size, fds))
        return Packet(msgid, command, flags, error, self.read(size - HEADER.size, fds), fds)


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
