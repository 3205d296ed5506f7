"""What a player hears: each message is held against the record, and what it brings about is armed.

The peer's time counts: octets that are the recorded ones are not looked at any further before the next message is on
its way. Everything else is read, compared, and told.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic_ns

from vhostspy.compare import differences
from vhostspy.compare.message import named
from vhostspy.dissectors.rows import FRONT_END
from vhostspy.message import Message
from vhostspy.relay.descriptors import close_all

from .addresses import SETS
from .answers import acknowledgement, refusal
from .cues import Armed
from .matching import ANY_TIME
from .scene import Over, Scene
from .script import nested, said
from .speaking import Speaker
from .store import identity
from .wire import Whole, Wire

#: an end to what is said beside the record: what was there once counts 1, anything else _STRANGE
_STRANGE, _MOST_STRAYS = 100, 100_000


class Hearer:
    """Takes one session's messages; their descriptors are closed here, or given to the store or the stage.

    done: whether all has been played, so that what is asked now is nobody's business.
    """

    def __init__(self, scene: Scene, speaker: Speaker, done: Callable[[], bool]) -> None:
        self.part, self.settings, self.side = scene.part, scene.settings, scene.side
        self._scene = scene
        self._cues, self._expected, self._tally = scene.cues, scene.expected, scene.tally
        self._speaker = speaker
        self._done = done
        #: what the peer gives and gets back
        self._returned = {identity(fd) for one in self.part.messages if one.sender == self.side for fd in one.fds}

    def came(self, wire: Wire, whole: Whole) -> None:
        """A message, or what is none. Raises Over where the session cannot go on."""
        now = monotonic_ns()
        heard, strays = self._tally.heard, self._tally.strays
        self._tally.moment = self._tally.heard = now / 1e9
        fds = whole.fds
        if not fds and self._as_ever(wire, whole.data, now):
            return
        try:
            message = self._scene.log.note(self.part.number, wire, 1 - self.side, whole.data, fds, None, whole.framed)
            if message.kind == "raw":
                self._tally.mismatch(None, message, (), "they begin no message")
                raise Over(f"what the {self._scene.theirs} says cannot be read any more")
            if message.is_reply:
                self._answered(wire, message, fds)
            elif self.side == FRONT_END or not (self._scene.leaving or self._done()):
                self._asked(wire, message, fds)
        finally:
            close_all(fds)
        if self._tally.strays != strays:
            # it is not what is waited for, however often it comes
            self._tally.heard = heard
            if self._tally.strays >= _MOST_STRAYS:
                text = f"there is no end to what the {self._scene.theirs} says beside the record"
                self._tally.mismatch(None, message, (), text)
                raise Over(text)

    def _as_ever(self, wire: Wire, data: bytes, now_ns: int) -> bool:
        """Whether it is, to the octet, what the record has here: then that is all there is to it."""
        cues = self._cues
        waiting = cues.waiting.get(wire.key)
        if waiting:
            request = waiting[0]
            expected = self.part.messages[cues.their_answer[request]]
            if expected.data == data and not expected.fds and expected.original is None and not self._scene.edited:
                cues.answer_came(wire.key, request)
                self._tally.matched += 1
                self._scene.log.later(now_ns, self.part.number, wire, 1 - self.side, data, (), ())
                return True
        if self._scene.leaving:
            return False
        place = self._expected.take_octets(wire.key, data)
        if place is None:
            return False
        self._tally.matched += 1
        self._scene.log.later(now_ns, self.part.number, wire, 1 - self.side, data, (), ())
        if self._scene.addresses is not None:
            self._met(self._expected.messages[place], self._expected.messages[place])
        cues.request_came(place)
        if place in cues.our_answer:
            msgid = self._expected.messages[place].msgid
            cues.armed.append(Armed(cues.our_answer[place], place, msgid, wire.key))
        return True

    def _answered(self, wire: Wire, came: Message, fds: list[int]) -> None:
        cues = self._cues
        for place in cues.waiting.get(wire.key, ()):
            request = self._scene.edited.get(place) or self.part.messages[place]
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
            self._tally.note(f"{named(came)} #{came.no} answers in the place of {named(expected)} #{expected.no}")
        self._take(expected, came, fds)

    def _unasked(self, wire: Wire, came: Message) -> None:
        """An answer that the record does not have."""
        self._tally.strays += _STRANGE
        place = self._cues.unasked.get(wire.key, {}).pop(came.id, None)
        live = None if place is None else self._scene.edited.get(place)
        if live is not None and live.awaited:
            self._tally.note(f"{named(came)} #{came.no} answers what the record did not ask: {came.info or 'ok'}")
            return
        if place is not None and self.part.cut_off:
            self._tally.note(f"{named(came)} #{came.no}: the record ends before it: {came.info or 'ok'}")
            return
        text = "it answers nothing that was asked" if place is None else "the record has no answer to it"
        self._tally.mismatch(None, came, (), text)

    def _asked(self, wire: Wire, came: Message, fds: list[int]) -> None:
        found = self._expected.take(came)
        if found is None:
            self._unmatched(wire, came)
            return
        cues = self._cues
        expected = self._expected.messages[found.at]
        if found.again:
            self._tally.matched += 1
            self._tally.strays += 1
        else:
            self._hold_against(expected, came)
            cues.request_came(found.at)
        self._met(expected, came)
        self._take(expected, came, fds)
        answer = cues.our_answer.get(found.at)
        # peers answer unasked, too: who asks as in the record is answered as in the record
        if answer is not None and (came.awaited or came.need_reply == expected.need_reply):
            cues.armed.append(Armed(answer, found.at, came.msgid, wire.key))
        elif came.awaited:
            self._answer_anew(wire, came)

    def _met(self, expected: Message, came: Message) -> None:
        if self._scene.addresses is not None and came.name in SETS:
            self._scene.addresses.met(expected, came)

    def _hold_against(self, expected: Message, came: Message) -> None:
        same = expected.data == came.data and not expected.fds and not came.fds
        found = () if same else differences(expected, came, self.settings.strictness)
        if found:
            self._tally.mismatch(expected, came, found)
        else:
            self._tally.matched += 1

    def _take(self, expected: Message, came: Message, fds: list[int]) -> None:
        """The descriptors that came: a channel, what is to be given back; the rest is closed by the caller."""
        opening = nested(came) if came.fds else None
        for i, fd in enumerate(fds):
            if opening is not None and i == opening[1]:
                fds[i] = -1
                self._scene.stage.adopt(opening[0], socket.socket(fileno=fd), expected.no)
            elif i < len(expected.fds) and identity(expected.fds[i]) in self._returned:
                fds[i] = -1
                self._scene.store.keep(expected.fds[i], fd)
        fds[:] = [fd for fd in fds if fd >= 0]

    # -- what the record does not have --------------------------------------------------------------------------------

    def _unmatched(self, wire: Wire, came: Message) -> None:
        for place in self._cues.waiting.get(wire.key, ()):
            if self.part.messages[place].id == came.id and came.msgid is None:
                # an answer but for its flags
                self._hold_against(self.part.messages[self._cues.answer_came(wire.key, place)], came)
                return
        self._tally.strays += _STRANGE
        policy, text = self.settings.unmatched, "the record has no such request"
        if came.name in ANY_TIME and not came.awaited:
            self._tally.note(f"{named(came)} #{came.no} from the {self._scene.theirs}: {text}; it wants no answer")
            return
        if policy == "fail":
            self._tally.mismatch(None, came, (), text)
            raise Over(f"ended by us at {named(came)} #{came.no}, which the record does not have (--unmatched fail)")
        self._tally.note(f"{named(came)} #{came.no} from the {self._scene.theirs}: {text}")
        if policy == "close":
            raise Over(f"closed by us at {named(came)} #{came.no}, which the record does not have (--unmatched close)")
        if came.awaited:
            self._speaker.reply(wire, refusal(wire.rows, came))

    def _answer_anew(self, wire: Wire, came: Message) -> None:
        """It wants an answer that it did not want in the record: an acknowledgement can be made, a body cannot."""
        answer = acknowledgement(wire.rows, came)
        if answer is None and self.part.cut_off:
            self._tally.note(
                f"{named(came)} #{came.no} from the {self._scene.theirs}: the record ends before its answer"
            )
        elif answer is None:
            self._unmatched(wire, came)
        else:
            self._speaker.reply(wire, answer)
