"""What is offered and acknowledged, and when."""

from __future__ import annotations

import pytest

from ..pipeline.conversation import KICK
from .talk import Talk, broken, features, found

FRONT, BACK = 0, 1
BIT_30, VERSION_1, IOMMU, PACKED, LOG_ALL = 1 << 30, 1 << 32, 1 << 33, 1 << 34, 1 << 26
USUAL = BIT_30 | VERSION_1


def bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


@pytest.mark.parametrize("agreed, wrong", [(USUAL, False), (VERSION_1, False), (USUAL | 1 << 5, True)])
def test_features_that_were_not_offered(agreed: int, wrong: bool) -> None:
    talk = Talk()
    talk.ask("GET_FEATURES", {"features": USUAL})
    talk.front_end("SET_FEATURES", features=agreed)
    assert broken(talk, "VU-NEG-01") == [("error", FRONT, 3)] * wrong


def test_what_was_offered_before_the_capture_began_is_not_known() -> None:
    talk = Talk(whole=False)
    talk.front_end("SET_FEATURES", features=USUAL)
    assert broken(talk, "VU-NEG-01") == []


@pytest.mark.parametrize("offered, wrong", [(USUAL, False), (VERSION_1, True)])
def test_protocol_features_need_bit_30_on_offer(offered: int, wrong: bool) -> None:
    talk = Talk()
    talk.ask("GET_FEATURES", {"features": offered})
    talk.front_end("GET_PROTOCOL_FEATURES")
    assert broken(talk, "VU-NEG-02") == [("error", FRONT, 3)] * wrong


@pytest.mark.parametrize("agreed, wrong", [(bits(0, 3), False), (bits(3), False), (bits(0, 5), True)])
def test_protocol_features_that_were_not_offered(agreed: int, wrong: bool) -> None:
    talk = Talk()
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": bits(0, 3)})
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=agreed)
    assert broken(talk, "VU-NEG-03") == [("error", FRONT, 3)] * wrong


def test_protocol_features_that_were_not_asked_for_on_this_connection() -> None:
    """cloud-hypervisor's restore."""
    talk = Talk()
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=0)
    assert broken(talk, "VU-NEG-04") == [("note", FRONT, 1)]
    assert [one for one in found(talk) if one[1] == "error"] == []


def test_protocol_features_that_were_asked_for() -> None:
    talk = Talk()
    features(talk)
    assert broken(talk, "VU-NEG-04") == []


@pytest.mark.parametrize("agreed, note", [(bits(0), False), (0, True)])
def test_the_number_of_queues_without_mq(agreed: int, note: bool) -> None:
    """SPDK's initiator asks when it was only offered."""
    talk = Talk()
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": bits(0)})
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=agreed)
    talk.front_end("GET_QUEUE_NUM")
    assert broken(talk, "VU-NEG-06") == [("note", FRONT, 4)] * note
    assert broken(talk, "VU-NEG-05") == []


def test_the_number_of_queues_without_mq_on_offer() -> None:
    talk = Talk()
    features(talk, protocol=0)
    talk.front_end("GET_QUEUE_NUM")
    assert broken(talk, "VU-NEG-05") == [("warning", FRONT, 8)]


@pytest.mark.parametrize("rule, severity, wrong, right", [
    ("VU-NEG-07", "error", bits(14, 3), bits(14, 3, 5)),
    ("VU-NEG-08", "error", bits(20), bits(20, 12)),
    ("VU-NEG-09", "warning", bits(23), bits(23, 20)),
    ("VU-NEG-10", "warning", bits(11, 5), bits(11, 5, 10)),
    ("VU-NEG-10", "warning", bits(18), bits(18, 5)),
    ("VU-NEG-10", "warning", bits(22, 10), bits(22, 5, 10)),
])  # fmt: skip
def test_bits_that_need_others(rule: str, severity: str, wrong: int, right: int) -> None:
    for agreed, expected in ((wrong, [(severity, FRONT, 1)]), (right, [])):
        talk = Talk()
        talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=agreed)
        assert broken(talk, rule) == expected


def test_protocol_features_that_change() -> None:
    talk = Talk()
    features(talk, protocol=bits(3))
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=bits(3))
    assert broken(talk, "VU-NEG-11") == []
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=0)
    assert broken(talk, "VU-NEG-11") == [("warning", FRONT, 9)]


def test_features_that_change_while_a_ring_is_started() -> None:
    talk = Talk()
    features(talk)
    talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    talk.front_end("SET_FEATURES", features=USUAL | LOG_ALL)
    assert broken(talk, "VU-NEG-12") == []
    talk.front_end("SET_FEATURES", features=USUAL | LOG_ALL | 1 << 5)
    assert broken(talk, "VU-NEG-12") == [("error", FRONT, 10)]


def test_features_may_change_once_the_rings_have_stopped() -> None:
    talk = Talk()
    features(talk)
    talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    talk.ask("GET_VRING_BASE", {"index": 0, "num": 0}, index=0, num=0)
    talk.front_end("SET_FEATURES", features=USUAL | 1 << 5)
    assert broken(talk, "VU-NEG-12") == []


@pytest.mark.parametrize("agreed, wrong", [(bits(3, 5), False), (bits(5), True)])
def test_an_iommu_needs_the_back_end_channel(agreed: int, wrong: bool) -> None:
    talk = Talk()
    features(talk, virtio=USUAL | IOMMU, protocol=agreed)
    assert broken(talk, "VU-NEG-13") == [("warning", FRONT, 7)] * wrong


@pytest.mark.parametrize("agreed, note", [(USUAL, False), (BIT_30, True)])
def test_a_legacy_device(agreed: int, note: bool) -> None:
    talk = Talk()
    talk.front_end("SET_FEATURES", features=agreed)
    assert broken(talk, "VU-NEG-14") == [("note", FRONT, 1)] * note


@pytest.mark.parametrize("front_end, note", [(None, True), ("qemu", False)])
def test_features_that_are_asked_for_again(front_end: str | None, note: bool) -> None:
    """QEMU waits so until all before it is done."""
    talk = Talk(profile=(front_end, None))
    for _ in range(3):
        talk.ask("GET_FEATURES", {"features": USUAL})
    assert broken(talk, "VU-NEG-15") == [("note", FRONT, 3)] * note


# -- SET_VRING_ENABLE


def enable(talk: Talk) -> None:
    talk.front_end("SET_VRING_ENABLE", index=0, num=1)


def test_enable_without_bit_30() -> None:
    talk = Talk()
    features(talk, virtio=VERSION_1)
    enable(talk)
    assert broken(talk, "VU-NEG-16") == [("warning", FRONT, 8)]


def test_enable_with_bit_30() -> None:
    talk = Talk()
    features(talk)
    enable(talk)
    assert broken(talk, "VU-NEG-16") == []


def test_enable_before_the_features_are_set_is_seen_often() -> None:
    """QEMU's network devices, DPDK's virtio-user, SPDK's initiator."""
    talk = Talk()
    enable(talk)
    enable(talk)
    assert broken(talk, "VU-NEG-16") == [("note", FRONT, 1)]


def test_a_back_end_that_closes_on_it() -> None:
    """passt did so with QEMU's network devices."""
    talk = Talk(profile=("qemu", None))
    enable(talk)
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-NEG-16") == [("error", FRONT, 1)]


def test_a_front_end_that_closes_after_it() -> None:
    talk = Talk(profile=("qemu", None))
    enable(talk)
    talk.event("eof", sender=FRONT)
    assert broken(talk, "VU-NEG-16") == []


# -- rings


def test_a_ring_that_starts_without_features() -> None:
    talk = Talk()
    talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    assert broken(talk, "VU-NEG-17") == [("warning", FRONT, 1)]


def test_where_the_capture_began_in_the_middle_they_may_have_been_set() -> None:
    talk = Talk(whole=False)
    talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    assert talk.findings == []


def test_memory_before_features_is_fine() -> None:
    """libkrun."""
    talk = Talk()
    talk.front_end("SET_MEM_TABLE", count=0, regions=[])
    talk.front_end("SET_FEATURES", features=USUAL)
    talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    assert broken(talk, "VU-NEG-17") == []


@pytest.mark.parametrize("base, wrong", [(0x80008000, False), (0, True), (0x00058005, False)])
def test_a_fresh_packed_ring(base: int, wrong: bool) -> None:
    talk = Talk()
    features(talk, virtio=USUAL | PACKED)
    talk.octets(bytes.fromhex("0a000000 01000000 08000000 00000000")
                + base.to_bytes(4, "little"))  # fmt: skip
    assert broken(talk, "VU-NEG-18") == [("warning", FRONT, 8)] * wrong


@pytest.mark.parametrize("queues, wrong", [(1, False), (0, True)])
def test_no_queues_at_all(queues: int, wrong: bool) -> None:
    talk = Talk()
    talk.ask("GET_QUEUE_NUM", {"queues": queues})
    assert broken(talk, "VU-NEG-19") == [("warning", BACK, 2)] * wrong


@pytest.mark.parametrize("back_end, note", [("rust-vmm", True), (None, False)])
def test_bit_21_of_rust_vmm(back_end: str | None, note: bool) -> None:
    talk = Talk(profile=(None, back_end))
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": bits(3, 21)})
    assert broken(talk, "VU-NEG-20") == [("note", BACK, 2)] * note
