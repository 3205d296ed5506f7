"""Two messages side by side: what counts by each strictness, and what the difference is called."""

from __future__ import annotations

from typing import Any

import pytest

from vhostspy.capture.record import SNAPPED
from vhostspy.compare import Difference, Strictness, differences, told
from vhostspy.message import Message
from vhostspy.pipeline import Pipeline

from ..pipeline.conversation import CALL, KICK, RAM, Conversation, features

EXACT, SEMANTIC, SHAPE = Strictness.EXACT, Strictness.SEMANTIC, Strictness.SHAPE
REGION = {"guest_address": 0, "length": 512 << 20, "user_address": 0x7F0000000000, "mmap_offset": 0}


def one(end: str, name: str, **what: Any) -> Message:
    """A message that comes once features are agreed on."""
    c = Conversation()
    features(c, 1 << 30, 1 << 3)
    if end == "reply":
        c.front_end(name, need_reply=True, **what.pop("asked", {}))
    said: Message = getattr(c, end)(name, **what)
    return said


def members(expected: Message, came: Message, strictness: Strictness) -> list[str]:
    return [difference.member for difference in differences(expected, came, strictness)]


# a message; another; what differs between them exactly, in meaning, in shape
DIFFERENT = [
    (
        "front_end", "ADD_MEM_REG",
        {**REGION, "fds": [RAM]},
        {**REGION, "user_address": 0x7E0000000000, "fds": [RAM]},
        ["user_address"], [], [],
    ),
    (
        "front_end", "ADD_MEM_REG",
        {**REGION, "fds": [RAM]},
        {**REGION, "length": 1 << 20, "fds": [RAM._replace(size=1 << 20)]},
        ["length", "fds[0].size"], ["length", "fds[0].size"], [],
    ),
    (
        "front_end", "ADD_MEM_REG",
        {**REGION, "fds": [RAM]},
        {**REGION, "fds": [RAM._replace(name="/memfd:other (deleted)", inode=5, device=3)]},
        ["fds[0].name"], [], [],
    ),
    (
        "front_end", "SET_VRING_KICK",
        {"index": 0, "fds": [KICK]},
        {"index": 0, "fds": [KICK._replace(eventfd_id=99)]},
        [], [], [],
    ),
    (
        "front_end", "SET_VRING_KICK",
        {"index": 0, "fds": [KICK]},
        {"index": 0, "fds": [KICK._replace(kind="pipe", access="r")]},
        ["fds[0].kind", "fds[0].access"], ["fds[0].kind", "fds[0].access"], [],
    ),
    (
        "front_end", "SET_VRING_KICK",
        {"index": 0, "fds": [KICK]},
        {"index": 0, "nofd": True},
        ["nofd", "fds", "fds[0].role", "fds[0].kind", "fds[0].access", "fds[0].seals", "fds[0].name"],
        ["nofd", "fds", "fds[0].role", "fds[0].kind", "fds[0].access"],
        ["fds", "fds[0].role"],
    ),
    (
        "front_end", "SET_FEATURES",
        {"features": 1 << 30 | 1 << 32}, {"features": 1 << 30 | 1 << 34},
        ["features"], ["features.VERSION_1", "features.RING_PACKED"], [],
    ),
    (
        "front_end", "SET_VRING_ENABLE",
        {"index": 0, "num": 1}, {"index": 0, "num": 1, "need_reply": True},
        ["need_reply", "flags"], ["need_reply"], [],
    ),
    (
        "front_end", "SET_VRING_BASE",
        {"index": 0, "num": 1}, {"index": 0, "num": 700},
        ["num"], [], [],
    ),
    (
        "front_end", "SET_VRING_NUM",
        {"index": 0, "num": 256}, {"index": 1, "num": 128},
        ["index", "num"], ["index", "num"], [],
    ),
    (
        "reply", "SET_OWNER",
        {"value": 0}, {"value": (1 << 64) - 22},
        ["failed", "value"], ["failed", "value"], ["failed"],
    ),
    (
        "reply", "GET_QUEUE_NUM",
        {"queues": 2}, {"queues": 2, "rest": b"\0\0\0\0"},
        ["size", "rest"], ["size", "rest"], ["size"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("end", "name", "first", "second", "exact", "semantic", "shape"),
    DIFFERENT,
    ids=[f"{row[1]}-{i}" for i, row in enumerate(DIFFERENT)],
)
def test_what_counts(
    end: str,
    name: str,
    first: dict[str, Any],
    second: dict[str, Any],
    exact: list[str],
    semantic: list[str],
    shape: list[str],
) -> None:
    expected, came = one(end, name, **first), one(end, name, **second)
    assert members(expected, came, SEMANTIC) == semantic
    assert members(expected, came, SHAPE) == shape
    assert members(expected, came, EXACT) == exact
    for strictness in Strictness:
        assert differences(expected, expected, strictness) == ()
        assert [(b, a) for _, a, b in differences(expected, came, strictness)] == [
            (a, b)
            for _, a, b in sorted_as(differences(came, expected, strictness), members(expected, came, strictness))
        ]


def sorted_as(found: tuple[Difference, ...], order: list[str]) -> list[Difference]:
    return sorted(found, key=lambda difference: order.index(difference.member))


def test_another_message_differs_in_that_alone() -> None:
    kick, call = one("front_end", "SET_VRING_KICK", index=0, fds=[KICK]), one("front_end", "SET_VRING_CALL", index=0)
    assert differences(kick, call) == (Difference("message", "SET_VRING_KICK", "SET_VRING_CALL"),)


def test_bits_that_nobody_has_named_are_numbers() -> None:
    few = one("front_end", "SET_PROTOCOL_FEATURES", protocol_features=1)
    more = one("front_end", "SET_PROTOCOL_FEATURES", protocol_features=1 | 1 << 60)
    assert differences(few, more) == (Difference("protocol_features.bit 60", False, True),)


def test_a_region_too_few_is_found() -> None:
    region = {"guest_address": 0, "length": 1 << 20, "user_address": 1 << 40, "mmap_offset": 0}
    two = one("front_end", "SET_MEM_TABLE", regions=[region, region], fds=[RAM, RAM])
    short = one("front_end", "SET_MEM_TABLE", regions=[region], fds=[RAM])
    assert {"count", "size", "regions[1].length", "fds", "fds[1].kind"} <= set(members(two, short, SEMANTIC))
    assert Difference("fds", 2, 1) in differences(two, short, SHAPE)


def test_config_is_compared_by_what_it_says() -> None:
    def config(capacity: int) -> Message:
        c = Conversation(Pipeline("block"))
        features(c, 1 << 30 | 1 << 32, 1 << 9)
        c.front_end("GET_CONFIG", offset=0, length=60, config_flags=0, config=bytes(60))
        octets = capacity.to_bytes(8, "little") + bytes(52)
        return c.reply("GET_CONFIG", offset=0, length=60, config_flags=0, config=octets)

    assert differences(config(8), config(9)) == (Difference("config.capacity", 8, 9),)


def test_a_secret_is_not_told() -> None:
    key = {"op_code": 0x404, "algorithm": 1, "key_type": 2, "key_length": 4, "rsa_padding": 1, "rsa_hash": 3}

    def session(secret: str, key_pointer: int) -> Message:
        octets = bytes.fromhex(secret) + bytes(1020)
        return one("front_end", "CREATE_CRYPTO_SESSION", **key, key=octets, key_pointer=key_pointer, session_id=0)

    (difference,) = differences(session("30820102", 0x1000), session("30820103", 0x2000))
    assert difference.member == "key"
    assert "3082" not in str(difference) and "1024 bytes" in str(difference)
    assert differences(session("30820102", 0x1000), session("30820102", 0x2000)) == ()


def test_it_is_told_with_both_numbers() -> None:
    expected, came = (
        one("front_end", "SET_VRING_NUM", index=0, num=256),
        one("front_end", "SET_VRING_NUM", index=0, num=8192),
    )
    assert [*told(expected, came, differences(expected, came))] == [
        "SET_VRING_NUM from the front-end: expected #8, came #8",
        "    num  expected 256, came 8192 (0x2000)",
    ]
    assert [*told(expected, None)] == ["SET_VRING_NUM #8 from the front-end did not come"]
    assert [*told(None, came)] == ["SET_VRING_NUM #8 from the front-end was not expected"]
    assert str(Difference("features.MQ", True, False)) == "features.MQ: expected yes, came no"


def test_octets_that_could_not_be_framed_are_compared_as_octets() -> None:
    first, second = Conversation().raw(b"abc"), Conversation().raw(b"abd")
    assert differences(first, second) == (Difference("bytes", "616263", "616264"),)
    assert differences(first, second, SHAPE) == ()


def test_the_call_descriptor_is_no_kick() -> None:
    first = one("front_end", "SET_VRING_KICK", index=0, fds=[KICK])
    second = one("front_end", "SET_VRING_KICK", index=0, fds=[CALL])
    assert members(first, second, SHAPE) == ["fds[0].role"]


def test_nothing_that_was_not_there_is_no_difference() -> None:
    """A descriptor whose message says nothing of what it is for."""
    found = differences(one("front_end", "SET_OWNER"), one("front_end", "SET_OWNER", fds=[RAM._replace(role="")]))
    assert [each.member for each in found] == ["fds", "fds[0].kind", "fds[0].access", "fds[0].size"]


def test_many_differences_are_told_in_few_lines() -> None:
    expected = one("front_end", "ADD_MEM_REG", **REGION)
    lines = [*told(expected, expected, [Difference(f"member{i}", i, None) for i in range(1000)])]
    assert len(lines) < 50
    assert lines[-1] == "    and 960 more"


def test_of_a_message_that_was_not_kept_whole_counts_what_both_have() -> None:
    """A header, and the first octet of the payload."""
    expected = one("front_end", "ADD_MEM_REG", **REGION, fds=[RAM])
    kept = expected._replace(data=expected.data[:13], marks=SNAPPED)
    for strictness in Strictness:
        assert differences(kept, expected, strictness) == ()
    other = one("front_end", "ADD_MEM_REG", **REGION, fds=[RAM, RAM])
    assert members(kept, other, SEMANTIC) == ["fds"]
    assert members(kept, one("front_end", "SET_OWNER"), SHAPE) == ["message"]
