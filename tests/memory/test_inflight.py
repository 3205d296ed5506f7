"""The in-flight region, octets by hand: a head of 16 (packed: 32), an entry a descriptor."""

from __future__ import annotations

from struct import pack

import pytest

from vhostspy.memory.inflight import Queue, queue_facts, queue_of, queues
from vhostspy.output.rings import inflight_lines
from vhostspy.session.state import Inflight


def split(*open_: tuple[int, int], version: int = 1, size: int = 4, used: int = 9, head: int = 2) -> bytes:
    """A queue of a split ring: (descriptor, counter) in flight; libvhost-user has 64 octets for it, or a multiple."""
    counters = dict(open_)
    entries = b"".join(pack("=B5xHQ", at in counters, 0, counters.get(at, 0)) for at in range(size))
    return (pack("=QHHHH", 0, version, size, head, used) + entries).ljust(128, b"\0")


def packed(*open_: tuple[int, int], size: int = 3) -> bytes:
    counters = dict(open_)
    head = pack("=QHHHHHHBB10x", 0, 1, size, 0, 0, 7, 7, 1, 1)
    entries = (pack("=BBHHHQHHIQ", at in counters, 0, 0, 0, 1, counters.get(at, 0), at, 0, 0, 0) for at in range(size))
    return (head + b"".join(entries)).ljust(192, b"\0")


def read(octets: bytes, inflight: Inflight, is_packed: bool = False) -> tuple[Queue, ...]:
    return queues(inflight, is_packed, lambda offset, length: octets[offset : offset + length])


def test_split_queues_in_the_order_of_their_counters() -> None:
    octets = bytes(4096) + split((3, 7), (1, 9), (0, 8)) + split(used=3)
    first, second = read(octets, Inflight(1, 256, 4096, 2, 4, None))
    assert first == Queue(0, 1, 4, 9, (3, 0, 1), 2)
    assert second == Queue(1, 1, 4, 3, (), 2)
    assert not second.fresh


def test_packed_queues() -> None:
    (queue,) = read(packed((2, 5), (0, 6)), Inflight(1, 192, 0, 1, 3, None), True)
    assert queue == Queue(0, 1, 3, 7, (2, 0), None)


def test_a_fresh_region() -> None:
    (queue,) = read(bytes(128), Inflight(1, 128, 0, 1, 4, None))
    assert queue.fresh
    assert inflight_lines([queue]) == []


@pytest.mark.parametrize("length", [0, 3, 15, 40])
def test_a_file_that_is_too_short_tells_what_it_holds(length: int) -> None:
    found = read(split((0, 1), (3, 2))[:length], Inflight(1, 128, 0, 1, 4, None))
    assert [queue.heads for queue in found] == ([(0,)] if length == 40 else [])


@pytest.mark.parametrize("queue_count, size", [(0, 128), (65_535, 128), (1, 0)])
def test_regions_that_cannot_be(queue_count: int, size: int) -> None:
    assert all(not queue.heads for queue in read(split(), Inflight(1, size, 0, queue_count, 4, None)))


def test_a_queue_that_says_it_has_more_descriptors_than_there_is_room_for() -> None:
    (queue,) = read(split(size=65_535)[:128], Inflight(1, 128, 0, 1, 4, None))
    assert queue.heads == ()


def test_to_facts_and_back() -> None:
    queue = Queue(0, 1, 4, 9, (3, 0), 2)
    assert queue_of(queue_facts(queue)) == queue
    assert queue_of({}) is None and queue_of(7) is None and queue_of({**queue_facts(queue), "heads": 1}) is None


def test_for_people() -> None:
    (line,) = inflight_lines([Queue(0, 1, 4, 9, (3, 0), 2)])
    assert line == "in-flight region, queue 0: 2 requests to do again (3 0), used index 9"
