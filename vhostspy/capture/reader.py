"""Read a capture: blocks in, records out, the parts of long messages joined.

A block is looked at by ``_block``, whatever a pcapng file may hold, after editcap, mergecap or ``tshark -w`` too: other
blocks and options, either byte order, other interface numbers, tags in another order. But most records of our own files
begin with the very octets of one before, times and number apart. Those octets have been checked; they are looked up,
and the record is one ``unpack_from``, one comparison and one tuple.

Nothing in a file is believed before it was checked, and no size in it makes us take memory: what is read at once is a
window of 1 MiB, what is kept are octets that are really there. The file is read, not mapped: the writer may cut it off.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from struct import Struct
from types import TracebackType
from typing import Final, Self

from . import pcapng
from .record import (
    CHANNELS,
    DESCRIPTOR,
    FROM_SPY,
    HEADER,
    INCOMPLETE,
    MAGIC,
    MAX_PACKET,
    NOTE,
    PROTOCOLS,
    SNAPPED,
    VERSION,
    Descriptor,
    Record,
    unpack_descriptor,
)

#: the longest block that can be one: more is damage
_MOST_BLOCK: Final = 1 << 28
#: room for options behind a packet
_MOST_OPTIONS: Final = 1 << 17
_HEADS: Final = pcapng.PACKET_HEADER.size + pcapng.TAGS.size + HEADER.size
#: a record of ours: block type, length, interface | (time) | packet lengths, tags, header's beginning | number, time,
#: monotonic time, span | header's end. First, second and last are the same in many records.
_SHAPE: Final = Struct("<12s8x160sQQQQ24s")
_shape = _SHAPE.unpack_from
#: first and last octets of such a record, the block's length as number and octets, where in it the message's octets
#: begin and end; then what goes into Record
_Known = tuple[bytes, bytes, int, bytes, int, int, int, int, int, str, str, int, int, int, int, str, int, int]
#: how many of them are kept
_MOST_KNOWN: Final = 4096
_new = tuple.__new__
_NEWEST_KIND: Final = NOTE
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


class CaptureError(Exception):
    """A file that is no capture, or is damaged; the records before the damage have been given.

    where: file offset in octets. what: the sentence without the place. expected: what should have been there, or "".
    """

    def __init__(self, where: int, what: str, expected: str = "") -> None:
        self.where = where
        self.what = what
        self.expected = expected
        text = f"octet {where}: {what}" if where else what
        super().__init__(text + (f" (expected: {expected})" if expected else ""))


class Reader:
    """An open capture; iterating gives its records in the order in which they were complete.

    source: a path, a descriptor (it stays the caller's), or octets. With ``follow`` the iteration ends where the file
    ends for now, and a new iteration goes on from there; set ``follow`` to False once the file is complete, and iterate
    once more. ``offset`` is the file offset up to which all has been read (in steps of up to 1 MiB), ``note`` a
    sentence if the file stops within a record, else "".

    Raises OSError if the file cannot be opened or read, CaptureError while iterating.
    """

    #: octets read at once; a packet block always fits
    window = 1 << 20

    def __init__(self, source: str | os.PathLike[str] | int | bytes | bytearray | memoryview, *, follow: bool = False):
        self.follow = follow
        self.note = ""
        self.offset = 0
        #: packets of other programs, and ours that were cut shorter than our header
        self.skipped = 0
        #: octets of the file, and where in them ``offset`` is
        self._window = b""
        self._at = 0
        self._fd = -1
        self._owned = False
        self._octets: memoryview | None = None
        self._stream = False
        if isinstance(source, bytes | bytearray | memoryview):
            self._octets = memoryview(source).cast("B")
        else:
            self._open(source)
        self._begun = False
        self._order = "<"
        #: of the section's interfaces: whether their packets are exported PDUs
        self._interfaces: list[bool] = []
        #: of this section: how records begin that were looked at, and what that says
        self._known: dict[bytes, _Known] = {}
        self._joining: dict[tuple[int | str, ...], Joining] = {}
        #: of each record that the last block, or the end, gave: the blocks that it was in
        self._places: list[tuple[int, ...]] = []
        self._highest = 0
        self._own = False

    def _open(self, source: str | os.PathLike[str] | int) -> None:
        if isinstance(source, int):
            self._fd = source
        else:
            self._fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            self._owned = True
        mode = os.fstat(self._fd).st_mode
        if stat.S_ISDIR(mode):
            self.close()
            raise CaptureError(0, "a directory, not a capture")
        self._stream = not stat.S_ISREG(mode)
        if not self._stream and not self._owned:
            self.offset = os.lseek(self._fd, 0, os.SEEK_CUR)

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._owned:
            self._owned = False
            os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Record]:
        if not self._begun and not self._begin():
            return
        while self._have(12):
            window, at, known = self._window, self._at, self._known
            size = len(window)
            last = size - _SHAPE.size
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
                    fds = () if first == _HEADS else _descriptors(window, at + _HEADS, at + first)
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
            found = self._block()
            if found is None:
                return
            yield from found
        self._end()
        yield from self._unfinished()

    # where octets come from

    def _have(self, size: int) -> bool:
        """Make the window hold ``size`` octets from ``_at`` on, which is ``offset``; False: the file does not."""
        if len(self._window) - self._at >= size:
            return True
        if self._octets is not None:
            self._window = bytes(self._octets[self.offset : self.offset + max(size, self.window)])
        elif self._stream:
            parts = [self._window[self._at :]]
            got = len(parts[0])
            while got < size:
                try:
                    part = os.read(self._fd, self.window)
                except BlockingIOError:
                    break
                if not part:
                    break
                parts.append(part)
                got += len(part)
            self._window = b"".join(parts)
        else:
            self._window = os.pread(self._fd, max(size, self.window), self.offset)
        self._at = 0
        return len(self._window) >= size

    def _skip(self, size: int) -> None:
        """Go on behind ``size`` octets, which need not be in the window."""
        self.offset += size
        self._at += size
        if self._at > len(self._window):
            self._window, self._at = b"", 0

    def _short(self, what: str) -> None:
        """The file ends in the middle of something: more may come, or a note is due."""
        if self.follow:
            if not self._stream:
                # what is there now may be half of what will be there
                self._window, self._at = b"", 0
        else:
            self.note = f"the capture stops {what} (octet {self.offset}); all before it was read"

    # blocks

    def _begin(self) -> bool:
        """Look at the first octets. False: not there yet."""
        if not self._have(12):
            if self.follow:
                return False
            if not self._window[self._at :]:
                raise CaptureError(0, "an empty file, not a capture")
        start = self._window[self._at : self._at + 12]
        if start[:4] != b"\n\r\r\n":
            for magic, what in _OTHER_FILES:
                if start.startswith(magic):
                    raise CaptureError(0, what)
            raise CaptureError(0, "not a capture", "a pcapng file, which begins with 0a 0d 0d 0a")
        if len(start) < 12:
            raise CaptureError(0, f"the file ends after {len(start)} octets, within its section header")
        self._begun = True
        return True

    def _block(self) -> list[Record] | None:
        """Read the block at ``offset``, and go on behind it; None: it is not all there."""
        where = self.offset
        window, at = self._window, self._at
        if window[at : at + 4] == b"\n\r\r\n":
            magic = window[at + 8 : at + 12]
            if magic not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
                raise CaptureError(where, f"a section header with byte order {magic.hex(' ')}", "4d 3c 2b 1a")
            self._order = "<" if magic[0] == 0x4D else ">"
            self._interfaces = []
            self._known.clear()
        kind, total = struct.unpack_from(self._order + "II", window, at)
        if kind == 0:
            self._short("in a record that was being written")
            return None
        if total < 12 or total & 3 or total > _MOST_BLOCK:
            raise CaptureError(where, f"a block of {total} octets", "a multiple of 4, 12 at least")
        if kind == _PACKET and self._have(28):
            captured = struct.unpack_from(self._order + "I", self._window, self._at + 20)[0]
            if captured > MAX_PACKET:
                raise CaptureError(where, f"a packet of {captured} octets", f"{MAX_PACKET} at most")
            if not captured + 32 <= total <= captured + 35 + _MOST_OPTIONS:
                raise CaptureError(where, f"a block of {total} octets with a packet of {captured}")
        if kind not in (_PACKET, pcapng.SECTION, pcapng.INTERFACE):
            return [] if self._pass_over(total) else None
        if total > 2 * MAX_PACKET:
            raise CaptureError(where, f"a block of {total} octets and type {kind}", f"{2 * MAX_PACKET} at most")
        if not self._have(total):
            self._short("in the middle of a record")
            return None
        block = self._window[self._at : self._at + total]
        self._check_end(block[-4:], total, where)
        self._skip(total)
        body = block[8:-4]
        if kind == _PACKET:
            return self._packet(block, where)
        if kind == pcapng.INTERFACE:
            if len(body) < 8:
                raise CaptureError(where, "an interface description without its members")
            link = struct.unpack_from(self._order + "H", body)[0]
            self._interfaces.append(link == pcapng.LINK_TYPE)
        elif len(body) < 16:
            raise CaptureError(where, "a section header without its members")
        elif (major := struct.unpack_from(self._order + "H", body, 4)[0]) != 1:
            raise CaptureError(where, f"pcapng version {major}", "version 1")
        return []

    def _pass_over(self, total: int) -> bool:
        """Go on behind a block that is none of ours, without reading it; False: it is not all there."""
        where = self.offset
        if self._octets is not None:
            end = bytes(self._octets[where + total - 4 : where + total])
        elif self._stream:
            end = self._window[self._at + total - 4 : self._at + total] if self._have(total) else b""
        else:
            end = os.pread(self._fd, 4, where + total - 4)
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

    def _packet(self, block: bytes, where: int) -> list[Record]:
        """What an enhanced packet block of any shape completes."""
        found = self._parse(block, where)
        self._places = []
        return [] if found is None else self._join(*found, where)

    def _parse(self, block: bytes, where: int) -> tuple[Record, int] | None:
        """The record in an enhanced packet block, and at which octet of its message it begins; None: it has none."""
        interface, _, _, captured, original = struct.unpack_from(self._order + "IIIII", block, 8)
        if interface >= len(self._interfaces):
            raise CaptureError(where, f"a packet of interface {interface}", f"one of {len(self._interfaces)}")
        packet = block[28 : 28 + captured]
        header_at = _behind_tags(packet) if self._interfaces[interface] else None
        if header_at is None or packet[header_at : header_at + 4] != MAGIC:
            self.skipped += 1
            return None
        cut = original > captured
        if len(packet) < header_at + HEADER.size:
            if cut:
                self.skipped += 1
                return None
            raise CaptureError(where, f"a record of {len(packet) - header_at} octets", f"{HEADER.size} at least")
        (
            _, version, kind, header, protocol, order, channel, sender, flags, session, previous, channel_no, reads,
            number, wall, mono, span, length, offset, fds_at, count, entry,
        ) = HEADER.unpack_from(packet, header_at)  # fmt: skip
        if version > VERSION:
            what = f"written by a newer vhostspy (records of version {version})"
            raise CaptureError(where, what, f"version {VERSION} at most")
        if header < HEADER.size or (count and entry < DESCRIPTOR.size):
            raise CaptureError(where, f"a record whose header is {header} octets, a descriptor {entry}")
        self._own = True
        if not 0 < kind <= _NEWEST_KIND:
            return None
        octets_at = header_at + header + count * entry
        if sender > FROM_SPY:
            raise CaptureError(where, f"a record of sender {sender}", f"{FROM_SPY} at most")
        if octets_at > len(packet) and not cut:
            raise CaptureError(where, f"a record of {len(packet)} octets", f"{octets_at} at least")
        fds = _descriptors(packet, header_at + header, min(octets_at, len(packet)), entry)
        data = packet[octets_at:]
        if len(data) + offset > length:
            raise CaptureError(where, f"octets {offset} to {offset + len(data)} of a message that has {length}")
        if cut:
            flags |= SNAPPED
        record = Record(
            kind, number, wall, mono, span, session, previous,
            PROTOCOLS[protocol] if protocol < len(PROTOCOLS) else "",
            CHANNELS[channel] if channel < len(CHANNELS) else "",
            channel_no, sender, flags, reads, ">" if order else "<", length, data, fds_at, fds,
        )  # fmt: skip
        ours = self._order == "<" and header_at == pcapng.TAGS.size and header == HEADER.size
        ours = ours and (not count or entry == DESCRIPTOR.size)
        if ours and not (cut or offset or flags & INCOMPLETE) and len(data) == length:
            self._know(block, record)
        return record, offset

    def _same(self) -> Record | None:
        """The record at ``_at``, if it begins as one before; the block must be in the window."""
        window, at = self._window, self._at
        if len(window) - at < _SHAPE.size:
            return None
        head, middle, number, wall, mono, span, rest = _shape(window, at)
        like = self._known.get(middle)
        if like is None:
            return None
        (
            same_head, same_rest, total, again, first, behind, kind, session, previous, protocol, channel, channel_no,
            sender, flags, reads, order, length, fds_at,
        ) = like  # fmt: skip
        if head != same_head or rest != same_rest or window[at + total - 4 : at + total] != again:
            return None
        octets = window[at + first : at + behind]
        fds = _descriptors(window, at + _HEADS, at + first)
        return Record(
            kind, number, wall, mono, span, session, previous, protocol, channel, channel_no, sender, flags, reads,
            order, length, octets, fds_at, fds,
        )  # fmt: skip

    def _know(self, block: bytes, record: Record) -> None:
        """What this record begins with need not be looked at again: it is a whole message of our shape."""
        head, middle, _, _, _, _, rest = _shape(block)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        first = _HEADS + len(record.fds) * DESCRIPTOR.size
        self._known[middle] = (
            head, rest, len(block), block[-4:], first, first + record.length, record.kind, record.session,
            record.previous, record.protocol, record.channel, record.channel_no, record.sender, record.flags,
            record.reads, record.byte_order, record.length, record.fds_at,
        )  # fmt: skip

    # parts

    def _join(self, part: Record, offset: int, where: int) -> list[Record]:
        """What this part completes: at most an older message that will never be, and the message itself."""
        whole = offset + len(part.data) >= part.length or part.flags & (SNAPPED | INCOMPLETE) != 0
        if whole and not offset:
            self._highest = max(self._highest, part.number)
            self._places.append((where,))
            return [part]
        lane = (part.session, part.channel_no, part.protocol, part.channel, part.sender, part.kind)
        found: list[Record] = []
        joining = self._joining.pop(lane, None)
        if joining is not None and not joining.goes_on(part, offset):
            found.append(joining.record(number=0, flags=INCOMPLETE))
            self._places.append(tuple(joining.places))
            joining = None
        if joining is not None:
            joining.add(part, where)
            if not whole:
                self._joining[lane] = joining
                return found
            joined = joining.record(part.number, 0)
            self._places.append(tuple(joining.places))
        elif not offset:
            self._joining[lane] = Joining(part, where)
            return found
        else:
            # its first parts are not in this file, or not before this one
            joined = part._replace(flags=part.flags | INCOMPLETE)
            self._places.append((where,))
        self._highest = max(self._highest, joined.number)
        found.append(joined)
        return found

    def _unfinished(self) -> Iterator[Record]:
        """Messages whose end is not in the file."""
        if self.follow:
            return
        joining, self._joining = self._joining, {}
        self._places = [tuple(one.places) for one in joining.values()]
        for one in joining.values():
            self._highest += 1
            yield one.record(self._highest, INCOMPLETE)

    def _end(self) -> None:
        if self.follow:
            return
        if self._window[self._at :] and not self.note:
            self._short("in the middle of a record")
        if self.skipped and not self._own:
            raise CaptureError(0, f"none of its {self.skipped} packets are vhostspy's")


class Joining:
    """A long message, as far as it has been read; ``places`` are the file offsets of its parts' blocks."""

    def __init__(self, first: Record, place: int) -> None:
        self.places = [place]
        self.first = first
        self.last = first
        self.parts = [first.data]
        self.octets = len(first.data)

    def goes_on(self, part: Record, offset: int) -> bool:
        """Whether ``part`` is the next of this message: one lane has one at a time, so times tell them apart."""
        first = self.first
        return (
            offset == self.octets
            and part.time_ns == first.time_ns
            and part.monotonic_ns == first.monotonic_ns
            and part.length == first.length
        )

    def add(self, part: Record, place: int) -> None:
        self.places.append(place)
        self.last = part
        self.parts.append(part.data)
        self.octets += len(part.data)

    def record(self, number: int, flags: int) -> Record:
        """All parts as one: descriptors from the first, what is known only later from the last."""
        last = self.last
        return self.first._replace(
            number=number,
            flags=self.first.flags | last.flags | flags,
            span_ns=last.span_ns,
            reads=last.reads,
            data=b"".join(self.parts),
        )


def _descriptors(octets: bytes, start: int, end: int, entry: int = DESCRIPTOR.size) -> tuple[Descriptor, ...]:
    """The entries that lie whole between two offsets; ``entry``: the octets of each."""
    if start == end:
        return ()
    return tuple([unpack_descriptor(octets[at : at + entry]) for at in range(start, end - entry + 1, entry)])


def _behind_tags(packet: bytes) -> int | None:
    """Where an exported PDU's data begins if it is ours; None: it is not."""
    at = 0
    ours = False
    while at + 4 <= len(packet):
        tag, size = struct.unpack_from(">HH", packet, at)
        at += 4 + size
        if tag == pcapng.TAG_END:
            return at if ours else None
        if tag == pcapng.TAG_DISSECTOR:
            ours = packet[at - size : at].rstrip(b"\0") == pcapng.DISSECTOR
    return None
