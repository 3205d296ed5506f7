"""What passes in a replay, as the pipeline sees a capture: numbered, named, with the session's state behind it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
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

from .wire import Wire


class Log:
    """Numbers go through the whole replay. With ``write``, a file's name, all of it is kept as a capture.

    What is as recorded need not be looked at while the peer waits: ``later`` puts it off, to the next time that
    somebody wants to know. ``see`` is called with each message; with it, or with a capture, nothing is put off.
    """

    def __init__(
        self,
        device: str | None = None,
        write: str | os.PathLike[str] | None = None,
        see: Callable[[Message], None] | None = None,
    ) -> None:
        self.pipeline = Pipeline(device)
        self.number = 0
        #: all messages so far, in order; take what is yours
        self.passed: list[Message] = []
        self._see = see
        self._pending: list[tuple[int, int, Wire, int, bytes, tuple[Descriptor, ...]]] = []
        self._writer: Writer | None = None
        if write is not None:
            try:
                fd = os.open(write, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise WrongUse(f"{os.fspath(write)}: {error.strerror}") from None
            self._writer = Writer(fd)
        self.eager = self._writer is not None or see is not None

    def close(self) -> str:
        """End the capture, if there is one; what is wrong with it, in a sentence, or nothing. May be called twice."""
        writer = self._writer
        if writer is None:
            return ""
        self.event("end", "the capture is complete")
        self._writer = None
        writer.close()
        if writer.error is None:
            return ""
        return f"the capture is not complete: {writer.error.strerror}; {writer.lost_messages} messages are not in it"

    def session(self, number: int) -> Session:
        """The session's state behind all that has passed."""
        self.catch_up()
        found = self.pipeline.sessions.get(number)
        return found if found is not None else Session(number)

    def later(
        self, mono_ns: int, session: int, wire: Wire, sender: int, data: bytes, fds: Sequence[int],
        known: tuple[Descriptor, ...],
    ) -> None:  # fmt: skip
        """A message passed at that time; ``fds`` stay the caller's, ``known`` is what they are."""
        if self.eager:
            self.note(session, wire, sender, data, fds, known)
        else:
            self._pending.append((mono_ns, session, wire, sender, data, known))

    def catch_up(self) -> None:
        """Look at what was put off."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        since = time_ns() - monotonic_ns()
        for mono, session, wire, sender, data, known in pending:
            self._pass(since + mono, mono, session, wire, sender, data, known, True)

    def note(
        self, session: int, wire: Wire, sender: int, data: bytes, fds: Sequence[int],
        known: tuple[Descriptor, ...] | None = None, framed: bool = True,
    ) -> Message:  # fmt: skip
        """The same, looked at now. known: what the descriptors are, else the kernel is asked."""
        self.catch_up()
        wall, mono = time_ns(), monotonic_ns()
        if known is None:
            role = role_of(wire.rows, sender, data) if fds else ""
            known = tuple(describe(fd, role) for fd in fds)
        if self._writer is not None:
            self._write(session, wire, sender, data, fds, wall, mono, framed)
        return self._pass(wall, mono, session, wire, sender, data, known, framed)

    def _pass(
        self, wall: int, mono: int, session: int, wire: Wire, sender: int, data: bytes, known: tuple[Descriptor, ...],
        framed: bool,
    ) -> Message:  # fmt: skip
        self.number += 1
        record = Record(
            MESSAGE if framed else RAW, self.number, wall, mono, 0, session, 0, wire.protocol, wire.name, wire.number,
            sender, 0, 1, "<" if sys.byteorder == "little" else ">", len(data), data, 0, known,
        )  # fmt: skip
        message = next(item for item in self.pipeline.feed(record) if isinstance(item, Message))
        self.passed.append(message)
        if self._see is not None:
            self._see(message)
        return message

    def event(
        self, event: str, text: str, session: int = 0, sender: int | None = None, wire: tuple[str, int] = ("", 0),
        protocol: str = "", **facts: object,
    ) -> None:  # fmt: skip
        """Something that is no message: a session or channel begins or ends."""
        self.catch_up()
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
        self, session: int, wire: Wire, sender: int, data: bytes, fds: Sequence[int], wall: int, mono: int, framed: bool
    ) -> None:
        writer = self._writer
        if writer is None:
            return
        lane = writer.lane(wire.name, sender, session, wire.number, wire.protocol, wire.rows)
        record = lane.message if framed else lane.raw
        record(memoryview(data), wall, mono, 0, 1, 0, duplicate(list(fds)), 0)
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
