"""Payloads to members and back, for any row.

A layout is compiled once, when it is first met, into a plan: members of fixed length that follow each other share one
``struct``, so that most payloads are read by a single call. A payload is decoded whatever it holds: what no member
explains is kept as ``rest``, a payload too short gives the members that are there, and nothing is allocated that the
payload does not fill. So ``encode`` gives back the octets of everything that ``decode`` has read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from struct import Struct, error
from typing import Any, Literal, NamedTuple

from . import virtio
from .rows import ACK, EMPTY, Array, Bytes, Channel, Field, Gate, IntType, Layout, Message, Names, Padding, Word
from .show import Template, plain

ByteOrder = Literal["<", ">"]

CODES: Mapping[IntType, str] = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i32": "i", "i64": "q"}

#: Values whose names are remembered, for each member; a peer that counts through all of them costs time, not memory.
_MEMORY = 1024


class Context(NamedTuple):
    """What was agreed on before a message, as far as it is known (None: the capture began in the middle)."""

    virtio_features: int | None = None
    protocol_features: int | None = None
    #: type of device, as in ``virtio.DEVICES``
    device: str | None = None
    #: the back-end listens for page faults
    postcopy: bool = False


NOTHING_KNOWN = Context()


class WireError(Exception):
    """These octets of a peer can't be read; ``offset`` is theirs in the message."""

    def __init__(self, text: str, channel: str, offset: int, octets: bytes) -> None:
        super().__init__(text)
        self.channel = channel
        self.offset = offset
        self.octets = octets


class Decoded(NamedTuple):
    """A payload read by a layout.

    ``fields``: member -> int, bool (flags), bytes, dict (structures) or list (repetitions); padding and reserved bits
    only where they are not zero. Beside ``rest``, which is there when octets are left or missing, zero padding is shown
    too. ``names`` holds under the same keys what bits and values are called; its lists are shared: read them only.
    """

    layout: Layout | None
    fields: dict[str, object]
    names: dict[str, object]
    #: octets that no member explains
    rest: bytes
    #: octets that the layout wants at least, but the payload does not have
    missing: int = 0


def decode(
    message: Message, reply: bool, payload: bytes, context: Context = NOTHING_KNOWN, byte_order: ByteOrder = "<"
) -> Decoded:
    """Read the payload of a message, or of its reply.

    Of several layouts that is taken which fills the payload exactly, and has been agreed on rather than not; if none
    does, the likeliest, with octets left over or missing.
    """
    choice = _choices.get((id(message), reply, byte_order)) or _choice(message, reply, byte_order)
    plan = choice.sole
    if plan is None or plan.size != len(payload):
        return choice.decode(payload, context)
    fields = plan.unpack(payload, 0)
    return Decoded(plan.layout, fields, plan.name(fields, context) if plan.named else {}, b"")


def encode(
    message: Message,
    reply: bool,
    fields: Mapping[str, object],
    context: Context = NOTHING_KNOWN,
    byte_order: ByteOrder = "<",
) -> bytes:
    """Make a payload of members, by the first layout that has just these.

    Padding, reserved bits and flags may be left out (zero), so may a count or length of what is there. A given one is
    written as it is, wrong or not. With ``rest`` the payload may end anywhere before it.

    Raises ValueError when members lack, are too many, or don't fit their type.
    """
    return _choice(message, reply, byte_order).encode(message, fields, context)


def decode_header(channel: Channel, data: bytes, byte_order: ByteOrder = "<") -> dict[str, int]:
    """Read the header that a message begins with; WireError when it is not there whole."""
    plan = _plan(channel.header.layout, byte_order)
    if len(data) < channel.header.length:
        wanted = channel.header.length
        raise WireError(f"a header is {wanted} bytes, here are {len(data)}", channel.name, 0, bytes(data))
    fields = plan.unpack(data, 0)
    return {name: value for name, value in fields.items() if isinstance(value, int)}


def encode_header(channel: Channel, fields: Mapping[str, int], byte_order: ByteOrder = "<") -> bytes:
    """Make a header; ValueError as in ``encode``."""
    return _plan(channel.header.layout, byte_order).write(fields)


def info_line(message: Message, reply: bool, decoded: Decoded, context: Context = NOTHING_KNOWN) -> str:
    """What matters of a message, for a list; may be empty."""
    if decoded.missing:
        return f"{decoded.missing} byte{'s' * (decoded.missing > 1)} missing"
    layout = decoded.layout
    if layout is None:
        text = ""
    else:
        known = _lines.get((id(message), reply, id(layout))) or _line(message, reply, layout)
        text = known.template.format(decoded.fields)
    if decoded.rest:
        extra = f"{len(decoded.rest)} bytes more than expected"
        return f"{text}, {extra}" if text else extra
    return text


class _Line(NamedTuple):
    template: Template
    #: kept, so that their identities are not given to others
    message: Message
    layout: Layout


_lines: dict[tuple[int, bool, int], _Line] = {}


def _line(message: Message, reply: bool, layout: Layout) -> _Line:
    text = "{value}" if layout is ACK else message.reply_info if reply else message.info
    line = _lines[id(message), reply, id(layout)] = _Line(Template(text, layout), message, layout)
    return line


# ---------------------------------------------------------------------------------------------------------------------
# The alternatives of a message


class _Choice:
    """The layouts that a payload may have."""

    def __init__(self, message: Message, layouts: tuple[Layout, ...], byte_order: ByteOrder) -> None:
        self.message = message  # kept, so that its identity is not given to another
        self.plans = tuple(_plan(layout, byte_order) for layout in layouts or (EMPTY,))
        #: the only one, if nothing but its size can speak against it
        self.sole = self.plans[0] if len(self.plans) == 1 and self.plans[0].layout.when is None else None
        self._ranked: dict[tuple[int | None, int | None, bool], tuple[_Plan, ...]] = {}

    def ranked(self, context: Context) -> tuple[_Plan, ...]:
        """The plans, most likely first: agreed on or always possible, not known to be agreed on, not agreed on."""
        if len(self.plans) == 1:
            return self.plans
        key = (context.virtio_features, context.protocol_features, context.postcopy)
        ranked = self._ranked.get(key)
        if ranked is None:
            if len(self._ranked) >= _MEMORY:
                self._ranked.clear()
            ranked = tuple(sorted(self.plans, key=lambda plan: _doubt(plan.layout, context)))
            self._ranked[key] = ranked
        return ranked

    def decode(self, payload: bytes, context: Context) -> Decoded:
        likeliest: Decoded | None = None
        for plan in self.ranked(context):
            fields, rest, missing = plan.read(payload)
            when = plan.layout.when
            if when is not None and fields.get(when[0]) not in when[1]:
                continue
            if not rest and not missing:
                return Decoded(plan.layout, fields, plan.name(fields, context), b"")
            if likeliest is None:
                fields["rest"] = rest
                likeliest = Decoded(plan.layout, fields, plan.name(fields, context), rest, missing)
        return likeliest or Decoded(None, {"rest": payload}, {}, payload)

    def encode(self, message: Message, fields: Mapping[str, object], context: Context) -> bytes:
        trouble: ValueError | None = None
        for plan in self.ranked(context):
            try:
                return plan.write(fields)
            except ValueError as wrong:
                trouble = trouble or wrong
        raise ValueError(f"{message.name}: {trouble}")


_choices: dict[tuple[int, bool, ByteOrder], _Choice] = {}


def _choice(message: Message, reply: bool, byte_order: ByteOrder) -> _Choice:
    key = (id(message), reply, byte_order)
    choice = _choices.get(key)
    if choice is None:
        layouts = message.request if not reply else (ACK,) if message.reply is None else message.reply
        choice = _choices[key] = _Choice(message, layouts, byte_order)
    return choice


def _doubt(layout: Layout, context: Context) -> int:
    """0: this layout may be; 1: it needs what is not known; 2: it needs what was not agreed on."""
    if layout.postcopy and not context.postcopy:
        return 2
    return max((_disagreed(gate, context) for gate in layout.needs), default=0)


def _disagreed(gate: Gate, context: Context) -> int:
    word = context.virtio_features if gate.word == "virtio" else context.protocol_features
    if word is None:
        return 1
    return 0 if word >> gate.bit & 1 else 2


# ---------------------------------------------------------------------------------------------------------------------
# The plan of a layout

# Any: what a struct's code makes of octets, bytes or an integer
Expand = Callable[[Any], Mapping[str, object]]
Collect = Callable[[Mapping[str, object]], object]
Unpack = Callable[[bytes, int], dict[str, object]]


class _Item(NamedTuple):
    """A member of fixed length, which is one value for ``struct``."""

    #: where the value goes; of a word: its first part
    name: str
    code: str
    #: the names under which it may appear
    names: tuple[str, ...]
    #: the value's members; None: the value itself is the member
    expand: Expand | None
    collect: Collect
    padding: bool = False


class _Run:
    """Items that follow each other."""

    def __init__(self, items: tuple[_Item, ...], byte_order: ByteOrder) -> None:
        self.items = items
        self.byte_order = byte_order
        self.struct = Struct(byte_order + "".join(item.code for item in items))
        self.size = self.struct.size
        self.unpack = _unpacker(self.struct, items)

    def unpack_some(self, data: bytes, at: int) -> tuple[dict[str, object], int]:
        """The items that are there, zero padding too, and where the next would start."""
        fields: dict[str, object] = {}
        for item in self.items:
            one = Struct(self.byte_order + item.code)
            if at + one.size > len(data):
                break
            (value,) = one.unpack_from(data, at)
            fields.update({item.name: value} if item.expand is None or item.padding else item.expand(value))
            at += one.size
        return fields, at

    def pack(self, fields: Mapping[str, object], last: int) -> bytes:
        """The first ``last`` items."""
        items = self.items[:last]
        try:
            values = [item.collect(fields) for item in items]
            if last == len(self.items):
                return self.struct.pack(*values)
            return Struct(self.byte_order + "".join(item.code for item in items)).pack(*values)
        except error as wrong:
            names = ", ".join(item.name for item in items)
            raise ValueError(f"a value of {names} does not fit: {wrong}") from None


def _unpacker(struct: Struct, items: tuple[_Item, ...]) -> Unpack:
    """The quickest way to these items: most messages have one or two, most of them without parts."""
    unpack = struct.unpack_from
    names = tuple(item.name for item in items)
    first, second = (*names, "")[:2]
    ways = tuple((item.name, item.expand) for item in items)

    def several(data: bytes, at: int) -> dict[str, object]:
        fields: dict[str, object] = {}
        for (name, expand), value in zip(ways, unpack(data, at), strict=False):
            if expand is None:
                fields[name] = value
            else:
                fields.update(expand(value))
        return fields

    def simple(data: bytes, at: int) -> dict[str, object]:
        return dict(zip(names, unpack(data, at), strict=False))

    def pair(data: bytes, at: int) -> dict[str, object]:
        one, other = unpack(data, at)
        return {first: one, second: other}

    def single(data: bytes, at: int) -> dict[str, object]:
        return {first: unpack(data, at)[0]}

    if any(item.expand is not None for item in items):
        return several
    return (single, pair)[len(items) - 1] if len(items) < 3 else simple


class _Octets(NamedTuple):
    """Octets whose number another member tells (None: all that are left)."""

    name: str
    size: str | None


class _Repeat(NamedTuple):
    """Structures or integers, as many as ``times`` tells."""

    name: str
    element: _Plan | Struct
    #: of one of them; at least, if they differ
    element_size: int
    times: int | str | None


_Step = _Run | _Octets | _Repeat


class _Plan:
    """A layout, ready to be read and written in one byte order."""

    def __init__(self, layout: Layout, byte_order: ByteOrder) -> None:
        self.layout = layout
        self.steps = tuple(_steps(layout, byte_order))
        runs = [step for step in self.steps if isinstance(step, _Run)]
        #: its length in bytes; None if that depends on its contents
        self.size: int | None = None
        #: read it from octets that hold all of it, at an offset
        self.unpack: Unpack = self._unpack
        #: the octets that it has at least
        self.least = sum(run.size for run in runs)
        if not self.steps:
            self.size, self.unpack = 0, _no_members
        elif len(runs) == len(self.steps) == 1:
            self.size, self.unpack = self.least, runs[0].unpack
        else:
            for step in self.steps:
                if isinstance(step, _Repeat) and isinstance(step.times, int):
                    self.least += step.times * step.element_size
            if all(_is_fixed(step) for step in self.steps):
                self.size = self.least
        self.names = frozenset(name for step in self.steps for name in _names(step))
        self.named = tuple(_namers(layout, byte_order))
        #: the member that says how much of another there is -> that other
        self.counts = {
            how_many: step.name
            for step in self.steps
            if not isinstance(step, _Run) and isinstance(how_many := _how_many(step), str)
        }

    def _unpack(self, data: bytes, at: int) -> dict[str, object]:
        return self.read_at(data, at)[0]

    def name(self, fields: Mapping[str, object], context: Context) -> dict[str, object]:
        """What the values of the members are called, where they are called something."""
        names: dict[str, object] = {}
        for member, namer in self.named:
            if member in fields:
                found = namer(fields[member], fields, context)
                if found:
                    names[member] = found
        return names

    def read(self, data: bytes) -> tuple[dict[str, object], bytes, int]:
        """The members, what is left over, and how many octets are missing at least."""
        fields, at, missing = self.read_at(data, 0)
        if missing or at < len(data):
            # told apart from what is not there: padding that is there
            fields, at = self._read_all(data)
        return fields, data[at:], missing

    def read_at(self, data: bytes, at: int) -> tuple[dict[str, object], int, int]:
        """As ``read``, from an offset; gives the offset behind it instead of what is left over."""
        fields: dict[str, object] = {}
        for step in self.steps:
            left = len(data) - at
            if isinstance(step, _Run):
                if left < step.size:
                    return fields, at, step.size - left
                fields = {**fields, **step.unpack(data, at)} if fields else step.unpack(data, at)
                at += step.size
            elif isinstance(step, _Octets):
                size = left if step.size is None else _number(fields, step.size)
                if left < size:
                    return fields, at, size - left
                fields[step.name] = data[at : at + size]
                at += size
            else:
                elements, at, missing = _read_repeat(step, fields, data, at)
                fields[step.name] = elements
                if missing:
                    return fields, at, missing
        return fields, at, 0

    def _read_all(self, data: bytes) -> tuple[dict[str, object], int]:
        """Each member that is there whole, zero padding too, and the offset behind them."""
        fields: dict[str, object] = {}
        at = 0
        for step in self.steps:
            if isinstance(step, _Run):
                some, end = step.unpack_some(data, at)
                fields.update(some)
                if end - at < step.size:
                    return fields, end
                at = end
            elif isinstance(step, _Octets):
                size = len(data) - at if step.size is None else _number(fields, step.size)
                if len(data) - at < size:
                    return fields, at
                fields[step.name] = data[at : at + size]
                at += size
            else:
                fields[step.name], at, missing = _read_repeat(step, fields, data, at)
                if missing:
                    return fields, at
        return fields, at

    def write(self, fields: Mapping[str, object]) -> bytes:
        """The octets of these members; ValueError as in ``encode``."""
        unknown = fields.keys() - self.names - {"rest"}
        if unknown:
            raise ValueError(f"no member {', '.join(map(repr, sorted(unknown)))} in {self.layout.name}")
        for number, counted in self.counts.items():
            if number not in fields and counted in fields:
                fields = {**fields, number: len(_sized(fields[counted], counted))}
        cut = "rest" in fields
        pieces: list[bytes] = []
        for place, step in enumerate(self.steps):
            if isinstance(step, _Run):
                last = len(step.items)
                if cut and not any(name in fields for later in self.steps[place + 1 :] for name in _names(later)):
                    while last and not any(name in fields for name in step.items[last - 1].names):
                        last -= 1
                pieces.append(step.pack(fields, last))
            elif step.name not in fields:
                if cut:
                    break
                raise ValueError(f"{self.layout.name} lacks its member '{step.name}'")
            elif isinstance(step, _Octets):
                pieces.append(_octets(fields[step.name], step.name))
            else:
                pieces.append(_write_repeat(step, fields[step.name]))
        if cut:
            pieces.append(_octets(fields["rest"], "rest"))
        return b"".join(pieces)


#: By the layout's identity, which is not given to another: the plan holds the layout.
_plans: dict[tuple[int, ByteOrder], _Plan] = {}


def _plan(layout: Layout, byte_order: ByteOrder) -> _Plan:
    key = (id(layout), byte_order)
    plan = _plans.get(key)
    if plan is None:
        plan = _plans[key] = _Plan(layout, byte_order)
    return plan


def _no_members(data: bytes, at: int) -> dict[str, object]:
    return {}


def _steps(layout: Layout, byte_order: ByteOrder) -> Iterator[_Step]:
    run: list[_Item] = []
    for member in layout.members:
        item = _item(member) if not isinstance(member, Array) else None
        if item is not None:
            run.append(item)
            continue
        if run:
            yield _Run(tuple(run), byte_order)
            run = []
        if isinstance(member, Bytes) and not isinstance(member.size, int):
            yield _Octets(member.name, member.size)
        elif isinstance(member, Array):
            yield _repeat(member, byte_order)
    if run:
        yield _Run(tuple(run), byte_order)


def _item(member: Field | Word | Bytes | Padding) -> _Item | None:
    if isinstance(member, Field):
        return _Item(member.name, CODES[member.type], (member.name,), None, _required(member.name))
    if isinstance(member, Padding):
        return _padding(member)
    if isinstance(member, Word):
        return _word(member)
    if isinstance(member.size, int):
        return _Item(member.name, f"{member.size}s", (member.name,), None, _octets_of(member.name, member.size))
    return None


def _required(name: str) -> Collect:
    def collect(fields: Mapping[str, object]) -> object:
        try:
            return fields[name]
        except KeyError:
            raise ValueError(f"member '{name}' is missing") from None

    return collect


def _octets_of(name: str, size: int) -> Collect:
    required = _required(name)

    def collect(fields: Mapping[str, object]) -> object:
        return _exactly(_octets(required(fields), name), size, name)

    return collect


def _padding(member: Padding) -> _Item:
    name, zeros = member.name, bytes(member.size)
    nothing: Mapping[str, object] = {}

    def expand(value: bytes) -> Mapping[str, object]:
        return nothing if value == zeros else {name: value}

    def collect(fields: Mapping[str, object]) -> object:
        return _exactly(_octets(fields.get(name, zeros), name), member.size, name)

    return _Item(name, f"{member.size}s", (name,), expand, collect, padding=True)


def _word(word: Word) -> _Item:
    parts = word.parts
    masks = [(part.name, part.low, (1 << part.width) - 1, part.flag) for part in parts]
    unexplained = ~sum(mask << low for _, low, mask, _ in masks)
    width = 8 * Struct("<" + CODES[word.type]).size
    memory: dict[int, Mapping[str, object]] = {}

    def expand(value: int) -> Mapping[str, object]:
        found = memory.get(value)
        if found is None:
            if len(memory) >= _MEMORY:
                memory.clear()
            members: dict[str, object] = {
                name: bool(value >> low & mask) if flag else value >> low & mask for name, low, mask, flag in masks
            }
            if value & unexplained:
                members["reserved"] = value & unexplained
            found = memory[value] = members
        return found

    def collect(fields: Mapping[str, object]) -> object:
        value = _integer(fields.get("reserved", 0), "reserved")
        if value & ~unexplained or value >> width:
            raise ValueError(f"reserved {value:#x} has bits of other members")
        for name, low, mask, flag in masks:
            if name not in fields and not flag:
                raise ValueError(f"member '{name}' is missing")
            part = _integer(fields.get(name, 0), name)
            if part & ~mask:
                raise ValueError(f"{name} {part} does not fit into {mask.bit_length()} bits")
            value |= part << low
        return value

    return _Item(parts[0].name, CODES[word.type], (*(part.name for part in parts), "reserved"), expand, collect)


def _repeat(member: Array, byte_order: ByteOrder) -> _Repeat:
    if isinstance(member.of, str):
        struct = Struct(byte_order + CODES[member.of])
        return _Repeat(member.name, struct, struct.size, member.times)
    plan = _plan(member.of, byte_order)
    if not plan.least:
        raise ValueError(f"{member.of.name} may be empty: endless repetitions of it fit into nothing")
    return _Repeat(member.name, plan, plan.least, member.times)


def _read_repeat(
    step: _Repeat, fields: Mapping[str, object], data: bytes, at: int
) -> tuple[list[object], int, int]:
    """The repetitions that are there whole, the offset behind them, and the octets missing at least."""
    fit = (len(data) - at) // step.element_size
    times = fit if step.times is None else step.times if isinstance(step.times, int) else _number(fields, step.times)
    number = min(times, fit)
    elements: list[object] = []
    if isinstance(step.element, Struct):
        end = at + number * step.element_size
        elements = [value for (value,) in step.element.iter_unpack(data[at:end])]
        at = end
    elif step.element.size is not None:
        unpack, size = step.element.unpack, step.element.size
        elements = [unpack(data, at + place * size) for place in range(number)]
        at += number * size
    else:
        for _ in range(number):
            element, end, missing = step.element.read_at(data, at)
            if missing:
                break
            elements.append(element)
            at = end
    if step.times is None or len(elements) == times:
        return elements, at, 0
    return elements, at, (times - len(elements)) * step.element_size - (len(data) - at)


def _write_repeat(step: _Repeat, elements: object) -> bytes:
    if not isinstance(elements, list | tuple):
        raise ValueError(f"{step.name} is a list, not {elements!r}")
    if isinstance(step.element, Struct):
        try:
            return b"".join(map(step.element.pack, elements))
        except error as wrong:
            raise ValueError(f"a value of {step.name} does not fit: {wrong}") from None
    pieces: list[bytes] = []
    for element in elements:
        if not isinstance(element, Mapping) or "rest" in element:
            raise ValueError(f"{step.name} is a list of whole structures, not of {element!r}")
        pieces.append(step.element.write(element))
    return b"".join(pieces)


def _is_fixed(step: _Step) -> bool:
    if isinstance(step, _Repeat):
        return isinstance(step.times, int) and (isinstance(step.element, Struct) or step.element.size is not None)
    return isinstance(step, _Run)


def _names(step: _Step) -> tuple[str, ...]:
    if isinstance(step, _Run):
        return tuple(name for item in step.items for name in item.names)
    return (step.name,)


def _how_many(step: _Octets | _Repeat) -> int | str | None:
    return step.size if isinstance(step, _Octets) else step.times


# What others send may be anything, and so may what a caller gives.


def _number(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name, 0)
    return max(value, 0) if isinstance(value, int) else 0


def _integer(value: object, name: str) -> int:
    if isinstance(value, int) and value >= 0:
        return value
    raise ValueError(f"{name} is a number, not {value!r}")


def _octets(value: object, name: str) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise ValueError(f"{name} is octets, not {value!r}")


def _exactly(octets: bytes, size: int, name: str) -> bytes:
    if len(octets) != size:
        raise ValueError(f"{name} is {size} bytes, not {len(octets)}")
    return octets


def _sized(value: object, name: str) -> bytes | list[object] | tuple[object, ...]:
    if isinstance(value, bytes | list | tuple):
        return value
    raise ValueError(f"{name} can't be {value!r}")


# ---------------------------------------------------------------------------------------------------------------------
# Names of values

Namer = Callable[[Any, Mapping[str, object], Context], object]


def _namers(layout: Layout, byte_order: ByteOrder) -> Iterator[tuple[str, Namer]]:
    for member in layout.members:
        if isinstance(member, Field) and member.names is not None:
            yield member.name, _value_namer(member.names)
        elif isinstance(member, Bytes) and member.show == "config":
            yield member.name, _config_namer(byte_order)
        elif isinstance(member, Array) and not isinstance(member.of, str):
            plan = _plan(member.of, byte_order)
            if plan.named:
                yield member.name, _element_namer(plan)


def _value_namer(names: Names) -> Namer:
    memory: dict[tuple[object, str | None], object] = {}

    def name(value: int, fields: Mapping[str, object], context: Context) -> object:
        device = context.device if names.device else None
        found = memory.get((value, device))
        if found is None:
            if len(memory) >= _MEMORY:
                memory.clear()
            if names.kind == "values":
                found = names.names.get(value, "")
            elif names.device:
                found = virtio.feature_names(value, device)
            else:
                found = names.bits(value)
            memory[value, device] = found
        return found

    return name


def _config_namer(byte_order: ByteOrder) -> Namer:
    def name(value: bytes, fields: Mapping[str, object], context: Context) -> object:
        if context.device is None:
            return None
        # of a legacy device it is in the guest's byte order, which is taken to be this machine's
        modern = context.virtio_features is None or context.virtio_features >> 32 & 1
        layout = virtio.config_layout(context.device, context.virtio_features)
        if layout is None:
            return None
        return read_piece(layout, value, _number(fields, "offset"), "<" if modern else byte_order)

    return name


def _element_namer(plan: _Plan) -> Namer:
    def name(value: list[dict[str, object]], fields: Mapping[str, object], context: Context) -> object:
        names = [plan.name(element, context) for element in value]
        return names if any(names) else None

    return name


def read_piece(layout: Layout, data: bytes, offset: int = 0, byte_order: ByteOrder = "<") -> dict[str, object]:
    """The members of a structure that lie in a piece of it, which starts at ``offset``.

    Octets shown as text or address are strings.
    """
    found: dict[str, object] = {}
    at = 0
    for member in layout.members:
        if isinstance(member, Array):
            break
        item = _item(member)
        if item is None:
            if isinstance(member, Bytes) and isinstance(member.size, str) and offset <= at:
                size = _number(found, member.size)
                if at + size <= offset + len(data):
                    found[member.name] = plain(data[at - offset : at - offset + size], member.show)
            break
        one = Struct(byte_order + item.code)
        if offset <= at and at + one.size <= offset + len(data):
            (value,) = one.unpack_from(data, at - offset)
            if item.expand is not None:
                found.update(item.expand(value))
            elif isinstance(member, Bytes):
                found[item.name] = plain(value, member.show) if member.show else value
            else:
                found[item.name] = value
        at += one.size
    return found
