"""The sending half of a direction: descriptors with the first byte, order kept, never a wait."""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING

from .descriptors import close_all, duplicate, rights

if TYPE_CHECKING:
    from .loop import Loop

#: the longest send that the kernel puts into one buffer, and that a reader therefore finds in one piece
PORTION = 36_544
#: pause before sending is tried again when too many descriptors are on their way
RETRY_NS = 5_000_000
#: how often a receiver that takes nothing is tried: no event tells that it has shut its reading
LOOK_NS = 100_000_000
#: portions that may wait meanwhile, and descriptors: a sender exceeds the kernel's limit by one message's at most
MOST_STALLED, MOST_STALLED_FDS = 64, 253

_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN)


class Outlet:
    """Sends into ``target`` (not owned); what finds no room waits in ``backlog``, with descriptors owned here.

    ``changed()`` is called when the backlog appears, empties, or the target turns out to be ``gone``; ``lost(octets)``
    when what waits will never be taken; ``fault(text)`` when something failed that leaves no exact way on.
    """

    __slots__ = ("_looking", "backlog", "changed", "fault", "gone", "loop", "lost", "send_bytes", "stalled", "target")

    def __init__(
        self,
        loop: Loop,
        target: socket.socket,
        changed: Callable[[], None],
        lost: Callable[[int], None],
        fault: Callable[[str], None],
    ) -> None:
        self.loop = loop
        self.target = target
        #: for the hot path: may be called directly while ``backlog`` is empty and the target not ``gone``
        self.send_bytes = target.send
        self.changed = changed
        self.lost = lost
        self.fault = fault
        self.backlog: deque[tuple[bytes, list[int]]] = deque()
        self.gone = False
        #: too many descriptors are on their way: a timer tries again, since no event tells when there are fewer
        self.stalled = False
        self._looking = False

    def send(self, data: memoryview, fds: list[int], *, keep: bool = False) -> bool:
        """Send, or remember what there is no room for; false if nobody is there to take it.

        The descriptors go with the first byte. They are closed here unless the caller keeps them.
        """
        if self.gone:
            sent, delivered = len(data), False
        elif self.backlog:
            sent, delivered = 0, True
        else:
            sent = self._try(data, fds)
            delivered = not self.gone
        if sent == len(data):
            if not keep:
                close_all(fds)
            return delivered
        if sent or not fds:
            waiting: list[int] = []
            if not keep:
                close_all(fds)
        else:
            waiting = duplicate(fds) if keep else fds
            if len(waiting) != len(fds):
                close_all(waiting)
                self.fault("the process has no room for the descriptors of a message that has to wait")
                return False
        self.backlog.append((bytes(data[sent:]), waiting))
        if not self._looking:
            self._looking = True
            self.loop.call_at(monotonic_ns() + LOOK_NS, self._look)
        self.changed()
        return not self.gone

    def drain(self) -> None:
        """There may be room again."""
        while self.backlog:
            data, fds = self.backlog[0]
            sent = self._try(memoryview(data), fds)
            if not self.backlog or not sent:
                return
            close_all(fds)
            if sent < len(data):
                self.backlog[0] = (data[sent:], fds)
                return
            self.backlog.popleft()
        self.changed()

    def _look(self, now: int) -> None:
        """Whether the target is still read at all: sending says so, also where there is no room."""
        self._looking = False
        if self.backlog:
            self._looking = True
            self.loop.call_at(now + LOOK_NS, self._look)
            self.drain()

    def _retry(self, now: int) -> None:
        self.stalled = False
        if self.backlog:
            self.drain()
            self.changed()

    def _try(self, data: memoryview, fds: list[int]) -> int:
        """Bytes sent: 0 if there is no room now, all of them if the target is gone and they are nobody's any more."""
        try:
            return self.target.sendmsg([data], rights(fds)) if fds else self.send_bytes(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:
                if not self.stalled:
                    self.stalled = True
                    self.loop.call_at(monotonic_ns() + RETRY_NS, self._retry)
                return 0
            if error.errno not in _GONE:
                self.fault(f"sending failed: {error.strerror}")
            self.lose_target()
            return len(data)

    @property
    def wants_room(self) -> bool:
        """Whether the target must be watched for room."""
        return bool(self.backlog) and not self.stalled

    @property
    def full(self) -> bool:
        """Whether nothing more should be brought.

        While too many descriptors are on their way some more is taken: those that lie unread in the source count as
        well, and if nobody took them out, none could ever be sent.
        """
        if not self.stalled:
            return bool(self.backlog)
        return len(self.backlog) > MOST_STALLED or sum(len(fds) for _, fds in self.backlog) > MOST_STALLED_FDS

    def lose_target(self) -> None:
        """Nobody reads there any more."""
        if not self.gone:
            self.gone = True
            self.discard()
            self.changed()

    def discard(self) -> None:
        """Forget what waits, and close its descriptors."""
        octets = 0
        while self.backlog:
            data, fds = self.backlog.popleft()
            octets += len(data)
            close_all(fds)
        if octets:
            self.lost(octets)
