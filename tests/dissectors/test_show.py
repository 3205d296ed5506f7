"""How values and lines read."""

from __future__ import annotations

import pytest

from vhostspy.dissectors.rows import Bytes, Field, Layout, Names, Part, Word
from vhostspy.dissectors.show import Template, plain, printable

ON_OFF = Names("values", {0: "off", 1: "on"})
BITS = Names("bits", {0: "ONE", 3: "FOUR"})


@pytest.mark.parametrize(
    ("value", "show", "names", "text"),
    [
        (256, "", None, "256"),
        (True, "", None, "yes"),
        (False, "", None, "no"),
        (255, "hex", None, "0xff"),
        (0, "size", None, "0 bytes"),
        (1, "size", None, "1 byte"),
        (1000, "size", None, "1000 bytes"),
        (4096, "size", None, "4 KiB"),
        (1536 << 10, "size", None, "1536 KiB"),
        (3 << 30, "size", None, "3 GiB"),
        (1 << 40, "size", None, "1 TiB"),
        ((1 << 64) - 1, "size", None, "18446744073709551615 bytes"),
        (0, "result", None, "ok"),
        (1, "result", None, "failed (1)"),
        ((1 << 64) - 22, "result", None, "failed (-22)"),
        (1, "", ON_OFF, "on"),
        (2, "", ON_OFF, "2"),
        (9, "hex", BITS, "0x9"),
        (9 | 1 << 7, "names", BITS, "ONE, FOUR, bit 7"),
        (0, "names", BITS, "0"),
        (b"\x00\xff", "", None, "00ff"),
        (bytes(range(16)), "uuid", None, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (b"\x52\x54\x00\x12\x34\x56", "mac", None, "52:54:00:12:34:56"),
        (b"name\0\0rest", "text", None, "name"),
        (b"hunter2", "secret", None, "7 bytes, not shown"),
        ([1, 2], "", None, "2 entries"),
        (None, "", None, "None"),
    ],
)
def test_a_value_as_people_write_it(value: object, show: str, names: Names | None, text: str) -> None:
    assert plain(value, show, names) == text


def test_text_of_a_peer_cannot_upset_a_terminal() -> None:
    assert printable(b"a\x1b[2Jb\r\n\xffc\xc3\xa9\xe2\x80\xae") == "a\\x1b[2Jb\\r\\n\\xffcé\\u202e"


LAYOUT = Layout(
    "example",
    (
        Field("num", "u32"),
        Field("length", "u64", show="size"),
        Word("u32", (Part("index", 0, 8), Part("nofd", 8, 1, flag=True))),
        Bytes("uuid", 16, show="uuid"),
    ),
    "here",
)
FIELDS = {"num": 1, "length": 8192, "index": 3, "nofd": True, "uuid": bytes(16)}


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("{length} at {num:hex}", "8 KiB at 0x1"),
        ("{num*entry}, {index*entry}, {num*slot}, {index*slot}", "1 entry, 3 entries, 1 slot, 3 slots"),
        ("ring {index}{nofd?, polled}", "ring 3, polled"),
        ("{num:result}", "failed (1)"),
        ("{uuid}", "00000000-0000-0000-0000-000000000000"),
        ("{other}|{num}", "1"),
        ("{other}|{num} {another}", ""),
        ("{other}|failed", "failed"),
    ],
)
def test_a_line_of_a_template(template: str, line: str) -> None:
    assert Template(template, LAYOUT).format(FIELDS) == line


def test_a_text_for_a_flag_that_is_not_set() -> None:
    assert Template("ring {index}{nofd?, polled}", LAYOUT).format({**FIELDS, "nofd": False}) == "ring 3"
