"""Payloads to members and back, for any row.

A payload is decoded whatever it holds: what no member explains is kept as ``rest``, and a payload too short gives the
members that are there. So ``encode`` gives back the octets of everything that ``decode`` has read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .context import NOTHING_KNOWN, Context, doubt
from .items import MEMORY, ByteOrder
from .names import read_piece
from .once import once
from .plan import Plan, plan
from .rows import ACK, EMPTY, Channel, Layout, Message
from .show import Template, number_of
from .unpack import Whole

__all__ = [
    "NOTHING_KNOWN", "ByteOrder", "Context", "Decoded", "WireError", "decode", "decode_header", "encode",
    "encode_header", "info_line", "read_piece",
]  # fmt: skip


class WireError(Exception):
    """These octets of a peer can't be read; ``offset`` is theirs in the message."""

    def __init__(self, text: str, channel: str, offset: int, octets: bytes) -> None:
        super().__init__(text)
        self.channel = channel
        self.offset = offset
        self.octets = octets


_new = tuple.__new__


class _Decoded(NamedTuple):
    layout: Layout | None
    fields: dict[str, object]
    #: octets that no member explains
    rest: bytes
    #: octets that the layout wants at least, but the payload does not have
    missing: int = 0
    #: what knows the names of values, and what they depend on besides
    plan: Plan | None = None
    context: Context = NOTHING_KNOWN


class Decoded(_Decoded):
    """A payload read by a layout.

    ``fields``: member -> int, bool (flags), bytes, dict (structures) or list (repetitions); padding and reserved bits
    only where they are not zero. Beside ``rest``, which is there when octets are left or missing, zero padding is shown
    too. Values are named when somebody asks.
    """

    @once
    def names(self) -> dict[str, object]:
        """Under the same keys what bits and values are called; its lists are shared: read them only."""
        plan = self.plan
        return plan.name(self.fields, self.context) if plan is not None and plan.has_names else {}


def decode(
    message: Message, reply: bool, payload: bytes, context: Context = NOTHING_KNOWN, byte_order: ByteOrder = "<"
) -> Decoded:
    """Read the payload of a message, or of its reply.

    Of several layouts that is taken which fills the payload exactly, and has been agreed on rather than not; if none
    does, the likeliest, with octets left over or missing.
    """
    return forms(message, reply, byte_order).decode(payload, 0, context)


def encode(
    message: Message,
    reply: bool,
    fields: Mapping[str, object],
    context: Context = NOTHING_KNOWN,
    byte_order: ByteOrder = "<",
) -> bytes:
    """Make a payload of members, by the likeliest layout that has just these.

    Padding, reserved bits and flags may be left out (zero), so may a count or length of what is there. A given one is
    written as it is, wrong or not. With ``rest`` the members may end anywhere before it.

    Raises ValueError when members lack, are unknown, or don't fit their type.
    """
    return forms(message, reply, byte_order).encode(fields, context)


def decode_header(channel: Channel, data: bytes, byte_order: ByteOrder = "<") -> dict[str, int]:
    """Read the header that a message begins with; WireError when it is not there whole."""
    header = channel.header
    if len(data) < header.length:
        text = f"{channel.name}: a header is {header.length} bytes, here are {len(data)}"
        raise WireError(text, channel.name, 0, bytes(data))
    fields = plan(header.layout, byte_order).unpack(data, 0)
    return {name: value for name, value in fields.items() if isinstance(value, int)}


def encode_header(channel: Channel, fields: Mapping[str, int], byte_order: ByteOrder = "<") -> bytes:
    """Make a header; ValueError as in ``encode``."""
    return plan(channel.header.layout, byte_order).write(fields)


def info_line(message: Message, reply: bool, decoded: Decoded) -> str:
    """What matters of a message, for a list; may be empty."""
    if decoded.missing:
        return f"{number_of(decoded.missing, 'byte')} missing"
    text = ""
    layout = decoded.layout
    if layout is not None:
        known = _lines.get((id(message), reply, id(layout))) or _line(message, reply, layout)
        text = known.template.format(decoded.fields)
    if decoded.rest:
        more = f"{number_of(len(decoded.rest), 'byte')} more than expected"
        return f"{text}, {more}" if text else more
    return text


# What is made once for each row is kept by the row's identity, and keeps the row, so that the identity stays its own:
# rows are too large to be compared for every message.


class _Line(NamedTuple):
    template: Template
    message: Message
    layout: Layout


_lines: dict[tuple[int, bool, int], _Line] = {}


def _line(message: Message, reply: bool, layout: Layout) -> _Line:
    text = "{value}" if layout is ACK else message.reply_info if reply else message.info
    line = _lines[id(message), reply, id(layout)] = _Line(Template(text, layout), message, layout)
    return line


#: the plans that may fill a payload of one size, likeliest first, each with how it is read and its layout
_Fitting = tuple[tuple[Whole, Layout, Plan], ...]


class Forms:
    """The layouts that a payload may have."""

    def __init__(self, message: Message, reply: bool, byte_order: ByteOrder) -> None:
        layouts = message.request if not reply else (ACK,) if message.reply is None else message.reply
        self.message = message
        self.plans = tuple(plan(layout, byte_order) for layout in layouts or (EMPTY,))
        #: the context that was asked for last, and for it: size of a payload -> the plans that may fill it. One value:
        #: readers in several threads must not see the one without the other
        self._latest: tuple[Context, dict[int, _Fitting]] = (NOTHING_KNOWN, {})
        self._ranked: dict[Context, tuple[Plan, ...]] = {}

    def ranked(self, context: Context) -> tuple[Plan, ...]:
        """The plans, likeliest first: by what was agreed on, then in the order of the row."""
        ranked = self._ranked.get(context)
        if ranked is None:
            if len(self._ranked) >= MEMORY:
                self._ranked.clear()
            ranked = tuple(sorted(self.plans, key=lambda one: doubt(one.layout, context)))
            self._ranked[context] = ranked
        return ranked

    def decode(self, data: bytes, at: int, context: Context) -> Decoded:
        """Read the payload that begins at an offset. Every view of a long capture comes by here."""
        known, fitting = self._latest
        if known is not context:
            fitting = fitting if known == context else {}
            self._latest = (context, fitting)
        size = len(data) - at
        for whole, layout, one in fitting.get(size) or self._fits(size, context, fitting):
            fields = whole(data, at)
            if fields is not None:
                # what Decoded(...) does, without its detour
                return _new(Decoded, (layout, fields, b"", 0, one, context))
        return self._inexact(data[at:], context)

    def _fits(self, size: int, context: Context, fitting: dict[int, _Fitting]) -> _Fitting:
        if len(fitting) >= MEMORY:
            fitting.clear()
        may = [one for one in self.ranked(context) if (size == one.size if one.size is not None else size >= one.least)]
        found = fitting[size] = tuple((one.whole, one.layout, one) for one in may)
        return found

    def _inexact(self, payload: bytes, context: Context) -> Decoded:
        """What no layout explains to its end: the likeliest, with octets left over or missing."""
        for one in self.ranked(context):
            fields, rest, missing = one.read(payload)
            if one.suits(fields):
                fields["rest"] = rest
                return Decoded(one.layout, fields, rest, missing, one, context)
        return Decoded(None, {"rest": payload}, payload)

    def encode(self, fields: Mapping[str, object], context: Context) -> bytes:
        trouble: ValueError | None = None
        for one in self.ranked(context):
            try:
                return one.write(fields)
            except ValueError as wrong:
                trouble = trouble or wrong
        raise ValueError(f"{self.message.name}: {trouble}")


_forms: dict[tuple[int, bool, ByteOrder], Forms] = {}


def forms(message: Message, reply: bool, byte_order: ByteOrder) -> Forms:
    """How the payload of a message, or of its reply, is read and written."""
    key = (id(message), reply, byte_order)
    found = _forms.get(key)
    if found is None:
        found = _forms[key] = Forms(message, reply, byte_order)
    return found
