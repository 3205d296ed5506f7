"""Write a capture while the traffic goes on: the queue between the relay and everything else.

The relay calls this in its only thread, after a message went on, so every call is short and none of them waits or
raises on account of the file. Records collect in one buffer of 256 KiB. It is written out when 200 KiB are full, before
a long message, and when the oldest record in it is 50 ms old (seen by the next record, or by ``tick``).

*A message* is one ``pack_into``: all that is the same in messages of one kind and length (block header, tags, the first
part of our header, trailing options) was made once and is kept per lane, keyed by the header's id, flags and size. What
changes is two times, a number and the octets. Measured on the machine of ``benchmarks/``: see ``Lane.plain``.

*A long message* (over 16 KiB) goes around the buffer: its octets are appended to the file where they will stay, the
block header before them is filled in afterwards, its type last of all. A reader takes block type 0 as the end so far,
so the file is whole at every moment. What else is recorded meanwhile ends that part; the message then goes on in
another record, and the reader joins them. Nothing is reserved for what may never come.

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
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from struct import error as struct_error
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Final, NamedTuple

from vhostspy import __version__

from . import pcapng
from .facts import comment, describe
from .record import (
    BY,
    BY_SHIFT,
    CHANGED,
    CHANNELS,
    DESCRIPTOR,
    DROPPED,
    EVENT,
    FROM_SPY,
    HEADER,
    INCOMPLETE,
    INJECTED,
    MAGIC,
    MAX_PACKET,
    MESSAGE,
    ORIGINAL,
    PROTOCOLS,
    RAW,
    SNAPPED,
    UNSURE_FDS,
    VERSION,
    pack_descriptor,
)

if TYPE_CHECKING:
    from vhostspy.dissectors.rows import Channel

    from .record import Descriptor

_BUFFER: Final = 256 * 1024
#: written out when so much is full; what is above takes the largest single record and a gap record
_FULL: Final = 200 * 1024
#: messages over this length do not go through the buffer
LONG: Final = 16 * 1024
#: how old a record may get in the buffer, and how often a failing file is tried
_AGE_NS: Final = 50_000_000
_MOST_UNSETTLED: Final = 64
#: templates a lane keeps; peers that never repeat a size must not fill the memory
_MOST_TEMPLATES: Final = 1024

_PACKET: Final = pcapng.PACKET_HEADER
_HEADS: Final = _PACKET.size + pcapng.TAGS.size + HEADER.size
#: width of a descriptor in the comment, and how many of one message it names
_COMMENT_WIDTH: Final = 40
_COMMENTED: Final = 4
#: of an event's text in the comment
_MOST_TEXT: Final = 400
_UNLIMITED: Final = 1 << 62
#: octets of a long message in one record, descriptor entries included
_MOST_OCTETS: Final = MAX_PACKET - pcapng.TAGS.size - HEADER.size
#: of the message number, from a record's first octet
_NUMBER_AT: Final = _PACKET.size + pcapng.TAGS.size + 32
# EPB_FLAGS of the two directions
_INBOUND: Final = b"\1\0\0\0"
_OUTBOUND: Final = b"\2\0\0\0"

_FLAG_WORDS: Final = (
    (CHANGED, "went on like this"),
    (ORIGINAL, "came like this"),
    (INJECTED, "sent by nobody"),
    (DROPPED, "did not go on"),
    (SNAPPED, "octets cut to the snap length"),
    (UNSURE_FDS, "descriptors may be of an earlier message"),
    (INCOMPLETE, "the stream ended in it"),
)


class _Template(NamedTuple):
    """Records of one kind and length, all but what changes from one to the next."""

    size: int
    #: bound ``pack_into`` of: front, time, middle, number, wall, monotonic, span, rest, octets, options, number, tail
    pack: Callable[..., None]
    front: bytes
    middle: bytes
    rest: bytes
    options: bytes
    tail: bytes
    #: of the first descriptor entry and of the descriptors' comment, from the record's first octet
    entries_at: int
    comment_at: int
    #: what the descriptors are for
    role: str


class Writer:
    """The open capture.

    ``number`` is the last number given. ``lost_messages`` and ``lost_bytes`` count what the file lacks for good, and
    ``error`` is what the file's first failure was: a relay that ends with it set ends with status 3. A viewer too slow
    for a ``bounded`` queue loses records as well, but sets no ``error``.
    """

    __slots__ = (
        "at", "bounded", "buffer", "due", "error", "fd", "high", "interfaces", "limit", "lost_bytes", "lost_messages",
        "low", "number", "part", "pos", "punched", "read_to", "seekable", "snaplen", "torn", "unsettled",
        "unsettled_fds", "view", "_folder", "_gap_bytes", "_gap_messages", "_gap_why",
    )  # fmt: skip

    def __init__(self, fd: int, *, snaplen: int | None = None, bounded: int | None = None) -> None:
        """Begin a capture in ``fd``, which is owned from here on.

        fd: a regular file, written from its present position on, or a pipe. snaplen: octets to keep of a message.
        bounded: bytes that may lie between what is written and what ``consumed`` was told.
        """
        self.fd = fd
        self.snaplen = _UNLIMITED if snaplen is None else snaplen
        self.bounded = _UNLIMITED if bounded is None else bounded
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
        #: times are packed in two halves; the upper one is kept, since it changes every four seconds
        self.high = 0
        self.low = 0
        self.part: Lane | None = None
        self.unsettled: list[tuple[int, int, Sequence[int], str]] = []
        self.unsettled_fds = 0
        self.interfaces: dict[str, int] = {}
        self.lost_messages = self.lost_bytes = 0
        self._gap_messages = self._gap_bytes = 0
        self._gap_why = ""
        self.error: OSError | None = None
        try:
            self._folder: int | None = os.open("/proc/self/fdinfo", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self._folder = None
        self._append(pcapng.section_header(f"vhostspy {__version__}"))
        self.interface("main")
        self._append(pcapng.name_resolution())

    def interface(self, channel: str) -> int:
        """The number of a channel kind's interface, described in the file when first asked for."""
        name = channel or "main"
        if name not in self.interfaces:
            self.interfaces[name] = len(self.interfaces)
            self._append(pcapng.interface(name))
        return self.interfaces[name]

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
        text = str(event.get("text", ""))
        lane.event(str(event.get("event", "event")), text, _json(event).encode(), wall_ns, mono_ns)

    def settle(self) -> None:
        """Take the facts of the descriptors handed over, and close them. To be called when nothing else is ready."""
        if not self.unsettled:
            return
        unsettled, self.unsettled = self.unsettled, []
        self.unsettled_fds = 0
        for entries_at, comment_at, fds, role in unsettled:
            found = self.describe(fds, role)
            for one in found:
                self.buffer[entries_at : entries_at + DESCRIPTOR.size] = pack_descriptor(one)
                entries_at += DESCRIPTOR.size
            width = min(len(fds), _COMMENTED) * _COMMENT_WIDTH
            text = comment(found, _COMMENTED).encode()[:width].decode(errors="ignore").encode()
            self.buffer[comment_at : comment_at + len(text)] = text

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
        if self._gap_messages or self._gap_bytes:
            self._say_gap(mono_ns)
        self._gap_why = ""
        return True

    def consumed(self, offset: int) -> None:
        """The reader of a bounded queue has read up to this file offset: the space before it is given back."""
        self.read_to = max(self.read_to, min(offset, self.at))
        whole = self.read_to & ~0xFFFF
        if self.seekable and whole - self.punched >= 8 << 20:
            from .space import punch  # ctypes: only when it is needed

            punch(self.fd, self.punched, whole - self.punched)
            self.punched = whole

    def close(self) -> None:
        """Write all out and close the file and every descriptor still owned. May be called again."""
        if self.fd < 0:
            return
        if not self.flush() or self.pos:
            self.flush()
        if self.pos:
            messages, octets = self._count(self.pos)
            self.lost_messages += messages
            self.lost_bytes += octets
        fd, self.fd = self.fd, -1
        try:
            if self._folder is not None:
                os.close(self._folder)
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

    def lose(self, messages: int, octets: int) -> None:
        """Count what could not be kept."""
        self.lost_messages += messages
        self.lost_bytes += octets
        self._gap_messages += messages
        self._gap_bytes += octets

    def describe(self, fds: Sequence[int], role: str) -> list[Descriptor]:
        """The facts of these descriptors, which are closed."""
        found = []
        for fd in fds:
            found.append(describe(fd, role, self._folder))
            os.close(fd)
        return found

    def rebase(self, wall_ns: int) -> None:
        """Take the upper half of this time as the one that goes with all times."""
        self.high = wall_ns >> 32
        self.low = self.high << 32

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

    # the rest

    def _append(self, data: bytes) -> None:
        """A block that must not be lost: there is always room for it, since the buffer is larger than ``_FULL``."""
        end = self.pos + len(data)
        if end > _BUFFER:
            raise ValueError("the capture's buffer has no room for a block of the file")
        self.buffer[self.pos : end] = data
        self.pos = end

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

    def _count(self, end: int) -> tuple[int, int]:
        """Messages, and their octets, that are in the buffer up to ``end``."""
        messages = octets = 0
        at = self.torn
        while at < end:
            kind, size = _u32(self.buffer, at), _u32(self.buffer, at + 4)
            if kind == pcapng.PACKET:
                fields = HEADER.unpack_from(self.buffer, at + _PACKET.size + pcapng.TAGS.size)
                if fields[2] in (MESSAGE, RAW) and not fields[8] & ORIGINAL:
                    messages += 1
                    octets += fields[17]
            at += size
        return messages, octets


class Lane:
    """One direction of one channel. The relay calls, for each message that it has passed on, one of

    - ``plain(view, wall_ns, mono_ns)``: a whole message that came in one read, without descriptors, unchanged;
    - ``message(view, wall_ns, mono_ns, span_ns, reads, flags, fds, fds_at)``: any whole message;
    - ``raw(view, …)``: octets that could not be framed;
    - ``begin(length, view, …)``, ``add(view, mono_ns)``, ``finish(…)``: a message passed on before it was there whole.

    A view is a memoryview of contiguous octets (format "B"), copied before the call returns. Times are of the first
    octet's read. ``fds`` are owned here afterwards, whatever happens to the record.
    """

    __slots__ = (
        "channel", "channel_no", "interface", "key", "previous", "protocol", "rows", "sender", "session", "templates",
        "writer", "_byte_order", "_long", "_protocol_no",
    )  # fmt: skip

    def __init__(
        self,
        writer: Writer,
        channel: str,
        sender: int,
        session: int,
        channel_no: int,
        protocol: str,
        rows: Channel | None,
        previous: int,
        byte_order: str,
    ) -> None:
        self.writer = writer
        self.channel = CHANNELS.index(channel)
        self.sender = sender
        self.session = session
        self.channel_no = channel_no
        self.protocol = protocol
        self.rows = rows
        self.previous = previous
        self.interface = writer.interface(channel)
        self.templates: dict[object, _Template] = {}
        self.key = slice(0, 0) if rows is None else _key_of(rows)
        self._byte_order = int(byte_order in ("big", ">"))
        self._protocol_no = PROTOCOLS.index(protocol)
        self._long: _Long | None = None

    def plain(self, view: memoryview, wall_ns: int, mono_ns: int) -> None:
        """Record a whole message that came in one read, without descriptors, and went on as it came.

        The hot path: about 0.5 µs for 20 octets, the writing of the buffer included.
        """
        w = self.writer
        data = view.tobytes()
        template = self.templates.get(data[self.key])
        if template is None or mono_ns >= w.due or (end := (pos := w.pos) + template[0]) > w.limit:
            self.message(view, wall_ns, mono_ns)
            return
        w.number = number = w.number + 1
        _, pack, front, middle, rest, options, tail, _, _, _ = template
        try:
            pack(
                w.buffer, pos, front, w.high, wall_ns - w.low, middle, number, wall_ns, mono_ns, 0,
                rest, data, options, number, tail,
            )  # fmt: skip
        except struct_error:
            w.rebase(wall_ns)
            pack(
                w.buffer, pos, front, w.high, wall_ns - w.low, middle, number, wall_ns, mono_ns, 0,
                rest, data, options, number, tail,
            )  # fmt: skip
        w.pos = end

    def message(
        self,
        view: memoryview,
        wall_ns: int,
        mono_ns: int,
        span_ns: int = 0,
        reads: int = 1,
        flags: int = 0,
        fds: Sequence[int] = (),
        fds_at: int = 0,
    ) -> None:
        """Record a whole message.

        span_ns: from its first to its last octet. reads: how many it came in. flags: of ``record``. fds_at: the octet
        that its descriptors came with. A message with ORIGINAL gets the number of the one that is recorded next.
        """
        length = len(view)
        w = self.writer
        kept = min(length, w.snaplen)
        if kept > LONG:
            self.begin(length, view, wall_ns, mono_ns, span_ns, reads, flags, fds, fds_at)
            return
        if kept < length:
            flags |= SNAPPED
        key = view[self.key].tobytes()
        variant = (key, length, len(fds), reads, flags, fds_at)
        template = self.templates.get(variant)
        if template is None:
            label, role = self._label(key)
            template = self._template(MESSAGE, label, role, length, kept, reads, flags, len(fds), fds_at)
            self._keep(variant, template)
            if variant[2:] == (0, 1, 0, 0) and self._declared_length(key) == length:
                self._keep(key, template)
        self._pack(template, view[:kept].tobytes(), length, wall_ns, mono_ns, span_ns, flags, fds)

    def raw(
        self,
        view: memoryview,
        wall_ns: int,
        mono_ns: int,
        span_ns: int = 0,
        reads: int = 1,
        flags: int = 0,
        fds: Sequence[int] = (),
        fds_at: int = 0,
    ) -> None:
        """Record octets that could not be framed; as ``message`` otherwise."""
        length = len(view)
        kept = min(length, self.writer.snaplen)
        if kept > LONG:
            self.begin(length, view, wall_ns, mono_ns, span_ns, reads, flags, fds, fds_at, kind=RAW)
            return
        if kept < length:
            flags |= SNAPPED
        template = self._template(RAW, "raw", "", length, kept, reads, flags, len(fds), fds_at)
        self._pack(template, view[:kept].tobytes(), length, wall_ns, mono_ns, span_ns, flags, fds)

    def event(self, label: str, text: str, data: bytes, wall_ns: int, mono_ns: int) -> None:
        """Record an event: JSON text in ``data``; ``text`` is for people."""
        if len(data) > LONG:
            raise ValueError(f"an event of {len(data)} octets; the most is {LONG}")
        text = text.encode(errors="replace")[:_MOST_TEXT].decode(errors="ignore")
        size = len(text.encode())
        front = self._front(EVENT, label, 0, len(data), len(data), 0, 0, 1, 0, wall_ns, mono_ns, 0, 0, size)
        w = self.writer
        size = _size(front)
        if w.room(size, mono_ns):
            pos = w.pos
            end = pos + size
            w.buffer[pos:end] = b"".join((front, data, self._tail(len(data), 0, text, size)))
            w.pos = end
        else:
            w.lose(0, len(data))

    def begin(
        self,
        length: int,
        view: memoryview,
        wall_ns: int,
        mono_ns: int,
        span_ns: int = 0,
        reads: int = 1,
        flags: int = 0,
        fds: Sequence[int] = (),
        fds_at: int = 0,
        *,
        kind: int = MESSAGE,
    ) -> None:
        """Record the first octets of a message that is ``length`` octets long, its header at least.

        ``add`` brings the rest; the record is complete, and has a number, with the last octet or ``finish``.
        """
        w = self.writer
        if self._long is not None:
            self.finish()
        label, role = ("raw", "") if kind == RAW else self._label(view[self.key].tobytes())
        found = w.describe(fds, role)
        long = _Long(kind, label, length, wall_ns, mono_ns, span_ns, reads, flags, fds_at)
        long.kept = min(length, w.snaplen)
        long.entries = b"".join(pack_descriptor(one) for one in found)
        long.count = len(found)
        long.comment = comment(found, _COMMENTED)
        self._long = long
        if w.seekable and not w.flush(mono_ns):
            self._give_up(long)
        self._add(long, view)

    def add(self, view: memoryview, mono_ns: int) -> None:
        """Record more octets of the message that ``begin`` began; nothing where none was."""
        long = self._long
        if long is not None:
            long.reads += 1
            long.span_ns = mono_ns - long.mono_ns
            self._add(long, view)

    def finish(self) -> None:
        """The stream ended, or framing did, in the message that ``begin`` began: it is marked INCOMPLETE."""
        long = self._long
        if long is None:
            return
        w = self.writer
        if not long.lost:
            long.flags |= INCOMPLETE
            self._number(long)
            if w.part is self:
                self.close_part()
            else:
                self._part_through_buffer(long, b"")
        self._long = None

    def close_part(self) -> None:
        """End the record at the file's end: what is recorded next lies behind it."""
        w = self.writer
        w.part = None
        long = self._long
        if long is None:
            return
        front = self._long_front(long, long.part)
        tail = self._tail(long.part, long.number, "" if long.offset else long.comment, _size(front))
        entries = b"" if long.offset else long.entries
        at = w.at
        try:
            w.write_at((tail,), at + _HEADS + len(entries) + long.part)
            w.write_at((front[4:], entries), at + 4)
            w.write_at((front[:4],), at)
        except OSError as failure:
            self._failed(long, failure)
            return
        w.at = at + _size(front)
        long.offset += long.part
        long.part = 0

    def _add(self, long: _Long, view: memoryview) -> None:
        w = self.writer
        left = long.kept - long.offset - long.part
        view = view[:left]
        while (len(view) or not long.kept) and not long.lost:
            entries = b"" if long.offset else long.entries
            most = (_MOST_OCTETS if w.seekable else LONG) - len(entries)
            piece = view[: most - long.part]
            view = view[len(piece) :]
            left -= len(piece)
            if not left:
                if long.kept < long.length:
                    long.flags |= SNAPPED
                self._number(long)
            if not w.seekable or long.kept <= LONG:
                self._part_through_buffer(long, piece.tobytes())
                if not long.kept:
                    break
                continue
            if w.part is not self:
                if w.part is not None:
                    w.part.close_part()
                if w.at + len(piece) - w.read_to > w.bounded:
                    w.too_slow(long.mono_ns + long.span_ns)
                    self._give_up(long)
                    return
            at = w.at + _HEADS + len(entries) + long.part
            try:
                if left and long.part + len(piece) < most:
                    if w.part is None and not w.pos:
                        w.due = long.mono_ns + long.span_ns + _AGE_NS
                    w.part = self
                    w.write_at((piece,), at)
                    long.part += len(piece)
                elif long.part:
                    w.write_at((piece,), at)
                    long.part += len(piece)
                    self.close_part()
                else:
                    front = self._long_front(long, len(piece))
                    size = _size(front)
                    tail = self._tail(len(piece), long.number, "" if long.offset else long.comment, size)
                    w.write_at((front, entries, piece, tail), w.at)
                    w.at += size
                    long.offset += len(piece)
            except OSError as failure:
                self._failed(long, failure)
        if not left:
            self._long = None

    def _number(self, long: _Long) -> None:
        w = self.writer
        long.number = w.number + 1
        if not long.flags & ORIGINAL:
            w.number = long.number

    def _failed(self, long: _Long, failure: OSError) -> None:
        w = self.writer
        w.part = None
        w.failed(failure, long.mono_ns + long.span_ns)
        w.cut_back()
        self._give_up(long)

    def _give_up(self, long: _Long) -> None:
        """The rest of a long message is not recorded; it keeps its number."""
        if not long.lost:
            long.lost = True
            if not long.number:
                self._number(long)
            self.writer.lose(1, long.length - long.offset)

    def _part_through_buffer(self, long: _Long, data: bytes) -> None:
        front = self._long_front(long, len(data))
        size = _size(front)
        entries = b"" if long.offset else long.entries
        tail = self._tail(len(data), long.number, "" if long.offset else long.comment, size)
        w = self.writer
        if not w.room(size, long.mono_ns + long.span_ns):
            self._give_up(long)
            return
        w.buffer[w.pos : w.pos + size] = b"".join((front, entries, data, tail))
        w.pos += size
        long.offset += len(data)

    def _long_front(self, long: _Long, octets: int) -> bytes:
        comment_size = 0 if long.offset else len(long.comment.encode())
        count = 0 if long.offset else long.count
        return self._front(
            long.kind, long.label, count, octets, long.length, long.offset, long.flags, long.reads, long.number,
            long.wall_ns, long.mono_ns, long.span_ns, long.fds_at, comment_size,
        )  # fmt: skip

    def _pack(
        self,
        template: _Template,
        data: bytes,
        length: int,
        wall_ns: int,
        mono_ns: int,
        span_ns: int,
        flags: int,
        fds: Sequence[int],
    ) -> None:
        """Put a record into the buffer, or count it as lost."""
        w = self.writer
        number = w.number + 1
        if not flags & ORIGINAL:
            w.number = number
        size, pack, front, middle, rest, options, tail, entries_at, comment_at, role = template
        if not w.room(size, mono_ns):
            w.lose(int(not flags & ORIGINAL), length)
            for fd in fds:
                os.close(fd)
            return
        pos = w.pos
        for _ in range(2):
            try:
                pack(
                    w.buffer, pos, front, w.high, wall_ns - w.low, middle, number, wall_ns, mono_ns, span_ns,
                    rest, data, options, number, tail,
                )  # fmt: skip
                break
            except struct_error:
                w.rebase(wall_ns)
        w.pos = pos + size
        if fds:
            w.unsettled.append((pos + entries_at, pos + comment_at, fds, role))
            w.unsettled_fds += len(fds)
            if w.unsettled_fds > _MOST_UNSETTLED:
                w.settle()

    def _keep(self, key: object, template: _Template) -> None:
        if len(self.templates) >= _MOST_TEMPLATES:
            self.templates.clear()
        self.templates[key] = template

    def _label(self, key: bytes) -> tuple[str, str]:
        """A message's name and what its descriptors are for; ``key``: what ``_key_of`` cuts out of its header."""
        rows = self.rows
        if rows is None or len(key) < self.key.stop - self.key.start:
            return "", ""
        header = rows.header
        start = self.key.start
        flags = _native(key, header.flags_at - start, 4)
        number = _native(key, header.id_at - start, 4 if header.id_type == "u32" else 2)
        reply = flags & header.reply_mask == header.reply_value
        row = rows.messages.get((1 - self.sender if reply else self.sender, number))
        if row is None:
            return f"id {number}" + (" reply" if reply else ""), ""
        if not reply:
            return row.name, row.request_fds.role
        return f"{row.name} {'ack' if row.reply is None else 'reply'}", row.reply_fds.role

    def _declared_length(self, key: bytes) -> int:
        """The length that a message's header gives it; -1 without rows, or with half a header."""
        if self.rows is None or len(key) < self.key.stop - self.key.start:
            return -1
        header = self.rows.header
        size = _native(key, header.size_at - self.key.start, 4)
        return size if header.counts_header else size + header.length

    def _template(
        self, kind: int, label: str, role: str, length: int, kept: int, reads: int, flags: int, count: int, fds_at: int
    ) -> _Template:
        words = _words(flags)
        width = min(count, _COMMENTED) * _COMMENT_WIDTH
        if words and width:
            words += "; "
        comment_size = len(words) + width
        front = self._front(kind, label, count, kept, length, 0, flags, reads, 1, 0, 0, 0, fds_at, comment_size)
        size = _size(front)
        # behind the octets: padding, comment, direction, the number's option header | number | end, length
        tail = self._tail(kept, 1, words + " " * width, size)
        options, tail = tail[: len(tail) - 16], tail[len(tail) - 8 :]
        middle, rest = front[20:_NUMBER_AT], front[_NUMBER_AT + 32 :]
        shape = f"<12sII{len(middle)}sQQQQ{len(rest)}s{count * DESCRIPTOR.size}x{kept}s{len(options)}sQ8s"
        comment_at = _HEADS + count * DESCRIPTOR.size + kept + (-kept % 4) + 4 + len(words)
        pack = Struct(shape).pack_into
        return _Template(size, pack, front[:12], middle, rest, options, tail, _HEADS, comment_at if width else 0, role)

    def _front(
        self,
        kind: int,
        label: str,
        count: int,
        octets: int,
        length: int,
        offset: int,
        flags: int,
        reads: int,
        number: int,
        wall_ns: int,
        mono_ns: int,
        span_ns: int,
        fds_at: int,
        comment_size: int,
    ) -> bytes:
        """All before the descriptor entries: block header, tags, our header."""
        inside = pcapng.TAGS.size + HEADER.size + count * DESCRIPTOR.size
        captured = inside + octets
        original = min(inside + length, 0xFFFFFFFF) if flags & SNAPPED else captured
        options = 8 + 4 + (4 + comment_size + (-comment_size % 4) if comment_size else 0) + (12 if number else 0)
        total = _PACKET.size + captured + (-octets % 4) + options + 4
        wall = max(wall_ns, 0)
        return b"".join((
            _PACKET.pack(pcapng.PACKET, total, self.interface, wall >> 32, wall & 0xFFFFFFFF, captured, original),
            pcapng.tags(self.protocol, label, self.sender, self.session, self.channel_no),
            HEADER.pack(
                MAGIC, VERSION, kind, HEADER.size, self._protocol_no, self._byte_order, self.channel, self.sender,
                flags, self.session, self.previous, self.channel_no, reads, number, wall, mono_ns, span_ns,
                length, offset, fds_at, count, DESCRIPTOR.size,
            ),
        ))  # fmt: skip

    def _tail(self, octets: int, number: int, text: str, total: int) -> bytes:
        """All behind the octets: padding, comment, direction, number (0: none), the block's length."""
        parts = [bytes(-octets % 4)]
        if text:
            parts.append(pcapng.option(pcapng.OPT_COMMENT, text.encode()))
        if self.sender != FROM_SPY:
            parts.append(pcapng.option(pcapng.EPB_FLAGS, _INBOUND if self.sender else _OUTBOUND))
        else:
            parts.append(pcapng.option(pcapng.EPB_FLAGS, bytes(4)))
        if number:
            parts.append(pcapng.option(pcapng.EPB_PACKETID, number.to_bytes(8, "little")))
        parts.append(pcapng.END_OF_OPTIONS)
        parts.append(total.to_bytes(4, "little"))
        return b"".join(parts)


class _Long:
    """A message on its way into the file in pieces: what its records have in common, and how far it is."""

    __slots__ = (
        "comment", "count", "entries", "fds_at", "flags", "kept", "kind", "label", "length", "lost", "mono_ns",
        "number", "offset", "part", "reads", "span_ns", "wall_ns",
    )  # fmt: skip

    def __init__(
        self,
        kind: int,
        label: str,
        length: int,
        wall_ns: int,
        mono_ns: int,
        span_ns: int,
        reads: int,
        flags: int,
        fds_at: int,
    ) -> None:
        self.kind = kind
        self.label = label
        self.length = length
        self.wall_ns = wall_ns
        self.mono_ns = mono_ns
        self.span_ns = span_ns
        self.reads = reads
        self.flags = flags
        self.fds_at = fds_at
        #: 0 until the last record: numbers are in the order in which messages were complete
        self.number = 0
        #: octets to keep in all, in finished records, and in the record at the file's end
        self.kept = length
        self.offset = 0
        self.part = 0
        self.entries = b""
        self.count = 0
        self.comment = ""
        self.lost = False


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


def _key_of(rows: Channel) -> slice:
    """The octets of a header that hold id, flags and size: all that messages of one template have in common."""
    header = rows.header
    return slice(
        min(header.id_at, header.flags_at, header.size_at), max(header.id_at, header.flags_at, header.size_at) + 4
    )


def _native(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(data[at : at + width], sys.byteorder)


def _u32(data: bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _size(front: bytes) -> int:
    """The length of the block that begins like this."""
    return int.from_bytes(front[4:8], "little")


def _words(flags: int) -> str:
    """What is remarkable about a message, for people."""
    words = [text for bit, text in _FLAG_WORDS if flags & bit]
    by = flags >> BY_SHIFT
    if words and 0 < by < len(BY):
        words[0] += f" ({BY[by]})"
    return ", ".join(words)


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
