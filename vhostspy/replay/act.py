"""One session of a replay, from its first message to its end: speak, wait, hear, and know when it is over."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from time import monotonic, monotonic_ns

from vhostspy.compare import Strictness
from vhostspy.compare.message import named
from vhostspy.dissectors.rows import FRONT_END
from vhostspy.relay.descriptors import close_all

from .hearing import Hearer
from .log import Log
from .matching import ANY_TIME, WORK
from .outcome import Played
from .scene import Over, Place, Scene, Turn
from .script import Part, said
from .settings import Settings
from .speaking import Speaker
from .store import Identity, Store
from .wire import Wire

#: how long a peer may take to close once all is done, and how long what it said besides is waited for, in seconds
_CLOSE_S, _LINGER_S = 2.0, 0.1
#: of requests that did not come so many are told one by one
_MOST_TOLD = 20


class Act:
    """Owns the session's sockets; descriptors are the store's."""

    def __init__(
        self,
        part: Part,
        settings: Settings,
        sock: socket.socket,
        store: Store,
        log: Log,
        last_uses: Mapping[int, Sequence[Identity]],
        turn: Turn | None = None,
    ) -> None:
        """last_uses: a message's number -> descriptors that are not sent again behind it. turn: see ``scene``."""
        self.part = part
        self.side = settings.side
        self.settings = settings
        self._log = log
        self._begun = len(log.passed)
        self._scene = scene = Scene(part, settings, sock, store, log, turn)
        self._stage, self._cues, self._expected, self._tally = scene.stage, scene.cues, scene.expected, scene.tally
        self._speaker = Speaker(scene, last_uses, self._hear_the_last)
        self._hearer = Hearer(scene, self._speaker, self._done)
        self._ended = ""
        #: a message is held back by the clock
        self._held = False
        #: all was played: until when the peer may say something besides, then until when it may close
        self._leave_until: float | None = None
        self._finished = False
        log.event("open", f"session {part.number} begins", part.number)

    # -- the session --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Play it to its end. Raises Failure when the system fails."""
        try:
            while True:
                self._wait(self._perform())
        except Over as over:
            self._over(over)

    def perform(self) -> float | None:
        """Say all that is due, and wait for nothing; until when there is nothing else to do (of the monotonic clock).

        None: the session is over. Raises Failure when the system fails.
        """
        try:
            return self._perform()
        except Over as over:
            self._over(over)
            return None

    def hear(self) -> bool:
        """Take what has come, and wait for nothing; False: the session is over."""
        try:
            self._look(0)
        except Over as over:
            self._over(over)
            return False
        return True

    @property
    def place(self) -> Place:
        """How far it is in the record: what it does next, or waits for."""
        no = self._cues.next_no
        return Place(self.part.ends, True) if no is None else Place(no)

    @property
    def heard(self) -> float:
        """When something last came that got the session on; the longest wait counts from there."""
        return self._tally.heard

    @heard.setter
    def heard(self, moment: float) -> None:
        self._tally.heard = moment

    def watched(self) -> dict[int, int]:
        """Descriptor -> events (``select.poll``) after which ``hear`` has something to do."""
        return self._stage.watched()

    def _perform(self) -> float:
        held = self._speaker.perform()
        if self._leave_until is None and not self._cues.agenda and self._done():
            turn = self._scene.turn
            if turn is None or turn(self.place):
                self._take_leave()
        if self._leave_until is not None:
            return self._leave()
        self._held = held is not None
        longest = self.settings.longest_s
        if held is None:
            deadline = self._tally.heard + longest
        else:
            deadline = max(self._tally.heard, held) + longest
        if deadline <= monotonic():
            self._silence()
        return deadline if held is None else min(deadline, held)

    def _over(self, over: Over) -> None:
        self._ended = self._ended or str(over)

    def end(self) -> Played:
        """Close all; what came of it."""
        self._log.catch_up()
        self._tell_missing()
        if self._scene.addresses is not None and (lost := self._scene.addresses.lost):
            self._tally.note(lost)
        self._stage.close()
        self._log.event("close", f"session {self.part.number} ends", self.part.number)
        tally = self._tally
        took = max(0, (tally.last_ns or monotonic_ns()) - tally.first_ns) if tally.first_ns else 0
        return Played(
            self.part.number,
            tally.sent,
            tally.matched,
            tuple(tally.mismatches),
            tuple(tally.notes),
            self._ended,
            took,
            tuple(one for one in self._log.passed[self._begun :] if one.session == self.part.number),
        )

    def _done(self) -> bool:
        """Nothing is left to be said or heard (but what a peer says when it likes)."""
        if not self._cues.at_rest or not self._stage.all_sent:
            return False
        if self.side == FRONT_END:
            return True
        if self.part.closed_by == FRONT_END:
            return self._stage.main.ended
        left = self._expected.left()
        repeatable = ANY_TIME | WORK
        if any(self.part.messages[place].name not in repeatable for place in left):
            return False
        # of what the guest's work brings about, only the last tells that it is over
        return not left or left[-1] < max(self._expected.messages)

    def _take_leave(self) -> None:
        """All was played: say that we are done, and let the peer say so as well."""
        self._ended = "all was played"
        self._tally.last_ns = monotonic_ns()
        self._scene.leaving = True
        self._leave_until = monotonic() + (_LINGER_S if self.side == FRONT_END else 0)

    def _leave(self) -> float:
        """Until when to wait for what the peer says besides, then for its end: what it refuses late is told, too."""
        now = monotonic()
        if not self._finished and (now >= (self._leave_until or 0) or not self._expected.left()):
            self._finished = True
            self._stage.main.finish()
            self._leave_until = now + min(_CLOSE_S, self.settings.longest_s)
        until = self._leave_until or 0
        if now >= until or self._stage.main.ended:
            raise Over(self._ended)
        return until

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _wait(self, until: float) -> None:
        """Wait until then for whatever comes next; deal with it."""
        main = self._stage.main
        if not self._held and self._cues.waiting.get(main.key) and not main.out and self._read(main, patient=True):
            if self._stage.nested:
                self._look(0)
            return
        self._look(max(0.0, until - monotonic()))

    def _look(self, for_s: float) -> None:
        for wire in self._stage.ready(for_s):
            self._read(wire)

    def _read(self, wire: Wire, patient: bool = False) -> bool:
        """Take what has come on one channel; whether there was anything. patient: wait a moment for it."""
        if wire.closed:
            return False
        messages = wire.receive(patient)
        came = bool(messages) or wire.ended
        if len(messages) == 1:
            self._hearer.came(wire, messages[0])
        else:
            try:
                while messages:
                    self._hearer.came(wire, messages.pop(0))
            finally:
                for whole in messages:
                    close_all(whole.fds)
        if wire.ended:
            self._stage.changed()
            if wire is self._stage.main:
                self._hear_others()
                self._closed()
            wire.close()
        return came

    def _hear_others(self) -> None:
        """The main channel has ended: what was said on the others until then counts as well."""
        for wire in self._stage.nested:
            while self._read(wire):
                pass

    # -- how it ends --------------------------------------------------------------------------------------------------

    def _hear_the_last(self, wire: Wire) -> None:
        """The peer takes nothing more: read what it said before it went."""
        deadline = monotonic() + min(_CLOSE_S, self.settings.longest_s)
        while not wire.ended:
            if self._read(wire):
                continue
            left = deadline - monotonic()
            if left <= 0:
                # it keeps the channel open, but reads no more
                wire.ended, wire.how = True, "takes nothing more"
                self._stage.changed()
                if wire is self._stage.main:
                    self._closed()
                return
            self._stage.ready(left)

    def _closed(self) -> None:
        """The peer has ended the main channel."""
        self._tally.last_ns = self._tally.last_ns or monotonic_ns()
        how = self._stage.main.how
        for place in self._cues.outstanding():
            self._tell_unanswered(place, f"the {self._scene.theirs} {how}")
        if self.side == FRONT_END and self._cues.agenda:
            following, more = self.part.messages[self._cues.agenda[0]], len(self._cues.agenda) - 1
            rest = f" and {more} more" if more else ""
            text = f"the {self._scene.theirs} {how} before {named(following)} #{following.no}{rest} could be sent"
            self._tally.mismatch(None, None, (), text)
        raise Over(f"the {self._scene.theirs} {how}{' the connection' if how == 'closed' else ''}")

    def _silence(self) -> None:
        """Nothing has come for as long as we wait."""
        self._tally.last_ns = monotonic_ns()
        limit = f"{self.settings.longest_s:g} s"
        outstanding = self._cues.outstanding()
        asked = {message.no: message for message in self.part.messages}
        for place in outstanding:
            request = asked[self.part.messages[place].answers or 0]
            self._tell_unanswered(place, f"{named(request)} #{request.no} stands unanswered for {limit}")
        if outstanding:
            raise Over(f"the {self._scene.theirs} did not answer within {limit}")
        if not self._cues.agenda and not any(self._cues.needed(place) for place in self._expected.left()):
            self._tally.note(f"the {self._scene.theirs} did nothing more for {limit}")
        raise Over(f"the {self._scene.theirs} was silent for {limit}")

    def _tell_unanswered(self, place: int, why: str) -> None:
        answer = self.part.messages[place]
        self._tally.mismatch(said(answer) or answer, None, (), why)

    def _tell_missing(self) -> None:
        """Requests of theirs that did not come."""
        left = self._expected.left()
        told: list[int] = []
        if self.settings.strictness is Strictness.EXACT:
            told = left[:_MOST_TOLD]
        elif self.side != FRONT_END:
            told = [place for place in left if self._cues.needed(place)][:_MOST_TOLD]
        for place in told:
            self._tally.mismatch(self._expected.messages[place], None, (), "not sent again")
        rest = len(left) - len(told)
        if rest:
            self._tally.note(
                f"{rest} request{'' if rest == 1 else 's'} of the record's {self._scene.theirs} did not come again"
            )
