"""How people read a value, and the one-line templates of the rows.

A template names members in braces. ``{length}`` is written as the member's row says, ``{status:names}`` by what its
bits are called, ``{error:result}`` as success or failure; ``{count*region}`` with that word, ``{nofd?, polled}`` as
that text if it is set. Of several templates, parted by ``|``, the first is taken whose members are all there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from .rows import Bytes, Field, Layout, Names, Part, Word

Writer = Callable[[Any], str]

_BRACES = re.compile(r"\{(\w+)(?:([:*?])([^}]*))?\}")
#: formats of pixels that have 32 bits
PIXELS = ("x8r8g8b8", "a8r8g8b8")
#: octets of data that a line shows
BRIEF = 8
_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def plain(value: object, show: str = "", names: Names | None = None) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return _integer(value, show, names)
    if isinstance(value, bytes):
        return _octets(value, show)
    if isinstance(value, list | tuple):
        return f"{len(value)} entries"
    return str(value)


def number_of(value: int, word: str) -> str:
    """A number with its word: 1 entry, 2 entries."""
    if value == 1:
        return f"1 {word}"
    return f"{value} {word[:-1]}ies" if word.endswith("y") else f"{value} {word}s"


def printable(octets: bytes) -> str:
    """Text that a peer sent, up to its first NUL; what could upset a terminal is escaped."""
    text = octets.split(b"\0", 1)[0].decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _integer(value: int, show: str, names: Names | None) -> str:
    if show == "names" and names is not None:
        return ", ".join(names.bits(value)) or "0"
    if names is not None and names.kind == "values" and value in names.names:
        return names.names[value]
    if show == "hex":
        return hex(value)
    if show == "size":
        for unit, name in _UNITS:
            if value and value % unit == 0:
                return f"{value // unit} {name}"
        return number_of(value, "byte")
    if show == "fourcc":
        letters = (value & 0xFFFF_FFFF).to_bytes(4, "little")
        return letters.decode() if letters.isalnum() else hex(value & 0xFFFF_FFFF)
    if show == "result":
        # a negative errno in an unsigned integer
        return "ok" if value == 0 else f"failed ({value - (1 << 64) if value >> 63 else value})"
    return str(value)


def _octets(value: bytes, show: str) -> str:
    if show == "uuid" and len(value) == 16:
        digits = value.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if show == "mac":
        return value.hex(":")
    if show in ("text", "json"):
        return printable(value)
    if show == "secret":
        return f"{len(value)} bytes, not shown"
    if show in PIXELS:
        return f"{number_of(len(value) // 4, 'pixel')} {show}"
    if show == "brief" and len(value) > BRIEF:
        return f"{value[:BRIEF].hex()}…"
    return value.hex()


class Template:
    """A row's line, prepared for the members of one layout."""

    def __init__(self, text: str, layout: Layout) -> None:
        writers = dict(_writers(layout))
        self._start = ""
        #: member, how its value is written, the text behind it
        self._pieces: list[tuple[str, Writer, str]] = []
        for alternative in text.split("|"):
            # text, then groups of (member, sign, what follows the sign, text)
            pieces = _BRACES.split(alternative)
            if all(name in writers for name in pieces[1::4]):
                self._start = pieces[0]
                for name, sign, how, after in zip(pieces[1::4], pieces[2::4], pieces[3::4], pieces[4::4], strict=True):
                    if sign == "?":
                        writer: Writer = partial(_text_if_set, how)
                    elif sign == "*":
                        writer = partial(number_of, word=how)
                    else:
                        writer = writers[name](how or "")
                    self._pieces.append((name, writer, after))
                break

    def format(self, fields: Mapping[str, object]) -> str:
        """The line; empty where none of the alternatives suits the layout. It ends where a member is not there."""
        line = self._start
        try:
            for name, write, after in self._pieces:
                line += write(fields[name]) + after
        except KeyError:
            return line.rstrip(" ,:")
        return line


def _text_if_set(text: str, value: object) -> str:
    return text if value else ""


def _writers(layout: Layout) -> Iterator[tuple[str, Callable[[str], Writer]]]:
    """For each member: how it is written, unless the template says otherwise."""
    for member in layout.members:
        if isinstance(member, Word):
            for part in member.parts:
                yield part.name, partial(_part_writer, part)
        elif isinstance(member, Field | Bytes):
            yield member.name, partial(_writer, member)


def _part_writer(part: Part, show: str) -> Writer:
    return partial(plain, show=show, names=part.names)


def _writer(member: Field | Bytes, show: str) -> Writer:
    names = member.names if isinstance(member, Field) else None
    show = show or member.show
    return str if not show and names is None else partial(plain, show=show, names=names)
