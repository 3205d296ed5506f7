"""Device status, resets."""

from __future__ import annotations

import pytest

from .steps import BACK, FRONT, agreed, kick, running, set_up, start, stop, with_memory
from .talk import Talk, broken

STATUS, RESET = 1 << 16, 1 << 13


def say(talk: Talk, *values: int) -> int:
    return [talk.front_end("SET_STATUS", status=value).no for value in values][-1]


@pytest.mark.parametrize("value", [255, 256])
def test_a_byte(value: int) -> None:
    talk = agreed(STATUS)
    no = say(talk, value)
    assert broken(talk, "VU-ST-02") == [("error", FRONT, no)] * (value > 255)


@pytest.mark.parametrize("values, wrong", [((1, 3, 11, 15), 0), ((15, 0, 1), 0), ((15, 11), 1)])
def test_bits_that_go(values: tuple[int, ...], wrong: int) -> None:
    talk = agreed(STATUS)
    no = say(talk, *values)
    assert broken(talk, "VU-ST-03") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("who, value, note", [(None, 8, 1), (None, 11, 0), ("qemu", 8, 0)])
def test_features_ok_alone(who: str | None, value: int, note: int) -> None:
    """QEMU ORs it into what the back-end has said."""
    talk = agreed(STATUS, profile=(who, None))
    no = say(talk, value)
    assert broken(talk, "VU-ST-04") == [("note", FRONT, no)] * note


@pytest.mark.parametrize("value, wrong", [(15, 0), (7, 1)])
def test_driver_ok_without_features_ok(value: int, wrong: int) -> None:
    talk = agreed(STATUS)
    no = say(talk, value)
    assert broken(talk, "VU-ST-05") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("answer, wrong", [(11, 0), (3, 1)])
def test_features_that_the_back_end_refuses(answer: int, wrong: int) -> None:
    talk = agreed(STATUS)
    say(talk, 11)
    no = talk.ask("GET_STATUS", {"status": answer})[1].no
    assert broken(talk, "VU-ST-06") == [("warning", None, no)] * wrong


@pytest.mark.parametrize("reset", [False, True])
def test_a_device_that_needs_a_reset(reset: bool) -> None:
    talk = with_memory(STATUS)
    set_up(talk)
    talk.ask("GET_STATUS", {"status": 64 | 15})
    if reset:
        say(talk, 0)
    no = kick(talk).no
    assert broken(talk, "VU-ST-07") == [("warning", FRONT, no)] * (not reset)


@pytest.mark.parametrize("stopped", [False, True])
def test_reset_while_a_ring_is_started(stopped: bool) -> None:
    """cloud-hypervisor 5f9871047, Snabb 239e0b3f3."""
    talk = running(RESET)
    if stopped:
        stop(talk)
    no = talk.front_end("RESET_DEVICE").no
    assert broken(talk, "VU-RST-01") == [("warning", FRONT, no)] * (not stopped)


@pytest.mark.parametrize("who, severity", [(None, "warning"), ("qemu", "note")])
def test_positions_asked_for_after_a_reset(who: str | None, severity: str) -> None:
    """QEMU 923b8921d2: the index may be gone. Said once, not for each ring."""
    talk = running(STATUS, profile=(who, None))
    start(talk, 1)
    say(talk, 15, 0)
    no = talk.front_end("GET_VRING_BASE", index=0, num=0).no
    talk.reply("GET_VRING_BASE", index=0, num=0)
    talk.front_end("GET_VRING_BASE", index=1, num=0)
    assert broken(talk, "VU-RST-01") == [(severity, FRONT, no)]


def test_positions_asked_for_before_a_reset() -> None:
    talk = running(STATUS)
    stop(talk)
    say(talk, 0)
    assert broken(talk, "VU-RST-01") == []
    assert BACK not in {one.who for one in talk.findings}
