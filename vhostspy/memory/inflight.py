"""The in-flight region: which descriptors a back-end had taken, so that its successor does them again.

The queues' regions follow each other; how far apart is not specified, so it is the length divided by the queues.
Source: vhost-user, Inflight I/O tracking.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

from vhostspy.session.state import Inflight

from .guest import Read
from .ring import LARGEST

#: u64 features, u16 version, u16 descriptors, u16 last batch's head, u16 used index
_SPLIT = Struct("=QHHHH")
#: u8 in flight, 5 octets, u16 next, u64 counter
_SPLIT_ENTRY = Struct("=B5xHQ")
#: u64 features, u16 version, descriptors, free head, old free head, used index, old used index, u8 wrap, old wrap
_PACKED = Struct("=QHHHHHHBB")
_PACKED_AT = 32
#: u8 in flight, 1 octet, u16 next, last, num, u64 counter, u16 id, flags, u32 length, u64 address
_PACKED_ENTRY = Struct("=BxHHHQHHIQ")
MOST_QUEUES = 1024
#: entries that are looked at, of all queues together; no ring has more than ``LARGEST``
MOST_ENTRIES = 1 << 20


class Queue(NamedTuple):
    """One queue's part. ``heads`` are in flight, oldest first: a restart would do them again."""

    number: int
    version: int
    size: int
    used_index: int
    heads: tuple[int, ...]
    #: split: where the last batch began that was being given back
    last_batch_head: int | None = None

    @property
    def fresh(self) -> bool:
        """Nobody has begun to use it."""
        return self.version == 0


def queues(inflight: Inflight, packed: bool, read: Read) -> tuple[Queue, ...]:
    """All queues of a region, as far as the file holds them; ``read`` is of its file."""
    count = min(inflight.queues, MOST_QUEUES)
    if not count or not inflight.size:
        return ()
    stride = inflight.size // inflight.queues
    begin, entry = (_PACKED_AT, _PACKED_ENTRY) if packed else (_SPLIT.size, _SPLIT_ENTRY)
    most = min(LARGEST, MOST_ENTRIES // count)
    found = []
    for number in range(count):
        octets = read(inflight.offset + number * stride, min(stride, begin + most * entry.size))
        if len(octets) >= begin:
            found.append((_packed if packed else _split)(number, octets, inflight.queue_size))
    return tuple(found)


def _split(number: int, octets: bytes, most: int) -> Queue:
    _, version, size, head, used = _SPLIT.unpack_from(octets)
    entries = octets[_SPLIT.size :][: (size or most) * _SPLIT_ENTRY.size]
    return Queue(number, version, size, used, _in_flight(entries, _SPLIT_ENTRY, 2), head)


def _packed(number: int, octets: bytes, most: int) -> Queue:
    _, version, size, _, _, used, _, _, _ = _PACKED.unpack_from(octets)
    entries = octets[_PACKED_AT:][: (size or most) * _PACKED_ENTRY.size]
    return Queue(number, version, size, used, _in_flight(entries, _PACKED_ENTRY, 4))


def _in_flight(entries: bytes, entry: Struct, counter: int) -> tuple[int, ...]:
    """Numbers of the entries that say so in their first octet, by the member at ``counter``."""
    whole = len(entries) // entry.size * entry.size
    flags = entries[: whole : entry.size]
    taken = [at for at, flag in enumerate(flags) if flag] if any(flags) else []
    taken.sort(key=lambda at: entry.unpack_from(entries, at * entry.size)[counter])
    return tuple(taken)


def queue_facts(queue: Queue) -> dict[str, Any]:
    """A queue as a JSON object."""
    return {**queue._asdict(), "heads": list(queue.heads[:256])}


def queue_of(facts: object) -> Queue | None:
    """And back; None for what is none."""
    if not isinstance(facts, dict):
        return None
    numbers = [facts.get(name) for name in ("number", "version", "size", "used_index")]
    heads = facts.get("heads")
    if not all(isinstance(one, int) for one in numbers) or not isinstance(heads, list):
        return None
    last = facts.get("last_batch_head")
    number, version, size, used = (int(one) for one in numbers if isinstance(one, int))
    return Queue(number, version, size, used, tuple(one for one in heads if isinstance(one, int)),
                 last if isinstance(last, int) else None)  # fmt: skip
