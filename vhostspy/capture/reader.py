"""Read a capture: octets (``window``), blocks (``blocks``), records (``packet``), the parts of long messages joined
(``joining``).

That takes whatever a pcapng file may hold, after editcap, mergecap or ``tshark -w`` too. Most records of our own files
go by it, since they begin as one before did (``familiar``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from . import familiar, packet, pcapng
from .blocks import Blocks
from .joining import Joiner, Placed
from .packet import descriptors
from .record import Record
from .window import CaptureError

__all__ = ["CaptureError", "Reader"]

# names of the module's own, for the loop
_HEADS: Final = pcapng.HEADS
_SIZE: Final = familiar.SHAPE.size
_shape = familiar.SHAPE.unpack_from
_new = tuple.__new__


class Reader(Blocks):
    """An open capture; iterating gives its records in the order in which they were complete.

    source: a path, a descriptor (it stays the caller's), or octets. With ``follow`` the iteration ends where the file
    ends for now, and a new iteration goes on from there; set ``follow`` to False once the file is complete, and iterate
    once more. ``offset`` is the file offset up to which all has been read (in steps of up to 1 MiB), ``note`` a
    sentence if the file stops within a record, else "".

    Raises OSError if the file cannot be opened or read, CaptureError while iterating.
    """

    def __init__(self, source: str | os.PathLike[str] | int | bytes | bytearray | memoryview, *, follow: bool = False):
        super().__init__(source, follow=follow)
        #: packets of other programs, and ours that were cut shorter than our header
        self.skipped = 0
        self._own = False
        #: of this section: how records begin that were looked at, and what that says
        self._familiar: familiar.Familiar = {}
        self._joiner = Joiner()
        self._highest = 0

    def __iter__(self) -> Iterator[Record]:
        if not self._begun and not self._begin():
            return
        while self._have(12):
            window, at, known = self._window, self._at, self._familiar
            size = len(window)
            last = size - _SIZE
            try:
                while at <= last:
                    head, middle, number, wall, mono, span, rest = _shape(window, at)
                    like = known.get(middle)
                    if like is None:
                        break
                    (
                        same_head, same_rest, total, again, first, behind, kind, session, previous, protocol, channel,
                        channel_no, sender, flags, reads, order, length, fds_at,
                    ) = like  # fmt: skip
                    end = at + total
                    if head != same_head or rest != same_rest or window[end - 4 : end] != again:
                        break
                    octets = window[at + first : at + behind]
                    fds = () if first == _HEADS else descriptors(window, at + _HEADS, at + first)
                    at = end
                    yield _new(
                        Record,
                        (
                            kind, number, wall, mono, span, session, previous, protocol, channel, channel_no, sender,
                            flags, reads, order, length, octets, fds_at, fds,
                        ),
                    )  # fmt: skip
                    if number > self._highest:
                        self._highest = number
            finally:
                self.offset += at - self._at
                self._at = at
            if not self._have(12):
                break
            where = self.offset
            block = self._block()
            if block is None:
                return
            if block:
                for record, _ in self._packet(block, where):
                    yield record
        self._end()
        for record, _ in self._unfinished():
            yield record

    def _begin_section(self, magic: bytes) -> None:
        super()._begin_section(magic)
        self._familiar.clear()

    def _packet(self, block: bytes, where: int) -> list[Placed]:
        """What a packet block completes."""
        found = packet.read(block, where, self._order, self._interfaces)
        if found is None:
            self.skipped += 1
            return []
        self._own = True
        record, offset, usual = found
        if record is None:
            return []
        self._keep(block, record, offset, usual)
        complete = self._joiner.add(record, offset, where)
        for each, _ in complete:
            self._highest = max(self._highest, each.number)
        return complete

    def _keep(self, block: bytes, record: Record, offset: int, usual: bool) -> None:
        """The next that begins like this block need not be looked at again."""
        if usual:
            familiar.keep(self._familiar, block, record)

    def _unfinished(self) -> Iterator[Placed]:
        """Messages whose end is not in the file, once that is known."""
        if not self.follow:
            yield from self._joiner.unfinished(self._highest)

    def _end(self) -> None:
        """There are no more blocks for now."""
        if self.follow:
            return
        if self._window[self._at :] and not self.note:
            self._short("in the middle of a record")
        if self.skipped and not self._own:
            raise CaptureError(0, f"none of its {self.skipped} packets are vhostspy's")
