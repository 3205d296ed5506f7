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
    """From ``source``, which is read here, to ``target``; both are owned here. ``passed``: notifications so far."""

    __slots__ = ("passed", "source", "target")

    def __init__(self, source: int, target: int, passed: int) -> None:
        self.source, self.target, self.passed = source, target, passed

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
    """The notification lines of one session."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        #: (role, ring) -> its eventfds
        self._open: dict[tuple[str, int], Line] = {}
        #: notifications of those that the ring had before
        self._before: dict[tuple[str, int], int] = {}

    @property
    def passed(self) -> dict[tuple[str, int], int]:
        """Notifications passed on, of all eventfds that a ring has had."""
        return self._before | {key: line.passed for key, line in self._open.items()}

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
            made.append(os.eventfd(0, os.EFD_CLOEXEC | _mode(fd)))
            made.append(os.dup(made[1]))
            Line(made[1], made[1], 0).pass_on()  # whether that can be done at all
        except OSError:
            for one in made:
                os.close(one)
            return None
        theirs, ours, outgoing = made
        before = self._before.get((role, ring), 0)
        line = Line(theirs, ours, before) if role == "kick" else Line(ours, theirs, before)
        self._open[role, ring] = line
        self.loop.watch(line.source, self.loop.IN, line.pass_on, lambda number, events: line.pass_on())
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
        if line is not None:
            line.pass_on()
            self._before[role, ring] = line.passed
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
