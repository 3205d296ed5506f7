"""The control socket: what may be asked of a running relay.

A Unix socket of the relay's own, never the one that peers use, at ``folder()/PID.sock``, mode 0600. One JSON object a
line each way; what may be asked is in ``answers.py``. Only processes of the same user, or root's, are let in.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from sys import byteorder
from time import monotonic_ns
from typing import TYPE_CHECKING

from .answers import Answers
from .descriptors import rights

if TYPE_CHECKING:
    from .pairing import Relay

#: the longest request; whoever sends more is no friend
LONGEST = 65_536
#: how long nobody is let in after the process ran out of descriptors
PAUSE_NS = 100_000_000


def folder() -> str:
    """Where control sockets of this user are: ``$XDG_RUNTIME_DIR/vhostspy``, else a folder of one's own in $TMPDIR."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    # after `su` it may be somebody else's
    if runtime and os.path.isdir(runtime) and os.access(runtime, os.W_OK | os.X_OK):
        return os.path.join(runtime, "vhostspy")
    temporary = os.environ.get("TMPDIR") or "/tmp"
    return os.path.join(temporary, f"vhostspy-{os.getuid()}")


class Control:
    """Listens, and answers in the relay's thread; a caller that does not read its answer is dropped.

    Owns its socket and its callers' connections. Without a usable folder there is no control socket, which
    ``problem`` says; the relay works all the same.
    """

    def __init__(self, relay: Relay, capture: str) -> None:
        self.relay = relay
        self._answers = Answers(relay, capture)
        self.path = ""
        self.problem = ""
        self._callers: dict[int, tuple[socket.socket, bytearray]] = {}
        self._listener: socket.socket | None = None
        try:
            self._open()
        except OSError as error:
            self.problem = f"no control socket: {error.filename or self.path}: {error.strerror or error}"
            self.close()

    def _open(self) -> None:
        place = folder()
        os.makedirs(place, mode=0o700, exist_ok=True)
        found = os.lstat(place)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise OSError(1, "is not a folder of this user's alone", place)
        self.path = os.path.join(place, f"{os.getpid()}.sock")
        if os.path.lexists(self.path):
            os.unlink(self.path)  # of a process that had our number before
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        mask = os.umask(0o177)
        try:
            self._listener.bind(self.path)
        finally:
            os.umask(mask)
        self._listener.listen(64)
        self._listen(0)

    def _listen(self, now: int) -> None:
        if self._listener is not None:
            self.relay.loop.watch(self._listener, self.relay.loop.IN, self._accept, lambda fd, events: self._accept())

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            caller, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no room for it, and it stays ready to be accepted
            self.relay.loop.unwatch(self._listener)
            self.relay.loop.call_at(monotonic_ns() + PAUSE_NS, self._listen)
            return
        credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        if int.from_bytes(credentials[4:8], byteorder) not in (0, os.getuid()):
            caller.close()
            return
        caller.setblocking(False)
        number = caller.fileno()
        self._callers[number] = (caller, bytearray())
        self.relay.loop.watch(caller, self.relay.loop.IN, lambda: self._read(number), lambda fd, events: self._read(fd))

    def _read(self, number: int) -> None:
        caller, text = self._callers[number]
        try:
            data = caller.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        text += data
        if not data or len(text) > LONGEST:
            self._drop(number)
            return
        import json

        while b"\n" in text:
            line, _, rest = bytes(text).partition(b"\n")
            text[:] = rest
            members, fds = self._answers.answer(line)
            data = json.dumps(members, separators=(",", ":")).encode() + b"\n"
            try:
                sent = caller.sendmsg([data], rights(fds) if fds else [])
                if sent < len(data):
                    caller.sendall(data[sent:])
            except OSError:
                self._drop(number)
                return
            finally:
                if "capture" in members and fds:
                    os.close(fds[0])

    def _drop(self, number: int) -> None:
        caller, _ = self._callers.pop(number)
        self.relay.loop.unwatch(caller)
        caller.close()

    def close(self) -> None:
        """Stop listening and remove the socket's path."""
        for number in list(self._callers):
            self._drop(number)
        if self._listener is not None:
            self.relay.loop.unwatch(self._listener)
            self._listener.close()
            self._listener = None
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass  # it was too long to be bound, or somebody has removed it
            except OSError as error:
                sys.stderr.write(f"vhostspy: {self.path}: {error.strerror}\n")
