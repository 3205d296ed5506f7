"""Where a replay meets the other side, once a session: we listen, connect, or have the connection already."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from time import monotonic

from vhostspy.errors import Failure, WrongUse
from vhostspy.relay.endpoint import Connector, Listener

from .stage import LONGEST_S

#: how long the other side may take to listen, and to connect, in seconds
CONNECT_S, ACCEPT_S = 10.0, 60.0
#: the pauses between attempts to connect, in seconds
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.002, 0.2
#: whoever has waited for so long is told what for, in seconds
SAID_S = 1.0


class Meeting:
    """Owns its listening socket, and a connected one until it is met."""

    def __init__(
        self, listen: str | None = None, connect: str | socket.socket | None = None, mode: int = 0o600,
        timeout_s: float | None = None, say: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        """``say`` is told in a sentence what is waited for, where that takes longer."""
        if (listen is None) == (connect is None):
            raise WrongUse("say where the other side is: either --listen or --connect")
        self.timeout_s = timeout_s if timeout_s is not None else ACCEPT_S if listen is not None else CONNECT_S
        self._given = connect if isinstance(connect, socket.socket) else None
        self._listener = Listener(listen, mode) if listen is not None else None
        self._connector = Connector(connect) if isinstance(connect, str) else None
        self.name = listen or (connect if isinstance(connect, str) else "the given socket")
        self._say = say
        #: why nobody could be connected to
        self._why = ""

    def close(self) -> None:
        """May be called twice."""
        if self._listener is not None:
            self._listener.close()
        if self._given is not None:
            self._given.close()

    @property
    def listening(self) -> socket.socket | None:
        """The socket that becomes readable when somebody connects; None: we connect."""
        return None if self._listener is None else self._listener.socket

    def look(self, again: bool) -> socket.socket | None:
        """The next connection if it can be had now; never waits. Raises Failure where there will be none."""
        if self._given is not None:
            if again:
                raise Failure("a connected socket serves one session; the script has more")
            return self._given
        if self._listener is not None:
            try:
                return self._listener.socket.accept()[0]
            except BlockingIOError:
                return None
        if self._connector is None:
            raise ValueError("nothing to connect to")
        made = self._connector.attempt()
        if isinstance(made, socket.socket):
            return made
        self._why = made.strerror or str(made)
        if self._connector.spent:
            raise self.nobody(again)
        return None

    def nobody(self, again: bool) -> Failure:
        """What is said when there was no connection in time."""
        if self._listener is None:
            return Failure(f"{self.name}: cannot connect within {self.timeout_s:g} s: {self._why}")
        return Failure(f"{self.name}: nobody connected{' again' if again else ''} within {self.timeout_s:g} s")

    def _waits_for(self, again: bool) -> str:
        if self._listener is None:
            return f"{self.name}: {self._why}; trying again"
        return f"{self.name}: nobody has connected{' again' if again else ''} yet; waiting"

    def meet(self, again: bool, until_said_s: float = 0.0) -> socket.socket:
        """The next connection. Raises Failure when nobody comes, or is there, in time.

        until_said_s: who connects here speaks first, within that time; a connection that ends without a byte (somebody
        looks whether we are ready) does not count.
        """
        while True:
            made = self._wait(again)
            if self._listener is None or not until_said_s or _speaks(made, until_said_s):
                return made
            made.close()

    def _wait(self, again: bool) -> socket.socket:
        began, pause_s = monotonic(), FIRST_PAUSE_S
        deadline, say = began + self.timeout_s, self._say
        poll = select.poll()
        if self.listening is not None:
            poll.register(self.listening, select.POLLIN)
        while (made := self.look(again)) is None:
            left = deadline - monotonic()
            if left <= (0 if self.listening is not None else pause_s):
                raise self.nobody(again)
            if say is not None and monotonic() - began >= SAID_S:
                say(f"{self._waits_for(again)} for {self.timeout_s - SAID_S:g} s more")
                say = None
            longest_s = left if say is None else min(left, SAID_S)
            poll.poll((min(longest_s, LONGEST_S) if self.listening is not None else pause_s) * 1000)
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
        return made


def _speaks(sock: socket.socket, within_s: float) -> bool:
    """False: it closed without a byte. Who is silent for so long may still speak."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    if not poll.poll(min(within_s, LONGEST_S) * 1000):
        return True
    return has_spoken(sock)


def has_spoken(sock: socket.socket) -> bool:
    """Of a connection on which something has come: whether that is a byte, not its end."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except OSError:
        return False
