"""A channel as a scapy layer: its header, and what decides which payload is behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any, ClassVar

from scapy.config import conf
from scapy.fields import Field as ScapyField
from scapy.packet import Packet

from .. import codec, registry
from ..context import Context
from ..plan import plan
from ..rows import Channel, Field, Layout, Message, Names
from .fields import SETTINGS, Flags, Integer, byte_order

# None: not known; of several layouts the size of the payload then chooses
conf.contribs.setdefault(
    SETTINGS, {"virtio_features": None, "protocol_features": None, "device": None, "postcopy": False}
)


def settings(packet: Packet | None = None) -> Context:
    """What has been agreed on: as the reader of a capture has seen it, or as the user says."""
    while packet is not None:
        seen = getattr(packet, "agreement", None)
        if isinstance(seen, Context):
            return seen
        packet = packet.underlayer
    return Context(**conf.contribs[SETTINGS])


class Header(Packet):
    """The header of a channel's messages."""

    protocol: ClassVar[str]
    channel: ClassVar[Channel]
    #: number -> name; and row. Rows are kept here: their identities stay their own
    names: ClassVar[dict[int, str]]
    rows: ClassVar[dict[int, Message]]
    #: (the row's identity, reply, the layout's identity) -> payload class, which holds both
    payload_classes: ClassVar[dict[tuple[int, bool, int], type[Packet]]]

    def is_reply(self) -> bool:
        """Whether the flags make it one."""
        header = self.channel.header
        return int(self.getfieldval("flags")) & header.reply_mask == header.reply_value

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        if self.getfieldval("size") is None:
            header = self.channel.header
            size = Struct(byte_order(self) + "I").pack(len(pay) + (header.length if header.counts_header else 0))
            pkt = pkt[: header.size_at] + size + pkt[header.size_at + len(size) :]
        return pkt + pay

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        size = self._payload_size(int(self.getfieldval("size")))
        return s[:size], s[size:] or None

    @classmethod
    def _payload_size(cls, size: int) -> int:
        header = cls.channel.header
        return max(size - header.length, 0) if header.counts_header else size

    def do_dissect_payload(self, s: bytes) -> None:
        if s:
            super().do_dissect_payload(s)
            return
        # scapy leaves an empty payload out; a message without a payload is to be told by its layer all the same
        found = self._payload_class(b"")
        if found is not None:
            empty = found(_internal=1, _underlayer=self)
            empty.dissect(b"")
            self.add_payload(empty)

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        return self._payload_class(payload) or super().guess_payload_class(payload)

    def _payload_class(self, payload: bytes) -> type[Packet] | None:
        row = self.rows.get(int(self.getfieldval("request")))
        flags = int(self.getfieldval("flags"))
        reply = self.is_reply()
        if row is not None:
            row = registry.row(self.protocol, self.channel.name, row.sender, row.id, len(payload), reply)
        if row is None or reply and flags & self.channel.header.error_mask:
            return None
        decoded = codec.decode(row, reply, payload, settings(self), byte_order(self))
        if decoded.layout is None or decoded.missing:
            return None
        return self.payload_classes.get((id(row), reply, id(decoded.layout)))

    def answers(self, other: Packet) -> int:
        """Whether it is the reply to that request. Messages without a number of their own are answered in order."""
        if not isinstance(other, Header) or other.channel is not self.channel:
            return 0
        same = self.getfieldval("request") == other.getfieldval("request") and self._number() == other._number()
        return int(same and self.is_reply() and not other.is_reply())

    def hashret(self) -> bytes:
        return Struct("=IH").pack(int(self.getfieldval("request")), self._number())

    def _number(self) -> int:
        return 0 if self.channel.header.msgid_at is None else int(self.getfieldval("msgid"))

    def mysummary(self) -> str:
        request = int(self.getfieldval("request"))
        return type(self).__name__ if request in self.rows else f"{type(self).__name__} {request}"

    @classmethod
    def tcp_reassemble(cls, data: bytes, metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:
        """For scapy's stream sockets: a packet once a whole message is there; octets behind it are padding."""
        header = cls.channel.header
        if len(data) < header.length:
            return None
        size = plan(header.layout, byte_order(None)).unpack(data, 0)["size"]
        return cls(data) if len(data) >= header.length + cls._payload_size(int(str(size))) else None


def header_fields(channel: Channel, names: Mapping[int, str]) -> Iterator[ScapyField[Any, Any]]:
    """The header's members; the request's number has ``names``, the size is computed unless it is given."""
    layout: Layout = channel.header.layout
    for member in layout.members:
        if not isinstance(member, Field):
            raise TypeError(f"{channel.name}: a header's members are integers, not {member!r}")
        if member.name == "request":
            yield Integer(member.name, member.type, 0, Names("values", names))
        elif member.name == "size":
            yield Integer(member.name, member.type, None)
        elif member.names is not None and member.names.kind == "bits":
            default = channel.header.plain_flags if member.name == "flags" else 0
            yield Flags(member.name, member.type, member.names, default)
        else:
            yield Integer(member.name, member.type, 0, member.names, member.show)


def request_flags(channel: Channel, reply: bool) -> int:
    """The flags of a request or reply that has nothing special."""
    header = channel.header
    return header.plain_flags & ~header.reply_mask | (header.reply_value if reply else 0)
