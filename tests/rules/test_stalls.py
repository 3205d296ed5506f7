"""Nobody moves."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from ..pipeline.conversation import SECOND
from .steps import BACK, BOTH, FRONT, IOMMU, MODERN, USER, agreed, file, running, set_up, with_memory
from .talk import Talk, broken

CHANNEL = 1 << 3 | 1 << 5 | 1 << 9


def silence(talk: Talk, seconds: int) -> None:
    """So long nothing passes, and whoever watches looks at the clock."""
    talk.at += seconds * SECOND
    talk.items += talk.pipeline.tick(talk.at)


@pytest.mark.parametrize("answered", [False, True])
def test_two_channels_that_wait_for_each_other(answered: bool) -> None:
    """QEMU db8a3772e3: to stop a ring the back-end needs an answer, the front-end waits for the ring."""
    talk = running(CHANNEL)
    first = talk.front_end("GET_VRING_BASE", index=0, num=0).no
    second = talk.back_end("CONFIG_CHANGE_MSG", need_reply=True).no
    if answered:
        talk.say("backend", FRONT, "CONFIG_CHANGE_MSG", True, False, (), {"value": 0})
    silence(talk, 6)
    assert broken(talk, "VU-STL-01") == [("error", BOTH, second)] * (not answered)
    evidence = [one.evidence for one in talk.findings if one.rule == "VU-STL-01"]
    assert evidence == [(first, second)] * (not answered)


def test_a_moment_of_waiting_for_each_other_is_no_deadlock() -> None:
    talk = running(CHANNEL)
    talk.front_end("GET_VRING_BASE", index=0, num=0)
    talk.back_end("CONFIG_CHANGE_MSG", need_reply=True)
    silence(talk, 1)
    assert broken(talk, "VU-STL-01") == []


@pytest.mark.parametrize("seconds, wrong", [(9, False), (11, True)])
def test_a_session_that_stands_still(seconds: int, wrong: bool) -> None:
    """SPDK #2518: the last "read message" line has no follow-up."""
    talk = with_memory(1 << 3)
    no = talk.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256).no
    silence(talk, seconds)
    assert broken(talk, "VU-STL-02") == [("warning", BACK, no)] * wrong


def test_one_answer_is_late_while_others_come() -> None:
    """Late is not still: VU-RPL-15."""
    talk = with_memory(1 << 3)
    talk.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256)
    talk.front_end("SET_VRING_BASE", index=0, num=0)
    silence(talk, 11)
    assert broken(talk, "VU-STL-02") == []


@pytest.mark.parametrize("seconds, wrong", [(1, False), (20, True)])
def test_nobody_owes_anything_and_nothing_happens(seconds: int, wrong: bool) -> None:
    """QEMU 60cd11024f: it waited for the answer to a message that it had not sent."""
    talk = with_memory()
    set_up(talk)
    no = talk.no
    silence(talk, seconds)
    talk.event("eof", sender=FRONT)
    assert broken(talk, "VU-STL-03") == [("note", FRONT, no)] * wrong


def test_a_session_that_has_rings_may_be_silent() -> None:
    talk = running()
    silence(talk, 3600)
    talk.event("eof", sender=FRONT)
    assert [one for one in talk.findings if one.rule.startswith("VU-STL")] == []
    assert broken(agreed(), "VU-STL-03") == []


@pytest.mark.parametrize(
    "who, size, severity",
    [
        ("rust-vmm", 16, None),
        ("rust-vmm", 8, "warning"),
        ("rust-vmm", 0, "warning"),
        ("qemu", 0, None),
        (None, 8, "note"),
    ],
)
def test_a_front_end_that_reads_another_size(who: str | None, size: int, severity: str | None) -> None:
    """rust-vmm/vhost #217: migration hung at its first step for 26 months."""
    talk = with_memory(1 << 1, profile=(who, None))
    talk.front_end("SET_LOG_BASE", mmap_length=4096, mmap_offset=0, fds=[file(3)._replace(role="log")])
    no = talk.octets(pack("<III", 6, 5, size) + bytes(size), sender=BACK).no
    assert broken(talk, "VU-STL-04") == ([(severity, None, no)] if severity else [])


@pytest.mark.parametrize("updated", [False, True])
def test_a_miss_that_nobody_reads_and_a_request_that_nobody_reads(updated: bool) -> None:
    """DPDK 1aadb2f6b1: the miss was sent under the lock that the main channel needs."""
    talk = with_memory(CHANNEL, MODERN | IOMMU)
    iotlb: dict[str, Any] = {"length": 0, "user_address": 0, "permission": 1, "type": 1}
    miss = talk.back_end("IOTLB_MSG", iova=0x1000, **iotlb).no
    for number in range(2, 100):
        talk.back_end("IOTLB_MSG", iova=number << 12, **iotlb)
    if updated:
        update: dict[str, Any] = {"length": 1 << 20, "user_address": USER, "permission": 3, "type": 2}
        talk.front_end("IOTLB_MSG", iova=0, **update)
        talk.reply("IOTLB_MSG", value=0)
    asked = talk.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256).no
    silence(talk, 6)
    assert broken(talk, "VU-STL-01") == [("error", BOTH, asked)] * (not updated)
    assert [one.evidence for one in talk.findings if one.rule == "VU-STL-01"] == [(asked, miss)] * (not updated)


def test_a_stall_says_who_owes_whom_what_since_when() -> None:
    talk = with_memory(CHANNEL)
    asked = talk.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256).no
    silence(talk, 12)
    (text,) = [one.text for one in talk.findings if one.rule == "VU-STL-02"]
    assert text == (
        f"expected the session to go on: the back-end owes the front-end an answer to SET_VRING_NUM #{asked} on the "
        "main channel since 10.0 s, and nothing has passed since"
    )


def test_a_back_end_that_waits_says_so_too() -> None:
    talk = running(CHANNEL)
    asked = talk.back_end("CONFIG_CHANGE_MSG", need_reply=True).no
    silence(talk, 12)
    assert broken(talk, "VU-STL-02") == [("warning", FRONT, asked)]
    (text,) = [one.text for one in talk.findings if one.rule == "VU-STL-02"]
    assert f"the front-end owes the back-end an answer to CONFIG_CHANGE_MSG #{asked} on the backend channel" in text


def test_crossed_says_what_each_owes_on_which_channel_since_when() -> None:
    talk = running(CHANNEL)
    first = talk.front_end("GET_VRING_BASE", index=0, num=0).no
    talk.pause(SECOND)
    second = talk.back_end("CONFIG_CHANGE_MSG", need_reply=True).no
    silence(talk, 6)
    (text,) = [one.text for one in talk.findings if one.rule == "VU-STL-01"]
    assert text.startswith("expected one of the ends to answer: the back-end owes an answer to GET_VRING_BASE ")
    assert f"GET_VRING_BASE #{first} on the main channel since 5.0 s, the front-end one to " in text
    assert f"CONFIG_CHANGE_MSG #{second} on the backend channel since 4.0 s" in text
