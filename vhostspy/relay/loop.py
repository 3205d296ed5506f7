"""The relay's one thread: ``select.epoll``, timers, and the capture's due times between them.

epoll, since two sockets of five or more are busy: with ``poll`` each of the others costs 0.2 µs a message.

Analysis and screens are other processes; what is not on this path is not here. The collector is off while it runs: the
loop keeps no cycles, and a collection in the middle of a burst would be felt by both peers.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import monotonic_ns

from vhostspy.capture.writer import Writer

from .nowhere import Nowhere

#: bytes read at once; larger than what a socket holds by default
BUFFER = 262_144
#: while descriptors wait for their facts: so long may the peers stay quiet before they are taken
SETTLE_S = 0.001
#: while records wait to be written: so long may the peers stay quiet before they are
IDLE_S = 0.05
#: the longest sleep, since epoll takes an int of milliseconds
_LONGEST_S = 3600.0
#: sockets that one sleep may end for
_AT_ONCE = 16


class Loop:
    """Watches sockets and calls back. Owns the epoll object and the read buffer, nothing that it watches."""

    IN = select.EPOLLIN
    OUT = select.EPOLLOUT
    HUP = select.EPOLLHUP
    ERR = select.EPOLLERR

    def __init__(self, writer: Writer | Nowhere) -> None:
        self.writer = writer
        self.buffer = bytearray(BUFFER)
        self.view = memoryview(self.buffer)
        #: the buffer as ``recvmsg_into`` wants it
        self.views = [self.view]
        self.running = True
        #: makes somebody call ``woken`` once, in so many seconds; None: the sleep is limited instead, which takes a
        #: timer of the kernel, set and stopped, for every message (0.6 µs)
        self.wake_later: Callable[[float], object] | None = None
        self._asked = False
        #: told of an exception while that descriptor was served; whether it is dealt with
        self.failed: Callable[[int, Exception], bool] | None = None
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._events: dict[int, Callable[[int, int], None]] = {}
        self._timers: list[tuple[int, int, Callable[[int], None]]] = []
        self._order = count()

    def watch(
        self, sock: socket.socket | int, events: int, read: Callable[[], None], event: Callable[[int, int], None]
    ) -> None:
        """Call ``read()`` when only bytes are there, ``event(fd, events)`` for all else (hanging up included)."""
        fd = sock if isinstance(sock, int) else sock.fileno()
        try:
            self._epoll.modify(fd, events)
        except FileNotFoundError:
            # not watched, or closed since: then the number is another's now
            self._epoll.register(fd, events)
        self._readers[fd] = read
        self._events[fd] = event

    def unwatch(self, sock: socket.socket | int) -> None:
        fd = sock if isinstance(sock, int) else sock.fileno()
        if fd in self._events:
            if not self._epoll.closed:
                self._epoll.unregister(fd)
            del self._readers[fd], self._events[fd]

    def call_at(self, due_ns: int, call: Callable[[int], None]) -> None:
        """Call once at that monotonic time, with the time."""
        heappush(self._timers, (due_ns, next(self._order), call))

    def woken(self) -> None:
        """The time is over that ``wake_later`` was asked for: write what waits."""
        self._asked = False
        self.writer.tick(monotonic_ns())

    def run(self) -> None:
        """Until ``running`` is false; once."""
        try:
            while self.running:
                self._run(self.writer)
        finally:
            self._epoll.close()

    def _run(self, writer: Writer | Nowhere) -> None:
        """Until ``running`` is false, or another writer was put in this one's place."""
        poll, readers, events, timers = self._epoll.poll, self._readers, self._events, self._timers
        only_in = self.IN
        while self.running and writer is self.writer:
            # nothing here is worked out while there is nothing to wait for but bytes: it would be for every message
            wait: float | None = None
            if writer.pos and not self._asked:
                if self.wake_later is None:
                    wait = IDLE_S
                else:
                    self._asked = True
                    self.wake_later(IDLE_S)
            if timers:
                wait = self._until_timer(wait)
            if writer.unsettled:
                wait = SETTLE_S
            ready = poll(wait, _AT_ONCE)
            if not ready:
                writer.settle()
                writer.tick(monotonic_ns())
            fd = -1
            try:
                for fd, happened in ready:
                    if happened == only_in:
                        reader = readers.get(fd)
                        if reader is not None:
                            reader()
                    else:
                        event = events.get(fd)
                        if event is not None:
                            event(fd, happened)
            except Exception as error:
                # a fault of ours in one session must not take the others along; what else was ready is told again
                if self.failed is None or not self.failed(fd, error):
                    raise
            if timers and timers[0][0] <= (now := monotonic_ns()):
                self._run_timers(now)

    def _until_timer(self, wait: float | None) -> float:
        """Seconds until the next timer, but not more than ``wait``."""
        due = max(0, self._timers[0][0] - monotonic_ns()) / 1e9
        return min(due, _LONGEST_S if wait is None else wait)

    def _run_timers(self, now: int) -> None:
        """Call what is due."""
        while self._timers and self._timers[0][0] <= now:
            heappop(self._timers)[2](now)
