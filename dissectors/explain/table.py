"""Rows as plain values, for programs: what ``vhostspy explain --json`` writes. ``docs/explain.md`` is its description.

Members are added, none is renamed or taken away, as long as FORMAT stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct

from ..context import rarity
from ..items import WIDTHS, item
from ..plan import plan
from ..rows import (
    Array,
    Bytes,
    Chain,
    Channel,
    Fds,
    Field,
    Gate,
    Layout,
    Member,
    Message,
    Names,
    Padding,
    Protocol,
    Word,
)
from ..spelling import full_name
from .example import header, payload

FORMAT = 1

Value = dict[str, object]


def message(protocol: Protocol, channel: Channel, row: Message, today: Message | None = None) -> Value:
    """``today``: the row that has its number now, if it has lost it."""
    return {
        "kind": "message",
        "protocol": protocol.name,
        "channel": channel.name,
        "name": row.name,
        "full_name": full_name(protocol, channel, row),
        "id": row.id,
        "now": today.name if today is not None else None,
        "from": protocol.ends[row.sender],
        "text": row.text,
        "needs": [gate(one) for one in row.needs],
        "answer": row.answer,
        "request": [layout(one) for one in row.request],
        "reply": None if row.reply is None else [layout(one) for one in row.reply],
        "request_fds": descriptors(row.request_fds),
        "reply_fds": descriptors(row.reply_fds),
        "older": list(row.older),
        "also": list(row.also),
        "notes": row.notes,
        "source": row.source,
        "example": octets(channel, row).hex(),
    }


def octets(channel: Channel, row: Message) -> bytes:
    """A likely request, little-endian, with its header."""
    body = payload(usual(row.request), row.name) if row.request else b""
    return header(channel, row, False, len(body)) + body


def usual(layouts: tuple[Layout, ...]) -> Layout:
    """Of several forms, that of peers which agreed on nothing special."""
    return usual_first(layouts)[0]


def usual_first(layouts: tuple[Layout, ...]) -> list[Layout]:
    return sorted(layouts, key=rarity)


def gate(one: Gate) -> Value:
    return {
        "word": one.word,
        "bit": one.bit,
        "name": one.name,
        "offered": one.offered,
        "drafts": list(one.drafts),
    }


def descriptors(fds: Fds) -> Value | None:
    if not fds.most:
        return None
    return {
        "role": fds.role,
        "least": fds.least,
        "most": fds.most,
        "each": fds.each or None,
        "unless": fds.unless or None,
        "channel": fds.channel or None,
        "release": list(fds.release),
        "needs": gate(fds.needs) if fds.needs is not None else None,
    }


def layout(one: Layout) -> Value:
    return {
        "name": one.name,
        "text": one.text,
        "size": plan(one, "<").size,
        "least": plan(one, "<").least,
        "needs": [gate(each) for each in one.needs],
        "when": None if one.when is None else {"member": one.when[0], "values": list(one.when[1])},
        "postcopy": one.postcopy,
        "little_endian": one.little_endian,
        "members": list(_members(one)),
        "source": one.source,
    }


def placed(one: Layout) -> Iterator[tuple[Member, int | None, int | None]]:
    """Each member with its offset and its size in bytes, as far as these do not depend on what is sent."""
    at: int | None = 0
    for member in one.members:
        size = _size(member)
        yield member, at, size
        at = None if at is None or size is None else at + size


def _size(member: Member) -> int | None:
    if isinstance(member, Array):
        each = plan(member.of, "<").size if isinstance(member.of, Layout) else WIDTHS[member.of]
        return each * member.times if isinstance(member.times, int) and each is not None else None
    fixed = None if isinstance(member, Chain) else item(member)
    return Struct("<" + fixed.code).size if fixed is not None else None


def _members(one: Layout) -> Iterator[Value]:
    for member, offset, size in placed(one):
        value: Value = {"kind": type(member).__name__.lower(), "offset": offset, "size": size}
        if isinstance(member, Field):
            value |= {"name": member.name, "type": member.type, "text": member.text, "show": member.show}
            value["names"] = names(member.names)
        elif isinstance(member, Word):
            value |= {"type": member.type, "text": member.text}
            value["parts"] = [
                {
                    "name": part.name,
                    "low": part.low,
                    "width": part.width,
                    "flag": part.flag,
                    "text": part.text,
                    "names": names(part.names),
                }
                for part in member.parts
            ]
        elif isinstance(member, Bytes):
            value |= {"name": member.name, "text": member.text, "show": member.show}
            value["counted_by"] = member.size if isinstance(member.size, str) else None
        elif isinstance(member, Padding):
            value["name"] = member.name
        elif isinstance(member, Array):
            value |= {"name": member.name, "text": member.text}
            value["of"] = layout(member.of) if isinstance(member.of, Layout) else member.of
            value["times"] = member.times if isinstance(member.times, int) else None
            value["counted_by"] = member.times if isinstance(member.times, str) else None
        else:
            value |= {"name": member.name, "text": member.text, "first": member.first, "next": member.next}
            value["of"] = [layout(each) for each in member.of]
        yield value


def names(one: Names | None) -> Value | None:
    """Keys are decimal numbers: JSON has no others."""
    if one is None:
        return None
    value: Value = {"kind": one.kind, "names": numbered(one.names), "device": one.device}
    return value


def numbered(one: Mapping[int, str]) -> dict[str, str]:
    return {str(number): name for number, name in one.items()}
