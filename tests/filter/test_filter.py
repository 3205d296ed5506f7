"""Each row of docs/filters.md, each kind of mistake, and whatever else may be written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhostspy.capture.record import CHANGED, INCOMPLETE, RAW
from vhostspy.filter import FilterError, compile
from vhostspy.message import Finding, Message

from ..pipeline.conversation import CALL, KICK, MS, RAM, SECOND, Conversation, features

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "filters.md"
#: in a table, a | of the filter is written with a backslash
DOCUMENTED = [row.replace("\\|", "|") for row in re.findall(r"^\| `(.*)` \| ", DOCUMENT.read_text(), re.MULTILINE)]

REPLY_ACK = 1 << 3


def spoken() -> Mapping[int, Message]:
    """A session with something for every filter."""
    c = Conversation(step=MS)
    features(c, protocol=REPLY_ACK)  # 1 to 7
    region = {"guest_address": 0, "length": 512 << 20, "user_address": 0x7F0000000000, "mmap_offset": 0}
    c.front_end("SET_MEM_TABLE", need_reply=True, fds=[RAM, RAM._replace(name="/memfd:rom")], count=2,
                regions=[region, region | {"guest_address": 1 << 32, "length": 4096}])  # 8  # fmt: skip
    c.pause(9 * MS)
    c.reply("SET_MEM_TABLE", value=1)  # 9
    c.front_end("SET_VRING_CALL", fds=[CALL], index=0)  # 10
    c.front_end("SET_VRING_KICK", need_reply=True, fds=[KICK], index=0)  # 11
    c.pause(2 * SECOND)
    c.front_end("SET_VRING_KICK", index=1, nofd=True)  # 12
    c.front_end("SET_VRING_ADDR", index=1, log_used=True, descriptor=1, used=2, available=3, log_address=4)  # 13
    c.front_end("GET_CONFIG", offset=0, length=4, config_flags=0, config=b"\0\1\2\3")  # 14
    c.octets(bytes.fromhex("63000000 01000000 03000000 616263"))  # 15
    c.octets(b"garbage", kind=RAW)  # 16
    c.back_end("CONFIG_CHANGE_MSG")  # 17
    c.octets(bytes.fromhex("0b000000 01000000 08000000 00000000 01000000"), flags=INCOMPLETE)  # 18
    c.octets(bytes.fromhex("03000000 01000000 00000000"), flags=CHANGED, session=2)  # 19
    messages = {item.no: item for item in c.items if isinstance(item, Message)}
    finding = Finding("VU-RPL-02", "error", 1, "no acknowledgement", "vhost-user, REPLY_ACK", 11)
    messages[11] = messages[11]._replace(findings=(finding,))
    note = Finding("VU-OWN-03", "note", 0, "late", "vhost-user, SET_OWNER", 6)
    messages[6] = messages[6]._replace(findings=(note,))
    return messages


MESSAGES = spoken()

#: filter -> the numbers of the messages that pass
PASSES = {
    "message == SET_VRING_KICK": [11, 12],
    "message == SET_VRING_*": [10, 11, 12, 13],
    "message in {GET_FEATURES, SET_FEATURES}": [1, 2, 7],
    "message != SET_VRING_CALL": [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 17, 18, 19],
    "message contains MEM": [8, 9],
    'message matches "^GET_.*FEATURES$"': [1, 2, 3, 4],
    "vhost_user.request == 12": [11, 12],
    "vhost_user.request == SET_VRING_KICK": [11, 12],
    "id > 30": [15],
    "unknown": [15],
    "request": [1, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 17, 18, 19],
    "reply": [2, 4, 9],
    "ack": [9],
    "reply && !ack": [2, 4],
    "kind == ack": [9],
    "raw": [16],
    "failed": [9],
    "need_reply": [8, 11],
    "pending": [1, 3, 8, 11, 14],  # as they come; whether an answer follows is another's knowledge
    "latency > 5ms": [9],
    "answers == 13": [],
    "from == front-end": [1, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 18, 19],
    "from == back-end and not reply": [17],
    "channel == backend": [17],
    "channel != main": [17],
    "session == 2": [19],
    "no >= 4 && no < 7": [4, 5, 6],
    "no in {1 8..10}": [1, 8, 9, 10],
    "protocol == vhost-user": list(range(1, 20)),
    "vhost_user.request == 12 && vhost_user.index == 0": [11],
    "ring == 0": [10, 11, 18],
    "fields.index == 0": [10, 11, 18],
    "fields.num": [18],
    "fields.log_used": [13],
    "fields.length >= 512MiB": [8],
    "fields.user_address == 0x7f0000000000": [8],
    "fields.guest_address == 0": [8],
    "fields.regions.length == 4096": [8],
    "fields.features & 0x40000000": [2, 7],
    "fields.features == VERSION_1": [2, 7],
    "names contains REPLY_ACK": [4, 5],
    "fields.config contains 01:02": [14],
    "fields.config.capacity > 4": [],
    "bytes contains 0b00000001": [18],
    "size == 0": [1, 3, 6, 17, 19],
    "flags == 0x9": [8, 11],
    "vhost_user.flags & 0x8 == 0": [1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 13, 14, 15, 17, 18, 19],
    'info contains "ring 1"': [12, 13],
    "fields.rest": [15],
    "fds": [8, 10, 11],
    "fds > 1": [8],
    "fds == kick": [11],
    "fds == eventfd": [10, 11],
    "fds contains pc.ram": [8],
    "finding": [6, 11],
    "finding >= warning": [11],
    "finding == VU-RPL-*": [11],
    "changed || dropped || injected": [19],
    "incomplete": [18],
    "(message == SET_VRING_* || fds) && !(fields.index == 1)": [8, 10, 11],
    "not reply and size gt 8 or failed": [8, 9, 13, 14],
}


def passing(text: str) -> list[int]:
    wanted = compile(text)
    return [no for no, message in MESSAGES.items() if wanted(message)]


@pytest.mark.parametrize("text", DOCUMENTED)
def test_what_is_documented(text: str) -> None:
    assert passing(text) == PASSES[text]


def test_everything_tested_is_documented() -> None:
    assert set(PASSES) == set(DOCUMENTED)


@pytest.mark.parametrize(
    ("text", "no"),
    [
        ("", list(range(1, 20))),
        ("message==set_vring_kick&&fields.nofd", [12]),
        ("MESSAGE == x || no == 3", None),
        ("no in {1, 2 ,3}", [1, 2, 3]),
        ("latency == 10ms", [9]),
        ("latency > 0.0095s", [9]),
        ("latency != 3ns", [2, 4, 9]),
        ("no == 0b1010", [10]),
        ("no == 1_1", [11]),
        ("from == server", [2, 4, 9, 17]),
        ("need_reply == true", [8, 11]),
        ("need_reply == 1", [8, 11]),
        ("fields.config == 00010203", [14]),
        ("fields.config == 00:01:02:03", [14]),
        ("fields.regions.1.length == 4096", [8]),
        ("fields.regions.0.length == 4096", []),
        ("message == SET_SLAVE_REQ_FD", []),
        ('info == "ring 0"', [10, 11, 18]),
        ("message ~ SET_VRING_K*", [11, 12]),
        ("!!ack", [9]),
        ("not not ack", [9]),
        ("vhost_user_gpu.request == 1", []),
        ("finding == error", [11]),
        ("finding < warning", [6]),
        ("fds.x == 1", None),
    ],
)
def test_more(text: str, no: list[int] | None) -> None:
    if no is None:
        with pytest.raises(FilterError):
            compile(text)
    else:
        assert passing(text) == no


MISTAKES = [
    # filter, where the caret stands, what is said
    ("mesage == X", "^", "there is no mesage (at character 1); did you mean message?"),
    (
        "message == SET_VRING_KIK",
        "           ^",
        "message is never SET_VRING_KIK (at character 12); did you mean SET_VRING_KICK?",
    ),
    (
        "message ==",
        "          ^",
        "the filter ends here (at character 11); after == comes a message's name, or a pattern",
    ),
    ("(reply && (ack)", "^", "this ( is not closed (at character 1)"),
    ("reply) && ack", "     ^", "there is no ( that this ) closes (at character 6)"),
    ("fields.indx == 1", "       ^", "no message has a member indx (at character 8); did you mean index?"),
    (
        "vhost_user.reqest == 1",
        "           ^",
        "no message has a member reqest (at character 12); did you mean request?",
    ),
    ("index == 1", "^", "there is no index (at character 1); a message's member is fields.index"),
    ("SET_OWNER", "^", "SET_OWNER is a message's name (at character 1); write message == SET_OWNER"),
    ("message = SET_OWNER", "        ^", "= is not an operator (at character 9); equality is =="),
    ("latency > fast", "          ^", "fast is no number (at character 11); after > comes a time (5ms, 800us, 2s)"),
    ("latency > 5", "          ^", "5 has no unit (at character 11); after > comes a time (5ms, 800us, 2s)"),
    (
        "fields.length >= 512Mib",
        "                 ^",
        "512Mib is no number (at character 18); after >= comes a number (8, 0x8, 4KiB, 5ms)",
    ),
    (
        "protocol == vhostuser",
        "            ^",
        "protocol is never vhostuser (at character 13); did you mean vhost-user?",
    ),
    ("from == backend", "        ^", "from is never backend (at character 9); did you mean back-end?"),
    ('info == "ring', "        ^", "this quotation has no end (at character 9)"),
    ("no in 3", "      ^", "after in comes a set (at character 7); as in {8 9 10} or {GET_*, SET_OWNER}"),
    ("no in {3", "      ^", "this { is not closed (at character 7)"),
    (
        'message matches "("',
        "                ^",
        "no regular expression: missing ), unterminated subpattern at position 0 (at character 17)",
    ),
    ("message < A*", "          ^", "A* can't be compared by size (at character 11); texts are compared by == and !="),
    ("flags & x", "        ^", "here must stand a mask, as in flags & 0x8 (at character 9)"),
    (
        "reply ack",
        "      ^",
        "ack can't follow (at character 7); here could stand ==, !=, <, <=, >, >=, in {…}, contains, matches, &, &&, "
        "|| or the end",
    ),
]


@pytest.mark.parametrize(("text", "caret", "said"), MISTAKES)
def test_a_mistake_says_where_and_what_could_stand_there(text: str, caret: str, said: str) -> None:
    with pytest.raises(FilterError) as mistake:
        compile(text)
    assert str(mistake.value) == said
    assert mistake.value.pointing() == f"{text}\n{caret}"


@pytest.mark.parametrize("text", ["(" * 5000 + "ack", "!" * 5000 + "ack", "ack || " * 5000 + "ack"])
def test_what_is_too_long_or_too_deep_is_a_mistake_too(text: str) -> None:
    with pytest.raises(FilterError):
        compile(text)


def test_pending_is_settled_by_who_knows_what_followed() -> None:
    pending = compile("pending && from == front-end")
    assert pending.pending
    assert pending.settled(MESSAGES[11], answered=False)
    assert not pending.settled(MESSAGES[11], answered=True)
    assert compile("not pending").settled(MESSAGES[11], answered=True)
    assert not compile("reply").pending


PIECES = (
    "message from fds reply pending latency fields.index vhost_user.request vhost_user. fields. == != < >= in { } ( ) "
    "&& || ! & not and or contains matches ~ 1 0x1 5ms -3 1..4 SET_* [ ] * ? SET_OWNER back-end kick \"a\" '(' , = \\"
)
pieces = st.sampled_from(PIECES.split(" "))


@given(st.lists(pieces, max_size=12).map(" ".join) | st.text(max_size=30))
def test_any_text_is_a_filter_or_a_mistake(text: str) -> None:
    try:
        wanted = compile(text)
    except FilterError as mistake:
        assert 0 <= mistake.at <= len(text)
        assert mistake.pointing().split("\n")[1] == " " * mistake.at + "^"
        return
    for message in MESSAGES.values():
        assert wanted(message) in (True, False)
