"""The record in an enhanced packet block of any shape: other interface numbers, tags in another order, options."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from . import pcapng
from .record import (
    CHANNELS,
    DESCRIPTOR,
    FROM_SPY,
    HEADER,
    INCOMPLETE,
    MAGIC,
    NOTE,
    PROTOCOLS,
    SNAPPED,
    VERSION,
    Descriptor,
    Record,
    unpack_descriptor,
)
from .window import CaptureError

_NEWEST_KIND: Final = NOTE


class Packet(NamedTuple):
    """What one of our packets holds."""

    #: None: of a kind that newer writers have
    record: Record | None
    #: at which octet of its message it begins
    offset: int = 0
    #: a whole message, in the very shape that our writer gives it
    usual: bool = False


def read(block: bytes, where: int, order: str, interfaces: Sequence[bool]) -> Packet | None:
    """What a packet block holds; None: it is another program's, or was cut shorter than our header.

    where: the block's file offset, for errors. order: the section's byte order, "<" or ">". interfaces: of the section,
    whether their packets are exported PDUs. Raises CaptureError.
    """
    interface, _, _, captured, original = struct.unpack_from(order + "IIIII", block, 8)
    if interface >= len(interfaces):
        raise CaptureError(where, f"a packet of interface {interface}", f"one of {len(interfaces)}")
    packet = block[28 : 28 + captured]
    header_at = _behind_tags(packet) if interfaces[interface] else None
    if header_at is None or packet[header_at : header_at + 4] != MAGIC:
        return None
    cut = original > captured
    if len(packet) < header_at + HEADER.size:
        if cut:
            return None
        raise CaptureError(where, f"a record of {len(packet) - header_at} octets", f"{HEADER.size} at least")
    (
        _, version, kind, header, protocol, big_endian, channel, sender, flags, session, previous, channel_no, reads,
        number, wall, mono, span, length, offset, fds_at, count, entry,
    ) = HEADER.unpack_from(packet, header_at)  # fmt: skip
    if version > VERSION:
        what = f"written by a newer vhostspy (records of version {version})"
        raise CaptureError(where, what, f"version {VERSION} at most")
    if header < HEADER.size or (count and entry < DESCRIPTOR.size):
        raise CaptureError(where, f"a record whose header is {header} octets, a descriptor {entry}")
    if not 0 < kind <= _NEWEST_KIND:
        return Packet(None)
    octets_at = header_at + header + count * entry
    if sender > FROM_SPY:
        raise CaptureError(where, f"a record of sender {sender}", f"{FROM_SPY} at most")
    if octets_at > len(packet) and not cut:
        raise CaptureError(where, f"a record of {len(packet)} octets", f"{octets_at} at least")
    fds = descriptors(packet, header_at + header, min(octets_at, len(packet)), entry)
    data = packet[octets_at:]
    if len(data) + offset > length:
        raise CaptureError(where, f"octets {offset} to {offset + len(data)} of a message that has {length}")
    if cut:
        flags |= SNAPPED
    record = Record(
        kind, number, wall, mono, span, session, previous,
        PROTOCOLS[protocol] if protocol < len(PROTOCOLS) else "",
        CHANNELS[channel] if channel < len(CHANNELS) else "",
        channel_no, sender, flags, reads, ">" if big_endian else "<", length, data, fds_at, fds,
    )  # fmt: skip
    ours = order == "<" and header_at == pcapng.TAGS.size and header == HEADER.size
    ours = ours and (not count or entry == DESCRIPTOR.size)
    whole = not (cut or offset or flags & INCOMPLETE) and len(data) == length
    return Packet(record, offset, ours and whole)


def descriptors(octets: bytes, start: int, end: int, entry: int = DESCRIPTOR.size) -> tuple[Descriptor, ...]:
    """The entries that lie whole between two offsets; ``entry``: the octets of each."""
    if start == end:
        return ()
    return tuple([unpack_descriptor(octets[at : at + entry]) for at in range(start, end - entry + 1, entry)])


def _behind_tags(packet: bytes) -> int | None:
    """Where an exported PDU's data begins if it is ours; None: it is not."""
    at = 0
    ours = False
    while at + 4 <= len(packet):
        tag, size = struct.unpack_from(">HH", packet, at)
        at += 4 + size
        if tag == pcapng.TAG_END:
            return at if ours else None
        if tag == pcapng.TAG_DISSECTOR:
            ours = packet[at - size : at].rstrip(b"\0") == pcapng.DISSECTOR
    return None
