"""What our decoder and another program say of the same messages, in one form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vhostspy.capture.reader import Reader
from vhostspy.dissectors import codec, registry
from vhostspy.dissectors.lua_fields import bit_name
from vhostspy.dissectors.rows import Field
from vhostspy.message import Message
from vhostspy.pipeline import Pipeline

from .tshark import Pairs

#: (name, value): a value is an integer, octets in hex, or again such a list
Members = list[tuple[str, Any]]

#: fields of a protocol's tree that are no members
LINKS = ("time", "response_in", "response_to")


def messages(path: Path) -> list[Message]:
    """All messages of a capture, as the pipeline makes them."""
    pipeline = Pipeline()
    with Reader(path) as reader:
        return [item for record in reader for item in pipeline.feed(record) if isinstance(item, Message)]


def ours(message: Message) -> Members:
    """Header and members by our decoder."""
    if message.kind == "raw":
        return []
    assert message.row is not None or message.payload_at
    channel = registry.channel(message.protocol, message.channel)
    assert channel is not None
    header = codec.decode_header(channel, message.data, message.byte_order)
    fields = dict(message.fields)
    if message.row is None or message.error:
        fields = {"rest": message.payload} if message.payload else {}
    names = {
        each.name: each.names.bits(header[each.name])
        for each in channel.header.layout.members
        if isinstance(each, Field) and each.names is not None and each.names.kind == "bits"
    }
    return [*plain(header, names), *plain(fields, message.names)]


def plain(fields: Mapping[str, Any], names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Members as they are decoded, with the bits of theirs that are set and have names."""
    for name, value in fields.items():
        called = names.get(name)
        if isinstance(value, list):
            for place, each in enumerate(value):
                if isinstance(each, dict):
                    inner = called[place] if isinstance(called, list) else {}
                    yield name, list(plain(each, inner))
                else:
                    yield name, int(each)
        elif isinstance(value, bytes):
            yield name, value.hex()
        else:
            yield name, int(value)
        if isinstance(called, list) and isinstance(value, int):
            yield from ((f"{name}.{bit_name(bit)}", 1) for bit in called if not bit.startswith("bit "))


def theirs(pairs: Pairs, prefix: str) -> Members:
    """The same from a protocol's tree in tshark's JSON."""
    members: Members = []
    for key, value in pairs:
        if key.endswith("_tree"):
            name, before = members[-1] if members else ("", None)
            inner = theirs(value, prefix)
            if before == "" and not all(each.startswith("config.") for each, _ in inner):
                members[-1] = (name, inner)
            else:
                members += [each for each in inner if not each[0].startswith("config.")]
            continue
        if not key.startswith(prefix + "."):
            continue
        name = key.removeprefix(prefix + ".")
        if name not in LINKS:
            members.append((name, theirs(value, prefix) if isinstance(value, list) else value))
    return members


def alike(expected: Members, found: Members) -> Members:
    """``found`` with its texts read as what ``expected`` has in the same place; texts that can't be stay texts."""
    read: Members = []
    for place, (name, value) in enumerate(found):
        wanted = expected[place][1] if place < len(expected) else None
        if isinstance(wanted, list):
            read.append((name, alike(wanted, value) if isinstance(value, list) else [] if value == "" else value))
        elif isinstance(wanted, int) and isinstance(value, str):
            read.append((name, _number(value)))
        elif isinstance(wanted, str) and isinstance(value, str):
            read.append((name, value.replace(":", "")))
        else:
            read.append((name, value))
    return read


def _number(text: str) -> int | str:
    try:
        return {"True": 1, "False": 0}[text] if text in ("True", "False") else int(text, 0)
    except ValueError:
        return text
