"""Guests and peers may write anything into shared memory: none of it hangs us, or takes all that we have."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhostspy.memory.chain import MOST_FOLLOWED, Buffer, open_chains
from vhostspy.memory.dirty_log import PAGE, dirty
from vhostspy.memory.guest import Outside, Space, Unknown
from vhostspy.memory.inflight import queues
from vhostspy.memory.iotlb import MOST, Translation, Translations
from vhostspy.memory.packed import AVAIL
from vhostspy.memory.ring import look
from vhostspy.memory.scan import scan
from vhostspy.session.state import Inflight, Log, Region

from .guest import EVENT_IDX, FILE, GUEST, OFFSET, PACKED, PLATFORM, SIZE, USER, VERSION_1, Guest

NEXT, WRITE, INDIRECT = 1, 2, 4


class Read:
    """A file full of zeros, without an end, that remembers the longest read."""

    longest = 0

    def __call__(self, offset: int, length: int) -> bytes:
        assert length < 1 << 28, f"{length:#x} octets at once"
        self.longest = max(self.longest, length)
        return bytes(length)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size, count", [(1 << 63, 1), ((1 << 64) - 1, 65_535), (1 << 40, 2), (64, 65_535), (1, 1)])
def test_an_in_flight_region_of_any_size(size: int, count: int, packed: bool) -> None:
    read = Read()
    found = queues(Inflight(1, size, (1 << 64) - 1, count, 256, None), packed, read)
    assert len(found) <= 1024
    assert read.longest <= 2 << 20


def test_an_in_flight_region_in_which_all_is_in_flight() -> None:
    octets = pack("=QHHHH", 0, 1, 65_535, 0, 0) + b"\1" * (16 * 65_535)
    found = queues(Inflight(1, len(octets) * 1024, 0, 1024, 256, None), False, lambda offset, length: octets[:length])
    assert len(found) == 1024
    assert all(len(queue.heads) == 1024 for queue in found), "a ring of such a device has no more"


@pytest.mark.parametrize(
    "address, size",
    [(0, 1 << 64), ((1 << 64) - PAGE, 2 * PAGE), ((1 << 64) - 1, 1), (0, 0), (5, 0), (1 << 63, 1 << 63), (3, PAGE)],
)
def test_the_dirty_log_of_any_region(address: int, size: int) -> None:
    log = Log(1, 1 << 64, 0, None)
    (found,) = dirty(log, [Region(address, size, 0, 0, 1)], Read())
    assert (found.guest_address, found.size, found.dirty) == (address, size, 0)
    assert len(found.shares) <= 32


def test_the_dirty_log_of_many_large_regions_is_read_so_far() -> None:
    regions = [Region(0, 1 << 50, 0, 0, 1)] * 500
    assert [one.pages for one in dirty(Log(1, 1 << 40, 0, None), regions, Read())] == [1 << 38] * 500


# -- chains


def one(guest: Guest, address: int, length: int, flags: int) -> None:
    guest.words(guest.available, 0, 1, 3)
    guest.words(guest.used, 0, 0)
    guest.descriptor(3, address, length, flags, 0)


def test_an_indirect_table_of_4_gib_is_not_read() -> None:
    guest = Guest(VERSION_1 | PACKED)
    guest.regions = (Region(GUEST, 1 << 33, USER, OFFSET, 1, FILE),)
    guest.descriptor(0, GUEST + 0x8000, 0xFFFF_FFF0, 1, AVAIL | INDIRECT)
    (chain,) = open_chains(guest.ring, look(guest.session, 0, guest.memory), guest.memory)
    assert chain.problem == "an indirect table is 4294967280 bytes long"


@pytest.mark.parametrize("features", [VERSION_1, VERSION_1 | PACKED])
def test_chains_without_end_are_followed_so_far(features: int) -> None:
    """Each of 32 heads has an indirect table of 2,000 descriptors; of a split ring they are a loop."""
    guest = Guest(features, size=32)
    guest.put(0, bytes(SIZE))
    count = 2000
    for head in range(32):
        if features & PACKED:
            guest.descriptor(head, GUEST + 0x8000, 16 * count, head, AVAIL | INDIRECT)
        else:
            guest.descriptor(head, GUEST + 0x8000, 16 * count, INDIRECT, 0)
    for at in range(count):
        links = (0, 0) if features & PACKED else (NEXT, (at + 1) % count)
        guest.descriptor(at, GUEST, 16, *links, table=0x8000)
    if not features & PACKED:
        guest.words(guest.available, 0, 32, *range(32))
    found = open_chains(guest.ring, look(guest.session, 0, guest.memory), guest.memory)
    assert len(found) == -(-MOST_FOLLOWED // count)
    assert all(len(chain.buffers) == count for chain in found)


def test_a_loop_through_an_indirect_table() -> None:
    guest = Guest()
    one(guest, GUEST + 0x8000, 32, INDIRECT)
    guest.descriptor(0, GUEST + 0x8000, 32, INDIRECT, 0, table=0x8000)
    (chain,) = open_chains(guest.ring, look(guest.session, 0, guest.memory), guest.memory)
    assert chain.problem == "an indirect table in an indirect table"


@pytest.mark.parametrize("address", [(1 << 64) - 8, (1 << 64) - 1, GUEST + SIZE - 1])
def test_buffers_that_reach_beyond_the_end(address: int) -> None:
    guest = Guest()
    one(guest, address, 0xFFFF_FFFF, WRITE)
    (chain,) = open_chains(guest.ring, look(guest.session, 0, guest.memory), guest.memory)
    assert "is in no region" in chain.problem


def test_what_is_not_translated_yet_is_nobodys_fault() -> None:
    """A device asks for a translation when it needs it; receive buffers may wait for it for ever."""
    guest = Guest(VERSION_1 | PLATFORM)
    guest.translations.update(Translation(USER, 0x4000, USER))
    one(guest, 0x10_0000, 64, WRITE)
    (chain,) = open_chains(guest.ring, look(guest.session, 0, guest.memory), guest.memory)
    assert (chain.problem, chain.buffers) == ("", (Buffer(0x10_0000, 64, True),))
    one(guest, 0x10_0000, 64, INDIRECT)
    (chain,) = open_chains(guest.ring, look(guest.session, 0, guest.memory), guest.memory)
    assert (chain.problem, chain.unknown) == ("", "its indirect table: address 0x100000 is not translated")


def test_what_only_the_device_can_look_at_is_nobodys_fault() -> None:
    """A region whose descriptor is none that is kept: a device's memory, a dma-buf."""
    guest = Guest()
    other = Region(1 << 40, SIZE, USER + (1 << 40), 0, 2, FILE._replace(kind="dma-buf"))
    memory = Space(guest.memory.mapped, None, False, (*guest.regions, other), guest.features)
    one(guest, (1 << 40) + 16, 64, WRITE)
    (chain,) = open_chains(guest.ring, look(guest.session, 0, memory), memory)
    assert chain.problem == ""
    one(guest, (1 << 40) + 16, 64, INDIRECT)
    (chain,) = open_chains(guest.ring, look(guest.session, 0, memory), memory)
    assert (chain.problem, chain.unknown) == (
        "", "its indirect table: address 0x10000000010 is in a region (#2) that cannot be looked at",
    )  # fmt: skip
    with pytest.raises(Unknown):
        memory.buffer(1 << 40, 1)
    with pytest.raises(Outside, match="is in no region"):
        memory.buffer((1 << 40) + SIZE, 1)


# -- rings


@pytest.mark.parametrize("size", [1, 3, 32_768])
def test_rings_of_odd_sizes(size: int) -> None:
    guest = Guest(VERSION_1 | EVENT_IDX, size=size)
    guest.regions = (Region(GUEST, 1 << 21, USER, OFFSET, 1, FILE),)
    guest.file = bytearray(OFFSET + (1 << 21))
    guest.available, guest.used = 0x10_0000, 0x12_0000
    guest.words(guest.available, 0, size & 0xFFFF)
    ring = look(guest.session, 0, guest.memory)
    assert (ring.available, ring.used, ring.in_flight, ring.full, ring.problem) == (size, 0, size, True, "")
    assert open_chains(guest.ring, ring, guest.memory)


def test_a_ring_that_lies_in_several_pieces() -> None:
    """An IOMMU's pages, told one by one."""
    guest = Guest(VERSION_1 | PLATFORM | EVENT_IDX, size=256)
    guest.used = 0x3800
    for page in range(0, 0x4000, 0x1000):
        guest.translations.update(Translation(USER + page, 0x1000, USER + page))
    guest.words(guest.available, 0, 5)
    guest.words(guest.used, 0, 2)
    guest.words(guest.used + 4 + 8 * 256, 9)
    ring = look(guest.session, 0, guest.memory)
    assert "is not translated" in ring.problem
    guest.translations.update(Translation(USER + 0x4000, 0x1000, USER + 0x4000))
    ring = look(guest.session, 0, guest.memory)
    assert (ring.available, ring.used, ring.available_event, ring.problem) == (5, 2, 9, "")


def test_regions_that_overlap() -> None:
    """Which they may not; then each address is found in one of them."""
    guest = Guest()
    (first,) = guest.regions
    guest.regions = (first, first._replace(guest_address=GUEST + 0x1000, user_address=USER + 0x1000, size=0x1000))
    memory = guest.memory
    assert memory.ring(USER + 0x3000, 4).pieces[0].offset == OFFSET + 0x3000
    assert memory.ring(USER + 0x1800, 4).length == 4


def test_a_ring_of_the_other_byte_order_has_its_chains_in_it_too() -> None:
    guest = Guest(0)
    guest.big_endian = True
    guest.put(guest.available, bytes.fromhex("0000 0001 0003"))
    guest.put(16 * 3, bytes.fromhex("0000000040005000 00000010 0002 0000"))
    (chain,) = open_chains(guest.ring, look(guest.session, 0, guest.memory), guest.memory)
    assert (chain.head, chain.buffers, chain.problem) == (3, (Buffer(GUEST + 0x5000, 16, True),), "")
    assert scan(guest.session, guest.memory).rings == (), "there words are read as this machine has them"


# -- translations


def told(changes: list[tuple[bool, int, int]]) -> list[tuple[int, int]]:
    """The same by hand: each change takes away all that it touches."""
    known: list[tuple[int, int]] = []
    for update, iova, size in changes:
        known = [(at, length) for at, length in known if at + length <= iova or iova + size <= at]
        if update and size:
            known.append((iova, size))
    return known


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40), st.integers(0, 12))))
def test_translations_are_what_was_told(changes: list[tuple[bool, int, int]]) -> None:
    known = Translations()
    for update, iova, size in changes:
        if update:
            known.update(Translation(iova, size, 1000 + iova))
        else:
            known.invalidate(iova, size)
    expected = told(changes)
    assert [(one.iova, one.size) for one in known] == expected
    for iova in range(60):
        inside = [(at, size) for at, size in expected if at <= iova < at + size]
        assert known.translate(iova) == ((1000 + iova, inside[0][0] + inside[0][1] - iova) if inside else None)


def test_ever_more_translations_cost_no_more_and_the_oldest_go() -> None:
    """A guest of 256 MiB whose driver maps page by page, and never takes one back."""
    known = Translations()
    for page in range(MOST + 10):
        known.update(Translation(page * PAGE, PAGE, page * PAGE))
    assert len(list(known)) == MOST
    assert known.translate(9 * PAGE) is None
    assert known.translate(10 * PAGE) == (10 * PAGE, PAGE)
