"""The in-flight region."""

from __future__ import annotations

from typing import Any

import pytest

from ..pipeline.conversation import RAM
from .steps import BACK, FRONT, MODERN, agreed, file, running, start, stop, with_memory
from .talk import Talk, broken

INFLIGHT = 1 << 12


def area(length: int = 8192, queues: int = 1, size: int = 256, offset: int = 0) -> dict[str, Any]:
    return {"mmap_length": length, "mmap_offset": offset, "num_queues": queues, "queue_size": size}


def given(talk: Talk, **changed: Any) -> int:
    """GET_INFLIGHT_FD and its answer."""
    talk.front_end("GET_INFLIGHT_FD", **area(0))
    return talk.reply("GET_INFLIGHT_FD", **area() | changed, fds=[file(9)]).no


def handed(talk: Talk, **changed: Any) -> int:
    return talk.front_end("SET_INFLIGHT_FD", **area() | changed, fds=[file(9)]).no


@pytest.mark.parametrize("asked", [False, True])
def test_handed_over_without_having_been_asked_for(asked: bool) -> None:
    talk = with_memory(INFLIGHT)
    if asked:
        given(talk)
    no = handed(talk)
    assert broken(talk, "VU-INF-02") == [("warning", FRONT, no)] * (not asked)


@pytest.mark.parametrize("times, severities", [(1, []), (2, ["note"]), (9, ["note", "error"])])
def test_asked_for_again_and_again(times: int, severities: list[str]) -> None:
    """CVE-2020-10726 and CVE-2022-0669: a descriptor and a mapping is lost each time."""
    talk = with_memory(INFLIGHT)
    for _ in range(times):
        given(talk)
    assert [severity for severity, _, _ in broken(talk, "VU-INF-02")] == severities


@pytest.mark.parametrize("times, severities", [(1, []), (2, ["note"]), (9, ["note", "error"])])
def test_handed_back_again_and_again(times: int, severities: list[str]) -> None:
    talk = with_memory(INFLIGHT)
    given(talk)
    for _ in range(times):
        handed(talk)
    assert [severity for severity, _, _ in broken(talk, "VU-INF-02")] == severities


def test_a_guest_that_starts_again_and_again() -> None:
    """QEMU asks anew each time, over one connection: `ji` in captures/."""
    talk = with_memory(INFLIGHT)
    for _ in range(12):
        given(talk)
        handed(talk)
        start(talk)
        stop(talk)
    assert broken(talk, "VU-INF-02") == []


@pytest.mark.parametrize(
    "changed, wrong",
    [({}, False), ({"mmap_offset": 4096}, False), ({"queue_size": 128}, True), ({"num_queues": 2}, True)],
)
def test_handed_back_changed(changed: dict[str, Any], wrong: bool) -> None:
    talk = with_memory(INFLIGHT)
    given(talk)
    no = handed(talk, **changed)
    assert broken(talk, "VU-INF-03") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("features", [False, True])
def test_before_features(features: bool) -> None:
    """QEMU adb29c0273, DPDK's core dump of cloud-hypervisor PR#2931: nobody knows whether rings are packed."""
    talk = Talk()
    talk.ask("GET_FEATURES", {"features": MODERN})
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": INFLIGHT})
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=INFLIGHT)
    if features:
        talk.front_end("SET_FEATURES", features=MODERN)
    no = talk.front_end("GET_INFLIGHT_FD", **area(0, size=128)).no
    assert broken(talk, "VU-INF-04") == [("warning", FRONT, no)] * (not features)


def test_after_rings_are_started() -> None:
    talk = running(INFLIGHT)
    no = handed(talk)
    assert broken(talk, "VU-INF-04") == [("warning", FRONT, no)]


@pytest.mark.parametrize(
    "changed, severity",
    [
        ({}, None),
        ({"num_queues": 0}, "warning"),
        ({"queue_size": 0}, "warning"),
        ({"num_queues": 0xFFFF}, "error"),
        ({"mmap_length": 16 + 16 * 256 - 1}, "error"),
    ],
)
def test_a_region_that_cannot_be(changed: dict[str, Any], severity: str | None) -> None:
    """CVE-2021-3839: a number of queues that is believed; qemu-storage-daemon 7.2 dies of 65535."""
    talk = with_memory(INFLIGHT)
    no = handed(talk, **changed)
    assert broken(talk, "VU-INF-05") == ([(severity, FRONT, no)] if severity else [])


def test_more_queues_than_there_are() -> None:
    talk = agreed(INFLIGHT | 1)
    talk.ask("GET_QUEUE_NUM", {"queues": 1})
    no = handed(talk, mmap_length=1 << 20, num_queues=3)
    assert broken(talk, "VU-INF-05") == [("error", FRONT, no)]


@pytest.mark.parametrize("offset, wrong", [(0, False), (4096, True)])
def test_a_region_larger_than_its_file(offset: int, wrong: bool) -> None:
    talk = with_memory(INFLIGHT)
    talk.front_end("GET_INFLIGHT_FD", **area(0))
    fd = RAM._replace(role="inflight", size=8192)
    no = talk.reply("GET_INFLIGHT_FD", **area(offset=offset), fds=[fd]).no
    assert broken(talk, "VU-INF-06") == [("warning", BACK, no)] * wrong
