"""The quickest way from octets to the members of a run, by its shape.

A displayed dict costs a third of ``dict(zip(...))``, so runs of up to four plain members, which most are, have one.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from .items import Item

Fields = dict[str, object]
#: octets, and where in them the run begins; it is there whole
Unpack = Callable[[bytes, int], Fields]


def unpacker(struct: Struct, items: tuple[Item, ...]) -> Unpack:
    """How to read these items, for which ``struct`` is made."""
    names = [each.name for each in items]
    expand = [each.expand for each in items]
    if any(each is not None for each in expand):
        return _with_parts(struct, items)
    return _PLAIN[len(names)](struct, *names) if len(names) in _PLAIN else _many(struct, names)


def _with_parts(struct: Struct, items: tuple[Item, ...]) -> Unpack:
    unpack = struct.unpack_from
    names = [each.name for each in items]
    expansions = [each.expand for each in items]
    only = expansions[0] if len(items) == 1 else None

    def several(data: bytes, at: int) -> Fields:
        fields: Fields = {}
        for name, expand, value in zip(names, expansions, unpack(data, at), strict=False):
            if expand is None:
                fields[name] = value
            else:
                fields.update(expand[value])
        return fields

    if only is None:
        return several
    return lambda data, at: dict(only[unpack(data, at)[0]])


def _many(struct: Struct, names: list[str]) -> Unpack:
    unpack = struct.unpack_from
    return lambda data, at: dict(zip(names, unpack(data, at), strict=False))


def _one(struct: Struct, a: str) -> Unpack:
    unpack = struct.unpack_from
    return lambda data, at: {a: unpack(data, at)[0]}


def _two(struct: Struct, a: str, b: str) -> Unpack:
    unpack = struct.unpack_from

    def read(data: bytes, at: int) -> Fields:
        u, v = unpack(data, at)
        return {a: u, b: v}

    return read


def _three(struct: Struct, a: str, b: str, c: str) -> Unpack:
    unpack = struct.unpack_from

    def read(data: bytes, at: int) -> Fields:
        u, v, w = unpack(data, at)
        return {a: u, b: v, c: w}

    return read


def _four(struct: Struct, a: str, b: str, c: str, d: str) -> Unpack:
    unpack = struct.unpack_from

    def read(data: bytes, at: int) -> Fields:
        u, v, w, x = unpack(data, at)
        return {a: u, b: v, c: w, d: x}

    return read


_PLAIN: dict[int, Callable[..., Unpack]] = {1: _one, 2: _two, 3: _three, 4: _four}
