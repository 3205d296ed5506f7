"""A message as a tree: each member with its value, its octets, and what bits, values and addresses mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vhostspy.dissectors import registry
from vhostspy.dissectors.codec import WireError, decode_header
from vhostspy.dissectors.items import WIDTHS
from vhostspy.dissectors.rows import Array, Bytes, Chain, Field, Layout, Names, Padding, Word, member_names
from vhostspy.dissectors.show import plain
from vhostspy.message import Message
from vhostspy.output.units import escape, plural, size
from vhostspy.session.state import Session

#: of long repetitions so many are shown
MOST_CHILDREN = 256
#: members that hold addresses: of the process that sent them, of the guest
_USER = frozenset(("descriptor", "used", "available", "user_address", "uaddr", "vaddr"))
_GUEST = frozenset(("guest_address", "iova", "log_address", "address"))
#: octets written out in a line
_MOST_OCTETS = 32


class Node(NamedTuple):
    """One member, or one bit of it."""

    #: ``regions[0].length``: as filters call it
    path: str
    name: str
    #: the value as people read it
    text: str
    #: where it is in the message: from, up to and without
    octets: tuple[int, int] | None = None
    #: what the row says about it
    about: str = ""
    #: what explain is asked for it
    subject: str = ""
    children: tuple[Node, ...] = ()
    #: plain, name, dim, error
    role: str = "value"


def header_nodes(message: Message) -> tuple[Node, ...]:
    """The header's members."""
    found = registry.channel(message.protocol, message.channel)
    if found is None or message.kind == "raw":
        return ()
    try:
        fields = decode_header(found, message.data, message.byte_order)
    except WireError:
        return ()
    names = {
        member.name: member.names.bits(fields[member.name])
        for member in found.header.layout.members
        if isinstance(member, Field) and member.names is not None and member.names.kind == "bits"
    }
    return tuple(_walk(found.header.layout, fields, names, 0, message.byte_order, None)[0])


def payload_nodes(message: Message, session: Session | None = None) -> tuple[Node, ...]:
    """The payload's members, by the layout that it was read by; then what no member explains."""
    if message.kind == "raw" or message.refused:
        return ()
    decoded = message.decoded
    at = message.payload_at
    nodes: list[Node] = []
    if session is not None and any(region.no == message.no for region in session.regions):
        session = None  # it says itself where its regions are
    if decoded.layout is not None:
        nodes, at = _walk(decoded.layout, decoded.fields, decoded.names, at, message.byte_order, session)
    end = len(message.data)
    rest = decoded.rest
    if rest:
        at = end - len(rest)
        about = "octets that no member explains" if message.row is not None else "no row explains this message"
        nodes.append(Node("rest", "rest", _octets(rest), (at, end), about, role="warning"))
    if decoded.missing:
        nodes.append(Node("missing", "missing", f"{plural(decoded.missing, 'byte')} at least", role="error"))
    return tuple(nodes)


def _walk(
    layout: Layout, fields: Mapping[str, Any], names: Mapping[str, Any], at: int, order: str, session: Session | None,
    prefix: str = "",
) -> tuple[list[Node], int]:  # fmt: skip
    """The nodes of a structure that begins at octet ``at``, and where it ends."""
    nodes: list[Node] = []
    start = at
    for member in layout.members:
        if isinstance(member, Word):
            end = at + WIDTHS[member.type]
            for part in member.parts:
                if part.name in fields:
                    value = fields[part.name]
                    text = plain(value, "", part.names)
                    if part.names is not None and isinstance(value, int) and text != str(value):
                        text = f"{text} ({value})"
                    nodes.append(Node(prefix + part.name, part.name, escape(text), (at, end), part.text))
            if fields.get("reserved"):
                nodes.append(
                    Node(prefix + "reserved", "reserved", hex(fields["reserved"]), (at, end), "", role="warning")
                )
            at = end
        elif isinstance(member, Padding):
            end = at + member.size
            if member.name in fields and fields[member.name]:
                text = _octets(fields[member.name])
                nodes.append(Node(prefix + member.name, member.name, text, (at, end), "not zero", role="warning"))
            at = end
        elif member.name not in fields:
            break  # the message is shorter than its layout
        else:
            node, at = _member(member, fields[member.name], names.get(member.name), at, order, session, prefix, start)
            nodes.append(node)
    return nodes, at


def _member(
    member: Field | Bytes | Array | Chain, value: Any, names: Any, at: int, order: str, session: Session | None,
    prefix: str, start: int,
) -> tuple[Node, int]:  # fmt: skip
    path = prefix + member.name
    if isinstance(member, Field):
        end = at + WIDTHS[member.type]
        return _field(member, path, value, names, (at, end), session), end
    if isinstance(member, Bytes):
        end = at + len(value)
        return _bytes(member, path, value, names, (at, end)), end
    children: list[Node] = []
    begin = at
    if isinstance(member, Array) and not isinstance(member.of, Layout):
        step = WIDTHS[member.of]
        for place, each in enumerate(value[:MOST_CHILDREN]):
            octets = (at + place * step, at + (place + 1) * step)
            children.append(Node(f"{path}[{place}]", f"[{place}]", f"{each:#x}", octets))
        at += len(value) * step
    else:
        for place, each in enumerate(value):
            of = _layout(member, each)
            known = names[place] if isinstance(names, list) and place < len(names) else {}
            inner, end = _walk(of, each, known, at, order, session, f"{path}[{place}].")
            if isinstance(member, Chain):
                following = each.get(member.next, 0)
                rest = each.get("rest", b"")
                end = start + following if following else end + (len(rest) if isinstance(rest, bytes) else 0)
            if place < MOST_CHILDREN:
                text = _summary(of, each)
                children.append(Node(f"{path}[{place}]", f"[{place}]", text, (at, end), "", children=tuple(inner)))
            at = end
    if len(value) > MOST_CHILDREN:
        children.append(Node(f"{path}.more", "…", f"and {len(value) - MOST_CHILDREN} more", role="dim"))
    text = "none" if not value else f"{len(value)} × {'…' if isinstance(member, Chain) else _of(member)}"
    return Node(path, member.name, text, (begin, at), member.text, children=tuple(children)), at


def _of(member: Array) -> str:
    return member.of.name if isinstance(member.of, Layout) else member.of


def _layout(member: Array | Chain, value: Mapping[str, Any]) -> Layout:
    if isinstance(member, Array):
        assert isinstance(member.of, Layout)
        return member.of
    for layout in member.of:
        if value.keys() <= {"rest", *member_names(layout)}:
            return layout
    return member.of[-1]


def _summary(layout: Layout, value: Mapping[str, Any]) -> str:
    """A structure in a few words: its first members."""
    words: list[str] = []
    for member in layout.members:
        if isinstance(member, Field) and member.name in value and len(words) < 2:
            words.append(f"{member.name} {plain(value[member.name], member.show, member.names)}")
    return escape(", ".join(words))


def _field(member: Field, path: str, value: int, names: Any, octets: tuple[int, int], session: Session | None) -> Node:
    text = plain(value, member.show or ("hex" if isinstance(names, list) else ""), member.names)
    children: tuple[Node, ...] = ()
    if isinstance(names, list):
        text = f"{value:#x}"
        children = tuple(_bits(member.names, names, value, path, octets))
    elif isinstance(names, str) and names:
        text = f"{names} ({value})"
    elif member.show == "size" and value >= 1024:
        text = f"{plain(value, 'size')} ({value:#x})"
    elif member.show == "hex" and session is not None and value and (where := place_of(session, member.name, value)):
        text = f"{value:#x}  {where}"
    role = "error" if member.show == "result" and value else "value"
    return Node(path, member.name, escape(text), octets, member.text, children=children, role=role)


def _bits(known: Names | None, names: list[str], value: int, path: str, octets: tuple[int, int]) -> Iterator[Node]:
    numbers = [bit for bit in range(value.bit_length()) if value >> bit & 1]
    for bit, name in zip(numbers, names, strict=False):
        about = known.texts.get(bit, "") if known is not None else ""
        byte = octets[0] + bit // 8 if octets[1] - octets[0] > bit // 8 else octets[0]
        shown = escape(str(name))
        subject = "" if shown.startswith("bit ") else shown
        yield Node(f"{path}.{bit}", f"{bit:>2}", shown, (byte, byte + 1), about, subject, role="name")


def _bytes(member: Bytes, path: str, value: bytes, names: Any, octets: tuple[int, int]) -> Node:
    show = member.show
    text = escape(plain(value, show)) if show not in ("", "config", "brief") else _octets(value)
    children: tuple[Node, ...] = ()
    if isinstance(names, Mapping):
        children = tuple(_named(path, names, octets))
    return Node(path, member.name, text or "empty", octets, member.text, children=children)


def _named(path: str, names: Mapping[str, Any], octets: tuple[int, int]) -> Iterator[Node]:
    """A configuration space by device, or JSON: members without a place of their own."""
    for name, part in names.items():
        inner = f"{path}.{escape(str(name))}"
        if isinstance(part, Mapping):
            yield Node(inner, escape(str(name)), "", octets, children=tuple(_named(inner, part, octets)))
        else:
            text = _octets(part) if isinstance(part, bytes) else escape(str(part))
            yield Node(inner, escape(str(name)), text, octets)


def _octets(value: object) -> str:
    if isinstance(value, int):
        return hex(value)
    if not isinstance(value, bytes):
        return escape(str(value))
    shown = value[:_MOST_OCTETS].hex(" ")
    return shown if len(value) <= _MOST_OCTETS else f"{shown} … ({plural(len(value), 'byte')})"


def place_of(session: Session, name: str, address: int) -> str:
    """In which memory region an address lies, and where in it; empty where none is known."""
    user, guest = name in _USER, name in _GUEST
    if not (user or guest):
        return ""
    for number, region in enumerate(session.regions):
        start = region.user_address if user else region.guest_address
        if start <= address < start + region.size:
            return f"region {number} + {address - start:#x} ({size(region.size)}, #{region.no})"
    return "in no region" if session.whole and session.regions else ""
