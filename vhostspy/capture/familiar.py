"""Records that begin with the very octets of one before, times and number apart, as most of our own files' do.

Those octets have been checked; they are looked up, and the record is one ``unpack_from``, one comparison and one tuple.
The reader's loop does that itself (``Reader.__iter__``), as ``same`` does it for a single record.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from . import pcapng
from .packet import descriptors
from .record import DESCRIPTOR, Record

#: a record of ours: block type, length, interface | (time) | packet lengths, tags, header's beginning | number, time,
#: monotonic time, span | header's end. First, second and last are the same in many records.
SHAPE: Final = Struct("<12s8x160sQQQQ24s")
_shape = SHAPE.unpack_from
#: first and last octets of such a record, the block's length as number and octets, where in it the message's octets
#: begin and end; then what goes into Record
Likeness = tuple[bytes, bytes, int, bytes, int, int, int, int, int, str, str, int, int, int, int, str, int, int]
#: by the second
Familiar = dict[bytes, Likeness]
#: how many of them are kept
_MOST: Final = 4096


def keep(familiar: Familiar, block: bytes, record: Record) -> None:
    """What this block begins with need not be looked at again: ``record`` is a whole message in our shape."""
    head, middle, _, _, _, _, rest = _shape(block)
    if len(familiar) >= _MOST:
        familiar.clear()
    first = pcapng.HEADS + len(record.fds) * DESCRIPTOR.size
    familiar[middle] = (
        head, rest, len(block), block[-4:], first, first + record.length, record.kind, record.session, record.previous,
        record.protocol, record.channel, record.channel_no, record.sender, record.flags, record.reads,
        record.byte_order, record.length, record.fds_at,
    )  # fmt: skip


def same(familiar: Familiar, window: bytes, at: int) -> Record | None:
    """The record of the block at ``at``, which is all in the window, if it begins as one before."""
    if len(window) - at < SHAPE.size:
        return None
    head, middle, number, wall, mono, span, rest = _shape(window, at)
    like = familiar.get(middle)
    if like is None:
        return None
    (
        same_head, same_rest, total, again, first, behind, kind, session, previous, protocol, channel, channel_no,
        sender, flags, reads, order, length, fds_at,
    ) = like  # fmt: skip
    if head != same_head or rest != same_rest or window[at + total - 4 : at + total] != again:
        return None
    octets = window[at + first : at + behind]
    fds = descriptors(window, at + pcapng.HEADS, at + first)
    return Record(
        kind, number, wall, mono, span, session, previous, protocol, channel, channel_no, sender, flags, reads, order,
        length, octets, fds_at, fds,
    )  # fmt: skip
