"""Which connections make a session: listeners, connectors, and the four ways to combine them.

One side listens and the other is connected to, or both listen (the nth connections pair up), or both are connected to
(once a session). A connection to the other side is made for each that arrives, never to look whether somebody is there;
if nobody is yet, it is tried again with growing pauses.
"""

from __future__ import annotations

import gc
import os
import socket
from collections import deque
from collections.abc import Callable
from fcntl import ioctl
from functools import partial
from sys import byteorder
from termios import FIONREAD
from time import monotonic_ns, time_ns
from typing import Any, NamedTuple

from vhostspy.capture.record import FROM_SPY
from vhostspy.capture.writer import Writer
from vhostspy.dissectors import registry
from vhostspy.dissectors.rows import Channel as ChannelRow

from .endpoint import Connector, Listener
from .loop import Loop
from .nowhere import Nowhere
from .policy import PolicyMaker
from .session import Session

FIRST_PAUSE_NS = 10_000_000
LONGEST_PAUSE_NS = 500_000_000
#: how long no connection is accepted after the process ran out of descriptors
ACCEPT_PAUSE_NS = 100_000_000
#: after so many sessions what they left is collected, even while there are others; else when there are none
COLLECT_AFTER = 32


class Settings(NamedTuple):
    #: "" : told from the first message
    protocol: str = ""
    exact_reads: bool = False
    once: bool = False
    connect_timeout_s: float = 10.0
    new_policy: PolicyMaker | None = None
    #: duplicates of memory descriptors for viewers; without a capture there is nothing to make sense of them by
    keep_memory: bool = False
    #: kicks and calls go through here too
    exact_kicks: bool = False
    #: one line for people, on standard error
    say: Callable[[str], None] = lambda text: None


class Waiting:
    """A connection that has no other side yet; owned here until a session takes it."""

    def __init__(self, arrived: socket.socket) -> None:
        self.socket = arrived
        self.gone = False


class Relay:
    """Pairs connections into sessions and runs them. ``sides``: the front-end's (client's), then the back-end's.

    Owns the listeners. ``failure`` is the sentence of the first thing that went wrong on our side, or None.
    """

    def __init__(
        self, sides: tuple[Listener | Connector, Listener | Connector], writer: Writer | Nowhere, settings: Settings
    ) -> None:
        self.sides = sides
        self.settings = settings
        self.loop = Loop(writer)
        self.loop.failed = self.session_failed
        self.failure: str | None = None
        self.sessions: list[Session] = []
        self.count = 0
        self._last_number = 0
        self._queues: tuple[deque[Waiting], deque[Waiting]] = (deque(), deque())
        #: all connections without an other side
        self._waiting: set[Waiting] = set()
        #: that to the front-end's side while there is none to the back-end's, where both peers listen
        self._first: Waiting | None = None
        self._listening = False
        self._ended = 0
        #: connections could not be accepted lately, which was said
        self._refusing = False

    # -- from start to end --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to accept, or to connect when nobody connects to us."""
        if any(isinstance(side, Listener) for side in self.sides):
            self._listen(True)
        else:
            self._connect_both(0)

    def run(self) -> None:
        try:
            self.loop.run()
        finally:
            self.close()

    def stop(self) -> None:
        """End all sessions, then the loop."""
        for session in list(self.sessions):
            session.finish()
        self.loop.running = False

    def close(self) -> None:
        for session in list(self.sessions):
            session.finish()
        for waiting in list(self._waiting):
            self._forget(waiting)
        self._listen(False)
        for side in self.sides:
            if isinstance(side, Listener):
                side.close()

    @property
    def writer(self) -> Writer | Nowhere:
        return self.loop.writer

    def detach(self) -> None:
        """Record no more; the traffic goes on."""
        self.event("end", text="the relay was told to record no more; the traffic goes on")
        self.writer.close()
        self.loop.writer = Nowhere(self.writer.number)
        for session in self.sessions:
            session.forget_memory()
            session.keeper = None
            for channel in session.channels:
                for direction in channel.directions:
                    direction.record_in(session.lane(channel, direction.sender))

    def failed(self, text: str) -> None:
        """Our own trouble, not the peers': said at once, and told by the exit status."""
        self.failure = self.failure or text
        self.settings.say(text)

    def session_failed(self, fd: int, error: Exception) -> bool:
        """A fault of ours while that socket was served: it ends its session, and no other."""
        for session in self.sessions:
            for channel in session.channels:
                if not channel.closed and any(end.fileno() == fd for end in channel.sockets):
                    session.fault(f"an error in vhostspy itself ended the session: {error!r}; please report it")
                    return True
        return False

    def event(self, name: str, **members: Any) -> None:
        """Something that belongs to no session."""
        self.writer.event({"event": name, **members}, time_ns(), monotonic_ns(), sender=FROM_SPY)

    # -- what sessions ask for ----------------------------------------------------------------------------------------

    def channel_row(self, protocol: str, kind: str) -> ChannelRow | None:
        return registry.channel(protocol, kind)

    def session_ended(self, session: Session) -> None:
        self.sessions.remove(session)
        self._ended += 1
        if not gc.isenabled() and (not self.sessions or self._ended % COLLECT_AFTER == 0):
            self.loop.call_at(0, _collect)  # not now: the session is still in use by whoever ended it
        if self.settings.once and not session.silent:
            self.stop()
        elif self.settings.once:
            self._listen(True)
        if any(isinstance(side, Connector) and side.spent for side in self.sides) and not self.sessions:
            self.stop()  # there can be no other session
        if self.loop.running and all(isinstance(side, Connector) for side in self.sides):
            self.loop.call_at(monotonic_ns() + FIRST_PAUSE_NS, self._connect_both)

    def heard(self, session: Session) -> None:
        """A session is no mere probe: its first bytes came."""
        if self.settings.once:
            self._listen(False)
            for side in self.sides:
                if isinstance(side, Listener):
                    side.close()

    # -- connections --------------------------------------------------------------------------------------------------

    def _listen(self, on: bool) -> None:
        if on == self._listening:
            return
        self._listening = on
        for number, side in enumerate(self.sides):
            if isinstance(side, Listener) and side.socket.fileno() >= 0:
                if on:
                    accept = partial(self._accept, number)
                    self.loop.watch(side.socket, Loop.IN, accept, lambda fd, events: None)
                else:
                    self.loop.unwatch(side.socket)

    def _accept(self, number: int) -> None:
        side = self.sides[number]
        assert isinstance(side, Listener)
        try:
            arrived, _ = side.socket.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if not self._refusing:
                self._refusing = True
                self.settings.say(f"{side.name}: cannot accept a connection now: {error.strerror}; trying again")
            self._listen(False)
            self.loop.call_at(monotonic_ns() + ACCEPT_PAUSE_NS, lambda now: self._listen(True))
            return
        self._refusing = False
        arrived.setblocking(False)
        waiting = Waiting(arrived)
        self._watch_waiting(waiting)
        other = self.sides[1 - number]
        if isinstance(other, Connector):
            if self.settings.once:
                self._listen(False)
            self._connect(waiting, number, other, monotonic_ns(), FIRST_PAUSE_NS)
        else:
            self._queues[number].append(waiting)
            self._pair()

    def _watch_waiting(self, waiting: Waiting) -> None:
        """Notice when it hangs up, without reading from it."""

        def hung_up(fd: int, events: int) -> None:
            waiting.gone = True
            self.loop.unwatch(waiting.socket)

        self._waiting.add(waiting)
        self.loop.watch(waiting.socket, 0, lambda: None, hung_up)

    def _forget(self, waiting: Waiting) -> None:
        self._take(waiting).close()

    def _take(self, waiting: Waiting) -> socket.socket:
        """Its socket, the caller's from now on."""
        self._waiting.discard(waiting)
        if not waiting.gone:
            self.loop.unwatch(waiting.socket)
        return waiting.socket

    def _pair(self) -> None:
        """Both sides listen: the nth connections belong together. Those that went before they spoke are no nth."""
        for queue in self._queues:
            while queue and queue[0].gone:
                self._forget(queue.popleft())
        while self._queues[0] and self._queues[1]:
            front, back = (queue.popleft() for queue in self._queues)
            self._begin([self._take(front), self._take(back)])

    def _connect(self, waiting: Waiting, number: int, other: Connector, since: int, pause: int) -> None:
        """Reach the other side for a connection that arrived."""
        if waiting.gone and not _unread(waiting.socket):
            # it said nothing and hung up: nobody needs to hear of it
            self._forget(waiting)
            if self.settings.once:
                self._listen(True)
            return
        reached = other.attempt()
        if isinstance(reached, socket.socket):
            sockets = [self._take(waiting), reached]
            self._begin(sockets if number == 0 else sockets[::-1])
            return
        now = monotonic_ns()
        timeout_s = self.settings.connect_timeout_s
        if other.spent or now - since >= timeout_s * 1e9:
            self._forget(waiting)
            self._unreachable(other, reached, timeout_s)
            return
        if since == now or pause == FIRST_PAUSE_NS:
            self.settings.say(f"{other.name}: {reached.strerror}; trying again for {timeout_s:g} s")
        next_pause = min(pause * 2, LONGEST_PAUSE_NS)
        due = min(now + pause, since + int(timeout_s * 1e9))
        self.loop.call_at(due, lambda now: self._connect(waiting, number, other, since, next_pause))

    def _unreachable(self, other: Connector, error: OSError, timeout_s: float) -> None:
        within = "" if other.spent else f" within {timeout_s:g} s"
        text = f"{other.name}: could not be reached{within}: {error.strerror}"
        self.event("fault", text=text)
        if self.settings.once:
            self.failed(text)
            self.stop()
        else:
            self.settings.say(text)

    def _connect_both(self, now: int, since: int = 0, pause: int = FIRST_PAUSE_NS) -> None:
        """Nobody connects to us: reach the front-end's side, then the back-end's, for one session."""
        since = since or monotonic_ns()
        if self._first is not None and self._first.gone and not _unread(self._first.socket):
            self._forget(self._first)
            self._first = None
        side, reached = self._reach_both()
        if not isinstance(reached, OSError):
            return
        timeout_s = self.settings.connect_timeout_s
        if monotonic_ns() - since >= timeout_s * 1e9:
            if self._first is not None:
                self._forget(self._first)
                self._first = None
            self._unreachable(side, reached, timeout_s)
            if not self.settings.once and self.count == 0:
                self.failed(f"{side.name}: nobody is there")
                self.stop()
                return
            since = 0
        elif pause == FIRST_PAUSE_NS and not self.count:
            self.settings.say(f"{side.name}: {reached.strerror}; trying again for {timeout_s:g} s")
        next_pause = min(pause * 2, LONGEST_PAUSE_NS)
        self.loop.call_at(monotonic_ns() + pause, lambda now: self._connect_both(now, since, next_pause))

    def _reach_both(self) -> tuple[Connector, OSError | None]:
        """Connect to what is not connected yet; gives the side that cannot be reached and why, or None."""
        first, second = self.sides
        assert isinstance(first, Connector)
        assert isinstance(second, Connector)
        if self._first is None:
            reached = first.attempt()
            if isinstance(reached, OSError):
                return first, reached
            self._first = Waiting(reached)
            self._watch_waiting(self._first)
        reached = second.attempt()
        if isinstance(reached, OSError):
            return second, reached
        waiting, self._first = self._first, None
        self._begin([self._take(waiting), reached])
        return second, None

    def _begin(self, sockets: list[socket.socket]) -> None:
        self.count += 1
        session = Session(self, self.count, self._last_number, sockets)
        self._last_number = self.count
        self.sessions.append(session)
        session.make_policy()

    def peers(self, sockets: list[socket.socket]) -> dict[str, Any]:
        """Who is at each end, as far as the kernel says (it knows the process that connected, or that listens)."""
        found: dict[str, Any] = {}
        for name, sock, side in zip(("front_end", "back_end"), sockets, self.sides, strict=True):
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            pid = int.from_bytes(credentials[:4], byteorder)
            found[name] = {"path": side.name, "pid": pid, "program": _program(pid)}
        return found


def _collect(now: int) -> None:
    """Sessions, channels and directions refer to each other, and the process may run without a collector."""
    gc.collect()


def _unread(sock: socket.socket) -> int:
    """Bytes that wait to be read there; looking takes nothing away."""
    return int.from_bytes(ioctl(sock, FIONREAD, bytes(4)), byteorder)


def _program(pid: int) -> str:
    """The name of a process, or "": it may be gone, or somebody else's."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as comm:
            return os.fsdecode(comm.read()).strip()
    except OSError:
        return ""
