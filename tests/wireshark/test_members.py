"""The differential test: every member of every message is the same in our decoder and in tshark."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pytest

from tests.dissectors.samples import SAMPLES, Sample
from vhostspy.dissectors import registry
from vhostspy.dissectors.codec import Context
from vhostspy.message import Message
from vhostspy.session.device import CONFIG_SIZES

from .compare import alike, messages, ours, theirs
from .synthetic import Said, header, rows_of, said, write
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


def told(offered: int, queues: int, config_size: int) -> list[Said]:
    """What may show a device; then all bits that a device names."""
    rows = rows_of("vhost-user", "main")
    config = pack("<III", 0, config_size, 0) + bytes(config_size)

    def message(number: int, payload: bytes, reply: bool = True) -> Said:
        octets = header(rows, number, reply, len(payload), "<") + payload
        return Said("vhost-user", "main", int(reply), octets)

    return [
        message(1, pack("<Q", offered)),
        message(17, pack("<Q", queues)),
        message(24, config),
        message(2, pack("<Q", (1 << 24) - 1), reply=False),
    ]


def test_devices_are_told_alike(tshark: Tshark) -> None:
    """By every length of a configuration space, and the bits that tell those of one length apart."""
    offers = [*range(8), 0b111110, 0b111111, 0b1000000, 0b1000100, 1 << 15, 1 << 15 | 1]
    sizes = [0, *CONFIG_SIZES]
    sessions = [told(offered, queues, size) for size in sizes for offered in offers for queues in (1, 4)]
    read = assert_same(tshark, write(tshark.folder / "told.pcapng", sessions))
    devices = {message.context.device for message in read if message.name == "SET_FEATURES"}
    assert devices >= {None, "net", "block", "gpu", "balloon", "fs", "gpio", "vsock", "sound", "console"}


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


@pytest.mark.parametrize("snaplen", [28, 60])
def test_every_sample_cut_to_the_snap_length(tshark: Tshark, snaplen: int) -> None:
    """What is there reads the same, and is nothing damaged."""
    samples = [said(sample) for sample in SAMPLES if not sample.context.device]
    capture = write(tshark.folder / "cut.pcapng", samples, snaplen=snaplen)
    assert_same(tshark, capture)
    assert tshark.run("-r", capture, "-Y", "vhostspy.expert.missing") == ""


def garbage(seed: int) -> Iterator[Said]:
    """For every row requests and replies of random octets; samples that are cut short or go on; numbers of nobody."""
    chance = random.Random(seed)
    for protocol in registry.PROTOCOLS.values():
        for channel in protocol.channels.values():
            numbers = [*channel.messages, (0, 60_000), (1, 60_001)]
            for sender, number in numbers:
                for reply in (False, True):
                    for order in ("<", ">"):
                        # small numbers are likelier than large ones, as counts and lengths are
                        size = chance.choice((0, 1, 4, 8, 12, 16, 24, 40, chance.randrange(300)))
                        payload = bytes(
                            chance.choice((0, 0, 0, 1, 2, 16, 255, chance.randrange(256))) for _ in range(size)
                        )
                        head = header(channel, number, reply, size, order)
                        end = 1 - sender if reply else sender
                        context = chance.choice(CONTEXTS) if protocol.name == "vhost-user" else Context()
                        yield Said(protocol.name, channel.name, end, head + payload, context, order)
    for sample in SAMPLES:
        payload = bytes.fromhex(sample.octets)
        yield said(sample, payload[: chance.randrange(len(payload) + 1)])
        yield said(sample, payload + bytes(chance.randrange(256) for _ in range(chance.randrange(1, 40))))
        if payload:
            changed = bytearray(payload)
            changed[chance.randrange(len(payload))] = chance.randrange(256)
            yield said(sample, bytes(changed))
        whole = said(sample)
        yield whole._replace(octets=whole.octets[: chance.randrange(1, 20)])


CONTEXTS = [
    Context(),
    Context(0, 0),
    Context(1 << 34 | 1 << 32, 1 << 17),
    Context(0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, postcopy=True),
]


@pytest.mark.parametrize("seed", range(2))
def test_garbage(tshark: Tshark, seed: int) -> None:
    """What is no message reads the same as well, and Lua never fails."""
    assert_same(tshark, write(tshark.folder / "garbage.pcapng", list(garbage(seed))))
