"""Records made by hand, for conversations: what each end says, with the octets written out where that is the point."""

from __future__ import annotations

import json
from collections.abc import Iterable
from struct import pack
from typing import Any

from vhostspy.capture.record import EVENT, MESSAGE, RAW, Descriptor, Record
from vhostspy.dissectors import codec, registry
from vhostspy.message import Event, Message
from vhostspy.pipeline import Item, Pipeline

MS = 1_000_000
SECOND = 1_000_000_000
#: of the wall clock, when the first conversation begins
START_NS = 1_700_000_000_000_000_000

KICK = Descriptor("kick", "eventfd", "rw", 15, 9, eventfd_id=42, name="anon_inode:[eventfd]")
CALL = KICK._replace(role="call", eventfd_id=43)
RAM = Descriptor("memory", "memfd", "rw", 1, 77, size=512 << 20, seals=0b110, name="/memfd:pc.ram (deleted)")


class Conversation:
    """Makes records; ``at`` is the time in nanoseconds since the beginning, and each record takes ``step`` of it."""

    def __init__(self, pipeline: Pipeline | None = None, session: int = 1, step: int = MS, whole: bool = True) -> None:
        self.pipeline = pipeline or Pipeline()
        self.session = session
        self.step = step
        self.at = 0
        self.no = 0
        self.records: list[Record] = []
        self.items: list[Item] = []
        if whole:
            self.event("open", text="session 1 begins", front_end={"path": "a.sock", "pid": 7, "program": "qemu"})

    # -- what is said

    def front_end(
        self, name: str, *, need_reply: bool = False, fds: Iterable[Descriptor] = (), **fields: Any
    ) -> Message:
        """A request on the main channel."""
        return self.say("main", 0, name, False, need_reply, tuple(fds), fields)

    def reply(self, name: str, *, need_reply: bool = False, fds: Iterable[Descriptor] = (), **fields: Any) -> Message:
        """The back-end's answer on the main channel, or its acknowledgement (``value``)."""
        return self.say("main", 1, name, True, need_reply, tuple(fds), fields)

    def back_end(
        self, name: str, *, need_reply: bool = False, fds: Iterable[Descriptor] = (), **fields: Any
    ) -> Message:
        """A request of the back-end on its own channel."""
        return self.say("backend", 1, name, False, need_reply, tuple(fds), fields)

    def ask(self, name: str, answer: dict[str, Any] | None = None, **fields: Any) -> tuple[Message, Message]:
        """A request and its reply."""
        return self.front_end(name, **fields), self.reply(name, **(answer or {}))

    def say(
        self,
        channel: str,
        sender: int,
        name: str,
        is_reply: bool,
        need_reply: bool,
        fds: tuple[Descriptor, ...],
        fields: dict[str, Any],
    ) -> Message:
        rows = registry.channel("vhost-user", channel)
        assert rows is not None
        row = next(row for row in rows.messages.values() if row.name == name)
        session = self.pipeline.sessions.get(self.session)
        context = session.context if session is not None else codec.NOTHING_KNOWN
        payload = codec.encode(row, is_reply, fields, context)
        flags = 1 | (4 if is_reply else 0) | (8 if need_reply else 0)
        return self.octets(pack("<III", row.id, flags, len(payload)) + payload, channel, sender, fds=fds)

    def octets(
        self, data: bytes, channel: str = "main", sender: int = 0, *, fds: tuple[Descriptor, ...] = (), **more: Any
    ) -> Message:
        """A message by its octets."""
        self.no += 1
        record = Record(
            MESSAGE, self.no, START_NS + self.at, self.at, 0, self.session, 0, "vhost-user", channel, 1, sender, 0, 1,
            "<", len(data), data, 0, fds,
        )._replace(**more)  # fmt: skip
        found = [item for item in self.feed(record) if isinstance(item, Message)]
        assert len(found) == 1, found
        return found[0]

    def raw(self, data: bytes, sender: int = 0) -> Message:
        return self.octets(data, "main", sender, kind=RAW)

    def event(self, name: str, sender: int = 2, channel: str = "main", **facts: Any) -> list[Event]:
        data = json.dumps({"event": name, **facts}).encode()
        record = Record(
            EVENT, 0, START_NS + self.at, self.at, 0, self.session, 0, "vhost-user", channel, 1, sender, 0, 0, "<",
            len(data), data,
        )  # fmt: skip
        return [item for item in self.feed(record) if isinstance(item, Event)]

    def feed(self, record: Record) -> list[Item]:
        self.at += self.step
        self.records.append(record)
        items = list(self.pipeline.feed(record))
        self.items += items
        return items

    def pause(self, ns: int) -> None:
        """Nothing is said for so long."""
        self.at += ns

    # -- what is known then

    @property
    def state(self) -> Any:
        return self.pipeline.sessions[self.session]

    def events(self) -> list[str]:
        """The texts of the pipeline's events so far."""
        return [item.text for item in self.items if isinstance(item, Event)]


def features(conversation: Conversation, virtio: int = 1 << 30 | 1 << 32, protocol: int = 0) -> None:
    """The usual beginning: both feature words offered and agreed."""
    conversation.ask("GET_FEATURES", {"features": virtio})
    conversation.ask("GET_PROTOCOL_FEATURES", {"protocol_features": protocol})
    conversation.front_end("SET_PROTOCOL_FEATURES", protocol_features=protocol)
    conversation.front_end("SET_OWNER")
    conversation.front_end("SET_FEATURES", features=virtio)
