"""The relay's one thread: ``select.poll``, timers, and the capture's due times between them.

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
SETTLE_MS = 1
#: while records wait to be written: so long may the peers stay quiet before they are
IDLE_MS = 50
#: the longest sleep, since poll takes an int of milliseconds
_LONGEST_MS = 3_600_000


class Loop:
    """Watches sockets and calls back. Owns the poll object and the read buffer, nothing that it watches."""

    IN = select.POLLIN
    OUT = select.POLLOUT
    HUP = select.POLLHUP
    ERR = select.POLLERR

    def __init__(self, writer: Writer | Nowhere) -> None:
        self.writer = writer
        self.buffer = bytearray(BUFFER)
        self.view = memoryview(self.buffer)
        #: the buffer as ``recvmsg_into`` wants it
        self.views = [self.view]
        self.running = True
        #: makes somebody call ``woken`` once, in IDLE_MS; None: the sleep is limited instead, which takes a timer of
        #: the kernel, set and stopped, for every message (0.6 µs)
        self.wake_later: Callable[[], None] | None = None
        self._asked = False
        self._poll = select.poll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._events: dict[int, Callable[[int, int], None]] = {}
        self._timers: list[tuple[int, int, Callable[[int], None]]] = []
        self._order = count()

    def watch(
        self, sock: socket.socket | int, events: int, read: Callable[[], None], event: Callable[[int, int], None]
    ) -> None:
        """Call ``read()`` when only bytes are there, ``event(fd, events)`` for all else (hanging up included)."""
        fd = sock if isinstance(sock, int) else sock.fileno()
        self._poll.register(fd, events)
        self._readers[fd] = read
        self._events[fd] = event

    def unwatch(self, sock: socket.socket | int) -> None:
        fd = sock if isinstance(sock, int) else sock.fileno()
        if fd in self._events:
            self._poll.unregister(fd)
            del self._readers[fd], self._events[fd]

    def call_at(self, due_ns: int, call: Callable[[int], None]) -> None:
        """Call once at that monotonic time, with the time."""
        heappush(self._timers, (due_ns, next(self._order), call))

    def woken(self) -> None:
        """The time is over that ``wake_later`` was asked for: write what waits."""
        self._asked = False
        self.writer.tick(monotonic_ns())

    def run(self) -> None:
        """Until ``running`` is false."""
        while self.running:
            self._run(self.writer)

    def _run(self, writer: Writer | Nowhere) -> None:
        """Until ``running`` is false, or another writer was put in this one's place."""
        poll, readers, events, timers = self._poll.poll, self._readers, self._events, self._timers
        only_in = select.POLLIN
        while self.running and writer is self.writer:
            # nothing here is worked out while there is nothing to wait for but bytes: it would be for every message
            wait = None
            if writer.pos and not self._asked:
                if self.wake_later is None:
                    wait = IDLE_MS
                else:
                    self._asked = True
                    self.wake_later()
            if timers:
                wait = self._until_timer(wait)
            if writer.unsettled:
                wait = SETTLE_MS
            ready = poll(wait)
            if not ready:
                writer.settle()
                writer.tick(monotonic_ns())
            for fd, happened in ready:
                if happened == only_in:
                    reader = readers.get(fd)
                    if reader is not None:
                        reader()
                else:
                    event = events.get(fd)
                    if event is not None:
                        event(fd, happened)
            if timers and timers[0][0] <= (now := monotonic_ns()):
                self._run_timers(now)

    def _until_timer(self, wait: int | None) -> int:
        """Milliseconds until the next timer, but not more than ``wait``."""
        due = max(0, (self._timers[0][0] - monotonic_ns()) // 1_000_000 + 1)
        return min(due, _LONGEST_MS if wait is None else wait)

    def _run_timers(self, now: int) -> None:
        """Call what is due."""
        while self._timers and self._timers[0][0] <= now:
            heappop(self._timers)[2](now)
