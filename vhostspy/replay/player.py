"""Play one side of a script to a real peer.

Everything is driven by what comes. A message of ours is due once every answer that the record has before it is here;
an answer, once the request that it answers has come (by channel, name and meaning, see ``matching``); a back-end's own
request, once what came before it in the record has come again. The clock only bounds the waiting, and with
``original`` timing holds a message back for as long as the record did.

One thread, one poll; sessions that overlap in the record are played at the same time (``ensemble``). The descriptors
are the store's, the memory behind them is made ready by ``guest``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Literal

from vhostspy.compare import Strictness
from vhostspy.dissectors.rows import BACK_END
from vhostspy.errors import Failure, WrongUse
from vhostspy.message import Message

from .act import Act
from .ensemble import Ensemble
from .log import Log
from .meeting import Meeting
from .outcome import Outcome, Played
from .script import Part, Script
from .settings import SIDES, Edit, Settings
from .store import Identity, Store, identity


def play(script: Script, settings: Settings, meeting: Meeting, log: Log) -> Outcome:
    """Play all sessions of a script, in its order, those at the same time that overlap in it.

    The caller closes ``meeting`` and ``log``.
    """
    groups = script.overlapping()
    notes = [
        f"sessions {_listed(group)} overlap in the record: played at the same time" for group in groups if group[1:]
    ]
    outcome = Outcome(script.name, settings.side, notes=(*script.notes, *notes))
    played: list[Played] = []
    store = Store()
    last_uses = _last_uses(script, settings.side)
    try:
        for group in groups:
            if group[1:]:
                ensemble = Ensemble(group, settings, meeting, store, log, last_uses, again=bool(played))
                try:
                    ensemble.run()
                finally:
                    played += ensemble.end()
                continue
            until_said_s = settings.longest_s if settings.side == BACK_END else 0.0
            act = Act(group[0], settings, meeting.meet(bool(played), until_said_s), store, log, last_uses)
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


def _listed(group: Sequence[Part]) -> str:
    numbers = [str(part.number) for part in group]
    return f"{', '.join(numbers[:-1])} and {numbers[-1]}"


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
    say: Callable[[str], None] | None = None,
) -> Outcome:
    """Play one side of a capture: ``as_`` is front-end or back-end (client, server) and what is played.

    connect, listen: the other side; a connected socket is taken over. from_no, until_no, keep: which of the messages.
    write: keep what passes as a capture. meeting: where the other side is, instead; it stays the caller's.
    say: is told in a sentence what is waited for, where that takes longer than a second.

    Raises WrongUse for what cannot be played or used, OSError for files; all else is in the outcome.
    """
    if as_ not in SIDES:
        raise ValueError(f"a replay is as one of {', '.join(SIDES)}, not as {as_!r}")
    where = meeting or Meeting(
        None if listen is None else os.fspath(listen),
        connect if connect is None or isinstance(connect, socket.socket) else os.fspath(connect),
        timeout_s=connect_timeout_s,
        say=say,
    )
    try:
        script = capture if isinstance(capture, Script) else Script.read(capture, device)
        if from_no is not None or until_no is not None or keep is not None:
            script = script.cut(from_no, until_no, keep)
        if not script.parts:
            raise WrongUse(f"{script.name}: there is no message to be played")
        settings = Settings(SIDES[as_], strictness, unmatched, timing, timeout_s, edit, say)
        log = Log(device, write, see)
        try:
            outcome = play(script, settings, where, log)
        finally:
            trouble = log.close()
        return outcome._replace(failure=outcome.failure or trouble)
    finally:
        if meeting is None:
            where.close()
