"""Kicks and calls relayed one by one (``--exact-kicks``): each ring's eventfds are replaced by ours on their way.

Only so can every notification be counted: an eventfd adds up what is written until somebody reads it, and we are that
somebody now. It costs a wake-up of this process for each: about three times the round trip of a kick on one CPU, four
and more across CPUs (``benchmarks/rings.py``). And what passes the socket and what passes here are two ways, so a kick
may come after a message that followed it.
"""

from __future__ import annotations

import os
from os import RWF_NOWAIT, preadv, write
from sys import byteorder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .loop import Loop

ROLES = ("kick", "call")


class Line:
    """From ``source``, which is read here, to ``target``; both are owned here. ``passed``: notifications so far.

    ``theirs``: what the kernel calls the peer's eventfd (since 5.2; else ""). ``rings``: how many it is of.
    """

    __slots__ = ("passed", "rings", "source", "target", "theirs")

    def __init__(self, source: int, target: int, theirs: str = "") -> None:
        self.source, self.target, self.theirs = source, target, theirs
        self.passed, self.rings = 0, 1

    def pass_on(self) -> None:
        """Take what is there, if anything still is, and pass it on.

        Reading does not wait, whatever the eventfd's mode, which is not ours to change. Raises OSError where the kernel
        cannot do that (before 5.14).
        """
        try:
            preadv(self.source, _octets, -1, RWF_NOWAIT)
        except BlockingIOError:
            return
        count = from_bytes(_count, byteorder)
        self.passed += count
        try:
            write(self.target, _count if count < _MANY else _ONE)
        except BlockingIOError:
            pass  # it counts all that it can: who reads it will look


#: what was read last
_count = bytearray(8)
_octets = [_count]
from_bytes = int.from_bytes
#: what no peer writes who means it: passed on as one, for an eventfd that is full makes its writer wait
_MANY = 1 << 32
_ONE = (1).to_bytes(8, byteorder)


class Lines:
    """The notification lines of one session.

    A kick of several rings stays one: whichever of them takes it, it is of all, and the back-end must find it so. Its
    count is each of these rings'. Calls of several rings come from as many eventfds of ours, so each has its own.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        #: (role, ring) -> its eventfds
        self._open: dict[tuple[str, int], Line] = {}
        #: what is to be added to that of a ring's line: of lines that it had before, and less what this one had passed
        #: on when it became the ring's
        self._more: dict[tuple[str, int], int] = {}

    @property
    def passed(self) -> dict[tuple[str, int], int]:
        """Notifications passed on, of all eventfds that a ring has had."""
        return self._more | {key: self._more.get(key, 0) + line.passed for key, line in self._open.items()}

    def replace(self, role: str, ring: int, fd: int) -> int | None:
        """What to pass on instead of the eventfd ``fd`` (the caller's), which the caller then owns; None: as it is.

        A kick is written to theirs and read from ours, a call the other way round.
        """
        self.drop(role, ring)
        if not os.readlink(f"/proc/self/fd/{fd}").startswith("anon_inode:[eventfd"):
            return None
        theirs = _said(fd, "eventfd-id:") if role == "kick" else ""
        shared = next((line for line in self._open.values() if line.theirs == theirs != ""), None)
        if shared is not None:
            return self._share(shared, role, ring)
        made: list[int] = []
        try:
            made.append(os.dup(fd))
            made.append(os.eventfd(0, os.EFD_CLOEXEC | _mode(fd)))
            made.append(os.dup(made[1]))
            Line(made[1], made[1]).pass_on()  # whether that can be done at all
        except OSError:
            for one in made:
                os.close(one)
            return None
        given, ours, outgoing = made
        line = Line(given, ours, theirs) if role == "kick" else Line(ours, given)
        self._open[role, ring] = line
        self.loop.watch(line.source, self.loop.IN, line.pass_on, lambda number, events: line.pass_on())
        return outgoing

    def _share(self, line: Line, role: str, ring: int) -> int | None:
        """The ring has a line that another has, too."""
        try:
            outgoing = os.dup(line.target)
        except OSError:
            return None
        line.pass_on()
        line.rings += 1
        self._open[role, ring] = line
        self._more[role, ring] = self._more.get((role, ring), 0) - line.passed
        return outgoing

    def pending(self, role: str, ring: int) -> int | None:
        """What was passed on and nobody has taken yet; None: unknown."""
        line = self._open.get((role, ring))
        if line is None:
            return None
        found = _said(line.target, "eventfd-count:")
        return int(found, 16) if found else None

    def drop(self, role: str, ring: int) -> None:
        """The ring has no such line any more, or another one."""
        line = self._open.pop((role, ring), None)
        if line is None:
            return
        line.pass_on()
        self._more[role, ring] = self._more.get((role, ring), 0) + line.passed
        line.rings -= 1
        if not line.rings:
            self.loop.unwatch(line.source)
            for fd in (line.source, line.target):
                os.close(fd)

    def close(self) -> None:
        for role, ring in list(self._open):
            self.drop(role, ring)


def _mode(fd: int) -> int:
    """How an eventfd is read, as far as the kernel tells (of EFD_SEMAPHORE since 6.5): its reader expects that."""
    waits, one_by_one = os.get_blocking(fd), _said(fd, "eventfd-semaphore:") == "1"
    return (0 if waits else os.EFD_NONBLOCK) | (os.EFD_SEMAPHORE if one_by_one else 0)


def _said(fd: int, name: str) -> str:
    """What the kernel says of a descriptor under that name, or ""."""
    try:
        with open(f"/proc/self/fdinfo/{fd}") as info:
            return next((line.split()[1] for line in info if line.startswith(name)), "")
    except OSError:
        return ""
