"""Whole sessions and captures of any octets: followed, judged, shown in each form, read again from a file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.dissectors.samples import SAMPLES
from tests.wireshark.synthetic import said, write
from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import EVENT, KINDS, MESSAGE, RAW, ROLES, Descriptor, Record
from vhostspy.index import Index
from vhostspy.output.printer import Printer, Show
from vhostspy.output.text import Look
from vhostspy.pipeline import Pipeline
from vhostspy.rules.engine import Rules

from .source import Source

MS = 1_000_000


SPOKEN = {"vhost-user": ("main", "backend", "gpu"), "vfio-user": ("main", "second")}


def conversation(octets: bytes) -> list[Record]:
    """Records of one session: messages of any octets on its channels, in any order, with any descriptors."""
    source = Source(octets)
    protocol = source.one_of([*SPOKEN])
    records: list[Record] = []

    def record(kind: int, channel: str, sender: int, data: bytes, flags: int = 0, fds: int = 0) -> None:
        spoken = "vhost-user-gpu" if channel == "gpu" else protocol
        at = (len(records) + 1) * MS
        number = sum(each.kind in (MESSAGE, RAW) for each in records) + (kind != EVENT)
        some = tuple(
            Descriptor(ROLES[source.number() % len(ROLES)], KINDS[source.number() % len(KINDS)], "rw", 1, each, 4096)
            for each in range(fds)
        )
        length = len(data) + (source.number() if flags & 16 else 0)
        records.append(
            Record(
                kind, number, at, at, 0, 1, 0, spoken, channel, 1, sender, flags, 1, "<", length, data, 0, some,
            )
        )  # fmt: skip

    def event(name: str, **facts: object) -> None:
        record(EVENT, "main", 2, json.dumps({"event": name, **facts}).encode())

    if source.number() & 1:
        event("open", text="session 1 begins", front_end={"path": "a.sock"}, back_end={"path": "b.sock"})
    while source and len(records) < 40:
        how, number, flags, size = source.number(), source.number(), source.number(), source.number()
        channel, sender, fds = source.one_of(SPOKEN[protocol]), how & 1, how >> 6
        if how & 0x3E == 0x3E:
            name = ("eof", "reset", "channel", "gap", "close", "unread", "undelivered")[number % 7]
            record(
                EVENT,
                channel,
                sender,
                json.dumps({"event": name, "text": name, "after": size, "first": flags}).encode(),
            )
            continue
        body = source.take(size)
        if protocol == "vfio-user":
            head = b"".join(
                value.to_bytes(width, "little")
                for value, width in ((number >> 5, 2), (number & 31, 2), (16 + len(body), 4), (flags, 4), (0, 4))
            )
        else:
            head = b"".join(value.to_bytes(4, "little") for value in (number, flags, len(body)))
        # now and then a size that is not so
        data = (head if how & 0x30 != 0x30 else head[:8] + bytes([how]) + head[9:]) + body
        record(
            RAW if how & 0x0E == 0x0E else MESSAGE, channel, sender, data, source.number() & 0xFF if how & 2 else 0, fds
        )
    return records


def session(octets: bytes) -> None:
    """Whatever peers say, it is followed, judged, and shown in each form."""
    in_json = len(octets) & 1 == 1
    lines: list[str] = []
    pipeline = Pipeline(rules=Rules())
    printer = Printer(Show(json=in_json, look=Look(verbose=True, octets=True)), pipeline, lines.append)
    for record in conversation(octets):
        printer.items(pipeline.feed(record))
    printer.end()
    text = "".join(lines)
    if in_json:
        for line in text.splitlines():
            json.loads(line)
    else:
        assert all(line.isprintable() for line in text.split("\n"))


def session_seeds() -> Iterator[bytes]:
    # a negotiation, memory, a ring; then two channels. See ``conversation`` for what each octet says
    asked = [(1, b""), (15, b""), (3, b""), (17, b""), (36, b""), (40, b"")]
    told = [(16, b"\xff\xff\0\0\0\0\0\0"), (2, b"\0\0\0\x40\1\0\0\0"), (8, bytes(8)), (10, bytes(8)), (18, bytes(8))]
    says = b"".join(bytes([0, number, 1, len(body), 0]) + body for number, body in (*asked, *told))
    answers = b"".join(bytes([1, number, 5, 8, 0]) + b"\xff" * 8 for number, _ in asked)
    yield b"\0\1" + says
    yield b"\0\1" + says + answers
    for protocol, number in (("vhost-user", 0), ("vhost-user-gpu", 0), ("vfio-user", 1)):
        for sample in SAMPLES:
            if sample.protocol == protocol and len(sample.octets) < 500:
                body = said(sample).octets
                channel = SPOKEN["vfio-user" if number else "vhost-user"].index(sample.channel)
                size = len(bytes.fromhex(sample.octets))
                reply = (4 if not number else 1) if sample.kind == "reply" else 0
                ident = body[0] if not number else 1 << 5 | body[2]
                yield bytes([number, 1, 0, ident & 0xFF, reply | (not number), size, channel]) + body[-size:]


def capture(octets: bytes) -> None:
    """Octets as a file give records, a note, or a CaptureError; what was read can be shown."""
    pipeline = Pipeline()
    lines: list[str] = []
    printer = Printer(Show(json=True), pipeline, lines.append)
    with suppress(CaptureError), Reader(octets) as reader:
        for record in reader:
            printer.items(pipeline.feed(record))
    printer.end()
    for line in "".join(lines).splitlines():
        json.loads(line)


def capture_seeds() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        few = [sample for sample in SAMPLES if len(sample.octets) < 200][::12]
        for sample in few:
            yield write(Path(folder, "seed.pcapng"), [said(sample)]).read_bytes()
        yield write(Path(folder, "seed.pcapng"), [said(sample) for sample in few[:4]]).read_bytes()


def indexed(octets: bytes) -> None:
    """The same octets as columns: each row can be glanced at, and made whole again."""
    with Index(octets) as index:
        with suppress(CaptureError):
            while index.advance(1.0):
                pass
        for row in range(index.rows):
            glance = index.glance(row)
            assert glance.row == row
            index.item(row)
            index.sessions(row)
