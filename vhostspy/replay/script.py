"""A capture as a script: each recorded session's messages in order, as they were sent or as they arrived.

What a policy of the relay changed is there twice in a record. The part that is played sends what its peer was sent, and
expects what its peer said: so a replay does without the relay what was recorded with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.dissectors import registry
from vhostspy.errors import WrongUse
from vhostspy.message import SPY, Event, Message
from vhostspy.output.units import plural
from vhostspy.pipeline import Item, Pipeline

#: ``--until-no`` takes this word for the last message that sets rings up
SET_UP = "set-up"

#: messages that may follow the last ring's start and belong to it
_SET_UP = frozenset(
    {"SET_VRING_ENABLE", "SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR", "GET_STATUS", "SET_STATUS"}
)


class Part(NamedTuple):
    """One session of a script."""

    number: int
    protocol: str
    messages: tuple[Message, ...]
    #: request's number -> the message that answers it
    answers: Mapping[int, Message]
    #: the end that closed the main channel first; None: not seen
    closed_by: int | None = None
    #: the record says nothing of its end: it was cut off
    cut_off: bool = False
    #: number of the last message, of any session, before its end; its own last one where the end was not seen
    ends: int = 0
    #: number of the last message (or its answer) by which rings are set up; 0: none are
    set_up: int = 0
    #: a message's number -> the channel that the socket in it becomes
    opens: Mapping[int, tuple[str, int]] = {}

    def without(self, keep: Callable[[Message], bool]) -> Part:
        """The same, with those messages only; an answer goes where its request goes."""
        kept = {message.no for message in self.messages if not message.is_reply and keep(message)}
        messages = tuple(
            message
            for message in self.messages
            if message.no in kept or (message.is_reply and (message.answers in kept or _orphan(message, keep)))
        )
        answers = {no: answer for no, answer in self.answers.items() if no in kept}
        return self._replace(messages=messages, answers=answers)


class Script(NamedTuple):
    """All of a capture that is to be played."""

    name: str
    parts: tuple[Part, ...]
    #: what is to be said of the file (it was cut off)
    notes: tuple[str, ...] = ()
    #: it cannot be read to its end
    damaged: bool = False

    @classmethod
    def read(cls, source: str | os.PathLike[str] | bytes, device: str | None = None) -> Script:
        """Read a capture, a file's name or its octets. Raises WrongUse for what is none, OSError for no file."""
        name = "capture" if isinstance(source, bytes) else os.fspath(source)
        pipeline = Pipeline(device)
        items: list[Item] = []
        notes: list[str] = []
        damaged = False
        try:
            with Reader(source) as reader:
                try:
                    for record in reader:
                        items += pipeline.feed(record)
                except CaptureError as error:
                    if not reader.offset:
                        raise
                    damaged = True
                    notes.append(f"{error}; what comes behind it is not played")
                if reader.note:
                    notes.append(reader.note)
        except CaptureError as error:
            raise WrongUse(f"{name}: {error}") from None
        script = cls.of(items, name)
        return script._replace(notes=(*notes, *script.notes), damaged=damaged)

    @classmethod
    def of(cls, items: Iterable[Item], name: str = "script") -> Script:
        """The script of a pipeline's items."""
        parts = _parts(items)
        notes = [
            f"session {part.number} is of no protocol that vhostspy knows, and is not played"
            for part in parts
            if part.protocol not in registry.MAIN
        ]
        if cut := sum(message.snapped for part in parts for message in part.messages):
            notes.append(
                f"of {plural(cut, 'message')} the capture has the beginning only (--snaplen): what is sent ends in "
                "zeros, what comes is compared as far as it was kept"
            )
        return cls(name, tuple(part for part in parts if part.protocol in registry.MAIN), tuple(notes))

    def cut(
        self,
        from_no: int | None = None,
        until_no: int | str | None = None,
        keep: Callable[[Message], bool] | None = None,
    ) -> Script:
        """The messages with these numbers, both included, that ``keep`` wants; answers stay with their requests.

        until_no: a number, or ``set-up``: in each session up to where its rings run.
        """
        parts = []
        for part in self.parts:
            until = part.set_up or None if until_no == SET_UP else until_no
            first, last = from_no or 0, int(until) if until is not None else 1 << 63

            def wanted(message: Message, first: int = first, last: int = last) -> bool:
                return first <= message.no <= last and (keep is None or keep(message))

            if until is not None:
                # with its end cut off a session is over when the rest is done
                part = part._replace(closed_by=None)
            parts.append(part.without(wanted))
        return self._replace(parts=tuple(part for part in parts if part.messages))

    def overlapping(self) -> list[list[Part]]:
        """The parts in their order, those together of which one begins before another ends."""
        groups: list[list[Part]] = []
        ends = 0
        for part in self.parts:
            if groups and part.messages[0].no <= ends:
                groups[-1].append(part)
            else:
                groups.append([part])
            ends = max(ends, part.ends)
        return groups

    def session(self, numbers: Iterable[int]) -> Script:
        """Only the sessions of these numbers."""
        wanted = frozenset(numbers)
        return self._replace(parts=tuple(part for part in self.parts if part.number in wanted))


def _orphan(message: Message, keep: Callable[[Message], bool]) -> bool:
    return message.answers is None and keep(message)


def sent(message: Message) -> Message | None:
    """The message as its receiver got it; None: it did not get there."""
    return None if message.dropped else message


def said(message: Message) -> Message | None:
    """The message as its sender said it; None: nobody said it."""
    if message.injected or message.sender == SPY:
        return None
    if message.original is None:
        return message
    return message._replace(data=message.original, length=len(message.original), original=None)


def _parts(items: Iterable[Item]) -> tuple[Part, ...]:
    messages: dict[int, list[Message]] = {}
    protocols: dict[int, str] = {}
    closed: dict[int, int] = {}
    #: session -> number of the last message before its end
    ended: dict[int, int] = {}
    last_no = 0
    for item in items:
        if isinstance(item, Message):
            last_no = item.no
            messages.setdefault(item.session, []).append(item)
            if item.channel == "main":
                protocols.setdefault(item.session, item.protocol)
        elif _closes(item) and item.sender is not None:
            ended.setdefault(item.session, last_no)
            closed.setdefault(item.session, item.sender)
        elif item.event == "close":
            ended.setdefault(item.session, last_no)
    return tuple(
        Part(
            number,
            protocols.get(number, all_[0].protocol),
            tuple(all_),
            {message.answers: message for message in all_ if message.answers is not None},
            closed.get(number),
            number not in ended,
            ended.get(number, all_[-1].no),
            _set_up(all_),
            _opens(all_),
        )
        for number, all_ in messages.items()
    )


def nested(message: Message) -> tuple[str, int] | None:
    """The kind of channel that one of the message's descriptors becomes, and which of them that is."""
    row = message.row
    if row is None or not message.fds or message.kind == "raw":
        return None
    fds = row.reply_fds if message.is_reply else row.request_fds
    if not fds.channel:
        return None
    at = 0 if fds.which is None else fds.which(message.payload)
    if at is None or at >= len(message.fds) or message.fds[at].kind != "socket":
        return None
    return fds.channel, at


def _opens(messages: list[Message]) -> dict[int, tuple[str, int]]:
    opened: dict[int, tuple[str, int]] = {}
    count: dict[str, int] = {}
    for message in messages:
        found = nested(message) if message.fds else None
        if found is not None:
            count[found[0]] = count.get(found[0], 0) + 1
            opened[message.no] = (found[0], count[found[0]])
    return opened


def _closes(event: Event) -> bool:
    return event.event in ("eof", "reset") and event.channel in ("main", "")


def _set_up(messages: list[Message]) -> int:
    """The number of the last message by which rings (vfio-user: memory and interrupts) are set up, or of its answer.

    With rings that is where every ring was started and enabled for the first time that the record starts and enables,
    and what belongs to it behind that.
    """
    if messages[0].protocol == "vfio-user":
        prepared = [message for message in messages if message.kind == "request" and _prepares(message)]
        last_no = prepared[-1].no if prepared else 0
        return max(last_no, next((message.no for message in messages if message.answers == last_no), 0))
    steps = [(at, step) for at, message in enumerate(messages) if (step := _ring_step(message)) is not None]
    wanted = {step for _, step in steps}
    at = -1
    for place, step in steps:
        at = place if wanted else at
        wanted.discard(step)
    if at < 0 or not any(step[0] == "start" for _, step in steps):
        return 0
    for following, message in enumerate(messages[at + 1 :], at + 1):
        if message.kind == "request" and message.channel == "main":
            if message.name not in _SET_UP or _takes_down(message):
                break
            at = following
    last_no = messages[at].no
    return max(last_no, next((message.no for message in messages if message.answers == last_no), 0))


def _prepares(message: Message) -> bool:
    """A client sets the device up: not when an interrupt has come and is unmasked again."""
    name = message.name or ""
    return (
        name in ("VERSION", "DMA_MAP")
        or name.startswith("DEVICE_GET_")
        or name == "DEVICE_SET_IRQS"
        and bool(message.fds)
    )


def _ring_step(message: Message) -> tuple[str, int] | None:
    """A ring that is started or enabled by this message."""
    if message.kind != "request" or message.channel != "main":
        return None
    index = message.fields.get("index", -1)
    if message.name in ("SET_VRING_KICK", "VRING_KICK"):
        return "start", index
    if message.name == "SET_VRING_ENABLE" and message.fields.get("num"):
        return "enable", index
    return None


def _takes_down(message: Message) -> bool:
    if message.name == "SET_VRING_ENABLE":
        return not message.fields.get("num")
    return message.name == "SET_STATUS" and not message.fields.get("status")
