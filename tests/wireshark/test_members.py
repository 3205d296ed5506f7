"""The differential test: every member of every message is the same in our decoder and in tshark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dissectors.samples import SAMPLES, Sample
from vhostspy.message import Message

from .compare import alike, messages, ours, theirs
from .synthetic import said, write
from .tshark import Pairs, Tshark

CAPTURES = sorted(Path(__file__).parent.parent.parent.joinpath("captures").rglob("*.pcapng"))


def assert_same(tshark: Tshark, capture: Path) -> list[Message]:
    """All members of all messages of a capture; gives our messages."""
    known = {message.no: message for message in messages(capture)}
    unseen = set(known)
    for layers in tshark.layers(capture):
        record, tree = split(layers)
        number = int(record.get("vhostspy.no", 0))
        if not number or "vhostspy.original" in record:
            continue
        message = known[number]
        unseen.discard(number)
        expected = ours(message)
        prefix = message.protocol.replace("-", "_")
        found = theirs(tree, prefix)
        title = f"#{number} {message.name} {message.kind} {message.data[:40].hex()} {message.context}"
        assert alike(expected, found) == expected, title
        assert record["vhostspy.kind"] == message.kind, title
        assert record.get("vhostspy.message") == message.name, title
        assert record.get("vhostspy.info", "") == message.info, title
        assert int(record.get("vhostspy.answers", 0)) == (message.answers or 0), title
    assert not unseen
    return list(known.values())


def split(layers: Pairs) -> tuple[dict[str, str], Pairs]:
    """The record's fields, those of its flags too; and the protocol's tree."""
    record: dict[str, str] = {}
    tree: Pairs = []
    for name, value in layers:
        if name == "vhostspy":
            for key, part in value:
                record.update(part) if key == "vhostspy.marks_tree" else record.setdefault(key, part)
        elif isinstance(value, list):
            tree = value
    return record, tree


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_recorded(tshark: Tshark, capture: Path) -> None:
    assert_same(tshark, tshark.file("recorded.pcapng", capture.read_bytes()))


def by_device() -> Iterator[tuple[str | None, list[Sample]]]:
    groups: dict[str | None, list[Sample]] = defaultdict(list)
    for sample in SAMPLES:
        groups[sample.context.device].append(sample)
    yield from groups.items()


@pytest.mark.parametrize(("device", "samples"), list(by_device()))
def test_every_sample(tshark: Tshark, device: str | None, samples: list[Sample]) -> None:
    capture = write(tshark.folder / "samples.pcapng", [said(sample) for sample in samples], device)
    found = assert_same(tshark, capture)
    assert len(found) >= len(samples)
