"""What passes in a replay, as the pipeline sees a capture: numbered, named, with the session's state behind it."""

from __future__ import annotations

import json
import os
import sys
from time import monotonic_ns, time_ns

from vhostspy.capture.facts import describe
from vhostspy.capture.record import EVENT, FROM_SPY, MESSAGE, RAW, Descriptor, Record
from vhostspy.capture.writer import Writer
from vhostspy.dissectors import registry
from vhostspy.dissectors.rows import Channel
from vhostspy.errors import WrongUse
from vhostspy.message import Message
from vhostspy.pipeline import Pipeline
from vhostspy.relay.descriptors import duplicate
from vhostspy.session.state import Session


class Log:
    """Numbers go through the whole replay. With ``write``, a file's name, all of it is kept as a capture."""

    def __init__(self, device: str | None = None, write: str | os.PathLike[str] | None = None) -> None:
        self.pipeline = Pipeline(device)
        self.number = 0
        self._writer: Writer | None = None
        if write is not None:
            try:
                fd = os.open(write, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise WrongUse(f"{os.fspath(write)}: {error.strerror}") from None
            self._writer = Writer(fd)

    def close(self) -> None:
        if self._writer is not None:
            self.event("end", "the capture is complete")
            self._writer.close()

    def session(self, number: int) -> Session:
        found = self.pipeline.sessions.get(number)
        return found if found is not None else Session(number)

    def note(
        self, session: int, wire: tuple[str, int, str, Channel], sender: int, data: bytes, fds: list[int],
        known: tuple[Descriptor, ...] | None = None, framed: bool = True,
    ) -> Message:  # fmt: skip
        """A message passed; ``fds`` stay the caller's. known: what they are, else the kernel is asked."""
        name, channel_no, protocol, rows = wire
        wall, mono = time_ns(), monotonic_ns()
        self.number += 1
        if known is None:
            role = role_of(rows, sender, data) if fds else ""
            known = tuple(describe(fd, role) for fd in fds)
        if self._writer is not None:
            self._write(session, wire, sender, data, fds, wall, mono, framed)
        record = Record(
            MESSAGE if framed else RAW, self.number, wall, mono, 0, session, 0, protocol, name, channel_no, sender, 0,
            1, "<" if sys.byteorder == "little" else ">", len(data), data, 0, known,
        )  # fmt: skip
        message = None
        for item in self.pipeline.feed(record):
            if isinstance(item, Message):
                message = item
        if message is None:
            raise ValueError("a record of a message gives a message")
        return message

    def event(
        self, event: str, text: str, session: int = 0, sender: int | None = None, wire: tuple[str, int] = ("", 0),
        protocol: str = "", **facts: object,
    ) -> None:  # fmt: skip
        """Something that is no message: a session or channel begins or ends."""
        wall, mono = time_ns(), monotonic_ns()
        who = FROM_SPY if sender is None else sender
        values = {"event": event, "text": text, **facts}
        if self._writer is not None:
            self._writer.event(
                values, wall, mono, session=session, channel=wire[0], channel_no=wire[1], protocol=protocol, sender=who
            )
        data = json.dumps(values).encode()
        record = Record(
            EVENT, 0, wall, mono, 0, session, 0, protocol, wire[0], wire[1], who, 0, 0, "<", len(data), data
        )  # fmt: skip
        for _ in self.pipeline.feed(record):
            pass

    def _write(
        self, session: int, wire: tuple[str, int, str, Channel], sender: int, data: bytes, fds: list[int], wall: int,
        mono: int, framed: bool,
    ) -> None:  # fmt: skip
        name, channel_no, protocol, rows = wire
        writer = self._writer
        if writer is None:
            return
        lane = writer.lane(name, sender, session, channel_no, protocol, rows)
        view = memoryview(data)
        copies = duplicate(fds)
        if framed:
            lane.message(view, wall, mono, 0, 1, 0, copies, 0)
        else:
            lane.raw(view, wall, mono, 0, 1, 0, copies, 0)
        writer.settle()


def role_of(rows: Channel, sender: int, data: bytes) -> str:
    """What the row says the descriptors of a message are for."""
    header = rows.header
    if len(data) < header.length:
        return ""
    width = 2 if header.id_type == "u16" else 4
    number = int.from_bytes(data[header.id_at : header.id_at + width], sys.byteorder)
    flags = int.from_bytes(data[header.flags_at : header.flags_at + 4], sys.byteorder)
    reply = flags & header.reply_mask == header.reply_value
    row = rows.messages.get((1 - sender if reply else sender, number))
    return "" if row is None else (row.reply_fds if reply else row.request_fds).role


def rows_of(protocol: str, channel: str) -> Channel:
    found = registry.channel(protocol, channel)
    if found is None:
        raise WrongUse(f"{protocol or 'an unknown protocol'} has no channel {channel!r}")
    return found
