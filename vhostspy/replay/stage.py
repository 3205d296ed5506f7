"""The sockets of one session of a replay, and the one wait over all of them."""

from __future__ import annotations

import select
import socket

from .log import rows_of
from .script import Part
from .store import Store
from .wire import Wire

#: the longest wait that is asked of the kernel at once, in seconds
LONGEST_S = 1e6
#: the protocol that is spoken on a channel that came as a descriptor
_PROTOCOLS = {"backend": "vhost-user", "gpu": "vhost-user-gpu", "second": "vfio-user"}


class Stage:
    """Owns the sockets: the main channel's, and each nested one's end of ours."""

    def __init__(self, part: Part, sock: socket.socket, store: Store) -> None:
        self.main = Wire(sock, "main", 1, part.protocol, rows_of(part.protocol, "main"))
        self._part = part
        self._store = store
        self._wires: dict[tuple[str, int], Wire] = {self.main.key: self.main}
        self._opened: dict[str, int] = {}
        self._poll = select.poll()
        #: what the poll object knows of: descriptor -> events; and by which channel it is, while that holds
        self._watched: dict[int, int] = {}
        self._by_fd: dict[int, Wire] = {}
        self._plain = False

    def close(self) -> None:
        for wire in self._wires.values():
            wire.close()

    def find(self, key: tuple[str, int]) -> Wire | None:
        return self._wires.get(key)

    @property
    def nested(self) -> list[Wire]:
        """The channels that came as descriptors, as far as they are open."""
        return [wire for wire in self._wires.values() if wire is not self.main and not wire.closed]

    @property
    def all_sent(self) -> bool:
        return not any(wire.wants_room for wire in self._wires.values())

    def adopt(self, kind: str, sock: socket.socket, no: int) -> None:
        """A socket that passed becomes a channel, by the number that it has in the record (message ``no`` opens it)."""
        opened = self._part.opens.get(no)
        number = opened[1] if opened is not None else self._opened.get(kind, 0) + 1
        self._opened[kind] = number
        before = self._wires.pop((kind, number), None)
        if before is not None:
            before.close()
        protocol = _PROTOCOLS.get(kind, self._part.protocol)
        wire = Wire(sock, kind, number, protocol, rows_of(protocol, kind))
        self._wires[wire.key] = wire
        self._plain = False

    def changed(self) -> None:
        """A channel or pipe has come or gone, or waits for room: look again before the next wait."""
        self._plain = False

    def watched(self) -> dict[int, int]:
        """Descriptor -> events to be waited for, for who waits for several stages at once; then ask ``ready(0)``."""
        if not self._plain:
            self._watch()
        return self._watched

    def ready(self, for_s: float) -> list[Wire]:
        """Wait for at most that long; the channels on which something has come. Pipes and queues are seen to."""
        if not self._plain:
            self._watch()
        # rounded up: a wait that ends too early would be repeated; the kernel counts up to some 24 days
        found = self._poll.poll(min(for_s, LONGEST_S) * 1000 + 0.999 if for_s else 0)
        if len(found) == 1 and found[0][1] == select.POLLIN and found[0][0] in self._by_fd:  # as nearly always
            return [self._by_fd[found[0][0]]]
        wires: list[Wire] = []
        for fd, events in found:
            wire = self._by_fd.get(fd)
            if wire is not None:
                if events & select.POLLOUT:
                    wire.drain()
                if events & ~select.POLLOUT:
                    wires.append(wire)
            elif events & select.POLLOUT:
                self._store.writable(fd)
            else:
                self._store.readable(fd)
        return wires

    def _watch(self) -> None:
        """Find out what is to be waited for; as long as all channels are open and nothing is queued, that stays so."""
        by_fd: dict[int, Wire] = {}
        wanted: dict[int, int] = {}
        for wire in self._wires.values():
            events = (0 if wire.ended else select.POLLIN) | (select.POLLOUT if wire.wants_room else 0)
            if events:
                by_fd[wire.fileno()] = wire
                wanted[wire.fileno()] = events
        reading, writing = self._store.watched()
        wanted.update(dict.fromkeys(reading, select.POLLIN))
        wanted.update(dict.fromkeys(writing, select.POLLOUT))
        self._plain = all(events == select.POLLIN for events in wanted.values()) and not (reading or writing)
        # a number may be another socket's by now
        if wanted != self._watched or list(by_fd.values()) != list(self._by_fd.values()):
            self._poll = select.poll()
            for fd, events in wanted.items():
                self._poll.register(fd, events)
            self._watched = wanted
        self._by_fd = by_fd
