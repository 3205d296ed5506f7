"""The shorthand in which cases are written, and what it stands for.

One line is one message, ``*`` in front of it marks the one that the finding is about::

    > 5{NR} mt(1;0/0x100000/0x7f0000000000/0)+1fd     front-end to back-end; request 5 with NEED_REPLY, one descriptor
    < 5{R}=0                                          the answer, a payload of one u64
    b< 10{NR} mmap(0,0,0,4096,0)                      the back-end's own channel; ``b>`` is the front-end's answer there

Flags: ``{NR}`` 0x9, ``{R}`` 0x5, ``{R,NR}`` 0xd, none 0x1. Payloads: ``=v`` a u64; ``st(i,n)`` two u32;
``a(i,flags,descriptors,used,available,log)``; ``mt(n;guest/size/user/offset,…)``; ``mr(…)`` one region;
``log(size,offset)``; ``cfg(offset,length,flags)`` with that many zeros,
``leak(…)`` with something in the last eight; ``inf(size,offset,queues,descriptors)``;
``iotlb(iova,size,user,permission,type)``; ``area(word,size,offset)``; ``mmap(id,fd,at,length,flags)``;
``ds(direction,phase)``; ``zeros(n)``; ``at(size,offset,u32)`` in zeros;
``hex(…)``. A size of its own: ``5!40``. ``raw(…)`` are octets of no message.

Descriptors: ``+2fd`` of the kind that the message carries; ``+1fd:2M`` a file of that size; ``+1fd:pipe``. ``|5``: the
first five octets are sent alone; ``|12fd``: and the descriptors come with the rest.

Between messages: ``~300`` milliseconds, ``…`` a silence of 20 s, ``> EOF`` an end closes, ``< RESET`` one that leaves
the message before unread, ``again`` another connection, ``beside`` another one while that one lasts. ``HELLO(bits)``
and ``RING(i)`` stand for the usual beginning. Lines that begin with C or S are of vfio-user, see ``vfio``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import calcsize, pack
from typing import NamedTuple

from . import vfio

FRONT, BACK = 0, 1
SILENCE_MS = 20_000
#: message -> what its descriptors are, on the main channel
KINDS = {12: "eventfd", 13: "eventfd", 14: "eventfd", 7: "eventfd", 21: "socket", 33: "socket", 42: "pipe"}
FLAGS = {None: 1, "NR": 9, "R": 5, "R,NR": 13}
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
#: two u64 words of features that all can do with: PROTOCOL_FEATURES and VERSION_1
USUAL = 0x140000000


class Step(NamedTuple):
    """``what``: message, eof, reset, wait, again, beside."""

    what: str
    end: int = FRONT
    channel: str = "main"
    octets: bytes = b""
    #: kind of each descriptor: eventfd, socket, pipe, or a file's size in bytes
    fds: tuple[str | int, ...] = ()
    wait_ms: int = 0
    #: the finding is about this
    marked: bool = False
    id: int = -1
    #: octets that are sent alone, and whether the descriptors come behind them; 0: all at once
    split: int = 0
    late_fds: bool = False


def steps(script: str) -> list[Step]:
    """What a script says, in order. ValueError: a line that it cannot say."""
    return [step for line in script.strip().splitlines() if line.strip() for step in _line(line.strip())]


_MACRO = re.compile(r"(HELLO|RING)\((.*)\)")
_MESSAGE = re.compile(
    r"(?P<channel>b?)(?P<end>[<>]) *(?:raw\((?P<raw>[0-9a-f ]*)\)|"
    r"(?P<id>\d+)(?:!(?P<size>\d+))?(?:\{(?P<flags>[A-Z,]+)\})? *(?P<body>=\S+?|[a-z]+\([^)]*\))?)"
    r" *(?:\+(?P<count>\d+)fd(?::(?P<kind>\w+))?)?(?: *\|(?P<split>\d+)(?P<late>fd)?)?"
)


def _line(line: str) -> Iterator[Step]:
    marked = line.startswith("*")
    line = line.lstrip("* ")
    macro = _MACRO.fullmatch(line)
    if line.startswith("~"):
        yield Step("wait", wait_ms=int(line[1:]))
    elif line == "…":
        yield Step("wait", wait_ms=SILENCE_MS)
    elif line in ("again", "beside"):
        yield Step(line)
    elif line in ("> EOF", "< EOF", "< RESET", "> RESET"):
        yield Step("eof" if line.endswith("EOF") else "reset", "><".index(line[0]))
    elif macro is not None:
        for one in _hello(int(macro[2], 0)) if macro[1] == "HELLO" else _ring(int(macro[2])):
            yield from _line(one)
    elif (said := vfio.said(line)) is not None:
        end, octets, count, kind = said
        yield Step("message", end, "main", octets, (_kind(kind),) * count, marked=marked)
    else:
        yield _message(line, marked)


def _hello(bits: int) -> list[str]:
    usual = f"{USUAL:#x}"
    return ["> 1", f"< 1{{R}}={usual}", "> 15", f"< 15{{R}}={bits:#x}", f"> 16={bits:#x}", "> 3", f"> 2={usual}"]


def _ring(index: int) -> list[str]:
    at = 0x7F0000000000 + index * 0x10000
    return [
        f"> 8 st({index},256)",
        f"> 10 st({index},0)",
        f"> 9 a({index},0,{at:#x},{at + 0x2000:#x},{at + 0x1000:#x},0)",
        f"> 12={index} +1fd",
        f"> 13={index} +1fd",
    ]


def _message(line: str, marked: bool) -> Step:
    match = _MESSAGE.fullmatch(line)
    if match is None:
        raise ValueError(f"expected a message of the notation, came {line!r}")
    end = FRONT if match["end"] == ">" else BACK
    channel = "backend" if match["channel"] else "main"
    split, late = int(match["split"] or 0), bool(match["late"])
    if match["raw"] is not None:
        return Step("message", end, channel, bytes.fromhex(match["raw"]), marked=marked, split=split)
    number = int(match["id"])
    payload = _payload(match["body"] or "")
    size = len(payload) if match["size"] is None else int(match["size"])
    octets = pack("=III", number, FLAGS[match["flags"]], size) + payload
    kind = match["kind"] or (KINDS.get(number) if channel == "main" else None) or "64M"
    fds = (_kind(kind),) * int(match["count"] or 0)
    return Step("message", end, channel, octets, fds, 0, marked, number, split, late)


def _kind(word: str) -> str | int:
    unit = UNITS.get(word[-1])
    return int(word[:-1]) * unit if unit else word


#: numbers in brackets, by the structure that they fill
_STRUCTURES = {
    "st": "=II",
    "a": "=IIQQQQ",
    "log": "=QQ",
    "inf": "=QQHH4x",
    "iotlb": "=QQQBB6x",
    "area": "=QQQ",
    "mmap": "=B7xQQQQ",
    "ds": "=II",
}


def _payload(body: str) -> bytes:
    if not body:
        return b""
    if body.startswith("="):
        return pack("=Q", int(body[1:], 0))
    name, inside = body.rstrip(")").split("(", 1)
    if name == "hex":
        return bytes.fromhex(inside)
    if name == "zeros":
        return bytes(int(inside))
    if name == "at":
        size, offset, value = _numbers(inside, ",")
        return pack(f"={offset}xI{size - offset - 4}x", value)
    if name == "leak":
        offset, length, flags = _numbers(inside, ",")
        return pack("=III", offset, length, flags) + bytes(length - 8) + b"\xa5" * 8
    if name in ("mt", "mr"):
        count, _, listed = inside.rpartition(";")
        regions = b"".join(pack("=QQQQ", *_numbers(one, "/")) for one in listed.split(",") if one)
        return pack("=Q", 0) + regions if name == "mr" else pack("=II", int(count, 0), 0) + regions
    numbers = _numbers(inside, ",")
    if name == "cfg":
        return pack("=III", *numbers) + bytes(numbers[1])
    layout = _STRUCTURES[name]
    assert calcsize(layout)
    return pack(layout, *numbers)


def _numbers(text: str, separator: str) -> list[int]:
    return [int(one, 0) for one in text.split(separator)]
