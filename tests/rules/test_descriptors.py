"""Descriptors: where, how many, of which kind. How many a request carries is in test_rows."""

from __future__ import annotations

from typing import Any

import pytest

from vhostspy.capture.record import LATE_FDS, UNSURE_FDS, Descriptor

from ..pipeline.conversation import CALL, KICK, RAM
from .talk import Talk, broken, features

FRONT, BACK = 0, 1
SOCKET = Descriptor("call", "socket", "rw", 8, 5, name="socket:[5]")
UFFD = Descriptor("userfault", "userfaultfd", "rw", 15, 4)
LOG_SHMFD, BACKEND_REQ, SEND_FD = 1 << 1, 1 << 5, 1 << 10
REGION = {"guest_address": 0, "length": 4096, "user_address": 0x1000, "mmap_offset": 0}


def test_descriptors_that_come_with_the_payload() -> None:
    talk = Talk()
    set_kick = bytes.fromhex("0c000000 01000000 08000000 0000000000000000")
    talk.octets(set_kick, fds=(KICK,), flags=LATE_FDS, fds_at=12)
    assert broken(talk, "VU-FD-01") == [("error", FRONT, 1)]
    talk.octets(set_kick, fds=(KICK,))
    assert len(broken(talk, "VU-FD-01")) == 1


def test_where_it_is_not_sure_whose_they_are_nothing_is_said() -> None:
    talk = Talk()
    owner = bytes.fromhex("03000000 01000000 00000000")
    talk.octets(owner, fds=(KICK,), flags=UNSURE_FDS)
    assert broken(talk, "VU-FD-02") == []
    talk.octets(owner, fds=(KICK,))
    assert broken(talk, "VU-FD-02") == [("error", FRONT, 2)]


@pytest.mark.parametrize("count, wrong", [(2, False), (1, True), (3, True)])
def test_a_memory_table_carries_one_a_region(count: int, wrong: bool) -> None:
    talk = Talk()
    regions = [REGION, REGION | {"guest_address": 8192, "user_address": 0x9000}]
    talk.front_end("SET_MEM_TABLE", count=2, regions=regions, fds=[RAM] * count)
    assert broken(talk, "VU-FD-03") == [("error", FRONT, 1)] * wrong


@pytest.mark.parametrize("nofd, fds, wrong", [
    (False, [KICK], False), (True, [], False), (False, [], True), (True, [KICK], True), (False, [KICK, KICK], True),
])  # fmt: skip
def test_a_kick_comes_with_a_descriptor_or_with_nofd(nofd: bool, fds: list[Descriptor], wrong: bool) -> None:
    talk = Talk()
    talk.front_end("SET_VRING_KICK", index=0, nofd=nofd, fds=fds)
    assert broken(talk, "VU-FD-05") == [("error", FRONT, 1)] * wrong


@pytest.mark.parametrize("agreed, count, wrong", [
    (LOG_SHMFD, 1, False), (0, 0, False), (LOG_SHMFD, 0, True), (0, 1, True),
])  # fmt: skip
def test_the_log_comes_with_a_descriptor_if_that_is_a_feature(agreed: int, count: int, wrong: bool) -> None:
    talk = Talk()
    features(talk, protocol=agreed)
    talk.front_end("SET_LOG_BASE", mmap_length=4096, mmap_offset=0, fds=[RAM._replace(role="log")] * count)
    assert broken(talk, "VU-FD-06") == [("error", FRONT, 8)] * wrong


def test_where_the_capture_began_in_the_middle_either_is_possible() -> None:
    talk = Talk(whole=False)
    talk.front_end("SET_LOG_BASE", mmap_length=4096, mmap_offset=0)
    assert broken(talk, "VU-FD-06") == []


INFLIGHT = {"mmap_offset": 0, "num_queues": 1, "queue_size": 128}
REPLIES: list[tuple[str, str, dict[str, Any], dict[str, Any], list[Descriptor], bool]] = [
    # rule, request, its members, the answer's, its descriptors, wrong
    ("VU-FD-07", "GET_INFLIGHT_FD", INFLIGHT | {"mmap_length": 0}, INFLIGHT | {"mmap_length": 4096}, [RAM], False),
    ("VU-FD-07", "GET_INFLIGHT_FD", INFLIGHT | {"mmap_length": 0}, INFLIGHT | {"mmap_length": 0}, [], False),
    ("VU-FD-07", "GET_INFLIGHT_FD", INFLIGHT | {"mmap_length": 0}, INFLIGHT | {"mmap_length": 4096}, [], True),
    ("VU-FD-08", "POSTCOPY_ADVISE", {}, {}, [UFFD], False),
    ("VU-FD-08", "POSTCOPY_ADVISE", {}, {}, [], True),
    ("VU-FD-08", "POSTCOPY_ADVISE", {}, {}, [RAM], True),
    ("VU-FD-09", "SET_DEVICE_STATE_FD", {"direction": 0, "phase": 0}, {"error": 0, "nofd": True}, [], False),
    ("VU-FD-09", "SET_DEVICE_STATE_FD", {"direction": 0, "phase": 0}, {"error": 1, "nofd": True}, [], False),
    ("VU-FD-09", "SET_DEVICE_STATE_FD", {"direction": 0, "phase": 0}, {"error": 0, "nofd": False}, [], True),
    ("VU-FD-09", "SET_DEVICE_STATE_FD", {"direction": 0, "phase": 0}, {"error": 1, "nofd": False}, [RAM], True),
    ("VU-FD-10", "GET_SHARED_OBJECT", {"uuid": bytes(16)}, {}, [RAM], False),
    ("VU-FD-10", "GET_SHARED_OBJECT", {"uuid": bytes(16)}, {}, [RAM, RAM], True),
]


@pytest.mark.parametrize("rule, name, asked, answer, fds, wrong", REPLIES)
def test_replies(
    rule: str, name: str, asked: dict[str, Any], answer: dict[str, Any], fds: list[Descriptor], wrong: bool
) -> None:
    talk = Talk()
    talk.front_end(name, **asked)
    talk.reply(name, fds=fds, **answer)
    assert broken(talk, rule) == [("error", BACK, 2)] * wrong


@pytest.mark.parametrize("agreed, wrong", [(BACKEND_REQ | SEND_FD, False), (BACKEND_REQ, True)])
def test_the_back_end_may_send_descriptors_if_that_is_a_feature(agreed: int, wrong: bool) -> None:
    talk = Talk()
    features(talk, protocol=agreed)
    talk.back_end("SHMEM_MAP", shmid=0, fd_offset=0, shm_offset=0, length=4096, fds=[RAM])
    assert broken(talk, "VU-FD-11") == [("error", BACK, 8)] * wrong


@pytest.mark.parametrize("value, fds, wrong", [(0, [RAM], False), (1, [], False), (0, [], True), (1, [RAM], True)])
def test_a_shared_object_comes_with_success_only(value: int, fds: list[Descriptor], wrong: bool) -> None:
    talk = Talk()
    talk.back_end("SHARED_OBJECT_LOOKUP", uuid=bytes(16))
    talk.say("backend", FRONT, "SHARED_OBJECT_LOOKUP", True, False, tuple(fds), {"value": value})
    assert broken(talk, "VU-FD-13") == [("error", FRONT, 2)] * wrong


def test_qemu_is_known_to_leave_it_out() -> None:
    talk = Talk(profile=("qemu", None))
    talk.back_end("SHARED_OBJECT_LOOKUP", uuid=bytes(16))
    talk.say("backend", FRONT, "SHARED_OBJECT_LOOKUP", True, False, (), {"value": 0})
    assert broken(talk, "VU-FD-13") == [("warning", FRONT, 2)]
    assert "QEMU is known to do so" in next(one.text for one in talk.findings if one.rule == "VU-FD-13")


@pytest.mark.parametrize("fd, severity", [(CALL, None), (SOCKET, "note"), (RAM._replace(role="call"), "warning")])
def test_calls_are_eventfds(fd: Descriptor, severity: str | None) -> None:
    """User-mode Linux uses stream sockets."""
    talk = Talk()
    talk.front_end("SET_VRING_CALL", index=0, fds=[fd])
    assert broken(talk, "VU-FD-14") == ([(severity, FRONT, 1)] if severity else [])


def test_a_kick_that_comes_back_as_a_call() -> None:
    talk = Talk()
    talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    talk.front_end("SET_VRING_CALL", index=0, fds=[KICK._replace(role="call")])
    assert broken(talk, "VU-FD-15") == [("warning", FRONT, 2)]


def test_an_eventfd_whose_id_is_given_again_once_the_ring_has_stopped() -> None:
    """QEMU closes the kick after GET_VRING_BASE; the next call may have its id."""
    talk = Talk()
    talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    talk.ask("GET_VRING_BASE", {"index": 0, "num": 0}, index=0, num=0)
    talk.front_end("SET_VRING_CALL", index=0, fds=[KICK._replace(role="call")])
    assert broken(talk, "VU-FD-15") == []


@pytest.mark.parametrize("back_end", ["libvhost-user", None])
def test_two_descriptors_for_libvhost_user(back_end: str | None) -> None:
    talk = Talk(profile=(None, back_end))
    regions = [REGION, REGION | {"guest_address": 8192, "user_address": 0x9000}]
    talk.front_end("SET_MEM_TABLE", count=2, regions=regions, fds=[RAM] * 2)
    assert broken(talk, "VU-FD-16") == [("note", FRONT, 1)] * (back_end is not None)


@pytest.mark.parametrize("times, between, note", [(50, False, False), (51, False, True), (200, True, False)])
def test_descriptors_again_and_again(times: int, between: bool, note: bool) -> None:
    """Snabb #560: the back-end closed none, and came to its limit."""
    talk = Talk()
    features(talk)
    no = 0
    for count in range(times):
        no = talk.front_end("SET_VRING_CALL", index=0, fds=[CALL._replace(eventfd_id=count)]).no
        if between and count % 10 == 0:
            talk.front_end("SET_VRING_NUM", index=0, num=256)
    assert broken(talk, "VU-FD-17") == [("note", FRONT, no)] * note
