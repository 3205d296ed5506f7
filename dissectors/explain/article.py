"""What there is to say of a row, in order; how it is laid out is ``page.py``'s."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..plan import plan
from ..rows import ACK, Array, Bytes, Chain, Channel, Fds, Field, Gate, Layout, Message, Names, Padding, Protocol, Word
from ..show import number_of
from ..spelling import full_name
from .example import Piece, pieces
from .table import octets as octets_of
from .table import placed, usual, usual_first

#: bits or values of an integer that a table writes out; more are a subject of their own
_MOST_NAMES = 16


class Section(NamedTuple):
    """A heading, a line about it, and a table, whose last column is text."""

    title: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    text: str = ""
    #: of columns whose contents stand to the right
    right: frozenset[int] = frozenset()


class Article(NamedTuple):
    title: str
    #: what it is
    subtitle: str
    text: str
    facts: tuple[tuple[str, str], ...] = ()
    sections: tuple[Section, ...] = ()


def message(protocol: Protocol, channel: Channel, row: Message, today: Message | None = None) -> Article:
    """``today``: the row that has its number now, if it has lost it."""
    subtitle = f"message {row.id} of {protocol.name}, {channel.name} channel"
    facts = [*_facts(protocol, channel, row)]
    if today is not None:
        facts.insert(1, ("its number", f"is now {today.name}'s; told apart by the payload's size"))
    elif row.others:
        others = ", ".join(f"{other.name} ({other.source})" for other in row.others)
        facts.insert(1, ("same number", others))
    if row.also:
        facts.insert(1, ("may also be", f"{' or '.join(row.also)}, of others, with the same number and size"))
    return Article(row.name, subtitle, row.text, tuple(facts), tuple(_sections(channel, row)))


def _facts(protocol: Protocol, channel: Channel, row: Message) -> Iterator[tuple[str, str]]:
    yield "written as", full_name(protocol, channel, row)
    if row.older:
        yield "older names", ", ".join(row.older)
    yield "sent by", protocol.ends[row.sender]
    if row.needs:
        yield "needs", " and ".join(map(condition, row.needs))
    yield "answer", _answer(channel, row)
    if row.request_fds.most:
        yield "descriptors", descriptors(row.request_fds)
    if row.reply_fds.most:
        yield "of its reply", descriptors(row.reply_fds)
    if row.notes:
        yield "note", row.notes
    yield "source", row.source


def condition(gate: Gate) -> str:
    word = "virtio feature" if gate.word == "virtio" else "protocol feature"
    drafts = f", in drafts {', '.join(map(str, gate.drafts))}" if gate.drafts else ""
    return f"{gate.name} ({word} bit {gate.bit}{drafts}{', on offer is enough' if gate.offered else ''})"


def _answer(channel: Channel, row: Message) -> str:
    if row.answer == "never":
        return "none"
    if row.answer == "ack":
        return "an acknowledgement, when NEED_REPLY asks for one"
    if row.answer != "reply":
        return "as the note says"
    forms = [layout.name for layout in row.reply or () if layout.members]
    what = f"always: {' or '.join(dict.fromkeys(forms))}" if forms else "always, without a body"
    return f"{what}; none with NO_REPLY" if channel.header.no_reply_mask else what


def descriptors(fds: Fds) -> str:
    """How many of which kind, under which conditions, and how long they matter."""
    number = str(fds.most) if fds.least == fds.most else f"{fds.least} to {fds.most}"
    text = f"{fds.role}: {number}"
    if fds.each:
        text += f", one for each of {fds.each}"
    if fds.unless:
        text += f", none with {fds.unless}"
    if fds.needs is not None:
        text += f"; needs {condition(fds.needs)}"
    if fds.channel:
        text += f"; becomes the {fds.channel} channel"
    if fds.release:
        text += f"; of use until {' or '.join(fds.release)}"
    return text


def _sections(channel: Channel, row: Message) -> Iterator[Section]:
    for layout in usual_first(row.request):
        yield structure(layout, "request")
    if not row.request:
        yield Section("request: no payload")
    replies = (ACK,) if row.reply is None and row.answer != "never" else row.reply or ()
    for layout in usual_first(replies):
        if layout.members:
            yield structure(layout, "" if layout is ACK else "reply")
        elif len(replies) > 1:
            yield Section("reply: no payload")
    data = octets_of(channel, row)
    length = channel.header.length
    shown = [*pieces(channel.header.layout, data[:length])]
    if row.request:
        shown += pieces(usual(row.request), data[length:])
    yield Section("for example, little-endian", rows=tuple(_hex_rows(shown)))


def _hex_rows(shown: list[Piece]) -> Iterator[tuple[str, ...]]:
    width = 8
    for piece in shown:
        # of many octets the first few say enough
        octets = piece.octets if len(piece.octets) <= 3 * width else piece.octets[:width]
        lines = [octets[at : at + width].hex(" ") for at in range(0, len(octets), width)]
        if len(octets) < len(piece.octets):
            lines[-1] += " …"
        for place, line in enumerate(lines):
            yield line, piece.meaning if place == 0 else ""


HEAD = ("offset", "bytes", "type", "member", "")
_RIGHT = frozenset({0, 1})


def structure(layout: Layout, what: str = "") -> Section:
    """The layout as a table."""
    conditions = [*map(condition, layout.needs)]
    if layout.when is not None:
        member, values = layout.when
        conditions.append(f"{member} {' or '.join(map(str, values))}")
    if layout.postcopy:
        conditions.append("postcopy migration under way")
    title = f"{what}: {layout.name}" if what else layout.name
    size = plan(layout, "<").size
    title += f", {number_of(size, 'byte')}" if size is not None else f", {plan(layout, '<').least} bytes and more"
    text = f"With {' and '.join(conditions)}. " if conditions else ""
    text += "Little-endian on every machine. " if layout.little_endian else ""
    text += f"{layout.text[:1].upper()}{layout.text[1:]}." if layout.text else ""
    return Section(title, HEAD, tuple(_rows(layout)), text.strip(), _RIGHT)


def _rows(layout: Layout, indent: str = "") -> Iterator[tuple[str, ...]]:
    for member, offset, size in placed(layout):
        at = "…" if offset is None else f"+{offset}" if indent else str(offset)
        if isinstance(member, Field):
            yield at, str(size), member.type, indent + member.name, _meaning(member.text, member.names, member.show)
        elif isinstance(member, Padding):
            yield at, str(size), "", f"{indent}({member.name})", ""
        elif isinstance(member, Bytes):
            yield at, str(size or member.size or "rest"), "bytes", indent + member.name, _meaning(member.text)
        elif isinstance(member, Word):
            yield at, str(size), member.type, f"{indent}(bits)", member.text
            for part in member.parts:
                last = part.low + part.width - 1
                bits = f"bit {part.low}" if part.width == 1 else f"bits {part.low}-{last}"
                yield "", "", bits, indent + part.name, _meaning(part.text, part.names)
        elif isinstance(member, Array):
            of = member.of
            each = plan(of, "<").size if isinstance(of, Layout) else None
            times = "rest" if member.times is None else f"{member.times} ×"
            kind = f"{each or '?'} bytes each" if isinstance(of, Layout) else of
            yield at, times, kind, indent + member.name, member.text
            if isinstance(of, Layout):
                yield from _rows(of, indent + "  ")
        else:
            yield from _chain_rows(member, at, indent)


def _chain_rows(chain: Chain, at: str, indent: str) -> Iterator[tuple[str, ...]]:
    yield (
        at,
        "rest",
        "chain",
        indent + chain.name,
        chain.text or f"the first at {chain.first}, each next at {chain.next}",
    )
    for layout in chain.of:
        yield "", "", "", f"{indent}  {layout.name}", ""
        yield from _rows(layout, indent + "    ")


def _meaning(text: str, names: Names | None = None, show: str = "") -> str:
    if show == "secret":
        text += "; never shown"
    if names is None or not names.names:
        return text
    if len(names.names) > _MOST_NAMES:
        listed = f"{len(names.names)} bits have names"
    else:
        # a number and its name stay on one line
        word = "bit\xa0" if names.kind == "bits" else ""
        listed = ", ".join(f"{word}{number}\xa0{name}" for number, name in names.names.items())
    return f"{text}: {listed}" if text else listed
