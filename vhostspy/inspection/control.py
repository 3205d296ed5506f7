"""Ask a running relay: find its control socket by the name of its listening socket, and talk to it.

The peers' sockets are never connected to: a back-end may take the first who comes for its front-end.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from glob import glob
from time import monotonic, sleep
from typing import Any

from vhostspy.errors import WrongUse
from vhostspy.relay.control import folder
from vhostspy.relay.descriptors import CONTROL_SIZE, CUT_SHORT, close_all, received

#: how long a relay may take to answer
PATIENCE_S = 5.0


class NoRelay(Exception):
    """The sentence that says why there is none to ask, or that it has gone."""


class Asked:
    """A connection to one relay's control socket. Raises NoRelay where the relay is gone, or refuses."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._text = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE_S)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        try:
            self._connect()
        except OSError as error:
            self._socket.close()
            raise NoRelay(f"{path}: {error.strerror}") from None

    def _connect(self) -> None:
        """Where many want to be let in at once, wait until it is our turn."""
        end = monotonic() + PATIENCE_S
        while True:
            try:
                return self._socket.connect(self.path)
            except BlockingIOError:
                if monotonic() >= end:
                    raise
            sleep(0.01)

    def __call__(self, do: str, **members: Any) -> tuple[dict[str, Any], list[int]]:
        """The answer, and the descriptors that came with it, which are the caller's."""
        fds: list[int] = []
        try:
            self._socket.sendall(json.dumps({"do": do, **members}).encode() + b"\n")
            while b"\n" not in self._text:
                data, ancillary, flags, _ = self._socket.recvmsg(1 << 16, CONTROL_SIZE, socket.MSG_CMSG_CLOEXEC)
                fds += received(ancillary)
                if not data:
                    raise NoRelay("the relay has ended")
                if flags & CUT_SHORT:
                    raise NoRelay("this process may not have so many files open (ulimit -n)")
                self._text += data
        except OSError as error:
            close_all(fds)
            raise NoRelay(f"the relay does not answer: {error.strerror or error}") from None
        except NoRelay:
            close_all(fds)
            raise
        line, _, self._text = self._text.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if not answer.get("ok"):
            close_all(fds)
            raise NoRelay(str(answer.get("text", "the relay refuses")))
        return answer, fds

    @property
    def gone(self) -> bool:
        """The relay has ended, or was killed."""
        if not self._poll.poll(0):
            return False
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def close(self) -> None:
        self._socket.close()


def find(name: str | None = None) -> Asked:
    """The relay that listens on (or connects to) the socket ``name``; None: the only one that runs.

    Raises NoRelay where there is none, or more than one of that name; WrongUse where it must be said which.
    """
    found: list[tuple[Asked, dict[str, Any]]] = []
    #: those that may be what is looked for, and do not say
    silent: list[str] = []
    try:
        for asked, status in _running(silent):
            if name is None or any(_same(name, _path(status, end)) for end in ("front_end", "back_end")):
                found.append((asked, status))
            else:
                asked.close()
        # one relay may listen where another connects to
        listening = [one for one in found if name is not None and _same(name, _path(one[1], "front_end"))]
        for meant in (found, listening):
            if len(meant) == 1:
                (one,) = meant
                found.remove(one)
                return one[0]
        where = f" on {name}" if name is not None else ""
        if not found:
            # most probably a capture was meant, or a relay of another folder
            missing = ""
            if name is not None and not _there(name):
                missing, where = f"there is no {name}, and ", " on it"
            raise NoRelay(f"{missing}no relay of this user runs{where} ({'; '.join((*silent, _looked_for()))})")
        names = ", ".join(f"{_path(status, 'front_end')} (process {status.get('pid')})" for _, status in found)
        if name is None:
            raise WrongUse(f"{len(found)} relays run; say which by the name of its socket: {names}")
        raise NoRelay(f"{len(found)} relays run{where}: {names}")
    finally:
        for asked, _ in found:
            asked.close()


def _there(name: str) -> bool:
    return name.startswith(("@", "fd:")) or os.path.exists(name)


def _running(silent: list[str]) -> Iterator[tuple[Asked, dict[str, Any]]]:
    """Each relay that answers; of those that do not, a sentence is added to ``silent``."""
    for name in _sockets(folder()):
        path = os.path.join(folder(), name)
        try:
            asked = Asked(path)
        except NoRelay:
            if not os.path.exists(f"/proc/{name.removesuffix('.sock')}"):
                _forget(path)  # of one that was killed
            continue
        try:
            status, fds = asked("status")
        except NoRelay as none:
            asked.close()
            silent.append(f"{path}: {none}")
            continue
        close_all(fds)
        yield asked, status


def _sockets(place: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(place) if name.endswith(".sock"))
    except OSError:
        return []


def _forget(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _looked_for() -> str:
    """Where they are looked for, and where there are some that this user, or another, would look for elsewhere."""
    text = f"control sockets are looked for in {folder()}"
    for other in _elsewhere():
        if other == folder() or not _sockets(other):
            continue
        owner = os.lstat(other).st_uid
        whose = "for another XDG_RUNTIME_DIR or TMPDIR"
        if owner != os.getuid():
            runtime = f"XDG_RUNTIME_DIR={os.path.dirname(other)} " if other.endswith("/vhostspy") else ""
            whose = f"of user {owner}: sudo -u '#{owner}' {runtime}vhostspy …"
        text += f"; there are some in {other}, {whose}"
    return text


def _elsewhere() -> list[str]:
    """Of root all users' folders: it is told of them, and goes nowhere where others may have put anything."""
    number = "[0-9]*" if os.getuid() == 0 else str(os.getuid())
    return sorted([*glob(f"/run/user/{number}/vhostspy"), *glob(f"/tmp/vhostspy-{number}")])


def _path(status: dict[str, Any], end: str) -> str:
    """The name of a relay's socket; from the relay's own folder, where it is relative to that."""
    told = str(status.get(end))
    if told.startswith(("/", "@", "fd:")):
        return told
    try:
        return os.path.join(os.readlink(f"/proc/{int(status['pid'])}/cwd"), told)
    except (OSError, KeyError, ValueError):
        return told


def _same(name: str, told: str) -> bool:
    """Whether both name one socket."""
    if name == told:
        return True
    if name.startswith(("@", "fd:")) or told.startswith(("@", "fd:")):
        return False
    return os.path.realpath(name) == os.path.realpath(told)
