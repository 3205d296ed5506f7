"""Play one side of a script to a real peer.

Everything is driven by what comes. A message of ours is due once every answer that the record has before it is here;
an answer, once the request that it answers has come (by channel, name and meaning, see ``matching``); a back-end's own
request, once what came before it in the record has come again. The clock only bounds the waiting, and with
``original`` timing holds a message back for as long as the record did.

One thread, one poll. The descriptors are the store's, the memory behind them is made ready by ``guest``.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from time import monotonic
from typing import Literal, NamedTuple

from vhostspy.compare import Strictness
from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.errors import Failure, WrongUse
from vhostspy.message import Message
from vhostspy.relay.endpoint import Connector, Listener

from .act import Act
from .log import Log
from .outcome import Outcome, Played
from .script import Script
from .stage import LONGEST_S
from .store import Identity, Store, identity

#: what a hook makes of a message that is to be sent: see ``edit``
Edit = Callable[[Message], object]

#: what the sides are called
SIDES = {"front-end": FRONT_END, "back-end": BACK_END, "client": FRONT_END, "server": BACK_END}
#: how long an answer may take, and how long a front-end may take to go on, in seconds
ANSWER_S, FRONT_END_S = 10.0, 60.0
#: how long the other side may take to listen, and to connect, in seconds
CONNECT_S, ACCEPT_S = 10.0, 60.0


class Settings(NamedTuple):
    """How to play."""

    #: rows.FRONT_END or rows.BACK_END: the side that is played
    side: int
    strictness: Strictness = Strictness.SEMANTIC
    #: what becomes of a request that the record does not have
    unmatched: Literal["fail", "nack", "close"] = "fail"
    timing: Literal["causes", "original"] = "causes"
    #: the longest wait for one message, in seconds; None: ANSWER_S as front-end, FRONT_END_S as back-end
    timeout_s: float | None = None
    edit: Edit | None = None

    @property
    def longest_s(self) -> float:
        if self.timeout_s is not None:
            return self.timeout_s
        return ANSWER_S if self.side == FRONT_END else FRONT_END_S


class Meeting:
    """Where the other side is met, once a session: we listen, connect, or have the connection already."""

    def __init__(
        self, listen: str | None = None, connect: str | socket.socket | None = None, mode: int = 0o600,
        timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        if (listen is None) == (connect is None):
            raise WrongUse("say where the other side is: either --listen or --connect")
        self.timeout_s = timeout_s if timeout_s is not None else ACCEPT_S if listen is not None else CONNECT_S
        self._given = connect if isinstance(connect, socket.socket) else None
        self._listener = Listener(listen, mode) if listen is not None else None
        self._connector = Connector(connect) if isinstance(connect, str) else None
        self.name = listen or (connect if isinstance(connect, str) else "the given socket")

    def close(self) -> None:
        """May be called twice."""
        if self._listener is not None:
            self._listener.close()
        if self._given is not None:
            self._given.close()

    def meet(self, again: bool, until_said_s: float = 0.0) -> socket.socket:
        """The next connection. Raises Failure when nobody comes, or is there, in time.

        until_said_s: who connects here speaks first, within that time; a connection that ends without a byte (somebody
        looks whether we are ready) does not count.
        """
        if self._given is not None:
            if again:
                raise Failure("a connected socket serves one session; the script has more")
            return self._given
        if self._listener is None:
            return self._connect()
        while True:
            made = self._accept(again)
            if not until_said_s or _speaks(made, until_said_s):
                return made
            made.close()

    def _accept(self, again: bool) -> socket.socket:
        listener = self._listener
        if listener is None:
            raise ValueError("nothing to accept from")
        poll = select.poll()
        poll.register(listener.socket, select.POLLIN)
        deadline = monotonic() + self.timeout_s
        while (left := deadline - monotonic()) > 0:
            poll.poll(min(left, LONGEST_S) * 1000)
            try:
                return listener.socket.accept()[0]
            except BlockingIOError:
                continue
        raise Failure(f"{self.name}: nobody connected{' again' if again else ''} within {self.timeout_s:g} s")

    def _connect(self) -> socket.socket:
        connector = self._connector
        if connector is None:
            raise ValueError("nothing to connect to")
        deadline, pause_s = monotonic() + self.timeout_s, 0.002
        while True:
            made = connector.attempt()
            if isinstance(made, socket.socket):
                return made
            if connector.spent or monotonic() + pause_s > deadline:
                raise Failure(f"{self.name}: cannot connect within {self.timeout_s:g} s: {made.strerror}")
            select.poll().poll(pause_s * 1000)
            pause_s = min(pause_s * 1.5, 0.2)


def _speaks(sock: socket.socket, within_s: float) -> bool:
    """False: it closed without a byte. Who is silent for so long may still speak."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    if not poll.poll(min(within_s, LONGEST_S) * 1000):
        return True
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


def play(script: Script, settings: Settings, meeting: Meeting, log: Log) -> Outcome:
    """Play all sessions of a script, one after the other; the caller closes ``meeting`` and ``log``."""
    outcome = Outcome(script.name, settings.side, notes=script.notes)
    played: list[Played] = []
    store = Store()
    last_uses = _last_uses(script, settings.side)
    try:
        for part in script.parts:
            until_said_s = settings.longest_s if settings.side == BACK_END else 0.0
            act = Act(part, settings, meeting.meet(bool(played), until_said_s), store, log, last_uses)
            try:
                act.run()
            finally:
                played.append(act.end())
    except Failure as failure:
        outcome = outcome._replace(failure=str(failure))
    except OSError as error:  # no more descriptors, no memory
        outcome = outcome._replace(failure=f"the system failed: {error.strerror or error}")
    finally:
        store.close()
    return outcome._replace(sessions=tuple(played))


def _last_uses(script: Script, side: int) -> dict[int, list[Identity]]:
    """A message's number -> eventfds that are not sent again behind it: a long session has thousands."""
    last = {
        identity(fd): message.no
        for part in script.parts
        for message in part.messages
        if message.sender == side
        for fd in message.fds
        if fd.kind == "eventfd"
    }
    uses: dict[int, list[Identity]] = {}
    for one, no in last.items():
        uses.setdefault(no, []).append(one)
    return uses


def replay(
    capture: str | os.PathLike[str] | bytes | Script,
    as_: str,
    *,
    connect: str | os.PathLike[str] | socket.socket | None = None,
    listen: str | os.PathLike[str] | None = None,
    strictness: Strictness = Strictness.SEMANTIC,
    unmatched: Literal["fail", "nack", "close"] = "fail",
    timing: Literal["causes", "original"] = "causes",
    timeout_s: float | None = None,
    connect_timeout_s: float | None = None,
    from_no: int | None = None,
    until_no: int | str | None = None,
    keep: Callable[[Message], bool] | None = None,
    edit: Edit | None = None,
    see: Callable[[Message], None] | None = None,
    device: str | None = None,
    write: str | os.PathLike[str] | None = None,
    meeting: Meeting | None = None,
) -> Outcome:
    """Play one side of a capture: ``as_`` is front-end or back-end (client, server) and what is played.

    connect, listen: the other side; a connected socket is taken over. from_no, until_no, keep: which of the messages.
    write: keep what passes as a capture. meeting: where the other side is, instead; it stays the caller's.

    Raises WrongUse for what cannot be played or used, OSError for files; all else is in the outcome.
    """
    if as_ not in SIDES:
        raise ValueError(f"a replay is as one of {', '.join(SIDES)}, not as {as_!r}")
    where = meeting or Meeting(
        None if listen is None else os.fspath(listen),
        connect if connect is None or isinstance(connect, socket.socket) else os.fspath(connect),
        timeout_s=connect_timeout_s,
    )
    try:
        script = capture if isinstance(capture, Script) else Script.read(capture, device)
        if from_no is not None or until_no is not None or keep is not None:
            script = script.cut(from_no, until_no, keep)
        if not script.parts:
            raise WrongUse(f"{script.name}: there is no message to be played")
        settings = Settings(SIDES[as_], strictness, unmatched, timing, timeout_s, edit)
        log = Log(device, write, see)
        try:
            outcome = play(script, settings, where, log)
        finally:
            trouble = log.close()
        return outcome._replace(failure=outcome.failure or trouble)
    finally:
        if meeting is None:
            where.close()
