"""Kicks and calls, watched without taking any.

An eventfd's count is taken by whoever reads it, so nobody else may. But edge-triggered epoll, asked for both ways,
tells that it was written to or read since it was last asked: for reading alone it keeps quiet of what was taken
meanwhile. The kernel says in fdinfo what the count is now; if it has become less, nothing but a read is certain.
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
        #: what it counted when it was asked last
        self._counts: dict[int, int | None] = {}

    def add(self, fd: int) -> None:
        """Watch it from now on; what was written before is not counted. Raises OSError, and then does not own it."""
        info = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        except OSError:
            os.close(info)
            raise
        self._infos[fd], self._counts[fd] = info, None
        self.poll()  # the first edge is that it can be written to
        self._seen[fd] = 0

    def drop(self, fd: int) -> None:
        """Watch it no more, and close it."""
        self._epoll.unregister(fd)
        os.close(self._infos.pop(fd))
        os.close(fd)
        self._seen.pop(fd, None)
        del self._counts[fd]

    def poll(self, timeout_s: float = 0) -> bool:
        """Count what was written since the last call; whether anything was, or was read, within the time given."""
        ready = self._epoll.poll(timeout_s) if self._infos else []
        for fd, _ in ready:
            before, now = self._counts[fd], self._pending(fd)
            self._counts[fd] = now
            if fd in self._seen and (before is None or now is None or now >= before):
                self._seen[fd] += 1
        return bool(ready)

    def look(self, fd: int) -> Noticed:
        return Noticed(self._seen[fd], self._pending(fd))

    def _pending(self, fd: int) -> int | None:
        found = _COUNT(os.pread(self._infos[fd], 256, 0))
        return int(found[1], 16) if found else None

    def close(self) -> None:
        for fd in list(self._infos):
            self.drop(fd)
        self._epoll.close()
