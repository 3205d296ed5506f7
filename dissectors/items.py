"""Members of fixed length: each is one value for ``struct``, and knows what that value shows as and is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Literal, NamedTuple

from .rows import Bytes, Field, IntType, Padding, Part, Word

ByteOrder = Literal["<", ">"]

CODES: Mapping[IntType, str] = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i32": "i", "i64": "q"}
#: the octets of an integer
WIDTHS: Mapping[IntType, int] = {name: Struct(f"={code}").size for name, code in CODES.items()}

#: Values that are remembered for each member; a peer that counts through all of them costs time, not memory.
MEMORY = 1024

#: value (Any: what a struct's code makes of octets, bytes or an integer) -> its members; it fills itself
Expand = Mapping[Any, Mapping[str, object]]
Collect = Callable[[Mapping[str, object]], object]


class Item(NamedTuple):
    """One value."""

    #: where it goes; of a word: its first part
    name: str
    #: its ``struct`` code
    code: str
    #: the names under which it may appear
    names: tuple[str, ...]
    #: the value's members; None: the value itself is the member
    expand: Expand | None
    #: makes the value of the members; ValueError when they lack or can't be
    collect: Collect
    padding: bool = False


def item(member: Field | Word | Bytes | Padding) -> Item | None:
    """The value that a member is; None when its length differs from message to message."""
    if isinstance(member, Field):
        return Item(member.name, CODES[member.type], (member.name,), None, _required(member.name))
    if isinstance(member, Padding):
        return _padding(member)
    if isinstance(member, Word):
        return _word(member)
    if isinstance(member.size, int):
        return Item(member.name, f"{member.size}s", (member.name,), None, _octets_of(member.name, member.size))
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
        return _exactly(octets(required(fields), name), size, name)

    return collect


def _padding(member: Padding) -> Item:
    name, zeros = member.name, bytes(member.size)

    def collect(fields: Mapping[str, object]) -> object:
        return _exactly(octets(fields.get(name, zeros), name), member.size, name)

    return Item(name, f"{member.size}s", (name,), _Hidden(name, zeros), collect, padding=True)


def _word(word: Word) -> Item:
    masks = [(part.name, part.low, (1 << part.width) - 1, part.flag) for part in word.parts]
    unexplained = ~sum(mask << low for _, low, mask, _ in masks)
    width = 8 * WIDTHS[word.type]

    def collect(fields: Mapping[str, object]) -> object:
        value = _natural(fields.get("reserved", 0), "reserved")
        if value & ~unexplained or value >> width:
            raise ValueError(f"reserved {value:#x} has bits that are not reserved")
        for name, low, mask, flag in masks:
            if name not in fields and not flag:
                raise ValueError(f"member '{name}' is missing")
            part = _natural(fields.get(name, 0), name)
            if part & ~mask:
                raise ValueError(f"{name} {part} does not fit into {mask.bit_length()} bits")
            value |= part << low
        return value

    names = (*(part.name for part in word.parts), "reserved")
    return Item(names[0], CODES[word.type], names, _Parts(word.parts), collect)


class _Hidden(dict[bytes, Mapping[str, object]]):
    """Padding: no members while it is zero."""

    def __init__(self, name: str, zeros: bytes) -> None:
        super().__init__({zeros: {}})
        self._name = name

    def __missing__(self, value: bytes) -> Mapping[str, object]:
        return {self._name: value}


class _Parts(dict[int, Mapping[str, object]]):
    """The parts of a word; values that were met are remembered."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        super().__init__()
        self._parts = parts

    def __missing__(self, value: int) -> Mapping[str, object]:
        if len(self) >= MEMORY:
            self.clear()
        members: dict[str, object] = {}
        rest = value
        for part in self._parts:
            bits = value >> part.low & (1 << part.width) - 1
            members[part.name] = bool(bits) if part.flag else bits
            rest &= ~(bits << part.low)
        if rest:
            members["reserved"] = rest
        self[value] = members
        return members


def octets(value: object, name: str) -> bytes:
    """The value, if it is octets; else ValueError."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise ValueError(f"{name} is octets, not {value!r}")


def _exactly(value: bytes, size: int, name: str) -> bytes:
    if len(value) != size:
        raise ValueError(f"{name} is {size} bytes, not {len(value)}")
    return value


def _natural(value: object, name: str) -> int:
    if isinstance(value, int) and value >= 0:
        return value
    raise ValueError(f"{name} is a number, not {value!r}")
