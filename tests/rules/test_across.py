"""A connection and the one before it."""

from __future__ import annotations

from typing import Any

import pytest

from vhostspy.capture.record import Record
from vhostspy.output import findings
from vhostspy.output.findings import Found
from vhostspy.pipeline import Item

from .steps import BACK, FRONT, LOG_ALL, MODERN, agreed, file, kick, set_up, start, stop, table
from .talk import Talk, broken, features

INFLIGHT = 1 << 12


class Again(Talk):
    """A later connection on the sockets of another conversation."""

    def __init__(self, earlier: Talk, **opened: Any) -> None:
        super().__init__(whole=False)
        self.pipeline, self.asked = earlier.pipeline, earlier.asked
        self.asked.clear()
        self.session, self.before, self.at, self.no = earlier.session + 1, earlier.session, earlier.at, earlier.no
        self.event("open", text="again", **opened)

    def feed(self, record: Record) -> list[Item]:
        return super().feed(record._replace(previous=self.before))


def ended(talk: Talk, end: int = BACK) -> Talk:
    talk.event("eof", sender=end)
    talk.event("close")
    return talk


#: QEMU of the captures; where it connects
PEER = {"path": "a.sock", "pid": 7, "program": "qemu-system-x86"}
SECOND = 1_000_000_000


def left_alone(
    pause_s: float = 1, away_s: float = 60, end: int = BACK, listen: str = "a.sock", pid: int = 7, later: int = 7,
    shaken: bool = False,
) -> Talk:  # fmt: skip
    """Two connections of the same front-end; then nothing comes until the relay ends."""
    first = Talk(whole=False)
    first.session = 0
    first.event("start", listen=[listen], connect=["b.sock"])
    first.session = 1
    first.event("open", text="session 1 begins", front_end={**PEER, "pid": pid})
    features(first)
    ended(first)
    first.pause(int(pause_s * SECOND))
    second = Again(first, front_end={**PEER, "pid": later})
    second.front_end("GET_FEATURES")
    if shaken:
        second.front_end("SET_FEATURES", features=MODERN)
    ended(second, end)
    second.pause(int(away_s * SECOND))
    second.session = second.before = 0
    second.event("end", text="the capture is complete")
    return second


def test_a_front_end_that_never_connects_again() -> None:
    """QEMU 6eaf0e612b: the back-end went in the middle of the handshake, and that was the end of it."""
    talk = left_alone()
    (finding,) = [one for one in talk.findings if one.rule == "VU-SES-05"]
    assert finding.text == (
        "expected the front-end (process 7) to connect again after session 2, which ended in the handshake, as it did "
        "1.0 s after session 1; nothing came for 60.0 s: it has given up, or was ended"
    )
    assert broken(talk, "VU-SES-05") == [("note", FRONT, talk.no)]
    # the event that shows it is the whole capture's
    assert findings.values(Found(finding, "vhost-user"), "a.pcapng")["session"] == 2
    talk = left_alone(shaken=True)
    assert broken(talk, "VU-SES-05") == [("note", FRONT, talk.no)]


@pytest.mark.parametrize(
    "how",
    [
        {"away_s": 9}, {"pause_s": 30, "away_s": 89}, {"end": FRONT, "shaken": True}, {"listen": "other.sock"},
        {"later": 8}, {"pid": 0, "later": 0},
    ],
    ids=["not long enough", "it is slow", "it has left", "it is connected to", "another process", "nobody knows who"],
)  # fmt: skip
def test_a_front_end_that_need_not_connect_again(how: dict[str, Any]) -> None:
    assert broken(left_alone(**how), "VU-SES-05") == []


def test_a_front_end_that_did_connect_again() -> None:
    talk = left_alone()
    assert [one.text for one in talk.findings if one.rule == "VU-SES-05" and "session 1 " in one.text[:60]] == []


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
