"""What the header of a message says, worked out once for all messages that begin with the same octets.

It tells the row, whether the message is a reply, and how its payload is read. A long capture has few different ones,
but for the message's own number (vfio-user), which is read apart.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Literal, NamedTuple

from . import registry
from .codec import NOTHING_KNOWN, ByteOrder, Context, Decoded, Forms, decode_header, forms
from .rows import ACK, Channel, Message

Kind = Literal["request", "reply", "ack", "raw"]

#: different headers of one end that are remembered
MEMORY = 4096


class Head(NamedTuple):
    """A header as it was sent, but for the message's own number, and what follows from it."""

    #: the members as sent; None of a message that has no header
    id: int | None
    flags: int | None
    size: int | None
    #: the error number of a reply, 0 where it is none; None for requests, and where there are no errors
    error: int | None
    kind: Kind
    need_reply: bool
    #: a reply that says no, and has no payload
    refused: bool
    #: the row of the request, also for a reply, and its name; None: no row explains it
    name: str | None
    row: Message | None
    #: the forms that its payload may have, None: it has none that are known
    forms: Forms | None
    #: where the payload begins
    length: int


class Heads:
    """The headers that have been met on one kind of channel."""

    def __init__(self, protocol: str, channel: Channel, byte_order: ByteOrder) -> None:
        self._protocol = protocol
        self._channel = channel
        self._byte_order: ByteOrder = byte_order
        header = channel.header
        #: all but the message's own number, where that comes first
        self._same = slice(2 if header.msgid_at == 0 else 0, header.length)
        #: by sender
        self._known: tuple[dict[bytes, Head], ...] = ({}, {}, {})
        #: how a message's own number is read; None where it has none
        self.number: Callable[[bytes], tuple[int]] | None = None
        if header.msgid_at is not None:
            self.number = Struct(f"{byte_order}{header.msgid_at}xH").unpack_from

    def of(self, data: bytes, sender: int) -> Head:
        """The head of a message; WireError when its header is not there whole."""
        return self._known[sender].get(data[self._same]) or self._read(data, sender)

    def decode(self, data: bytes, sender: int, context: Context = NOTHING_KNOWN) -> Decoded:
        """Read the payload of a whole message; what no row explains is left over. WireError as above."""
        head = self._known[sender].get(data[self._same]) or self._read(data, sender)
        if head.forms is None:
            return Decoded(None, {}, data[head.length :])
        return head.forms.decode(data, head.length, context)

    def _read(self, data: bytes, sender: int) -> Head:
        channel = self._channel
        header = channel.header
        fields = decode_header(channel, data, self._byte_order)
        number, flags, sent = fields["request"], fields["flags"], fields["size"]
        size = sent - (header.length if header.counts_header else 0)
        reply = flags & header.reply_mask == header.reply_value
        row = registry.row(self._protocol, channel.name, 1 - sender if reply else sender, number, size, reply)
        kind: Kind = "request"
        # asked for by one bit, or only declined by another
        need_reply = flags & header.need_reply_mask != 0
        error, refused = None, False
        if reply:
            kind = "ack" if row is not None and acknowledged(row, size) else "reply"
            refused = flags & header.error_mask != 0
            if header.error_mask:
                error = fields["error"] if refused else 0
        elif header.no_reply_mask:
            need_reply = not flags & header.no_reply_mask
        payload = None if row is None or refused else forms(row, reply, self._byte_order)
        known = self._known[sender]
        if len(known) >= MEMORY:
            known.clear()
        name = None if row is None else row.name
        head = Head(number, flags, sent, error, kind, need_reply, refused, name, row, payload, header.length)
        known[data[self._same]] = head
        return head


def acknowledged(row: Message, size: int) -> bool:
    """Whether a reply of that size is an acknowledgement; some rows have it as one alternative of several."""
    return row.reply is None or (size == 8 and any(layout is ACK for layout in row.reply))


_heads: dict[tuple[str, str, ByteOrder], Heads | None] = {}


def heads(protocol: str, channel: str, byte_order: ByteOrder) -> Heads | None:
    """Those of a channel; None when the protocol, or its channel, is not known."""
    key = (protocol, channel, byte_order)
    try:
        return _heads[key]
    except KeyError:
        found = registry.channel(protocol, channel)
        known = _heads[key] = None if found is None else Heads(protocol, found, byte_order)
        return known


def forget() -> None:
    """Rows have changed: what was worked out before may be wrong now."""
    _heads.clear()
