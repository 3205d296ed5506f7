"""Sessions that overlap in the record, played at the same time: one act each, one wait over all of them.

As front-end all of them together keep the record's order: a session begins, speaks and takes leave when nothing of the
others is left that comes before that. What a session leaves out by its end the others do not wait for. As back-end each
follows its own front-end, and the connections are taken for the record's sessions in the order of their first octets.

Nobody's wait is longer for the others: the clock that bounds it counts from what came last in any of them.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from vhostspy.dissectors.rows import FRONT_END

from .act import Act
from .log import Log
from .meeting import LONGEST_PAUSE_S, Meeting, has_spoken
from .outcome import Played
from .scene import Place
from .script import Part
from .stage import LONGEST_S
from .store import Identity, Store

if TYPE_CHECKING:
    from .player import Settings


class Ensemble:
    """Owns its acts, and connections that are no act's yet; store, log and meeting are the replay's."""

    def __init__(
        self,
        parts: Sequence[Part],
        settings: Settings,
        meeting: Meeting,
        store: Store,
        log: Log,
        last_uses: Mapping[int, Sequence[Identity]],
        again: bool,
    ) -> None:
        """last_uses: as for ``Act``. again: there were sessions before these."""
        self._settings, self._meeting, self._store, self._log = settings, meeting, store, log
        self._last_uses = last_uses
        self._ordered = settings.side == FRONT_END
        #: those that have not begun
        self._parts = deque(parts)
        self._acts: list[Act] = []
        self._over: list[Act] = []
        #: who has connected and not said anything yet
        self._silent: list[socket.socket] = []
        self._again = again
        self._heard = monotonic()

    def run(self) -> None:
        """Play them all to their ends. Raises Failure when nobody is there, or the system fails."""
        # the first is alone until it is met
        self._act(self._meeting.meet(self._again, 0.0 if self._ordered else self._settings.longest_s))
        while self._parts or self._acts:
            self._begin()
            until = self._perform()
            if self._parts or self._acts:
                self._wait(until)

    def end(self) -> list[Played]:
        """Close all; what came of each that began, in the record's order."""
        for sock in self._silent:
            sock.close()
        self._silent.clear()
        return [act.end() for act in sorted((*self._over, *self._acts), key=lambda act: act.part.messages[0].no)]

    # -- the beginning

    def _begin(self) -> None:
        """Begin those whose turn it is, as far as the other side is there."""
        while self._parts and (not self._ordered or self._turn(_start(self._parts[0]))):
            made = self._meeting.look(self._again)
            if made is None:
                break
            if self._meeting.listening is not None and not self._ordered:
                self._silent.append(made)
            else:
                self._act(made)
        if self._parts and monotonic() >= self._nobody_at():
            if not self._silent:
                raise self._meeting.nobody(self._again)
            self._act(self._silent.pop(0))

    def _act(self, sock: socket.socket) -> None:
        """The next session begins, over this connection."""
        part = self._parts.popleft()
        turn = self._turn if self._ordered else None
        self._acts.append(Act(part, self._settings, sock, self._store, self._log, self._last_uses, turn))
        self._again = True
        self._heard = monotonic()

    def _nobody_at(self) -> float:
        """When nobody is waited for any longer, as long as nothing is heard."""
        if self._ordered and self._parts and not self._turn(_start(self._parts[0])):
            return self._heard + LONGEST_S
        # as long as some are there, they may take their time
        return self._heard + max(self._meeting.timeout_s, self._settings.longest_s if self._acts else 0)

    def _listen_to(self, sock: socket.socket) -> None:
        """Somebody who has connected says something, or has gone: who only looked whether we are ready."""
        self._silent.remove(sock)
        if self._parts and has_spoken(sock):
            self._act(sock)
        else:
            sock.close()

    # -- in between

    def _turn(self, place: Place) -> bool:
        """Whether nothing of any session is before that moment of the record still; its own is not."""
        return all(act.place >= place for act in self._acts) and (not self._parts or _start(self._parts[0]) >= place)

    def _perform(self) -> float:
        """Let all say what is due, until nothing is; until when to wait then."""
        while True:
            self._heard = max(self._heard, *(act.heard for act in self._acts)) if self._acts else self._heard
            before = [act.place for act in self._acts]
            until = self._nobody_at() if self._parts else self._heard + LONGEST_S
            for act in sorted(self._acts, key=lambda act: act.place):
                act.heard = max(act.heard, self._heard)
                due = act.perform()
                if due is None:
                    self._leave(act)
                    break
                until = min(until, due)
            else:
                if before == [act.place for act in self._acts]:
                    return until

    def _leave(self, act: Act) -> None:
        """Its session is over; as far as they waited for it, the others begin to wait now."""
        self._acts.remove(act)
        self._over.append(act)
        if self._ordered:
            self._heard = monotonic()

    def _wait(self, until: float) -> None:
        """Wait for whatever comes next, in any of them; deal with it."""
        wanted: dict[int, int] = {}
        for act in self._acts:
            wanted.update(act.watched())
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)
        listening = self._meeting.listening
        if self._parts:
            if listening is None:
                until = min(until, monotonic() + LONGEST_PAUSE_S)
            elif not self._ordered or self._turn(_start(self._parts[0])):
                poll.register(listening, select.POLLIN)
        for sock in self._silent:
            poll.register(sock, select.POLLIN)
        left = min(max(0.0, until - monotonic()), LONGEST_S)
        ready = {fd for fd, _ in poll.poll(left * 1000 + 0.999)}
        for sock in [one for one in self._silent if one.fileno() in ready]:
            self._listen_to(sock)
        for act in list(self._acts):
            if not ready.isdisjoint(act.watched()) and not act.hear():
                self._leave(act)


def _start(part: Part) -> Place:
    return Place(part.messages[0].no)
