"""Who waits, who closed first, and that a file shows what was shown live."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vhostspy.capture.record import (
    ACCESS,
    CHANGED,
    CHANNELS,
    EVENT,
    KINDS,
    MESSAGE,
    ORIGINAL,
    PROTOCOLS,
    RAW,
    ROLES,
    Descriptor,
    Record,
)
from vhostspy.message import Event, Message
from vhostspy.output.json import Json
from vhostspy.output.summary import Summary
from vhostspy.output.text import Look, Text
from vhostspy.pipeline import Item, Pipeline

from .conversation import KICK, MS, SECOND, START_NS, Conversation, features

REPLY_ACK = 1 << 3


def kicked() -> Conversation:
    """A conversation whose last message, SET_VRING_KICK #8, waits for its acknowledgement."""
    conversation = Conversation()
    features(conversation, protocol=REPLY_ACK)
    conversation.front_end("SET_VRING_KICK", need_reply=True, fds=[KICK], index=0)
    return conversation


def texts(items: list[Item]) -> list[str]:
    return [item.text for item in items if isinstance(item, Event)]


def test_silence_is_spoken_of_after_a_second_and_then_at_growing_ages() -> None:
    conversation = kicked()
    since = conversation.at - MS
    assert list(conversation.pipeline.tick(since + SECOND)) == []
    (first,) = conversation.pipeline.tick(since + SECOND + 1)
    assert (first.event, first.text) == ("waiting", "SET_VRING_KICK #8 unanswered for 1.0 s")
    assert (first.facts, first.sender) == ({"no": 8, "age_ns": SECOND}, 0)
    assert list(conversation.pipeline.tick(since + 2 * SECOND)) == []
    later = list(conversation.pipeline.tick(since + 500 * SECOND))
    assert [event.facts["age_ns"] // SECOND for event in later] == [2, 5, 10, 30, 60, 120, 240, 480]


def test_a_file_says_it_without_a_clock_in_the_place_where_it_was_said_live() -> None:
    conversation = kicked()
    conversation.pause(3 * SECOND)
    conversation.reply("SET_VRING_KICK", value=0)
    waiting = conversation.items[-3:]
    assert texts(waiting) == ["SET_VRING_KICK #8 unanswered for 1.0 s", "SET_VRING_KICK #8 unanswered for 2.0 s"]
    assert isinstance(waiting[2], Message)
    times = [item.time_ns - START_NS for item in waiting[:2]]
    assert times == [8 * MS + SECOND, 8 * MS + 2 * SECOND]


def test_nothing_is_said_of_what_was_answered_in_time() -> None:
    conversation = kicked()
    conversation.reply("SET_VRING_KICK", value=0)
    conversation.pause(100 * SECOND)
    conversation.front_end("GET_FEATURES")
    assert conversation.events() == ["session 1 begins"]


def test_live_is_as_from_a_file() -> None:
    conversation = kicked()
    conversation.pause(7 * SECOND)
    conversation.front_end("GET_FEATURES")
    conversation.pause(SECOND // 2)
    conversation.reply("SET_VRING_KICK", value=0)
    conversation.pause(40 * SECOND)
    conversation.event("eof", sender=1)
    live = Pipeline()
    seen: list[Item] = []
    now = 0
    for record in conversation.records:
        while now + 50 * MS < record.monotonic_ns:
            now += 50 * MS
            seen += live.tick(now)
        seen += live.feed(record)
    assert seen == conversation.items


def test_who_closed_first_and_what_that_leaves_unanswered() -> None:
    conversation = kicked()
    conversation.pause(2 * SECOND + 99 * MS)
    (*_, first) = conversation.event("eof", sender=1, after=8)
    (second,) = conversation.event("eof", sender=0, after=8)
    assert first.text == "back-end closed first, SET_VRING_KICK #8 unanswered for 2.1 s"
    assert first.facts == {"after": 8, "waiting": 8}
    assert second.text == "front-end closed"


def test_a_reset_is_no_end_of_file() -> None:
    conversation = kicked()
    (reset,) = conversation.event("reset", sender=0, after=8, text="closed with unread bytes (reset)")
    assert reset.text == "front-end reset the connection first, SET_VRING_KICK #8 unanswered for 1.0 ms"


def test_a_nested_channel_is_named() -> None:
    conversation = Conversation()
    conversation.event("channel", sender=0, channel="backend", after=4)
    assert texts(list(conversation.event("eof", sender=1, channel="backend"))) == [
        "back-end closed the backend channel first"
    ]


def test_a_session_that_ends_says_of_each_request_once_that_it_stays_unanswered() -> None:
    conversation = kicked()
    conversation.front_end("GET_QUEUE_NUM")
    conversation.event("eof", sender=0)
    closing = conversation.event("close", text="session 1 ends")
    # the oldest was named by the end of file
    assert texts(list(closing)) == ["GET_QUEUE_NUM #9 unanswered for 2.0 ms", "session 1 ends"]
    assert list(conversation.pipeline.finish()) == []


def test_where_a_capture_just_stops_age_counts_to_its_last_record() -> None:
    conversation = kicked()
    conversation.pause(SECOND // 2)
    conversation.front_end("SET_OWNER")
    (event,) = conversation.pipeline.finish()
    assert (event.event, event.text) == (
        "unanswered",
        "SET_VRING_KICK #8 unanswered for 501.0 ms when the capture ends",
    )
    assert list(conversation.pipeline.finish()) == []


def test_sessions_do_not_answer_for_each_other() -> None:
    one = Conversation()
    two = Conversation(one.pipeline, session=2)
    asked = one.front_end("GET_FEATURES")
    assert two.reply("GET_FEATURES", features=0).answers is None
    assert one.reply("GET_FEATURES", features=0).answers == asked.no


def test_what_a_policy_changed_is_one_message_that_keeps_what_came() -> None:
    conversation = Conversation()
    conversation.front_end("GET_FEATURES")
    came = bytes.fromhex("01000000 05000000 08000000  0000004001000000")
    went = bytes.fromhex("01000000 05000000 08000000  0000000001000000")
    original = Record(MESSAGE, 2, 0, conversation.at, 0, 1, 0, "vhost-user", "main", 1, 1, ORIGINAL, 1, "<", 20, came)
    assert list(conversation.pipeline.feed(original)) == []
    message = conversation.octets(went, sender=1, flags=CHANGED | 1 << 24)
    assert (message.changed, message.by, message.original, message.answers) == (True, "mask", came, 1)
    assert conversation.state.virtio_offered == 1 << 32
    assert conversation.reply("GET_FEATURES", features=0).original is None


def test_octets_that_could_not_be_framed_are_shown_and_change_nothing() -> None:
    conversation = Conversation()
    before = conversation.state
    raw = conversation.raw(b"GET / HTTP/1.1\r\n\r\n")
    assert (raw.kind, raw.name, raw.id, raw.info) == ("raw", None, None, "18 bytes")
    assert conversation.state == before._replace(protocol="vhost-user")


def test_the_relay_says_what_the_device_is() -> None:
    pipeline = Pipeline()
    start = json.dumps({"event": "start", "device": "blk"}).encode()
    list(pipeline.feed(Record(EVENT, 0, 0, 0, 0, 0, 0, "", "", 0, 2, 0, 0, "<", len(start), start)))
    conversation = Conversation(pipeline)
    assert conversation.state.device == "block"


def test_an_event_that_is_no_json_is_kept_as_text() -> None:
    conversation = Conversation()
    data = b"\xff{not json"
    record = Record(EVENT, 0, 0, 0, 0, 1, 0, "", "main", 1, 2, 0, 0, "<", len(data), data)
    (event,) = conversation.feed(record)
    assert isinstance(event, Event)
    assert (event.event, event.text) == ("unknown", "\N{REPLACEMENT CHARACTER}{not json")


def test_nobody_waits_for_an_answer_to_what_was_never_taken() -> None:
    conversation = kicked()
    conversation.front_end("SET_VRING_CALL", need_reply=True, fds=[KICK], index=0)
    (event,) = conversation.event("undelivered", 0, text="…", bytes=20, messages=1, first=9, after=9)
    assert (event.event, event.sender, event.facts["first"]) == ("undelivered", 0, 9)
    (reset,) = conversation.event("reset", 1, after=9, text="…")
    assert "SET_VRING_KICK #8 unanswered" in reset.text
    assert "more" not in reset.text
    assert [event.facts["no"] for event in conversation.event("close") if event.event == "unanswered"] == []


def test_a_part_of_a_message_that_was_never_taken_has_no_number_and_changes_nothing() -> None:
    conversation = kicked()
    conversation.event("undelivered", 0, text="…", bytes=20, messages=0, after=8)
    (reset,) = conversation.event("reset", 1, after=8, text="…")
    assert "SET_VRING_KICK #8 unanswered" in reset.text


# -- whatever a file holds


u64 = st.integers(0, 2**64 - 1)
words = st.sampled_from(
    ["open", "eof", "reset", "close", "channel", "unread", "undelivered", "end", "start", "gap", "x"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)


def _event_data(facts: dict[str, Any], name: str) -> bytes:
    return json.dumps({"event": name, **facts}).encode()


events = st.builds(_event_data, st.dictionaries(st.text(max_size=6), values, max_size=3), words) | st.binary(
    max_size=20
)
octets = st.builds(
    lambda request, flags, size, payload: b"".join(
        (request.to_bytes(4, "little"), flags.to_bytes(4, "little"), size.to_bytes(4, "little"), payload)
    ),
    st.integers(0, 47) | st.integers(0, 2**32 - 1),
    st.sampled_from([1, 5, 9, 13]) | st.integers(0, 2**32 - 1),
    st.integers(0, 100) | st.integers(0, 2**32 - 1),
    st.binary(max_size=60),
)
descriptors = st.builds(
    Descriptor,
    # these are the reader's words, by number
    st.sampled_from(ROLES), st.sampled_from(KINDS), st.sampled_from(ACCESS), u64, u64,
    st.none() | u64, st.none() | u64, st.none() | u64, st.text(max_size=8),
)  # fmt: skip


def _record(kind: int, no: int, time: int, **members: Any) -> Record:
    data = members["data"]
    about: dict[str, Any] = {"previous": 0, "span_ns": 0, "length": len(data), "time_ns": time, "monotonic_ns": time}
    return Record(kind=kind, number=no, **about, **members)


records = st.builds(
    _record,
    kind=st.sampled_from([MESSAGE, MESSAGE, MESSAGE, RAW, EVENT, 4, 5]),
    no=u64,
    time=st.integers(0, 10**13),
    session=st.integers(0, 3),
    protocol=st.sampled_from(PROTOCOLS),
    channel=st.sampled_from(CHANNELS),
    channel_no=st.integers(0, 3),
    sender=st.integers(0, 2),
    flags=st.integers(0, 255) | st.integers(0, 2**32 - 1),
    reads=st.integers(0, 3),
    byte_order=st.sampled_from(["<", ">"]),
    data=octets | events | st.binary(max_size=30),
    fds=st.lists(descriptors, max_size=2).map(tuple),
)


@given(st.lists(records, max_size=8))
def test_any_records_can_be_shown(recorded: list[Record]) -> None:
    pipeline, summary = Pipeline(), Summary()
    views = [Text(Look()), Text(Look(verbose=True, octets=True, colour=True))]
    as_json = Json()
    for item in (item for record in recorded for item in pipeline.feed(record)):
        if isinstance(item, Message):
            summary.add(item)
            lines = [view.message(item) for view in views]
            line = as_json.message(item)
            assert "message" in json.loads(line)
            assert line == json.dumps(as_json.values(item), default=bytes.hex) + "\n"
            assert line == as_json.message(item)
        else:
            lines = [view.event(item) for view in views]
            assert "event" in json.loads(as_json.event(item))
        assert all(line.endswith("\n") for line in lines)
        # one line, and nothing that moves the cursor
        assert lines[0].count("\n") == 1
        assert lines[0][:-1].isprintable()
    list(pipeline.finish())
    assert all(line.isprintable() for line in summary.lines(pipeline.sessions))
    json.loads(as_json.event(summary.as_event(pipeline.sessions)))
