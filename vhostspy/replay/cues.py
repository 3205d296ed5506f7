"""When each message of ours is due: what of the record has to come again before it. Values only, no sockets, no clock.

A *place* is a message's position in the part. A request of ours is due when every answer of theirs that the record has
before it is here, and, for a back-end, when their last request before it has come again: that is what brought it about.
An answer of ours is *armed* when the request that it answers has come; a back-end gives it at once, unless the record
has requests of its own in between.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from vhostspy.dissectors.rows import FRONT_END
from vhostspy.message import Message

from .matching import ANY_TIME, WORK
from .script import Part, said, sent

Key = tuple[str, int]

#: behind every place
_NOWHERE = 1 << 62


class Armed(NamedTuple):
    """An answer of ours that may go: its place, that of the request in the record, and what it answers now."""

    place: int
    request_place: int
    #: the number of the request by which vfio-user's answers are told
    msgid: int | None
    channel: Key


class Cues:
    """The bookkeeping of one session, for the side that is played."""

    def __init__(self, part: Part, side: int) -> None:
        self.part = part
        self.side = side
        messages = part.messages
        place_of = {message.no: place for place, message in enumerate(messages)}
        #: places of our requests that are still to be sent, in order
        self.agenda: deque[int] = deque()
        #: place of a request -> place of its answer: theirs that we wait for, ours that we give
        self.their_answer: dict[int, int] = {}
        self.our_answer: dict[int, int] = {}
        #: what the other side asks, as it said it
        self.their_requests: list[tuple[int, Message]] = []
        #: place of a request of ours -> place of their request that must have come before it (back-end), -1 for none
        self._cause: dict[int, int] = {}
        #: the same, of a front-end, right before it: they may not make that again
        self.prompt: dict[int, int] = {}
        cause = prompt = -1
        for place, message in enumerate(messages):
            request = place_of.get(message.answers, -1) if message.answers is not None else -1
            if message.sender == side:
                if sent(message) is None or (message.is_reply and request < 0):
                    continue
                if message.is_reply:
                    self.our_answer[request] = place
                    continue
                self.agenda.append(place)
                self._cause[place] = cause
                if side == FRONT_END and prompt >= 0:
                    self.prompt[place] = prompt
                prompt = -1
            elif (one := said(message)) is not None:
                if message.is_reply:
                    if request >= 0 and sent(messages[request]) is not None:
                        self.their_answer[request] = place
                elif message.kind != "raw":
                    self.their_requests.append((place, one))
                    cause = cause if message.name in ANY_TIME else place
                    prompt = prompt if message.name in _UNPROMPTED else place
        #: places of their answers that have not come, in order: the first decides
        self.missing = dict.fromkeys(sorted(self.their_answer.values()))
        self._first_missing = next(iter(self.missing), _NOWHERE)
        self._asked_for = {answer: request for request, answer in self.their_answer.items()}
        self._keys = [(message.channel, message.channel_no) for message in messages]
        #: channel -> places of our requests that were sent and whose answer has not come, in order
        self.waiting: dict[Key, list[int]] = {}
        #: channel -> id -> place of the last request without a recorded answer
        self.unasked: dict[Key, dict[int | None, int]] = {}
        #: the furthest place of theirs that has come
        self.reached = -1
        self.armed: list[Armed] = []

    # -- ours

    def next_request(self) -> int | None:
        """The place of our next request, if it is due."""
        if not self.agenda:
            return None
        place = self.agenda[0]
        if self._first_missing < place:
            return None
        return place if self.side == FRONT_END or self.reached >= self._cause[place] else None

    def request_sent(self, place: int) -> None:
        """It is on its way; what is to be heard of it is known."""
        if self.agenda and self.agenda[0] == place:
            self.agenda.popleft()
        key = self._keys[place]
        if place in self.their_answer:
            waiting = self.waiting.get(key)
            if waiting is None:
                self.waiting[key] = [place]
            else:
                waiting.append(place)
        else:
            self.unasked.setdefault(key, {})[self.part.messages[place].id] = place

    def not_to_be_answered(self, place: int) -> None:
        """A request of ours was left out, or changed so that it wants no answer."""
        if self.agenda and self.agenda[0] == place:
            self.agenda.popleft()
        waiting = self.waiting.get(self._keys[place], [])
        if place in waiting:
            waiting.remove(place)
        self._not_missing(self.their_answer.pop(place, -1))

    def next_answer(self) -> Armed | int | None:
        """The next answer of ours that is due; a place: a request of ours that goes before it; None: there is none."""
        for armed in self.armed:
            if self.side == FRONT_END:
                return armed
            first, last = armed.request_place, armed.place
            if any(first < place < last and self._asked_for[place] not in self.agenda for place in self.missing):
                continue  # the record's back-end knew that answer by then
            request = self.next_request()
            if request is not None and first < request < last:
                return request
            return armed
        return None

    # -- theirs

    def answer_came(self, key: Key, request: int) -> int:
        """The answer to our request at that place has come; its own place."""
        self.waiting[key].remove(request)
        place = self.their_answer[request]
        self._not_missing(place)
        return place

    def _not_missing(self, place: int) -> None:
        self.missing.pop(place, None)
        if place == self._first_missing:
            self._first_missing = next(iter(self.missing), _NOWHERE)

    def request_came(self, place: int) -> None:
        self.reached = max(self.reached, place)

    def outstanding(self) -> list[int]:
        """Places of their answers to what was sent, that are not here."""
        return sorted(self.their_answer[place] for places in self.waiting.values() for place in places)

    @property
    def at_rest(self) -> bool:
        """Nothing of ours is left to be sent, no answer to come."""
        return not (self.agenda or self.missing or self.armed)

    @property
    def next_no(self) -> int | None:
        """Number of the first request of ours, or answer of theirs, that is still to come; None: there is none."""
        place = min(self.agenda[0] if self.agenda else _NOWHERE, self._first_missing)
        return None if place == _NOWHERE else self.part.messages[place].no

    def needed(self, place: int) -> bool:
        """Whether a request of theirs has to come again: what a guest's work brings about need not."""
        message = self.part.messages[place]
        if message.name in ANY_TIME or message.name in WORK or message.channel != "main":
            return False
        return not self.part.set_up or message.no <= self.part.set_up


#: requests of a back-end that its guest's data brings about, again and again: no message of ours waits for them
_UNPROMPTED = (ANY_TIME | WORK) - {"CONFIG_CHANGE_MSG"}
