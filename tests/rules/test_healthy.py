"""Traffic of good sessions that looks wrong at first sight: no error in any of it."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from vhostspy.capture.record import Descriptor

from ..pipeline.conversation import CALL, KICK, MS, SECOND
from .steps import (
    ACK,
    BACK,
    FRONT,
    MIB,
    MODERN,
    USER,
    VERSION_1,
    agreed,
    file,
    kick,
    region,
    running,
    set_up,
    start,
    stop,
    table,
    with_memory,
)
from .talk import Talk

SOCKET = Descriptor("socket", "socket", "rw", 8, 5, name="socket:[5]")
STATUS, CONFIG, CHANNEL, LOG_SHMFD, GPA = 1 << 16, 1 << 9, 1 << 5, 1 << 1, 1 << 21


def errors(talk: Talk) -> list[str]:
    return [f"{one.rule} #{one.no}: {one.text}" for one in talk.findings if one.severity == "error"]


def config(length: int, offset: int = 0) -> dict[str, Any]:
    return {"offset": offset, "length": length, "config_flags": 0, "config": bytes(length)}


def offered(talk: Talk, protocol: int, virtio: int = MODERN) -> None:
    talk.ask("GET_FEATURES", {"features": virtio})
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": protocol})


def test_rings_are_enabled_that_were_never_set_up() -> None:
    """QEMU blk."""
    talk = running()
    for index in range(1, 4):
        talk.front_end("SET_VRING_ENABLE", index=index, num=1)
    talk.event("eof", sender=FRONT)
    assert errors(talk) == []


def test_rings_are_enabled_many_times_before_features() -> None:
    """QEMU net."""
    talk = Talk()
    offered(talk, ACK)
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=ACK)
    for num in (1, 1, 0, 1):
        talk.front_end("SET_VRING_ENABLE", index=0, num=num)
        talk.front_end("SET_VRING_ENABLE", index=1, num=num)
    talk.front_end("SET_OWNER")
    talk.front_end("SET_FEATURES", features=MODERN)
    table(talk, region())
    start(talk)
    assert errors(talk) == []


def test_enabling_is_the_first_thing_after_the_handshake() -> None:
    """SPDK's initiator; it also acknowledges features before protocol features, and asks for queues without MQ."""
    talk = Talk()
    talk.front_end("SET_OWNER")
    talk.ask("GET_FEATURES", {"features": MODERN})
    talk.front_end("SET_FEATURES", features=MODERN)
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": 1 | CONFIG})
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=CONFIG)
    talk.front_end("SET_VRING_ENABLE", index=0, num=1)
    talk.ask("GET_CONFIG", config(256), **config(256))
    talk.ask("GET_QUEUE_NUM", {"queues": 2})
    talk.front_end("SET_VRING_CALL", index=0, fds=[CALL])
    table(talk, region())
    talk.ask("GET_FEATURES", {"features": MODERN})
    set_up(talk)
    kick(talk)
    talk.ask("GET_VRING_BASE", {"index": 0, "num": 12}, index=0, num=0)
    talk.event("eof", sender=FRONT)
    assert errors(talk) == []


def test_the_same_again_and_again() -> None:
    """QEMU sends call descriptors, features and both offers several times."""
    talk = Talk()
    for _ in range(3):
        offered(talk, ACK)
        talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=ACK)
    talk.front_end("SET_OWNER")
    for _ in range(2):
        talk.front_end("SET_VRING_CALL", index=0, fds=[CALL])
        talk.front_end("SET_VRING_ERR", index=0, fds=[KICK])
        talk.front_end("SET_FEATURES", features=MODERN)
    table(talk, region())
    start(talk)
    talk.front_end("SET_VRING_CALL", index=0, fds=[CALL])
    assert errors(talk) == []


@pytest.mark.parametrize("who", ["qemu", "libkrun"])
def test_ownership_is_taken_late(who: str) -> None:
    talk = Talk()
    offered(talk, ACK | CHANNEL | CONFIG)
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=ACK | CHANNEL | CONFIG)
    if who == "qemu":
        talk.front_end("SET_BACKEND_REQ_FD", need_reply=True, fds=[SOCKET])
        talk.reply("SET_BACKEND_REQ_FD", value=0)
    else:
        talk.ask("GET_CONFIG", config(8), **config(8))
    talk.front_end("SET_OWNER")
    talk.front_end("SET_FEATURES", features=MODERN)
    assert errors(talk) == []


def test_memory_before_features() -> None:
    """libkrun; the same call descriptor for every ring."""
    talk = Talk()
    offered(talk, CONFIG | 1)
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=CONFIG | 1)
    talk.ask("GET_QUEUE_NUM", {"queues": 2})
    talk.front_end("SET_OWNER")
    table(talk, region())
    talk.front_end("SET_FEATURES", features=MODERN)
    for index in range(2):
        set_up(talk, index)
        kick(talk, index)
        talk.front_end("SET_VRING_CALL", index=index, fds=[CALL])
        talk.front_end("SET_VRING_ENABLE", index=index, num=1)
    assert errors(talk) == []


def test_features_before_protocol_features() -> None:
    """libblkio."""
    talk = Talk()
    talk.front_end("SET_OWNER")
    talk.ask("GET_FEATURES", {"features": MODERN})
    talk.front_end("SET_FEATURES", features=MODERN)
    slots = ACK | CONFIG | 1 << 15
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": slots})
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=slots)
    talk.ask("GET_MAX_MEM_SLOTS", {"slots": 32})
    talk.front_end("ADD_MEM_REG", need_reply=True, **region(), fds=[file(1)])
    talk.reply("ADD_MEM_REG", value=0)
    start(talk)
    assert errors(talk) == []


def test_protocol_features_that_nobody_asked_for() -> None:
    """cloud-hypervisor after a restore: SET_OWNER, GET_FEATURES, SET_PROTOCOL_FEATURES."""
    talk = Talk()
    talk.front_end("SET_OWNER")
    talk.ask("GET_FEATURES", {"features": MODERN})
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=ACK)
    talk.front_end("SET_FEATURES", need_reply=True, features=MODERN)
    talk.reply("SET_FEATURES", value=0)
    table(talk, region())
    start(talk)
    assert errors(talk) == []


def test_queues_are_asked_for_without_mq() -> None:
    talk = agreed()
    talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": 1})
    talk.ask("GET_QUEUE_NUM", {"queues": 128})
    assert errors(talk) == []


def test_user_mode_linux() -> None:
    """Always two slots in SET_MEM_TABLE, a socket to call by, NEED_REPLY on SET_PROTOCOL_FEATURES, no stop."""
    talk = Talk()
    talk.front_end("SET_OWNER")
    offered(talk, ACK)
    talk.front_end("SET_PROTOCOL_FEATURES", need_reply=True, protocol_features=ACK)
    talk.reply("SET_PROTOCOL_FEATURES", value=0)
    talk.front_end("SET_FEATURES", features=MODERN)
    payload = pack("<IIQQQQ32x", 1, 0, 0, 16 * MIB, USER, 0)
    talk.octets(pack("<III", 5, 1, 72) + payload, fds=(file(1),))
    talk.front_end("SET_VRING_CALL", index=0, fds=[SOCKET._replace(role="call")])
    set_up(talk)
    kick(talk)
    talk.front_end("SET_VRING_ENABLE", index=0, num=1)
    talk.front_end("SET_VRING_ENABLE", index=0, num=0)
    talk.ask("GET_FEATURES", {"features": MODERN})
    talk.event("eof", sender=FRONT)
    assert errors(talk) == []


def test_features_ok_with_nothing_before() -> None:
    """QEMU ORs it into what the back-end has said."""
    talk = agreed(STATUS)
    talk.ask("GET_STATUS", {"status": 0})
    talk.front_end("SET_STATUS", status=8)
    table(talk, region())
    start(talk)
    talk.ask("GET_STATUS", {"status": 8})
    talk.front_end("SET_STATUS", status=15)
    assert errors(talk) == []


def test_status_0_before_the_rings_are_stopped() -> None:
    """QEMU 7.2 net."""
    talk = running(STATUS)
    talk.front_end("SET_STATUS", status=0)
    talk.ask("GET_VRING_BASE", {"index": 0, "num": 5}, index=0, num=0)
    talk.front_end("SET_VRING_ENABLE", index=0, num=1)
    assert errors(talk) == []


def test_a_base_beyond_the_size() -> None:
    talk = with_memory()
    set_up(talk, base=40000)
    kick(talk)
    assert errors(talk) == []


@pytest.mark.parametrize("stopped", [(), (0,)])
def test_not_every_ring_is_stopped(stopped: tuple[int, ...]) -> None:
    """QEMU blk stops what it has set up; user-mode Linux nothing at all."""
    talk = with_memory()
    start(talk)
    talk.front_end("SET_VRING_ENABLE", index=1, num=1)
    for index in stopped:
        stop(talk, index)
    talk.event("eof", sender=FRONT)
    talk.event("close")
    assert errors(talk) == []


def test_a_user_address_of_0() -> None:
    """QEMU with GPA_ADDRESSES."""
    talk = agreed(GPA)
    table(talk, region(0, 16 * MIB, 0))
    talk.front_end("SET_VRING_NUM", index=0, num=256)
    talk.front_end("SET_VRING_ADDR", index=0, descriptor=0x1000, available=0x2000, used=0x3000, log_address=0)
    kick(talk)
    assert errors(talk) == []


def test_memory_takes_half_a_second() -> None:
    """DPDK without huge pages: 575 ms."""
    talk = agreed(ACK)
    table(talk, region(), need_reply=True)
    talk.pause(575 * MS)
    talk.reply("SET_MEM_TABLE", value=0)
    assert [one for one in talk.findings if one.rule in ("VU-RPL-15", "VU-STL-02")] == []
    assert errors(talk) == []


@pytest.mark.parametrize("size", [0, 8, 16])
def test_answers_to_set_log_base(size: int) -> None:
    """DPDK 0, libvhost-user and passt 8, rust-vmm 16 bytes."""
    talk = with_memory(LOG_SHMFD | ACK)
    talk.front_end("SET_LOG_BASE", mmap_length=4096, mmap_offset=0, fds=[file(3)._replace(role="log")])
    talk.octets(pack("<III", 6, 5, size) + bytes(size), sender=BACK)
    assert errors(talk) == []


def test_acknowledgements_that_were_asked_for_too_early() -> None:
    """DPDK, libvhost-user and passt answer NEED_REPLY whatever was agreed on."""
    talk = Talk()
    talk.ask("GET_FEATURES", {"features": MODERN})
    talk.front_end("SET_OWNER", need_reply=True)
    talk.reply("SET_OWNER", value=0)
    assert errors(talk) == []


@pytest.mark.parametrize("asked", [57, 60, 96])
def test_a_configuration_of_another_length(asked: int) -> None:
    """QEMU 7.2 and a newer back-end."""
    talk = agreed(CONFIG)
    talk.ask("GET_CONFIG", config(asked), **config(asked))
    assert errors(talk) == []


def test_the_back_end_goes_after_its_state_was_checked() -> None:
    """passt, as the source of a migration."""
    talk = running(1 << 19)
    stop(talk)
    talk.front_end("SET_DEVICE_STATE_FD", direction=0, phase=0, fds=[SOCKET._replace(role="device-state", kind="pipe")])
    talk.reply("SET_DEVICE_STATE_FD", error=0, nofd=True)
    talk.ask("CHECK_DEVICE_STATE", {"value": 0})
    talk.event("eof", sender=BACK)
    talk.event("close")
    assert errors(talk) == []


@pytest.mark.parametrize("idle", [MS, 100 * SECOND])
def test_the_end_of_a_killed_vm(idle: int) -> None:
    talk = running()
    talk.pause(idle)
    talk.event("eof", sender=FRONT)
    talk.event("eof", sender=BACK)
    talk.event("close")
    assert errors(talk) == []
    assert [one.severity for one in talk.findings if one.rule == "VU-CLS-02"] == ["note"]


# -- forms that back-ends of the field accept


def test_started_twice_and_set_up_while_running() -> None:
    """Restarts that stop nothing: all back-ends that were tried take it."""
    talk = running()
    kick(talk)
    talk.front_end("SET_VRING_NUM", index=0, num=256)
    table(talk, region())
    assert errors(talk) == []


@pytest.mark.parametrize("virtio", [VERSION_1, 0])
def test_acknowledgements_without_bit_30(virtio: int) -> None:
    """DPDK before 2021 and QEMU before 7.2."""
    talk = Talk()
    offered(talk, ACK)
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=ACK)
    talk.front_end("SET_OWNER")
    talk.front_end("SET_FEATURES", features=virtio)
    table(talk, region(), need_reply=True)
    talk.reply("SET_MEM_TABLE", value=0)
    start(talk)
    assert errors(talk) == []


def test_a_region_added_twice() -> None:
    """QEMU before 8.0 with several queues."""
    talk = agreed(1 << 15)
    for _ in range(2):
        talk.front_end("ADD_MEM_REG", **region(), fds=[file(1)])
    assert errors(talk) == []


def test_a_region_removed_with_its_descriptor() -> None:
    """QEMU before 7.1."""
    talk = agreed(1 << 15)
    talk.front_end("ADD_MEM_REG", **region(), fds=[file(1)])
    talk.front_end("REM_MEM_REG", **region(), fds=[file(1)])
    assert errors(talk) == []


def test_many_call_descriptors() -> None:
    """A guest that masks its interrupts."""
    talk = running()
    for number in range(200):
        talk.front_end("SET_VRING_CALL", index=0, fds=[CALL._replace(eventfd_id=1000 + number)])
    assert errors(talk) == []
