"""One end of a conversation: messages by name out, messages with their descriptors in, each wait with an end.

All that passes goes through a pipeline as a capture would, so layouts follow what was agreed on, answers know their
requests, and ``findings`` is what the rules have to say.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

from vhostspy.capture.record import Record
from vhostspy.dissectors import codec, registry
from vhostspy.dissectors.codec import ByteOrder
from vhostspy.dissectors.rows import BACK_END, FRONT_END, Header
from vhostspy.dissectors.rows import Message as Row
from vhostspy.message import Finding, Message, end_name
from vhostspy.nearest import nearest
from vhostspy.pipeline import Item, Pipeline
from vhostspy.replay.log import Log, rows_of
from vhostspy.replay.wire import Wire
from vhostspy.rules.engine import Rules
from vhostspy.session.state import Session

from .members import by_number
from .verdict import transcript

#: the longest wait for the other side, in seconds
TIMEOUT_S = 10.0
#: a talk is one session
_SESSION = 1
_ORDER: ByteOrder = "<" if sys.byteorder == "little" else ">"


class TalkError(AssertionError):
    """The other side did not do what the test waits for; the text says what it did, and what was said before."""


class Heard:
    """A message that came. ``heard["features"]`` is a member's value; ``names("features")`` what its bits are called.

    Its descriptors (``fds``) are the talk's, which closes them at its end; ``take`` makes one the caller's.
    """

    def __init__(self, message: Message, fds: list[int]) -> None:
        self.message = message
        self.fds = fds

    @property
    def name(self) -> str:
        if self.message.kind == "raw":
            return "unread octets"
        return self.message.name or f"message {self.message.id}"

    @property
    def channel(self) -> str:
        return self.message.channel

    @property
    def ok(self) -> bool:
        """An answer that does not say no."""
        return not self.message.failed

    def __getitem__(self, member: str) -> Any:
        """A member as it was on the wire; KeyError names those that there are."""
        fields = self.message.fields
        if member not in fields:
            known = ", ".join(fields) or "none"
            raise KeyError(f"{self.name} has no member {member!r}{nearest(member, fields)}; it has {known}")
        return fields[member]

    def names(self, member: str) -> Any:
        """What a member's bits are called (a list), or its value (a text), or what is in it (a dictionary)."""
        self[member]
        return self.message.names.get(member, [])

    def take(self, index: int = 0) -> int:
        """One of the descriptors; the caller closes it."""
        fd = self.fds[index]
        return os.dup(fd)

    def __repr__(self) -> str:
        kind = "" if self.message.kind == "raw" else f"{self.message.kind} "
        said = f"{self.name} {kind}{self.message.info}".strip()
        fds = [" ".join(filter(None, (fd.role, fd.kind))) for fd in self.message.fds]
        return f"<{said}{' ' + str(fds) if fds else ''}>"


class _Remembered(Pipeline):
    """A pipeline that keeps what it has given."""

    def __init__(self, device: str | None, rules: Rules) -> None:
        super().__init__(device, rules)
        self.items: list[Item] = []

    def feed(self, record: Record) -> Iterable[Item]:
        items = [*super().feed(record)]
        self.items += items
        return items


class Talk:
    """Owns its sockets and every descriptor that it made or received; ``close`` (or ``with``) gives all back.

    side: rows.FRONT_END or rows.BACK_END. device: as in ``--device``, for the names of its feature bits.
    """

    side = FRONT_END

    def __init__(
        self,
        sock: socket.socket,
        *,
        protocol: str = "vhost-user",
        device: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.protocol = protocol
        self.timeout_s = timeout_s
        self.device = device
        self._pipeline = _Remembered(device, Rules())
        self._log = Log()
        self._log.pipeline = self._pipeline
        self._wires = {"main": Wire(sock, "main", 1, protocol, rows_of(protocol, "main"))}
        self._come: deque[Heard] = deque()
        self._fds: list[int] = []
        self._log.event("open", "the conversation begins", _SESSION, protocol=protocol)

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session from this side. May be called twice."""
        for wire in self._wires.values():
            wire.close()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        self._come.clear()

    # -- what is known

    @property
    def messages(self) -> list[Message]:
        """All that was said, by both sides."""
        return [item for item in self._pipeline.items if isinstance(item, Message)]

    @property
    def session(self) -> Session:
        """Where the session stands: what is agreed, memory, rings."""
        return self._log.session(_SESSION)

    @property
    def findings(self) -> list[Finding]:
        """What is wrong with what was said so far, by either side."""
        return [finding for item in self._pipeline.items for finding in item.findings]

    def agreed(self, feature: str) -> bool:
        """Is this protocol feature on?"""
        return bool((self.session.protocol_agreed or 0) >> self._feature(feature) & 1)

    def _feature(self, name: str) -> int:
        known = registry.PROTOCOLS[self.protocol].features
        for bit, each in (known.names if known else {}).items():
            if each == name:
                return bit
        raise ValueError(
            f"there is no protocol feature {name!r}{nearest(name, (known.names if known else {}).values())}"
        )

    # -- descriptors of our own

    def memfd(self, size: int, name: str = "vhostspy-test") -> int:
        """Shared memory of so many bytes; closed with the talk."""
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
        self._fds.append(fd)
        os.ftruncate(fd, size)
        return fd

    def eventfd(self) -> int:
        """Closed with the talk."""
        self._fds.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        return self._fds[-1]

    # -- saying

    def row(self, name: str, channel: str = "main", sender: int | None = None) -> Row:
        """The row of a message that ``sender`` (default: this side) sends; ValueError when there is none."""
        __tracebackhide__ = True
        sender = self.side if sender is None else sender
        rows = rows_of(self.protocol, channel).messages
        for (end, _), row in rows.items():
            for each in (row, *row.others):
                if end == sender and each.name == name:
                    return each
        names = sorted({row.name for (end, _), row in rows.items() if end == sender})
        who = end_name(self.protocol, sender)
        raise ValueError(f"the {who} sends no {name!r} on the {channel} channel{nearest(name, names)}")

    def send(
        self,
        name: str,
        *,
        fds: Sequence[int] = (),
        need_reply: bool = False,
        flags: int | None = None,
        channel: str = "main",
        **members: Any,
    ) -> Message:
        """Send a request and wait for nothing. ``fds`` are lent. Members as in ``vhostspy explain``, or ``rest``."""
        __tracebackhide__ = True
        row = self.row(name, channel)
        return self._say(row, False, members, fds, need_reply, flags, channel)

    def send_octets(self, octets: bytes, *, fds: Sequence[int] = (), channel: str = "main") -> Message:
        """Send any octets: a message that no row would make, or half of one."""
        __tracebackhide__ = True
        wire = self._wires[channel]
        if not wire.send(octets, [*fds]):
            raise self._trouble(f"it has closed the {channel} channel, and takes nothing more")
        return self._note(wire, self.side, octets, [*fds])

    def _say(
        self,
        row: Row,
        reply: bool,
        members: dict[str, Any],
        fds: Sequence[int],
        need_reply: bool,
        flags: int | None,
        channel: str,
        msgid: int | None = None,
    ) -> Message:
        __tracebackhide__ = True
        try:
            fields = by_number(row, reply, members, self.device or self.session.device)
            payload = codec.encode(row, reply, fields, self.session.context, _ORDER)
        except ValueError as wrong:
            raise ValueError(str(wrong)) from None
        rows = rows_of(self.protocol, channel)
        header = rows.header
        if flags is None:
            flags = header.plain_flags | (header.reply_value if reply else 0)
            flags |= header.need_reply_mask if need_reply else 0
        octets = self._header(header, row.id, flags, len(payload), msgid)
        return self.send_octets(bytes(octets) + payload, fds=fds, channel=channel)

    def _header(self, header: Header, id: int, flags: int, payload: int, msgid: int | None) -> bytearray:
        octets = bytearray(header.length)
        width = 2 if header.id_type == "u16" else 4
        octets[header.id_at : header.id_at + width] = id.to_bytes(width, sys.byteorder)
        size = payload + (header.length if header.counts_header else 0)
        octets[header.size_at : header.size_at + 4] = size.to_bytes(4, sys.byteorder)
        octets[header.flags_at : header.flags_at + 4] = flags.to_bytes(4, sys.byteorder)
        if header.msgid_at is not None:
            if msgid is None:
                # numbers of our own, one after the other
                msgid = sum(1 for one in self.messages if one.sender == self.side) & 0xFFFF
            octets[header.msgid_at : header.msgid_at + 2] = msgid.to_bytes(2, sys.byteorder)
        return octets

    def _note(self, wire: Wire, sender: int, octets: bytes, fds: list[int], framed: bool = True) -> Message:
        whole = framed and len(octets) >= wire.rows.header.length
        return self._log.note(_SESSION, wire, sender, octets, fds, framed=whole)

    # -- hearing

    def receive(self, timeout_s: float | None = None) -> Heard:
        """The next message on any channel. TalkError when nothing comes in time, or the other side has closed."""
        __tracebackhide__ = True
        return self._next("a message", timeout_s)

    def expect(self, name: str, *, reply: bool = False, timeout_s: float | None = None) -> Heard:
        """The next message, which must be of this name. TalkError says what came instead."""
        __tracebackhide__ = True
        heard = self._next(name, timeout_s)
        if heard.name != name or heard.message.is_reply != reply:
            raise self._trouble(f"expected {name}{' reply' if reply else ''}, and {heard!r} came")
        return heard

    def expect_close(self, timeout_s: float | None = None) -> None:
        """Wait until the other side has closed the main channel. TalkError when it speaks or stays instead."""
        __tracebackhide__ = True
        wire = self._wires["main"]
        deadline = monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while not wire.ended:
            if self._come:
                raise self._trouble(f"expected it to close, and {self._come[0]!r} came")
            if not self._hear(deadline):
                raise self._trouble("expected it to close, and it did not")

    def _next(self, what: str, timeout_s: float | None = None) -> Heard:
        __tracebackhide__ = True
        longest_s = self.timeout_s if timeout_s is None else timeout_s
        deadline = monotonic() + longest_s
        while not self._come:
            wire = self._wires["main"]
            if wire.ended:
                raise self._trouble(f"expected {what}, and it {'closed' if wire.how == 'closed' else wire.how}")
            if not self._hear(deadline):
                raise self._trouble(f"expected {what}, and nothing came for {longest_s:g} s")
        return self._come.popleft()

    def _hear(self, deadline: float) -> bool:
        """Wait for whatever comes; False when the time is over."""
        poll = select.poll()
        for wire in self._wires.values():
            if not wire.ended:
                poll.register(wire.fileno(), select.POLLIN | (select.POLLOUT if wire.wants_room else 0))
        left_s = deadline - monotonic()
        ready = dict(poll.poll(max(0.0, left_s) * 1000))
        for wire in list(self._wires.values()):
            events = ready.get(wire.fileno(), 0) if not wire.ended else 0
            if events & select.POLLOUT:
                wire.drain()
            if events & ~select.POLLOUT:
                for whole in wire.receive():
                    self._fds += whole.fds
                    message = self._note(wire, 1 - self.side, whole.data, whole.fds, whole.framed)
                    self._heard(Heard(message, whole.fds))
                if wire.ended:
                    self._log.event("eof", "", _SESSION, 1 - self.side, wire.key, self.protocol)
        return bool(ready)

    def _heard(self, heard: Heard) -> None:
        self._come.append(heard)

    # -- channels that are passed on

    def _open(self, channel: str, sock: socket.socket) -> None:
        wire = Wire(sock, channel, 1, self.protocol, rows_of(self.protocol, channel))
        self._wires[channel] = wire

    def _trouble(self, sentence: str) -> TalkError:
        """The sentence, with the other side's name, and the last messages."""
        other = end_name(self.protocol, BACK_END - self.side)
        lines = [f"the {other}: {sentence}", *self.transcript(6)]
        return TalkError("\n".join(lines))

    def transcript(self, most: int = 20) -> list[str]:
        """The last messages, a line each."""
        return transcript(self.messages, most)
