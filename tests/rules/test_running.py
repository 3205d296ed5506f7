"""GET_VRING_BASE, and where rings go on."""

from __future__ import annotations

from struct import pack

import pytest

from ..pipeline.conversation import MS, SECOND
from .steps import BACK, FRONT, MODERN, VERSION_1, addresses, agreed, kick, running, set_up, stop, with_memory
from .talk import broken


@pytest.mark.parametrize("num", [0, 1])
def test_asked_with_a_number(num: int) -> None:
    talk = running()
    no = talk.front_end("GET_VRING_BASE", index=0, num=num).no
    assert broken(talk, "VU-RUN-01") == [("error", FRONT, no)] * num


@pytest.mark.parametrize("index, wrong", [(0, False), (1, True)])
def test_a_ring_that_never_existed_is_stopped(index: int, wrong: bool) -> None:
    """DPDK 3c929a0bb3; back-ends answer 0."""
    talk = running()
    no = talk.front_end("GET_VRING_BASE", index=index, num=0).no
    assert broken(talk, "VU-RUN-02") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("at, wrong", [(500, False), (600, False), (0, True), (499, True), (0x10000, True)])
def test_a_position_that_cannot_be(at: int, wrong: bool) -> None:
    """rust-vmm 1713135, DPDK 90bb22a197, QEMU 523b018dde: 0 after traffic, and the network is dead after a stop."""
    talk = with_memory()
    set_up(talk, base=500)
    kick(talk)
    talk.ask("GET_VRING_BASE", {"index": 0, "num": at}, index=0, num=0)
    assert broken(talk, "VU-RUN-03") == [("warning", BACK, talk.no)] * wrong


def test_the_index_wraps() -> None:
    talk = with_memory()
    set_up(talk, base=65530)
    kick(talk)
    talk.ask("GET_VRING_BASE", {"index": 0, "num": 4}, index=0, num=0)
    assert broken(talk, "VU-RUN-03") == []


@pytest.mark.parametrize("virtio", [MODERN, VERSION_1])
@pytest.mark.parametrize("disabled", [False, True])
def test_stopped_while_enabled(virtio: int, disabled: bool) -> None:
    talk = running(virtio=virtio)
    if disabled:
        talk.front_end("SET_VRING_ENABLE", index=0, num=0)
    no = talk.front_end("GET_VRING_BASE", index=0, num=0).no
    wrong = virtio == MODERN and not disabled
    assert broken(talk, "VU-RUN-05") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("base, severity", [(700, None), (650, "warning"), (0, "note")])
def test_a_ring_goes_on_elsewhere(base: int, severity: str | None) -> None:
    talk = running()
    stop(talk, at=700)
    no = talk.front_end("SET_VRING_BASE", index=0, num=base).no
    kick(talk)
    assert broken(talk, "VU-RUN-06") == ([(severity, FRONT, no)] if severity else [])


@pytest.mark.parametrize("order", ["base first", "addresses first"])
def test_another_driver_has_its_rings_elsewhere(order: str) -> None:
    """SeaBIOS, then Linux, then SeaBIOS again: what a guest's restart looks like."""
    talk = running()
    stop(talk, at=700)
    elsewhere = {**addresses(0), "descriptor": addresses(0)["descriptor"] + 0x8000}
    if order == "addresses first":
        talk.front_end("SET_VRING_ADDR", **elsewhere)
    talk.front_end("SET_VRING_BASE", index=0, num=0)
    if order == "base first":
        talk.front_end("SET_VRING_ADDR", **elsewhere)
    kick(talk)
    assert broken(talk, "VU-RUN-06") == []


def test_after_a_reset_a_ring_begins_anew() -> None:
    talk = running(1 << 13)
    stop(talk, at=700)
    talk.front_end("RESET_DEVICE")
    talk.front_end("SET_VRING_BASE", index=0, num=3)
    assert broken(talk, "VU-RUN-06") == []


@pytest.mark.parametrize("took, wrong", [(400 * MS, False), (SECOND, True)])
def test_a_ring_that_drains_long(took: int, wrong: bool) -> None:
    talk = running()
    talk.front_end("GET_VRING_BASE", index=0, num=0)
    talk.pause(took)
    no = talk.reply("GET_VRING_BASE", index=0, num=0).no
    assert broken(talk, "VU-RUN-07") == [("note", BACK, no)] * wrong


@pytest.mark.parametrize("stopped", [False, True])
def test_the_back_end_speaks_while_all_rings_are_stopped(stopped: bool) -> None:
    talk = running(1 << 5 | 1 << 9)
    if stopped:
        stop(talk)
    no = talk.back_end("CONFIG_CHANGE_MSG").no
    assert broken(talk, "VU-RUN-09") == [("warning", BACK, no)] * stopped


def test_while_a_ring_is_being_stopped_the_back_end_may_speak() -> None:
    talk = running(1 << 5 | 1 << 9)
    talk.front_end("GET_VRING_BASE", index=0, num=0)
    talk.back_end("CONFIG_CHANGE_MSG")
    assert broken(talk, "VU-RUN-09") == []


def test_before_rings_are_started_the_back_end_may_speak() -> None:
    talk = agreed(1 << 5 | 1 << 9)
    talk.octets(pack("<III", 2, 1, 0), "backend", BACK)
    assert broken(talk, "VU-RUN-09") == []


@pytest.mark.parametrize("virtio, note", [(VERSION_1, True), (MODERN, False)])
def test_a_ring_that_its_kick_alone_starts(virtio: int, note: bool) -> None:
    """rust-vmm PR#227: QEMU before 7.2 enabled no ring."""
    talk = agreed()
    talk.front_end("SET_FEATURES", features=virtio)
    no = kick(talk).no
    assert broken(talk, "VU-RUN-10") == [("note", FRONT, no)] * note
    assert talk.state.rings[0].enabled == note
