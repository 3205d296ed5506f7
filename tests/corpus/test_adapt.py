"""Recorded front-ends before a back-end that offers other features than their own did: they take what there is."""

from __future__ import annotations

import socket

import pytest

from vhostspy.compare import Strictness
from vhostspy.corpus import scenarios
from vhostspy.demo.back_end import FEATURES, PROTOCOL_FEATURES, BackEnd, serving
from vhostspy.demo.block import Disk
from vhostspy.demo.numbers import Feature, ProtocolFeature, bits
from vhostspy.message import Message
from vhostspy.replay import Outcome, replay
from vhostspy.replay.adapt import Adapted

ACK = bits(ProtocolFeature.REPLY_ACK)


def played(
    name: str, features: int, protocol_features: int, queues: int = 4
) -> tuple[Outcome, list[Message], list[str]]:
    """The outcome, what passed, and what the back-end did not like."""
    (one,) = scenarios(name)
    ours, theirs = socket.socketpair()
    seen: list[Message] = []
    adapted = Adapted(see=seen.append)
    back_end = BackEnd(Disk(), features=features, protocol_features=protocol_features, queues=queues)
    with serving(back_end, theirs) as served:
        outcome = replay(
            one.path, "front-end", connect=ours, strictness=Strictness.SHAPE, see=adapted.see, edit=adapted.edit,
            timeout_s=5,
        )  # fmt: skip
    return outcome, seen, served.trouble


@pytest.mark.parametrize("name", ["qemu-7.2-seabios", "qemu-11.1-blk", "libblkio-1.5"])
@pytest.mark.parametrize("features", [FEATURES, FEATURES & ~bits(Feature.PROTOCOL_FEATURES)], ids=["all", "plain"])
@pytest.mark.parametrize("protocol_features", [0, ACK, PROTOCOL_FEATURES & ~bits(ProtocolFeature.CONFIGURE_MEM_SLOTS)])
def test_a_front_end_takes_what_is_offered(name: str, features: int, protocol_features: int) -> None:
    outcome, seen, trouble = played(name, features, protocol_features)
    assert (outcome.status, trouble) == (0, []), outcome.text
    assert {one.name for one in seen} >= {"SET_MEM_TABLE", "SET_VRING_NUM", "SET_VRING_KICK"}
    assert not any(one.name == "ADD_MEM_REG" for one in seen)
    for one in seen:
        if one.name == "SET_FEATURES":
            assert one.fields["features"] & ~features == 0
        if one.name == "SET_PROTOCOL_FEATURES":
            assert one.fields["protocol_features"] & ~protocol_features == 0


def test_nothing_is_changed_before_the_back_end_of_the_record() -> None:
    """One that offers all that the recorded one did."""
    outcome, seen, _ = played("qemu-11.1-blk", (1 << 64) - 1, PROTOCOL_FEATURES | 0x8F2B)
    assert outcome.status == 0, outcome.text
    assert not outcome.sessions[0].notes
    (sent,) = {one.fields["protocol_features"] for one in seen if one.name == "SET_PROTOCOL_FEATURES"}
    assert sent == 0x8F2B


def test_without_acknowledgements_none_is_asked_for() -> None:
    outcome, seen, _ = played("qemu-11.1-blk", FEATURES, PROTOCOL_FEATURES & ~ACK)
    assert outcome.status == 0, outcome.text
    assert not any(one.need_reply for one in seen)


@pytest.mark.parametrize("queues", [1, 2])
def test_rings_that_the_back_end_does_not_have_are_not_spoken_of(queues: int) -> None:
    outcome, seen, trouble = played("qemu-11.1-blk", FEATURES, PROTOCOL_FEATURES, queues)
    assert (outcome.status, trouble) == (0, []), outcome.text
    enabled = {one.fields["index"] for one in seen if one.name == "SET_VRING_ENABLE" and one.kind == "request"}
    assert enabled == set(range(queues))
