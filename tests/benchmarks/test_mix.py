"""What reading is measured with is what it says: so many whole messages, which break no rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import decoding, mix, other
from benchmarks.audit import messages_in
from vhostspy.capture.reader import Reader
from vhostspy.dissectors.heads import heads
from vhostspy.message import Message
from vhostspy.pipeline import Pipeline
from vhostspy.rules.engine import Rules

#: more than one session
COUNT = 11_500


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mix") / "mix.pcapng"
    mix.write(path, COUNT)
    return path


@pytest.fixture(scope="module")
def messages(capture: Path) -> list[Message]:
    pipeline = Pipeline(rules=Rules())
    with Reader(capture) as reader:
        return [item for record in reader for item in pipeline.feed(record) if isinstance(item, Message)]


def test_it_has_so_many_messages_one_behind_the_other(capture: Path) -> None:
    assert messages_in(capture) == COUNT


def test_it_breaks_no_rule(messages: list[Message]) -> None:
    assert {finding.rule for message in messages for finding in message.findings if finding.severity != "note"} == set()


def test_all_of_it_is_explained(messages: list[Message]) -> None:
    assert [message for message in messages if message.name is None or message.decoded.rest] == []
    assert {message.session for message in messages} == {1, 2}
    assert {message.channel for message in messages} == {"main", "backend"}
    assert sum(message.answers is not None for message in messages) > COUNT // 5
    assert len({message.data for message in messages}) > COUNT // 3


def test_messages_alone_are_those_of_the_capture(messages: list[Message]) -> None:
    alone = mix.messages(80)
    first = next(place for place, message in enumerate(messages) if message.data == alone[0].octets and place > 5)
    assert [one.octets for one in alone] == [message.data for message in messages[first : first + 80]]


def test_each_way_of_decoding_goes_through_all_messages() -> None:
    said = mix.messages(100)
    for work in (decoding.whole, decoding.payloads, decoding.records, decoding.layers):
        assert decoding.took(work(said), 100) >= 0
    for one in said:
        known = heads(mix.PROTOCOL, one.channel, "<")
        assert known is not None and known.of(one.octets, one.sender).row is one.row


def test_a_file_of_d_bus_calls_is_as_long_as_its_calls(tmp_path: Path) -> None:
    path = tmp_path / "dbus.pcap"
    other.write_dbus(path, 3)
    octets = path.read_bytes()
    length = int.from_bytes(octets[32:36], "little")
    assert len(octets) == 24 + 3 * (16 + length)
    # little-endian method calls of version 1, numbered
    assert [octets[40 + n * (16 + length) :][:12].hex() for n in range(3)] == [
        f"6c010001000000000{n + 1}000000" for n in range(3)
    ]
