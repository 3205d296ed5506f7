"""Nobody moves."""

from __future__ import annotations

from struct import pack

import pytest

from ..pipeline.conversation import SECOND
from .steps import BACK, BOTH, FRONT, agreed, file, running, set_up, with_memory
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
