"""The device's own state in a migration."""

from __future__ import annotations

from typing import Any

import pytest

from vhostspy.capture.record import Descriptor

from .steps import BACK, FRONT, agreed, running, stop, with_memory
from .talk import Talk, broken

STATE = 1 << 19
PIPE = Descriptor("device-state", "pipe", "w", 8, 6, name="pipe:[6]")


def transfer(talk: Talk, direction: int = 0, phase: int = 0, **answer: Any) -> int:
    no = talk.front_end("SET_DEVICE_STATE_FD", direction=direction, phase=phase, fds=[PIPE]).no
    talk.reply("SET_DEVICE_STATE_FD", **{"error": 0, "nofd": True} | answer)
    return no


@pytest.mark.parametrize("direction, phase, wrong", [(0, 0, 0), (1, 0, 0), (2, 0, 1), (0, 1, 1)])
def test_direction_and_phase(direction: int, phase: int, wrong: int) -> None:
    talk = agreed(STATE)
    no = transfer(talk, direction, phase)
    assert broken(talk, "VU-DS-02") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("stopped", [False, True])
def test_while_a_ring_is_started(stopped: bool) -> None:
    """cloud-hypervisor #8313: both sides in recvmsg, the reporter believed that octets were lost."""
    talk = running(STATE)
    if stopped:
        stop(talk)
    no = transfer(talk, 1)
    assert broken(talk, "VU-DS-03") == [("error", FRONT, no)] * (not stopped)


@pytest.mark.parametrize("value", [0, 1])
def test_a_transfer_that_failed(value: int) -> None:
    talk = with_memory(STATE)
    transfer(talk)
    no = talk.ask("CHECK_DEVICE_STATE", {"value": value})[1].no
    assert broken(talk, "VU-DS-06") == [("warning", None, no)] * value


@pytest.mark.parametrize("checked", [False, True])
def test_another_transfer(checked: bool) -> None:
    talk = with_memory(STATE)
    transfer(talk)
    if checked:
        talk.ask("CHECK_DEVICE_STATE", {"value": 0})
    no = transfer(talk)
    assert broken(talk, "VU-DS-07") == [("warning", FRONT, no)] * (not checked)


@pytest.mark.parametrize("error", [0, 1])
def test_a_transfer_that_nobody_checked(error: int) -> None:
    """What was refused needs no check."""
    talk = with_memory(STATE)
    no = transfer(talk, error=error)
    talk.event("eof", sender=BACK)
    assert broken(talk, "VU-DS-07") == [("warning", FRONT, no)] * (not error)
