"""The normal form in which recorded conversations are compared."""

from __future__ import annotations

from itertools import count
from typing import Any

from .conversation import conversation


class Talk:
    """JSON lines of an imaginary capture."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._numbers = count(1)

    def add(self, kind: str, message: str, channel: str, fds: tuple[str, ...], fields: dict[str, object]) -> int:
        number = next(self._numbers)
        self.lines.append({
            "no": number, "session": 1, "channel": channel, "channel_no": 1, "kind": kind, "message": message,
            "id": 0, "answers": None, "fds": [{"kind": fd} for fd in fds], "fields": fields,
            "names": {"num": "on"},
        })  # fmt: skip
        return number

    def request(self, message: str, *fds: str, channel: str = "main", **fields: object) -> int:
        return self.add("request", message, channel, fds, fields)

    def reply(self, request: int, kind: str = "reply", **fields: object) -> None:
        message, channel = (self.lines[request - 1][name] for name in ("message", "channel"))
        self.add(kind, message, channel, (), fields)
        self.lines[-1]["answers"] = request

    @property
    def text(self) -> list[str]:
        return [line.strip() for line in conversation(self.lines).splitlines()]


def test_a_request_and_its_answer_are_one_line_whatever_came_between() -> None:
    talk = Talk()
    features = talk.request("GET_PROTOCOL_FEATURES")
    talk.request("SET_OWNER")
    talk.reply(features, protocol_features=0x8F2B)
    assert talk.text == ["session 1", "main", "GET_PROTOCOL_FEATURES = reply 0x8e2b", "SET_OWNER"]


def test_repetition_is_folded_with_its_answers() -> None:
    talk = Talk()
    for _ in range(3):
        talk.reply(talk.request("ADD_MEM_REG", "memfd"), "ack", value=0)
    assert talk.text == ["session 1", "main", "ADD_MEM_REG + memfd = ack 0", "and again"]


def test_repetition_of_several_steps_is_folded() -> None:
    talk = Talk()
    for ring in (0, 1, 0, 1, 0, 1, 0):
        talk.request("SET_VRING_ERR", "eventfd", index=ring)
    steps = ["SET_VRING_ERR ring 0 + eventfd", "SET_VRING_ERR ring 1 + eventfd"]
    assert talk.text == ["session 1", "main", *steps, "and these 2 again", steps[0]]


def test_the_call_descriptor_of_a_ring_is_a_step_once() -> None:
    talk = Talk()
    talk.request("SET_VRING_CALL", "eventfd", index=0)
    talk.request("SET_VRING_CALL", "eventfd", index=1)
    talk.request("SET_VRING_CALL", index=0)
    talk.request("SET_OWNER")
    talk.request("SET_VRING_CALL", "eventfd", index=1)
    assert talk.text == [
        "session 1",
        "main",
        "SET_VRING_CALL ring 0 + eventfd",
        "SET_VRING_CALL ring 1 + eventfd",
        "SET_OWNER",
        "main, any time: SET_VRING_CALL",
        "main, any time: SET_VRING_CALL + eventfd",
    ]


def test_the_main_channel_comes_first_and_its_end_last() -> None:
    talk = Talk()
    talk.request("CONFIG_CHANGE_MSG", channel="backend")
    talk.request("SET_OWNER")
    for end in ("front-end", "back-end"):
        talk.lines.append({"event": "eof", "session": 1, "channel": "main", "from": end})
    assert talk.text == ["session 1", "main", "SET_OWNER", "backend", "CONFIG_CHANGE_MSG", "front-end ended it"]


def test_a_reset_when_the_guest_ends_does_not_count() -> None:
    talk = Talk()
    talk.request("GET_VRING_BASE", index=0)
    talk.request("SET_VRING_ENABLE", index=0, num=1)
    assert talk.text == ["session 1", "main", "GET_VRING_BASE ring 0"]


def test_a_start_after_a_stop_counts() -> None:
    talk = Talk()
    talk.request("GET_VRING_BASE", index=0)
    talk.request("SET_VRING_KICK", "eventfd", index=0)
    talk.request("SET_VRING_ENABLE", index=0, num=1)
    assert talk.text[2:] == ["GET_VRING_BASE ring 0", "SET_VRING_KICK ring 0 + eventfd", "SET_VRING_ENABLE ring 0 on"]
