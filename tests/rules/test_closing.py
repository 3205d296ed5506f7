"""Who closed, after what."""

from __future__ import annotations

import pytest

from ..pipeline.conversation import MS, SECOND
from .steps import ACK, BACK, FRONT, MODERN, agreed, region, running, set_up, stop, table, with_memory
from .talk import Talk, broken, features


def texts(talk: Talk, rule: str) -> str:
    return "\n".join(one.text for one in talk.findings if one.rule == rule)


@pytest.mark.parametrize("end, wrong", [(FRONT, False), (BACK, True)])
def test_the_back_end_closes_on_a_message(end: int, wrong: bool) -> None:
    """QEMU 5093bee0fa: two regions, and an assertion that counted octets."""
    talk = agreed()
    no = table(talk, region(0, 1 << 20), region(1 << 20, 1 << 20, 1)).no
    talk.event("eof", sender=end)
    assert broken(talk, "VU-CLS-01") == [("warning", BACK, no)] * wrong
    assert not wrong or f"SET_MEM_TABLE #{no}" in texts(talk, "VU-CLS-01")


def test_acknowledged_with_0_and_gone() -> None:
    """libvhost-user: the handler marks the device broken, the acknowledgement goes out all the same."""
    talk = agreed(ACK)
    no = table(talk, region(), need_reply=True).no
    talk.reply("SET_MEM_TABLE", value=0)
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-CLS-01") == [("error", BACK, no)]
    assert f"most likely about SET_MEM_TABLE #{no}, although that was answered" in texts(talk, "VU-CLS-01")


def test_acknowledged_and_gone_much_later() -> None:
    talk = agreed(ACK)
    no = table(talk, region(), need_reply=True).no
    talk.reply("SET_MEM_TABLE", value=0)
    talk.pause(SECOND)
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-CLS-01") == [("warning", BACK, no)]
    assert "most likely" not in texts(talk, "VU-CLS-01")


def test_a_reset_is_about_a_message_before_the_last() -> None:
    """QEMU says "Original request 24": five messages after the one that was refused."""
    talk = with_memory()
    talk.ask("GET_FEATURES", {"features": MODERN})
    set_up(talk)
    talk.front_end("GET_FEATURES")
    talk.event("reset", sender=BACK)
    assert broken(talk, "VU-CLS-01") == [("error", BACK, talk.no - 3)]
    assert "one of SET_VRING_NUM" in texts(talk, "VU-CLS-01")


def test_positions_are_lost_with_an_answer() -> None:
    """QEMU bc85aae420: GET_VRING_BASE failed, and the migration was said to have succeeded."""
    talk = running()
    no = talk.front_end("GET_VRING_BASE", index=0, num=0).no
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-CLS-01") == [("error", BACK, no)]


def test_a_back_end_that_was_ended_from_outside() -> None:
    talk = running()
    no = talk.no
    talk.pause(5 * SECOND)
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-CLS-01") == [("warning", BACK, no)]
    assert "no message is likely to be the cause" in texts(talk, "VU-CLS-01")


def test_after_the_state_was_checked_a_back_end_may_go() -> None:
    """passt, as the source of a migration."""
    talk = with_memory(1 << 19)
    talk.ask("CHECK_DEVICE_STATE", {"value": 0})
    talk.event("eof", sender=BACK)
    assert [severity for severity, _, _ in broken(talk, "VU-CLS-01")] == ["note"]


@pytest.mark.parametrize("stopped", [False, True])
def test_closed_while_rings_are_started(stopped: bool) -> None:
    talk = running()
    if stopped:
        stop(talk)
    talk.event("eof", sender=FRONT)
    assert [severity for severity, _, _ in broken(talk, "VU-CLS-02")] == ["note"] * (not stopped)


@pytest.mark.parametrize("end", [FRONT, BACK])
def test_closed_in_the_handshake(end: int) -> None:
    """cloud-hypervisor d3d83dcbd: accepted by a process that was about to end."""
    talk = Talk()
    no = talk.front_end("SET_OWNER").no
    talk.event("eof", sender=end)
    assert broken(talk, "VU-CLS-03") == [("warning", end, no)]
    assert f"after SET_OWNER #{no}, step 2" in texts(talk, "VU-CLS-03")


def test_a_handshake_that_is_done() -> None:
    talk = Talk()
    features(talk)
    talk.event("eof", sender=FRONT)
    assert broken(talk, "VU-CLS-03") == []


def test_nobody_said_anything() -> None:
    """It only looked whether somebody is there."""
    talk = Talk()
    talk.event("eof", sender=FRONT)
    assert talk.findings == []


@pytest.mark.parametrize("goes_on", [False, True])
def test_the_front_end_closes_on_an_offer(goes_on: bool) -> None:
    """rust-vmm/vhost 7554d06: one bit that was not known, and all was refused."""
    talk = Talk()
    talk.ask("GET_FEATURES", {"features": MODERN})
    no = talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": 0x80008})[1].no
    if goes_on:
        talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=8)
    talk.pause(MS)
    talk.event("eof", sender=FRONT)
    assert broken(talk, "VU-CLS-04") == [("warning", FRONT, no)] * (not goes_on)
    assert goes_on or "REPLY_ACK, DEVICE_STATE" in texts(talk, "VU-CLS-04")


@pytest.mark.parametrize(
    "data, words",
    [
        (bytes.fromhex("00000001 00000001 00000000"), "in big-endian order they are request 1 with 0 bytes"),
        (b"GET / HTTP/1.1\r\n", "47 45 54"),
        (b"\x01", "1 octets"),
    ],
)
def test_octets_that_are_no_message(data: bytes, words: str) -> None:
    talk = Talk()
    no = talk.raw(data).no
    talk.raw(data)
    assert broken(talk, "VU-CLS-05") == [("error", FRONT, no)]
    assert words in texts(talk, "VU-CLS-05")
    assert broken(agreed(), "VU-CLS-05") == []
