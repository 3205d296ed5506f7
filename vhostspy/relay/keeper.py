"""The memory keeper: duplicates of the descriptors through which somebody can look at a session's memory.

One of each region of guest memory, of the in-flight region and the dirty log, and of each ring's kick and call eventfd;
never of a socket or a pipe, whose peers would miss their end. Nothing is mapped or read here: a viewer of the same user
gets them over the control socket, and looks in its own process. Kept memory keeps the guest's memory alive, so each is
dropped when the region is removed or replaced, and all when a peer goes.

The capture's lane says when one of ``LABELS`` passes: no other message costs anything. Layouts: vhost-user, Memory
regions description, Single memory region description, Vring descriptor; a header is 12 octets.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from sys import byteorder
from typing import NamedTuple

#: labels of the messages that bring something to keep, or take it away
LABELS = frozenset({
    "SET_MEM_TABLE", "ADD_MEM_REG", "ADD_MEM_REG ack", "ADD_MEM_REG reply", "REM_MEM_REG", "SET_LOG_BASE",
    "SET_INFLIGHT_FD", "GET_INFLIGHT_FD reply", "SET_VRING_KICK", "SET_VRING_CALL", "POSTCOPY_LISTEN", "POSTCOPY_END",
})  # fmt: skip
#: duplicates of one session; a table of memory has at most 253 regions, but there may be many slots and rings
MOST = 1024

_HEADER = 12
#: the three members by which a region is removed again: guest address, size, user address
_REGION = slice(_HEADER + 8, _HEADER + 32)


class Kept(NamedTuple):
    """One duplicate: ``fd`` is the keeper's. It came as the ``at``-th descriptor of message ``no``, as a ``role``."""

    fd: int
    no: int
    at: int
    role: str
    #: what takes its place: a region's members, a ring's number
    key: bytes


class Keeper:
    """Owns the duplicates of one session, until ``close``."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        #: some could not be duplicated: the process has no room
        self.short = False
        self._postcopy = False

    def heed(self, label: str, number: int, data: bytes, fds: Sequence[int]) -> None:
        """Message ``number`` passes, with its octets and descriptors, which stay the caller's."""
        if label == "SET_VRING_KICK" or label == "SET_VRING_CALL":
            role, key = label[-4:].lower(), data[_HEADER : _HEADER + 1]
            self._drop(role, key)
            self._keep(number, fds, role, key)
        elif label == "SET_MEM_TABLE":
            if self._postcopy and not fds:
                return  # the word with which addresses are confirmed
            self._drop("memory")
            self._keep(number, fds, "memory")
        elif label == "ADD_MEM_REG":
            if fds:
                self._keep(number, fds[:1], "memory", data[_REGION])
        elif label.startswith("ADD_MEM_REG "):
            self._refused(data)
        elif label == "REM_MEM_REG":
            self._drop("memory", data[_REGION])
        elif label.startswith("POSTCOPY"):
            self._postcopy = label == "POSTCOPY_LISTEN"
        else:
            role = "log" if label == "SET_LOG_BASE" else "inflight"
            if fds or role == "inflight":
                self._drop(role)
            self._keep(number, fds[:1], role)

    def close(self) -> None:
        """A peer has gone, or nobody may look any more."""
        while self.kept:
            os.close(self.kept.pop().fd)

    def _keep(self, number: int, fds: Sequence[int], role: str, key: bytes = b"") -> None:
        wanted = 0 if role in ("kick", "call") else stat.S_IFREG  # what has no path has no format either
        for at, fd in enumerate(fds):
            try:
                if stat.S_IFMT(os.fstat(fd).st_mode) != wanted or len(self.kept) >= MOST:
                    continue
                self.kept.append(Kept(os.dup(fd), number, at, role, key))
            except OSError:
                self.short = True

    def _drop(self, role: str, key: bytes | None = None) -> None:
        rest = []
        for one in self.kept:
            if one.role == role and (key is None or one.key == key):
                os.close(one.fd)
            else:
                rest.append(one)
        self.kept = rest

    def _refused(self, data: bytes) -> None:
        """A region that the back-end did not take is not there; answers come in order, so it is the last."""
        if int.from_bytes(data[_HEADER : _HEADER + 8], byteorder) and not self._postcopy:
            for one in reversed(self.kept):
                if one.role == "memory":
                    os.close(one.fd)
                    self.kept.remove(one)
                    return
