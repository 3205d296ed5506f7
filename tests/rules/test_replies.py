"""Who owes an answer, and what comes instead."""

from __future__ import annotations

from struct import pack

import pytest

from ..pipeline.conversation import MS, SECOND
from .talk import Talk, broken, features, found

FRONT, BACK = 0, 1
REPLY_ACK, LOG_SHMFD, MTU = 1 << 3, 1 << 1, 1 << 4


def agreed(
    protocol: int = REPLY_ACK, virtio: int = 1 << 30 | 1 << 32, profile: tuple[str | None, str | None] = (None, None)
) -> Talk:
    """Messages 1 to 7 are spent."""
    talk = Talk(profile=profile)
    features(talk, protocol=protocol, virtio=virtio)
    talk.items.clear()
    return talk


def ring_size(talk: Talk, need_reply: bool = True) -> None:
    talk.front_end("SET_VRING_NUM", need_reply=need_reply, index=0, num=256)


# -- missing


def test_a_back_end_that_hangs_up_instead_of_answering() -> None:
    talk = agreed()
    talk.front_end("GET_FEATURES")
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-RPL-01") == [("error", BACK, 8)]


def test_a_front_end_that_is_killed_while_it_waits() -> None:
    """Nobody's fault: the back-end had 2 ms."""
    talk = agreed()
    talk.front_end("GET_FEATURES")
    talk.event("eof", sender=FRONT)
    talk.event("close")
    assert found(talk, "VU-NEG-15") == []


def test_a_front_end_that_gives_up() -> None:
    talk = agreed()
    talk.front_end("GET_FEATURES")
    talk.pause(20 * SECOND)
    talk.event("eof", sender=FRONT)
    talk.event("close")
    assert broken(talk, "VU-RPL-01") == [("error", BACK, 8)]


def test_reply_ack_is_offered_and_not_honoured() -> None:
    """crosvm acknowledged the bit and never answered."""
    talk = agreed()
    ring_size(talk)
    talk.pause(7 * SECOND)
    talk.event("close")
    assert broken(talk, "VU-RPL-02") == [("error", BACK, 8)]
    assert broken(talk, "VU-RPL-15") == [("warning", BACK, 8)]


def test_without_need_reply_nothing_is_missing() -> None:
    talk = agreed()
    ring_size(talk, need_reply=False)
    talk.pause(7 * SECOND)
    talk.event("eof", sender=BACK)
    assert found(talk, "VU-CLS-01") == []


@pytest.mark.parametrize("protocol, wrong", [(REPLY_ACK | LOG_SHMFD, True), (REPLY_ACK, False)])
def test_the_log_is_answered_where_its_descriptor_is_a_feature(protocol: int, wrong: bool) -> None:
    talk = agreed(protocol)
    talk.front_end("SET_LOG_BASE", mmap_length=4096, mmap_offset=0)
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-RPL-11") == [("error", BACK, 8)] * wrong


@pytest.mark.parametrize("need_reply", [True, False])
def test_the_mtu(need_reply: bool) -> None:
    talk = agreed(REPLY_ACK | MTU)
    talk.front_end("NET_SET_MTU", need_reply=need_reply, mtu=1500)
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-RPL-12") == [("warning", BACK, 8)] * need_reply


@pytest.mark.parametrize("back_end, severity", [(None, "warning"), ("dpdk", "note")])
def test_translations_are_answered(back_end: str | None, severity: str) -> None:
    talk = agreed(virtio=1 << 30 | 1 << 32 | 1 << 33, profile=(None, back_end))
    talk.front_end("IOTLB_MSG", iova=0, length=4096, user_address=0, permission=3, type=2)
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-RPL-13") == [(severity, BACK, 8)]


def test_where_the_answering_end_is_not_read_any_more_nothing_is_said() -> None:
    talk = agreed()
    talk.event("unread", sender=BACK)
    talk.front_end("GET_FEATURES")
    talk.pause(20 * SECOND)
    talk.event("eof", sender=BACK)
    assert found(talk, "VU-NEG-15") == []


# -- too much


def test_an_answer_that_nobody_wanted() -> None:
    talk = agreed()
    ring_size(talk, need_reply=False)
    talk.reply("SET_VRING_NUM", value=0)
    assert broken(talk, "VU-RPL-03") == [("error", BACK, 9)]


def test_need_reply_without_the_feature_is_answered_by_many() -> None:
    """DPDK, libvhost-user and passt."""
    talk = agreed(protocol=0)
    talk.front_end("SET_OWNER", need_reply=True)
    talk.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256)
    talk.reply("SET_OWNER", value=0)
    talk.reply("SET_VRING_NUM", value=0)
    assert [one for one in found(talk, "VU-OWN-02") if one[1] == "error"] == []
    assert broken(talk, "VU-RPL-03") == [("note", BACK, 11)]


def test_libvhost_user_always_answers_listen() -> None:
    talk = agreed(REPLY_ACK | 1 << 8)
    talk.front_end("POSTCOPY_LISTEN")
    talk.reply("POSTCOPY_LISTEN", value=0)
    assert broken(talk, "VU-RPL-03") == [("note", BACK, 9)]


def test_a_reply_comes_twice() -> None:
    talk = agreed()
    talk.ask("GET_FEATURES", {"features": 0})
    assert broken(talk, "VU-RPL-07") == []
    talk.reply("GET_FEATURES", features=0)
    assert broken(talk, "VU-RPL-07") == [("error", BACK, 10)]


def test_where_the_capture_began_in_the_middle_it_may_have_been_asked_for() -> None:
    talk = Talk(whole=False)
    talk.reply("GET_FEATURES", features=0)
    assert found(talk) == []


def test_after_a_hole_it_may_have_been_asked_for() -> None:
    talk = agreed()
    talk.session = 0
    talk.event("gap", messages=3, bytes=60, why="disk full")
    talk.session = 1
    talk.reply("GET_FEATURES", features=0)
    talk.front_end("GET_CONFIG", offset=0, length=4, config_flags=0, config=bytes(4))
    assert found(talk) == []


def test_an_answer_to_another_question() -> None:
    talk = agreed()
    talk.front_end("GET_FEATURES")
    talk.reply("GET_PROTOCOL_FEATURES", protocol_features=0)
    assert broken(talk, "VU-RPL-04") == [("error", BACK, 9)]
    assert talk.findings[-1].evidence == (8, 9)


def test_answers_out_of_order() -> None:
    talk = agreed()
    ring_size(talk)
    talk.front_end("SET_VRING_BASE", need_reply=True, index=0, num=0)
    talk.reply("SET_VRING_BASE", value=0)
    assert broken(talk, "VU-RPL-04") == [("error", BACK, 10)]


def test_answers_in_order() -> None:
    talk = agreed()
    ring_size(talk)
    talk.front_end("SET_VRING_BASE", need_reply=True, index=0, num=0)
    talk.reply("SET_VRING_NUM", value=0)
    talk.reply("SET_VRING_BASE", value=0)
    assert found(talk) == []


@pytest.mark.parametrize("back_end, severity", [(None, "warning"), ("libvhost-user", "note")])
def test_a_reply_that_keeps_need_reply(back_end: str | None, severity: str) -> None:
    """QEMU fails on it."""
    talk = agreed(profile=(None, back_end))
    talk.front_end("GET_QUEUE_NUM", need_reply=True)
    talk.reply("GET_QUEUE_NUM", need_reply=True, queues=1)
    assert broken(talk, "VU-RPL-05") == [(severity, BACK, 9)]


def test_a_reply_with_plain_flags() -> None:
    talk = agreed()
    talk.front_end("GET_QUEUE_NUM", need_reply=True)
    talk.reply("GET_QUEUE_NUM", queues=1)
    assert broken(talk, "VU-RPL-05") == []


def test_a_request_before_the_reply_has_come() -> None:
    talk = agreed()
    talk.front_end("GET_FEATURES")
    talk.front_end("SET_VRING_NUM", index=0, num=256)
    assert broken(talk, "VU-RPL-06") == [("warning", FRONT, 9)]


def test_requests_back_to_back_that_have_no_reply() -> None:
    """DPDK and libblkio."""
    talk = agreed()
    ring_size(talk, need_reply=False)
    talk.front_end("GET_FEATURES")
    assert broken(talk, "VU-RPL-06") == []


def test_a_back_end_that_asks_on_the_main_channel() -> None:
    talk = agreed()
    talk.octets(pack("<III", 2, 1, 0), sender=BACK)
    assert broken(talk, "VU-RPL-07") == [("error", BACK, 8)]


def test_on_the_back_end_channel_it_may() -> None:
    talk = agreed(1 << 5 | 1 << 9)
    talk.octets(pack("<III", 2, 1, 0), "backend", BACK)
    assert found(talk) == []


def test_on_the_back_end_channel_answers_come_in_order_too() -> None:
    talk = agreed(1 << 3 | 1 << 5 | 1 << 9)
    talk.back_end("CONFIG_CHANGE_MSG", need_reply=True)
    talk.say("backend", FRONT, "CONFIG_CHANGE_MSG", True, False, (), {"value": 0})
    assert broken(talk, "VU-RPL-16") == []
    talk.say("backend", FRONT, "CONFIG_CHANGE_MSG", True, False, (), {"value": 0})
    assert broken(talk, "VU-RPL-16") == [("error", FRONT, 10)]


# -- what they say


@pytest.mark.parametrize("value, refused, odd", [
    (0, False, False), (1, True, False), (2**64 - 22, True, False), (2**64 - 1, True, False), (1 << 40, True, True),
])  # fmt: skip
def test_results(value: int, refused: bool, odd: bool) -> None:
    talk = agreed()
    ring_size(talk)
    talk.reply("SET_VRING_NUM", value=value)
    assert broken(talk, "VU-RPL-08") == [("warning", None, 9)] * refused
    assert broken(talk, "VU-RPL-09") == [("warning", BACK, 9)] * odd


def test_acknowledged_and_gone() -> None:
    """libvhost-user acknowledges with 0 what it has failed on, and closes; QEMU then names the next message."""
    talk = agreed()
    ring_size(talk)
    talk.reply("SET_VRING_NUM", value=0)
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-RPL-10") == [("note", BACK, 8)]


@pytest.mark.parametrize("later", [True, False])
def test_a_back_end_that_goes_later_or_has_been_told_more(later: bool) -> None:
    talk = agreed()
    ring_size(talk)
    talk.reply("SET_VRING_NUM", value=0)
    if later:
        talk.pause(200 * MS)
    else:
        ring_size(talk, need_reply=False)
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-RPL-10") == []


@pytest.mark.parametrize("length, wrong", [(8, False), (0, False), (4, True)])
def test_the_configuration_in_the_length_that_was_asked_for(length: int, wrong: bool) -> None:
    talk = agreed(1 << 9)
    talk.front_end("GET_CONFIG", offset=0, length=8, config_flags=0, config=bytes(8))
    talk.reply("GET_CONFIG", offset=0, length=length, config_flags=0, config=bytes(length))
    assert broken(talk, "VU-RPL-14") == [("error", BACK, 9)] * wrong


@pytest.mark.parametrize("waited, wrong", [(575 * MS, False), (6 * SECOND, True)])
def test_a_slow_answer(waited: int, wrong: bool) -> None:
    """DPDK without huge pages takes 575 ms for the memory table."""
    talk = agreed()
    talk.front_end("SET_MEM_TABLE", need_reply=True, count=0, regions=[])
    talk.pause(waited)
    talk.reply("SET_MEM_TABLE", value=0)
    # said once, when the time was up
    assert broken(talk, "VU-RPL-15") == [("warning", BACK, 8)] * wrong
