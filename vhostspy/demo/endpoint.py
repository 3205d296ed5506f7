"""Where a peer's socket comes from: it listens, connects, or inherits a descriptor. Either peer may do either."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import socket
import time

from .wire import TIMEOUT_S, PeerError


def address(path: str) -> str:
    """A path that begins with ``@`` is an abstract socket."""
    return "\0" + path[1:] if path.startswith("@") else path


def connect(path: str, timeout_s: float = TIMEOUT_S) -> socket.socket:
    """Connect; while nobody listens there yet, try again with growing pauses. PeerError when the time is over."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.005
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(address(path))
            return sock
        except (FileNotFoundError, ConnectionRefusedError) as error:
            sock.close()
            if time.monotonic() + pause_s > deadline:
                raise PeerError(f"nobody listens on {path}: {error.strerror}") from None
        except BaseException:
            sock.close()
            raise
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.2)


class Listener:
    """A listening socket of mode 0600, taken away again by ``close``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if not path.startswith("@"):
                os.fchmod(self._socket.fileno(), 0o600)  # before bind: the file is made with this mode
            self._socket.bind(address(path))
            self._socket.listen(8)
        except BaseException:
            self._socket.close()
            raise

    def accept(self, timeout_s: float | None = TIMEOUT_S, wake_fd: int | None = None) -> socket.socket | None:
        """The next connection; None when ``wake_fd`` became readable. PeerError after ``timeout_s`` (None: never)."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if wake_fd is not None:
            poll.register(wake_fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)]
        if not ready:
            raise PeerError(f"nobody connected to {self.path} within {timeout_s:g} s")
        if wake_fd in ready:
            return None
        return self._socket.accept()[0]

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._socket.close()
        if not self.path.startswith("@"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def inherited(fd: int) -> socket.socket:
    """A connected socket that was handed down under this number; owned from now on."""
    return socket.socket(fileno=fd)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--listen", metavar="PATH", help="wait for the other side here (@NAME: abstract socket)")
    way.add_argument("--connect", metavar="PATH", help="connect to the other side, which may still be starting")
    way.add_argument("--fd", metavar="N", type=int, help="use this inherited, connected socket")
    parser.add_argument("--timeout", metavar="S", type=float, default=TIMEOUT_S, help="longest wait for the other side")
