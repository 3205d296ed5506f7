"""Kicks and calls relayed one by one (``--exact-kicks``): each ring's eventfds are replaced by ours on their way.

Only so can every notification be counted: an eventfd adds up what is written until somebody reads it, and we are that
somebody now. It costs a wake-up of this process for each: two to three times the round trip of a kick on one CPU, seven
to eight across CPUs. And what passes the socket and what passes here are two ways, so a kick may come after a message
that followed it.
"""

from __future__ import annotations

import os
from functools import partial
from sys import byteorder
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .loop import Loop

ROLES = ("kick", "call")


class Line(NamedTuple):
    """From ``source``, which is read here, to ``target``; both are owned here."""

    source: int
    target: int


class Lines:
    """The notification lines of one session."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        #: (role, ring) -> its eventfds
        self._open: dict[tuple[str, int], Line] = {}
        #: notifications passed on, of all eventfds that the ring has had
        self.passed: dict[tuple[str, int], int] = {}

    def replace(self, role: str, ring: int, fd: int) -> int | None:
        """What to pass on instead of the eventfd ``fd`` (the caller's), which the caller then owns; None: as it is.

        A kick is written to theirs and read from ours, a call the other way round.
        """
        self.drop(role, ring)
        if not os.readlink(f"/proc/self/fd/{fd}").startswith("anon_inode:[eventfd"):
            return None
        made: list[int] = []
        try:
            made.append(os.dup(fd))
            made.append(os.eventfd(0, os.EFD_CLOEXEC))
            made.append(os.dup(made[1]))
            _take(made[1])  # whether that can be done at all
        except OSError:
            for one in made:
                os.close(one)
            return None
        theirs, ours, outgoing = made
        line = Line(theirs, ours) if role == "kick" else Line(ours, theirs)
        self._open[role, ring] = line
        self.passed.setdefault((role, ring), 0)
        passing = partial(self._pass, role, ring, line)
        self.loop.watch(line.source, self.loop.IN, passing, lambda number, events: passing())
        return outgoing

    def pending(self, role: str, ring: int) -> int | None:
        """What was passed on and nobody has taken yet; None: unknown."""
        line = self._open.get((role, ring))
        if line is None:
            return None
        try:
            with open(f"/proc/self/fdinfo/{line.target}") as info:
                found = [text for text in info if text.startswith("eventfd-count:")]
        except OSError:
            return None
        return int(found[0].split()[1], 16) if found else None

    def drop(self, role: str, ring: int) -> None:
        """The ring has no such line any more, or another one."""
        line = self._open.pop((role, ring), None)
        if line is not None:
            self._pass(role, ring, line)
            self.loop.unwatch(line.source)
            for fd in line:
                os.close(fd)

    def close(self) -> None:
        for role, ring in list(self._open):
            self.drop(role, ring)

    def _pass(self, role: str, ring: int, line: Line) -> None:
        """Take what is there, if anything still is, and pass it on."""
        if _take(line.source):
            count = int.from_bytes(_count, byteorder)
            self.passed[role, ring] += count
            os.eventfd_write(line.target, count)


#: what was read last
_count = bytearray(8)
_counts = [_count]


def _take(fd: int) -> bool:
    """Read an eventfd without waiting, whatever its mode, which is not ours to change; whether there was something.

    Raises OSError where the kernel cannot do that (before 5.14).
    """
    try:
        return os.preadv(fd, _counts, -1, os.RWF_NOWAIT) == 8
    except BlockingIOError:
        return False
