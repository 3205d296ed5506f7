"""A recorded back-end is played to a front-end: answers by channel, name and meaning, and its own requests."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from vhostspy.demo.front_end import FEATURES, FrontEnd
from vhostspy.demo.numbers import NEED_REPLY, REPLY, VERSION, ProtocolFeature, Request, bits
from vhostspy.demo.wire import Connection
from vhostspy.replay import Script, replay

from .support import SECTORS, from_back_end, growing_disk, recorded, to_front_end, whole_session

U64 = struct.Struct("=Q")


@pytest.fixture(scope="module")
def capture() -> bytes:
    return recorded(whole_session)


def set_up(front_end: FrontEnd) -> None:
    front_end.negotiate()
    front_end.start()


def up_and_down(front_end: FrontEnd) -> None:
    set_up(front_end)
    front_end.stop()


def test_a_front_end_gets_the_recorded_answers(capture: bytes) -> None:
    def talk(front_end: FrontEnd) -> None:
        up_and_down(front_end)
        assert front_end.capacity == SECTORS
        assert front_end.inflight is not None

    outcome, trouble = to_front_end(capture, talk)
    assert not trouble
    assert outcome.status == 0, outcome.text
    assert outcome.sessions[0].ended == "all was played" or "closed" in outcome.sessions[0].ended


def test_its_descriptors_are_real(capture: bytes) -> None:
    """The in-flight region is a file of the recorded size, and what comes back is the same one."""
    sizes: list[int] = []

    def talk(front_end: FrontEnd) -> None:
        up_and_down(front_end)
        assert front_end.inflight is not None
        sizes.append(os.fstat(front_end.inflight[0].fileno()).st_size)

    outcome, _ = to_front_end(capture, talk)
    (answer,) = [one for one in outcome.sessions[0].messages if one.name == "GET_INFLIGHT_FD" and one.is_reply]
    assert sizes[0] >= answer.fields["mmap_length"] > 0


def test_until_the_rings_run(capture: bytes) -> None:
    """With --until-no set-up the replay ends by itself, and closes."""
    outcome, trouble = to_front_end(capture, set_up, until_no="set-up")
    assert not trouble
    assert outcome.status == 0, outcome.text
    assert outcome.sessions[0].ended == "all was played"


def test_what_comes_behind_the_end_is_nobody_s_mistake(capture: bytes) -> None:
    """In one breath with the last message: the replay is over, whatever else the front-end wants."""

    def talk(front_end: FrontEnd) -> None:
        set_up(front_end)
        front_end.main.send_octets(struct.pack("=III", Request.RESET_OWNER, VERSION, 0) * 3)

    def burst(front_end: FrontEnd) -> None:
        front_end.negotiate()
        front_end.main.send_octets(
            struct.pack("=IIIQ", Request.SET_FEATURES, VERSION, 8, front_end.offered & FEATURES)
            + struct.pack("=III", Request.RESET_OWNER, VERSION, 0)
        )

    outcome, _ = to_front_end(capture, talk, until_no="set-up")
    assert outcome.status == 0, outcome.text
    (part,) = Script.read(capture).parts
    last = next(one.no for one in part.messages if one.name == "SET_FEATURES")
    keep = {one.no for one in part.messages if one.name not in ("GET_INFLIGHT_FD", "SET_INFLIGHT_FD")}
    outcome, _ = to_front_end(capture, burst, until_no=last, keep=lambda one: one.no in keep)
    assert outcome.status == 0, outcome.text


def test_another_order_is_the_same_meaning(capture: bytes) -> None:
    """A front-end of another mind asks twice, and sets ring 1 up before ring 0: nothing of it is a mismatch."""

    def talk(front_end: FrontEnd) -> None:
        front_end.negotiate()
        for _ in range(3):
            front_end.get_features()
        front_end.get_inflight_fd()
        front_end.set_inflight_fd()
        front_end.set_features(front_end.offered & front_end.wanted_features)
        front_end.set_status(front_end.get_status() | 8)
        front_end.share_memory()
        for index in (1, 0):
            front_end.start_ring(index)
        for index in (1, 0):
            front_end.set_vring_enable(index, True)
        front_end.set_status(front_end.get_status() | 7)
        front_end.stop()

    outcome, trouble = to_front_end(capture, talk)
    assert not trouble
    assert outcome.status == 0, outcome.text


def test_other_features_are_a_mismatch_and_go_on(capture: bytes) -> None:
    def talk(front_end: FrontEnd) -> None:
        front_end.wanted_features = FEATURES & ~(1 << 28)
        up_and_down(front_end)

    outcome, trouble = to_front_end(capture, talk)
    assert not trouble
    assert outcome.status == 1
    members = {one.member: (one.expected, one.came) for each in outcome.mismatches for one in each.differences}
    assert members == {"features.INDIRECT_DESC": (True, False)}


def test_what_does_not_come_is_told(capture: bytes) -> None:
    def talk(front_end: FrontEnd) -> None:
        front_end.negotiate()

    outcome, _ = to_front_end(capture, talk)
    assert outcome.status == 1
    assert "SET_VRING_ENABLE #" in outcome.text and "not sent again" in outcome.text


def test_acknowledgements_come_when_they_are_asked_for(capture: bytes) -> None:
    """In the record only some messages wanted one; this front-end wants one of every message, another of none."""
    for need_reply in ("always", "never"):
        with from_back_end(capture) as (sock, outcomes), FrontEnd(sock, queues=2, need_reply=need_reply) as front_end:
            up_and_down(front_end)
        asked = [one for each in outcomes[0].mismatches for one in each.differences]
        assert {one.member for one in asked} == {"need_reply"}, outcomes[0].text


def asks(sock: socket.socket, request: int, payload: bytes = b"", flags: int = VERSION) -> tuple[int, bytes] | None:
    connection = Connection(sock, 5)
    connection.send(request, payload, flags=flags)
    answer = connection.receive()
    return None if answer is None else (answer.flags, answer.payload)


def test_unmatched_fail(capture: bytes) -> None:
    with from_back_end(capture) as (sock, outcomes):
        assert asks(sock, Request.SET_CONFIG, bytes(12), VERSION) is None
    assert outcomes[0].status == 1
    assert "SET_CONFIG #1 from the front-end was not expected: the record has no such request" in outcomes[0].text


def test_unmatched_nack(capture: bytes) -> None:
    with from_back_end(capture, until_no=6, unmatched="nack") as (sock, outcomes):
        assert asks(sock, Request.GET_FEATURES) is not None
        assert asks(sock, Request.GET_PROTOCOL_FEATURES) is not None
        agreed = bits(ProtocolFeature.REPLY_ACK)
        Connection(sock).send(Request.SET_PROTOCOL_FEATURES, U64.pack(agreed))
        assert asks(sock, 34, b"", VERSION | NEED_REPLY) == (VERSION | REPLY, U64.pack(1))
        assert asks(sock, Request.GET_STATUS) == (VERSION | REPLY, b"")
    assert "RESET_DEVICE #" in outcomes[0].text and "the record has no such request" in outcomes[0].text


def test_unmatched_close(capture: bytes) -> None:
    with from_back_end(capture, unmatched="close") as (sock, outcomes):
        assert asks(sock, Request.SET_CONFIG, bytes(12), VERSION) is None
    assert outcomes[0].sessions[0].ended.endswith("(--unmatched close)")


def test_its_own_requests_come_when_their_cause_has() -> None:
    """CONFIG_CHANGE_MSG was said after the rings had been started, and so it is again."""
    capture = recorded(growing_disk)
    capacity: list[int] = []

    def talk(front_end: FrontEnd) -> None:
        set_up(front_end)
        assert front_end.config_changes == 0 or front_end.backend_channel is not None
        front_end.wait_config_change()
        capacity.append(front_end.capacity)
        front_end.stop()

    outcome, trouble = to_front_end(capture, talk)
    assert not trouble
    assert outcome.status == 0, outcome.text
    assert capacity == [2 * SECTORS]


def test_a_front_end_that_does_nothing(capture: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        outcome = replay(capture, "back-end", connect=ours, timeout_s=0.1)
    assert outcome.status == 1
    assert "the front-end was silent for 0.1 s" in outcome.text


def test_listening_until_somebody_comes(capture: bytes, tmp_path: Path) -> None:
    outcome = replay(capture, "server", listen=tmp_path / "r.sock", connect_timeout_s=0.05)
    assert outcome.status == 3
    assert not (tmp_path / "r.sock").exists()
