"""What a player says: what is due is sent, with the descriptors that belong to it.

A message without descriptors, as it was recorded, is octets and nothing else: those are on their way at once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, monotonic_ns

from vhostspy.compare.message import named
from vhostspy.dissectors.rows import FRONT_END
from vhostspy.message import Message

from .addresses import ASKS
from .answers import with_msgid
from .cues import Armed
from .edit import edited
from .guest import BEFORE, Guest
from .meeting import SAID_S
from .scene import Place, Scene
from .script import nested
from .store import Identity
from .wire import Wire

#: how long a message that their request prompted in the record waits for that request, in seconds
_PROMPT_S = 0.5
#: for messages without descriptors
_NO_FDS: list[int] = []


class Speaker:
    """Sends one session's messages. last_uses: a message's number -> descriptors that are not sent again behind it.
    lost: called when a channel takes nothing more."""

    def __init__(self, scene: Scene, last_uses: Mapping[int, Sequence[Identity]], lost: Callable[[Wire], None]) -> None:
        self.part, self.settings, self.side = scene.part, scene.settings, scene.side
        self._stage, self._store, self._log = scene.stage, scene.store, scene.log
        self._cues, self._expected, self._tally, self._edited = scene.cues, scene.expected, scene.tally, scene.edited
        self._turn = scene.turn
        self._addresses = scene.addresses
        self._last_uses = last_uses
        self._lost = lost
        self._guest = Guest(scene.store, scene.part.messages) if scene.side == FRONT_END else None
        #: place -> when a message that is held back may go
        self._hold: dict[int, float] = {}
        #: place -> channel and octets of the requests that are nothing but that
        self._plain: dict[int, tuple[tuple[str, int], bytes]] = {}
        if self.settings.edit is None and self.settings.timing == "causes":
            bases = self._guest is not None and self._guest.has_bases
            self._plain = {
                place: ((one.channel, one.channel_no), one.data)
                for place in self._cues.agenda
                if not (one := self.part.messages[place]).fds
                and not one.snapped
                and place not in self._cues.prompt
                and not (self._addresses is not None and one.name in ASKS)
                and not (bases and one.name in BEFORE)
            }

    def perform(self) -> float | None:
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
            if self._turn is not None and not self._turn(Place(self.part.messages[place].no)):
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
        self._tally.first_ns = self._tally.first_ns or monotonic_ns()
        if not wire.send(data, _NO_FDS):
            return False
        now = monotonic_ns()
        self._log.later(now, self.part.number, wire, self.side, data, _NO_FDS, ())
        self._cues.request_sent(place)
        self._tally.sent += 1
        self._tally.moment = self._tally.heard = now / 1e9
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
                pause_s = max(0, message.monotonic_ns - before) / 1e9
                until = self._tally.moment + pause_s
                if self.settings.say is not None and pause_s >= SAID_S:
                    self.settings.say(f"waits {pause_s:.1f} s before {named(message)} #{message.no}, as recorded")
            else:
                until = monotonic() + _PROMPT_S
            self._hold[place] = until
        elif waits and until <= monotonic():
            prompt = self.part.messages[cause or 0]
            self._tally.note(f"went on without {named(prompt)} #{prompt.no}, which did not come again")
            del self._cues.prompt[place]
        return until

    def _speak(self, place: int) -> None:
        """Send a request of ours."""
        message = self.part.messages[place]
        wire = self._stage.find((message.channel, message.channel_no))
        if wire is None or (wire.ended and wire is not self._stage.main):
            where = f"the {message.channel} channel is {'not there' if wire is None else 'closed'}"
            self._tally.note(f"{named(message)} #{message.no} was not sent: {where}")
            self._cues.not_to_be_answered(place)
            return
        if self._addresses is not None:
            there = self._addresses.live(message)
            if there is None:
                self._cues.not_to_be_answered(place)
                return
            message = there
        if self.settings.edit is None and not message.snapped:
            if self._send(message, wire, message.data):
                self._cues.request_sent(place)
            return
        pieces = edited(self.settings.edit, message)
        if not pieces:
            self._tally.note(f"{named(message)} #{message.no} was left out")
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
        if not self._tally.first_ns:
            self._tally.first_ns = monotonic_ns()
        try:
            if not wire.send(data, fds):
                self._lost(wire)
                return False
            now = monotonic_ns()
            self._log.later(now, self.part.number, wire, self.side, data, fds, message.fds)
        finally:
            if theirs is not None:
                theirs.close()
        self._tally.sent += 1
        self._tally.moment = now / 1e9
        if not message.is_reply:
            self._tally.heard = self._tally.moment
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

    def reply(self, wire: Wire, data: bytes) -> None:
        """Send an answer that the record does not have."""
        if not wire.send(data, []):
            self._lost(wire)
            return
        self._tally.sent += 1
        self._log.later(monotonic_ns(), self.part.number, wire, self.side, data, (), ())
