"""Versions, flags, numbers, sizes, and what was cut."""

from __future__ import annotations

from struct import pack

import pytest

from vhostspy.capture.record import INCOMPLETE

from .talk import Talk, broken, features

FRONT, BACK = 0, 1
SET_OWNER = 3
REPLY_ACK = 1 << 3


def header(id: int, flags: int = 1, size: int = 0) -> bytes:
    return pack("<III", id, flags, size)


@pytest.mark.parametrize("flags, wrong", [(1, False), (0, True), (2, True), (3, True)])
def test_the_version_is_1(flags: int, wrong: bool) -> None:
    talk = Talk()
    talk.octets(header(SET_OWNER, flags))
    assert broken(talk, "VU-HDR-01") == [("error", FRONT, 1)] * wrong


@pytest.mark.parametrize("flags, wrong", [(0x1, False), (0x9, False), (0x11, True), (0x80000001, True)])
def test_reserved_flags_are_zero(flags: int, wrong: bool) -> None:
    talk = Talk()
    talk.octets(header(SET_OWNER, flags))
    assert broken(talk, "VU-HDR-02") == [("error", FRONT, 1)] * wrong


@pytest.mark.parametrize("id, rule", [(0, "VU-HDR-03"), (999, "VU-HDR-04"), (3, None)])
def test_numbers(id: int, rule: str | None) -> None:
    talk = Talk()
    talk.octets(header(id))
    severity = "error" if id == 0 else "warning"
    for one in ("VU-HDR-03", "VU-HDR-04"):
        assert broken(talk, one) == [(severity, FRONT, 1)] * (one == rule)


def test_an_unknown_number_is_told_once() -> None:
    talk = Talk()
    talk.octets(header(4711))
    talk.octets(header(4711))
    assert broken(talk, "VU-HDR-04") == [("warning", FRONT, 1)]


def test_numbers_of_crosvm_are_a_note() -> None:
    talk = Talk()
    talk.octets(header(1004))
    assert broken(talk, "VU-HDR-04") == [("note", FRONT, 1)]


def test_a_request_with_the_reply_bit() -> None:
    talk = Talk()
    talk.octets(header(SET_OWNER, 1))
    assert broken(talk, "VU-HDR-05") == []
    talk.octets(header(SET_OWNER, 5))
    assert broken(talk, "VU-HDR-05") == [("error", FRONT, 2)]


def test_an_answer_without_the_reply_bit_blames_the_one_that_answers() -> None:
    talk = Talk()
    talk.front_end("GET_FEATURES")
    talk.octets(header(1, 5, 8) + bytes(8), sender=BACK)
    assert broken(talk, "VU-HDR-06") == []
    talk = Talk()
    talk.front_end("GET_FEATURES")
    talk.octets(header(1, 1, 8) + bytes(8), sender=BACK)
    assert broken(talk, "VU-HDR-06") == [("error", BACK, 2)]
    assert broken(talk, "VU-RPL-07") == []


def test_a_payload_that_nobody_has_room_for() -> None:
    talk = Talk()
    talk.octets(header(SET_OWNER, 1, 2057) + bytes(2057))
    assert broken(talk, "VU-HDR-07") == [("error", FRONT, 1)]


def test_rust_vmm_has_room_for_more() -> None:
    talk = Talk(profile=(None, "rust-vmm"))
    talk.octets(header(SET_OWNER, 1, 2057) + bytes(2057))
    assert broken(talk, "VU-HDR-07") == []


def test_need_reply_before_it_is_agreed_on() -> None:
    """cloud-hypervisor once hung by it, with back-ends of rust-vmm."""
    talk = Talk()
    talk.front_end("SET_OWNER", need_reply=True)
    assert broken(talk, "VU-HDR-08") == [("warning", FRONT, 1)]


def test_need_reply_once_it_is_agreed_on() -> None:
    talk = Talk()
    features(talk, protocol=REPLY_ACK)
    talk.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256)
    assert broken(talk, "VU-HDR-08") == []


def test_the_message_that_agrees_on_it_may_ask_at_once() -> None:
    """User-mode Linux."""
    talk = Talk()
    talk.front_end("SET_PROTOCOL_FEATURES", need_reply=True, protocol_features=REPLY_ACK)
    assert broken(talk, "VU-HDR-08") == [("note", FRONT, 1)]


def test_where_the_capture_began_in_the_middle_need_reply_may_have_been_agreed_on() -> None:
    talk = Talk(whole=False)
    talk.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256)
    assert talk.findings == []


@pytest.mark.parametrize("need_reply", [True, False])
def test_need_reply_of_what_is_answered_anyway(need_reply: bool) -> None:
    talk = Talk()
    features(talk, protocol=REPLY_ACK)
    talk.front_end("GET_QUEUE_NUM", need_reply=need_reply)
    # who asks so is a front-end of rust-vmm's, of which this is known
    assert broken(talk, "VU-HDR-09") == []
    unknown = Talk(profile=("unknown", None))
    features(unknown, protocol=REPLY_ACK)
    unknown.front_end("GET_QUEUE_NUM", need_reply=need_reply)
    assert broken(unknown, "VU-HDR-09") == [("note", FRONT, 8)] * need_reply


def test_a_message_that_the_end_of_the_stream_cuts() -> None:
    talk = Talk()
    talk.octets(header(2, 1, 8) + bytes(4), flags=INCOMPLETE, length=20)
    assert broken(talk, "VU-HDR-10") == [("error", FRONT, 1)]
    assert broken(talk, "VU-SZ-01") == []


def test_a_message_that_nobody_wanted_the_rest_of() -> None:
    talk = Talk()
    talk.event("eof", sender=BACK)
    talk.octets(header(2, 1, 8) + bytes(4), flags=INCOMPLETE, length=20)
    assert broken(talk, "VU-HDR-10") == []


@pytest.mark.parametrize("size, note", [(0, True), (8, False)])
def test_a_number_in_its_meaning_of_long_ago(size: int, note: bool) -> None:
    """crosvm of 2023 had SLEEP where SET_DEVICE_STATE_FD now is."""
    talk = Talk()
    talk.octets(header(42, 1, size) + bytes(size))
    assert broken(talk, "VU-HDR-11") == [("note", FRONT, 1)] * note
    assert broken(talk, "VU-SZ-01") == []


def test_where_todays_meaning_was_agreed_on_the_old_one_is_a_mistake() -> None:
    talk = Talk()
    features(talk, protocol=1 << 19)
    talk.octets(header(42))
    assert broken(talk, "VU-SZ-01") == [("error", FRONT, 8)]


@pytest.mark.parametrize("reads, length, note", [(1, 8, False), (2, 8, True), (2, 8192, False)])
def test_a_message_in_pieces(reads: int, length: int, note: bool) -> None:
    """A long one may have met the end of our own buffer."""
    talk = Talk()
    talk.octets(header(2, 1, length) + bytes(length), reads=reads)
    assert broken(talk, "VU-HDR-12") == [("note", FRONT, 1)] * note


@pytest.mark.parametrize(
    ("octets", "sender", "says"),
    [
        ("63000000 01000000 00000000", FRONT, "came number 99, which nobody knows (rows of your own: --dissector)"),
        ("01000000 01000000 00000000", BACK, "came number 1; GET_FEATURES is the front-end's, on the main channel"),
    ],
)
def test_a_number_is_said_to_be_somebody_elses(octets: str, sender: int, says: str) -> None:
    talk = Talk()
    talk.octets(bytes.fromhex(octets), "main", sender)
    (text,) = [one.text for one in talk.findings if one.rule == "VU-HDR-04"]
    assert text.endswith(says), text
