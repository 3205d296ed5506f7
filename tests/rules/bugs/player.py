"""Plays a case: two synthetic peers, a real relay between them, and the rules over what it has captured.

Nothing is waited for. A silence is a step of the clock of those who look at the capture, which are given the time with
each record: what was sent after it is that much later.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Iterable
from typing import NamedTuple

from vhostspy.capture.record import EVENT, MESSAGE, RAW, Record
from vhostspy.message import Finding
from vhostspy.pipeline import Pipeline
from vhostspy.rules.engine import Rules

from ...relay.harness import DEADLINE_S, Relayed, close_all, rights, taken, unpacked
from .notation import BACK, FRONT, Step

MS = 1_000_000


class Played(NamedTuple):
    """What was sent, in the order of the capture, across all connections of the case."""

    sessions: int
    #: messages sent before a silence -> its length, in the order in which they came
    silences: tuple[tuple[int, int], ...]
    #: position of the marked message, from 1; 0: none
    marked: int


class _Peers:
    """Both ends of one connection. Every message is read whole by the other end, and its descriptors are closed."""

    def __init__(self, relayed: Relayed) -> None:
        front, back = relayed.open()
        relayed.forget()
        self.main: list[socket.socket | None] = [front, back]
        self.backend: list[socket.socket | None] = [None, None]

    def play(self, step: Step, read: bool = True) -> None:
        ends = self.main if step.channel == "main" else self.backend
        sender, receiver = ends[step.end], ends[1 - step.end]
        assert sender is not None and receiver is not None, f"{step.channel} is not open"
        mine: socket.socket | None = None
        fds = []
        for kind in step.fds:
            fd, other = _descriptor(kind)
            fds.append(fd)
            if other is not None and mine is not None:
                mine.close()
            mine = other or mine
        try:
            octets, given = step.octets, fds
            if step.split:
                first, octets = octets[: step.split], octets[step.split :]
                assert sender.sendmsg([first], rights([] if step.late_fds else fds)) == len(first)
                taken(sender)  # so that the relay has two reads of it
                given = fds if step.late_fds else []
            assert sender.sendmsg([octets], rights(given)) == len(octets)
        finally:
            close_all(fds)
        got = _read(receiver, len(step.octets)) if read else []
        if not read:
            assert select.select([receiver], [], [], DEADLINE_S)[0]
        if step.id == 21 and step.channel == "main" and step.end == FRONT and mine is not None and got:
            for old in self.backend:
                if old is not None:
                    old.close()
            self.backend = [mine, socket.socket(fileno=got.pop(0))]
            self.backend[BACK].settimeout(DEADLINE_S)  # type: ignore[union-attr]
            mine.settimeout(DEADLINE_S)
        elif mine is not None:
            mine.close()
        close_all(got)

    def close(self, end: int) -> None:
        """An end closes, and the other one sees it."""
        sock, other = self.main[end], self.main[1 - end]
        if sock is None:
            return
        sock.close()
        self.main[end] = None
        if other is not None:
            try:
                assert other.recv(1) == b""
            except ConnectionResetError:
                pass  # the other one had not read all

    def end(self) -> None:
        """Whatever is still open; the front-end goes first."""
        self.close(FRONT)
        self.close(BACK)
        for sock in self.backend:
            if sock is not None:
                sock.close()
        self.backend = [None, None]


def _descriptor(kind: str | int) -> tuple[int, socket.socket | None]:
    """A descriptor, and the other end of a socket."""
    if kind == "eventfd":
        return os.eventfd(0, os.EFD_CLOEXEC), None
    if kind == "socket":
        mine, given = socket.socketpair()
        return given.detach(), mine
    if kind == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
        return writer, None
    fd = os.memfd_create("guest memory")
    os.ftruncate(fd, int(kind))
    return fd, None


def _read(sock: socket.socket, count: int) -> list[int]:
    """So many octets; the descriptors that came with them."""
    fds: list[int] = []
    while count:
        data, ancillary, _, _ = sock.recvmsg(count, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC)
        assert data, "the other end has closed"
        fds += unpacked(ancillary)
        count -= len(data)
    return fds


def play(relayed: Relayed, steps: Iterable[Step]) -> Played:
    """Send it all; the case is over when the relay has seen the end of its last connection."""
    steps = list(steps)
    peers = _Peers(relayed)
    beside: list[_Peers] = []
    sessions, sent, marked = 1, 0, 0
    silences = []
    for at, step in enumerate(steps):
        if step.what == "wait":
            silences.append((sent, step.wait_ms))
        elif step.what == "again":
            peers.end()
            relayed.no_session()
            peers = _Peers(relayed)
            sessions += 1
        elif step.what == "beside":
            beside.append(peers)
            peers = _Peers(relayed)
            sessions += 1
        elif step.what == "message":
            sent += 1
            if step.marked:
                marked = sent
            following = steps[at + 1] if at + 1 < len(steps) else None
            peers.play(step, read=following is None or following.what != "reset")
        else:
            peers.close(step.end)
    for one in (peers, *beside):
        one.end()
    relayed.no_session()
    return Played(sessions, tuple(silences), marked)


def judge(
    records: Iterable[Record], played: Played, profile: tuple[str | None, str | None] = (None, None)
) -> list[Finding]:
    """What the rules find in the case's records; messages are numbered from 1."""
    pipeline = Pipeline(rules=Rules(profile=profile))
    found: list[Finding] = []
    silences = list(played.silences)
    sent = later = base = first_session = 0
    for record in records:
        if not record.session:
            continue
        first_session = first_session or record.session
        if record.kind in (MESSAGE, RAW) and not base:
            base = record.number
        is_message = record.kind in (MESSAGE, RAW)
        while silences and (silences[0][0] < sent + is_message or silences[0][0] <= sent and _is_end(record)):
            later += silences.pop(0)[1] * MS
        sent += is_message
        if record.session == first_session:
            record = record._replace(previous=0)  # other cases came by here before
        # as if they were a capture of their own
        number = record.number - base + 1 if is_message and record.number else record.number
        if record.kind == EVENT and base:
            facts = json.loads(record.data)
            if facts.get("after"):
                record = record._replace(data=json.dumps(facts | {"after": facts["after"] - base + 1}).encode())
        moved = record._replace(number=number, monotonic_ns=record.monotonic_ns + later, time_ns=record.time_ns + later)
        found += [one for item in pipeline.feed(moved) for one in item.findings]
    found += [one for event in pipeline.finish() for one in event.findings]
    return found


def _is_end(record: Record) -> bool:
    return record.kind == EVENT and any(word in record.data for word in (b'"eof"', b'"reset"', b'"close"'))
