"""Where messages begin and end in a stream of bytes.

Pure: bytes in, offsets out; reads nothing, keeps nothing, copies nothing. The relay reads as much as there is in one
call, so a buffer holds many messages, and often half of one at its end; ``Framer.walk`` finds the cuts. Descriptors are
not seen here: the kernel stops a read behind a buffer that carries some, so they always belong to the message that
holds the last byte of a read (``channel.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from vhostspy.dissectors.rows import Channel

#: ``walk`` found bytes that cannot begin a message
LOST = -1

_U32 = Struct("=I").unpack_from


class Framer:
    """The cuts of one kind of channel.

    ``header``: bytes of a header; ``limit``: the longest message, header included, that is believed to be one.
    """

    __slots__ = ("extra", "header", "limit", "size_at", "unpack_size")

    def __init__(self, channel: Channel) -> None:
        self.header = channel.header.length
        self.size_at = channel.header.size_at
        #: what must be added to the header's size member for the whole message
        self.extra = 0 if channel.header.counts_header else channel.header.length
        self.limit = channel.limit
        self.unpack_size: Callable[..., tuple[Any, ...]] = _U32

    def length(self, buffer: bytearray | memoryview | bytes, at: int) -> int:
        """How long the message is that begins at ``at`` (its header is there), or LOST."""
        length: int = self.unpack_size(buffer, at + self.size_at)[0] + self.extra
        return length if self.header <= length <= self.limit else LOST

    def walk(self, buffer: bytearray | memoryview | bytes, end: int) -> tuple[list[int], int]:
        """Cut ``buffer[:end]``, which begins with a message.

        Gives the offsets behind each whole message, and how long the message is that begins at the last of them: 0 if
        the buffer ends there or before its header is whole, LOST if it cannot be one. That length is always more than
        the bytes that are there.
        """
        cuts: list[int] = []
        at, header, size_at, extra, limit, unpack = (
            0, self.header, self.size_at, self.extra, self.limit, self.unpack_size,
        )  # fmt: skip
        while end - at >= header:
            length: int = unpack(buffer, at + size_at)[0] + extra
            if length > limit or length < header:
                return cuts, LOST
            if at + length > end:
                return cuts, length
            at += length
            cuts.append(at)
        return cuts, 0

    def bytes_wanted(self, held: bytes | bytearray) -> int:
        """Bytes up to, and not past, the end of the message that begins with ``held`` (at least 1)."""
        if len(held) < self.header:
            return self.header - len(held)
        length = self.length(held, 0)
        return 1 if length == LOST else max(length - len(held), 1)


def detect(data: bytes | bytearray | memoryview) -> str:
    """Which protocol a session's first 12 bytes belong to; "" if neither.

    A vhost-user header is u32 id, u32 flags with version 1 in the low two bits, u32 payload size; a wrong version alone
    does not make it something else. The first message of vfio-user is u16 message id, u16 command 1 (VERSION), u32 size
    (with its 16-byte header), u32 flags 0. The second cannot be read as the first: its id would be above 65535.
    Source: vhost-user, Header; vfio-user, Header and VFIO_USER_VERSION.
    """
    first: int = _U32(data, 0)[0]
    second: int = _U32(data, 4)[0]
    third: int = _U32(data, 8)[0]
    if first < 0x10000 and third <= 0x10000 and (second & 3 == 1 or second < 0x10000):
        return "vhost-user"
    low, high = first & 0xFFFF, first >> 16
    command = high if _LITTLE else low
    if command == 1 and 20 <= second <= 0x10_0000 and third == 0:
        return "vfio-user"
    return ""


_LITTLE = Struct("=H").pack(1) == b"\x01\x00"
