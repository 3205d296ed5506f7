"""Counts the messages of a capture, reading the file in its own way: what is measured does not vouch for itself."""

from __future__ import annotations

import mmap
from pathlib import Path
from struct import Struct

from vhostspy.capture.record import HEADER, MAGIC, MESSAGE, RAW

BLOCK = Struct("<II")
ENHANCED_PACKET = 6
#: block type, length, interface, time (two words), captured and original length
PACKET_AT = 28


class Damaged(Exception):
    """The capture is not whole, or not in order; the sentence says where."""


def messages_in(path: Path) -> int:
    """How many messages a capture holds. Raises Damaged unless they are numbered 1, 2, 3… and each is there whole.

    A long message lies in several records, its number in the last of them; others may lie between.
    """
    last = 0
    #: what is there of long messages: (session, channel number, channel, sender) -> bytes
    begun: dict[tuple[int, int, int, int], int] = {}
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
                    lane = (record[9], record[11], record[6], record[7])
                    there = offset + at + PACKET_AT + captured - body - before
                    if offset != begun.pop(lane, 0) or there > length:
                        raise Damaged(
                            f"{path}: at {at}, behind number {last}: bytes from {offset} on, {there} of {length}"
                        )
                    if there < length:
                        begun[lane] = there
                    elif number != last + 1:
                        raise Damaged(f"{path}: at {at}: number {number} comes after {last}")
                    else:
                        last = number
            at += size
    if begun:
        raise Damaged(f"{path}: the end of {len(begun)} messages is missing")
    return last
