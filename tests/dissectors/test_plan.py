"""Shapes of layouts that rows may have, each read, written, cut short and overlong."""

from __future__ import annotations

import pytest

from vhostspy.dissectors.items import MEMORY
from vhostspy.dissectors.plan import plan
from vhostspy.dissectors.rows import Array, Bytes, Field, Layout, Member, Padding, Part, Word

#: a structure as long as it says
NAMED = Layout("named", (Field("length", "u8"), Bytes("name", "length")), "here")

WORD = Word("u8", (Part("low", 0, 4), Part("top", 7, 1, flag=True)))
ROW = Layout("row", (Array("cells", "u8", 2),), "here")

#: what is shown -> its members, their values, their octets
SHAPES: dict[str, tuple[tuple[Member, ...], dict[str, object], str]] = {
    "all that is left": (
        (Field("kind", "u8"), Bytes("data", None)),
        {"kind": 1, "data": b"abc"},
        "01 616263",
    ),
    "octets counted by an earlier member": (
        (Field("length", "u16"), Padding(1), Bytes("data", "length")),
        {"length": 3, "data": b"abc"},
        "0300 00 616263",
    ),
    "integers, as many as fit": (
        (Array("values", "u16", None),),
        {"values": [1, 258]},
        "0100 0201",
    ),
    "integers, counted": (
        (Field("count", "u32"), Array("values", "i32", "count"), Field("end", "u8")),
        {"count": 2, "values": [-1, 5], "end": 9},
        "02000000 ffffffff 05000000 09",
    ),
    "structures of any length, counted": (
        (Field("count", "u8"), Array("names", NAMED, "count")),
        {"count": 2, "names": [{"length": 2, "name": b"ab"}, {"length": 0, "name": b""}]},
        "02 02 6162 00",
    ),
    "structures of any length, as many as fit": (
        (Array("names", NAMED, None),),
        {"names": [{"length": 1, "name": b"a"}, {"length": 2, "name": b"bc"}]},
        "01 61 02 6263",
    ),
    "structures in structures": (
        (Array("rows", ROW, 2),),
        {"rows": [{"cells": [1, 2]}, {"cells": [3, 4]}]},
        "01 02 03 04",
    ),
    "a word among integers": (
        (Field("a", "u8"), WORD, Field("b", "u8")),
        {"a": 1, "low": 2, "top": True, "reserved": 0x30, "b": 3},
        "01 b2 03",
    ),
    "six integers": (
        tuple(Field(name, "u8") for name in "abcdef"),
        {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6},
        "01 02 03 04 05 06",
    ),
    "three integers": (
        tuple(Field(name, "u8") for name in "abc"),
        {"a": 1, "b": 2, "c": 3},
        "01 02 03",
    ),
}

each_shape = pytest.mark.parametrize(
    ("layout", "fields", "octets"),
    [
        (Layout(name, members, "here"), fields, bytes.fromhex(octets))
        for name, (members, fields, octets) in SHAPES.items()
    ],
    ids=list(SHAPES),
)


@each_shape
def test_read_and_written(layout: Layout, fields: dict[str, object], octets: bytes) -> None:
    assert plan(layout, "<").read(octets) == (fields, b"", 0)
    assert plan(layout, "<").write(fields) == octets
    size = plan(layout, "<").size
    assert size in (None, len(octets))
    assert plan(layout, "<").least <= len(octets)


@each_shape
@pytest.mark.parametrize("more", [b"", b"\1", bytes(9)], ids=["whole", "one more", "nine more"])
def test_written_as_it_was_read_from_any_number_of_octets(
    layout: Layout, fields: dict[str, object], octets: bytes, more: bytes
) -> None:
    whole = octets + more
    for length in range(len(whole) + 1):
        found, rest, missing = plan(layout, "<").read(whole[:length])
        assert plan(layout, "<").write({**found, "rest": rest} if rest or missing else found) == whole[:length]
        assert missing >= 0


@each_shape
def test_what_is_missing_is_never_more_than_what_comes(
    layout: Layout, fields: dict[str, object], octets: bytes
) -> None:
    for length in range(len(octets)):
        missing = plan(layout, "<").read(octets[:length])[2]
        assert missing <= len(octets) - length


@each_shape
def test_read_behind_a_header_as_alone(layout: Layout, fields: dict[str, object], octets: bytes) -> None:
    one = plan(layout, "<")
    assert one.whole(b"header" + octets, 6) == fields
    if one.size is None:
        found, rest, missing = one.read(octets + b"\1")
        assert one.whole(b"header" + octets + b"\1", 6) == (None if rest or missing else found)


@each_shape
def test_none_where_octets_are_missing(layout: Layout, fields: dict[str, object], octets: bytes) -> None:
    one = plan(layout, "<")
    for length in range(one.least, len(octets)):
        found, rest, missing = one.read(octets[:length])
        assert one.whole(b"header" + octets[:length], 6) == (None if rest or missing else found)


def test_integers_that_do_not_fit_are_refused() -> None:
    layout = Layout("integers", (Array("values", "u16", None),), "here")
    with pytest.raises(ValueError, match="a value of values does not fit"):
        plan(layout, "<").write({"values": [1, 1 << 16]})


def test_more_values_than_are_remembered() -> None:
    """A peer that counts through all values finds the same answers, and no end of memory."""
    layout = Layout("word", (Word("u64", (Part("index", 0, 8), Part("nofd", 8, 1, flag=True))),), "here")
    for value in range(3 * MEMORY):
        found = plan(layout, "<").unpack(value.to_bytes(8, "little"), 0)
        assert found["index"] == value & 0xFF
        assert found["nofd"] is bool(value & 0x100)
        assert found.get("reserved", 0) == value & ~0x1FF
