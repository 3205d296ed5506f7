"""A message's members for people: a line each, as its row says, with what bits and values are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vhostspy.dissectors.rows import Bytes, Field, Layout, Member, Word, nested
from vhostspy.dissectors.show import plain
from vhostspy.message import Message

from .naming import lacks_name
from .units import escape, plural

#: people's views show this much of a long run of octets; -x shows all
MOST_OCTETS = 64
MOST_NAMES_WIDTH = 100
UNNAMED = "(bits of a device that is not known; --device names them)"


def members(message: Message, indent: str = "", least: int = 0) -> list[str]:
    """One line a member, in the wire's order, with what its bits and values are called; ``least``: width of names."""
    decoded = message.decoded
    if message.row is None:
        octets = _octet_lines(message.payload) if message.payload else []
        return [f"{indent}{'octets' if i == 0 else '':<{max(least, 6)}}  {line}" for i, line in enumerate(octets)]
    known = _by_name(decoded.layout)
    if not decoded.fields:
        return []
    width = max(least, *map(len, decoded.fields))
    lines: list[str] = []
    for name, value in decoded.fields.items():
        member, names = known.get(name), decoded.names.get(name)
        first, *rest = _value(member, value, names)
        if message.context.device is None and isinstance(member, Field) and lacks_name(member, names):
            rest.append(UNNAMED)
        lines.append(f"{indent}{name:<{width}}  {first}".rstrip())
        lines += [f"{indent}{'':<{width}}  {line}" for line in rest]
    return lines


def _by_name(layout: Layout | None) -> Mapping[str, Member]:
    known: dict[str, Member] = {}
    for member in layout.members if layout else ():
        if not isinstance(member, Word):
            known[member.name] = member
    return known


def _value(member: Member | None, value: Any, names: Any) -> list[str]:
    """A value as one or more lines."""
    show = member.show if isinstance(member, (Field, Bytes)) else ""
    if isinstance(value, bytes):
        lines = [escape(plain(value, show))] if show not in ("", "config") else _octet_lines(value)
        if isinstance(names, dict) and show != "json":
            width = max(map(len, names), default=0)
            lines += [f"{name:<{width}}  {_config(part)}" for name, part in names.items()]
        return lines
    if isinstance(value, list):
        return _list(member, value, names)
    if isinstance(value, dict):
        return [_structure({}, value)]
    named = member.names if isinstance(member, Field) else None
    if isinstance(names, list):
        return _wrapped(plain(value, show or "hex"), [escape(str(name)) for name in names])
    if isinstance(names, str) and names:
        return [f"{escape(names)} ({value})"]
    if isinstance(value, int) and not isinstance(value, bool) and show == "size" and value >= 1024:
        return [f"{plain(value, show)} ({value:#x})"]
    return [escape(plain(value, show, named))]


def _config(value: Any) -> str:
    return _octets(value) if isinstance(value, bytes) else escape(str(value))


def _octet_lines(value: bytes) -> list[str]:
    """Octets, in lines of as many as fit 80 columns beside a name."""
    lines = [value[at : at + 16].hex(" ") for at in range(0, min(len(value), MOST_OCTETS), 16)]
    if len(value) > MOST_OCTETS:
        lines.append(f"… ({plural(len(value), 'byte')})")
    return lines or ["none"]


def _octets(value: bytes) -> str:
    shown = value[:MOST_OCTETS].hex(" ")
    return shown if len(value) <= MOST_OCTETS else f"{shown} … ({plural(len(value), 'byte')})"


def _list(member: Member | None, values: list[Any], names: Any) -> list[str]:
    if not values:
        return ["none"]
    if isinstance(values[0], dict):
        return [f"{i}  {_element(member, value)}" for i, value in enumerate(values) if isinstance(value, dict)]
    shown = [f"[{i}] {value:#x}" for i, value in enumerate(values) if value]
    return [", ".join(shown[:32]) + (", …" if len(shown) > 32 else "") if shown else f"{len(values)} × 0"]


def _element(member: Member | None, value: Mapping[str, Any]) -> str:
    """One of the structures that a member has several of."""
    known = (_by_name(layout) for layout in (nested(member) if member is not None else ()))
    return _structure(next((names for names in known if value.keys() <= names.keys()), {}), value)


def _structure(known: Mapping[str, Member], value: Mapping[str, Any]) -> str:
    parts = []
    for name, part in value.items():
        member = known.get(name)
        if isinstance(part, list) and part and isinstance(part[0], dict):
            parts.append(f"{name} [{'; '.join(_element(member, each) for each in part)}]")
            continue
        show = member.show if isinstance(member, (Field, Bytes)) else ""
        parts.append(f"{name} {escape(plain(part, show, member.names if isinstance(member, Field) else None))}")
    return "  ".join(parts)


def _wrapped(first: str, names: list[str]) -> list[str]:
    """Names behind a value, broken into lines below each other."""
    lines = [first]
    line = ""
    for name in names:
        if line and len(line) + len(name) > MOST_NAMES_WIDTH:
            lines.append(line)
            line = ""
        line = f"{line}, {name}" if line else name
    if line:
        lines.append(line)
    if len(lines) == 2:
        return [f"{first}  {lines[1]}"]
    return lines
