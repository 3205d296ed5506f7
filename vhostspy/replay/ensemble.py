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

from vhostspy.dissectors.rows import FRONT_END

from .act import Act
from .log import Log
from .meeting import LONGEST_PAUSE_S, Meeting, has_spoken
from .outcome import Played
from .scene import Place
from .script import Part
from .settings import Settings
from .stage import LONGEST_S
from .store import Identity, Store


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
        #: those that are under way, and until when each has nothing to say; 0: not asked yet
        self._acts: dict[Act, float] = {}
        self._over: list[Act] = []
        #: who has connected and not said anything yet
        self._silent: list[socket.socket] = []
        self._again = again
        self._heard = monotonic()
        #: which session may speak now, and up to where in the record
        self._turn_of = 0
        self._turn_until = Place(0)

    def run(self) -> None:
        """Play them all to their ends. Raises Failure when nobody is there, or the system fails."""
        # the first is alone until it is met
        self._act(self._meeting.meet(self._again, 0.0 if self._ordered else self._settings.longest_s))
        while self._parts or self._acts:
            self._begin()
            until = self._in_order() if self._ordered else self._each()
            if self._parts or self._acts:
                self._wait(until)

    def end(self) -> list[Played]:
        """Close all; what came of each that began, in the record's order."""
        for sock in self._silent:
            sock.close()
        self._silent.clear()
        return [act.end() for act in sorted((*self._over, *self._acts), key=lambda act: act.part.messages[0].no)]

    # -- the beginning

    @property
    def _may_begin(self) -> bool:
        """Whether there is a session that has not begun, and nothing of the others is before it."""
        if not self._parts:
            return False
        start = _start(self._parts[0])
        return not self._ordered or all(act.place >= start for act in self._acts)

    def _begin(self) -> None:
        """Begin those whose turn it is, as far as the other side is there."""
        while self._may_begin:
            made = self._meeting.look(self._again)
            if made is None:
                break
            if self._meeting.listening is not None and not self._ordered:
                self._silent.append(made)
            else:
                self._act(made)
        if self._may_begin and monotonic() >= self._nobody_at():
            if not self._silent:
                raise self._meeting.nobody(self._again)
            self._act(self._silent.pop(0))

    def _act(self, sock: socket.socket) -> None:
        """The next session begins, over this connection."""
        part = self._parts.popleft()

        def turn(place: Place) -> bool:
            return self._turn_of == part.number and place <= self._turn_until

        act = Act(
            part, self._settings, sock, self._store, self._log, self._last_uses, turn if self._ordered else None
        )  # fmt: skip
        self._acts[act] = 0.0
        self._again = True
        self._heard = monotonic()

    def _nobody_at(self) -> float:
        """When nobody is waited for any longer, as long as nothing is heard."""
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

    def _in_order(self) -> float:
        """Let them speak in the record's order, as far as that goes now; until when to wait then."""
        while self._acts:
            places = sorted((act.place, act.part.number) for act in self._acts)
            if self._parts:
                places.append((_start(self._parts[0]), 0))
            first = min(places)[0]
            now = [act for act in self._acts if act.place == first]
            # only at their ends may several be at the same place
            limit = min((place for place, _ in places if place > first), default=_END)
            until, moved = monotonic() + LONGEST_S, not now
            for act in now:
                self._turn_of, self._turn_until = act.part.number, limit if len(now) == 1 else first
                due = self._perform(act)
                if due is None or act.place != first:
                    moved = True
                    break
                until = min(until, due)
            self._turn_of = 0
            if not now:
                break
            if not moved:
                return until
        return self._nobody_at()

    def _each(self) -> float:
        """Let each say what is due; until when to wait then."""
        now = monotonic()
        for act in [act for act, until in self._acts.items() if until <= now]:
            self._perform(act)
        until = min(self._acts.values(), default=self._heard + LONGEST_S)
        return min(until, self._nobody_at()) if self._parts else until

    def _perform(self, act: Act) -> float | None:
        """None: it is over."""
        act.heard = max(act.heard, self._heard)
        due = act.perform()
        if due is None:
            self._leave(act)
            return None
        self._heard = max(self._heard, act.heard)
        self._acts[act] = due
        return due

    def _leave(self, act: Act) -> None:
        """Its session is over; as far as they waited for it, the others begin to wait now."""
        del self._acts[act]
        self._over.append(act)
        if self._ordered:
            self._heard = monotonic()

    def _wait(self, until: float) -> None:
        """Wait for whatever comes next, in any of them; deal with it."""
        poll = select.poll()
        whose: dict[int, Act] = {}
        for act in self._acts:
            for fd, events in act.watched().items():
                poll.register(fd, events)
                whose[fd] = act
        listening = self._meeting.listening
        if self._may_begin:
            if listening is None:
                until = min(until, monotonic() + LONGEST_PAUSE_S)
            else:
                poll.register(listening, select.POLLIN)
        for sock in self._silent:
            poll.register(sock, select.POLLIN)
        left = min(max(0.0, until - monotonic()), LONGEST_S)
        ready = [fd for fd, _ in poll.poll(left * 1000 + 0.999)]
        for sock in [one for one in self._silent if one.fileno() in ready]:
            self._listen_to(sock)
        for act in dict.fromkeys(whose[fd] for fd in ready if fd in whose):
            if not act.hear():
                self._leave(act)
                continue
            self._heard = max(self._heard, act.heard)
            # what it is asked it answers at once, whosever turn it is
            self._perform(act)


#: behind the whole record
_END = Place(1 << 62, True)


def _start(part: Part) -> Place:
    return Place(part.messages[0].no)
