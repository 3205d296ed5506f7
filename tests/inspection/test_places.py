"""Where a ring is found: by which kind of address, behind which translation, and in which session's memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.relay.harness import Relayed, until
from vhostspy.inspection.attachment import TOO_LATE
from vhostspy.inspection.sampling import event_of
from vhostspy.memory.ring import Ring
from vhostspy.rules.engine import Rules

from .driver import (
    AVAILABLE,
    EVENT_IDX,
    GUEST,
    IOTLB_MSG,
    PROTOCOL_FEATURES,
    RING,
    SET_VRING_ADDR,
    SET_VRING_BASE,
    SET_VRING_KICK,
    SET_VRING_NUM,
    TABLE,
    USED,
    USER,
    VERSION_1,
    Pair,
)

GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES = 15, 16
GPA_ADDRESSES, ACCESS_PLATFORM = 1 << 21, 1 << 33
UPDATE, INVALIDATE = 2, 3
#: where the driver has its ring, behind an IOMMU
IOVA = 0xFFFF_0000


@pytest.fixture
def relayed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relayed]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder, keep_memory=True) as relayed:
        yield relayed


def ring_at(pair: Pair, base: int, size: int = RING, begin: int = 0) -> None:
    """Ring 0 begins, with its parts from this address on."""
    pair.say(SET_VRING_NUM, struct.pack("=II", 0, size))
    pair.say(SET_VRING_BASE, struct.pack("=II", 0, begin))
    pair.say(SET_VRING_ADDR, struct.pack("=II4Q", 0, 0, base + TABLE, base + USED, base + AVAILABLE, 0))
    pair.say(SET_VRING_KICK, struct.pack("=Q", 0), [pair.kick])


def seen(pair: Pair) -> Ring:
    ((ring,),) = [one.rings for one in pair.passed().look()]
    return ring


def test_rings_by_guest_address(relayed: Relayed) -> None:
    with Pair(relayed) as pair:
        pair.say(GET_PROTOCOL_FEATURES)
        pair.answer(GET_PROTOCOL_FEATURES, struct.pack("=Q", GPA_ADDRESSES))
        pair.say(SET_PROTOCOL_FEATURES, struct.pack("=Q", GPA_ADDRESSES))
        pair.memory()
        ring_at(pair, GUEST)
        pair.make_available(0)
        pair.attach()
        ring = seen(pair)
        assert (ring.available, ring.used, ring.problem) == (1, 0, "")
        # a front-end that goes on with its own addresses is in no region
        ring_at(pair, USER)
        assert seen(pair).problem == f"ring address {USER + AVAILABLE:#x} is in no region"


@pytest.mark.parametrize("by_guest", [False, True])
def test_rings_behind_an_iommu_that_is_told_and_taken_back(relayed: Relayed, by_guest: bool) -> None:
    """Translated to the front-end's address, or with GPA_ADDRESSES to the guest's."""

    def translate(kind: int, address: int = 0) -> None:
        pair.say(IOTLB_MSG, struct.pack("=QQQBB6x", IOVA, 0x8000, address, 3, kind))

    with Pair(relayed, VERSION_1 | PROTOCOL_FEATURES | EVENT_IDX | ACCESS_PLATFORM) as pair:
        if by_guest:
            pair.say(GET_PROTOCOL_FEATURES)
            pair.answer(GET_PROTOCOL_FEATURES, struct.pack("=Q", GPA_ADDRESSES))
            pair.say(SET_PROTOCOL_FEATURES, struct.pack("=Q", GPA_ADDRESSES))
        pair.memory()
        ring_at(pair, IOVA)
        pair.make_available(0)
        attachment = pair.attach(Rules())
        assert "is not translated" in seen(pair).problem
        translate(UPDATE, GUEST if by_guest else USER)
        assert (seen(pair).available, seen(pair).problem) == (1, "")
        translate(INVALIDATE)
        for _ in range(3):
            ring = seen(pair)
            assert (ring.available, ring.in_flight) == (None, None)
            assert "is not translated" in ring.problem
            (now,) = attachment.look()
            assert not event_of(attachment.with_problems(now), attachment.pipeline).findings
        pair.make_available(1)
        translate(UPDATE, GUEST if by_guest else USER)
        assert (seen(pair).available, seen(pair).problem) == (2, "")


def test_each_session_has_its_own_memory_and_features(relayed: Relayed) -> None:
    """Two at once on one relay: one with EVENT_IDX and one without, with rings of other sizes at the same addresses."""
    with Pair(relayed) as first:
        first.memory()
        ring_at(first, USER)
        with Pair(relayed, VERSION_1 | PROTOCOL_FEATURES, control=first.control) as second:
            second.memory()
            ring_at(second, USER, size=16)
            first.make_available(0)
            for head in range(3):
                second.make_available(head)
            second.use(0)
            first.wants_kicks_behind(1)
            attachment = first.attach()
            (one,), (other,) = (session.rings for session in attachment.look())
            assert (one.size, one.available, one.used, one.available_event) == (64, 1, 0, 1)
            assert (other.size, other.available, other.used, other.available_event) == (16, 3, 1, None)
            second.front.close()
            assert second.back.recv(1) == b""
            second.back.close()
            (left,) = until(lambda: first.passed().endings)
            assert (left.session.number, left.rings[0].used) == (2, 1)
            ((one,),) = [session.rings for session in attachment.look()]
            assert one.available == 1


def test_a_ring_that_is_set_up_anew_with_another_size(relayed: Relayed) -> None:
    """Its event indices lie behind as many entries as it has now."""
    with Pair(relayed) as pair:
        pair.memory()
        ring_at(pair, USER)
        pair.make_available(0)
        pair.wants_kicks_behind(7)
        attachment = pair.attach()
        assert seen(pair).available_event == 7
        assert list(attachment.glance()) == [(1, 0, 0)]
        pair.stop(1)
        pair.word(USED + 4 + 8 * 16, 9)
        pair.use(0)
        ring_at(pair, USER, size=16, begin=1)
        ring = seen(pair)
        assert (ring.size, ring.available, ring.used, ring.available_event, ring.base) == (16, 1, 1, 9, 1)
        assert list(attachment.glance()) == [(1, 0, 1)]


def test_a_session_that_ended_before_it_was_looked_at(relayed: Relayed) -> None:
    """What is told is that, and no strange ring."""
    with Pair(relayed) as pair:
        attachment = pair.attach()
        attachment.look()
        pair.memory()
        ring_at(pair, USER)
        pair.leave()
        pair.passed()
        assert [(left.rings, left.why) for left in attachment.endings] == [((), TOO_LATE)]


def test_what_a_ring_is_filled_with(relayed: Relayed) -> None:
    """Buffers for the device to write into alone, or requests too."""
    with Pair(relayed) as pair:
        pair.memory()
        ring_at(pair, USER)
        attachment = pair.attach()

        def receives() -> bool | None:
            (now,) = attachment.look()
            return attachment.with_problems(now).rings[0].receives

        assert receives() is None, "nothing is in flight"
        for head in range(2):
            pair.make_available(head, flags=2)
        assert receives() is True
        pair.make_available(2)
        assert receives() is False
