"""Two sequences side by side: changed, moved, missing and extra are told apart; answers go with their requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhostspy.compare import Pair, align, sequence
from vhostspy.message import Message

from ..pipeline.conversation import CALL, KICK, Conversation, features

Say = Callable[[Conversation], object]


def num(index: int, num: int = 256) -> Say:
    return lambda c: c.front_end("SET_VRING_NUM", index=index, num=num)


def base(index: int) -> Say:
    return lambda c: c.front_end("SET_VRING_BASE", index=index, num=0)


def kick(index: int) -> Say:
    return lambda c: c.front_end("SET_VRING_KICK", index=index, fds=[KICK])


def call(index: int) -> Say:
    return lambda c: c.front_end("SET_VRING_CALL", index=index, fds=[CALL])


def queues(answer: int | None) -> Say:
    def say(c: Conversation) -> None:
        c.front_end("GET_QUEUE_NUM")
        if answer is not None:
            c.reply("GET_QUEUE_NUM", queues=answer)

    return say


def session(*said: Say) -> list[Message]:
    c = Conversation()
    features(c, 1 << 30, 1 << 3)
    for say in said:
        say(c)
    return [item for item in c.items if isinstance(item, Message)]


def unlike(pairs: list[Pair]) -> list[tuple[str, str | None, str | None]]:
    """How, and the lines of both messages, of all that are not the same."""

    def line(message: Message | None) -> str | None:
        return message and f"{message.name} {message.info}".strip()

    return [(pair.how, line(pair.expected), line(pair.came)) for pair in pairs if pair.how != "same"]


RING = (num(0), base(0), kick(0), call(0))


def test_the_same_is_the_same() -> None:
    assert {pair.how for pair in align(session(*RING, queues(2)), session(*RING, queues(2)))} == {"same"}


def test_a_change_is_told_by_its_member() -> None:
    (found,) = (pair for pair in align(session(*RING), session(num(0, 128), *RING[1:])) if pair.how != "same")
    assert (found.how, [str(one) for one in found.differences]) == ("changed", ["num: expected 256, came 128"])


def test_another_order_is_no_change() -> None:
    assert unlike(align(session(num(0), base(0), kick(0)), session(kick(0), num(0), base(0)))) == [
        ("moved", "SET_VRING_KICK ring 0", "SET_VRING_KICK ring 0")
    ]


def test_rings_in_another_order_are_moved() -> None:
    found = unlike(align(session(kick(0), kick(1), num(0)), session(kick(1), kick(0), num(0))))
    assert [how for how, _, _ in found] == ["moved"]


def test_what_is_missing_and_what_is_extra() -> None:
    assert unlike(align(session(num(0), base(0), kick(0)), session(num(0), kick(0), call(0)))) == [
        ("missing", "SET_VRING_BASE ring 0 at 0", None),
        ("extra", None, "SET_VRING_CALL ring 0"),
    ]


def test_a_ring_is_held_against_the_same_ring() -> None:
    found = unlike(align(session(num(0), num(1), num(2)), session(num(0, 8), num(2, 16))))
    assert found == [
        ("changed", "SET_VRING_NUM ring 0, 256 entries", "SET_VRING_NUM ring 0, 8 entries"),
        ("missing", "SET_VRING_NUM ring 1, 256 entries", None),
        ("changed", "SET_VRING_NUM ring 2, 256 entries", "SET_VRING_NUM ring 2, 16 entries"),
    ]


def test_an_answer_goes_with_its_request() -> None:
    assert unlike(align(session(queues(2), queues(3)), session(queues(2), queues(None)))) == [
        ("missing", "GET_QUEUE_NUM 3 queues", None)
    ]


def test_who_of_two_ends_was_faster_is_no_difference() -> None:
    def asked_at_once(c: Conversation) -> None:
        c.front_end("GET_QUEUE_NUM")
        c.front_end("SET_VRING_NUM", index=0, num=256)
        c.reply("GET_QUEUE_NUM", queues=2)

    assert unlike(align(session(queues(2), num(0)), session(asked_at_once))) == []


def test_the_order_is_that_of_the_expected() -> None:
    pairs = align(session(num(0), kick(0)), session(num(0), call(0), kick(0)))
    numbers = [(pair.expected and pair.expected.no, pair.came and pair.came.no) for pair in pairs]
    assert numbers[-3:] == [(8, 8), (None, 9), (9, 10)]


def test_long_sequences_take_no_longer_than_their_length() -> None:
    """Ten thousand messages, each of four kinds, one of them left out now and then."""
    ring = [num(0), base(0), kick(0), call(0)] * 2_500
    short = [say for at, say in enumerate(ring) if at % 997]
    found = unlike(align(session(*ring), session(*short)))
    assert [how for how, _, _ in found] == ["missing"] * 11


SAYINGS = [num(0), num(1), num(1, 8), base(0), kick(0), kick(1), call(0), queues(1), queues(2), queues(None)]
sequences = st.lists(st.sampled_from(SAYINGS), max_size=12)


@pytest.mark.parametrize("window", [2, 4, 512])
@given(left=sequences, right=sequences)
def test_each_message_is_in_one_pair(window: int, left: list[Say], right: list[Say]) -> None:
    """Whether they are aligned at once, or piece by piece as long ones are."""
    expected, came = session(*left), session(*right)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence, "WINDOW", window)
        pairs = align(expected, came)
    assert sorted(pair.expected.no for pair in pairs if pair.expected) == [message.no for message in expected]
    assert sorted(pair.came.no for pair in pairs if pair.came) == [message.no for message in came]
    for pair in pairs:
        if pair.expected and pair.came:
            assert (pair.expected.name, pair.expected.kind) == (pair.came.name, pair.came.kind)
    if left == right:
        assert {pair.how for pair in pairs} == {"same"}
    in_order = [pair.expected.no for pair in pairs if pair.expected]
    assert in_order == sorted(in_order)
