"""The configuration space."""

from __future__ import annotations

from typing import Any

import pytest

from .steps import BACK, FRONT, MODERN, agreed
from .talk import Talk, broken

CONFIG = 1 << 9


def fields(offset: int = 0, length: int = 8, flags: int = 0) -> dict[str, Any]:
    return {"offset": offset, "length": length, "config_flags": flags, "config": bytes(length)}


def of_device(device: str, virtio: int = MODERN) -> Talk:
    talk = agreed(CONFIG, virtio)
    state = talk.state
    talk.pipeline.sessions[1] = state._replace(context=state.context._replace(device=device), device_given=True)
    return talk


@pytest.mark.parametrize("offset, length, wrong", [(0, 256, False), (248, 8, False), (0x100, 60, True), (250, 8, True)])
def test_beyond_the_space(offset: int, length: int, wrong: bool) -> None:
    """cloud-hypervisor #7615: counted from 0x100, found in 2026."""
    talk = agreed(CONFIG)
    no = talk.front_end("GET_CONFIG", **fields(offset, length)).no
    assert broken(talk, "VU-CFG-02") == [("error", FRONT, no)] * wrong


def test_counted_from_0x100_is_told_so() -> None:
    talk = agreed(CONFIG)
    talk.front_end("GET_CONFIG", **fields(0x100, 60))
    assert any("counted from 0x100" in one.text for one in talk.findings)


@pytest.mark.parametrize(
    "answer, severity",
    [(fields(8), None), (fields(0), "warning"), (fields(8, 8, 1), "warning"), (fields(8, 0), "note")],
)
def test_an_answer_to_something_else(answer: dict[str, Any], severity: str | None) -> None:
    talk = agreed(CONFIG)
    talk.front_end("GET_CONFIG", **fields(8))
    no = talk.reply("GET_CONFIG", **answer).no
    assert broken(talk, "VU-CFG-03") == ([(severity, BACK, no)] if severity else [])


@pytest.mark.parametrize("flags, back_end, wrong", [(0, None, 0), (1, None, 0), (2, None, 1), (2, "rust-vmm", 0)])
def test_flags(flags: int, back_end: str | None, wrong: bool) -> None:
    talk = agreed(CONFIG, profile=(None, back_end))
    no = talk.front_end("SET_CONFIG", **fields(0, 8, flags)).no
    assert broken(talk, "VU-CFG-04") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize(
    "device, offset, flags, wrong",
    [("block", 32, 0, False), ("block", 0, 0, True), ("block", 0, 1, False), ("rng", 0, 0, False)],
)
def test_what_a_driver_may_write(device: str, offset: int, flags: int, wrong: bool) -> None:
    talk = of_device(device)
    no = talk.front_end("SET_CONFIG", **fields(offset, 1, flags)).no
    assert broken(talk, "VU-CFG-05") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("looked", [False, True])
def test_a_change_that_nobody_looks_at(looked: bool) -> None:
    talk = agreed(CONFIG | 1 << 5)
    no = talk.back_end("CONFIG_CHANGE_MSG").no
    if looked:
        talk.front_end("GET_CONFIG", **fields())
    talk.event("close")
    assert broken(talk, "VU-CFG-06") == [("note", FRONT, no)] * (not looked)


@pytest.mark.parametrize("feature, length, wrong", [(13, 48, False), (13, 36, True), (13, 8, False), (6, 36, False)])
def test_features_that_have_members_beyond(feature: int, length: int, wrong: bool) -> None:
    """Of 8 bytes: a guest reads a single member."""
    talk = of_device("block", MODERN | 1 << feature)
    talk.front_end("GET_CONFIG", **fields(0, length))
    no = talk.reply("GET_CONFIG", **fields(0, length)).no
    assert broken(talk, "VU-CFG-07") == [("warning", BACK, no)] * wrong


@pytest.mark.parametrize("who, note", [(None, True), ("qemu", False)])
def test_asked_before_features(who: str | None, note: bool) -> None:
    talk = Talk(profile=(who, None))
    talk.ask("GET_FEATURES", {"features": MODERN})
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": CONFIG})
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=CONFIG)
    no = talk.front_end("GET_CONFIG", **fields()).no
    assert broken(talk, "VU-CFG-08") == [("note", FRONT, no)] * note


@pytest.mark.parametrize(
    "device, length, at, note",
    [("block", 200, 99, True), ("block", 96, 95, False), ("block", 200, 20, False), ("nothing", 200, 99, False)],
)
def test_something_behind_the_configuration(device: str, length: int, at: int, note: bool) -> None:
    """QEMU f8ffcb2bda: memory of the back-end's got out."""
    talk = of_device(device)
    talk.front_end("GET_CONFIG", **fields(length=length))
    config = bytearray(length)
    config[at] = 7
    answer = fields(length=length)
    answer["config"] = bytes(config)
    no = talk.reply("GET_CONFIG", **answer).no
    assert broken(talk, "VU-CFG-09") == [("note", BACK, no)] * note
