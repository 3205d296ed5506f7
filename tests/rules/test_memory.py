"""Memory regions: ranges, counts, the files behind them."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from vhostspy.capture.record import Descriptor

from .steps import BACK, FRONT, MIB, PAGE, USER, agreed, file, region, running, start, table, with_memory
from .talk import Talk, broken

SLOTS = 1 << 15
LOW = region(0, 16 * MIB, USER)


def add(talk: Talk, one: dict[str, Any], fd: Descriptor | None = None, **more: bool) -> int:
    return talk.front_end("ADD_MEM_REG", **one, fds=[fd or file(len(talk.records))], **more).no


@pytest.mark.parametrize("guest, wrong", [(16 * MIB, False), (16 * MIB - PAGE, True), (0, True)])
def test_guest_addresses_overlap(guest: int, wrong: bool) -> None:
    talk = agreed()
    no = table(talk, LOW, region(guest, 16 * MIB, USER + 64 * MIB)).no
    assert broken(talk, "VU-MEM-01") == [("error", FRONT, no)] * wrong


def test_an_added_region_overlaps_one_that_is_there() -> None:
    talk = agreed(SLOTS)
    add(talk, LOW)
    add(talk, region(16 * MIB, MIB, USER + 64 * MIB))
    assert broken(talk, "VU-MEM-01") == []
    no = add(talk, region(8 * MIB, MIB, USER + 128 * MIB))
    assert broken(talk, "VU-MEM-01") == [("error", FRONT, no)]


def test_a_region_that_was_refused_is_not_there() -> None:
    talk = agreed(SLOTS | 8)
    add(talk, LOW, need_reply=True)
    talk.reply("ADD_MEM_REG", value=1)
    add(talk, LOW)
    assert broken(talk, "VU-MEM-01") == []


def test_the_same_region_once_more_as_qemu_before_8_adds_it() -> None:
    talk = agreed(SLOTS)
    add(talk, LOW)
    no = add(talk, LOW)
    assert broken(talk, "VU-MEM-01") == [("warning", FRONT, no)]
    assert broken(talk, "VU-MEM-02") == []


@pytest.mark.parametrize("user, wrong", [(USER + 16 * MIB, False), (USER + 8 * MIB, True)])
def test_user_addresses_overlap(user: int, wrong: bool) -> None:
    talk = agreed()
    no = table(talk, LOW, region(64 * MIB, 16 * MIB, user)).no
    assert broken(talk, "VU-MEM-02") == [("error", FRONT, no)] * wrong


TOP = (1 << 64) - PAGE


@pytest.mark.parametrize(
    "one, wrong",
    [
        (region(0, PAGE, USER), False),
        (region(0, 0, USER), True),
        (region(TOP, PAGE, USER), False),
        (region(TOP, 2 * PAGE, USER), True),
        (region(0, 2 * PAGE, TOP), True),
        (region(0, 2 * PAGE, USER, TOP), True),
    ],
)
def test_a_region_has_a_size_and_does_not_wrap(one: dict[str, Any], wrong: bool) -> None:
    """DPDK 4d490c7ce3 and 0fe99cf73e."""
    talk = agreed()
    no = table(talk, one).no
    assert broken(talk, "VU-MEM-03") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("count, severity", [(1, None), (8, None), (9, "error"), (0, "note")])
def test_regions_of_a_table(count: int, severity: str | None) -> None:
    talk = agreed()
    no = table(talk, *(region(at * MIB, MIB, USER + at * MIB) for at in range(count))).no
    assert broken(talk, "VU-MEM-04") == ([(severity, FRONT, no)] if severity else [])


@pytest.mark.parametrize("back_end, severity", [("rust-vmm", "warning"), ("libvhost-user", "error")])
def test_rust_vmm_takes_up_to_32_regions(back_end: str, severity: str) -> None:
    talk = agreed(profile=(None, back_end))
    no = table(talk, *(region(at * MIB, MIB, USER + at * MIB) for at in range(32))).no
    assert broken(talk, "VU-MEM-04") == [(severity, FRONT, no)]


def test_a_count_that_nothing_can_hold() -> None:
    """DPDK 4d490c7ce3: the count is believed before the size is looked at."""
    talk = agreed()
    no = talk.octets(pack("<IIIII32x", 5, 1, 40, 0xFFFFFFFF, 0), fds=(file(1),)).no
    assert broken(talk, "VU-MEM-04") == [("error", FRONT, no)]


@pytest.mark.parametrize("count, wrong", [(2, False), (3, True)])
def test_more_regions_than_slots(count: int, wrong: bool) -> None:
    """QEMU b906a23c33; rust-vmm #17."""
    talk = agreed(SLOTS)
    talk.ask("GET_MAX_MEM_SLOTS", {"slots": 2})
    no = [add(talk, region(at * MIB, MIB, USER + at * MIB)) for at in range(count)][-1]
    assert broken(talk, "VU-MEM-05") == [("error", FRONT, no)] * wrong


def test_a_slot_that_was_given_back_is_free() -> None:
    talk = agreed(SLOTS)
    talk.ask("GET_MAX_MEM_SLOTS", {"slots": 1})
    add(talk, LOW)
    talk.front_end("REM_MEM_REG", **LOW)
    add(talk, LOW)
    assert broken(talk, "VU-MEM-05") == []


@pytest.mark.parametrize("also_table", [False, True])
def test_a_table_and_slots_in_one_session(also_table: bool) -> None:
    talk = agreed(SLOTS)
    add(talk, LOW)
    no = table(talk, LOW).no if also_table else 0
    assert broken(talk, "VU-MEM-07") == [("warning", FRONT, no)] * also_table


@pytest.mark.parametrize(
    "changed, wrong",
    [({}, False), ({"mmap_offset": PAGE}, False), ({"length": PAGE}, True), ({"user_address": 0}, True)],
)
def test_what_is_removed_was_there(changed: dict[str, Any], wrong: bool) -> None:
    """The offset does not count."""
    talk = agreed(SLOTS)
    add(talk, LOW)
    no = talk.front_end("REM_MEM_REG", **LOW | changed).no
    assert broken(talk, "VU-MEM-08") == [("error", FRONT, no)] * wrong


def test_what_was_there_before_the_capture_is_not_known() -> None:
    talk = Talk(whole=False)
    talk.front_end("REM_MEM_REG", **LOW)
    assert broken(talk, "VU-MEM-08") == []


@pytest.mark.parametrize("where, wrong", [(LOW, True), (region(64 * MIB, MIB, USER + 64 * MIB), False)])
def test_memory_of_a_started_ring_is_taken_away(where: dict[str, Any], wrong: bool) -> None:
    talk = agreed(SLOTS)
    add(talk, LOW)
    add(talk, region(64 * MIB, MIB, USER + 64 * MIB))
    start(talk)
    no = talk.front_end("REM_MEM_REG", **where).no
    assert broken(talk, "VU-MEM-09") == [("warning", FRONT, no)] * wrong


def test_a_table_that_still_has_the_ring_may_be_sent_while_it_runs() -> None:
    talk = running()
    table(talk, LOW, region(64 * MIB, MIB, USER + 64 * MIB))
    assert broken(talk, "VU-MEM-09") == []


@pytest.mark.parametrize("size, wrong", [(2 * MIB, False), (MIB, True)])
def test_a_region_larger_than_its_file(size: int, wrong: bool) -> None:
    """QEMU ffe42cc14c merged neighbours that have different files."""
    talk = agreed()
    no = table(talk, region(0, MIB, USER, MIB), fds=[file(1, size)]).no
    assert broken(talk, "VU-MEM-10") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("offset", [0, PAGE, 512])
def test_an_offset_within_a_page(offset: int) -> None:
    talk = agreed()
    no = table(talk, region(0, MIB, USER, offset)).no
    assert broken(talk, "VU-MEM-11") == [("note", FRONT, no)] * (offset == 512)


@pytest.mark.parametrize("fds", [0, 1])
def test_removed_with_a_descriptor(fds: int) -> None:
    """QEMU before 7.1."""
    talk = agreed(SLOTS)
    add(talk, LOW)
    no = talk.front_end("REM_MEM_REG", **LOW, fds=[file(1)] * fds).no
    assert broken(talk, "VU-MEM-12") == [("warning", FRONT, no)] * fds


@pytest.mark.parametrize("bit, user, wrong", [(21, 0, False), (21, USER, True), (22, USER, False)])
def test_addresses_are_the_guests(bit: int, user: int, wrong: bool) -> None:
    """Bit 21 was SHMEM in rust-vmm 0.16: acknowledged by accident."""
    talk = agreed(1 << bit)
    no = table(talk, region(0, MIB, user)).no
    assert broken(talk, "VU-MEM-13") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("agreed_on", [False, True])
def test_regions_of_xen_without_the_feature(agreed_on: bool) -> None:
    talk = agreed(SLOTS | agreed_on << 17)
    payload = pack("<QQQQQII", 0, 0, MIB, USER, 0, 1, 0)
    no = talk.octets(pack("<III", 37, 1, 48) + payload, fds=(file(1),)).no
    assert broken(talk, "VU-MEM-15") == [("error", FRONT, no)] * (not agreed_on)


@pytest.mark.parametrize("padding", [0, 7])
def test_padding_of_a_table(padding: int) -> None:
    talk = agreed()
    payload = pack("<IIQQQQ", 1, padding, 0, MIB, USER, 0)
    no = talk.octets(pack("<III", 5, 1, 40) + payload, fds=(file(1),)).no
    assert broken(talk, "VU-MEM-16") == [("note", FRONT, no)] * (padding > 0)


@pytest.mark.parametrize(
    "fd, wrong",
    [(file(1), False), (file(1, access="r"), True), (file(1)._replace(kind="directory"), True)],
)
def test_memory_that_cannot_be_shared(fd: Descriptor, wrong: bool) -> None:
    talk = agreed()
    no = table(talk, region(), fds=[fd]).no
    assert broken(talk, "VU-MEM-17") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("offset, wrong", [(MIB, False), (0, True)])
def test_two_regions_with_the_same_octets_of_a_file(offset: int, wrong: bool) -> None:
    talk = agreed()
    no = table(talk, region(0, MIB), region(64 * MIB, MIB, USER + 64 * MIB, offset), fds=[file(1), file(1)]).no
    # said of each of them once
    assert set(broken(talk, "VU-MEM-17")) == ({("note", FRONT, no)} if wrong else set())


def test_a_healthy_table_has_nothing_wrong() -> None:
    talk = with_memory()
    assert [one for one in talk.findings if one.rule.startswith("VU-MEM")] == []
    assert BACK not in {one.who for one in talk.findings}
