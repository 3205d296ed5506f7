"""Quantities and foreign text as people read them: times and sizes with a unit, control characters made visible."""

from __future__ import annotations

_SIZES = ((1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_QUARTERS = ("", ".25", ".5", ".75")


def duration(ns: int) -> str:
    """``690 µs``, ``2.1 s``: the largest unit that keeps a whole number, one decimal below ten of it."""
    if ns < 0:
        return "-" + duration(-ns)
    if ns < 1000:
        return f"{ns} ns"
    if ns < 999_500:
        return f"{(ns + 500) // 1000} µs"
    for unit_ns, unit in ((1_000_000, "ms"), (1_000_000_000, "s")):
        tenths = (ns * 10 + unit_ns // 2) // unit_ns
        if tenths < 100:
            return f"{tenths // 10}.{tenths % 10} {unit}"
        whole = (ns + unit_ns // 2) // unit_ns
        if whole < (1000 if unit == "ms" else 60):
            return f"{whole} {unit}"
    seconds_ = (ns + 500_000_000) // 1_000_000_000
    return f"{seconds_ // 60} min {seconds_ % 60} s"


def seconds(ns: int) -> str:
    """A point in time as seconds since the first message, to the microsecond."""
    return f"{ns / 1e9:.6f}"


def size(count: int) -> str:
    """``512 MiB`` or ``2.25 MiB`` where that is exact; never rounded, since one byte may be the bug."""
    for unit, name in _SIZES:
        if count >= unit and count * 4 % unit == 0:
            return f"{count // unit}{_QUARTERS[count * 4 // unit % 4]} {name}"
    return f"{count} byte" if count == 1 else f"{count} bytes"


def escape(text: str) -> str:
    """``text`` for a terminal: what a peer or a file system chose never moves the cursor or changes a colour."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(ord(letter)) for letter in text)


def _escaped(code: int) -> str:
    known = {9: "\\t", 10: "\\n", 13: "\\r", 27: "\\e"}.get(code)
    return known or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def hex_dump(data: bytes, indent: str = "", limit: int | None = None) -> list[str]:
    """Lines of sixteen octets: offset, hex in two halves, and the printable characters."""
    lines = []
    shown = data if limit is None else data[:limit]
    for at in range(0, len(shown), 16):
        row = shown[at : at + 16]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        characters = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in row)
        lines.append(f"{indent}{at:04x}  {left:<23}  {right:<23}  {characters}")
    if len(shown) < len(data):
        lines.append(f"{indent}… {plural(len(data) - len(shown), 'more byte')}")
    return lines
