"""What passed, as everything above the capture sees it: messages, events, findings.

A message is named and its header read when it is made; its payload is decoded when somebody asks for a member, and then
once. So a list of a million lines costs what its lines show. Values are immutable; what a message means may depend on
what was agreed before it (``context``), which is why it is made by the pipeline and not by the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from errno import errorcode
from typing import Any, Literal, NamedTuple

from vhostspy.capture.record import (
    BY,
    BY_SHIFT,
    CHANGED,
    DROPPED,
    INCOMPLETE,
    INJECTED,
    RAW,
    SNAPPED,
    Descriptor,
    Record,
)
from vhostspy.dissectors import codec, registry
from vhostspy.dissectors.codec import ByteOrder, Context, Decoded
from vhostspy.dissectors.heads import Head, acknowledged, heads
from vhostspy.dissectors.heads import Kind as Kind
from vhostspy.dissectors.once import once
from vhostspy.dissectors.rows import Message as Row

#: what the two ends are called where the protocol does not say
ENDS = ("front-end", "back-end")
#: the third sender: vhostspy itself (events, injected messages)
SPY = 2

_new = tuple.__new__


#: what a finding weighs; 0: nothing is wrong
SEVERITIES: Mapping[str, int] = {"note": 1, "warning": 2, "error": 3}


class Finding(NamedTuple):
    """A rule that the peers broke: our output, a value, never an exception."""

    rule: str
    severity: Literal["error", "warning", "note"]
    #: an end's number, 2 for both, None for unknown
    who: int | None
    text: str
    source: str
    no: int
    #: numbers of the messages that prove it
    evidence: tuple[int, ...] = ()
    #: the session it is about: an event of the whole capture may have some as well
    session: int = 0


class _Message(NamedTuple):
    no: int
    #: wall clock and monotonic clock of its first octet
    time_ns: int
    monotonic_ns: int
    session: int
    channel: str
    channel_no: int
    #: rows.FRONT_END or rows.BACK_END
    sender: int
    protocol: str
    #: the row's name; a reply's is its request's; None for what no row explains
    name: str | None
    #: the header's members as sent; None where there was no header to read (raw)
    id: int | None
    kind: Kind
    flags: int | None
    need_reply: bool
    #: the header's size member as sent
    size: int | None
    #: vfio-user: the number that a reply has in common with its request, and a reply's error number
    msgid: int | None
    error: int | None
    #: the row of the request, also for a reply
    row: Row | None
    context: Context
    byte_order: ByteOrder
    #: where the payload starts in ``data``
    payload_at: int
    #: header and payload; shorter than ``length`` where the capture kept only a part
    data: bytes
    length: int
    fds: tuple[Descriptor, ...]
    #: offset in the message at which its descriptors came
    fds_at: int
    #: the record's flags (capture.record), and the number of reads it came in
    marks: int
    reads: int
    #: what came, where a policy sent something else on
    original: bytes | None = None
    findings: tuple[Finding, ...] = ()
    # the last three are filled in by the pipeline, see ``awaiting`` and ``answering``
    #: the number of the request that this answers, and the time since it
    answers: int | None = None
    latency_ns: int | None = None
    #: a request whose sender now waits for an answer
    awaited: bool = False


class Message(_Message):
    """One message, or a piece of a stream that could not be framed (``kind`` raw)."""

    # no __slots__: what is decoded lives in the instance's dictionary, or is shared with messages of the same octets

    #: where it is shared; a message that was changed (``_replace``) is read for itself
    meaning: _Meaning | None

    @property
    def payload(self) -> bytes:
        return self.data[self.payload_at :]

    @property
    def is_reply(self) -> bool:
        return self.kind == "reply" or self.kind == "ack"

    @property
    def refused(self) -> bool:
        """vfio-user: the header says that it is an error, whatever the number (0 too); such a reply has no payload."""
        if self.error is None or self.flags is None:
            return False
        found = registry.channel(self.protocol, self.channel)
        return found is not None and self.flags & found.header.error_mask != 0

    @once
    def decoded(self) -> Decoded:
        """The payload read by the row; what no row explains is ``rest``. Never raises on peers' octets.

        Read it only: messages of the same octets share it.
        """
        shared = self._shared()
        if shared is None:
            if self.row is None or self.kind == "raw" or self.refused:
                return Decoded(None, {}, self.payload)
            return codec.decode(self.row, self.is_reply, self.payload, self.context, self.byte_order)
        decoded = shared.decoded
        if decoded is None:
            forms = shared.head.forms
            decoded = (
                Decoded(None, {}, self.payload)
                if forms is None
                else forms.decode(self.data, self.payload_at, self.context)
            )
            if shared is not _UNREAD:
                shared.decoded = decoded
        return decoded

    def _shared(self) -> _Meaning | None:
        meaning: _Meaning | None = self.__dict__.get("meaning")
        return None if meaning is None else meaning.know(self.context)

    @property
    def fields(self) -> Mapping[str, Any]:
        return self.decoded.fields

    @property
    def names(self) -> Mapping[str, Any]:
        return self.decoded.names

    @once
    def info(self) -> str:
        """The short line of lists: what matters of the members; empty where nothing does."""
        # what was cut has octets that a whole one may have as well
        shared = None if self.marks & SNAPPED else self._shared()
        if shared is None or shared is _UNREAD:
            return self._info()
        if shared.info is None:
            shared.info = self._info()
        return shared.info

    def _info(self) -> str:
        if self.refused:
            number = self.error or 0
            return f"failed: {errorcode.get(number, 'error')} ({number})"
        if self.row is None or self.kind == "raw":
            return _size_line(self)
        decoded = self.decoded
        if decoded.missing and self.snapped:
            # it was there, the capture only did not keep it
            decoded = decoded._replace(rest=b"", missing=0)
        return codec.info_line(self.row, self.is_reply, decoded)

    @property
    def failed(self) -> bool:
        """An answer that says no: a result other than 0, or an error."""
        if not self.is_reply:
            return False
        if self.error is not None:
            return self.refused
        decoded = self.decoded
        if decoded.plan is not None and any(decoded.fields.get(member, 0) != 0 for member in decoded.plan.results):
            return True
        return bool(decoded.fields.get("error", 0))

    @property
    def changed(self) -> bool:
        return bool(self.marks & CHANGED)

    @property
    def by(self) -> str:
        """What of vhostspy changed, made or dropped it."""
        index = self.marks >> BY_SHIFT
        return BY[index] if index < len(BY) else "policy"

    @property
    def dropped(self) -> bool:
        return bool(self.marks & DROPPED)

    @property
    def injected(self) -> bool:
        return bool(self.marks & INJECTED)

    @property
    def incomplete(self) -> bool:
        """The stream ended or stood still in the middle of it."""
        return bool(self.marks & INCOMPLETE)

    @property
    def snapped(self) -> bool:
        """The capture kept only its first octets."""
        return bool(self.marks & SNAPPED)


class Event(NamedTuple):
    """Anything that is not a message: it has a text for people and facts for programs."""

    event: str
    time_ns: int
    monotonic_ns: int
    #: 0: of the whole capture
    session: int
    channel: str
    channel_no: int
    #: the end it speaks of; None: neither
    sender: int | None
    protocol: str
    text: str
    facts: Mapping[str, Any]
    #: what the event shows to be wrong
    findings: tuple[Finding, ...] = ()


def _size_line(message: Message) -> str:
    """All that can be said of octets nobody explains."""
    count = len(message.data) if message.kind == "raw" else message.length - message.payload_at
    return f"{count} byte{'' if count == 1 else 's'}"


def end_name(protocol: str, sender: int) -> str:
    """What the specification calls this end: front-end, back-end; client, server."""
    if sender == SPY:
        return "vhostspy"
    known = registry.PROTOCOLS.get(protocol)
    return (known.ends if known else ENDS)[sender]


def blamed(finding: Finding, protocol: str) -> str:
    """The end that broke the rule, for people and files: its name, ``both``, ``unknown``."""
    if finding.who is None:
        return "unknown"
    return "both" if finding.who == 2 else end_name(protocol, finding.who)


class _Meaning:
    """What the same octets from the same end always mean: the header, and, for one context, the payload.

    Sessions repeat themselves: most messages of a long capture are met here again instead of being decoded.
    """

    __slots__ = ("context", "decoded", "head", "info", "msgid")

    def __init__(self, head: Head, msgid: int | None) -> None:
        self.head = head
        self.msgid = msgid
        #: decoded in this context
        self.context: Context | None = None
        self.decoded: Decoded | None = None
        self.info: str | None = None

    def know(self, context: Context) -> _Meaning:
        """The same, for this context: what was read in another is forgotten."""
        if self.context is not context:
            if self.context != context:
                self.decoded = self.info = None
            self.context = context
        return self


#: octets longer than this are not kept
_MOST_KEPT = 256
_MOST_MEANINGS = 8192
_meanings: dict[tuple[bytes, str, str, int, str], _Meaning] = {}


def _meaning(data: bytes, protocol: str, channel: str, sender: int, byte_order: ByteOrder) -> _Meaning:
    """Read the header; octets too few for one are raw, whatever the record says they are."""
    known = heads(protocol, channel, byte_order)
    if known is None:
        return _UNREAD
    try:
        head = known.of(data, sender)
    except codec.WireError:
        return _UNREAD
    return _Meaning(head, None if known.number is None else known.number(data)[0])


_UNREAD = _Meaning(Head(None, None, None, None, "raw", False, False, None, None, None, 0), None)


def read(record: Record, context: Context, original: bytes | None = None) -> Message:
    """Make a message of a record: its name, kind and header. What it answers is not known yet: see the ledger."""
    (kind_no, no, time_ns, monotonic_ns, _span, session, _previous, protocol, channel, channel_no, sender, marks, reads,
     order, length, data, fds_at, fds) = record  # fmt: skip
    byte_order: ByteOrder = ">" if order == ">" else "<"
    if kind_no == RAW:
        meaning = _UNREAD
    else:
        key = (data, protocol, channel, sender, order)
        found = _meanings.get(key)
        if found is None:
            found = _meaning(data, protocol, channel, sender, byte_order)
            if len(data) <= _MOST_KEPT and found is not _UNREAD:
                if len(_meanings) >= _MOST_MEANINGS:
                    _meanings.clear()
                _meanings[key] = found
        meaning = found
    id, flags, size, error, kind, need_reply, _, name, row, _, header_length = meaning.head
    # what Message(...) does, in half the time
    message = _new(Message, (
        no, time_ns, monotonic_ns, session, channel, channel_no, sender, protocol, name, id, kind, flags, need_reply,
        size, meaning.msgid, error, row, context, byte_order, header_length, data, length, fds, fds_at, marks, reads,
        original, (), None, None, False,
    ))  # fmt: skip
    message.meaning = meaning
    return message


def judged(message: Message, findings: tuple[Finding, ...]) -> Message:
    """The same message, with what is wrong with it."""
    known = message._replace(findings=findings)
    known.__dict__.update(message.__dict__)  # what was decoded stays so
    return known


def awaiting(request: Message) -> Message:
    """The same request, whose sender now waits."""
    waiting = _new(Message, request[:-1] + (True,))  # a quarter of what _replace costs
    waiting.meaning = request.meaning
    return waiting


def answering(reply: Message, request: Message) -> Message:
    """The same reply, which answers that request and is named by it."""
    latency_ns = max(0, reply.monotonic_ns - request.monotonic_ns)
    answer = _new(Message, reply[:-3] + (request.no, latency_ns, False))
    row = request.row
    if row is not reply.row and row is not None:
        # of two messages that have its number, its size made it the other's
        kind: Kind = "ack" if acknowledged(row, reply.length - reply.payload_at) else "reply"
        answer = answer._replace(row=row, name=row.name, kind=kind)
        answer.meaning = None
    else:
        answer.meaning = reply.meaning
    return answer
