"""scapy layers made from the rows: ``VhostUser``, ``VhostUserBackend``, ``VhostUserGpu``, ``VfioUser``, their payloads,
and the records of our captures. ``docs/scapy.md`` shows how they are used.

A header is a layer, ``VhostUser()``; a payload has the name that the specification gives the message:
``VhostUser()/VHOST_USER_SET_VRING_NUM(index=1, num=256)``. Its reply is ``VHOST_USER_…_REPLY``, an acknowledgement
``VHOST_USER_…_ACK``. Of a payload with several forms the usual one has that name, each other one its layout's name
behind it: ``VHOST_USER_SET_MEM_TABLE_XEN_MEMORY_TABLE``. Drafts' and vendors' messages that have lost their number to
another have it in their name: ``VHOST_USER_NET_SET_BACKEND_15``. Structures are ``VhostUserMemoryRegion``.

This is the only part of vhostspy that imports scapy.
"""

from __future__ import annotations

import sys
from typing import Any

import scapy.contrib
from scapy.config import conf
from scapy.packet import Packet, bind_top_down

from .. import registry
from ..rows import Channel, Message, Protocol
from ..spelling import camel, prefix
from .capture import ExportedPdu, ExportedPduTag, VhostspyDescriptor, VhostspyEvent, VhostspyRecord, bind
from .headers import Header, header_fields, request_flags
from .payloads import MODULE, Payload, fields, forms, new_class
from .session import VhostspySession

#: name -> class, of all that was made from rows
CLASSES: dict[str, type[Packet]] = {}
#: (protocol, channel) -> header
HEADERS: dict[tuple[str, str], type[Header]] = {}


def refresh() -> None:
    """Make the layers of all rows that have none yet. To be called when rows were added after this was imported."""
    for protocol in registry.PROTOCOLS.values():
        for channel in protocol.channels.values():
            header = HEADERS.get((protocol.name, channel.name)) or _same(protocol, channel)
            if header is None:
                header = _header(protocol, channel)
            HEADERS[protocol.name, channel.name] = header
            _fill(header, protocol, channel)
    bind({**HEADERS})
    globals().update(CLASSES)
    list.extend(__all__, (name for name in CLASSES if name not in __all__))
    _list_in_scapy()


def _same(protocol: Protocol, channel: Channel) -> type[Header] | None:
    """The layer of an earlier channel that has all the messages of this one (vfio-user's second socket)."""
    for other in protocol.channels.values():
        known = HEADERS.get((protocol.name, other.name))
        if known is not None and channel.messages.items() <= known.channel.messages.items():
            return known
    return None


def _header(protocol: Protocol, channel: Channel) -> type[Header]:
    """The layer of a channel, without payloads so far."""
    name = camel(prefix(protocol, channel).rstrip("_").replace("_", " ").lower())
    names: dict[int, str] = {}
    attributes = {"protocol": protocol.name, "channel": channel, "names": names, "rows": {}, "payload_classes": {}}
    title = f"{protocol.name}, {channel.name} channel"
    header = new_class(name, Header, title, [*header_fields(channel, names)], **attributes)
    if not issubclass(header, Header):
        raise TypeError(name)
    CLASSES[name] = header
    return header


def _fill(header: type[Header], protocol: Protocol, channel: Channel) -> None:
    """Add what the header does not have yet; also a row that has come in place of another."""
    for main in channel.messages.values():
        header.names[main.id] = main.name
        header.rows[main.id] = main
        for row in (main, *main.others):
            for reply in (False, True):
                if not reply or row.reply is not None or row.answer != "never":
                    start = f"{prefix(protocol, channel)}{row.name}{'' if row is main else f'_{row.id}'}"
                    _payloads(header, channel, row, reply, start)


def _payloads(header: type[Header], channel: Channel, row: Message, reply: bool, start: str) -> None:
    for tail, layout in forms(row, reply):
        key = (id(row), reply, id(layout))
        if key not in header.payload_classes:
            attributes = {"row": row, "layout": layout, "is_reply": reply}
            desc = [*fields(layout, camel(header.protocol), CLASSES)]
            title = f"{row.name}{tail.replace('_', ' ').lower()}"
            made = new_class(start + tail, Payload, title, desc, **attributes)
            bind_top_down(header, made, request=row.id, flags=request_flags(channel, reply))
            header.payload_classes[key] = CLASSES[start + tail] = made


def _list_in_scapy() -> None:
    """Make ``explore("vhostspy")`` list them: it knows layers of scapy's own folders only."""
    layers = conf.layers.ldict
    name = "scapy.contrib.vhostspy"
    sys.modules.setdefault(name, sys.modules[__name__])
    scapy.contrib.__dict__["vhostspy"] = sys.modules[__name__]
    own: list[type[Packet]] = [
        *CLASSES.values(), ExportedPdu, ExportedPduTag, VhostspyRecord, VhostspyDescriptor, VhostspyEvent,
    ]  # fmt: skip
    for module in [module for module in layers if module.startswith(MODULE)]:
        del layers[module]
    layers[name] = own


__all__ = ["ExportedPdu", "ExportedPduTag", "VhostspyDescriptor", "VhostspyEvent", "VhostspyRecord", "VhostspySession"]


def __getattr__(name: str) -> Any:
    """For type checkers, which cannot know the names that the rows give."""
    raise AttributeError(f"there is no layer {name}")


refresh()
