"""One session of a replay: what is due is sent, what comes is held against the record.

The peer's time counts: octets that are the recorded ones are not looked at any further before the next message is on
its way. Everything else is read, compared, and told.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING

from vhostspy.compare import Strictness, differences
from vhostspy.compare.message import named
from vhostspy.dissectors.rows import FRONT_END
from vhostspy.message import Message, end_name
from vhostspy.relay.descriptors import close_all

from .answers import acknowledgement, refusal, with_msgid
from .cues import Armed, Cues
from .edit import edited
from .guest import BEFORE, Guest
from .log import Log
from .matching import ANY_TIME, WORK, Expected
from .outcome import Mismatch, Played
from .script import Part, nested, said
from .stage import Stage
from .store import Identity, Store, identity
from .wire import Whole, Wire

if TYPE_CHECKING:
    from .player import Settings

#: how long a message that their request prompted in the record waits for that request, in seconds
_PROMPT_S = 0.5
#: how long a peer may take to close once all is done, and how long what it said besides is waited for, in seconds
_CLOSE_S, _LINGER_S = 2.0, 0.1
#: of requests that did not come so many are told one by one
_MOST_TOLD = 20
#: an end to what is said beside the record
_STRANGE, _MOST_STRAYS = 100, 100_000


#: for messages without descriptors
_NO_FDS: list[int] = []


class _Over(Exception):
    """The session ends here; the text says why."""


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
    ) -> None:
        """last_uses: a message's number -> descriptors that are not sent again behind it."""
        self.part = part
        self.side = settings.side
        self.settings = settings
        self._store = store
        self._last_uses = last_uses
        self._log = log
        self._begun = len(log.passed)
        self._stage = Stage(part, sock, store)
        self._cues = Cues(part, self.side)
        self._expected = Expected(self._cues.their_requests, settings.strictness)
        self._guest = Guest(store, part.messages) if self.side == FRONT_END else None
        self._theirs = end_name(part.protocol, 1 - self.side)
        #: what the peer gives and gets back
        self._returned = {identity(fd) for one in part.messages if one.sender == self.side for fd in one.fds}
        self._mismatches: list[Mismatch] = []
        self._notes: list[str] = []
        self._sent = self._matched = 0
        #: how much came that has no place in the record: what was there once counts 1, else _STRANGE
        self._strays = 0
        self._ended = ""
        self._first_ns = self._last_ns = 0
        #: all is done: what the peer still asks is not looked at any more
        self._leaving = False
        #: place -> when a message that is held back may go
        self._hold: dict[int, float] = {}
        #: place of a request of ours -> what became of it, if that is something else
        self._edited: dict[int, Message] = {}
        #: place -> channel and octets of the requests that are nothing but that
        self._plain: dict[int, tuple[tuple[str, int], bytes]] = {}
        if settings.edit is None and settings.timing == "causes":
            bases = self._guest is not None and self._guest.has_bases
            self._plain = {
                place: ((one.channel, one.channel_no), one.data)
                for place in self._cues.agenda
                if not (one := part.messages[place]).fds
                and not one.snapped
                and place not in self._cues.prompt
                and not (bases and one.name in BEFORE)
            }
        #: when something last passed, and when something last came
        self._moment = self._heard = monotonic()
        log.event("open", f"session {part.number} begins", part.number)

    # -- the session --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Play it to its end. Raises Failure when the system fails."""
        try:
            while True:
                until = self._perform()
                if not self._cues.agenda and self._done():
                    break
                self._wait(until)
            self._ended = "all was played"
            self._last_ns = monotonic_ns()
            self._leaving = True
            self._take_leave()
        except _Over as over:
            self._ended = self._ended or str(over)

    def end(self) -> Played:
        """Close all; what came of it."""
        self._log.catch_up()
        self._tell_missing()
        self._stage.close()
        self._log.event("close", f"session {self.part.number} ends", self.part.number)
        took = max(0, (self._last_ns or monotonic_ns()) - self._first_ns) if self._first_ns else 0
        return Played(
            self.part.number, self._sent, self._matched, tuple(self._mismatches), tuple(self._notes), self._ended, took,
            tuple(self._log.passed[self._begun :]),
        )  # fmt: skip

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
        """Say that we are done, and let the peer say so as well: what it refuses late is not to be missed."""
        if self.side == FRONT_END and self._expected.left():
            self._listen(_LINGER_S, lambda: not self._expected.left())
        self._stage.main.finish()
        self._listen(min(_CLOSE_S, self.settings.longest_s), lambda: False)

    def _listen(self, for_s: float, enough: Callable[[], bool]) -> None:
        deadline = monotonic() + for_s
        while not enough() and not self._stage.main.ended:
            left = deadline - monotonic()
            if left <= 0:
                return
            self._look(left)
            self._perform()

    # -- what is due --------------------------------------------------------------------------------------------------

    def _perform(self) -> float | None:
        """Send all that is due; when the next is due by the clock, None: by nothing but causes."""
        cues = self._cues
        while True:
            if cues.armed and (answer := cues.next_answer()) is not None:
                if isinstance(answer, Armed):
                    cues.armed.remove(answer)
                    self._answer(answer)
                else:
                    self._speak(answer)
                continue
            place = cues.next_request()
            if place is None or self._stage.main.ended:
                return None
            if place in self._plain and self._say(place):
                continue
            if cues.prompt or self.settings.timing == "original":
                until = self._hold_until(place)
                if until > monotonic():
                    return until
            self._speak(place)

    def _say(self, place: int) -> bool:
        """Send a request that is nothing but octets; False: there is more to be done for it."""
        key, data = self._plain[place]
        wire = self._stage.find(key)
        if wire is None or wire.ended or wire.out:
            return False
        self._first_ns = self._first_ns or monotonic_ns()
        if not wire.send(data, _NO_FDS):
            return False
        now = monotonic_ns()
        self._log.later(now, self.part.number, wire, self.side, data, _NO_FDS, ())
        self._cues.request_sent(place)
        self._sent += 1
        self._moment = self._heard = now / 1e9
        if wire.out:
            self._stage.changed()
        return True

    def _hold_until(self, place: int) -> float:
        """Until when a message that is due is held back: by the record's clock, or for what would have caused it."""
        cause = self._cues.prompt.get(place)
        waits = cause is not None and self._expected.waits_for(cause)
        original = self.settings.timing == "original"
        if not waits and not original:
            return 0.0
        until = self._hold.get(place)
        if until is None:
            if original:
                message = self.part.messages[place]
                before = self.part.messages[place - 1].monotonic_ns if place else message.monotonic_ns
                until = self._moment + max(0, message.monotonic_ns - before) / 1e9
            else:
                until = monotonic() + _PROMPT_S
            self._hold[place] = until
        elif waits and until <= monotonic():
            prompt = self.part.messages[cause or 0]
            self._notes.append(f"went on without {named(prompt)} #{prompt.no}, which did not come again")
            del self._cues.prompt[place]
        return until

    def _speak(self, place: int) -> None:
        """Send a request of ours."""
        message = self.part.messages[place]
        wire = self._stage.find((message.channel, message.channel_no))
        if wire is None or (wire.ended and wire is not self._stage.main):
            where = f"the {message.channel} channel is {'not there' if wire is None else 'closed'}"
            self._notes.append(f"{named(message)} #{message.no} was not sent: {where}")
            self._cues.not_to_be_answered(place)
            return
        if self.settings.edit is None and not message.snapped:
            if self._send(message, wire, message.data):
                self._cues.request_sent(place)
            return
        pieces = edited(self.settings.edit, message)
        if not pieces:
            self._notes.append(f"{named(message)} #{message.no} was left out")
            self._cues.not_to_be_answered(place)
            return
        for number, data in enumerate(pieces):
            if not self._send(message, wire, data):
                return
            if not number:
                self._cues.request_sent(place)
            if data != message.data:
                self._log.catch_up()
                live = self._edited[place] = self._log.passed[-1]
                if not live.awaited and live.row is not None:
                    self._cues.not_to_be_answered(place)

    def _answer(self, armed: Armed) -> None:
        message = self.part.messages[armed.place]
        wire = self._stage.find(armed.channel)
        if wire is not None:
            for data in edited(self.settings.edit, message):
                self._send(message, wire, with_msgid(wire.rows, data, armed.msgid))

    def _send(self, message: Message, wire: Wire, data: bytes) -> bool:
        """Send octets with the descriptors of a recorded message; False: this channel takes nothing more."""
        if self._guest is not None and message.name in BEFORE and (self._guest.has_bases or self.settings.edit):
            self._guest.prepare(self._log.session(self.part.number))
        if message.fds:
            fds, theirs = self._descriptors(message)
        else:
            fds, theirs = _NO_FDS, None
        if not self._first_ns:
            self._first_ns = monotonic_ns()
        try:
            if not wire.send(data, fds):
                self._hear_the_last(wire)
                return False
            now = monotonic_ns()
            self._log.later(now, self.part.number, wire, self.side, data, fds, message.fds)
        finally:
            if theirs is not None:
                theirs.close()
        self._sent += 1
        self._moment = now / 1e9
        if not message.is_reply:
            self._heard = self._moment
        if fds or wire.out:
            self._stage.changed()
        if fds:
            if message.name == "SET_VRING_KICK" and self.side == FRONT_END:
                # as a front-end does: there are back-ends that start a ring at its first kick
                os.eventfd_write(fds[0], 1)
            if message.fds[0].kind == "pipe":
                self._store.passed_on(message)
            if message.no in self._last_uses:
                self._store.forget(self._last_uses[message.no])
        return True

    def _descriptors(self, message: Message) -> tuple[list[int], socket.socket | None]:
        """What goes with a message, lent by the store; and the socket among them, to be closed once it is sent."""
        opening, theirs = nested(message) if message.no in self.part.opens else None, None
        fds: list[int] = []
        for i, one in enumerate(message.fds):
            if opening is not None and i == opening[1]:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                self._stage.adopt(opening[0], ours, message.no)
                fds.append(theirs.fileno())
            else:
                fds.append(self._store.lend(one, message))
        return fds, theirs

    # -- what comes ---------------------------------------------------------------------------------------------------

    def _wait(self, until: float | None) -> None:
        """Wait for whatever comes next, not for ever; deal with it."""
        main = self._stage.main
        if until is None and self._cues.waiting.get(main.key) and not main.out and self._read(main, patient=True):
            if self._stage.nested:
                self._look(0)
            return
        now = monotonic()
        deadline = self._heard + self.settings.longest_s
        if until is not None:
            deadline = max(deadline, until + self.settings.longest_s)
        if now >= deadline:
            self._silence()
        self._look(max(0.0, (deadline if until is None else min(deadline, until)) - now))

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
            self._came(wire, messages[0])
        else:
            try:
                while messages:
                    self._came(wire, messages.pop(0))
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

    def _came(self, wire: Wire, whole: Whole) -> None:
        now = monotonic_ns()
        heard, strays = self._heard, self._strays
        self._moment = self._heard = now / 1e9
        fds = whole.fds
        if not fds and self._as_ever(wire, whole.data, now):
            return
        try:
            message = self._log.note(self.part.number, wire, 1 - self.side, whole.data, fds, None, whole.framed)
            if message.kind == "raw":
                self._mismatches.append(Mismatch(self.part.number, None, message, (), "they begin no message"))
                raise _Over(f"what the {self._theirs} says cannot be read any more")
            if message.is_reply:
                self._answered(wire, message, fds)
            elif self.side == FRONT_END or not (self._leaving or self._done()):
                self._asked(wire, message, fds)
        finally:
            close_all(fds)
        if self._strays != strays:
            # it is not what is waited for, however often it comes
            self._heard = heard
            if self._strays >= _MOST_STRAYS:
                text = f"there is no end to what the {self._theirs} says beside the record"
                self._mismatches.append(Mismatch(self.part.number, None, message, (), text))
                raise _Over(text)

    def _as_ever(self, wire: Wire, data: bytes, now_ns: int) -> bool:
        """Whether it is, to the octet, what the record has here: then that is all there is to it."""
        cues = self._cues
        waiting = cues.waiting.get(wire.key)
        if waiting:
            request = waiting[0]
            expected = self.part.messages[cues.their_answer[request]]
            if expected.data == data and not expected.fds and expected.original is None and not self._edited:
                cues.answer_came(wire.key, request)
                self._matched += 1
                self._log.later(now_ns, self.part.number, wire, 1 - self.side, data, (), ())
                return True
        if self._leaving:
            return False
        place = self._expected.take_octets(wire.key, data)
        if place is None:
            return False
        self._matched += 1
        self._log.later(now_ns, self.part.number, wire, 1 - self.side, data, (), ())
        cues.request_came(place)
        if place in cues.our_answer:
            msgid = self._expected.messages[place].msgid
            cues.armed.append(Armed(cues.our_answer[place], place, msgid, wire.key))
        return True

    def _answered(self, wire: Wire, came: Message, fds: list[int]) -> None:
        cues = self._cues
        for place in cues.waiting.get(wire.key, ()):
            request = self._edited.get(place) or self.part.messages[place]
            if request.id == came.id and request.msgid == came.msgid:
                break
        else:
            self._unasked(wire, came)
            return
        answer = self.part.messages[cues.answer_came(wire.key, place)]
        expected = said(answer) or answer
        if request.name == expected.name:
            self._hold_against(expected, came)
        else:
            self._notes.append(f"{named(came)} #{came.no} answers in the place of {named(expected)} #{expected.no}")
        self._take(expected, came, fds)

    def _unasked(self, wire: Wire, came: Message) -> None:
        """An answer that the record does not have."""
        self._strays += _STRANGE
        place = self._cues.unasked.get(wire.key, {}).pop(came.id, None)
        live = None if place is None else self._edited.get(place)
        if live is not None and live.awaited:
            self._notes.append(f"{named(came)} #{came.no} answers what the record did not ask: {came.info or 'ok'}")
            return
        text = "it answers nothing that was asked" if place is None else "the record has no answer to it"
        self._mismatches.append(Mismatch(self.part.number, None, came, (), text))

    def _asked(self, wire: Wire, came: Message, fds: list[int]) -> None:
        found = self._expected.take(came)
        if found is None:
            self._unmatched(wire, came)
            return
        cues = self._cues
        expected = self._expected.messages[found.at]
        if found.again:
            self._matched += 1
            self._strays += 1
        else:
            self._hold_against(expected, came)
            cues.request_came(found.at)
        self._take(expected, came, fds)
        answer = cues.our_answer.get(found.at)
        # peers answer unasked, too: who asks as in the record is answered as in the record
        if answer is not None and (came.awaited or came.need_reply == expected.need_reply):
            cues.armed.append(Armed(answer, found.at, came.msgid, wire.key))
        elif came.awaited:
            self._answer_anew(wire, came)

    def _hold_against(self, expected: Message, came: Message) -> None:
        same = expected.data == came.data and not expected.fds and not came.fds
        found = () if same else differences(expected, came, self.settings.strictness)
        if found:
            self._mismatches.append(Mismatch(self.part.number, expected, came, found))
        else:
            self._matched += 1

    def _take(self, expected: Message, came: Message, fds: list[int]) -> None:
        """The descriptors that came: a channel, what is to be given back; the rest is closed by the caller."""
        opening = nested(came) if came.fds else None
        for i, fd in enumerate(fds):
            if opening is not None and i == opening[1]:
                fds[i] = -1
                self._stage.adopt(opening[0], socket.socket(fileno=fd), expected.no)
            elif i < len(expected.fds) and identity(expected.fds[i]) in self._returned:
                fds[i] = -1
                self._store.keep(expected.fds[i], fd)
        fds[:] = [fd for fd in fds if fd >= 0]

    # -- what the record does not have --------------------------------------------------------------------------------

    def _unmatched(self, wire: Wire, came: Message) -> None:
        for place in self._cues.waiting.get(wire.key, ()):
            if self.part.messages[place].id == came.id and came.msgid is None:
                # an answer but for its flags
                self._hold_against(self.part.messages[self._cues.answer_came(wire.key, place)], came)
                return
        self._strays += _STRANGE
        policy, text = self.settings.unmatched, "the record has no such request"
        if came.name in ANY_TIME and not came.awaited:
            self._notes.append(f"{named(came)} #{came.no} from the {self._theirs}: {text}; it wants no answer")
            return
        if policy == "fail":
            self._mismatches.append(Mismatch(self.part.number, None, came, (), text))
            raise _Over(f"ended by us at {named(came)} #{came.no}, which the record does not have (--unmatched fail)")
        self._notes.append(f"{named(came)} #{came.no} from the {self._theirs}: {text}")
        if policy == "close":
            raise _Over(f"closed by us at {named(came)} #{came.no}, which the record does not have (--unmatched close)")
        if came.awaited:
            self._reply(wire, refusal(wire.rows, came))

    def _answer_anew(self, wire: Wire, came: Message) -> None:
        """It wants an answer that it did not want in the record: an acknowledgement can be made, a body cannot."""
        answer = acknowledgement(wire.rows, came)
        if answer is None:
            self._unmatched(wire, came)
        else:
            self._reply(wire, answer)

    def _reply(self, wire: Wire, data: bytes) -> None:
        if not wire.send(data, []):
            self._hear_the_last(wire)
            return
        self._sent += 1
        self._log.later(monotonic_ns(), self.part.number, wire, self.side, data, (), ())

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
        self._last_ns = self._last_ns or monotonic_ns()
        how = self._stage.main.how
        for place in self._cues.outstanding():
            self._tell_unanswered(place, f"the {self._theirs} {how}")
        if self.side == FRONT_END and self._cues.agenda:
            following, more = self.part.messages[self._cues.agenda[0]], len(self._cues.agenda) - 1
            rest = f" and {more} more" if more else ""
            text = f"the {self._theirs} {how} before {named(following)} #{following.no}{rest} could be sent"
            self._mismatches.append(Mismatch(self.part.number, None, None, (), text))
        raise _Over(f"the {self._theirs} {how}{' the connection' if how == 'closed' else ''}")

    def _silence(self) -> None:
        """Nothing has come for as long as we wait."""
        self._last_ns = monotonic_ns()
        limit = f"{self.settings.longest_s:g} s"
        outstanding = self._cues.outstanding()
        asked = {message.no: message for message in self.part.messages}
        for place in outstanding:
            request = asked[self.part.messages[place].answers or 0]
            self._tell_unanswered(place, f"{named(request)} #{request.no} stands unanswered for {limit}")
        if outstanding:
            raise _Over(f"the {self._theirs} did not answer within {limit}")
        if not self._cues.agenda and not any(self._cues.needed(place) for place in self._expected.left()):
            self._notes.append(f"the {self._theirs} did nothing more for {limit}")
        raise _Over(f"the {self._theirs} was silent for {limit}")

    def _tell_unanswered(self, place: int, why: str) -> None:
        answer = self.part.messages[place]
        self._mismatches.append(Mismatch(self.part.number, said(answer) or answer, None, (), why))

    def _tell_missing(self) -> None:
        """Requests of theirs that did not come."""
        left = self._expected.left()
        told: list[int] = []
        if self.settings.strictness is Strictness.EXACT:
            told = left[:_MOST_TOLD]
        elif self.side != FRONT_END:
            told = [place for place in left if self._cues.needed(place)][:_MOST_TOLD]
        for place in told:
            self._mismatches.append(
                Mismatch(self.part.number, self._expected.messages[place], None, (), "not sent again")
            )
        rest = len(left) - len(told)
        if rest:
            self._notes.append(
                f"{rest} request{'' if rest == 1 else 's'} of the record's {self._theirs} did not come again"
            )
