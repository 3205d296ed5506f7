"""Reading a capture with what its sessions agree on, which some layouts depend on."""

from __future__ import annotations

from typing import Any

from scapy.packet import Packet
from scapy.sessions import DefaultSession

from ..context import NOTHING_KNOWN, Context
from .capture import VhostspyRecord
from .headers import Header


class VhostspySession(DefaultSession):
    """``sniff(offline="session.pcapng", session=VhostspySession)``: each record is read by what came before it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._agreed: dict[int, Context] = {}

    def process(self, pkt: Packet) -> Packet | None:
        """The packet, its messages read anew where that may make a difference."""
        record = pkt.getlayer(VhostspyRecord)
        if record is None or not isinstance(record.payload, Header):
            return pkt
        number = int(record.getfieldval("session"))
        agreed = self._agreed.get(number, NOTHING_KNOWN)
        if agreed != NOTHING_KNOWN:
            octets = bytes(record.payload)
            layer = type(record.payload)
            record.agreement = agreed
            record.remove_payload()
            record.add_payload(layer(octets, _internal=1, _underlayer=record))
        self._agreed[number] = _after(record.payload, agreed)
        return pkt


def _after(message: Packet, agreed: Context) -> Context:
    """What is agreed on once this message has been sent."""
    if not isinstance(message, Header) or message.channel.name != "main" or message.is_reply():
        return agreed
    row = message.rows.get(int(message.getfieldval("request")))
    name = row.name if row is not None else ""
    if name == "SET_FEATURES" and message.payload.fields:
        return agreed._replace(virtio_features=int(message.payload.getfieldval("features")))
    if name == "SET_PROTOCOL_FEATURES" and message.payload.fields:
        return agreed._replace(protocol_features=int(message.payload.getfieldval("protocol_features")))
    if name in ("POSTCOPY_LISTEN", "POSTCOPY_END"):
        return agreed._replace(postcopy=name == "POSTCOPY_LISTEN")
    return agreed
