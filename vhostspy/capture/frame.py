"""What a record has around the octets of its message: block header, tags and our header before them, options behind."""

from __future__ import annotations

from struct import Struct
from typing import Final

from . import pcapng
from .record import CHANNELS, DESCRIPTOR, FROM_SPY, HEADER, MAGIC, PROTOCOLS, SNAPPED, VERSION

#: labels whose tags are kept
_MOST_LABELS: Final = 1024
_HALF: Final = 0xFFFFFFFF
#: option with the message's number; end of options and the block's length
_NUMBER: Final = Struct("<HHQ")
_END: Final = Struct("<II")
# EPB_FLAGS of the two directions
_INBOUND: Final = b"\1\0\0\0"
_OUTBOUND: Final = b"\2\0\0\0"


class Frame:
    """Of all records of one direction of one channel; channel, sender and the like as for ``Writer.lane``."""

    __slots__ = (
        "_byte_order", "_channel", "_channel_no", "_direction", "_interface", "_previous", "_protocol", "_protocol_no",
        "_sender", "_session", "_tags",
    )  # fmt: skip

    def __init__(
        self, channel: str, sender: int, session: int, channel_no: int, protocol: str, previous: int, byte_order: str
    ) -> None:
        self._channel = CHANNELS.index(channel)
        self._sender = sender
        self._session = session
        self._channel_no = channel_no
        self._protocol = protocol
        self._protocol_no = PROTOCOLS.index(protocol)
        self._previous = previous
        self._byte_order = int(byte_order in ("big", ">"))
        self._interface = pcapng.INTERFACES.index(channel or "main")
        direction = bytes(4) if sender == FROM_SPY else _INBOUND if sender else _OUTBOUND
        self._direction = pcapng.option(pcapng.EPB_FLAGS, direction)
        self._tags: dict[str, bytes] = {}

    def front(
        self,
        kind: int,
        label: str,
        count: int,
        octets: int,
        length: int,
        offset: int,
        flags: int,
        reads: int,
        number: int,
        wall_ns: int,
        mono_ns: int,
        span_ns: int,
        fds_at: int,
        comment_size: int,
    ) -> bytes:
        """All of a record before its descriptor entries: block header, tags, our header.

        count: descriptor entries. octets: of the message in this record, ``offset`` where in it they begin.
        comment_size: octets of the comment that ``tail`` will write.
        """
        inside = pcapng.TAGS.size + HEADER.size + count * DESCRIPTOR.size
        captured = inside + octets
        original = min(inside + length, 0xFFFFFFFF) if flags & SNAPPED else captured
        options = 8 + 4 + (4 + comment_size + (-comment_size % 4) if comment_size else 0) + (12 if number else 0)
        total = pcapng.PACKET_HEADER.size + captured + (-octets % 4) + options + 4
        tags = self._tags.get(label)
        if tags is None:
            if len(self._tags) >= _MOST_LABELS:
                self._tags.clear()
            tags = pcapng.tags(self._protocol, label, self._sender, self._session, self._channel_no)
            self._tags[label] = tags
        return b"".join((
            pcapng.PACKET_HEADER.pack(
                pcapng.PACKET, total, self._interface, wall_ns >> 32, wall_ns & _HALF, captured, original
            ),
            tags,
            HEADER.pack(
                MAGIC, VERSION, kind, HEADER.size, self._protocol_no, self._byte_order, self._channel, self._sender,
                flags, self._session, self._previous, self._channel_no, reads, number, wall_ns, mono_ns, span_ns,
                length, offset, fds_at, count, DESCRIPTOR.size,
            ),
        ))  # fmt: skip

    def tail(self, octets: int, number: int, text: str, total: int) -> bytes:
        """All behind the octets: padding, comment, direction, number (0: none), the block's length."""
        said = pcapng.option(pcapng.OPT_COMMENT, text.encode()) if text else b""
        numbered = _NUMBER.pack(pcapng.EPB_PACKETID, 8, number) if number else b""
        return b"".join((bytes(-octets % 4), said, self._direction, numbered, _END.pack(0, total)))


def block_size(front: bytes) -> int:
    """The length of the block that begins like this."""
    return int.from_bytes(front[4:8], "little")
