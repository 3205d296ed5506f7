"""The back-end's own channel."""

from __future__ import annotations

from typing import Any

import pytest

from vhostspy.capture.record import Descriptor
from vhostspy.message import Message

from ..pipeline.conversation import MS, SECOND
from .steps import BACK, FRONT, MODERN, PAGE, agreed, running
from .talk import Talk, broken

CHANNEL, CONFIG, NOTIFIER, INBAND = 1 << 5 | 1 << 3, 1 << 9, 1 << 10 | 1 << 11, 1 << 14
SOCKET = Descriptor("socket", "socket", "rw", 8, 5, name="socket:[5]")
AREA = Descriptor("notifier", "device", "rw", 8, 6)


def open_channel(talk: Talk) -> int:
    no = talk.front_end("SET_BACKEND_REQ_FD", fds=[SOCKET]).no
    talk.event("channel", channel="backend", after=no)
    return no


@pytest.mark.parametrize("closed", [False, True])
def test_a_second_channel(closed: bool) -> None:
    """DPDK 761d57651c and QEMU c4f753859a lost the first descriptor."""
    talk = agreed(CHANNEL)
    open_channel(talk)
    if closed:
        talk.event("eof", sender=1, channel="backend")
    no = open_channel(talk)
    assert broken(talk, "VU-BE-02") == [("warning", FRONT, no)] * (not closed)


@pytest.mark.parametrize("need_reply", [False, True])
def test_an_answer_that_nobody_wants(need_reply: bool) -> None:
    talk = agreed(CHANNEL | CONFIG)
    talk.back_end("CONFIG_CHANGE_MSG", need_reply=need_reply)
    no = talk.say("backend", 0, "CONFIG_CHANGE_MSG", True, False, (), {"value": 0}).no
    assert broken(talk, "VU-BE-05") == [("warning", FRONT, no)] * (not need_reply)


@pytest.mark.parametrize("name, severity", [("CONFIG_CHANGE_MSG", "note"), ("SHARED_OBJECT_ADD", "warning")])
def test_before_features(name: str, severity: str) -> None:
    for late in (False, True):
        talk = Talk()
        talk.ask("GET_FEATURES", {"features": MODERN})
        talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=CHANNEL | CONFIG | 1 << 18)
        if late:
            talk.front_end("SET_FEATURES", features=MODERN)
        fields: dict[str, Any] = {"uuid": b"\x01" * 16} if "OBJECT" in name else {}
        no = talk.back_end(name, **fields).no
        assert broken(talk, "VU-BE-06") == [(severity, BACK, no)] * (not late)


def test_after_the_main_channel_has_ended() -> None:
    """QEMU b9ec9bd468: a handler outlives the device."""
    talk = running(CHANNEL | CONFIG)
    talk.event("eof", sender=1)
    no = talk.back_end("CONFIG_CHANGE_MSG").no
    assert broken(talk, "VU-BE-06") == [("warning", BACK, no)]


def notify(
    talk: Talk, index: int = 0, length: int = PAGE, offset: int = 0, nofd: bool = False, fds: int = 1
) -> Message:
    return talk.back_end(
        "VRING_HOST_NOTIFIER_MSG", index=index, nofd=nofd, length=length, offset=offset, fds=[AREA] * fds
    )  # fmt: skip


@pytest.mark.parametrize("nofd, fds, wrong", [(False, 1, 0), (True, 0, 0), (True, 1, 1), (False, 0, 1)])
def test_descriptors_of_a_host_notifier(nofd: bool, fds: int, wrong: int) -> None:
    talk = running(CHANNEL | NOTIFIER)
    no = notify(talk, nofd=nofd, fds=fds).no
    assert broken(talk, "VU-BE-07") == [("error", BACK, no)] * wrong


def test_a_host_notifier_that_was_not_agreed_on() -> None:
    talk = running(CHANNEL)
    no = notify(talk).no
    assert broken(talk, "VU-BE-07") == [("error", BACK, no)]


@pytest.mark.parametrize("length, offset, wrong", [(PAGE, PAGE, 0), (2 * PAGE, 0, 1), (PAGE, 512, 1)])
def test_the_area_of_a_host_notifier(length: int, offset: int, wrong: int) -> None:
    talk = running(CHANNEL | NOTIFIER)
    no = notify(talk, length=length, offset=offset).no
    assert broken(talk, "VU-BE-08") == [("warning", BACK, no)] * wrong


@pytest.mark.parametrize("order, wrong", [((0, 1), False), ((1, 0), True)])
def test_host_notifiers_ring_after_ring(order: tuple[int, int], wrong: bool) -> None:
    """QEMU bd437c960f."""
    talk = running(CHANNEL | NOTIFIER)
    no = [notify(talk, index).no for index in order][0]
    assert broken(talk, "VU-BE-08") == [("note", BACK, no)] * wrong


@pytest.mark.parametrize("protocol, num, wrong", [(CHANNEL | INBAND, 0, 0), (CHANNEL | INBAND, 1, 1), (CHANNEL, 0, 1)])
def test_in_band_calls(protocol: int, num: int, wrong: int) -> None:
    talk = running(protocol)
    no = talk.back_end("VRING_CALL", need_reply=True, index=0, num=num).no
    assert broken(talk, "VU-BE-09") == [("error", BACK, no)] * wrong


@pytest.mark.parametrize("goes_on", [False, True])
def test_the_channel_ends_and_the_session_goes_on(goes_on: bool) -> None:
    """QEMU closes it on what it does not like; at the end of a session both end."""
    talk = running(CHANNEL | CONFIG)
    talk.back_end("CONFIG_CHANGE_MSG")
    talk.event("eof", sender=FRONT, channel="backend")
    talk.pause(SECOND)
    if goes_on:
        no = talk.front_end("GET_FEATURES").no
        assert broken(talk, "VU-BE-10") == [("warning", FRONT, no)]
    else:
        talk.event("eof", sender=FRONT)
        talk.pause(MS)
        talk.event("close")
        assert broken(talk, "VU-BE-10") == []


@pytest.mark.parametrize("protocol, wrong", [(CHANNEL, False), (1 << 3, True)])
def test_a_channel_that_was_not_agreed_on(protocol: int, wrong: bool) -> None:
    talk = agreed(protocol)
    open_channel(talk)
    no = talk.octets(bytes.fromhex("020000000100000000000000"), "backend", BACK).no
    assert broken(talk, "VU-BE-01") == [("error", BACK, no)] * wrong
