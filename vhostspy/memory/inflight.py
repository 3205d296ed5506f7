"""The in-flight region: which descriptors a back-end had taken, so that its successor does them again.

The queues' regions follow each other; how far apart is not specified, so it is the length divided by the queues.
Source: vhost-user, Inflight I/O tracking.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

from vhostspy.session.state import Inflight

from .guest import Read

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
    found = []
    for number in range(count):
        octets = read(inflight.offset + number * stride, stride)
        queue = (_packed if packed else _split)(number, octets, inflight.queue_size)
        if queue is not None:
            found.append(queue)
    return tuple(found)


def _split(number: int, octets: bytes, most: int) -> Queue | None:
    if len(octets) < _SPLIT.size:
        return None
    _, version, size, head, used = _SPLIT.unpack_from(octets)
    entries = []
    for at in range(min(size or most, (len(octets) - _SPLIT.size) // _SPLIT_ENTRY.size)):
        open_, _, counter = _SPLIT_ENTRY.unpack_from(octets, _SPLIT.size + at * _SPLIT_ENTRY.size)
        if open_:
            entries.append((counter, at))
    return Queue(number, version, size, used, tuple(at for _, at in sorted(entries)), head)


def _packed(number: int, octets: bytes, most: int) -> Queue | None:
    if len(octets) < _PACKED_AT:
        return None
    _, version, size, _, _, used, _, _, _ = _PACKED.unpack_from(octets)
    entries = []
    for at in range(min(size or most, (len(octets) - _PACKED_AT) // _PACKED_ENTRY.size)):
        open_, _, _, _, counter, *_ = _PACKED_ENTRY.unpack_from(octets, _PACKED_AT + at * _PACKED_ENTRY.size)
        if open_:
            entries.append((counter, at))
    return Queue(number, version, size, used, tuple(at for _, at in sorted(entries)))


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
