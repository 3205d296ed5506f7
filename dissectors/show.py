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

from .once import once
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


#: a member's name, the member, the sign behind it, what follows the sign
Piece = tuple[str, Field | Bytes | Part, str, str]


def pieces(text: str, layout: Layout) -> Iterator[str | Piece]:
    """The first alternative of a template whose members are all there: a text, then members and texts by turns."""
    members = dict(_written(layout))
    for alternative in text.split("|"):
        # text, then groups of (member, sign, what follows the sign, text)
        parts = _BRACES.split(alternative)
        if all(name in members for name in parts[1::4]):
            yield parts[0]
            for name, sign, how, after in zip(parts[1::4], parts[2::4], parts[3::4], parts[4::4], strict=True):
                yield name, members[name], sign or "", how or ""
                yield after
            return


def _written(layout: Layout) -> Iterator[tuple[str, Field | Bytes | Part]]:
    """The members that a line can have."""
    for member in layout.members:
        if isinstance(member, Word):
            yield from ((part.name, part) for part in member.parts)
        elif isinstance(member, Field | Bytes):
            yield member.name, member


class Template:
    """A row's line, prepared for the members of one layout."""

    def __init__(self, text: str, layout: Layout) -> None:
        self._start = ""
        #: member, how its value is written, the text behind it
        self._pieces: list[tuple[str, Writer, str]] = []
        for piece in pieces(text, layout):
            if not isinstance(piece, str):
                name, member, sign, how = piece
                self._pieces.append((name, _writer(member, sign, how), ""))
            elif self._pieces:
                self._pieces[-1] = (*self._pieces[-1][:2], piece)
            else:
                self._start = piece

    def format(self, fields: Mapping[str, object]) -> str:
        """The line; empty where none of the alternatives suits the layout. It ends where a member is not there."""
        try:
            return self._whole(fields)
        except KeyError:
            line = self._start
            for name, write, after in self._pieces:
                if name not in fields:
                    break
                line += write(fields[name]) + after
            return line.rstrip(" ,:")

    @once
    def _whole(self) -> Callable[[Mapping[str, object]], str]:
        """The line where all members are there: lists of a million messages come by here, so it is one expression."""
        text = self._start.replace("%", "%%")
        known: dict[str, Writer] = {}
        values: list[str] = []
        for place, (name, write, after) in enumerate(self._pieces):
            text += ("%#x" if write is hex else "%s") + after.replace("%", "%%")
            value = f"fields[{name!r}]"
            if write is not str and write is not hex:
                known[f"write_{place}"] = write
                value = f"write_{place}({value})"
            values.append(f"{value},")
        line: Callable[[Mapping[str, object]], str] = eval(f"lambda fields: {text!r} % ({' '.join(values)})", known)
        return line


def _text_if_set(text: str, value: object) -> str:
    return text if value else ""


def _writer(member: Field | Bytes | Part, sign: str, how: str) -> Writer:
    """How a member's value is written; ``sign`` and ``how``: what the template says of it."""
    if sign == "?":
        return partial(_text_if_set, how)
    if sign == "*":
        return partial(number_of, word=how)
    if isinstance(member, Part):
        return partial(plain, show=how, names=member.names)
    show = how or member.show
    if isinstance(member, Bytes):
        return partial(_octets, show=show) if show else bytes.hex
    if member.names is None and show in _OF_INTEGERS:
        return _OF_INTEGERS[show]
    return partial(_integer, show=show, names=member.names)


_OF_INTEGERS: Mapping[str, Writer] = {"": str, "hex": hex}
