"""Structures and payloads as scapy packets, made from the layouts."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from typing import Any, ClassVar

from scapy.base_classes import Packet_metaclass
from scapy.fields import Field as ScapyField
from scapy.packet import Packet

from .. import codec
from ..context import rarity
from ..rows import ACK, EMPTY, Array, Bytes, Field, Layout, Message, Padding, Word
from ..spelling import camel, spelled
from .fields import Count, Flags, Integer, Integers, Links, Octets, Part, Structures, byte_order

#: the module that all of them are of, for pickle and ls()
MODULE = __name__.rpartition(".")[0]


class Structure(Packet):
    """A part of a payload, as an element of a list; what is behind it is not its own."""

    layout: ClassVar[Layout]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        return b"", s


class Payload(Packet):
    """What is behind a header; ``row`` and ``layout`` are what it was made from. Octets left over are its payload."""

    row: ClassVar[Message]
    layout: ClassVar[Layout]
    is_reply: ClassVar[bool]

    # scapy takes a pair too, whatever its annotation says
    def mysummary(self) -> Any:
        """The line of our own list, and the layers below that have something to say besides."""
        decoded = codec.decode(self.row, self.is_reply, bytes(self), byte_order=byte_order(self))
        info = codec.info_line(self.row, self.is_reply, decoded)
        kind = "" if not self.is_reply else " ack" if self.layout is ACK else " reply"
        below: list[type[Packet]] = []
        under = self.underlayer
        while under is not None:
            below.append(type(under))
            under = under.underlayer
        return f"{self.row.name}{kind}{f' ({info})' if info else ''}", below


def field_name(member: str) -> str:
    """A member's name, with ``_`` behind it where scapy's packets or Python have another use for it."""
    return f"{member}_" if hasattr(Payload, member) or member in _RESERVED or keyword.iskeyword(member) else member


_RESERVED = frozenset({"row", "layout", "is_reply"})


def fields(layout: Layout, start: str, known: dict[str, type[Packet]]) -> Iterator[ScapyField[Any, Any]]:
    """The members as scapy fields. ``known``: the structures so far, by class name; those of lists are added."""
    counted = dict(_counted(layout))
    for member in layout.members:
        if isinstance(member, Field):
            yield _integer(member, layout, counted)
        elif isinstance(member, Word):
            yield from _parts(member)
        elif isinstance(member, Bytes):
            size = field_name(member.size) if isinstance(member.size, str) else member.size
            yield Octets(field_name(member.name), size, member.show)
        elif isinstance(member, Padding):
            yield Octets(field_name(member.name), member.size)
        elif isinstance(member, Array):
            times = field_name(member.times) if isinstance(member.times, str) else member.times
            if isinstance(member.of, Layout):
                element = structure(member.of, start, known)
                yield Structures(field_name(member.name), member.of, element, times)
            else:
                yield Integers(field_name(member.name), member.of, times)
        else:
            kinds = tuple((each, structure(each, start, known)) for each in member.of)
            yield Links(field_name(member.name), kinds, field_name(member.first), field_name(member.next))


def _integer(member: Field, layout: Layout, counted: dict[str, str]) -> ScapyField[Any, Any]:
    name = field_name(member.name)
    default = 0
    if layout.when is not None and layout.when[0] == member.name:
        default = layout.when[1][0]
    if member.name in counted:
        return Count(name, member.type, field_name(counted[member.name]))
    if member.names is not None and member.names.kind == "bits":
        return Flags(name, member.type, member.names, default)
    return Integer(name, member.type, default, member.names, member.show)


def _parts(word: Word) -> Iterator[Part]:
    bits = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i32": 32, "i64": 64}[word.type]
    rest = (1 << bits) - 1
    for place, part in enumerate(word.parts):
        mask = (1 << part.width) - 1
        rest &= ~(mask << part.low)
        # with bits that no part covers, those are the last part
        more = place + 1 < len(word.parts) or rest != 0
        yield Part(field_name(part.name), word.type, part.low, mask, not place, not more, part.flag, part.names)
    if rest:
        yield Part("reserved", word.type, 0, rest, False, True, False, None)


def _counted(layout: Layout) -> Iterator[tuple[str, str]]:
    """The members that tell how much there is of another, and that other."""
    for member in layout.members:
        if isinstance(member, Bytes | Array):
            counter = member.size if isinstance(member, Bytes) else member.times
            if isinstance(counter, str):
                yield counter, member.name


def structure(layout: Layout, start: str, known: dict[str, type[Packet]]) -> type[Packet]:
    """The class of a structure: ``VhostUserMemoryRegion``; ``start`` is the protocol's part of the name."""
    name = start + camel(layout.name)
    found = known.get(name)
    if found is None or getattr(found, "layout", layout).members is not layout.members:
        found = new_class(name, Structure, layout.name, [*fields(layout, start, known)], layout=layout)
        known[name] = found
    return found


def new_class(name: str, base: type[Packet], title: str, desc: list[ScapyField[Any, Any]], **more: Any) -> type[Packet]:
    attributes = {"__module__": MODULE, "__qualname__": name, "name": title, "fields_desc": desc, **more}
    made: type[Packet] = Packet_metaclass(name, (base,), attributes)
    return made


def forms(row: Message, reply: bool) -> Iterator[tuple[str, Layout]]:
    """Each layout of a payload, with what its class is called behind the message's name.

    The usual form of a request has nothing there, that of a reply ``_REPLY``, acknowledgements ``_ACK``, and each other
    form its layout's name.
    """
    layouts = row.request if not reply else (ACK,) if row.reply is None else row.reply
    others = [layout for layout in layouts or (EMPTY,) if layout is not ACK]
    usual = min(others, key=rarity, default=None)
    for layout in layouts or (EMPTY,):
        if layout is ACK:
            yield "_ACK", layout
        else:
            start = "_REPLY" if reply else ""
            yield start if layout is usual else f"{start}_{spelled(layout.name)}", layout
