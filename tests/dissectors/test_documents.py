"""Nothing of the documents is left out: of rows, of samples, of what people and programs are shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.wireshark.synthetic import Said, said
from vhostspy.capture.record import MESSAGE, Record
from vhostspy.dissectors import registry, virtio
from vhostspy.dissectors.explain import Book, every
from vhostspy.dissectors.plan import plan
from vhostspy.dissectors.rows import EMPTY, Layout
from vhostspy.filter import compile
from vhostspy.message import Message, read
from vhostspy.output.json import Json
from vhostspy.output.text import Look, Text

from .documents import (
    BACK_END_TYPES,
    DOCUMENTS,
    ELSEWHERE,
    VHOST_USER_FEATURES,
    VHOST_USER_GPU_FEATURES,
)
from .samples import SAMPLES, Sample


def listed() -> Iterator[tuple[str, str, int, int, str, str, str]]:
    for (protocol, channel, sender), text in DOCUMENTS.items():
        for line in text.strip().splitlines():
            number, name, request, reply = line.split()
            yield protocol, channel, sender, int(number), name, request, reply


LISTED = [pytest.param(*one, id=f"{one[1]} {one[4]}") for one in listed()]
each_listed = pytest.mark.parametrize(("protocol", "channel", "sender", "number", "name", "asked", "answered"), LISTED)


def sizes(layouts: tuple[Layout, ...]) -> set[str]:
    plans = [plan(layout, "<") for layout in layouts or (EMPTY,)]
    return {f"{one.least}+" if one.size is None else str(one.size) for one in plans}


@each_listed
def test_a_message_has_a_row_with_its_sizes(
    protocol: str, channel: str, sender: int, number: int, name: str, asked: str, answered: str
) -> None:
    row = registry.row(protocol, channel, sender, number)
    assert row is not None and row.name == name
    assert sizes(row.request) == set(asked.split(","))
    if answered == "ack":
        assert row.reply is None and row.answer in ("ack", "asked")
    elif answered == "none":
        assert row.reply is None and row.answer == "never"
    else:
        assert row.reply is not None
        assert sizes(row.reply) == set(answered.split(","))


@each_listed
def test_a_message_has_samples_of_both_kinds(
    protocol: str, channel: str, sender: int, number: int, name: str, asked: str, answered: str
) -> None:
    if channel == "second":
        channel = "main"  # the same messages
    kinds = {one.kind for one in SAMPLES if (one.protocol, one.channel, one.message) == (protocol, channel, name)}
    assert kinds >= ({"request", "reply"} if answered not in ("ack", "none") else {"request"})


@pytest.mark.parametrize(("protocol", "channel", "sender", "numbers"), ELSEWHERE, ids=["main", "backend", "vfio-user"])
def test_a_message_of_drafts_and_vendors_has_a_row(
    protocol: str, channel: str, sender: int, numbers: Mapping[str, tuple[int, ...]]
) -> None:
    for name, each in numbers.items():
        for number in each:
            row = registry.row(protocol, channel, sender, number)
            assert row is not None and name in [one.name for one in (row, *row.others)]


def test_every_feature_bit_has_a_name_and_a_sentence() -> None:
    features = registry.PROTOCOLS["vhost-user"].features
    display = registry.PROTOCOLS["vhost-user-gpu"].features
    assert features is not None and display is not None
    for found, names in ((features, VHOST_USER_FEATURES), (display, VHOST_USER_GPU_FEATURES)):
        assert found.names.items() >= set(enumerate(names.split()))
    for found in (features, display, virtio.COMMON_FEATURES, virtio.STATUS_BITS):
        assert found.texts.keys() == found.names.keys()
    book = Book(every())
    for bit, name in features.names.items():
        assert [one.name for one in book.find(f"protocol bit {bit}")][:1] == [name]


@pytest.mark.parametrize("name", BACK_END_TYPES.split())
def test_every_type_of_back_end_is_a_device(name: str) -> None:
    assert virtio.find(name) is not None


# -- each sample in what is shown --------------------------------------------------------------------------------------


def message(one: Said) -> Message:
    record = Record(
        MESSAGE, 1, 0, 0, 0, 1, 0, one.protocol, one.channel, 1, one.sender, 0, 1, one.byte_order,
        len(one.octets), one.octets,
    )  # fmt: skip
    return read(record, one.context)


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [*map(plain, value)] if isinstance(value, list) else value


def numbers(fields: Any) -> Iterator[tuple[str, int]]:
    """Each integer with the name of its member, those of structures too."""
    for name, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from numbers(each)
            elif isinstance(each, int):
                yield name, int(each)


def names(fields: Any) -> Iterator[str]:
    for name, value in fields.items():
        yield name
        for each in value if isinstance(value, list) else ():
            if isinstance(each, dict):
                yield from names(each)


def titled(sample: Sample) -> str:
    return f"{sample.protocol} {sample.message} {sample.kind} {len(sample.octets) // 2}"


each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=titled)


@each_sample
def test_json_has_every_member(sample: Sample) -> None:
    shown = json.loads(Json().message(message(said(sample))))
    assert (shown["message"], shown["fields"]) == (sample.message, plain(dict(sample.fields)))


@each_sample
def test_the_text_of_all_members_names_each(sample: Sample) -> None:
    text = Text(Look(verbose=True)).message(message(said(sample)))
    for name in names(sample.fields):
        assert re.search(rf"(?<!\w){name}(?!\w)", text), name


@each_sample
def test_a_filter_finds_it_by_every_member(sample: Sample) -> None:
    shown = message(said(sample))
    prefix = sample.protocol.replace("-", "_")
    for name in names(sample.fields):
        assert compile(f"{prefix}.{name}")(shown) in (True, False)
    for name, value in numbers(sample.fields):
        assert compile(f"{prefix}.{name} == {value}")(shown), name
        assert compile(f"fields.{name} == {value}")(shown), name
