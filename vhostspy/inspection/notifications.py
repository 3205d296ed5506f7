"""Kicks and calls, watched without taking any.

An eventfd's count is taken by whoever reads it, so nobody else may. But edge-triggered epoll tells of each write since
it was last asked, whether the count was read meanwhile or not; and the kernel says in fdinfo what the count is now.
Several writes between two questions are one: what is counted is "at least".
"""

from __future__ import annotations

import os
import re
import select
from typing import NamedTuple

_COUNT = re.compile(rb"eventfd-count: *([0-9a-f]+)").search


class Noticed(NamedTuple):
    """Notifications seen at least, and what the eventfd counts now (None: unknown)."""

    seen: int
    pending: int | None


class Notifications:
    """Owns the eventfds it is given, until ``drop`` or ``close``."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        #: eventfd -> open file of what the kernel says of it
        self._infos: dict[int, int] = {}
        self._seen: dict[int, int] = {}

    def add(self, fd: int) -> None:
        """Watch it from now on; what was written before is not counted."""
        self._infos[fd] = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)
        self._seen[fd] = 0
        if self.look(fd).pending:
            # a count that is there already makes the first edge
            self.poll()
            self._seen[fd] = 0

    def drop(self, fd: int) -> None:
        """Watch it no more, and close it."""
        self._epoll.unregister(fd)
        os.close(self._infos.pop(fd))
        os.close(fd)
        del self._seen[fd]

    def poll(self, timeout_s: float = 0) -> bool:
        """Count what was written since the last call; whether anything was, within the time given."""
        ready = self._epoll.poll(timeout_s) if self._seen else []
        for fd, _ in ready:
            if fd in self._seen:
                self._seen[fd] += 1
        return bool(ready)

    def look(self, fd: int) -> Noticed:
        found = _COUNT(os.pread(self._infos[fd], 256, 0))
        return Noticed(self._seen[fd], int(found[1], 16) if found else None)

    def close(self) -> None:
        for fd in list(self._seen):
            self.drop(fd)
        self._epoll.close()
