"""Changes that nobody waits for."""

from __future__ import annotations

import pytest

from ..pipeline.conversation import MS, SECOND
from .steps import ACK, BACK, FRONT, MIB, USER, kick, region, running, set_up, table, with_memory
from .talk import broken


@pytest.mark.parametrize("fence", ["", "need reply", "barrier"])
def test_enabled_without_waiting(fence: str) -> None:
    """QEMU d7dc0682f5: OVMF hangs on virtio-fs, and any debug print cures it."""
    talk = with_memory(ACK)
    set_up(talk)
    kick(talk)
    no = talk.front_end("SET_VRING_ENABLE", need_reply=fence == "need reply", index=0, num=1).no
    if fence == "need reply":
        talk.reply("SET_VRING_ENABLE", value=0)
    elif fence:
        talk.ask("GET_FEATURES", {"features": 0})
    talk.pause(2 * SECOND)
    talk.event("eof", sender=FRONT)
    assert broken(talk, "VU-RACE-01") == [("note", FRONT, no)] * (not fence)


def test_a_fence_that_comes_much_later_is_none() -> None:
    talk = with_memory(ACK)
    no = talk.front_end("SET_VRING_ENABLE", index=0, num=1).no
    talk.pause(2 * SECOND)
    talk.ask("GET_FEATURES", {"features": 0})
    assert broken(talk, "VU-RACE-01") == [("note", FRONT, no)]


@pytest.mark.parametrize("protocol, fence, severity", [(ACK, 0, "warning"), (0, 0, "note"), (ACK, 1, None)])
def test_memory_changes_under_a_started_ring(protocol: int, fence: int, severity: str | None) -> None:
    """QEMU 28ed5ef163: the reason why there is REPLY_ACK."""
    talk = running(protocol)
    no = table(talk, region(), region(64 * MIB, MIB, USER + 64 * MIB)).no
    if fence:
        talk.ask("GET_FEATURES", {"features": 0})
    talk.front_end("SET_VRING_CALL", index=0, nofd=True)
    found = [one for one in broken(talk, "VU-RACE-02") if one[2] == no]
    assert found == ([(severity, FRONT, no)] if severity else [])


@pytest.mark.parametrize("pause, wrong", [(0, False), (300 * MS, True)])
def test_started_long_before_it_is_enabled(pause: int, wrong: bool) -> None:
    """rust-vmm/vhost #247: the kick in between is eaten; found by a sleep between the two."""
    talk = with_memory()
    set_up(talk)
    kick(talk)
    talk.pause(pause)
    no = talk.front_end("SET_VRING_ENABLE", index=0, num=1).no
    assert broken(talk, "VU-RACE-03") == [("note", FRONT, no)] * wrong


@pytest.mark.parametrize(
    "counts, used, wrong",
    [
        pytest.param((0, 1, 0), (7, 7, 7, 7), True, id="taken while disabled, and nobody looked again"),
        pytest.param((0, 1, 0), (7, 8, 9, 9), False, id="taken while disabled, and looked at when it was enabled"),
        pytest.param((0, 1, 0), (9, 9, 9, 9), False, id="taken while disabled, and nothing was there"),
        pytest.param((0, 1, 1), (7, 7, 7, 7), False, id="it stays"),
        pytest.param((0, 0, 0), (7, 7, 7, 7), False, id="none came"),
    ],
)
def test_a_kick_that_is_taken_while_the_ring_is_disabled(
    counts: tuple[int, ...], used: tuple[int, ...], wrong: bool
) -> None:
    """rust-vmm/vhost #247: a restored guest hung, as nobody looked at the ring once it was enabled."""
    talk = with_memory()
    set_up(talk)
    no = kick(talk).no

    def look(enabled: bool, count: int, index: int) -> None:
        ring = {"ring": 0, "layout": "split", "size": 256, "started": True, "enabled": enabled, "kick_count": count,
                "available": 9, "used": index, "in_flight": 9 - index}  # fmt: skip
        talk.event("sample", rings=[ring])
        talk.pause(SECOND // 2)

    for count in counts:
        look(False, count, used[0])
    talk.front_end("SET_VRING_ENABLE", index=0, num=1)
    for index in used:
        look(True, counts[-1], index)
    assert broken(talk, "VU-RACE-04") == [("warning", BACK, no)] * wrong
