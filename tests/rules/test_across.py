"""A connection and the one before it."""

from __future__ import annotations

from typing import Any

import pytest

from vhostspy.capture.record import Record
from vhostspy.pipeline import Item

from .steps import BACK, FRONT, LOG_ALL, MODERN, agreed, file, kick, set_up, start, stop, table
from .talk import Talk, broken, features

INFLIGHT = 1 << 12


class Again(Talk):
    """A later connection on the sockets of another conversation."""

    def __init__(self, earlier: Talk) -> None:
        super().__init__(whole=False)
        self.pipeline, self.asked = earlier.pipeline, earlier.asked
        self.asked.clear()
        self.session, self.before, self.at, self.no = earlier.session + 1, earlier.session, earlier.at, earlier.no
        self.event("open", text="again")

    def feed(self, record: Record) -> list[Item]:
        return super().feed(record._replace(previous=self.before))


def ended(talk: Talk, end: int = BACK) -> Talk:
    talk.event("eof", sender=end)
    talk.event("close")
    return talk


def test_a_reconnect_is_told() -> None:
    talk = Again(ended(agreed()))
    no = talk.front_end("GET_FEATURES").no
    assert broken(talk, "VU-RC-01") == [("note", FRONT, no)]
    assert broken(agreed(), "VU-RC-01") == []


@pytest.mark.parametrize("num", [256, 128])
def test_a_ring_of_another_size(num: int) -> None:
    earlier = agreed()
    earlier.front_end("SET_VRING_NUM", index=0, num=256)
    talk = Again(ended(earlier))
    no = talk.front_end("SET_VRING_NUM", index=0, num=num).no
    assert broken(talk, "VU-RC-02") == [("warning", FRONT, no)] * (num != 256)


@pytest.mark.parametrize("virtio, protocol, wrong", [(MODERN, 0x1208, 0), (MODERN, 0x8, 1), (1 << 32, 0x1208, 1)])
def test_features_that_shrink(virtio: int, protocol: int, wrong: int) -> None:
    """cloud-hypervisor PR#3736, QEMU a463215b08 and three times more: not kept over a reconnect."""
    talk = Again(ended(agreed(0x1208)))
    talk.front_end("SET_PROTOCOL_FEATURES", protocol_features=protocol)
    talk.front_end("SET_FEATURES", features=virtio)
    assert [(severity, who) for severity, who, _ in broken(talk, "VU-SES-01")] == [("warning", FRONT)] * wrong


def test_logging_may_have_ended() -> None:
    talk = Again(ended(agreed(0, MODERN | LOG_ALL)))
    talk.front_end("SET_FEATURES", features=MODERN)
    assert broken(talk, "VU-SES-01") == []


def test_an_offer_that_shrinks() -> None:
    talk = Again(ended(agreed(0x1208)))
    talk.ask("GET_FEATURES", {"features": MODERN})
    no = talk.ask("GET_PROTOCOL_FEATURES", {"protocol_features": 8})[1].no
    assert broken(talk, "VU-SES-01") == [("warning", BACK, no)]


@pytest.mark.parametrize("slots, wrong", [(8, False), (7, True)])
def test_fewer_slots(slots: int, wrong: bool) -> None:
    """QEMU refuses such a reconnect."""
    earlier = agreed(1 << 15)
    earlier.ask("GET_MAX_MEM_SLOTS", {"slots": 8})
    talk = Again(ended(earlier))
    no = talk.ask("GET_MAX_MEM_SLOTS", {"slots": slots})[1].no
    assert broken(talk, "VU-MEM-14") == [("warning", BACK, no)] * wrong


@pytest.mark.parametrize("base, severity", [(700, None), (650, "warning"), (0, "note")])
def test_rings_go_on_elsewhere(base: int, severity: str | None) -> None:
    earlier = agreed()
    table(earlier)
    start(earlier)
    stop(earlier, at=700)
    talk = Again(ended(earlier))
    no = talk.front_end("SET_VRING_BASE", index=0, num=base).no
    assert broken(talk, "VU-SES-02") == ([(severity, FRONT, no)] if severity else [])


def test_where_the_back_end_died_nobody_knows_where_rings_stopped() -> None:
    earlier = agreed()
    start(earlier)
    talk = Again(ended(earlier))
    talk.front_end("SET_VRING_BASE", index=0, num=650)
    assert broken(talk, "VU-SES-02") == []


@pytest.mark.parametrize("brought_back", [False, True])
def test_requests_that_were_under_way(brought_back: bool) -> None:
    area: dict[str, Any] = {"mmap_length": 8192, "mmap_offset": 0, "num_queues": 1, "queue_size": 256}
    earlier = agreed(INFLIGHT)
    earlier.ask("GET_INFLIGHT_FD", {**area, "fds": [file(9)]}, **{**area, "mmap_length": 0})
    earlier.front_end("SET_INFLIGHT_FD", **area, fds=[file(9)])
    start(earlier)
    talk = Again(ended(earlier))
    features(talk, MODERN, INFLIGHT)
    if brought_back:
        talk.front_end("SET_INFLIGHT_FD", **area, fds=[file(9)])
    set_up(talk)
    no = kick(talk).no
    assert broken(talk, "VU-SES-03") == [("warning", FRONT, no)] * (not brought_back)


@pytest.mark.parametrize("gone", [False, True])
def test_a_connection_while_another_is_there(gone: bool) -> None:
    """VPP-418: the second was accepted, and nothing came."""
    earlier = agreed()
    if gone:
        earlier.event("eof", sender=FRONT)
    talk = Again(earlier)
    no = talk.front_end("GET_FEATURES").no
    assert broken(talk, "VU-SES-04") == [("note", FRONT, no)] * (not gone)
    assert broken(talk, "VU-RC-01") == [("note", FRONT, no)] * gone
