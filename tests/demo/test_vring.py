"""The split virtqueue: both sides agree, around every wrap, and a device is never led astray by its driver."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhostspy.demo.memory import GuestMemory, Place, Region, RingError
from vhostspy.demo.vring import INDIRECT, NEXT, WRITE, Addresses, DeviceRing, DriverRing, Piece, SplitRing
from vhostspy.demo.wire import OwnedFd

GUEST, USER, SIZE = 0x10_0000, 0x7000_0000, 1 << 16
DATA = GUEST + 0x8000
ADDRESSES = Addresses(USER, USER + 0x1000, USER + 0x2000)


def make_memory(*places: Place) -> GuestMemory:
    memory = GuestMemory()
    with OwnedFd(os.memfd_create("guest")) as fd:
        os.ftruncate(fd.fileno(), max(place.mmap_offset + place.size for place in places))
        for place in places:
            memory.add(Region(fd.fileno(), place))
    return memory


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    memory = make_memory(Place(GUEST, SIZE, USER, 0))
    yield memory
    memory.clear()


def sides(memory: GuestMemory, size: int = 8, base: int = 0) -> tuple[DriverRing, DeviceRing]:
    return DriverRing(memory, size, ADDRESSES, base), DeviceRing(memory, size, ADDRESSES, base)


def test_a_chain_arrives_as_offered_and_comes_back(memory: GuestMemory) -> None:
    driver, device = sides(memory)
    readable, writable = [Piece(DATA, 16), Piece(DATA + 64, 5)], [Piece(DATA + 128, 1)]
    head = driver.offer(readable, writable)
    chain = device.fetch()
    assert chain is not None
    assert chain == (head, tuple(readable), tuple(writable))
    assert device.fetch() is None
    assert driver.take_used() is None
    device.complete(head, 1)
    assert driver.take_used() == (head, 1)
    assert (driver.outstanding, driver.take_used()) == (0, None)


def test_the_ring_lies_in_memory_as_the_specification_draws_it(memory: GuestMemory) -> None:
    driver, device = sides(memory)
    driver.offer([Piece(0x1122334455667788, 16)], [Piece(DATA, 1)])
    device.complete(0, 1)
    assert memory.read(GUEST, 32).hex(" ", 8) == "8877665544332211 1000000001000100 0080100000000000 0100000002000000"
    assert memory.read(GUEST + 0x1000, 6).hex(" ", 2) == "0000 0100 0000"
    assert memory.read(GUEST + 0x2000, 12).hex(" ", 4) == "00000100 00000000 01000000"


@pytest.mark.parametrize("base", [0, 65530, 65535])
def test_indexes_run_round_at_65536(memory: GuestMemory, base: int) -> None:
    driver, device = sides(memory, base=base)
    for number in range(1, 21):
        driver.offer([Piece(DATA, number)], [])
        chain = device.fetch()
        assert chain is not None
        assert chain.readable == (Piece(DATA, number),)
        device.complete(chain.head, 0)
        assert driver.take_used() == (chain.head, 0)
        now = (base + number) % 65536
        assert (driver.available_index(), driver.used_index(), device.next_available) == (now, now, now)


def test_a_full_ring_takes_no_more(memory: GuestMemory) -> None:
    driver, device = sides(memory)
    heads = [driver.offer([Piece(DATA, 1)], []) for _ in range(8)]
    with pytest.raises(ValueError, match="0 free descriptors"):
        driver.offer([Piece(DATA, 1)], [])
    assert device.pending() == 8
    assert [chain.head for chain in iter(device.fetch, None)] == heads


def test_the_longest_chain_has_all_descriptors(memory: GuestMemory) -> None:
    driver, device = sides(memory)
    driver.offer([Piece(DATA, 1)] * 7, [Piece(DATA, 1)])
    chain = device.fetch()
    assert chain is not None
    assert (len(chain.readable), len(chain.writable)) == (7, 1)


def test_an_indirect_table_may_be_longer_than_the_ring(memory: GuestMemory) -> None:
    driver, device = sides(memory)
    driver.offer([Piece(DATA, 1)] * 20, [Piece(DATA, 2)] * 10, table=Piece(GUEST + 0x3000, 30 * 16))
    chain = device.fetch()
    assert chain is not None
    assert (len(chain.readable), len(chain.writable)) == (20, 10)


HOSTILE = [
    # table: (index, address, length, flags, next)                          what the sentence says
    ([(0, DATA, 16, NEXT, 0)], "loop"),
    ([(0, DATA, 16, NEXT, 1), (1, DATA, 16, NEXT, 0)], "loop"),
    ([(0, DATA, 16, NEXT, 8)], "descriptor 8 is outside"),
    ([(0, DATA, 16, NEXT, 65535)], "descriptor 65535 is outside"),
    ([(0, DATA, 1, WRITE | NEXT, 1), (1, DATA, 16, 0, 0)], "readable behind a writable"),
    ([(0, DATA, 0, INDIRECT, 0)], "can't be 0 bytes"),
    ([(0, DATA, 24, INDIRECT, 0)], "can't be 24 bytes"),
    ([(0, DATA, 0xFFFF_FFF0, INDIRECT, 0)], "can't be 4294967280 bytes"),
    ([(0, DATA, 16, INDIRECT | NEXT, 1)], "indirect descriptor has a next"),
    ([(0, GUEST + SIZE - 8, 16, INDIRECT, 0)], "is in no region"),
    ([(0, 0, 16, INDIRECT, 0)], "0x0 is in no region"),
    # a table that names itself: its first entry is this very descriptor
    ([(0, GUEST, 16, INDIRECT, 0)], "names another one"),
]


@pytest.mark.parametrize(("table", "sentence"), HOSTILE)
def test_a_hostile_chain_is_an_error(
    memory: GuestMemory, table: list[tuple[int, int, int, int, int]], sentence: str
) -> None:
    driver, device = sides(memory)
    for entry in table:
        driver.write_descriptor(*entry)
    driver.announce(0)
    with pytest.raises(RingError, match=sentence):
        device.fetch()


def test_a_head_outside_the_table_is_an_error(memory: GuestMemory) -> None:
    driver, device = sides(memory)
    driver.announce(8)
    with pytest.raises(RingError, match="descriptor 8 is outside"):
        device.fetch()


def test_more_chains_than_the_ring_holds_is_an_error(memory: GuestMemory) -> None:
    driver, device = sides(memory)
    for _ in range(9):
        driver.announce(0)
    with pytest.raises(RingError, match="9 chains are available in a ring of 8"):
        device.pending()


def test_a_device_that_returns_what_it_never_had_is_an_error(memory: GuestMemory) -> None:
    driver, device = sides(memory)
    driver.offer([Piece(DATA, 1)], [])
    device.complete(5, 0)
    with pytest.raises(RingError, match="chain 5, which it didn't have"):
        driver.take_used()
    device.complete(0, 0)
    with pytest.raises(RingError, match="gave back 2 chains, it had 1"):
        driver.take_used()


@given(st.binary(min_size=128, max_size=128), st.integers(0, 65535), st.binary(min_size=16, max_size=256))
def test_any_descriptors_give_a_chain_or_an_error(table: bytes, head: int, indirect: bytes) -> None:
    memory = make_memory(Place(GUEST, SIZE, USER, 0))
    try:
        driver, device = sides(memory)
        memory.write(GUEST, table)
        memory.write(DATA, indirect)
        driver.announce(head)
        try:
            chain = device.fetch()
        except RingError:
            return
        assert chain is not None
        assert len(chain.readable) + len(chain.writable) <= 65536
    finally:
        memory.clear()


@pytest.mark.parametrize("size", [0, 3, 65536])
def test_a_ring_of_another_size_is_refused(memory: GuestMemory, size: int) -> None:
    with pytest.raises(ValueError, match=f"can't have {size} entries"):
        SplitRing(memory, size, ADDRESSES)


@pytest.mark.parametrize("part", range(3))
def test_a_ring_that_is_not_aligned_is_refused(memory: GuestMemory, part: int) -> None:
    crooked = [*ADDRESSES]
    crooked[part] += 1
    with pytest.raises(ValueError, match="is not aligned"):
        SplitRing(memory, 8, Addresses(*crooked))


def test_a_buffer_may_cross_regions() -> None:
    memory = make_memory(Place(0, 4096, USER, 0), Place(4096, 4096, USER + 0x10000, 8192))
    try:
        memory.write(4090, b"0123456789")
        assert memory.read(4090, 10) == b"0123456789"
        assert memory.regions[1].octets[:4].tobytes() == b"6789"
        with pytest.raises(RingError, match="0x2000 is in no region"):
            memory.write(8190, b"abcd")
        assert memory.read(8190, 2) == bytes(2)  # nothing was written of what did not fit
    finally:
        memory.clear()


def test_a_region_longer_than_its_file_is_refused() -> None:
    with OwnedFd(os.memfd_create("guest")) as fd:
        os.ftruncate(fd.fileno(), 4096)
        with pytest.raises(ValueError, match="its file at 4096"):
            Region(fd.fileno(), Place(0, 4097, USER, 0))
        with pytest.raises(ValueError, match="can't be"):
            Region(fd.fileno(), Place((1 << 64) - 1, 4096, USER, 0))


def test_overlapping_regions_are_refused(memory: GuestMemory) -> None:
    with OwnedFd(os.memfd_create("guest")) as fd:
        os.ftruncate(fd.fileno(), 4096)
        with pytest.raises(ValueError, match="overlaps"):
            memory.add(Region(fd.fileno(), Place(GUEST + SIZE - 1, 4096, USER + SIZE, 0)))
