"""The memory keeper: our copies of the descriptors through which somebody can look at a session's memory.

One of each region of guest memory, of the in-flight region and the dirty log, and of each ring's kick and call eventfd;
never of a socket or a pipe, whose peers would miss their end. Nothing is mapped or read here: a viewer of the same user
gets them over the control socket, and looks in its own process. Kept memory keeps the guest's memory alive, so each is
dropped when the region is removed or replaced, and all when a peer goes.

The capture's lane hands over what came with ``LABELS`` instead of closing it; no other message costs more for it.
Layouts: vhost-user, Memory regions description, Single memory region description, Vring descriptor; a header is 12
octets.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from itertools import compress
from sys import byteorder
from typing import Final, NamedTuple

from vhostspy.capture.record import KINDS

from .descriptors import close_row

#: labels of the messages that bring something to keep, or take it away
LABELS = frozenset({
    "SET_MEM_TABLE", "ADD_MEM_REG", "ADD_MEM_REG ack", "ADD_MEM_REG reply", "REM_MEM_REG", "SET_LOG_BASE",
    "SET_INFLIGHT_FD", "GET_INFLIGHT_FD reply", "SET_VRING_KICK", "SET_VRING_CALL", "POSTCOPY_LISTEN", "POSTCOPY_END",
})  # fmt: skip
#: descriptors of one session; a table of memory has at most 253 regions, but there may be many slots and rings
MOST = 1024

_HEADER = 12
#: the three members by which a region is removed again: guest address, size, user address
_REGION = slice(_HEADER + 8, _HEADER + 32)
_REGION_SIZE = 32
#: of a header's flags, on the wire
_NEED_REPLY = 0x8

#: of a ring, which the first octet of the payload names
_LINES: Final = {"SET_VRING_KICK": "kick", "SET_VRING_CALL": "call"}
#: what may be kept, by role: numbers of kinds
_MEMORY: Final = bytes([KINDS.index("memfd"), KINDS.index("file")])
_EVENT: Final = bytes([KINDS.index("eventfd")])
_WANTED: Final = {"memory": _MEMORY, "log": _MEMORY, "inflight": _MEMORY, "kick": _EVENT, "call": _EVENT, "": b""}


class Kept(NamedTuple):
    """``fd`` is the keeper's. It came as the ``at``-th descriptor of message ``no``, as a ``role``."""

    fd: int
    no: int
    at: int
    role: str
    #: what takes its place: a region's members, a ring's number
    key: bytes


class Keeper:
    """Owns such descriptors of one session, until ``close``; what comes later is closed at once."""

    def __init__(self) -> None:
        self.closed = False
        self.count = 0
        self._postcopy = False
        #: (role, key) -> message, its kept descriptors and their positions
        self._groups: dict[tuple[str, bytes], tuple[int, Sequence[int], Sequence[int]]] = {}
        #: the newest table of memory, by which one of its regions is found
        self._table = b""
        #: keys of regions whose answers are to come
        self._asked: deque[bytes] = deque(maxlen=MOST)

    def heed(self, label: str, number: int, data: bytes, fds: Sequence[int], kinds: bytes) -> None:
        """Message ``number`` has passed, with its octets; takes over its descriptors, which are of these kinds."""
        group = self._make_room(label, data, bool(fds))
        if not fds:
            return
        wanted = _WANTED[group[0]]
        keep: Sequence[int] = fds
        at: Sequence[int] = range(len(fds))
        if self.closed or self.count + len(fds) > MOST or kinds.strip(wanted):
            ours = [not self.closed and self.count + i < MOST and kinds[i] in wanted for i in at]
            for fd, our in zip(fds, ours, strict=True):
                if not our:
                    os.close(fd)
            keep = [fd for fd, our in zip(fds, ours, strict=True) if our]
            at = [i for i in at if ours[i]]
        self.count += len(keep)
        self._groups[group] = number, keep, at

    def kept(self) -> list[Kept]:
        """What is kept now."""
        found = []
        for (role, key), (no, fds, places) in self._groups.items():
            found += [Kept(fd, no, at, role, key) for fd, at in zip(fds, places, strict=True)]
        return found

    def close(self) -> None:
        """A peer has gone, or nobody may look any more."""
        self.closed = True
        for group in list(self._groups):
            self._drop(group)

    def _make_room(self, label: str, data: bytes, brings: bool) -> tuple[str, bytes]:
        """Drop what such a message takes away; gives the role of what it brings, and what takes the place of that."""
        line = _LINES.get(label)
        if line is not None:
            group = line, data[_HEADER : _HEADER + 1]
        elif label == "SET_MEM_TABLE":
            if brings or not self._postcopy:  # else it only confirms addresses
                for one in [one for one in self._groups if one[0] == "memory"]:
                    self._drop(one)
                self._table = data
            return "memory", b""
        elif label == "ADD_MEM_REG":
            group = "memory", data[_REGION]
            if self._postcopy or int.from_bytes(data[4:8], byteorder) & _NEED_REPLY:
                self._asked.append(group[1])
        elif label == "REM_MEM_REG":
            self._drop_of_table(data[_REGION])
            self._drop(("memory", data[_REGION]))
            return "", b""
        elif label.startswith("ADD_MEM_REG "):
            # a region that the back-end did not take is not there; answers come in order
            asked = self._asked.popleft() if self._asked else None
            if asked is not None and not self._postcopy and int.from_bytes(data[_HEADER : _HEADER + 8], byteorder):
                self._drop(("memory", asked))
            return "", b""
        elif label.startswith("POSTCOPY"):
            self._postcopy = label == "POSTCOPY_LISTEN"
            return "", b""
        else:
            group = "log" if label == "SET_LOG_BASE" else "inflight", b""
        self._drop(group)
        return group

    def _drop_of_table(self, key: bytes) -> None:
        """Drop the region of the table with these members, if it is one."""
        number, fds, places = self._groups.get(("memory", b""), (0, (), ()))
        starts = (_REGION.start + _REGION_SIZE * at for at in places)
        stay = [self._table[start : start + len(key)] != key for start in starts]
        if not all(stay):
            for fd, stays in zip(fds, stay, strict=True):
                if not stays:
                    os.close(fd)
            self.count -= stay.count(False)
            self._groups["memory", b""] = number, [*compress(fds, stay)], [*compress(places, stay)]

    def _drop(self, group: tuple[str, bytes]) -> None:
        found = self._groups.pop(group, None)
        if found is not None:
            self.count -= len(found[1])
            close_row(found[1])
