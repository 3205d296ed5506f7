"""The part of the shorthand that vfio-user has, and the octets that it stands for.

    C #7 9 io(0,0,4)                the client's command 9 with message id 7
    S #7 9{R} io(0,0,4;4)           the server's reply to it, with four octets of data
    S #5 8{E,22}                    flags: R reply, N no reply wanted, E error (with its number), X error without reply

Payloads: ``version(minor, text)`` with a NUL behind it, ``bare(minor, text)`` without; ``map(address, length, flags)``;
``unmap(…)``; ``io(offset, region, count; octets of data)``; ``dma(address, count; octets)``;
``irqs(flags, index, start, count)``; ``feature(number, bits, u32, …)``; ``region(flags, size, capability offset; …)``;
``hex(…)``.
"""

from __future__ import annotations

import re
from struct import pack
from typing import NamedTuple

CLIENT, SERVER = 0, 1
REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20
#: command -> what its descriptors are
KINDS = {2: "64M", 5: "64M", 8: "eventfd"}

_LINE = re.compile(
    r"(?P<end>[CS]) #(?P<id>\d+) (?P<command>\d+)(?:\{(?P<flags>[A-Z0-9,]+)\})? *(?P<body>[a-z]+\(.*\))? *"
    r"(?:\+(?P<count>\d+)fd(?::(?P<kind>\w+))?)?"
)


class Said(NamedTuple):
    end: int
    octets: bytes
    descriptors: int
    kind: str


def said(line: str) -> Said | None:
    """What a line says, or None if it is not of vfio-user. ValueError: a payload that is not known."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    words = (match["flags"] or "").split(",")
    flags = REPLY * ("R" in words or "E" in words) | NO_REPLY * ("N" in words) | ERROR * bool({"E", "X"} & set(words))
    error = next((int(word) for word in words if word.isdigit()), 0)
    command = int(match["command"])
    payload = _payload(match["body"] or "hex()")
    octets = pack("=HHIII", int(match["id"]), command, 16 + len(payload), flags, error) + payload
    end = CLIENT if match["end"] == "C" else SERVER
    return Said(end, octets, int(match["count"] or 0), match["kind"] or KINDS.get(command, "64M"))


def _payload(body: str) -> bytes:
    name, inside = body[:-1].split("(", 1)
    if name in ("version", "bare"):
        minor, _, text = inside.partition(",")
        return pack("=HH", 0, int(minor)) + text.strip().encode() + b"\0" * (name == "version")
    if name == "hex":
        return bytes.fromhex(inside)
    numbers, _, behind = inside.partition(";")
    values = [int(one, 0) for one in numbers.split(",") if one.strip()]
    data = bytes(int(behind or "0", 0))
    if name == "map":
        address, length, flags = values
        return pack("=IIQQQ", 32, flags, 0, address, length)
    if name == "unmap":
        address, length = values
        return pack("=IIQQ", 24, 0, address, length)
    if name == "io":
        return pack("=QII", *values) + data
    if name == "dma":
        return pack("=QQ", *values) + data
    if name == "irqs":
        return pack("=IIIII", 20, *values)
    if name == "feature":
        number, bits, *words = values
        return pack(f"=II{len(words)}I", 8 + 4 * len(words), number | bits << 16, *words)
    if name == "region":
        flags, size, capability = values
        return pack("=IIIIQQ", 32 + len(data), flags, 0, capability, size, 0) + data
    if name == "info":
        return pack("=IIII", 16, *values)
    raise ValueError(f"expected a payload of the notation, came {body!r}")
