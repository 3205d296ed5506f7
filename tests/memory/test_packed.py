"""Packed rings: what driver and device write, step by step, and where that says they are."""

from __future__ import annotations

from struct import pack, pack_into, unpack_from

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhostspy.memory.chain import open_chains
from vhostspy.memory.packed import AVAIL, USED, event, read
from vhostspy.memory.ring import look

from .guest import GUEST, PACKED, VERSION_1, Guest

NEXT, WRITE = 1, 2


class Peers:
    """A driver and a device of the specification's text (VIRTIO 1.3, 2.8), each with its own counters."""

    def __init__(self, size: int, in_order: bool = False) -> None:
        self.size = size
        self.ring = bytearray(16 * size)
        self.next_available, self.driver_wrap = 0, True
        self.next_used, self.device_wrap = 0, True
        self.in_order = in_order
        self.free = list(range(size))
        #: id -> descriptors, oldest first
        self.out: dict[int, int] = {}
        #: where the device used last, and whether that is still there to be seen
        self.last, self.marked = -1, True

    @property
    def room(self) -> int:
        return self.size - sum(self.out.values())

    def make_available(self, count: int) -> None:
        identity = self.free.pop(0)
        self.out[identity] = count
        for at in range(count):
            flags = (AVAIL if self.driver_wrap else USED) | (NEXT if at < count - 1 else 0)
            self.marked = self.marked and self.next_available != self.last
            pack_into("<QIHH", self.ring, 16 * self.next_available, 0x1000, 64, identity, flags)
            self.next_available += 1
            if self.next_available == self.size:
                self.next_available, self.driver_wrap = 0, not self.driver_wrap

    def use(self, buffers: int = 1) -> None:
        """The oldest; with IN_ORDER several by one descriptor."""
        chosen = [next(iter(self.out)) for _ in range(1)]
        if self.in_order:
            chosen = list(self.out)[:buffers]
        flags = AVAIL | USED if self.device_wrap else 0
        # the address stays as it is
        pack_into("<IHH", self.ring, 16 * self.next_used + 8, 0, chosen[-1], flags)
        self.last, self.marked = self.next_used, True
        for identity in chosen:
            self.next_used += self.out.pop(identity)
            self.free.append(identity)
        if self.next_used >= self.size:
            self.next_used, self.device_wrap = self.next_used - self.size, not self.device_wrap


STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 4)), max_size=60)


@given(st.integers(2, 16), st.booleans(), STEPS)
def test_positions_are_the_peers_own(size: int, in_order: bool, steps: list[tuple[bool, int]]) -> None:
    """Chains of any length. Where the driver is already over what the device used last, it is "at most"."""
    peers = Peers(size, in_order)
    for available, count in steps:
        if available and count <= peers.room:
            peers.make_available(count)
        elif not available and peers.out:
            peers.use(count)
        seen = read(bytes(peers.ring), size, in_order)
        assert (seen.available, seen.available_wrap) == (peers.next_available, peers.driver_wrap)
        waiting = sum(peers.out.values())
        assert seen.in_flight >= waiting
        if peers.marked:
            assert seen.in_flight == waiting
            assert (seen.used, seen.used_wrap) == (peers.next_used, peers.device_wrap)


def test_an_untouched_ring() -> None:
    seen = read(bytes(16 * 8), 8)
    assert seen == (0, True, 0, True, 0)


@pytest.mark.parametrize(
    "word, flags, expected",
    [(0x8003, 2, (False, 3, True)), (3, 2, (False, 3, False)), (3, 1, (True, None, None)), (3, 0, (False, None, None))],
)
def test_event_areas(word: int, flags: int, expected: tuple[bool, int | None, bool | None]) -> None:
    assert event(word, flags) == expected


def test_a_packed_ring_of_a_session() -> None:
    guest = Guest(VERSION_1 | PACKED, size=8)
    # three buffers made available in the first round: two of one descriptor, one of two; the first was used
    guest.descriptor(0, 0, 0, 5, AVAIL | USED)
    guest.descriptor(1, GUEST + 0x5000, 16, 6, AVAIL)
    guest.descriptor(2, GUEST + 0x6000, 16, 7, AVAIL | NEXT)
    guest.descriptor(3, GUEST + 0x7000, 99, 7, AVAIL | WRITE)
    guest.words(guest.available, 0, 1)  # the driver wants no interrupts
    guest.words(guest.used, 0x8001, 2)  # the device wants to know of position 1
    ring = look(guest.session, 0, guest.memory)
    assert (ring.available, ring.used, ring.in_flight) == (4, 1, 3)
    assert (ring.available_wrap, ring.used_wrap, ring.problem) == (True, True, "")
    assert (ring.no_interrupt, ring.no_notify, ring.available_event) == (True, False, 1)
    newest, oldest = open_chains(guest.ring, ring, guest.memory)
    assert (oldest.head, [tuple(one) for one in oldest.buffers]) == (6, [(GUEST + 0x5000, 16, False)])
    assert [tuple(one) for one in newest.buffers] == [(GUEST + 0x6000, 16, False), (GUEST + 0x7000, 99, True)]


def test_an_indirect_table_of_a_packed_ring() -> None:
    guest = Guest(VERSION_1 | PACKED, size=8)
    guest.descriptor(0, GUEST + 0x8000, 32, 1, AVAIL | 4)
    guest.put(0x8000, pack("<QIHHQIHH", GUEST + 0x5000, 16, 0, 0, GUEST + 0x6000, 512, 0, WRITE))
    ring = look(guest.session, 0, guest.memory)
    (chain,) = open_chains(guest.ring, ring, guest.memory)
    assert chain.indirect
    assert [tuple(one) for one in chain.buffers] == [(GUEST + 0x5000, 16, False), (GUEST + 0x6000, 512, True)]
    assert unpack_from("<Q", guest.file, 0x1000)[0] == GUEST + 0x8000
