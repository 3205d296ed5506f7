"""The socket between a graphics back-end and its front-end: messages of a 12-byte header and a payload.

Octets are put together here by ``struct``, from the specification: a mistake in vhostspy's rows cannot hide in them.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from tests.stream import Gone as Gone
from tests.stream import Stream

HEADER = Struct("=III")
REPLY = 4

GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_DISPLAY_INFO, CURSOR_POS, CURSOR_POS_HIDE, CURSOR_UPDATE = range(1, 7)
SCANOUT, UPDATE, DMABUF_SCANOUT, DMABUF_UPDATE, GET_EDID, DMABUF_SCANOUT2 = range(7, 13)


class Packet(NamedTuple):
    """A message; ``fds`` belong to whoever has it."""

    number: int
    flags: int
    payload: bytes
    fds: list[int]


class Wire(Stream):
    """Owns its socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(10)
        super().__init__(sock)

    def send(self, number: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = 0) -> None:
        """The descriptors stay the caller's."""
        self.put(HEADER.pack(number, flags, len(payload)) + payload, fds)

    def receive(self) -> Packet:
        """As QEMU does: the header by its three members, then the payload."""
        fds: list[int] = []
        number, flags, size = (int.from_bytes(self.read(4, fds), "little") for _ in range(3))
        return Packet(number, flags, self.read(size, fds), fds)

    def receive_in_one_call(self) -> Packet:
        """As contrib's back-end reads replies: a payload that is not there at once is an error."""
        number, flags, size = HEADER.unpack(self.read(HEADER.size, []))
        payload = self.sock.recv(size) if size else b""
        assert len(payload) == size, f"a reply of {size} bytes came in pieces"
        return Packet(number, flags, payload, [])
