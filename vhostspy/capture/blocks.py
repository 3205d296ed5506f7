"""A file as pcapng blocks: sections, interfaces and packets, whichever program wrote them, in either byte order.

Nothing in a file is believed before it was checked. Blocks that are none of ours are passed over unread.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from . import pcapng
from .record import MAX_PACKET
from .window import CaptureError, Window

#: room for options behind a packet
_MOST_OPTIONS: Final = 1 << 17
_PACKET: Final = pcapng.PACKET

_OTHER_FILES: Final = (
    (b"\xd4\xc3\xb2\xa1", "a classic pcap file; editcap -F pcapng makes a capture of it"),
    (b"\xa1\xb2\xc3\xd4", "a classic pcap file; editcap -F pcapng makes a capture of it"),
    (b"\x4d\x3c\xb2\xa1", "a classic pcap file; editcap -F pcapng makes a capture of it"),
    (b"\xa1\xb2\x3c\x4d", "a classic pcap file; editcap -F pcapng makes a capture of it"),
    (b"\x1f\x8b", "compressed; gunzip it first"),
    (b"\x28\xb5\x2f\xfd", "compressed; unzstd it first"),
    (b"\x04\x22\x4d\x18", "compressed; unlz4 it first"),
)


class Blocks(Window):
    """A window that moves block by block. Raises CaptureError for a file that is no pcapng, or is damaged."""

    def __init__(self, source: str | os.PathLike[str] | int | bytes | bytearray | memoryview, *, follow: bool) -> None:
        super().__init__(source, follow=follow)
        self._begun = False
        self._order = "<"
        #: of the section's interfaces: whether their packets are exported PDUs
        self._interfaces: list[bool] = []

    def _begin(self) -> bool:
        """Look at the first octets. False: not there yet."""
        if not self._have(12):
            if self.follow:
                return False
            if not self._window[self._at :]:
                raise CaptureError(0, "an empty file, not a capture")
        start = self._window[self._at : self._at + 12]
        if start[:4] != pcapng.BEGINS:
            for magic, what in _OTHER_FILES:
                if start.startswith(magic):
                    raise CaptureError(0, what)
            raise CaptureError(0, "not a capture", "a pcapng file, which begins with 0a 0d 0d 0a")
        if len(start) < 12:
            raise CaptureError(0, f"the file ends after {len(start)} octets, within its section header")
        self._begun = True
        return True

    def _block(self) -> bytes | None:
        """The block at ``offset`` if it is a packet, b"" if it is another; None: it is not all there, and comes again.

        Its first twelve octets must be in the window.
        """
        where = self.offset
        window, at = self._window, self._at
        if window[at : at + 4] == pcapng.BEGINS:
            self._begin_section(window[at + 8 : at + 12])
        kind, total = struct.unpack_from(self._order + "II", window, at)
        if kind == 0:
            self._short("in a record that was being written")
            return None
        if total < 12 or total & 3 or total > pcapng.MOST_BLOCK:
            raise CaptureError(where, f"a block of {total} octets", "a multiple of 4, 12 at least")
        if kind == _PACKET and self._have(28):
            captured = struct.unpack_from(self._order + "I", self._window, self._at + 20)[0]
            if captured > MAX_PACKET:
                raise CaptureError(where, f"a packet of {captured} octets", f"{MAX_PACKET} at most")
            if not captured + 32 <= total <= captured + 35 + _MOST_OPTIONS:
                raise CaptureError(where, f"a block of {total} octets with a packet of {captured}")
        if kind not in (_PACKET, pcapng.SECTION, pcapng.INTERFACE):
            return b"" if self._pass_over(total) else None
        if total > 2 * MAX_PACKET:
            raise CaptureError(where, f"a block of {total} octets and type {kind}", f"{2 * MAX_PACKET} at most")
        if not self._have(total):
            self._short("in the middle of a record")
            return None
        block = self._window[self._at : self._at + total]
        self._check_end(block[-4:], total, where)
        self._skip(total)
        if kind == _PACKET:
            return block
        body = block[8:-4]
        if kind == pcapng.INTERFACE:
            if len(body) < 8:
                raise CaptureError(where, "an interface description without its members")
            link = struct.unpack_from(self._order + "H", body)[0]
            self._interfaces.append(link == pcapng.LINK_TYPE)
        elif len(body) < 16:
            raise CaptureError(where, "a section header without its members")
        elif (major := struct.unpack_from(self._order + "H", body, 4)[0]) != 1:
            raise CaptureError(where, f"pcapng version {major}", "version 1")
        return b""

    def _begin_section(self, magic: bytes) -> None:
        """A section begins at ``offset``; ``magic`` says in which byte order. What was before says nothing of it."""
        if magic not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
            raise CaptureError(self.offset, f"a section header with byte order {magic.hex(' ')}", "4d 3c 2b 1a")
        self._order = "<" if magic[0] == 0x4D else ">"
        self._interfaces = []

    def _pass_over(self, total: int) -> bool:
        """Go on behind a block that is none of ours, without reading it; False: it is not all there."""
        where = self.offset
        end = self._peek(total - 4, 4)
        if len(end) < 4:
            self._short("in the middle of a record")
            return False
        self._check_end(end, total, where)
        self._skip(total)
        return True

    def _check_end(self, end: bytes, total: int, where: int) -> None:
        again = struct.unpack(self._order + "I", end)[0]
        if again != total:
            raise CaptureError(where, f"a block that says {total} octets at its start and {again} at its end")
