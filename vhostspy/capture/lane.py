"""One direction of one channel, as the relay records it.

*A message* is one ``pack_into``: all that is the same in messages of one kind and length (block header, tags, the
first part of our header, trailing options) was made once and is kept per lane as a *template*, keyed by the header's
id, flags and size. What changes is two times, a number and the octets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container, Sequence
from struct import error as struct_error
from typing import TYPE_CHECKING, Final

from vhostspy.dissectors.registry import by_size

from . import pcapng
from .frame import Frame, block_size
from .long import LONG, Long
from .record import DROPPED, EVENT, MESSAGE, ORIGINAL, RAW, SNAPPED
from .template import Plain, Template, make, without_span

if TYPE_CHECKING:
    from vhostspy.dissectors.rows import Channel

    from .writer import Writer

#: templates a lane keeps; peers that never repeat a size must not fill the memory
_MOST_TEMPLATES: Final = 1024
_HEADS: Final = pcapng.HEADS
#: of an event's text in the comment, in octets
_MOST_TEXT: Final = 400

#: called with a message's label, number and octets, its descriptors (which are the callee's) and their kinds' numbers
Seen = Callable[[str, int, bytes, Sequence[int], bytes], None]
#: the same but for the descriptors, which are not known yet
Heeded = tuple[Seen, str, int, bytes]


class Lane:
    """One direction of one channel. The relay calls, for each message that it has passed on, one of

    - ``plain(view, wall_ns, mono_ns)``: a whole message that came in one read, without descriptors, unchanged;
    - ``several(view, cuts, wall_ns, mono_ns)``: messages like that, one behind the other; ``cuts`` are their ends;
    - ``carrying(view, wall_ns, mono_ns, fds)``: the same with descriptors, which came with its first octet's read;
    - ``message(view, wall_ns, mono_ns, span_ns, reads, flags, fds, fds_at)``: any whole message;
    - ``raw(…)``: octets that could not be framed;
    - ``begin(length, view, …)``, ``add(view, mono_ns)``, ``finish()``: a message passed on before it was there whole.

    ``heed`` has it show some of them to somebody else.

    A view is a memoryview of octets (contiguous, format "B"), copied before the call returns. Times are of the read
    that brought the first octet. ``fds`` are owned here from then on, whatever becomes of the record.
    """

    __slots__ = (
        "carried", "frame", "key", "long", "low", "rows", "sender", "templates", "variants", "writer", "_heeds",
        "_seen",
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
        self.frame = Frame(channel, sender, session, channel_no, protocol, previous, byte_order)
        self.sender = sender
        self.rows = rows
        #: the octets of a header that hold id, flags and size: all that messages of one template have in common
        self.key = slice(0, 0)
        if rows is not None:
            places = (rows.header.id_at, rows.header.flags_at, rows.header.size_at)
            self.key = slice(min(places), max(places) + 4)
        self.templates: dict[bytes, Plain] = {}
        #: the same with so many descriptors; where their comment goes, what they are for
        self.carried: dict[tuple[bytes, int], tuple[Plain, int, str, str]] = {}
        self.variants: dict[tuple[bytes, int, int, int, int, int], Template] = {}
        #: a block's time is two halves; templates hold the upper one, of which this is the time (it lasts four seconds)
        self.low = 0
        self.long: Long | None = None
        self._heeds: Container[str] = ()
        self._seen: Seen = _nobody

    def heed(self, labels: Container[str], seen: Seen) -> None:
        """Call ``seen`` for each message of these labels that went on, in order, with its descriptors: it owns them.

        It is called when their facts are taken, and without any if the message found no room in the capture. No other
        message is slower for it. To be called before any message.
        """
        self._heeds, self._seen = labels, seen

    def plain(self, view: memoryview, wall_ns: int, mono_ns: int) -> None:
        """Record a whole message that came in one read, without descriptors, and went on as it came.

        The hot path; ``benchmarks/`` measures it. Of the ways tried for 20 octets this was the fastest: one pack with
        the octets as an argument (a slice assignment costs 80 to 190 ns more), exact tuples, no test but these.
        """
        w = self.writer
        data = view.tobytes()
        try:
            size, pack, front, middle, rest, options, tail = self.templates[data[self.key]]
            pos = w.pos
            end = pos + size
            if mono_ns < w.due and end <= w.limit:
                number = w.number + 1
                pack(
                    w.buffer, pos, front, wall_ns - self.low, middle, number, wall_ns, mono_ns, rest, data, options,
                    number, tail,
                )  # fmt: skip
                w.number = number
                w.pos = end
                return
        except (KeyError, struct_error):
            # none like this came before, or the upper half of the time is another now
            pass
        self.message(view, wall_ns, mono_ns)

    def several(self, view: memoryview, cuts: Sequence[int], wall_ns: int, mono_ns: int) -> None:
        """Record messages of one read, as ``plain`` would each: half its time, since they share the look-ups."""
        w = self.writer
        buffer, templates, key = w.buffer, self.templates, self.key
        time = wall_ns - self.low
        start = 0
        for end_of_message in cuts:
            data = view[start:end_of_message].tobytes()
            try:
                size, pack, front, middle, rest, options, tail = templates[data[key]]
                pos = w.pos
                end = pos + size
                if mono_ns < w.due and end <= w.limit:
                    number = w.number + 1
                    pack(
                        buffer, pos, front, time, middle, number, wall_ns, mono_ns, rest, data, options, number, tail,
                    )  # fmt: skip
                    w.number = number
                    w.pos = end
                    start = end_of_message
                    continue
            except (KeyError, struct_error):
                pass
            self.message(view[start:end_of_message], wall_ns, mono_ns)
            time = wall_ns - self.low
            start = end_of_message

    def carrying(self, view: memoryview, wall_ns: int, mono_ns: int, fds: Sequence[int]) -> None:
        """Record a message as ``plain`` would, with descriptors."""
        w = self.writer
        data = view.tobytes()
        try:
            (size, pack, front, middle, rest, options, tail), comment_at, role, heeded = self.carried[
                data[self.key], len(fds)
            ]
            pos = w.pos
            end = pos + size
            if mono_ns < w.due and end <= w.limit:
                number = w.number + 1
                pack(
                    w.buffer, pos, front, wall_ns - self.low, middle, number, wall_ns, mono_ns, rest, data, options,
                    number, tail,
                )  # fmt: skip
                w.number = number
                w.pos = end
                mine = (self._seen, heeded, number, data) if heeded else None
                w.adopt(pos + _HEADS, pos + comment_at, fds, role, mine)
                return
        except (KeyError, struct_error):
            pass
        self.message(view, wall_ns, mono_ns, 0, 1, 0, fds)

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
        that its descriptors came with. One with ORIGINAL gets the number of the message that is recorded next.
        """
        length = len(view)
        kept = min(length, self.writer.snaplen)
        if kept > LONG:
            self.begin(length, view, wall_ns, mono_ns, span_ns, reads, flags, fds, fds_at)
            return
        if kept < length:
            flags |= SNAPPED
            data = view[:kept].tobytes()
        else:
            data = view.tobytes()
        if not 0 <= wall_ns - self.low < 1 << 32:
            self._set_half(wall_ns)
        key = view[self.key].tobytes()
        variant = (key, length, len(fds), reads, flags, fds_at)
        template = self.variants.get(variant)
        if template is None:
            label, role = self._label(key)
            heeded = label if label in self._heeds else ""
            template = make(
                self.frame, MESSAGE, label, role, length, kept, reads, flags, len(fds), fds_at, self.low, heeded
            )
            if len(self.variants) >= _MOST_TEMPLATES:
                self.variants.clear()
                self.templates.clear()
                self.carried.clear()
            self.variants[variant] = template
            if variant[3:] == (1, 0, 0) and self._declared_length(key) == length:
                if fds:
                    plain = without_span(template, length, len(fds))
                    self.carried[key, len(fds)] = plain, template.comment_at, template.role, template.heeded
                elif not template.heeded:  # those come by here each time
                    self.templates[key] = without_span(template, length)
        self._pack(template, data, length, wall_ns, mono_ns, span_ns, flags, fds)

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
        if not 0 <= wall_ns - self.low < 1 << 32:
            self._set_half(wall_ns)
        template = make(self.frame, RAW, "raw", "", length, kept, reads, flags, len(fds), fds_at, self.low, "")
        self._pack(template, view[:kept].tobytes(), length, wall_ns, mono_ns, span_ns, flags, fds)

    def event(self, label: str, text: str, data: bytes, wall_ns: int, mono_ns: int, kind: int = EVENT) -> None:
        """Record an event or sample: JSON text in ``data``, at most LONG octets; ``text`` is for people."""
        text = text.encode(errors="replace")[:_MOST_TEXT].decode(errors="ignore")
        size = len(text.encode())
        front = self.frame.front(kind, label, 0, len(data), len(data), 0, 0, 1, 0, wall_ns, mono_ns, 0, 0, size)
        if not self.writer.put((front, data, self.frame.tail(len(data), 0, text, block_size(front))), mono_ns):
            self.writer.lose(0, len(data))

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

        ``add`` brings the rest. The record is complete, and has its number, with the last octet or ``finish``.
        """
        if self.long is not None:
            self.finish()
        label, role = ("raw", "") if kind == RAW else self._label(view[self.key].tobytes())
        long = Long(self, kind, label, length, wall_ns, mono_ns, span_ns, reads, flags, fds_at)
        if fds:
            long.describe(fds, role)
        if long.begin(view):
            self.long = long

    def add(self, view: memoryview, mono_ns: int) -> None:
        """Record more octets of the message that ``begin`` began, from one read; nothing where none was."""
        if self.long is not None and not self.long.add(view, mono_ns):
            self.long = None

    def mark(self, flags: int) -> None:
        """The message that ``begin`` began has these flags as well, as far as it is not written yet."""
        if self.long is not None:
            self.long.flags |= flags

    def finish(self) -> None:
        """The stream ended, or framing did, in the message that ``begin`` began: it is marked INCOMPLETE."""
        if self.long is not None:
            self.long.finish()
            self.long = None

    # the rest

    def _pack(
        self,
        template: Template,
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
        size, pack, front, middle, rest, options, tail, comment_at, role, heeded = template
        mine = (self._seen, heeded, number, data) if heeded and not flags & (ORIGINAL | DROPPED | SNAPPED) else None
        if not w.room(size, mono_ns):
            w.lose(int(not flags & ORIGINAL), length)
            for fd in fds:
                os.close(fd)
            if mine is not None:
                w.settle()
                self._seen(heeded, number, data, (), b"")
            return
        pos = w.pos
        pack(
            w.buffer, pos, front, wall_ns - self.low, middle, number, wall_ns, mono_ns, span_ns,
            rest, data, options, number, tail,
        )  # fmt: skip
        w.pos = pos + size
        if fds:
            w.adopt(pos + _HEADS, pos + comment_at, fds, role, mine)
        elif mine is not None:
            w.settle()  # those before it first
            self._seen(heeded, number, data, (), b"")

    def _set_half(self, wall_ns: int) -> None:
        """All templates hold the upper half of the time that was."""
        self.low = wall_ns >> 32 << 32
        self.templates.clear()
        self.carried.clear()
        self.variants.clear()

    def _label(self, key: bytes) -> tuple[str, str]:
        """A message's name and what its descriptors are for; ``key``: what ``self.key`` cuts out of its header."""
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
        if row.others:
            row = by_size(row, self._declared_length(key) - header.length, reply)
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


def _nobody(label: str, number: int, data: bytes, fds: Sequence[int], kinds: bytes) -> None:
    """Where nobody looks, nothing is heeded."""


def _native(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(data[at : at + width], sys.byteorder)
