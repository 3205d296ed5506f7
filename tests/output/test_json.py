"""The contract of JSON lines: members, their order, exact values."""

from __future__ import annotations

import json
from typing import Any

from vhostspy.capture.record import CHANGED, INCOMPLETE, INJECTED, SNAPPED
from vhostspy.message import Finding, Message
from vhostspy.output.json import Json
from vhostspy.output.printer import Printer, Show
from vhostspy.pipeline import Pipeline

from ..pipeline.conversation import KICK, SECOND, START_NS, Conversation, features

MEMBERS = [
    "no", "time_ns", "session", "channel", "channel_no", "from", "protocol", "message", "id", "kind", "flags",
    "need_reply", "size", "fields", "names", "info", "answers", "latency_ns", "findings", "fds", "bytes",
]  # fmt: skip


def written(message: Message, octets: bool = False) -> dict[str, Any]:
    line = Json(octets).message(message)
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    assert line.isascii()
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


def test_the_example_of_the_contract() -> None:
    conversation = Conversation(whole=False, step=0)
    conversation.no = 30
    message = conversation.octets(bytes.fromhex("0c00000009000000080000000000000000000000"), fds=(KICK,))
    assert Json().message(message) == (
        '{"no": 31, "time_ns": 1700000000000000000, "session": 1, "channel": "main", "channel_no": 1, '
        '"from": "front-end", "protocol": "vhost-user", "message": "SET_VRING_KICK", "id": 12, "kind": "request", '
        '"flags": 9, "need_reply": true, "size": 8, "fields": {"index": 0, "nofd": false}, "names": {}, '
        '"info": "ring 0", "answers": null, "latency_ns": null, "findings": [], '
        '"fds": [{"role": "kick", "kind": "eventfd", "device": 15, "inode": 9, "size": null, "access": "rw", '
        '"seals": null, "eventfd_id": 42, "name": "anon_inode:[eventfd]"}], '
        '"bytes": "0c00000009000000080000000000000000000000"}\n'
    )


def test_every_message_has_the_same_members_in_the_same_order() -> None:
    conversation = Conversation()
    features(conversation)
    conversation.raw(b"x")
    conversation.octets(bytes.fromhex("63000000 01000000 00000000"))
    for item in conversation.items:
        if isinstance(item, Message):
            assert list(written(item)) == MEMBERS


def test_numbers_are_exact_and_bits_have_names() -> None:
    conversation = Conversation()
    conversation.front_end("GET_FEATURES")
    reply = written(conversation.reply("GET_FEATURES", features=2**64 - 1 - 2**15))
    assert reply["fields"] == {"features": 2**64 - 1 - 2**15}
    assert "VERSION_1" in reply["names"]["features"]
    request = written(conversation.front_end("SET_FEATURES", features=1 << 32 | 1 << 45))
    assert request["names"] == {"features": ["VERSION_1", "bit 45"]}


def test_answers() -> None:
    conversation = Conversation(step=690_000)
    conversation.front_end("GET_QUEUE_NUM")
    reply = written(conversation.reply("GET_QUEUE_NUM", queues=4))
    assert (reply["kind"], reply["message"], reply["answers"], reply["latency_ns"]) == (
        "reply", "GET_QUEUE_NUM", 1, 690_000,
    )  # fmt: skip


def test_structures_are_objects_and_octets_are_hex() -> None:
    conversation = Conversation()
    region = {"guest_address": 0, "length": 1 << 40, "user_address": 1 << 63, "mmap_offset": 0}
    table = written(conversation.front_end("SET_MEM_TABLE", count=1, regions=[region]))
    assert table["fields"] == {"count": 1, "regions": [region]}
    config = conversation.front_end("SET_CONFIG", offset=1, length=2, config_flags=0, config=b"\xab\xcd")
    assert written(config)["fields"]["config"] == "abcd"


def test_what_no_row_explains_is_rest() -> None:
    conversation = Conversation()
    unknown = written(conversation.octets(bytes.fromhex("63000000 01000000 03000000 616263")))
    assert (unknown["message"], unknown["id"], unknown["fields"]) == (None, 99, {"rest": "616263"})
    longer = written(conversation.octets(bytes.fromhex("03000000 01000000 02000000 beef")))
    assert (longer["message"], longer["fields"]) == ("SET_OWNER", {"rest": "beef"})


def test_unframed_octets_have_no_header() -> None:
    raw = written(Conversation().raw(b"\xff\x00garbage"))
    header = {name: raw[name] for name in ("message", "id", "kind", "flags", "need_reply", "size", "fields")}
    assert header == {
        "message": None, "id": None, "kind": "raw", "flags": None, "need_reply": False, "size": None, "fields": {},
    }  # fmt: skip
    assert raw["bytes"] == "ff0067617262616765"


def test_long_messages_are_cut_unless_all_is_asked_for() -> None:
    conversation = Conversation()
    message = conversation.octets(bytes.fromhex("63000000 01000000 00200000") + bytes(8192))
    cut = written(message)
    assert (len(cut["bytes"]), cut["bytes_cut"]) == (2 * 4096, True)
    whole = written(message, octets=True)
    assert len(whole["bytes"]) == 2 * 8204
    assert "bytes_cut" not in whole
    assert written(message._replace(marks=SNAPPED), octets=True)["bytes_cut"] is True


def test_what_a_policy_did_and_how_it_came() -> None:
    conversation = Conversation()
    message = conversation.front_end("SET_OWNER")
    changed = message._replace(marks=CHANGED | 1 << 24, original=b"\3\0")
    assert written(changed)["changed"] == {"by": "mask", "bytes": "0300"}
    assert written(message._replace(marks=INJECTED | 7 << 24))["injected"] == {"by": "replay"}
    assert written(message._replace(marks=INCOMPLETE, length=40))["length"] == 40
    assert written(message._replace(reads=3))["reads"] == 3


def test_vfio_user_has_two_members_more() -> None:
    octets = bytes.fromhex("0700 0d00 10000000 00000000 00000000")
    message = written(Conversation(whole=False).octets(octets, protocol="vfio-user"))
    assert [name for name in message if name not in MEMBERS] == ["msgid", "error"]
    assert (message["msgid"], message["error"], message["from"], message["message"]) == (7, 0, "client", "DEVICE_RESET")


def test_findings() -> None:
    message = Conversation().front_end("SET_OWNER")
    finding = Finding("VU-OWN-01", "warning", 0, "again", "vhost-user, SET_OWNER", 1, (1,))
    assert written(message._replace(findings=(finding,)))["findings"] == [
        {"rule": "VU-OWN-01", "severity": "warning", "who": "front-end", "text": "again",
         "source": "vhost-user, SET_OWNER", "no": 1, "evidence": [1]}
    ]  # fmt: skip
    for who, name in ((1, "back-end"), (2, "both"), (None, "unknown")):
        one = written(message._replace(findings=(finding._replace(who=who),)))
        assert one["findings"][0]["who"] == name


def test_kinds_of_descriptors_are_those_of_the_contract() -> None:
    message = Conversation().front_end("SET_LOG_FD", fds=[KICK._replace(kind="directory")])
    assert written(message)["fds"][0]["kind"] == "other"


def test_events() -> None:
    conversation = Conversation(step=0)
    conversation.no = 30
    conversation.front_end("GET_FEATURES")
    conversation.pause(SECOND // 2)
    (event,) = conversation.event("eof", sender=1, after=31)
    assert Json().event(event) == (
        '{"event": "eof", "time_ns": 1700000000500000000, "session": 1, "channel": "main", "channel_no": 1, '
        '"from": "back-end", "after": 31, "waiting": 31, '
        '"text": "back-end closed first, GET_FEATURES #31 unanswered for 500.0 ms"}\n'
    )


def test_an_event_cannot_pass_for_a_message() -> None:
    conversation = Conversation()
    (event,) = conversation.event("x", kind="request", text="t", session=9, time_ns=0)
    value = json.loads(Json().event(event))
    assert "kind" not in value
    assert (value["event"], value["session"], value["text"]) == ("x", 1, "t")
    assert value["time_ns"] > START_NS


def test_the_summary_is_the_last_event() -> None:
    conversation = Conversation()
    features(conversation, virtio=1 << 30)
    conversation.front_end("GET_QUEUE_NUM")
    lines: list[str] = []
    pipeline = Pipeline()
    printer = Printer(Show(json=True), pipeline, lines.append)
    for record in conversation.records:
        printer.items(pipeline.feed(record))
    printer.end()
    values = [json.loads(line) for line in lines]
    assert [value["event"] for value in values if "event" in value] == ["open", "unanswered", "summary"]
    summary = values[-1]
    assert (summary["messages"], summary["unanswered"]) == (8, [8])
    (session,) = summary["sessions"]
    assert session["virtio_features"] == {"offered": 1 << 30, "agreed": 1 << 30}
    assert session["peers"]["front-end"] == {"path": "a.sock", "pid": 7, "program": "qemu"}
    assert summary["names"][0] == {
        "protocol": "vhost-user", "channel": "main", "from": "front-end", "message": "GET_FEATURES", "kind": "request",
        "count": 1,
    }  # fmt: skip
