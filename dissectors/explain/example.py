"""A message as it might be sent: likely values for each member, and its octets member by member."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import NamedTuple

from ..items import WIDTHS, item
from ..plan import plan
from ..rows import Array, Bytes, Chain, Channel, Field, Layout, Member, Message, Padding, Word
from ..show import plain

#: values that a member of this name may have in a sane session; what is not here is 0
_LIKELY: Mapping[str, object] = {
    "features": 1 << 32 | 1 << 30,
    "protocol_features": 1 << 9 | 1 << 3,
    "status": 7,
    "queues": 4,
    "slots": 32,
    "mtu": 1500,
    "mac": bytes.fromhex("525400123456"),
    "uuid": bytes.fromhex("123e4567e89b12d3a456426614174000"),
    "length": 1 << 20,
    "mmap_length": 1 << 16,
    "page_size": 4096,
    "user_address": 0x7F00_0000_0000,
    "descriptor": 0x7F00_0010_0000,
    "available": 0x7F00_0010_1000,
    "used": 0x7F00_0010_2000,
    "num_queues": 2,
    "queue_size": 256,
    "permission": 3,
    "type": 2,
    "config": bytes(8),
    "data": bytes(4),
    "version_data": b'{"capabilities": {}}\0',
}
#: where the message decides what is likely
_OF_MESSAGE: Mapping[str, Mapping[str, object]] = {
    "SET_VRING_NUM": {"num": 256},
    "SET_VRING_ENABLE": {"num": 1},
    "SHMEM_MAP": {"shmid": 1, "writable": True},
}


class Piece(NamedTuple):
    """Some octets of an example, and what they are."""

    octets: bytes
    meaning: str


def fields(layout: Layout, message: str = "") -> dict[str, object]:
    """Likely members of a structure; what counts others is left out, so that whoever writes them fills it in."""
    given = {**_LIKELY, **_OF_MESSAGE.get(message, {})}
    counting = {counter for counter in map(_counter, layout.members) if counter is not None}
    found: dict[str, object] = {}
    for member in layout.members:
        if isinstance(member, Field) and member.name not in counting:
            found[member.name] = _known(member, given.get(member.name, 0))
        elif isinstance(member, Word):
            found |= {part.name: given.get(part.name, False if part.flag else 0) for part in member.parts}
        elif isinstance(member, Bytes):
            octets = given.get(member.name, b"")
            size = member.size if isinstance(member.size, int) else None
            found[member.name] = octets if size is None or len(bytes(_octets(octets))) == size else bytes(size)
        elif isinstance(member, Array):
            times = member.times if isinstance(member.times, int) else 1
            found[member.name] = [fields(member.of) if isinstance(member.of, Layout) else 0 for _ in range(times)]
        elif isinstance(member, Chain):
            found[member.name] = []
    if layout.when is not None:
        found[layout.when[0]] = layout.when[1][0]
    return found


def _known(member: Field, value: object) -> object:
    """Bits and values that have no name are nobody's example, unless it is 0 for no value at all."""
    names = member.names
    if not isinstance(value, int) or names is None:
        return value
    if names.kind == "bits":
        return value & sum(1 << bit for bit in names.names)
    return value if value in names.names or len(names.names) < 2 else min(names.names)


def payload(layout: Layout, message: str = "") -> bytes:
    """The octets of a likely payload, little-endian."""
    members = fields(layout, message)
    octets = plan(layout, "<").write(members)
    if "argsz" in members:
        octets = plan(layout, "<").write({**members, "argsz": len(octets)})
    return octets


def header(channel: Channel, message: Message, reply: bool, size: int) -> bytes:
    """The octets of a header, little-endian, for a payload of ``size`` bytes."""
    head = channel.header
    values = dict.fromkeys(_names(head.layout), 0)
    values["request"] = message.id
    values["flags"] = head.plain_flags & ~(head.reply_mask if reply else 0) | (head.reply_value if reply else 0)
    values["size"] = size + (head.length if head.counts_header else 0)
    return plan(head.layout, "<").write(values)


def pieces(layout: Layout, octets: bytes, most: int = 24) -> Iterator[Piece]:
    """The octets of a structure, a piece for each member; ``most``: of repetitions and data only so many are given."""
    read = plan(layout, "<").read(octets)[0]
    at = 0
    for member in layout.members:
        size = _size(member, read)
        chunk = octets[at : at + size]
        at += size
        if isinstance(member, Array) and isinstance(member.of, Layout):
            element = plan(member.of, "<").least
            for place in range(0, min(size, element), element or 1):
                yield from pieces(member.of, chunk[place : place + element], most)
            if size > element:
                yield Piece(chunk[element:][:most], f"{member.name}, {len(chunk) // element - 1} more")
        elif chunk:
            yield Piece(chunk[: most + 1], _meaning(member, read))


def _size(member: Member, read: Mapping[str, object]) -> int:
    if isinstance(member, Array):
        each = plan(member.of, "<").least if isinstance(member.of, Layout) else WIDTHS[member.of]
        value = read.get(member.name)
        return each * len(value) if isinstance(value, list) else 0
    if isinstance(member, Chain):
        return 0
    fixed = item(member)
    if fixed is not None:
        return Struct("<" + fixed.code).size
    return len(_octets(read.get(member.name, b""))) if isinstance(member, Bytes) else 0


def _meaning(member: Member, read: Mapping[str, object]) -> str:
    if isinstance(member, Padding):
        return member.name
    if isinstance(member, Word):
        return ", ".join(f"{part.name} {plain(read[part.name], names=part.names)}" for part in member.parts)
    value = read[member.name]
    if isinstance(member, Field):
        written = plain(value, member.show, member.names)
        names = member.names
        if names is not None and names.kind == "bits" and isinstance(value, int) and value:
            written = " + ".join(names.bits(value))
        return f"{member.name} {written}"
    if isinstance(member, Bytes) and member.show in ("mac", "uuid", "text", "json"):
        return f"{member.name} {plain(value, member.show)}"
    return member.name


def _octets(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _counter(member: Member) -> str | None:
    how_many = member.size if isinstance(member, Bytes) else member.times if isinstance(member, Array) else None
    return how_many if isinstance(how_many, str) else None


def _names(layout: Layout) -> Iterator[str]:
    for member in layout.members:
        if isinstance(member, Field):
            yield member.name
