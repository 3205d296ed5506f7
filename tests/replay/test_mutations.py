"""A back-end that does one thing otherwise: the replay fails, and says which member of which message it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import pytest

from vhostspy.demo.numbers import Feature, ProtocolFeature, Request
from vhostspy.demo.wire import PeerError

from .support import Answer, Change, OneThingWrong, bit, recorded, to_back_end, whole_session


@pytest.fixture(scope="module")
def capture() -> bytes:
    return recorded(whole_session)


def payload(request: Request, change: Callable[[bytes], bytes]) -> Change:
    """Another payload for the answers of a request."""

    def changed(id: int, octets: bytes, fds: Sequence[int], flags: int) -> Answer | None:
        return id, change(octets) if id == request else octets, fds, flags

    return changed


def without_answer(request: Request, at: int = 0) -> Change:
    """No answer to the request's ``at``-th message."""
    seen = [0]

    def changed(id: int, octets: bytes, fds: Sequence[int], flags: int) -> Answer | None:
        if id != request:
            return id, octets, fds, flags
        seen[0] += 1
        return None if seen[0] == at + 1 else (id, octets, fds, flags)

    return changed


def descriptors(request: Request, change: Callable[[Sequence[int]], Sequence[int]]) -> Change:
    def changed(id: int, octets: bytes, fds: Sequence[int], flags: int) -> Answer | None:
        return id, octets, change(fds) if id == request else fds, flags

    return changed


def flags(request: Request, changes: int) -> Change:
    def changed(id: int, octets: bytes, fds: Sequence[int], flags: int) -> Answer | None:
        return id, octets, fds, flags ^ changes if id == request else flags

    return changed


def named(request: Request, other: int) -> Change:
    def changed(id: int, octets: bytes, fds: Sequence[int], flags: int) -> Answer | None:
        return other if id == request else id, octets, fds, flags

    return changed


def falls_over(request: Request) -> Change:
    def changed(id: int, octets: bytes, fds: Sequence[int], flags: int) -> Answer | None:
        if id == request:
            raise PeerError("falls over")
        return id, octets, fds, flags

    return changed


REFUSED = (1).to_bytes(8, "little")

MUTATIONS = [
    # what it does, how, the message that is told, the member that is told
    ("a feature bit less", payload(Request.GET_FEATURES, lambda p: bit(p, Feature.INDIRECT_DESC)),
     "GET_FEATURES reply", "features.INDIRECT_DESC"),
    ("a feature bit more", payload(Request.GET_FEATURES, lambda p: bit(p, 34)), "GET_FEATURES reply", "features."),
    ("a protocol feature bit less", payload(Request.GET_PROTOCOL_FEATURES, lambda p: bit(p, ProtocolFeature.MQ)),
     "GET_PROTOCOL_FEATURES reply", "protocol_features.MQ"),
    ("fewer queues", payload(Request.GET_QUEUE_NUM, lambda p: (1).to_bytes(8, "little")), "GET_QUEUE_NUM reply",
     "queues"),
    ("fewer slots", payload(Request.GET_MAX_MEM_SLOTS, lambda p: bit(p, 5)), "GET_MAX_MEM_SLOTS reply", "slots"),
    ("an answer too short", payload(Request.GET_QUEUE_NUM, lambda p: p[:4]), "GET_QUEUE_NUM reply", "size"),
    ("an answer too long", payload(Request.GET_STATUS, lambda p: p + bytes(8)), "GET_STATUS reply", "size"),
    ("an empty answer", payload(Request.GET_CONFIG, lambda p: b""), "GET_CONFIG reply", "size"),
    ("another configuration", payload(Request.GET_CONFIG, lambda p: p[:12] + b"\1" + p[13:]), "GET_CONFIG reply",
     "config"),
    ("a refusal", payload(Request.ADD_MEM_REG, lambda p: REFUSED), "ADD_MEM_REG ack", "value"),
    ("no acknowledgement", without_answer(Request.SET_VRING_KICK), "SET_VRING_KICK ack", "did not come"),
    ("no second acknowledgement", without_answer(Request.ADD_MEM_REG, 1), "ADD_MEM_REG ack", "did not come"),
    ("no answer", without_answer(Request.GET_VRING_BASE), "GET_VRING_BASE reply", "did not come"),
    ("a descriptor too few", descriptors(Request.GET_INFLIGHT_FD, lambda fds: []), "GET_INFLIGHT_FD reply", "fds"),
    ("a descriptor too many", descriptors(Request.GET_INFLIGHT_FD, lambda fds: [*fds, *fds]), "GET_INFLIGHT_FD reply",
     "fds"),
    ("another in-flight region", payload(Request.GET_INFLIGHT_FD, lambda p: p[:16] + b"\1\0" + p[18:]),
     "GET_INFLIGHT_FD reply", "num_queues"),
    ("another ring", payload(Request.GET_VRING_BASE, lambda p: b"\1" + p[1:]), "GET_VRING_BASE reply", "index"),
    ("another answer", named(Request.GET_QUEUE_NUM, Request.GET_STATUS), "GET_STATUS reply", "answers nothing"),
    ("no mark of an answer", flags(Request.GET_QUEUE_NUM, 4), "GET_QUEUE_NUM reply", "kind"),
    ("its end", falls_over(Request.GET_STATUS), "GET_STATUS reply", "back-end closed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message", "told"), [row[1:] for row in MUTATIONS], ids=[row[0] for row in MUTATIONS]
)
def test_one_thing_otherwise_is_told(capture: bytes, change: Change, message: str, told: str) -> None:
    # some never answer
    outcome = to_back_end(capture, OneThingWrong(change), timeout_s=1)
    assert outcome.status == 1, outcome.text
    lines = [line for one in outcome.mismatches for line in one.lines()]
    assert any(message in line for line in lines), outcome.text
    assert any(told in line for line in lines), outcome.text


def test_a_descriptor_of_another_kind_is_told(capture: bytes) -> None:
    with ExitStack() as stack:
        event = os.eventfd(0)
        stack.callback(os.close, event)
        outcome = to_back_end(capture, OneThingWrong(descriptors(Request.GET_INFLIGHT_FD, lambda fds: [event])))
    assert outcome.status == 1
    (mismatch,) = [one for one in outcome.mismatches if one.differences]
    assert ("fds[0].kind", "memfd", "eventfd") in mismatch.differences


def test_nothing_otherwise_is_no_mismatch(capture: bytes) -> None:
    outcome = to_back_end(capture, OneThingWrong(lambda *answer: answer))
    assert outcome.status == 0, outcome.text
    assert outcome.mismatches == ()
