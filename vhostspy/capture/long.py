"""A long message on its way into the file.

Its octets go around the writer's buffer: they are appended to the file where they will stay, as the data of a record
that is still open; the block header before them is filled in when the record ends, its type last of all. Whatever else
is to be written meanwhile ends that record, and the message goes on in another one. So nothing is reserved for what may
never come, two long messages do not wait for each other, and the file is whole at every moment but for its very end,
where a reader takes block type 0 as the end so far.

Into a pipe, and with a small snap length, the parts go through the buffer like other records.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from . import pcapng
from .frame import block_size
from .record import HEADER, INCOMPLETE, MAX_PACKET, ORIGINAL, SNAPPED, flag_words

if TYPE_CHECKING:
    from .lane import Lane

#: messages over this length do not go through the buffer
LONG: Final = 16 * 1024
#: octets of a message, and its descriptor entries, in one record
_MOST_OCTETS: Final = MAX_PACKET - pcapng.TAGS.size - HEADER.size


class Long:
    """What the records of one message have in common, and how far it is. A lane has one at a time."""

    __slots__ = (
        "comment", "count", "entries", "fds_at", "flags", "kept", "kind", "label", "lane", "length", "lost", "mono_ns",
        "number", "offset", "part", "place", "reads", "space", "span_ns", "wall_ns",
    )  # fmt: skip

    def __init__(
        self,
        lane: Lane,
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
        self.lane = lane
        self.kind = kind
        self.label = label
        self.length = length
        self.wall_ns = wall_ns
        self.mono_ns = mono_ns
        self.span_ns = span_ns
        self.reads = reads
        self.flags = flags
        self.fds_at = fds_at
        #: 0 until the last record: messages are numbered in the order in which they were complete
        self.number = 0
        #: octets to keep in all; those in ended records; those in the record at the file's end
        self.kept = min(length, lane.writer.snaplen)
        self.offset = 0
        self.part = 0
        #: while its record is open: where in the file the next octets go, and how many may come before it ends
        self.place = self.space = 0
        self.entries = b""
        self.count = 0
        self.comment = ""
        #: a record failed: the rest is not recorded
        self.lost = False

    def describe(self, fds: Sequence[int], role: str) -> None:
        """Take the facts of its descriptors, which are closed."""
        facts = self.lane.writer.facts
        self.entries, comment = facts.take(fds, role)
        facts.rest()
        self.count = len(fds)
        self.comment = comment.decode()

    def begin(self, view: memoryview) -> bool:
        """Write the first octets; False: they were all."""
        w = self.lane.writer
        if w.seekable and self.kept > LONG and not w.flush(self._now()):
            self._give_up()
        if not self.kept:
            if self.length:
                self.flags |= SNAPPED
            self._take_number()
            self._through_buffer(b"")
            return False
        return self._add(view)

    def add(self, view: memoryview, mono_ns: int) -> bool:
        """Write more octets, from one more read; False: they were the last."""
        self.reads += 1
        self.span_ns = max(mono_ns - self.mono_ns, 0)
        size = len(view)
        w = self.lane.writer
        if w.part is not self or size >= self.space:
            return self._add(view)
        # nearly all of them: behind the last ones, and the record stays open
        try:
            if os.pwrite(w.fd, view, self.place) < size:
                w.write_at((view,), self.place)
        except OSError as failure:
            self._failed(failure)
            return True
        self.place += size
        self.space -= size
        self.part += size
        return True

    def finish(self) -> None:
        """No more octets will come."""
        w = self.lane.writer
        if w.part is self and w.pos:
            self.close_part()
        if self.lost:
            return
        self.flags |= INCOMPLETE
        self._take_number()
        if w.part is self:
            self.close_part()
        else:
            self._through_buffer(b"")

    def close_part(self, last: bytes | memoryview = b"") -> None:
        """End the record at the file's end, with these octets: what is recorded next lies behind it."""
        w = self.lane.writer
        w.part = None
        before = self.part
        self.part += len(last)
        front, entries, tail = self._frame(self.part)
        try:
            w.write_at((last, tail), w.at + pcapng.HEADS + len(entries) + before)
            w.write_at((front[4:], entries), w.at + 4)
            w.write_at((front[:4],), w.at)
        except OSError as failure:
            self._failed(failure)
            return
        w.at += len(front) + len(entries) + self.part + len(tail)
        self.offset += self.part
        self.part = 0
        w.recovered(self._now())

    def _add(self, view: memoryview) -> bool:
        w = self.lane.writer
        direct = w.seekable and self.kept > LONG
        left = self.kept - self.offset - self.part
        if len(view) > left:
            view = view[:left]
        while len(view) and not self.lost:
            most = (_MOST_OCTETS if direct else LONG) - (0 if self.offset else len(self.entries)) - self.part
            piece = view if len(view) <= most else view[:most]
            view = view[len(piece) :]
            left -= len(piece)
            if not left:
                # what waits in the buffer has lower numbers: it must lie before this
                if direct and w.pos and not w.flush(self._now()):
                    self._give_up()
                    break
                if self.kept < self.length:
                    self.flags |= SNAPPED
                self._take_number()
            if not direct:
                self._through_buffer(piece.tobytes())
            else:
                try:
                    self._to_file(piece, not left or len(piece) == most)
                except OSError as failure:
                    self._failed(failure)
        return left > 0

    def _to_file(self, piece: memoryview, ends: bool) -> None:
        """Append octets to the file; ``ends``: with them the record is complete."""
        w = self.lane.writer
        if w.part is not self:
            if w.part is not None:
                w.part.close_part()
            if w.at + _MOST_OCTETS - w.read_to > w.bounded:
                w.too_slow(self._now())
                self._give_up()
                return
        if ends and self.part:
            self.close_part(piece)
        elif ends:
            front, entries, tail = self._frame(len(piece))
            w.write_at((front, entries, piece, tail), w.at)
            w.at += len(front) + len(entries) + len(piece) + len(tail)
            self.offset += len(piece)
            w.recovered(self._now())
        else:
            if w.part is None:
                w.open_part(self, self._now())
                before = 0 if self.offset else len(self.entries)
                self.place = w.at + pcapng.HEADS + before
                self.space = min(_MOST_OCTETS - before, self.kept - self.offset)
            w.write_at((piece,), self.place)
            self.place += len(piece)
            self.space -= len(piece)
            self.part += len(piece)

    def _through_buffer(self, data: bytes) -> None:
        front, entries, tail = self._frame(len(data))
        if self.lane.writer.put((front, entries, data, tail), self._now()):
            self.offset += len(data)
        else:
            self._give_up()

    def _frame(self, octets: int) -> tuple[bytes, bytes, bytes]:
        """All of a record but the message's octets: what is before them, descriptor entries, what is behind."""
        text, count, entries = flag_words(self.flags) if self.flags else "", 0, b""
        if not self.offset:
            count, entries = self.count, self.entries
            if self.comment:
                text = f"{text}; {self.comment}" if text else self.comment
        lane = self.lane
        front = lane.frame.front(
            self.kind, self.label, count, octets, self.length, self.offset, self.flags, self.reads, self.number,
            self.wall_ns, self.mono_ns, self.span_ns, self.fds_at, len(text.encode()),
        )  # fmt: skip
        return front, entries, lane.frame.tail(octets, self.number, text, block_size(front))

    def _now(self) -> int:
        return self.mono_ns + self.span_ns

    def _take_number(self) -> None:
        w = self.lane.writer
        self.number = w.number + 1
        if not self.flags & ORIGINAL:
            w.number = self.number

    def _failed(self, failure: OSError) -> None:
        w = self.lane.writer
        w.part = None
        w.failed(failure, self._now())
        w.cut_back()
        self._give_up()

    def _give_up(self) -> None:
        """The rest is not recorded. What is lost keeps its number, so that one sees that it was there."""
        if not self.lost:
            self.lost = True
            if not self.number:
                self._take_number()
            self.lane.writer.lose(int(not self.flags & ORIGINAL), self.length - self.offset)
