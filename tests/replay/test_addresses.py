"""A played back-end asks about addresses where the live front-end has what the record's had."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from struct import pack_into, unpack_from
from typing import Any

import pytest

from tests.pipeline.conversation import Conversation
from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.message import Message
from vhostspy.replay import Outcome, Script, replay
from vhostspy.replay.addresses import Addresses

CAPTURES = Path(__file__).parents[2] / "captures"
#: as in the capture, which is QEMU's with an IOMMU: rings 0 and 1, of 256 entries; and buffers of its guest
DESCRIPTORS = [0xFFFFE000, 0xFFFFC000]
#: how far the live front-end's rings are from where the record's are
AWAY = [0x10000, -0x20000]
#: u32 request, u32 flags, u32 size; then u32 index, u32 flags, u64 descriptor, used, available, log address
ADDRESSES_AT = 20


def iova(message: Message) -> int:
    """Header of 12 bytes, then struct vhost_iotlb_msg, which begins with it."""
    (found,) = unpack_from("<Q", message.data, 12)
    return int(found)


def moved(away: list[int]) -> Any:
    """An edit of SET_VRING_ADDR's octets."""

    def edit(message: Message) -> object:
        if message.name != "SET_VRING_ADDR":
            return None
        octets = bytearray(message.data)
        index, _, *addresses = unpack_from("<II4Q", octets, 12)
        pack_into("<4Q", octets, ADDRESSES_AT, *(one + away[index] for one in addresses))
        return bytes(octets)

    return edit


def both_played(capture: Path, edit: Any, **options: Any) -> tuple[Outcome, Outcome]:
    """The record's front-end, changed, talks to the record's back-end; what came of either."""
    ours, theirs = socket.socketpair()
    outcomes: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(replay(capture, "back-end", connect=theirs, timeout_s=3, **options))
    )
    thread.start()
    front_end = replay(capture, "front-end", connect=ours, timeout_s=3, edit=edit, **options)
    thread.join(20)
    assert not thread.is_alive()
    return front_end, outcomes[0]


def misses(outcome: Outcome) -> list[int]:
    return [
        iova(one)
        for one in outcome.sessions[0].messages
        if one.name == "IOTLB_MSG" and one.sender == BACK_END and one.kind == "request"
    ]


def test_misses_of_rings_follow_the_live_rings() -> None:
    front_end, back_end = both_played(CAPTURES / "l.pcapng", moved(AWAY), until_no="set-up")
    assert misses(front_end) == [one + away for one, away in zip(DESCRIPTORS, AWAY, strict=True)]
    assert (front_end.status, back_end.status) == (0, 0), front_end.text + back_end.text
    assert not back_end.sessions[0].notes


def test_misses_of_buffers_are_left_out_where_rings_have_moved() -> None:
    front_end, back_end = both_played(CAPTURES / "l.pcapng", moved(AWAY))
    # ring 0 begins anew, elsewhere, and lies where it was
    assert set(misses(front_end)) <= {one + away for one in (*DESCRIPTORS, 0xFFFFA000, 0xFFFF8000) for away in AWAY}
    (note,) = [one for one in back_end.sessions[0].notes if "left out" in one]
    assert note.startswith("IOTLB_MSG #108 (0xffebc606), ")
    assert "in none of the record's rings" in note


def test_misses_are_as_recorded_where_nothing_has_moved() -> None:
    recorded = [
        iova(one)
        for one in Script.read(CAPTURES / "l.pcapng").parts[0].messages
        if one.name == "IOTLB_MSG" and one.sender == BACK_END and one.kind == "request"
    ]
    front_end, back_end = both_played(CAPTURES / "l.pcapng", None)
    assert misses(front_end) == recorded
    assert (front_end.status, back_end.status) == (0, 0), front_end.text + back_end.text
    assert not any("left out" in one for one in back_end.sessions[0].notes)


# -- one by one


def ring(talk: Conversation, index: int, descriptor: int, num: int = 256) -> list[Message]:
    return [
        talk.front_end("SET_VRING_NUM", index=index, num=num),
        talk.front_end("SET_VRING_ADDR", index=index, log_used=0, descriptor=descriptor,
                       available=descriptor + 0x1000, used=descriptor + 0x2000, log_address=0),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def recorded_miss() -> Message:
    part = Script.read(CAPTURES / "l.pcapng").parts[0]
    return next(one for one in part.messages if one.name == "IOTLB_MSG" and one.sender == BACK_END)


def miss(recorded: Message, address: int) -> Message:
    octets = bytearray(recorded.data)
    pack_into("<Q", octets, 12, address)
    return recorded._replace(data=bytes(octets))


def met(*pairs: tuple[list[Message], list[Message]]) -> Addresses:
    addresses = Addresses()
    for recorded, live in pairs:
        for was, now in zip(recorded, live, strict=True):
            addresses.met(was, now)
    return addresses


#: 256 descriptors of 16 bytes; available: 6 bytes and 2 for each; used: 6 and 8
@pytest.mark.parametrize(
    ("asked", "there"),
    [
        (0x10000, 0x50000), (0x10FFF, 0x50FFF), (0x11000, 0x51000), (0x11205, 0x51205), (0x12000, 0x52000),
        (0x12805, 0x52805), (0xFFFF, None), (0x11206, None), (0x12806, None), (0x20000, None),
    ],
)  # fmt: skip
def test_an_address_in_a_ring(asked: int, there: int | None, recorded_miss: Message) -> None:
    talk = Conversation()
    found = met((ring(talk, 0, 0x10000), ring(talk, 0, 0x50000))).live(miss(recorded_miss, asked))
    assert (None if found is None else iova(found)) == there


def test_a_ring_that_was_set_up_again_is_where_it_is_now(recorded_miss: Message) -> None:
    talk = Conversation()
    pairs = [(0x10000, 0x50000), (0x10000, 0x70000)]
    addresses = met(*((ring(talk, 0, was), ring(talk, 0, now)) for was, now in pairs))
    found = addresses.live(miss(recorded_miss, 0x10008))
    assert found is not None and iova(found) == 0x70008


def test_a_region_of_dma() -> None:
    """vfio-user: u16 id, u16 command, u32 size, u32 flags, u32 error; then u64 address, u64 count."""
    part = Script.read(CAPTURES / "v-sid.pcapng").parts[0]
    assert Addresses.of(part, BACK_END) is not None and Addresses.of(part, FRONT_END) is None
    maps = [one for one in part.messages if one.name == "DMA_MAP" and one.kind == "request"]
    (read,) = [one for one in part.messages if one.name == "DMA_READ" and one.kind == "request"]
    addresses = Addresses()
    for one in maps:
        octets = bytearray(one.data)
        (address,) = unpack_from("<Q", octets, 32)
        pack_into("<Q", octets, 32, address + (1 << 40))
        addresses.met(one, one._replace(data=bytes(octets)))
    found = addresses.live(read)
    assert found is not None
    assert unpack_from("<2Q", read.data, 16) == (0xFFFFFFF0, 16)
    assert unpack_from("<2Q", found.data, 16) == (0xFFFFFFF0 + (1 << 40), 16)


def test_a_front_end_that_maps_for_ever_costs_no_memory() -> None:
    part = Script.read(CAPTURES / "v-sid.pcapng").parts[0]
    one = next(each for each in part.messages if each.name == "DMA_MAP" and each.kind == "request")
    addresses = Addresses()
    for number in range(70_000):
        octets = bytearray(one.data)
        pack_into("<Q", octets, 32, number << 20)
        addresses.met(one._replace(data=bytes(octets)), one)
    assert len(addresses._places) <= 65536
