"""Quantities as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhostspy.output.units import duration, escape, hex_dump, plural, seconds, size


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1000, "1 µs"),
        (690_400, "690 µs"),
        (999_499, "999 µs"),
        (999_500, "1.0 ms"),
        (1_250_000, "1.3 ms"),
        (9_949_999, "9.9 ms"),
        (9_950_000, "10 ms"),
        (999_500_000, "1.0 s"),
        (2_100_000_000, "2.1 s"),
        (59_400_000_000, "59 s"),
        (59_600_000_000, "1 min 0 s"),
        (7_325_000_000_000, "122 min 5 s"),
        (-690_000, "-690 µs"),
    ],
)
def test_duration(ns: int, text: str) -> None:
    assert duration(ns) == text


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0.000000"), (4_911_400, "0.004911"), (61_000_000_000, "61.000000"), (-1_600, "-0.000002")]
)
def test_seconds(ns: int, text: str) -> None:
    assert seconds(ns) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1025, "1025 bytes"),
        (1536, "1.5 KiB"),
        (512 << 20, "512 MiB"),
        (1536 << 20, "1.5 GiB"),
        # the second region of a PC with 512 MiB
        (523_520 << 10, "511.25 MiB"),
        (523_648 << 10, "523648 KiB"),
        ((1 << 30) + 1, "1073741825 bytes"),
        (1 << 60, "1024 PiB"),
    ],
)
def test_size_is_never_rounded(count: int, text: str) -> None:
    assert size(count) == text


def test_foreign_text_is_made_visible() -> None:
    assert escape("pc.ram") == "pc.ram"
    assert escape("\x1b[31mred\n\t\x00") == "\\e[31mred\\n\\t\\x00"
    assert escape("a\u202eb\u2028c\ud800") == "a\\u202eb\\u2028c\\ud800"
    assert escape("Größe") == "Größe"


@given(st.text())
def test_whatever_the_text_it_stays_in_its_line(text: str) -> None:
    assert escape(text).isprintable()
    assert escape(escape(text)) == escape(text)


def test_plural() -> None:
    assert [plural(n, "ring") for n in (0, 1, 2)] == ["0 rings", "1 ring", "2 rings"]


def test_hex_dump() -> None:
    assert hex_dump(bytes(range(60, 80)), "  ") == [
        "  0000  3c 3d 3e 3f 40 41 42 43  44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK",
        "  0010  4c 4d 4e 4f                                       LMNO",
    ]
    assert hex_dump(b"") == []
    assert hex_dump(bytes(17), limit=16)[-1] == "… 1 more byte"
