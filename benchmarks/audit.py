"""Counts the messages of a capture, reading the file in its own way: what is measured does not vouch for itself."""

from __future__ import annotations

import mmap
from pathlib import Path
from struct import Struct

from vhostspy.capture.record import HEADER, MAGIC, MESSAGE, RAW

BLOCK = Struct("<II")
TAG = Struct(">HH")
ENHANCED_PACKET = 6
#: block type, length, interface, time (two words), captured and original length
PACKET_AT = 28


class Damaged(Exception):
    """The capture is not whole, or not in order; the sentence says where."""


def messages_in(path: Path) -> int:
    """How many messages a capture holds. Raises Damaged unless they are numbered 1, 2, 3… and each is there whole."""
    last, missing = 0, 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at, end = 0, len(data)
        while at < end:
            if end - at < 12:
                raise Damaged(f"{path}: {end - at} bytes are left at {at}")
            kind, size = BLOCK.unpack_from(data, at)
            if size % 4 or size < 12 or at + size > end or data[at + size - 4 : at + size] != data[at + 4 : at + 8]:
                raise Damaged(f"{path}: no block at {at} (type {kind}, {size} bytes)")
            if kind == ENHANCED_PACKET:
                body = data.find(MAGIC, at + PACKET_AT, at + size)
                captured = int.from_bytes(data[at + 20 : at + 24], "little")
                record = HEADER.unpack_from(data, body)
                what, number, length, offset = record[2], record[13], record[17], record[18]
                before = record[3] + record[20] * record[21]  # our header, and what is said about descriptors
                if what in (MESSAGE, RAW):
                    part = at + PACKET_AT + captured - body - before
                    if missing == 0:
                        if number != last + 1 or offset != 0:
                            raise Damaged(f"{path}: number {number} at {offset} comes after {last}")
                        last, missing = number, length
                    elif number != last or offset != length - missing:
                        raise Damaged(f"{path}: {missing} bytes of number {last} are missing")
                    missing -= part
                    if missing < 0:
                        raise Damaged(f"{path}: number {number} has {-missing} bytes more than its {length}")
            at += size
    if missing:
        raise Damaged(f"{path}: {missing} bytes of number {last} are missing at the end")
    return last
