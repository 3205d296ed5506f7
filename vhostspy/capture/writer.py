"""Write a capture while the traffic goes on: the queue between the relay and everything else.

The relay calls this in its only thread, after a message went on, so every call is short and none of them waits or
raises on account of the file. Records collect in one buffer of 256 KiB. It is written out when 200 KiB are full, before
a long message, and when the oldest record in it is 50 ms old (seen by the next record, or by ``tick``). How a message
gets into the buffer is in ``lane``, how one over 16 KiB gets around it in ``long``.

*A failing file* (disk full, a viewer that is too slow): the buffer keeps what it holds, what no longer fits is counted,
every 50 ms a write is tried, and once it succeeds a ``gap`` record says what is missing. A block that was written in
part is cut off again.

*Descriptors* handed over here are owned here. Their entries are left blank, and ``settle`` fills in the kernel's facts
and closes them when nothing is ready to be read, at the latest when the buffer is written.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Final

from vhostspy import __version__

from . import pcapng
from .facts import COMMENTED, Facts
from .lane import Heeded, Lane
from .long import LONG
from .record import DESCRIPTOR, FROM_SPY, HEADER, MESSAGE, ORIGINAL, RAW, SAMPLE
from .template import COMMENT_WIDTH

if TYPE_CHECKING:
    from vhostspy.dissectors.rows import Channel

    from .long import Long

_BUFFER: Final = 256 * 1024
#: written out when so much is full; what is above takes the largest single record and a gap record
_FULL: Final = 200 * 1024
#: how old a record may get in the buffer, and how often a failing file is tried
_AGE_NS: Final = 50_000_000
_MOST_UNSETTLED: Final = 64
#: octets of a bounded queue that stay behind its reader: whoever comes later learns from them how sessions were set up
_STAYS: Final = 16 << 20
_UNLIMITED: Final = 1 << 62


class Writer:
    """The open capture.

    ``number`` is the last number given. ``lost_messages`` and ``lost_bytes`` count what the file lacks for good, and
    ``error`` is what the file's first failure was: a relay that ends with it set ends with status 3. A viewer too slow
    for a ``bounded`` queue loses records as well, but sets no ``error``.
    """

    __slots__ = (
        "at", "bounded", "buffer", "due", "error", "facts", "fd", "limit", "lost_bytes", "lost_messages", "number",
        "part", "pos", "punched", "read_to", "seekable", "snaplen", "torn", "unsettled", "unsettled_fds", "view",
        "_gap_bytes", "_gap_messages", "_gap_why",
    )  # fmt: skip

    def __init__(self, fd: int, *, snaplen: int | None = None, bounded: int | None = None) -> None:
        """Begin a capture in ``fd``, which is owned from here on.

        fd: a regular file, written from its present position on, or a pipe. snaplen: octets to keep of a message.
        bounded: bytes that may lie between what is written and what ``consumed`` was told; 1 MiB at least.
        """
        self.fd = fd
        self.snaplen = _UNLIMITED if snaplen is None else snaplen
        self.bounded = _UNLIMITED if bounded is None else max(bounded, 1 << 20)
        self.seekable, self.at = _position(fd)
        self.read_to = self.punched = self.at
        self.buffer = bytearray(_BUFFER)
        self.view = memoryview(self.buffer)
        self.number = 0
        self.pos = 0
        #: a record that would end behind it, or that comes at ``due`` or later, takes the slow path; 0: empty buffer
        self.limit = _FULL
        self.due = 0
        #: octets at the buffer's start that are the rest of a block, the first part of which is in the pipe
        self.torn = 0
        #: the message whose record at the file's end is open
        self.part: Long | None = None
        self.unsettled: list[tuple[int, int, Sequence[int], str, Heeded | None]] = []
        self.unsettled_fds = 0
        self.lost_messages = self.lost_bytes = 0
        self._gap_messages = self._gap_bytes = 0
        self._gap_why = ""
        self.error: OSError | None = None
        self.facts = Facts()
        self.put((pcapng.section_header(f"vhostspy {__version__}"),), 0)
        self.put([pcapng.interface(name) for name in pcapng.INTERFACES], 0)
        self.put((pcapng.name_resolution(),), 0)
        # a file without a record is a file all the same, but none that has to be written at once
        self.due = 0

    def lane(
        self,
        channel: str,
        sender: int,
        session: int,
        channel_no: int,
        protocol: str,
        rows: Channel | None = None,
        *,
        previous: int = 0,
        byte_order: str = sys.byteorder,
    ) -> Lane:
        """One direction of one channel: what records its messages.

        channel: a name of ``record.CHANNELS``. sender: 0 or 1. rows: the channel's rows, for names and descriptor
        roles; without them only ``raw`` may be called. previous: the session before this one of the same sockets, or 0.
        """
        return Lane(self, channel, sender, session, channel_no, protocol, rows, previous, byte_order)

    def event(
        self,
        event: Mapping[str, object],
        wall_ns: int,
        mono_ns: int,
        *,
        session: int = 0,
        previous: int = 0,
        channel: str = "",
        channel_no: int = 0,
        protocol: str = "",
        sender: int = FROM_SPY,
    ) -> None:
        """Record something that is no message: ``event`` is a JSON object with the members "event" and "text"."""
        lane = self.lane(channel, sender, session, channel_no, protocol, previous=previous)
        name, text = str(event.get("event", "event")), str(event.get("text", ""))
        data = _json(event).encode()
        if len(data) > LONG:
            # never a reason to stop the traffic
            data = _json({"event": name, "text": text[:2000], "cut": True}).encode()
        lane.event(name, text, data, wall_ns, mono_ns)

    def sample(
        self, data: bytes, text: str, wall_ns: int, mono_ns: int, *, session: int, previous: int = 0, protocol: str = ""
    ) -> None:
        """Record what was seen in a session's memory: a JSON object, at most LONG octets; ``text`` is for people."""
        lane = self.lane("", FROM_SPY, session, 0, protocol, previous=previous)
        lane.event("sample", text, data, wall_ns, mono_ns, SAMPLE)

    def settle(self) -> None:
        """Take the facts of the descriptors handed over, and close them. To be called when nothing else is ready."""
        if not self.unsettled:
            return
        while self.unsettled:
            entries_at, comment_at, fds, role, heeded = self.unsettled.pop(0)
            entries, comment = self.facts.take(fds, role, heeded is None)
            self.buffer[entries_at : entries_at + len(entries)] = entries
            comment = comment[: min(len(fds), COMMENTED) * COMMENT_WIDTH]
            self.buffer[comment_at : comment_at + len(comment)] = comment
            if heeded is not None:
                seen, label, number, data = heeded
                seen(label, number, data, fds, entries[1 :: DESCRIPTOR.size])
        self.unsettled_fds = 0
        self.facts.rest()

    def tick(self, mono_ns: int) -> int | None:
        """Write out what is due; returns when (monotonic ns) to call again, None: nothing is waiting.

        To be called when poll came back with nothing, which is to be asked for at most 50 ms.
        """
        if self.pos or self.part is not None:
            if mono_ns >= self.due:
                self.flush(mono_ns)
            if self.pos or self.part is not None:
                return self.due
        return None

    def flush(self, mono_ns: int = 0) -> bool:
        """Write the buffer out. False: the file would not take it all; the rest is kept, and tried again."""
        self.settle()
        if self.part is not None:
            self.part.close_part()
        end = self.pos
        if not end:
            return True
        if self.at + end - self.read_to > self.bounded:
            self.too_slow(mono_ns)
            return False
        done = 0
        try:
            while done < end:
                data = self.view[done:end]
                done += os.pwrite(self.fd, data, self.at + done) if self.seekable else os.write(self.fd, data)
        except OSError as failure:
            self._written_in_part(done)
            if not isinstance(failure, BlockingIOError):
                self.error = self.error or failure
            self._postpone(failure.strerror or str(failure), mono_ns)
            return False
        self.at += end
        self.pos = self.due = self.torn = 0
        self.recovered(mono_ns)
        return True

    def consumed(self, offset: int) -> None:
        """The reader of a bounded queue has read up to this file offset: the space well before it is given back."""
        self.read_to = max(self.read_to, min(offset, self.at))
        whole = (self.read_to - _STAYS) & ~0xFFFF
        if self.seekable and whole - self.punched >= 1 << 20:
            from .space import punch  # ctypes: only when it is needed

            punch(self.fd, self.punched, whole - self.punched)
            self.punched = whole

    def close(self) -> None:
        """Write all out and close the file and every descriptor still owned. May be called again."""
        if self.fd < 0:
            return
        self.flush()
        if not self.pos and self._gap_messages:
            self.recovered(0)
        if self.pos:
            self.flush()
        if self.pos:
            messages, octets = self._count()
            self.lost_messages += messages
            self.lost_bytes += octets
        fd, self.fd = self.fd, -1
        self.facts.close()
        try:
            os.close(fd)
        except OSError as failure:
            self.error = self.error or failure

    # what lanes use

    def room(self, size: int, mono_ns: int) -> bool:
        """Make sure that ``size`` octets fit behind ``pos``; False: they don't, and the record must be given up."""
        if self.pos and (mono_ns >= self.due or self.pos + size > _FULL):
            if self._gap_why and mono_ns < self.due:
                return self.pos + size <= _FULL
            self.flush(mono_ns)
        if not self.pos:
            self.due = mono_ns + _AGE_NS
        elif self._gap_why and self.pos + size > _FULL:
            return False
        return self.pos + size <= _BUFFER

    def put(self, pieces: Sequence[bytes], mono_ns: int) -> bool:
        """Put a whole block into the buffer; False: there is no room."""
        size = sum(map(len, pieces))
        if not self.room(size, mono_ns):
            return False
        self.buffer[self.pos : self.pos + size] = b"".join(pieces)
        self.pos += size
        return True

    def adopt(
        self, entries_at: int, comment_at: int, fds: Sequence[int], role: str, heeded: Heeded | None = None
    ) -> None:
        """Own these descriptors, whose entries and comment are to be filled in at these places of the buffer.

        heeded: who gets them once their facts are taken, instead of their being closed.
        """
        self.unsettled.append((entries_at, comment_at, fds, role, heeded))
        self.unsettled_fds += len(fds)
        if self.unsettled_fds > _MOST_UNSETTLED:
            self.settle()

    def open_part(self, part: Long, mono_ns: int) -> None:
        """A record is open at the file's end."""
        self.part = part
        if not self.pos:
            self.due = mono_ns + _AGE_NS

    def lose(self, messages: int, octets: int) -> None:
        """Count what could not be kept."""
        self.lost_messages += messages
        self.lost_bytes += octets
        self._gap_messages += messages
        self._gap_bytes += octets

    def write_at(self, buffers: Sequence[bytes | memoryview], offset: int) -> None:
        """Write all of these at a file offset, or raise OSError."""
        total = sum(map(len, buffers))
        done = os.pwritev(self.fd, buffers, offset)
        if done < total:
            rest = memoryview(b"".join(buffers))
            while done < total:
                done += os.pwrite(self.fd, rest[done:], offset + done)

    def too_slow(self, mono_ns: int) -> None:
        """The bounded queue is full."""
        self._postpone("the viewer is too slow", mono_ns)

    def cut_back(self) -> None:
        """Take away what lies behind the last whole block."""
        try:
            os.ftruncate(self.fd, self.at)
        except OSError as failure:
            self.error = self.error or failure

    def failed(self, failure: OSError, mono_ns: int) -> None:
        """The file did not take a part of a long message."""
        self.error = self.error or failure
        self._postpone(failure.strerror or str(failure), mono_ns)

    def recovered(self, mono_ns: int) -> None:
        """The file took something: say what it did not take before."""
        if self._gap_messages or self._gap_bytes:
            self._say_gap(mono_ns)
        self._gap_why = ""

    # the rest

    def _postpone(self, why: str, mono_ns: int) -> None:
        self._gap_why = why
        self.due = (mono_ns or monotonic_ns()) + _AGE_NS

    def _say_gap(self, mono_ns: int) -> None:
        messages, octets, why = self._gap_messages, self._gap_bytes, self._gap_why
        self._gap_messages = self._gap_bytes = 0
        text = f"{messages} message{'' if messages == 1 else 's'} not recorded, {octets} bytes: {why}"
        event = {"event": "gap", "text": text, "messages": messages, "bytes": octets, "why": why}
        self.event(event, time_ns(), mono_ns or monotonic_ns())

    def _written_in_part(self, done: int) -> None:
        """Keep what the file did not take; a file ends with a whole block again, a pipe goes on where it was."""
        whole = self.torn
        while whole < done:
            following = whole + _u32(self.buffer, whole + 4)
            if following > done:
                break
            whole = following
        if self.seekable:
            self.at += whole
            if done > whole:
                self.cut_back()
            kept_from, self.torn = whole, 0
        else:
            self.at += done
            kept_from = done
            if done < self.torn:
                self.torn -= done
            else:
                self.torn = whole + _u32(self.buffer, whole + 4) - done if done > whole else 0
        if kept_from:
            rest = self.pos - kept_from
            self.buffer[:rest] = self.buffer[kept_from : self.pos]
            self.pos = rest

    def _count(self) -> tuple[int, int]:
        """Messages that end in the buffer, and octets of messages in it."""
        messages = octets = 0
        at = self.torn
        inside = pcapng.TAGS.size + HEADER.size
        while at < self.pos:
            if _u32(self.buffer, at) == pcapng.PACKET:
                fields = HEADER.unpack_from(self.buffer, at + pcapng.PACKET_HEADER.size + pcapng.TAGS.size)
                kind, flags, number, count = fields[2], fields[8], fields[13], fields[20]
                if kind in (MESSAGE, RAW) and not flags & ORIGINAL:
                    messages += number > 0
                    octets += _u32(self.buffer, at + 20) - inside - count * DESCRIPTOR.size
            at += _u32(self.buffer, at + 4)
        return messages, octets


def _position(fd: int) -> tuple[bool, int]:
    """Whether one can write anywhere in this file, and where its end so far is to be."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return False, 0
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    if flags & os.O_APPEND:
        # with it every write would go to the end, block types too
        fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_APPEND)
        return True, os.lseek(fd, 0, os.SEEK_END)
    return True, os.lseek(fd, 0, os.SEEK_CUR)


def _u32(data: bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _json(value: object) -> str:
    """JSON text of events; the json module costs the relay's start two milliseconds."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return '"' + value.translate(_ESCAPES) + '"'
        case Mapping():
            return "{" + ", ".join(f"{_json(str(name))}: {_json(member)}" for name, member in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_json, value)) + "]"
        case _:
            raise TypeError(f"an event has a member of type {type(value).__name__}: {value!r}")


_ESCAPES: Final = {number: f"\\u{number:04x}" for number in (*range(32), 34, 92, 127, *range(0xD800, 0xE000))}
