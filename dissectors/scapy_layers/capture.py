"""Captures as scapy layers: exported PDU (link type 252) with its tags, and vhostspy's record in it.

The layout is that of ``docs/capture-format.md``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from scapy.base_classes import BasePacket
from scapy.config import conf
from scapy.fields import AnyField, FieldLenField, PacketListField, ShortEnumField, StrLenField
from scapy.packet import Packet, bind_top_down

from ..items import ByteOrder
from ..rows import IntType, Names
from .fields import NATIVE, Flags, Integer, Octets

LINK_TYPE = 252
DISSECTOR = b"vhostspy"

TAGS = {
    0: "end", 12: "dissector", 13: "heuristic_dissector", 14: "dissector_table", 20: "ipv4_source",
    21: "ipv4_destination", 24: "port_type", 25: "source_port", 26: "destination_port", 33: "protocol", 35: "direction",
    36: "info",
}  # fmt: skip

KINDS = Names("values", {1: "message", 2: "raw", 3: "event", 4: "sample", 5: "note"})
PROTOCOLS = Names("values", {0: "unknown", 1: "vhost-user", 2: "vhost-user-gpu", 3: "vfio-user"})
CHANNELS = Names("values", {0: "none", 1: "main", 2: "backend", 3: "gpu", 4: "second"})
SENDERS = Names("values", {0: "front-end", 1: "back-end", 2: "vhostspy"})
FLAGS = Names(
    "bits",
    {
        0: "CHANGED", 1: "ORIGINAL", 2: "INJECTED", 3: "DROPPED", 4: "SNAPPED", 5: "LATE_FDS", 6: "UNSURE_FDS",
        7: "INCOMPLETE",
    },
)  # fmt: skip
ROLES = Names(
    "values",
    dict(
        enumerate(
            (
                "unknown", "memory", "kick", "call", "err", "log", "log-event", "inflight", "socket", "userfault",
                "object", "device-state", "notifier", "dma", "irq", "region", "scanout",
            )
        )
    ),
)  # fmt: skip
FD_KINDS = Names(
    "values",
    {
        1: "memfd", 2: "eventfd", 3: "socket", 4: "pipe", 5: "userfaultfd", 6: "file", 7: "dma-buf", 8: "device",
        9: "directory", 10: "other",
    },
)  # fmt: skip
ACCESS = Names("values", {0: "unknown", 1: "r", 2: "w", 3: "rw"})
KNOWN = Names("bits", {0: "SIZE", 1: "SEALS", 2: "EVENTFD_ID", 3: "NAME_CUT"})
SEALS = Names("bits", {0: "SEAL", 1: "SHRINK", 2: "GROW", 3: "WRITE", 4: "FUTURE_WRITE", 5: "EXEC"})


def _little(name: str, type: IntType, default: int | None = 0, names: Names | None = None, show: str = "") -> Integer:
    if names is not None and names.kind == "bits":
        return Flags(name, type, names, default, order="<")
    return Integer(name, type, default, names, show, order="<")


class ExportedPduTag(Packet):
    """What Wireshark is to know of the data; type 0 is the last one."""

    name = "exported PDU tag"
    fields_desc = [
        ShortEnumField("type", 0, TAGS),
        FieldLenField("length", None, length_of="value", fmt="!H"),
        StrLenField("value", b"", length_from=lambda tag: tag.length),
    ]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        return b"", s


def _next_tag(pdu: Packet, tags: list[BasePacket], tag: Packet | None, left: bytes) -> type[Packet] | None:
    return ExportedPduTag if (tag is None or tag.getfieldval("type") != 0) and len(left) >= 4 else None


class ExportedPdu(Packet):
    """A packet of link type 252: tags, then data for the dissector that they name."""

    name = "exported PDU"
    fields_desc: ClassVar[list[AnyField]] = [
        PacketListField(
            "tags", [ExportedPduTag(type=12, value=DISSECTOR), ExportedPduTag()], ExportedPduTag, next_cls_cb=_next_tag
        )
    ]

    def tag(self, type: int) -> bytes | None:
        """The value of the first tag of a type; None: there is none."""
        return next((one.value for one in self.tags if one.getfieldval("type") == type), None)

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        if (self.tag(12) or b"").rstrip(b"\0") == DISSECTOR:
            return VhostspyRecord
        return super().guess_payload_class(payload)

    def answers(self, other: Packet) -> int:
        return self.payload.answers(other.payload) if isinstance(other, ExportedPdu) else 0

    def mysummary(self) -> str:
        return "ExportedPdu"


class VhostspyDescriptor(Packet):
    """What the kernel said of a descriptor that a message carried."""

    name = "vhostspy descriptor"
    fields_desc = [
        _little("role", "u8", 0, ROLES),
        _little("kind", "u8", 10, FD_KINDS),
        _little("access", "u8", 0, ACCESS),
        _little("known", "u8", 0, KNOWN),
        _little("seals", "u32", 0, SEALS),
        _little("device", "u64"),
        _little("inode", "u64"),
        _little("file_size", "u64"),
        _little("eventfd_id", "u64"),
        Octets("path", 88, "text"),
        Octets("more", None),
    ]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        return b"", s


class _Descriptors(PacketListField):
    """Entries of the size that the record tells."""

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:
        size = int(pkt.getfieldval("entry_size"))
        number = min(int(pkt.getfieldval("descriptors")), len(s) // size) if size else 0
        entries = [self.m2i(pkt, s[place * size : (place + 1) * size]) for place in range(number)]
        return s[number * size :], entries


class _Computed(Integer):
    """A member of the record that is computed unless it is given."""

    def i2m(self, pkt: Packet | None, x: Any) -> int:
        if x is None and pkt is not None:
            if self.name == "header_length":
                return 88 + len(pkt.getfieldval("more"))
            if self.name == "descriptors":
                return len(pkt.getfieldval("fds"))
            return len(pkt.payload)
        return 0 if x is None else int(x)


class _More(Octets):
    """Members that a newer writer put behind those that are known."""

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, bytes]:
        size = max(int(pkt.getfieldval("header_length")) - 88, 0)
        return s[size:], s[:size]


class VhostspyRecord(Packet):
    """vhostspy's own header, between the tags and a message's octets. Its integers are little-endian everywhere."""

    name = "vhostspy record"
    __slots__ = ["agreement"]
    #: (protocol, channel) -> layer of the message
    message_layers: ClassVar[dict[tuple[int, int], type[Packet]]] = {}
    fields_desc = [
        Octets("magic", 4, "text", b"vspy"),
        _little("version", "u8", 1),
        _little("kind", "u8", 1, KINDS),
        _Computed("header_length", "u16", None, order="<"),
        _little("protocol", "u8", 0, PROTOCOLS),
        _little("byte_order", "u8", int(NATIVE == ">"), Names("values", {0: "little", 1: "big"})),
        _little("channel", "u8", 0, CHANNELS),
        _little("sender", "u8", 0, SENDERS),
        _little("flags", "u32", 0, FLAGS),
        _little("session", "u32", 1),
        _little("previous", "u32"),
        _little("channel_no", "u32", 1),
        _little("reads", "u32", 1),
        _little("number", "u64"),
        _little("time_ns", "u64"),
        _little("monotonic_ns", "u64"),
        _little("span_ns", "u64"),
        _Computed("length", "u64", None, order="<"),
        _little("offset", "u64"),
        _little("fds_at", "u32"),
        _Computed("descriptors", "u16", None, order="<"),
        _little("entry_size", "u16", 128),
        _More("more", None),
        _Descriptors("fds", [], VhostspyDescriptor),
    ]

    def message_byte_order(self) -> ByteOrder:
        """Of the message in it."""
        return ">" if self.getfieldval("byte_order") else "<"

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        kind = self.getfieldval("kind")
        if kind == 3:
            return VhostspyEvent
        # a later part of a long message begins in its middle
        if kind == 1 and self.getfieldval("offset") == 0:
            found = self.message_layers.get((self.getfieldval("protocol"), self.getfieldval("channel")))
            if found is not None:
                return found
        return super().guess_payload_class(payload)

    def answers(self, other: Packet) -> int:
        if not isinstance(other, VhostspyRecord) or self.getfieldval("sender") == other.getfieldval("sender"):
            return 0
        where = ("session", "protocol", "channel", "channel_no")
        same = all(self.getfieldval(name) == other.getfieldval(name) for name in where)
        return int(same and bool(self.payload.answers(other.payload)))

    def hashret(self) -> bytes:
        return bytes([self.getfieldval("channel")]) + self.payload.hashret()

    def mysummary(self) -> str:
        sender = SENDERS.names.get(int(self.getfieldval("sender")), "?")
        number = f"#{self.getfieldval('number')} " if self.getfieldval("number") else ""
        return f"{number}session {self.getfieldval('session')} from {sender}"


class VhostspyEvent(Packet):
    """Something that happened and is no message: a JSON object."""

    name = "vhostspy event"
    fields_desc = [Octets("text", None, "text")]

    # scapy takes a pair too, whatever its annotation says
    def mysummary(self) -> Any:
        return f"event {self.text.decode(errors='backslashreplace')}", [ExportedPdu, VhostspyRecord]


def bind(layers: dict[tuple[str, str], type[Packet]]) -> None:
    """Let records of these protocols and channels hold these layers, and link type 252 be ours."""
    numbers = {name: number for number, name in PROTOCOLS.names.items()}
    kinds = {name: number for number, name in CHANNELS.names.items()}
    for (protocol, channel), layer in layers.items():
        if protocol in numbers and channel in kinds:
            key = numbers[protocol], kinds[channel]
            if VhostspyRecord.message_layers.setdefault(key, layer) is layer:
                bind_top_down(VhostspyRecord, layer, protocol=key[0], channel=key[1])
    conf.l2types.register(LINK_TYPE, ExportedPdu)
