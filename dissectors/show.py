"""How people read a value, and the one-line templates of the rows.

A template names members in braces. ``{length}`` is written as the member's row says, ``{status:names}`` by what its
bits are called, ``{error:result}`` as success or failure; ``{nofd?, polled}`` is a text for when that flag is set. Of
several templates, parted by ``|``, the first is taken whose members are all there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .rows import Bytes, Field, Layout, Names

_BRACES = re.compile(r"\{(\w+)(?::(\w+)|\?([^}]*))?\}")
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
        return f"{value} byte{'s' * (value != 1)}"
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
    if show == "text":
        return printable(value)
    if show == "secret":
        return f"{len(value)} bytes, not shown"
    return value.hex()


class Template:
    """A row's line, prepared."""

    def __init__(self, text: str) -> None:
        self.alternatives = [_BRACES.split(alternative) for alternative in text.split("|")]

    def format(self, layout: Layout | None, fields: Mapping[str, object]) -> str:
        """The line for these members; empty where none of the alternatives has all it names."""
        for pieces in self.alternatives:
            # text, then groups of (member, how to show it, text if set, text)
            if all(name in fields for name, when in zip(pieces[1::4], pieces[3::4], strict=True) if when is None):
                line = [pieces[0]]
                for at in range(1, len(pieces), 4):
                    name, show, when, after = pieces[at : at + 4]
                    if when is not None:
                        line.append(when if fields.get(name) else "")
                    else:
                        line.append(_member(layout, name, fields[name], show))
                    line.append(after)
                return "".join(line)
        return ""


def _member(layout: Layout | None, name: str, value: object, show: str | None) -> str:
    for member in layout.members if layout is not None else ():
        if isinstance(member, Field) and member.name == name:
            return plain(value, show or member.show, member.names)
        if isinstance(member, Bytes) and member.name == name:
            return plain(value, show or member.show)
    return plain(value, show or "")
