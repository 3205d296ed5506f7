"""Captures of messages that nobody sent: any octets, after any agreement, written as the relay writes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from struct import pack
from typing import NamedTuple

from tests.dissectors.sample import Sample
from vhostspy.capture.writer import Writer
from vhostspy.dissectors import registry
from vhostspy.dissectors.codec import Context
from vhostspy.dissectors.rows import Channel, Message

MS = 1_000_000
START = 1_700_000_000_000_000_000


class Said(NamedTuple):
    """A message: header and payload, and what was agreed before it."""

    protocol: str
    channel: str
    sender: int
    octets: bytes
    context: Context = Context()
    byte_order: str = "<"


def rows_of(protocol: str, channel: str) -> Channel:
    rows = registry.channel(protocol, channel)
    assert rows is not None
    return rows


def row_of(sample: Sample) -> Message:
    """The sample's row, which may be one that has the number of another."""
    first = list(rows_of(sample.protocol, sample.channel).messages.values())
    rows = [*first, *(other for row in first for other in row.others)]
    return next(row for row in rows if row.name == sample.message and sample.id in (None, row.id))


def header(rows: Channel, number: int, reply: bool, size: int, order: str, msgid: int = 7) -> bytes:
    """The header in front of a payload of ``size`` octets."""
    head = rows.header
    octets = bytearray(head.length)
    value = size + (head.length if head.counts_header else 0)
    # vhost-user has its version in the two lowest bits
    flags = head.reply_value if reply else 0
    if head.msgid_at is None:
        flags |= 1
    else:
        octets[head.msgid_at : head.msgid_at + 2] = pack(order + "H", msgid)
    width = {"u16": "H", "u32": "I"}[head.id_type]
    octets[head.id_at : head.id_at + (2 if width == "H" else 4)] = pack(order + width, number)
    octets[head.size_at : head.size_at + 4] = pack(order + "I", value)
    octets[head.flags_at : head.flags_at + 4] = pack(order + "I", flags)
    return bytes(octets)


def said(sample: Sample, payload: bytes | None = None) -> Said:
    """The sample as a message; with another ``payload``, if one is given."""
    row = row_of(sample)
    octets = bytes.fromhex(sample.octets) if payload is None else payload
    reply = sample.kind == "reply"
    rows = rows_of(sample.protocol, sample.channel)
    head = header(rows, row.id, reply, len(octets), sample.byte_order)
    sender = 1 - row.sender if reply else row.sender
    return Said(sample.protocol, sample.channel, sender, head + octets, sample.context, sample.byte_order)


def write(
    path: Path, messages: Sequence[Said | list[Said]], device: str | None = None, snaplen: int | None = None
) -> Path:
    """A capture in which each message has a session of its own, which begins with its agreement; a list has one too."""
    writer = Writer(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), snaplen=snaplen)
    clock = count(5_000 * MS, MS)
    try:
        start = {"event": "start", "text": "synthetic", **({"device": device} if device else {})}
        writer.event(start, START, 0)
        for session, message in enumerate(messages, 1):
            for each in message if isinstance(message, list) else (*_agreement(message), message):
                now = next(clock)
                lane = writer.lane(
                    each.channel, each.sender, session, 1, each.protocol, rows_of(each.protocol, each.channel),
                    byte_order=each.byte_order,
                )  # fmt: skip
                lane.message(memoryview(each.octets), START + now, now)
            writer.flush()
    finally:
        writer.close()
    path.chmod(0o644)
    return path


def _agreement(message: Said) -> Iterable[Said]:
    """What must have been said before, so that the context is this."""
    rows = rows_of("vhost-user", "main")
    order = message.byte_order

    def request(number: int, payload: bytes = b"") -> Said:
        octets = header(rows, number, False, len(payload), order) + payload
        return Said("vhost-user", "main", 0, octets, byte_order=order)

    context = message.context
    if context.virtio_features is not None:
        yield request(2, pack(order + "Q", context.virtio_features))
    if context.protocol_features is not None:
        yield request(16, pack(order + "Q", context.protocol_features))
    if context.postcopy:
        yield request(29)
