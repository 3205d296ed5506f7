"""One end of a vhost-user socket: whole messages in and out, each descriptor with one owner.

Sending puts header, payload and descriptors into one ``sendmsg``, as the specification wants. Receiving asks for the
header first and then for exactly the payload, so a descriptor can never be taken for a neighbour's.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import time
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from .numbers import NEED_REPLY, REPLY, VERSION

#: u32 request, u32 flags, u32 size of the payload that follows, in the byte order of the machine
HEADER = struct.Struct("=III")
U64 = struct.Struct("=Q")
#: what one ``sendmsg`` can carry on Linux (SCM_MAX_FD)
MOST_FDS = 253
#: a payload larger than this is refused before memory is taken for it, in bytes
MOST_PAYLOAD = 1 << 20
#: how long one message may take to come or go, in seconds
TIMEOUT_S = 10.0


class PeerError(Exception):
    """The other side went away, fell silent, or sent what cannot be gone on with."""


class OwnedFd:
    """A descriptor that is closed here exactly once, or handed on exactly once with ``take``."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """The number, still owned here. ValueError once it is closed or taken."""
        if self._fd < 0:
            raise ValueError("descriptor was closed or handed on already")
        return self._fd

    def take(self) -> int:
        """The number; closing it is the caller's business from now on."""
        fd = self.fileno()
        self._fd = -1
        return fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self.take())

    def __enter__(self) -> OwnedFd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            warnings.warn(f"descriptor {self._fd} was never closed", ResourceWarning, stacklevel=2, source=self)
            self.close()


class Message(NamedTuple):
    """A received message. Whoever got it closes it, which closes the descriptors that nobody took."""

    id: int
    flags: int
    payload: bytes
    fds: tuple[OwnedFd, ...] = ()

    @property
    def is_reply(self) -> bool:
        return bool(self.flags & REPLY)

    @property
    def needs_reply(self) -> bool:
        return bool(self.flags & NEED_REPLY)

    def close(self) -> None:
        for fd in self.fds:
            fd.close()


class Connection:
    """Owns its socket. ``sent`` and ``received`` count whole messages."""

    def __init__(self, sock: socket.socket, timeout_s: float = TIMEOUT_S) -> None:
        self.socket = sock
        self.timeout_s = timeout_s
        self.sent = 0
        self.received = 0

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()

    def send(self, id: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = VERSION) -> None:
        """Send one message. ``fds`` are lent: the kernel duplicates them, they stay the caller's."""
        self.send_octets(HEADER.pack(id, flags, len(payload)) + payload, fds)
        self.sent += 1

    def send_octets(self, octets: bytes, fds: Sequence[int] = ()) -> None:
        """Send any octets, the descriptors with the first of them. PeerError if the other side is gone or stuck."""
        deadline = time.monotonic() + self.timeout_s
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        left = memoryview(octets)
        try:
            while left:
                self._bound(deadline)
                left = left[self.socket.sendmsg([left], control) :]
                control = []  # they went with the first octet
        except TimeoutError:
            raise PeerError(f"the other side took no octets for {self.timeout_s:g} s") from None
        except (BrokenPipeError, ConnectionResetError):
            raise PeerError("the other side closed the connection") from None

    def receive(self) -> Message | None:
        """The next message, or None if the other side has closed between two messages.

        PeerError: closed in the middle of one, silent for longer than the timeout, or not a message.
        """
        deadline = time.monotonic() + self.timeout_s
        fds: list[OwnedFd] = []
        try:
            header = self._exactly(HEADER.size, fds, deadline)
            if not header and not fds:
                return None
            if len(header) < HEADER.size:
                raise PeerError(f"the connection ended {len(header)} bytes into a header")
            id, flags, size = HEADER.unpack(header)
            if size > MOST_PAYLOAD:
                raise PeerError(f"message {id}: a payload of {size} bytes is not believed")
            payload = self._exactly(size, fds, deadline)
            if len(payload) < size:
                raise PeerError(f"message {id}: the connection ended {len(payload)} bytes into {size} of payload")
        except BaseException as error:
            for fd in fds:
                fd.close()
            if isinstance(error, TimeoutError):
                raise PeerError(f"nothing came from the other side for {self.timeout_s:g} s") from None
            if isinstance(error, ConnectionResetError):
                raise PeerError("the other side reset the connection") from None
            raise
        self.received += 1
        return Message(id, flags, payload, tuple(fds))

    def _exactly(self, size: int, fds: list[OwnedFd], deadline: float) -> bytes:
        """``size`` bytes, fewer only at the end of the stream; descriptors that come with them go to ``fds``."""
        chunks = b""
        while len(chunks) < size:
            self._bound(deadline)
            data, control, flags, _ = self.socket.recvmsg(
                size - len(chunks), socket.CMSG_SPACE(MOST_FDS * 4), socket.MSG_CMSG_CLOEXEC
            )
            for level, kind, content in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    numbers = array.array("i")
                    numbers.frombytes(content[: len(content) // 4 * 4])
                    fds.extend(OwnedFd(number) for number in numbers)
            if flags & socket.MSG_CTRUNC:
                raise PeerError("the kernel dropped descriptors of a message (open file limit?)")
            if not data:
                break
            chunks += data
        return chunks

    def _bound(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)
