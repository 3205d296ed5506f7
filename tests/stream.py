"""A stream socket as real peers use it: so many octets, with whatever descriptors come with them."""

from __future__ import annotations

import socket
from array import array
from collections.abc import Sequence


class Gone(Exception):
    """The other end closed the socket."""


class Stream:
    """Owns its socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def put(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """All of it, the descriptors with the first octet; they stay the caller's."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds).tobytes())] if fds else []
        sent = self.sock.sendmsg([data], rights)
        if sent < len(data):  # an empty rest would be an error once the other end is gone
            self.sock.sendall(data[sent:])

    def read(self, count: int, fds: list[int]) -> bytes:
        """So many octets, no fewer. Descriptors that come meanwhile go into ``fds``. Raises Gone at the end."""
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

    def close(self) -> None:
        self.sock.close()
