"""Ask a running relay: find its control socket by the name of its listening socket, and talk to it.

The peers' sockets are never connected to: a back-end may take the first who comes for its front-end.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Iterator
from typing import Any

from vhostspy.relay.control import folder
from vhostspy.relay.descriptors import close_all, received

#: how long a relay may take to answer
PATIENCE_S = 5.0
_ROOM = socket.CMSG_SPACE(253 * 4)


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
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise NoRelay(f"{path}: {error.strerror}") from None

    def __call__(self, do: str, **members: Any) -> tuple[dict[str, Any], list[int]]:
        """The answer, and the descriptors that came with it, which are the caller's."""
        fds: list[int] = []
        try:
            self._socket.sendall(json.dumps({"do": do, **members}).encode() + b"\n")
            while b"\n" not in self._text:
                data, ancillary, _, _ = self._socket.recvmsg(1 << 16, _ROOM, socket.MSG_CMSG_CLOEXEC)
                if not data:
                    raise NoRelay("the relay has ended")
                fds += received(ancillary)
                self._text += data
        except OSError as error:
            close_all(fds)
            raise NoRelay(f"the relay does not answer: {error.strerror or error}") from None
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

    Raises NoRelay where there is none, or more than one.
    """
    found: list[tuple[Asked, dict[str, Any]]] = []
    try:
        for asked, status in _running():
            if name is None or any(_same(name, str(status.get(end)), status) for end in ("front_end", "back_end")):
                found.append((asked, status))
            else:
                asked.close()
        if len(found) == 1:
            return found.pop()[0]
        if not found:
            where = f" on {name}" if name is not None else ""
            # most probably a capture was meant, or a relay of another folder
            missing = f"there is no {name}, and " if name is not None and not _there(name) else ""
            raise NoRelay(f"{missing}no relay of this user runs{where} (control sockets are looked for in {folder()})")
        names = ", ".join(str(status.get("front_end")) for _, status in found)
        raise NoRelay(f"{len(found)} relays run; say which by the name of its socket: {names}")
    finally:
        for asked, _ in found:
            asked.close()


def _there(name: str) -> bool:
    return name.startswith(("@", "fd:")) or os.path.exists(name)


def _running() -> Iterator[tuple[Asked, dict[str, Any]]]:
    try:
        names = sorted(os.listdir(folder()))
    except OSError:
        return
    for name in names:
        if not name.endswith(".sock"):
            continue
        try:
            asked = Asked(os.path.join(folder(), name))
        except NoRelay:
            continue  # of one that was killed
        try:
            status, fds = asked("status")
        except NoRelay:
            asked.close()
            continue
        close_all(fds)
        yield asked, status


def _same(name: str, told: str, status: dict[str, Any]) -> bool:
    """Whether both name one socket; the relay's is relative to its own folder."""
    if name == told:
        return True
    if name.startswith(("@", "fd:")) or told.startswith(("@", "fd:")):
        return False
    theirs = told
    if not told.startswith("/"):
        try:
            theirs = os.path.join(os.readlink(f"/proc/{int(status['pid'])}/cwd"), told)
        except (OSError, KeyError, ValueError):
            return False
    return os.path.realpath(name) == os.path.realpath(theirs)
