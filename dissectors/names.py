"""What values are called: bits, enumerations, and the configuration space of a known device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

from . import virtio
from .context import Context
from .items import MEMORY, ByteOrder, item
from .rows import Array, Bytes, Chain, Layout, Names
from .show import plain

#: Of a member's value (Any: as its row says), and of all members beside it; nothing or "" where it has no name.
Namer = Callable[[Any, Mapping[str, object], Context], object]


def value_namer(names: Names) -> Namer:
    """The name of an integer's value, or the list of its bits' names."""
    memory: dict[tuple[int, str | None], object] = {}

    def name(value: int, fields: Mapping[str, object], context: Context) -> object:
        device = context.device if names.device else None
        found = memory.get((value, device))
        if found is None:
            if len(memory) >= MEMORY:
                memory.clear()
            if names.kind == "values":
                found = names.names.get(value, "")
            else:
                found = (virtio.features(device) if names.device else names).bits(value)
            memory[value, device] = found
        return found

    return name


def config_namer(byte_order: ByteOrder) -> Namer:
    """The members of a device's configuration space, when the device is known."""

    def name(value: bytes, fields: Mapping[str, object], context: Context) -> object:
        layout = virtio.config_layout(context.device, context.virtio_features) if context.device else None
        if layout is None:
            return None
        # of a legacy device it is in the guest's byte order, which is taken to be this machine's
        modern = context.virtio_features is None or context.virtio_features >> 32 & 1
        offset = fields.get("offset", 0)
        return read_piece(layout, value, offset if isinstance(offset, int) else 0, "<" if modern else byte_order)

    return name


def json_namer(value: bytes, fields: Mapping[str, object], context: Context) -> object:
    """What the text says; nothing when it is no JSON object. Its end is a NUL."""
    try:
        # import here: the relay, which reads no payloads, starts without it
        from json import loads

        found = loads(value.split(b"\0", 1)[0])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_piece(layout: Layout, data: bytes, offset: int = 0, byte_order: ByteOrder = "<") -> dict[str, object]:
    """The members of a structure that lie whole in a piece of it, which starts at ``offset``.

    Octets that have a written form (text, address) are given in it.
    """
    found: dict[str, object] = {}
    at = 0
    for member in layout.members:
        if isinstance(member, Array | Chain):
            break
        fixed = item(member)
        if fixed is not None:
            value_of = Struct(byte_order + fixed.code)
            size = value_of.size
        else:
            how_long = found.get(member.size) if isinstance(member, Bytes) and isinstance(member.size, str) else None
            if not isinstance(how_long, int):
                break
            value_of, size = Struct(f"{how_long}s"), how_long
        if offset <= at and at + size <= offset + len(data):
            (value,) = value_of.unpack_from(data, at - offset)
            if fixed is not None and fixed.expand is not None:
                found.update(fixed.expand[value])
            elif isinstance(member, Bytes):
                found[member.name] = plain(value, member.show) if member.show else value
            elif fixed is not None:
                found[fixed.name] = value
        at += size
    return found
