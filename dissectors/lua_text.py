"""Values as Lua writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

#: integers up to here Lua 5.2 writes exactly
EXACT = 1 << 53


def literal(value: object, depth: int = 0) -> str:
    """A Lua expression for this value: mappings and sequences become tables, None is nil."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if abs(value) > EXACT:
            raise ValueError(f"{value} is not exact in Lua")
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        parts = [f"{_key(key)} = {literal(part, depth + 1)}" for key, part in value.items() if part is not None]
    elif isinstance(value, Iterable):
        parts = [literal(part, depth + 1) for part in value]
    else:
        raise TypeError(f"no Lua for {value!r}")
    line = ", ".join(parts)
    if len(line) + 2 * depth <= 110:
        return f"{{{line}}}"
    indent = "  " * (depth + 1)
    return "{\n" + "".join(f"{indent}{part},\n" for part in parts) + "  " * depth + "}"


def quoted(text: str) -> str:
    """A Lua string; what is not printable ASCII is written as octets."""
    octets = (
        chr(octet) if 32 <= octet < 127 and octet not in b'"\\' else f"\\{octet:03d}"
        for octet in text.encode("utf-8", "surrogateescape")
    )
    return f'"{"".join(octets)}"'


_LUA_WORDS = frozenset((
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
))  # fmt: skip


def _key(key: object) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z_]\w*", text) and text not in _LUA_WORDS else f"[{quoted(text)}]"
