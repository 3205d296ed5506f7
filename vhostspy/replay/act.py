"""One session of a replay: what is due is sent, what comes is held against the record."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Iterator
from errno import EINVAL
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from vhostspy.compare import Strictness, differences
from vhostspy.compare.message import named
from vhostspy.dissectors.rows import ACK, BACK_END, FRONT_END
from vhostspy.message import Message, end_name
from vhostspy.relay.descriptors import close_all

from .edit import edited
from .guest import BEFORE, Guest
from .log import Log, rows_of
from .matching import ANY_TIME, Expected
from .outcome import Mismatch, Played
from .script import Part, nested, said, sent
from .store import Identity, Store, identity
from .wire import Whole, Wire

if TYPE_CHECKING:
    from .player import Settings

#: the protocol that is spoken on a channel that came as a descriptor
_PROTOCOLS = {"backend": "vhost-user", "gpu": "vhost-user-gpu", "second": "vfio-user"}
#: what a device's own work brings about: a replay, in which no guest works, may not see it again
_WORK = frozenset({"REGION_READ", "REGION_WRITE", "REGION_WRITE_MULTI", "DMA_READ", "DMA_WRITE"})
#: requests of a back-end that its guest's data brings about, again and again: no message of ours waits for them
_UNPROMPTED = (ANY_TIME | _WORK) - {"CONFIG_CHANGE_MSG"}
#: how long what a request of theirs prompted in the record waits for that request, in seconds
_PROMPT_S = 0.5
#: how long a peer may take to close once all is done, and how long what it said besides is waited for, in seconds
_CLOSE_S, _LINGER_S = 2.0, 0.1
#: mismatches of one kind that are told one by one
_MOST_TOLD = 20


class _Armed(NamedTuple):
    """An answer that may go: the record's place of it, the request that it answers now, and where that came from."""

    at: int
    request: Message
    wire: Wire
    #: to which place in the record the request was matched
    request_at: int


class _Over(Exception):
    """The session ends here; the text says why."""


class Act:
    """Owns the session's sockets; descriptors are the store's."""

    def __init__(self, part: Part, settings: Settings, sock: socket.socket, store: Store, log: Log) -> None:
        self.part = part
        self.side = settings.side
        self.settings = settings
        self._store = store
        self._log = log
        rows = rows_of(part.protocol, "main")
        self._main = Wire(sock, "main", 1, part.protocol, rows)
        self._wires: dict[tuple[str, int], Wire] = {self._main.key: self._main}
        self._ours = end_name(part.protocol, self.side)
        self._theirs = end_name(part.protocol, 1 - self.side)
        self._mismatches: list[Mismatch] = []
        self._notes: list[str] = []
        self._messages: list[Message] = []
        self._sent = self._matched = 0
        self._ended = ""
        self._first_ns = self._last_ns = 0
        #: all is done: what the peer still asks is not looked at any more
        self._leaving = False
        self._opened: dict[str, int] = {}
        self._read_script()
        self._guest = Guest(store, part.messages) if self.side == FRONT_END else None
        log.event("open", f"session {part.number} begins", part.number)

    def _read_script(self) -> None:
        messages = self.part.messages
        at_of = {message.no: at for at, message in enumerate(messages)}
        #: our requests that are still to be sent, by place
        self._agenda: list[int] = []
        #: place of a request -> place of its answer: theirs that we wait for, ours that we give
        self._their_answer: dict[int, int] = {}
        self._our_answer: dict[int, int] = {}
        #: place of a request of ours -> place of theirs that must have come before it (back-end)
        self._cause: dict[int, int] = {}
        #: the same of a front-end's: a request of theirs right before it, which they may not make again
        self._prompt: dict[int, int] = {}
        requests: list[tuple[int, Message]] = []
        cause = prompt = -1
        for at, message in enumerate(messages):
            request_at = at_of.get(message.answers, -1) if message.answers is not None else -1
            if message.sender == self.side:
                if sent(message) is None:
                    continue
                if message.is_reply:
                    if request_at >= 0:
                        self._our_answer[request_at] = at
                    continue
                self._agenda.append(at)
                self._cause[at] = cause
                if self.side == FRONT_END and prompt >= 0:
                    self._prompt[at] = prompt
                prompt = -1
                continue
            one = said(message)
            if one is None:
                continue
            if message.is_reply:
                if request_at >= 0 and sent(messages[request_at]) is not None:
                    self._their_answer[request_at] = at
            elif message.kind != "raw":
                requests.append((at, one))
                if message.name not in ANY_TIME:
                    cause = at
                if message.name not in _UNPROMPTED:
                    prompt = at
        self._agenda.reverse()  # the next one is the last
        self._expected = Expected(requests, self.settings.strictness)
        #: places of their answers that have not come, in the record's order; whole, so that "before" is a look at one
        self._missing = dict.fromkeys(sorted(self._their_answer.values()))
        #: channel -> places of our requests whose recorded answer has not come; latest request of an id without one
        self._waiting: dict[tuple[str, int], list[int]] = {}
        self._unasked: dict[tuple[tuple[str, int], int | None], Message] = {}
        self._live_no: dict[int, Message] = {}
        self._armed: list[_Armed] = []
        #: the furthest place of theirs that has come
        self._reached = -1
        self._hold: dict[int, float] = {}
        self._moment = self._heard = monotonic()
        ours_later: set[Identity] = set()
        for message in messages:
            if message.sender == self.side:
                ours_later.update(identity(fd) for fd in message.fds)
        #: what the peer gives and gets back
        self._returned = ours_later

    # -- the session ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Play it to its end. Raises Failure when the system fails."""
        try:
            while True:
                until = self._perform()
                if self._done():
                    break
                self._wait(until)
            self._ended = self._ended or "all was played"
            self._last_ns = monotonic_ns()
            self._leaving = True
            self._take_leave()
        except _Over as over:
            self._ended = self._ended or str(over)

    def end(self) -> Played:
        """Close all; what came of it."""
        self._tell_missing()
        for wire in self._wires.values():
            wire.close()
        self._log.event("close", f"session {self.part.number} ends", self.part.number)
        took = max(0, (self._last_ns or monotonic_ns()) - self._first_ns) if self._first_ns else 0
        return Played(
            self.part.number, self._sent, self._matched, tuple(self._mismatches), tuple(self._notes), self._ended, took,
            tuple(self._messages),
        )  # fmt: skip

    def _done(self) -> bool:
        """Nothing is left to be said or heard (but what a peer says when it likes)."""
        if self._agenda or self._missing or self._armed:
            return False
        if any(wire.wants_room for wire in self._wires.values()):
            return False
        if self.side == FRONT_END:
            return True
        if self.part.closed_by == FRONT_END:
            return self._main.ended
        left = self._expected.left()
        repeatable = ANY_TIME | _WORK
        if any(self.part.messages[at].name not in repeatable for at in left):
            return False
        # of what the guest's work brings about, only the last tells that it is over
        return not left or left[-1] < max(self._expected.messages)

    def _take_leave(self) -> None:
        """Say that we are done, and let the peer say so as well: what it refuses late is not to be missed."""
        if self.side == FRONT_END and self._expected.left():
            self._listen(_LINGER_S, lambda: not self._expected.left())
        self._main.finish()
        self._listen(min(_CLOSE_S, self.settings.longest_s), lambda: self._main.ended)

    def _listen(self, for_s: float, enough: object) -> None:
        deadline = monotonic() + for_s
        while callable(enough) and not enough() and not self._main.ended:
            left = deadline - monotonic()
            if left <= 0:
                return
            self._poll(left)
            self._perform()

    # -- what is due ------------------------------------------------------------------------------------------------

    def _perform(self) -> float | None:
        """Send all that is due; when the next is due by the clock (original timing), None: by nothing but causes."""
        while True:
            if self._armed and self._give_answers():
                continue
            if not self._agenda or self._main.ended:
                return None
            at = self._agenda[-1]
            if not self._due(at):
                return None
            until = self._hold_until(at)
            if until > monotonic():
                return until
            self._agenda.pop()
            self._speak(at)

    def _due(self, at: int) -> bool:
        first = next(iter(self._missing), None)
        if first is not None and first < at:
            return False
        return self.side == FRONT_END or self._reached >= self._cause[at]

    def _hold_until(self, at: int) -> float:
        """Until when a message that is due is held back: by the record's clock, or for what would have caused it."""
        cause = self._prompt.get(at)
        waits = cause is not None and self._expected.waits_for(cause)
        if not waits and self.settings.timing == "causes":
            return 0.0
        until = self._hold.get(at)
        if until is None:
            if self.settings.timing == "original":
                message = self.part.messages[at]
                before = self.part.messages[at - 1].monotonic_ns if at else message.monotonic_ns
                until = self._moment + max(0, message.monotonic_ns - before) / 1e9
            else:
                until = monotonic() + _PROMPT_S
            self._hold[at] = until
        elif waits and until <= monotonic():
            prompt = self.part.messages[cause or 0]
            self._notes.append(f"went on without {named(prompt)} #{prompt.no}, which did not come again")
            del self._prompt[at]
        return until

    def _give_answers(self) -> bool:
        """Send the answers that are due; whether there was one."""
        for armed in self._armed:
            if self.side == BACK_END and armed.at >= 0:
                # the record's back-end asked before it answered: its answers have to be here, too
                between = (at for at in self._missing if armed.request_at < at < armed.at)
                asked = (self._request_of(at) for at in between)
                if any(at is not None and at not in self._agenda for at in asked):
                    continue
                if self._agenda and armed.request_at < self._agenda[-1] < armed.at and self._due(self._agenda[-1]):
                    self._speak(self._agenda.pop())
                    return True
            self._armed.remove(armed)
            self._answer(armed)
            return True
        return False

    def _request_of(self, answer_at: int) -> int | None:
        return next((request for request, answer in self._their_answer.items() if answer == answer_at), None)

    def _speak(self, at: int) -> None:
        """Send a request of ours."""
        message = self.part.messages[at]
        wire = self._wires.get((message.channel, message.channel_no))
        if wire is None or (wire.ended and wire is not self._main):
            where = f"the {message.channel} channel is {'not there' if wire is None else 'closed'}"
            self._notes.append(f"{named(message)} #{message.no} was not sent: {where}")
            self._not_asked(at)
            return
        answered = at in self._their_answer
        pieces = edited(self.settings.edit, message)
        if not pieces:
            self._notes.append(f"{named(message)} #{message.no} was left out")
            self._not_asked(at)
            return
        if answered:
            self._waiting.setdefault(wire.key, []).append(at)
        for data in pieces:
            live = self._send(message, wire, data)
            if live is None:
                return
            self._live_no[at] = live
            if answered and not live.awaited and data != message.data:
                # changed so that it is not answered any more
                self._waiting[wire.key].remove(at)
                self._not_asked(at)
                answered = False
            if not answered:
                self._unasked[wire.key, live.id] = live

    def _not_asked(self, at: int) -> None:
        self._missing.pop(self._their_answer.pop(at, -1), None)

    def _answer(self, armed: _Armed) -> None:
        message = self.part.messages[armed.at]
        for data in edited(self.settings.edit, message):
            self._send(message, armed.wire, _with_msgid(data, armed.request, armed.wire))

    def _send(self, message: Message, wire: Wire, data: bytes) -> Message | None:
        """Send octets with the descriptors of a recorded message; None: the peer is gone."""
        theirs: socket.socket | None = None
        fds: list[int] = []
        opening = nested(message) if message.fds else None
        if message.fds:
            for i, one in enumerate(message.fds):
                if opening is not None and i == opening[1]:
                    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                    self._adopt(opening[0], ours, message)
                    fds.append(theirs.fileno())
                else:
                    fds.append(self._store.lend(one, message))
        if self._guest is not None and message.name in BEFORE:
            self._guest.prepare(self._log.session(self.part.number))
        try:
            gone = not wire.send(data, fds)
            if gone:
                self._hear_the_last(wire)
                return None
            now = monotonic_ns()
            self._first_ns = self._first_ns or now
            live = self._note(wire, self.side, data, fds, message)
        finally:
            if theirs is not None:
                theirs.close()
        self._sent += 1
        self._moment = self._heard = now / 1e9
        if self._guest is not None and message.name == "SET_VRING_KICK" and fds:
            # as a front-end does: there are back-ends that start a ring at its first kick
            os.eventfd_write(fds[0], 1)
        if fds:
            self._store.passed_on(message)
        return live

    def _note(
        self, wire: Wire, sender: int, data: bytes, fds: list[int], like: Message | None, framed: bool = True
    ) -> Message:
        known = None if like is None else like.fds
        message = self._log.note(
            self.part.number, (wire.name, wire.number, wire.protocol, wire.rows), sender, data, fds, known, framed
        )
        self._messages.append(message)
        if self.settings.see is not None:
            self.settings.see(message)
        return message

    def _adopt(self, kind: str, sock: socket.socket, recorded: Message | None) -> None:
        """A socket that passed becomes a channel, by the number that it has in the record."""
        number = self._opened[kind] = self._opened.get(kind, 0) + 1
        if recorded is not None and recorded.no in self.part.opens:
            number = self._opened[kind] = self.part.opens[recorded.no][1]
        protocol = _PROTOCOLS.get(kind, self.part.protocol)
        before = self._wires.pop((kind, number), None)
        if before is not None:
            before.close()
        wire = Wire(sock, kind, number, protocol, rows_of(protocol, kind))
        self._wires[wire.key] = wire

    # -- what comes -------------------------------------------------------------------------------------------------

    def _wait(self, until: float | None) -> None:
        """Wait for whatever comes next, not for ever; deal with it."""
        deadline = self._heard + self.settings.longest_s
        now = monotonic()
        if until is not None:
            deadline = max(deadline, until + self.settings.longest_s)
        if now >= deadline:
            self._silence()
        self._poll(max(0.0, min(deadline, until if until is not None else deadline) - now))

    def _poll(self, for_s: float) -> None:
        poll = select.poll()
        wires: dict[int, Wire] = {}
        for wire in self._wires.values():
            events = (0 if wire.ended else select.POLLIN) | (select.POLLOUT if wire.wants_room else 0)
            if events:
                poll.register(wire, events)
                wires[wire.fileno()] = wire
        reading, writing = self._store.watched()
        for fd in reading:
            poll.register(fd, select.POLLIN)
        for fd in writing:
            poll.register(fd, select.POLLOUT)
        for fd, events in poll.poll(for_s * 1000 + 0.999 if for_s else 0):
            found = wires.get(fd)
            if found is not None:
                if events & select.POLLOUT:
                    found.drain()
                if events & ~select.POLLOUT:
                    self._read(found)
            elif fd in reading:
                self._store.readable(fd)
            else:
                self._store.writable(fd)

    def _read(self, wire: Wire) -> None:
        messages = wire.receive()
        try:
            while messages:
                self._came(wire, messages.pop(0))
        finally:
            for whole in messages:
                close_all(whole.fds)
        if wire.ended and wire is self._main:
            self._closed()
        elif wire.ended:
            wire.close()

    def _came(self, wire: Wire, whole: Whole) -> None:
        fds = whole.fds
        try:
            message = self._note(wire, 1 - self.side, whole.data, fds, None, whole.framed)
            self._heard = self._moment = message.monotonic_ns / 1e9
            if message.kind == "raw":
                self._mismatches.append(Mismatch(self.part.number, None, message, (), "they begin no message"))
                raise _Over(f"what the {self._theirs} says cannot be read any more")
            if message.is_reply:
                self._answered(wire, message, fds)
            elif self.side == FRONT_END or not (self._leaving or self._done()):
                self._asked(wire, message, fds)
        finally:
            close_all(fds)

    def _answered(self, wire: Wire, came: Message, fds: list[int]) -> None:
        waiting = self._waiting.get(wire.key, [])
        for request_at in waiting:
            request = self._live_no.get(request_at) or self.part.messages[request_at]
            if request.id == came.id and request.msgid == came.msgid:
                break
        else:
            asked = self._unasked.pop((wire.key, came.id), None)
            if asked is not None and asked.awaited:
                self._notes.append(f"{named(came)} #{came.no} answers what the record did not ask: {came.info or 'ok'}")
                return
            text = "the record has no answer to it" if asked is not None else "it answers nothing that was asked"
            self._mismatches.append(Mismatch(self.part.number, None, came, (), text))
            return
        waiting.remove(request_at)
        at = self._their_answer[request_at]
        self._missing.pop(at, None)
        expected = said(self.part.messages[at]) or self.part.messages[at]
        if request.name == expected.name:
            self._hold_against(expected, came)
        else:  # edited into another message
            self._notes.append(f"{named(came)} #{came.no} answers in the place of {named(expected)} #{expected.no}")
        self._take(expected, came, fds)

    def _asked(self, wire: Wire, came: Message, fds: list[int]) -> None:
        found = self._expected.take(came)
        if found is None:
            self._unmatched(wire, came)
            return
        expected = self._expected.messages[found.at]
        if found.again:
            self._matched += 1
        else:
            self._hold_against(expected, came)
            self._reached = max(self._reached, found.at)
        self._take(expected, came, fds)
        answer_at = self._our_answer.get(found.at)
        # peers answer unasked, too: who asks as in the record is answered as in the record
        if answer_at is not None and (came.awaited or came.need_reply == expected.need_reply):
            self._armed.append(_Armed(answer_at, came, wire, found.at))
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
                self._adopt(opening[0], socket.socket(fileno=fd), expected)
            elif i < len(expected.fds) and identity(expected.fds[i]) in self._returned:
                fds[i] = -1
                self._store.keep(expected.fds[i], fd)
        fds[:] = [fd for fd in fds if fd >= 0]

    # -- what the record does not have --------------------------------------------------------------------------------

    def _unmatched(self, wire: Wire, came: Message) -> None:
        for request_at in self._waiting.get(wire.key, ()):
            if self.part.messages[request_at].id == came.id and came.msgid is None:
                # an answer but for its flags
                at = self._their_answer[request_at]
                self._missing.pop(at, None)
                self._waiting[wire.key].remove(request_at)
                self._hold_against(self.part.messages[at], came)
                return
        policy = self.settings.unmatched
        text = "the record has no such request"
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
            self._refuse(wire, came)

    def _answer_anew(self, wire: Wire, came: Message) -> None:
        """It wants an answer that it did not want in the record: an acknowledgement can be made, a body cannot."""
        row = came.row
        if came.msgid is None and row is not None and (row.reply is None or any(one is ACK for one in row.reply)):
            self._reply(wire, came, bytes(8))
        elif came.msgid is not None and row is not None and row.reply == ():
            self._reply(wire, came, b"")
        else:
            self._unmatched(wire, came)

    def _refuse(self, wire: Wire, came: Message) -> None:
        if came.msgid is not None:
            self._reply(wire, came, b"", error=EINVAL)
            return
        row = came.row
        acknowledged = row is None or row.reply is None
        self._reply(wire, came, (1).to_bytes(8, sys.byteorder) if acknowledged else b"")

    def _reply(self, wire: Wire, came: Message, payload: bytes, error: int = 0) -> None:
        """An answer that the record does not have."""
        header = wire.rows.header
        octets = bytearray(came.data[: header.length])
        order = sys.byteorder
        flags = header.reply_value | header.plain_flags | (header.error_mask if error else 0)
        octets[header.flags_at : header.flags_at + 4] = flags.to_bytes(4, order)
        size = len(payload) + (header.length if header.counts_header else 0)
        octets[header.size_at : header.size_at + 4] = size.to_bytes(4, order)
        if error and header.error_mask:
            octets[header.error_at : header.error_at + 4] = error.to_bytes(4, order)
        data = bytes(octets) + payload
        if wire.send(data, []):
            self._sent += 1
            self._note(wire, self.side, data, [], came._replace(fds=()))
        else:
            self._hear_the_last(wire)

    # -- how it ends --------------------------------------------------------------------------------------------------

    def _hear_the_last(self, wire: Wire) -> None:
        """The peer takes nothing more: read what it said before it went."""
        while not wire.ended:
            before = wire.ended
            self._read(wire)
            if not before and not wire.ended:
                wire.ended = True
                if wire is self._main:
                    self._closed()

    def _closed(self) -> None:
        """The peer has ended the main channel."""
        self._last_ns = self._last_ns or monotonic_ns()
        how = self._main.how
        for at in self._outstanding():
            self._told_missing(at, f"the {self._theirs} {how}")
        if self.side == FRONT_END and self._agenda:
            following = self.part.messages[self._agenda[-1]]
            count = len(self._agenda)
            self._mismatches.append(Mismatch(
                self.part.number, None, None, (),
                f"the {self._theirs} {how} before {named(following)} #{following.no}"
                f"{f' and {count - 1} more' if count > 1 else ''} could be sent",
            ))  # fmt: skip
        raise _Over(f"the {self._theirs} {how}{' the connection' if how == 'closed' else ''}")

    def _outstanding(self) -> Iterator[int]:
        """Places of their answers to what we have sent, that are not here."""
        for waiting in self._waiting.values():
            for request_at in waiting:
                yield self._their_answer[request_at]
            waiting.clear()

    def _told_missing(self, at: int, why: str) -> None:
        answer = self.part.messages[at]
        self._missing.pop(at, None)
        self._mismatches.append(Mismatch(self.part.number, said(answer) or answer, None, (), why))

    def _silence(self) -> None:
        """Nothing has come for as long as we wait."""
        self._last_ns = monotonic_ns()
        limit = f"{self.settings.longest_s:g} s"
        outstanding = list(self._outstanding())
        for at in outstanding:
            request = self.part.messages[at].answers
            asked = next((one for one in self.part.messages if one.no == request), None)
            what = f"{named(asked)} #{asked.no}" if asked is not None else "the request"
            self._told_missing(at, f"{what} stands unanswered for {limit}")
        if outstanding:
            raise _Over(f"the {self._theirs} did not answer within {limit}")
        left = [at for at in self._expected.left() if self._needed(at)]
        if not left and not self._agenda:
            self._notes.append(f"the {self._theirs} did nothing more for {limit}")
        raise _Over(f"the {self._theirs} was silent for {limit}")

    def _needed(self, at: int) -> bool:
        """Whether a request of theirs has to come again: what a guest's work brings about need not."""
        message = self.part.messages[at]
        if message.name in ANY_TIME or message.name in _WORK or message.channel != "main":
            return False
        return not self.part.set_up or message.no <= self.part.set_up

    def _tell_missing(self) -> None:
        """Requests of theirs that did not come."""
        if self.settings.strictness is Strictness.EXACT:
            left = self._expected.left()
        elif self.side == FRONT_END:
            left = []
        else:
            left = [at for at in self._expected.left() if self._needed(at)]
        for at in left[:_MOST_TOLD]:
            self._mismatches.append(Mismatch(self.part.number, self._expected.messages[at], None, (), "not sent again"))
        rest = len(self._expected.left()) - len(left[:_MOST_TOLD])
        if rest:
            self._notes.append(
                f"{rest} request{'' if rest == 1 else 's'} of the record's {self._theirs} did not come again"
            )


def _with_msgid(data: bytes, request: Message, wire: Wire) -> bytes:
    """vfio-user: an answer has the number of the request that it answers now."""
    at = wire.rows.header.msgid_at
    if at is None or request.msgid is None:
        return data
    return data[:at] + request.msgid.to_bytes(2, sys.byteorder) + data[at + 2 :]
