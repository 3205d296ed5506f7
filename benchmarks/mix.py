"""A mix of vhost-user messages, as one session after another would say them: what reading is measured with.

A session begins with its agreement; then, round after round, the device is set up, works, and is stopped. Each round
has addresses and numbers of its own, so that two messages in five are met for the first time. It breaks no rule.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from vhostspy.capture.lane import Lane
from vhostspy.capture.writer import Writer
from vhostspy.dissectors import codec, registry
from vhostspy.dissectors.rows import Channel, Message

PROTOCOL = "vhost-user"
#: rounds of a session
ROUNDS = 150
RINGS = 4
MEMORY = 1 << 30
START_NS = 1_700_000_000_000_000_000
#: from one message to the next
STEP_NS = 20_000

#: a block device's: RING_INDIRECT_DESC, EVENT_IDX, PROTOCOL_FEATURES, VERSION_1, ACCESS_PLATFORM, and some of its own
FEATURES = 1 << 28 | 1 << 29 | 1 << 30 | 1 << 32 | 1 << 33 | 0x1646
#: MQ, REPLY_ACK, BACKEND_REQ, CONFIG, INFLIGHT_SHMFD, STATUS
AGREED = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 12 | 1 << 16
CONFIG_SIZE = 60


class Said(NamedTuple):
    """One message: header and payload, and how many descriptors come with it."""

    channel: str
    sender: int
    row: Message
    reply: bool
    octets: bytes
    fds: int = 0


class Speaker:
    """Makes messages of their names and members."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int, str], tuple[Channel, Message]] = {}
        for channel in registry.PROTOCOLS[PROTOCOL].channels.values():
            for row in channel.messages.values():
                self._rows[channel.name, row.sender, row.name] = channel, row

    def say(
        self, name: str, *, by: int = 0, on: str = "main", reply: bool = False, ask: bool = False, fds: int = 0,
        **fields: Any,
    ) -> Said:  # fmt: skip
        """``by``: who asks; a reply comes from the other. ``ask``: for an acknowledgement."""
        channel, row = self._rows[on, by, name]
        payload = codec.encode(row, reply, fields)
        flags = channel.header.plain_flags | (channel.header.reply_value if reply else 0)
        if ask:
            flags |= channel.header.need_reply_mask
        header = codec.encode_header(channel, {"request": row.id, "flags": flags, "size": len(payload)})
        return Said(on, 1 - by if reply else by, row, reply, header + payload, fds)

    def ask(self, name: str, answer: dict[str, Any], **fields: Any) -> Iterator[Said]:
        """A request and its reply, to which ``answer`` belongs."""
        yield self.say(name, **fields)
        yield self.say(name, reply=True, **answer)

    def do(self, name: str, **more: Any) -> Iterator[Said]:
        """A request and its acknowledgement."""
        yield self.say(name, ask=True, **more)
        yield self.say(name, reply=True, value=0)


def beginning(speaker: Speaker) -> Iterator[Said]:
    """What is agreed on before anything else."""
    yield speaker.say("SET_OWNER")
    yield from speaker.ask("GET_FEATURES", {"features": FEATURES | 0x80})
    yield from speaker.ask("GET_PROTOCOL_FEATURES", {"protocol_features": AGREED | 1 << 1})
    yield speaker.say("SET_PROTOCOL_FEATURES", protocol_features=AGREED)
    yield from speaker.ask("GET_QUEUE_NUM", {"queues": RINGS})
    yield from speaker.do("SET_BACKEND_REQ_FD", fds=1)
    yield speaker.say("SET_FEATURES", features=FEATURES)
    inflight: dict[str, Any] = {"mmap_length": 8192 * RINGS, "mmap_offset": 0, "num_queues": RINGS, "queue_size": 256}
    yield from speaker.ask("GET_INFLIGHT_FD", {**inflight, "fds": 1}, **{**inflight, "mmap_length": 0})
    yield speaker.say("SET_INFLIGHT_FD", fds=1, **inflight)


def one_round(speaker: Speaker, number: int) -> Iterator[Said]:
    """The device is set up, works, and is stopped; ``number`` makes its values its own."""
    say, base = speaker.say, 0x7F00_0000_0000 + (number << 24)
    yield from speaker.ask("GET_FEATURES", {"features": FEATURES | 0x80})
    yield say("SET_FEATURES", features=FEATURES)
    yield from _config(speaker, number)
    regions = [
        {
            "guest_address": place * MEMORY,
            "length": MEMORY,
            "user_address": base + place * MEMORY,
            "mmap_offset": place * MEMORY,
        }
        for place in range(2 + number % 7)
    ]
    yield from speaker.do("SET_MEM_TABLE", fds=len(regions), regions=regions)
    for index in range(RINGS):
        ring = base + 0x10_0000 + (index << 16)
        yield say("SET_VRING_NUM", index=index, num=256)
        yield say("SET_VRING_BASE", index=index, num=number * 7 + index & 0xFFFF)
        yield say(
            "SET_VRING_ADDR", index=index, descriptor=ring, used=ring + 0x2000, available=ring + 0x1000,
            log_address=0,
        )  # fmt: skip
        yield say("SET_VRING_KICK", index=index, fds=1)
        yield say("SET_VRING_CALL", index=index, fds=1)
        yield from speaker.do("SET_VRING_ENABLE", index=index, num=1)
    yield from speaker.ask("GET_STATUS", {"status": 11})
    yield say("SET_STATUS", status=15)
    for place in range(6):
        where: dict[str, Any] = {"iova": base + (place << 12), "length": 4096, "permission": 3}
        yield say("IOTLB_MSG", by=1, on="backend", user_address=0, type=1, **where)
        yield from speaker.do("IOTLB_MSG", user_address=base + (place << 13), type=2, **where)
    yield say("CONFIG_CHANGE_MSG", by=1, on="backend")
    yield from _config(speaker, number + 1)
    for index in range(RINGS):
        yield say("SET_VRING_ENABLE", index=index, num=0)
        yield from speaker.ask(
            "GET_VRING_BASE", {"index": index, "num": number * 7 + 7 + index & 0xFFFF}, index=index, num=0
        )


def _config(speaker: Speaker, number: int) -> Iterator[Said]:
    capacity = (0x20_0000 + number).to_bytes(8, "little")
    asked = {"offset": 0, "config_flags": 0}
    answer = {**asked, "config": capacity + bytes(CONFIG_SIZE - 8)}
    yield from speaker.ask("GET_CONFIG", answer, **asked, config=bytes(CONFIG_SIZE))


def messages(count: int) -> list[Said]:
    """So many messages, without the agreement that a session begins with: what decoding alone is measured with."""
    speaker = Speaker()
    said: list[Said] = []
    number = 0
    while len(said) < count:
        said += one_round(speaker, number)
        number += 1
    return said[:count]


def write(path: Path, count: int) -> None:
    """A capture of so many messages, by the relay's own writer."""
    speaker = Speaker()
    passed = _descriptors()
    writer = Writer(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    try:
        mono_ns, session, left = STEP_NS, 0, count
        writer.event({"event": "start", "text": "a mix for measuring"}, START_NS, 0)
        while left:
            rounds = range(session * ROUNDS, (session + 1) * ROUNDS)
            spoken = [*beginning(speaker), *chain.from_iterable(one_round(speaker, number) for number in rounds)]
            session += 1
            mono_ns = _session(writer, session, spoken[:left], mono_ns, passed)
            left -= min(left, len(spoken))
    finally:
        writer.close()
        for fd in passed.values():
            os.close(fd)


def _descriptors() -> dict[str, int]:
    """What is passed, by the message that carries it."""
    files = {name: os.memfd_create(name, os.MFD_CLOEXEC) for name in ("SET_MEM_TABLE", "GET_INFLIGHT_FD")}
    for file in files.values():
        os.ftruncate(file, 8 * MEMORY)
    events = {name: os.eventfd(0, os.EFD_CLOEXEC) for name in ("SET_VRING_KICK", "SET_VRING_CALL")}
    with socket.socket(socket.AF_UNIX) as own:
        channel = {"SET_BACKEND_REQ_FD": own.detach()}
    return {**files, **events, **channel, "SET_INFLIGHT_FD": os.dup(files["GET_INFLIGHT_FD"])}


def _session(writer: Writer, session: int, spoken: list[Said], mono_ns: int, passed: dict[str, int]) -> int:
    """Record a session; the monotonic time at its end."""
    about: dict[str, Any] = {"session": session, "channel": "main", "channel_no": 1, "protocol": PROTOCOL}
    ends = {"front_end": {"path": "mix.sock"}, "back_end": {"path": "mix.sock"}}
    writer.event({"event": "open", "text": f"session {session}", **ends}, START_NS + mono_ns, mono_ns, **about)
    nested: dict[str, Any] = {**about, "channel": "backend"}
    writer.event({"event": "channel", "text": "the back-end's own channel"}, START_NS + mono_ns, mono_ns, **nested)
    lanes: dict[tuple[str, int], Lane] = {}
    for one in spoken:
        mono_ns += STEP_NS
        lane = lanes.get((one.channel, one.sender))
        if lane is None:
            rows = registry.channel(PROTOCOL, one.channel)
            lane = writer.lane(one.channel, one.sender, session, 1, PROTOCOL, rows)
            lanes[one.channel, one.sender] = lane
        if one.fds:
            # each message has its own, as those that come over a socket are
            fds = [os.dup(passed[one.row.name]) for _ in range(one.fds)]
            lane.carrying(memoryview(one.octets), START_NS + mono_ns, mono_ns, fds)
        else:
            lane.plain(memoryview(one.octets), START_NS + mono_ns, mono_ns)
    for sender in (0, 1):
        text = {"event": "eof", "text": "closed"}
        writer.event(text, START_NS + mono_ns, mono_ns, sender=sender, **about)
    writer.event({"event": "close", "text": "session ends"}, START_NS + mono_ns, mono_ns, **about)
    return mono_ns
