"""Split rings, octets by hand: u16 flags, u16 index, entries, event."""

from __future__ import annotations

import pytest

from vhostspy.memory.chain import open_chains, open_heads
from vhostspy.memory.guest import Space
from vhostspy.memory.iotlb import Translation, Translations
from vhostspy.memory.ring import Ring, all_rings, look
from vhostspy.session import state

from .guest import EVENT_IDX, GUEST, PLATFORM, SIZE, USER, VERSION_1, Guest


def seen(guest: Guest) -> Ring:
    return look(guest.session, 0, guest.memory)


def indices(guest: Guest, available: int, used: int, events: tuple[int, int] | None = None) -> None:
    guest.words(guest.available, 0, available)
    guest.words(guest.used, 0, used)
    if events is not None:
        guest.words(guest.available + 4 + 2 * guest.size, events[0])
        guest.words(guest.used + 4 + 8 * guest.size, events[1])


@pytest.mark.parametrize(
    "available, used, in_flight, full",
    [(0, 0, 0, False), (5, 2, 3, False), (10, 2, 8, True), (2, 65_534, 4, False), (65_535, 65_527, 8, True)],
)
def test_indices(available: int, used: int, in_flight: int, full: bool) -> None:
    guest = Guest()
    indices(guest, available, used)
    ring = seen(guest)
    assert (ring.available, ring.used, ring.in_flight, ring.full) == (available, used, in_flight, full)
    assert (ring.layout, ring.problem, ring.moving) == ("split", "", False)
    assert (ring.used_event, ring.available_event) == (None, None)


@pytest.mark.parametrize(
    "available, used, problem",
    [
        (20, 2, "available index 20 is 18 ahead of used index 2 in a ring of 8"),
        (2, 3, "used index 3 is 1 ahead of available index 2"),
        # vhost-device-scsi 0.1.0 goes on where it was before its ring was stopped and begun anew
        (1, 261, "used index 261 is 260 ahead of available index 1"),
    ],
)
def test_indices_that_cannot_be(available: int, used: int, problem: str) -> None:
    guest = Guest()
    indices(guest, available, used)
    ring = seen(guest)
    assert (ring.available, ring.used, ring.in_flight) == (available, used, None)
    assert ring.problem == problem


def test_flags_without_event_indices() -> None:
    guest = Guest()
    guest.words(guest.available, 1, 7)
    guest.words(guest.used, 1, 7)
    ring = seen(guest)
    assert (ring.no_interrupt, ring.no_notify) == (True, True)


def test_event_indices_stand_behind_the_entries() -> None:
    guest = Guest(VERSION_1 | EVENT_IDX)
    guest.words(guest.available, 1, 7)  # flags are not looked at then
    indices(guest, 7, 7, (6, 5))
    ring = seen(guest)
    assert (ring.used_event, ring.available_event, ring.no_interrupt) == (6, 5, False)


def test_a_ring_of_the_other_byte_order() -> None:
    guest = Guest(0)
    guest.big_endian = True
    guest.put(guest.available, bytes.fromhex("0001 0102"))
    guest.put(guest.used, bytes.fromhex("0000 0100"))
    ring = seen(guest)
    assert (ring.available, ring.used, ring.in_flight, ring.no_interrupt) == (0x102, 0x100, 2, True)


@pytest.mark.parametrize(
    "ring, why",
    [
        (state.Ring(0, 8), "no addresses"),
        (state.Ring(0, None, None, (USER, USER, USER, 0)), "no size"),
        (state.Ring(0, 1 << 20, None, (USER, USER, USER, 0)), "can't be"),
        (state.Ring(0, 8, None, (USER, 0x10, USER, 0)), "0x10 is in no region"),
        (state.Ring(0, 8, None, (USER, USER + SIZE - 4, USER, 0)), "is in no region"),
        (state.Ring(0, 8, None, (USER, USER + 0x101, USER, 0)), "no even address"),
    ],
)
def test_what_cannot_be_looked_at_says_why(ring: state.Ring, why: str) -> None:
    guest = Guest()
    session = guest.session._replace(rings={0: ring})
    found = look(session, 0, guest.memory)
    assert why in found.problem
    assert found.available is None


def test_a_region_of_which_nothing_is_kept_is_named() -> None:
    guest = Guest()
    nothing = Space((), regions=guest.regions)
    assert "is in a region (#1) that cannot be looked at" in look(guest.session, 0, nothing).problem


def test_only_rings_with_a_place_are_listed() -> None:
    guest = Guest()
    session = guest.session._replace(rings={3: guest.ring._replace(number=3), 1: state.Ring(1, 8), 0: guest.ring})
    assert [ring.number for ring in all_rings(session, guest.memory)] == [0, 3]


def test_a_ring_by_guest_address() -> None:
    guest = Guest()
    guest.protocol = 1 << 21
    indices(guest, 5, 2)
    ring = guest.ring._replace(addresses=(GUEST, GUEST + guest.used, GUEST + guest.available, 0))
    assert look(guest.session._replace(rings={0: ring}), 0, guest.memory).in_flight == 3


def test_a_ring_behind_an_iommu() -> None:
    guest = Guest(VERSION_1 | PLATFORM)
    indices(guest, 5, 2)
    ring = guest.ring._replace(addresses=(0x1000, 0x1000 + guest.used, 0x1000 + guest.available, 0))
    session = guest.session._replace(rings={0: ring})
    assert "is not translated" in look(session, 0, guest.memory).problem
    guest.translations = Translations([Translation(0x1000, SIZE, USER)])
    assert look(session, 0, guest.memory).in_flight == 3
    guest.translations = Translations([Translation(0x1000, SIZE, 0x10)])
    assert "is in no region" in look(session, 0, guest.memory).problem


# -- chains


def used_ring(*heads: int, index: int, size: int = 8) -> list[int]:
    """Words of a used ring whose last entries are ``heads``, the newest last."""
    entries = [[0, 0, 0, 0] for _ in range(size)]
    for back, head in enumerate(reversed(heads)):
        entries[(index - 1 - back) % size][0] = head
    return [0, index, *(word for entry in entries for word in entry)]


def available_ring(*heads: int, index: int, size: int = 8) -> list[int]:
    entries = [0] * size
    for back, head in enumerate(reversed(heads)):
        entries[(index - 1 - back) % size] = head
    return [0, index, *entries]


@pytest.mark.parametrize(
    "available, used, open_",
    [
        (available_ring(0, 2, 4, index=3), used_ring(index=0), [4, 2, 0]),
        (available_ring(0, 2, 4, index=3), used_ring(0, index=1), [4, 2]),
        # overtaken: the first is still open
        (available_ring(0, 2, 4, index=3), used_ring(2, 4, index=2), [0]),
        # used before, and made available again
        (available_ring(0, 2, 0, index=3), used_ring(0, index=1), [0, 2]),
        (available_ring(0, 2, 0, index=3), used_ring(0, 2, index=2), [0]),
        # across the index's and the ring's end
        (available_ring(5, 6, 7, 1, index=1), used_ring(5, 6, index=65_535), [1, 7]),
        (available_ring(0, 1, index=2), used_ring(0, 1, index=2), []),
        (available_ring(0, 1, index=99), used_ring(index=0), []),
    ],
)  # fmt: skip
def test_open_heads(available: list[int], used: list[int], open_: list[int]) -> None:
    assert open_heads(available, used, 8) == open_


NEXT, WRITE, INDIRECT = 1, 2, 4


def chains(guest: Guest) -> list[tuple[int, list[tuple[int, int, bool]], str]]:
    found = open_chains(guest.ring, seen(guest), guest.memory)
    return [(chain.head, [(one.address, one.length, one.writable) for one in chain.buffers], chain.problem)
            for chain in found]  # fmt: skip


def with_one(guest: Guest, head: int = 3) -> None:
    guest.words(guest.available, 0, 1, head)
    guest.words(guest.used, 0, 0)


def test_a_chain() -> None:
    guest = Guest()
    with_one(guest)
    guest.descriptor(3, GUEST + 0x5000, 16, NEXT, 7)
    guest.descriptor(7, GUEST + 0x6000, 512, NEXT | WRITE, 1)
    guest.descriptor(1, GUEST + 0x7000, 1, WRITE, 0)
    buffers = [(GUEST + 0x5000, 16, False), (GUEST + 0x6000, 512, True), (GUEST + 0x7000, 1, True)]
    assert chains(guest) == [(3, buffers, "")]


def test_an_indirect_table() -> None:
    guest = Guest()
    with_one(guest)
    guest.descriptor(3, GUEST + 0x8000, 48, INDIRECT, 0)
    guest.descriptor(0, GUEST + 0x5000, 16, NEXT, 2, table=0x8000)
    guest.descriptor(2, GUEST + 0x6000, 512, WRITE, 0, table=0x8000)
    assert chains(guest) == [(3, [(GUEST + 0x5000, 16, False), (GUEST + 0x6000, 512, True)], "")]
    (chain,) = open_chains(guest.ring, seen(guest), guest.memory)
    assert chain.indirect


@pytest.mark.parametrize(
    "entries, table, problem",
    [
        ({3: (GUEST, 1, NEXT, 9)}, {}, "descriptor 9 in a table of 8"),
        ({3: (GUEST, 1, NEXT, 3)}, {}, "again: a loop"),
        ({3: (GUEST, 1, NEXT, 4), 4: (GUEST, 1, NEXT, 3)}, {}, "again: a loop"),
        ({3: (0x10, 1, 0, 0)}, {}, "address 0x10 is in no region"),
        ({3: (GUEST + SIZE - 1, 2, 0, 0)}, {}, "is in no region"),
        ({3: (GUEST, 1, NEXT | WRITE, 4), 4: (GUEST, 1, 0, 0)}, {}, "to read behind one to write"),
        ({3: (GUEST + 0x8000, 40, INDIRECT, 0)}, {}, "is 40 bytes long"),
        ({3: (GUEST + 0x8000, 0, INDIRECT, 0)}, {}, "is 0 bytes long"),
        ({3: (GUEST + 0x8000, 32, INDIRECT | NEXT, 0)}, {}, "followed by others"),
        ({3: (0x10, 32, INDIRECT, 0)}, {}, "its indirect table: address 0x10"),
        ({3: (GUEST + 0x8000, 32, INDIRECT, 0)}, {0: (GUEST, 16, INDIRECT, 0)}, "an indirect table in an indirect"),
        ({3: (GUEST + 0x8000, 32, INDIRECT, 0)}, {0: (GUEST, 16, NEXT, 2)}, "descriptor 2 in an indirect table of 2"),
        ({3: (GUEST + 0x8000, 32, INDIRECT, 0)}, {0: (GUEST, 16, NEXT, 0)}, "of an indirect table again: a loop"),
    ],
)
def test_chains_that_a_device_must_not_follow(
    entries: dict[int, tuple[int, int, int, int]], table: dict[int, tuple[int, int, int, int]], problem: str
) -> None:
    guest = Guest()
    with_one(guest)
    for at, entry in entries.items():
        guest.descriptor(at, *entry)
    for at, entry in table.items():
        guest.descriptor(at, *entry, table=0x8000)
    ((_, _, told),) = chains(guest)
    assert problem in told


def test_a_buffer_may_cross_from_region_to_region() -> None:
    guest = Guest()
    first = guest.regions[0]
    half = SIZE // 2
    guest.regions = (
        first._replace(size=half),
        first._replace(guest_address=GUEST + half, size=half, user_address=USER + half, offset=first.offset + half),
    )
    guest.put(half - 2, b"abcd")
    assert guest.memory.octets(GUEST + half - 2, 4) == b"abcd"
    assert [piece.length for piece in guest.memory.buffer(GUEST + half - 2, 4).pieces] == [2, 2]
