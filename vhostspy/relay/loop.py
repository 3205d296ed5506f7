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
NEVER = 1 << 62
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

    def run(self) -> None:
        """Until ``running`` is false."""
        while self.running:
            self._run(self.writer)

    def _run(self, writer: Writer | Nowhere) -> None:
        """Until ``running`` is false, or another writer was put in this one's place."""
        poll, readers, events, timers = self._poll.poll, self._readers, self._events, self._timers
        only_in = select.POLLIN
        due = 0
        while self.running and writer is self.writer:
            now = monotonic_ns()
            if now >= due or (timers and timers[0][0] < due):
                due = self._run_timers(now)
                if not self.running:
                    return
            wait = min((due - now) // 1_000_000 + 1, _LONGEST_MS)
            if writer.unsettled and wait > SETTLE_MS:
                wait = SETTLE_MS
            elif writer.pos and wait > 50:
                wait = 50
                due = min(due, now + 50_000_000)
            ready = poll(wait)
            if not ready and writer.unsettled:
                writer.settle()
            for fd, happened in ready:
                if happened == only_in:
                    reader = readers.get(fd)
                    if reader is not None:
                        reader()
                else:
                    event = events.get(fd)
                    if event is not None:
                        event(fd, happened)

    def _run_timers(self, now: int) -> int:
        """Call what is due; gives when to come again."""
        timers = self._timers
        while timers and timers[0][0] <= now:
            heappop(timers)[2](now)
        due = timers[0][0] if timers else NEVER
        flush = self.writer.tick(monotonic_ns())
        return due if flush is None else min(due, flush)
