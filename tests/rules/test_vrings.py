"""Rings: sizes, addresses, numbers, order."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from ..pipeline.conversation import CALL, KICK, SECOND
from .steps import (
    FRONT,
    IOMMU,
    LOG_ALL,
    MIB,
    MODERN,
    PACKED,
    USER,
    VERSION_1,
    addresses,
    agreed,
    kick,
    running,
    set_up,
    stop,
    table,
    with_memory,
)
from .talk import Talk, broken


@pytest.mark.parametrize("virtio", [MODERN, MODERN | PACKED])
@pytest.mark.parametrize("num", [0, 1, 100, 256, 32768, 32769, 65536])
def test_descriptors_of_a_ring(num: int, virtio: int) -> None:
    """DPDK eb7c574b21; cloud-hypervisor f94a5fb4e: the back-ends differ in what they refuse."""
    talk = agreed(virtio=virtio)
    no = talk.front_end("SET_VRING_NUM", index=0, num=num).no
    wrong = num in (0, 32769, 65536) or num == 100 and not virtio & PACKED
    assert broken(talk, "VU-VR-01") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize(
    "stopped, num, severity", [(True, 128, None), (False, 128, "error"), (False, 256, "warning")]
)  # fmt: skip
def test_the_size_of_a_started_ring(stopped: bool, num: int, severity: str | None) -> None:
    """cloud-hypervisor 5f9871047: not stopped when the guest restarts."""
    talk = running()
    if stopped:
        stop(talk)
    no = talk.front_end("SET_VRING_NUM", index=0, num=num).no
    assert broken(talk, "VU-VR-02") == ([(severity, FRONT, no)] if severity else [])


@pytest.mark.parametrize("used, wrong", [(0x2000, False), (0x4000, True)])
def test_of_a_started_ring_only_the_log_may_change(used: int, wrong: bool) -> None:
    talk = running(virtio=MODERN | LOG_ALL)
    no = talk.front_end("SET_VRING_ADDR", **addresses(used=USER + used, log_used=True)).no
    assert broken(talk, "VU-VR-02") == [("error", FRONT, no)] * wrong


def test_after_a_reset_by_status_a_ring_is_set_up_anew() -> None:
    talk = running(1 << 16)
    talk.front_end("SET_STATUS", status=0)
    talk.front_end("SET_VRING_NUM", index=0, num=128)
    assert broken(talk, "VU-VR-02") == []


@pytest.mark.parametrize("flags, wrong", [(0, False), (1, False), (2, True), (3, True)])
def test_flags_of_addresses(flags: int, wrong: bool) -> None:
    talk = with_memory()
    payload = pack("<IIQQQQ", 0, flags, USER, USER + 0x2000, USER + 0x1000, 0)
    no = talk.octets(pack("<III", 9, 1, 40) + payload).no
    assert broken(talk, "VU-VR-03") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize(
    "changed, split, packed",
    [({}, 0, 0), ({"descriptor": USER + 8}, 1, 1), ({"available": USER + 2}, 0, 1), ({"available": USER + 1}, 1, 1),
     ({"used": USER + 2}, 1, 1)],
)  # fmt: skip
def test_alignment(changed: dict[str, Any], split: int, packed: int) -> None:
    for virtio, wrong in ((MODERN, split), (MODERN | PACKED, packed)):
        talk = with_memory(virtio=virtio)
        no = talk.front_end("SET_VRING_ADDR", **addresses() | changed).no
        assert broken(talk, "VU-VR-04") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("first", [False, True])
def test_addresses_before_memory(first: bool) -> None:
    """DPDK and rust-vmm fail; libkrun sends memory even before features."""
    talk = agreed() if first else with_memory()
    no = talk.front_end("SET_VRING_ADDR", **addresses()).no
    assert broken(talk, "VU-VR-05") == [("error", FRONT, no)] * first


LAST = USER + 16 * MIB


@pytest.mark.parametrize(
    "changed, wrong",
    [
        ({}, False),
        ({"descriptor": 0xDEAD0000}, True),
        ({"descriptor": LAST - 16 * 256}, False),
        ({"descriptor": LAST - 16 * 255}, True),
        ({"used": LAST - (4 + 8 * 256)}, False),
        ({"used": LAST - 8 * 256}, True),
        ({"available": LAST - (4 + 2 * 256)}, False),
        ({"available": LAST - 2 * 256}, True),
    ],
)
def test_a_ring_outside_memory(changed: dict[str, Any], wrong: bool) -> None:
    """The asserts of QEMU b844a4c77b and f4bf56fb78; DPDK 5cd690e4fd."""
    talk = with_memory()
    talk.front_end("SET_VRING_NUM", index=0, num=256)
    no = talk.front_end("SET_VRING_ADDR", **addresses() | changed).no
    assert broken(talk, "VU-VR-06") == [("error", FRONT, no)] * wrong


def test_behind_an_iommu_addresses_are_its_own() -> None:
    talk = with_memory(virtio=MODERN | IOMMU)
    set_up(talk)
    talk.front_end("SET_VRING_ADDR", **addresses(base=0xDEAD0000))
    assert broken(talk, "VU-VR-06") == []


@pytest.mark.parametrize("first", [False, True])
def test_addresses_before_size(first: bool) -> None:
    talk = with_memory()
    if not first:
        talk.front_end("SET_VRING_NUM", index=0, num=256)
    no = talk.front_end("SET_VRING_ADDR", **addresses()).no
    assert broken(talk, "VU-VR-07") == [("warning", FRONT, no)] * first


@pytest.mark.parametrize("descriptor, wrong", [(0, True), (USER, False)])
def test_a_ring_that_is_nowhere(descriptor: int, wrong: bool) -> None:
    talk = with_memory()
    no = talk.front_end(
        "SET_VRING_ADDR", index=0, descriptor=descriptor, used=0, available=0, log_address=0
    ).no  # fmt: skip
    assert broken(talk, "VU-VR-08") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("left_out", ["", "SET_VRING_NUM", "SET_VRING_ADDR"])
def test_started_without_size_or_addresses(left_out: str) -> None:
    talk = with_memory()
    if left_out != "SET_VRING_NUM":
        talk.front_end("SET_VRING_NUM", index=0, num=256)
    if left_out != "SET_VRING_ADDR":
        talk.front_end("SET_VRING_ADDR", **addresses())
    no = kick(talk).no
    assert broken(talk, "VU-VR-09") == [("error", FRONT, no)] * bool(left_out)


@pytest.mark.parametrize("at, wrong", [(255, False), (256, True)])
def test_where_a_packed_ring_begins(at: int, wrong: bool) -> None:
    talk = agreed(virtio=MODERN | PACKED)
    talk.front_end("SET_VRING_NUM", index=0, num=256)
    no = talk.octets(pack("<IIIII", 10, 1, 8, 0, 0x80008000 | at)).no
    assert broken(talk, "VU-VR-10") == [("warning", FRONT, no)] * wrong


def test_a_split_ring_may_begin_beyond_its_size() -> None:
    """The index counts on for ever."""
    talk = with_memory()
    set_up(talk, base=40000)
    assert [one for one in talk.findings if one.rule.startswith("VU-VR")] == []


@pytest.mark.parametrize("word, wrong", [(0, False), (0x100, False), (0x200, True), (1 << 63, True)])
def test_the_word_of_a_descriptor(word: int, wrong: bool) -> None:
    talk = agreed()
    fds = () if word & 0x100 else (CALL,)
    no = talk.octets(pack("<IIIQ", 13, 1, 8, word), fds=fds).no
    assert broken(talk, "VU-VR-11") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("name", ["SET_VRING_NUM", "GET_VRING_BASE", "SET_VRING_ENABLE"])
@pytest.mark.parametrize("index, wrong", [(255, False), (256, True), (60000, True)])
def test_a_number_that_no_kick_can_name(name: str, index: int, wrong: bool) -> None:
    """libvhost-user and passt take the number as it is, and crash."""
    talk = agreed()
    no = talk.front_end(name, index=index, num=0).no
    assert broken(talk, "VU-VR-12") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("device, index, wrong", [("block", 1, False), ("block", 2, True), ("net", 3, False)])
def test_more_rings_than_queues(device: str, index: int, wrong: bool) -> None:
    """A network device has two rings a queue."""
    talk = agreed(1)
    talk.pipeline.sessions[1] = talk.state._replace(context=talk.state.context._replace(device=device))
    talk.pipeline.sessions[1] = talk.state._replace(device_given=True)
    talk.ask("GET_QUEUE_NUM", {"queues": 2})
    no = talk.front_end("SET_VRING_NUM", index=index, num=256).no
    assert broken(talk, "VU-VR-13") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("who, note", [(None, True), ("qemu", False), ("dpdk", False)])
def test_call_descriptors_before_features(who: str | None, note: bool) -> None:
    talk = Talk(profile=(who, None))
    talk.ask("GET_FEATURES", {"features": MODERN})
    no = talk.front_end("SET_VRING_CALL", index=0, fds=[CALL]).no
    assert broken(talk, "VU-VR-14") == [("note", FRONT, no)] * note


@pytest.mark.parametrize(
    "virtio, enabled, wrong", [(MODERN, None, True), (MODERN, 1, False), (MODERN, 0, False), (VERSION_1, None, False)]
)  # fmt: skip
def test_a_ring_that_is_never_enabled(virtio: int, enabled: int | None, wrong: bool) -> None:
    """QEMU 02b61f38d3: bit 30 acknowledged, no SET_VRING_ENABLE; the mount hangs, without any error."""
    talk = with_memory(virtio=virtio)
    set_up(talk)
    no = kick(talk).no
    if enabled is not None:
        talk.front_end("SET_VRING_ENABLE", index=0, num=enabled)
    talk.pause(6 * SECOND)
    talk.front_end("GET_FEATURES")
    talk.event("eof", sender=0)
    assert broken(talk, "VU-VR-15") == [("warning", FRONT, no)] * wrong


def test_enabled_for_every_other_ring_only() -> None:
    """DPDK cd81ee7cc2: once for each pair."""
    talk = with_memory()
    started = {}
    for index in range(4):
        set_up(talk, index)
        started[index] = kick(talk, index).no
        if index % 2 == 0:
            talk.front_end("SET_VRING_ENABLE", index=index, num=1)
    talk.event("eof", sender=0)
    assert broken(talk, "VU-VR-15") == [("warning", FRONT, started[1]), ("warning", FRONT, started[3])]


@pytest.mark.parametrize("num", [0, 1, 2])
def test_enabled_by_something_else(num: int) -> None:
    talk = agreed()
    no = talk.front_end("SET_VRING_ENABLE", index=0, num=num).no
    assert broken(talk, "VU-VR-16") == [("error", FRONT, no)] * (num == 2)


@pytest.mark.parametrize("started, num, wrong", [(False, 1, False), (False, 2, True), (True, 1, True)])
def test_byte_order(started: bool, num: int, wrong: bool) -> None:
    talk = running(1 << 6) if started else agreed(1 << 6)
    no = talk.front_end("SET_VRING_ENDIAN", index=0, num=num).no
    assert broken(talk, "VU-VR-17") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("stopped", [False, True])
def test_started_once_more(stopped: bool) -> None:
    talk = running()
    if stopped:
        stop(talk)
    no = kick(talk).no
    assert broken(talk, "VU-VR-18") == [("note", FRONT, no)] * (not stopped)


@pytest.mark.parametrize("num, wrong", [(128, False), (256, True)])
def test_a_ring_larger_than_its_in_flight_region(num: int, wrong: bool) -> None:
    talk = with_memory(1 << 12)
    area = {"mmap_length": 8192, "mmap_offset": 0, "num_queues": 1, "queue_size": 128}
    talk.ask("GET_INFLIGHT_FD", area, **area | {"mmap_length": 0})
    no = talk.front_end("SET_VRING_NUM", index=0, num=num).no
    assert broken(talk, "VU-VR-19") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("nofd", [False, True])
def test_polling(nofd: bool) -> None:
    talk = with_memory()
    set_up(talk)
    no = talk.front_end("SET_VRING_KICK", index=0, nofd=nofd, fds=[] if nofd else [KICK]).no
    assert broken(talk, "VU-VR-20") == [("note", FRONT, no)] * nofd


def test_polling_and_a_descriptor_is_a_contradiction_and_no_polling() -> None:
    """VU-FD-05 says so."""
    talk = with_memory()
    set_up(talk)
    talk.front_end("SET_VRING_KICK", index=0, nofd=True, fds=[KICK])
    assert broken(talk, "VU-VR-20") == []
    assert [one.rule for one in talk.findings if one.severity == "error"] == ["VU-FD-05"]


def test_a_session_that_begins_in_the_middle_is_not_blamed() -> None:
    talk = Talk(whole=False)
    talk.front_end("SET_VRING_ADDR", **addresses())
    kick(talk)
    table(talk)
    talk.front_end("GET_VRING_BASE", index=0, num=0)
    assert [one for one in talk.findings if one.severity == "error" and one.rule.startswith("VU-VR")] == []
