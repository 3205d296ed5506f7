"""Sizes that depend on what is in the payload; the fixed ones are in test_rows."""

from __future__ import annotations

from struct import pack

import pytest

from .talk import Talk, broken, features, found

FRONT, BACK = 0, 1
CONFIG = 1 << 9


def message(id: int, payload: bytes, flags: int = 1) -> bytes:
    return pack("<III", id, flags, len(payload)) + payload


def table(count: int, octets: int) -> bytes:
    return message(5, pack("<II", count, 0) + bytes(octets))


@pytest.mark.parametrize("count, octets, rule, severity", [
    (1, 32, None, ""), (2, 64, None, ""), (2, 63, "VU-SZ-02", "error"), (1, 64, "VU-SZ-03", "note"),
    (2, 48, "VU-SZ-04", "error"),
])  # fmt: skip
def test_memory_tables(count: int, octets: int, rule: str | None, severity: str) -> None:
    """User-mode Linux always sends two regions of room (a note); the regions of 2014 had 24 bytes."""
    talk = Talk()
    talk.octets(table(count, octets))
    sizes = [(one, level, who) for one, level, who, _ in found(talk) if one.startswith("VU-SZ")]
    assert sizes == ([(rule, severity, FRONT)] if rule else [])


def test_a_region_of_eight_bytes_only_confirms_addresses() -> None:
    talk = Talk()
    features(talk, protocol=1 << 8 | 1 << 15)
    thanks = message(37, bytes(8))
    talk.octets(thanks)
    assert broken(talk, "VU-SZ-05") == [("error", FRONT, 8)]
    talk.front_end("POSTCOPY_ADVISE")
    talk.reply("POSTCOPY_ADVISE")
    talk.front_end("POSTCOPY_LISTEN")
    talk.octets(thanks)
    assert len(broken(talk, "VU-SZ-05")) == 1


@pytest.mark.parametrize("length, octets, wrong", [(4, 4, False), (256, 256, False), (4, 8, True), (8, 4, True),
                                                   (0, 0, True), (257, 257, True)])  # fmt: skip
def test_what_is_asked_of_the_configuration(length: int, octets: int, wrong: bool) -> None:
    talk = Talk()
    talk.octets(message(24, pack("<III", 0, length, 0) + bytes(octets)))
    assert broken(talk, "VU-SZ-08") == [("error", FRONT, 1)] * wrong


@pytest.mark.parametrize("payload, wrong", [
    (b"", False), (pack("<III", 0, 0, 0), False), (pack("<IIII", 0, 4, 0, 0), False), (pack("<III", 0, 4, 0), True),
])  # fmt: skip
def test_what_comes_back_or_a_refusal(payload: bytes, wrong: bool) -> None:
    """libvhost-user and DPDK refuse with nothing, rust-vmm with a length of 0."""
    talk = Talk()
    talk.front_end("GET_CONFIG", offset=0, length=4, config_flags=0, config=bytes(4))
    talk.octets(message(24, payload, 5), sender=BACK)
    assert broken(talk, "VU-SZ-08") == [("error", BACK, 2)] * wrong


def test_rust_vmm_sends_longer_pieces() -> None:
    talk = Talk(profile=("cloud-hypervisor", None))
    talk.octets(message(24, pack("<III", 0, 1024, 0) + bytes(1024)))
    assert broken(talk, "VU-SZ-08") == []


@pytest.mark.parametrize("size, wrong", [(0, False), (8, False), (16, False), (4, True)])
def test_the_three_answers_to_the_log(size: int, wrong: bool) -> None:
    """By nothing (DPDK), a number (libvhost-user, passt), or the structure (rust-vmm): each is right."""
    talk = Talk()
    features(talk, protocol=1 << 1)
    talk.front_end("SET_LOG_BASE", mmap_length=4096, mmap_offset=0)
    talk.octets(message(6, bytes(size), 5), sender=BACK)
    assert broken(talk, "VU-SZ-01") == [("error", BACK, 9)] * wrong


@pytest.mark.parametrize("size, wrong", [(2056, False), (2048, True)])
def test_the_shared_memory_regions(size: int, wrong: bool) -> None:
    talk = Talk()
    talk.front_end("GET_SHMEM_CONFIG")
    talk.octets(message(44, bytes(size), 5), sender=BACK)
    assert broken(talk, "VU-SZ-12") == [("error", BACK, 2)] * wrong


def test_an_acknowledgement_with_words_behind_it() -> None:
    """crosvm once appended the error's text."""
    talk = Talk()
    features(talk, protocol=1 << 3)
    talk.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256)
    talk.octets(message(8, bytes(40), 5), sender=BACK)
    assert broken(talk, "VU-SZ-13") == [("error", BACK, 9)]
