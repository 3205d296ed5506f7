"""However long a session is, and whatever is made up in it: what is remembered of it does not grow with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, islice
from struct import pack
from typing import Any

import pytest

from vhostspy.capture.record import EVENT, MESSAGE, RAW, Descriptor, Record
from vhostspy.dissectors import registry
from vhostspy.pipeline import Pipeline
from vhostspy.rules.engine import Rules

FD = Descriptor("kick", "eventfd", "rw", 1, 1, eventfd_id=1, name="anon_inode:[eventfd]")


def record(no: int, data: bytes, sender: int = 0, channel: str = "main", **more: Any) -> Record:
    return Record(
        MESSAGE, no, no, no * 1000, 0, 1, 0, "vhost-user", channel, 1, sender, 0, 1, "<", len(data), data
    )._replace(**more)


def header(number: int, payload: bytes, flags: int = 1) -> bytes:
    return pack("<III", number, flags, len(payload)) + payload


def every_message(value: int) -> Iterator[tuple[int, bytes, str]]:
    """Each message of vhost-user with ``value`` wherever a number may stand: (sender, octets, channel)."""
    channels = registry.PROTOCOLS["vhost-user"].channels
    for channel in channels.values():
        for sender, number in channel.messages:
            payload = pack("<QQQQQ", value, value, value * 4096, 4096, value)
            yield sender, header(number, payload, 9), channel.name
            yield 1 - sender, header(number, payload[:8], 5), channel.name


def made_up_values() -> Iterator[Record]:
    numbers = count(1)
    for value in count(1):
        for sender, octets, channel in every_message(value):
            yield record(next(numbers), octets, sender, channel, fds=(FD._replace(inode=value, eventfd_id=value),))


def made_up_numbers() -> Iterator[Record]:
    for no in count(1):
        yield record(no, header(no, b"12345678", 9 if no % 3 else 5), no % 2)


def made_up_channels() -> Iterator[Record]:
    for no in count(1):
        event = b'{"event": "%b", "text": "x"}' % (b"channel", b"eof", b"unread", b"channel")[no % 4]
        yield record(no, header(1 + no % 40, b"12345678", 9), no % 2, "backend", channel_no=no // 4)
        yield record(0, event, no % 2, "backend", channel_no=no // 4, kind=EVENT, monotonic_ns=no * 1000)


def made_up_sessions() -> Iterator[Record]:
    for no in count(1):
        yield record(no, header(1 + no % 40, b"12345678", 9), 0, session=no, previous=no - 1)


def one_after_another() -> Iterator[Record]:
    """Sessions that begin, wait for an answer for long, and end."""
    for no in count(1):
        about: dict[str, Any] = {"session": no, "previous": no - 1, "monotonic_ns": no * 10**10}
        yield record(0, b'{"event": "open"}', 2, "main", kind=EVENT, **about)
        yield record(no, header(1, b""), 0, "main", **about)
        about["monotonic_ns"] += 5 * 10**9
        yield record(0, b'{"event": "eof"}', 1, "main", kind=EVENT, **about)
        yield record(0, b'{"event": "close"}', 2, "main", kind=EVENT, **about)


def pieces() -> Iterator[Record]:
    for no in count(1):
        yield record(no, b"%d" % no, no % 2, kind=RAW)


def never_answered() -> Iterator[Record]:
    for no in count(1):
        yield record(no, header(1, b""), 0, monotonic_ns=no * 10**9)


def weight(value: object, seen: set[int]) -> int:
    """How many members all collections have that are reached from ``value``."""
    if id(value) in seen or isinstance(value, (str, bytes, int, float, type)) or value is None or callable(value):
        return 0
    seen.add(id(value))
    parts: list[object] = []
    own = 0
    if isinstance(value, dict):
        parts = [*value.values()]
        own = len(parts)
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        parts = [*value]
        own = len(parts)
    else:
        names = [*getattr(value, "__slots__", ()), *getattr(value, "__dict__", ())]
        parts = [getattr(value, name, None) for name in names]
    return own + sum(weight(part, seen) for part in parts)


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bounds, reached sooner."""
    monkeypatch.setattr("vhostspy.rules.rule.MOST_REMEMBERED", 10)
    monkeypatch.setattr("vhostspy.rules.engine.TRIM_EVERY", 10)
    monkeypatch.setattr("vhostspy.rules.engine.MOST_SLOTS", 10)
    monkeypatch.setattr("vhostspy.rules.iotlb.MOST", 10)
    monkeypatch.setattr("vhostspy.pipeline.MOST_OPEN", 10)
    monkeypatch.setattr("vhostspy.session.ledger.MOST_CHANNELS", 10)
    monkeypatch.setattr("vhostspy.session.ledger.MOST_WAITING", 10)
    monkeypatch.setattr("vhostspy.session.vrings.MOST_RINGS", 10)
    monkeypatch.setattr("vhostspy.session.memory.MOST_REGIONS", 10)


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize(
    "said",
    [
        made_up_values, made_up_numbers, made_up_channels, made_up_sessions, one_after_another, pieces, never_answered,
    ],
)  # fmt: skip
def test_what_is_remembered_has_an_end(said: Callable[[], Iterator[Record]]) -> None:
    rules = Rules()
    pipeline = Pipeline(None, rules)
    records = said()
    weights = [_after(ROUND, records, pipeline, rules) for _ in range(4)]
    assert max(weights[2:]) <= max(weights[:2]) * 1.1


#: records; every message of vhost-user, as a request and as a reply, is said some five times in it
ROUND = 5 * sum(1 for _ in every_message(1))


def _after(count: int, records: Iterator[Record], pipeline: Pipeline, rules: Rules) -> int:
    for record in islice(records, count):
        for _ in pipeline.feed(record):
            pass
    known: set[int] = set()
    return sum(weight(one, known) for one in (pipeline.__dict__, rules._memories))
