"""The dirty log."""

from __future__ import annotations

import pytest

from .steps import FRONT, LOG_ALL, MIB, MODERN, PAGE, USER, addresses, agreed, file, region, running, table, with_memory
from .talk import Talk, broken

SHARED = 1 << 1
#: of the usual 16 MiB
NEEDED = 16 * MIB // PAGE // 8


def log(talk: Talk, size: int = NEEDED, offset: int = 0, shared: bool = True) -> int:
    fds = [file(8, 1 << 20)._replace(role="log")] * shared
    no = talk.front_end("SET_LOG_BASE", mmap_length=size, mmap_offset=offset, fds=fds).no
    if (talk.state.protocol_agreed or 0) & SHARED:
        talk.reply("SET_LOG_BASE")
    return no


def offering_logs(protocol: int = SHARED) -> Talk:
    """LOG_ALL is offered, not acknowledged yet, and rings are under way."""
    talk = running(protocol)
    talk.ask("GET_FEATURES", {"features": MODERN | LOG_ALL})
    return talk


@pytest.mark.parametrize("handed", [False, True])
def test_logging_without_a_log(handed: bool) -> None:
    """cloud-hypervisor 266ad8aa0, QEMU 51d59a64ee."""
    talk = offering_logs()
    if handed:
        log(talk)
    no = talk.front_end("SET_FEATURES", features=MODERN | LOG_ALL).no
    assert broken(talk, "VU-LOG-01") == [("warning", FRONT, no)] * (not handed)


@pytest.mark.parametrize("offered", [False, True])
def test_logging_that_nobody_offered(offered: bool) -> None:
    talk = offering_logs() if offered else running(SHARED)
    log(talk)
    no = talk.front_end("SET_FEATURES", features=MODERN | LOG_ALL).no
    assert broken(talk, "VU-LOG-02") == [("error", FRONT, no)] * (not offered)


@pytest.mark.parametrize("size, wrong", [(NEEDED, False), (NEEDED - 1, True)])
def test_a_log_shorter_than_memory(size: int, wrong: bool) -> None:
    talk = with_memory(SHARED)
    no = log(talk, size)
    assert broken(talk, "VU-LOG-03") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize(
    "offset, severity",
    [(0, None), (PAGE, None), ((1 << 64) - PAGE, "error"), (1 << 20, "error"), (512, "warning")],
)
def test_where_the_log_begins(offset: int, severity: str | None) -> None:
    """CVE-2020-10722: offset and size wrap; DPDK fbc4d248b1 had the offset wrong for six years."""
    talk = agreed(SHARED)
    no = log(talk, 2 * PAGE, offset)
    assert broken(talk, "VU-LOG-03") == ([(severity, FRONT, no)] if severity else [])


def test_memory_that_grows_beyond_the_log() -> None:
    talk = offering_logs()
    log(talk)
    talk.front_end("SET_FEATURES", features=MODERN | LOG_ALL)
    no = table(talk, region(), region(64 * MIB, MIB, USER + 64 * MIB)).no
    assert broken(talk, "VU-LOG-03") == [("error", FRONT, no)]


@pytest.mark.parametrize("at, wrong", [(16 * MIB - 1, False), (16 * MIB, True)])
def test_a_ring_that_logs_beyond_the_log(at: int, wrong: bool) -> None:
    talk = offering_logs()
    log(talk)
    talk.front_end("SET_FEATURES", features=MODERN | LOG_ALL)
    no = talk.front_end("SET_VRING_ADDR", **addresses(log_used=True, log_address=at)).no
    assert broken(talk, "VU-LOG-03") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("agreed_on", [False, True])
def test_a_ring_that_logs_alone(agreed_on: bool) -> None:
    talk = offering_logs()
    log(talk)
    if agreed_on:
        talk.front_end("SET_FEATURES", features=MODERN | LOG_ALL)
    no = talk.front_end("SET_VRING_ADDR", **addresses(log_used=True)).no
    assert broken(talk, "VU-LOG-04") == [("warning", FRONT, no)] * (not agreed_on)


@pytest.mark.parametrize("ring_first", [False, True])
def test_the_end_of_logging(ring_first: bool) -> None:
    talk = offering_logs()
    log(talk)
    talk.front_end("SET_FEATURES", features=MODERN | LOG_ALL)
    talk.front_end("SET_VRING_ADDR", **addresses(log_used=True))
    if ring_first:
        talk.front_end("SET_VRING_ADDR", **addresses(log_used=False))
    no = talk.front_end("SET_FEATURES", features=MODERN).no
    assert broken(talk, "VU-LOG-05") == [("note", FRONT, no)] * (not ring_first)


@pytest.mark.parametrize("size, severity", [(NEEDED, "warning"), (2 * NEEDED, "note")])
def test_a_log_in_place_of_another(size: int, severity: str) -> None:
    """QEMU 7c211eb078: once for each pair of queues, and DPDK had unmapped what its threads were writing."""
    talk = running(SHARED)
    log(talk)
    assert broken(talk, "VU-LOG-06") == []
    no = log(talk, size)
    assert broken(talk, "VU-LOG-06") == [(severity, FRONT, no)]


def test_a_log_twice_before_anything_runs() -> None:
    talk = with_memory(SHARED)
    log(talk)
    no = log(talk)
    assert broken(talk, "VU-LOG-06") == [("note", FRONT, no)]


@pytest.mark.parametrize("announces", [False, True])
def test_rarp_for_a_guest_that_announces_itself(announces: bool) -> None:
    talk = agreed(1 << 2, MODERN | (1 << 21) * announces)
    no = talk.front_end("SEND_RARP", mac=bytes(6)).no
    assert broken(talk, "VU-LOG-07") == [("warning", FRONT, no)] * announces


@pytest.mark.parametrize("protocol", [0, SHARED])
def test_a_log_that_cannot_be_shared(protocol: int) -> None:
    """QEMU sends 16 bytes all the same."""
    talk = running(protocol)
    no = log(talk, shared=bool(protocol))
    assert broken(talk, "VU-LOG-08") == [("warning", FRONT, no)] * (not protocol)
