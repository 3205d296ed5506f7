"""A capture's blocks into columns, without making records of them: about a microsecond each.

As for the reader, most records begin with the very octets of one before, times and number apart; here descriptors do
not matter either. Whatever is new is read as the reader reads it, once.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from vhostspy.capture import familiar, packet, pcapng
from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import DESCRIPTOR, HEADER, INCOMPLETE, MESSAGE, ORIGINAL, Record
from vhostspy.dissectors import registry

from .columns import EVENTS, ROWS, Columns

_HEADS: Final = pcapng.HEADS
#: from the end of the block before on: that one's length | block type, length, interface | (time) | packet lengths,
#: tags, header up to the number | number, (wall clock), monotonic time's low and high half, (span) | header's end and
#: twelve octets more
_SHAPE: Final = Struct("<I12s8x160sQ8xII8x36s")
_shape = _SHAPE.unpack_from
#: octets of the header's end; of a message's header where twelve are all of it
_REST: Final = 24
_SHORT: Final = 12
#: in the 160 octets: the numbers of session and channel as tags have them, session and previous session in our header
_SESSION: Final = 144
_SHARED: Final = (slice(0, 48), slice(52, 56), slice(60, _SESSION), slice(_SESSION + 8, 160))
#: octets of a usual record
_USUAL: Final = 320
_MOST_FORMS: Final = 1 << 14
_MOST_SHAPES: Final = 4096
_MOST_NUMBER: Final = 0xFFFFFFFF
_U32: Final = Struct("<I")


class _Form(NamedTuple):
    """How records of one sort and length begin and end, and what that says."""

    head: bytes
    total: int
    #: where the message's header is from the block's first octet on, without what changes from one message to the
    #: next; None: the twelve octets behind ours
    header: tuple[int, int] | None
    #: our header's end and the message's header -> the shape's number; -1: no row
    shapes: dict[bytes, int]
    session: int
    event: bool


class Scanner(Reader):
    """Reads a capture from its start into ``columns``; ``source`` is a path, a descriptor (its position does not
    matter), or octets. Raises what a reader raises.
    """

    def __init__(self, source: str | int | bytes, columns: Columns, *, follow: bool = False) -> None:
        super().__init__(source, follow=follow)
        self.offset = 0
        self.columns = columns
        #: where sections begin, with their byte order and their interfaces
        self.sections: list[tuple[int, str, list[bool]]] = []
        self._forms: dict[bytes, _Form] = {}
        #: the same by what sessions share
        self._shared: dict[bytes, _Form] = {}
        self._came: dict[tuple[int, str, int, int], int] = {}
        self._over = False

    def scan(self, most: int) -> bool:
        """Take up to about so many records. False: all there is for now has been taken."""
        if self._over or (not self._begun and not self._begin()):
            return False
        while most > 0:
            if not self._have(12):
                self._end()
                break
            most -= self._alike(most) + 1
            if not self._have(12):
                continue
            where = self.offset
            section = self._window[self._at : self._at + 4] == pcapng.BEGINS
            block = self._block()
            if block is None:
                self._over = not self.follow
                return False
            if section:
                self.sections.append((where, self._order, self._interfaces))
                self._forms.clear()
                self._shared.clear()
            if block:
                for record, places in self._packet(block, where):
                    self._add(record, places)
        else:
            return True
        if not self.follow:
            self._over = True
            for record, places in self._unfinished():
                self._add(record, places)
        return False

    def forget(self) -> None:
        """All was scanned: what is known of forms, and what was read last, is of no use any more."""
        self._window, self._at = b"", 0
        self._forms.clear()
        self._shared.clear()

    def _alike(self, most: int) -> int:
        """Take records that begin as one before, as far as they are in the window; about how many.

        Of the ways tried this was the fastest: one unpacking, two lookups; whether a block ends as it should is seen
        together with the beginning of the next.
        """
        window, start = self._window, self._at
        base = self.offset - start
        if start < 4 or self._came or base + len(window) > 1 << 34:
            return 0  # what is rare is put in one by one
        columns, forms, times = self.columns, self._forms, self.columns.time
        add_place, add_time, add_shape = columns.place.append, times.low.append, columns.shape.append
        add_session, add_no = columns.session.append, columns.no.append
        highest = columns.no[-1] if columns.no else 0
        last = min(len(window) - _SHAPE.size, start + most * _USUAL)
        at = start
        shape = -1
        before = _U32.unpack_from(window, start - 4)[0]
        while at <= last:
            ends, head, middle, number, low, high, key = _shape(window, at - 4)
            form = forms.get(middle)
            if form is None:
                form = self._of_another_session(middle)
                if form is None:
                    break
                add_session = columns.session.append
            same_head, total, header, shapes, session, event = form
            if header is not None:
                key = key[:_REST] + window[at + header[0] : at + header[1]]
            found = shapes.get(key)
            if found is None or head != same_head or ends != before:
                break
            if found >= 0:
                if number > highest:
                    if number > _MOST_NUMBER:
                        break
                    highest = number
                elif number:
                    highest = number
                    columns.ordered = False
                elif not event:
                    break
                if high != times.high:
                    times.turn(high)
                add_place((base + at) >> 2)
                add_time(low)
                add_shape(found)
                add_session(session)
                add_no(highest)
            shape = found
            before = total
            at += total
        if at > start and window[at - 4 : at] != _U32.pack(before):
            # it is not all in the window, or damaged: that is seen to elsewhere
            at -= before
            if shape >= 0:
                columns.take_back()
        self.offset += at - start
        self._at = at
        if columns.no:
            self._highest = max(self._highest, columns.no[-1])
        return (at - start) // _USUAL

    def _keep(self, block: bytes, record: Record, offset: int, usual: bool) -> None:
        # columns want less of a record: what is kept of it is our own
        if not offset:
            self._learn(block, record)

    def _add(self, record: Record, places: tuple[int, ...]) -> None:
        if record.kind not in ROWS:
            return
        if record.flags & ORIGINAL:
            self._came[_lane(record)] = places[0]
            return
        columns = self.columns
        if self._came and record.kind not in EVENTS:
            came = self._came.pop(_lane(record), None)
            if came is not None:
                columns.originals[len(columns)] = came
        columns.add(record, places)

    def _of_another_session(self, middle: bytes) -> _Form | None:
        """How such records begin in this session, if another said the same."""
        form = self._shared.get(b"".join(middle[part] for part in _SHARED))
        if form is None:
            return None
        if len(self._forms) >= _MOST_FORMS:
            self._forms.clear()
        self._forms[middle] = form = form._replace(session=_U32.unpack_from(middle, _SESSION)[0])
        self.columns.in_session(form.session)
        return form

    def _learn(self, block: bytes, record: Record) -> None:
        """The next one that begins like this need not be looked at: it is a whole record of our shape."""
        fds, size = len(record.fds), len(record.data)
        inside = pcapng.TAGS.size + HEADER.size + fds * DESCRIPTOR.size + size
        if (
            self._order != "<"
            or record.flags & (INCOMPLETE | ORIGINAL)
            or len(block) + 4 < _SHAPE.size
            or _U32.unpack_from(block, 20)[0] != inside
            or _U32.unpack_from(block, 24)[0] != inside
        ):
            return
        start, length = _HEADS + fds * DESCRIPTOR.size, 0
        rows = registry.channel(record.protocol, record.channel) if record.kind == MESSAGE else None
        if rows is not None:
            if rows.header.msgid_at not in (None, 0) or size < rows.header.length:
                return
            skipped = 0 if rows.header.msgid_at is None else 2
            start, length = start + skipped, rows.header.length - skipped
        header = None if (start, length) == (_HEADS, _SHORT) else (start, start + length)
        _, head, middle, _, _, _, key = _shape(bytes(4) + block)
        form = self._forms.get(middle)
        if form is None or (form.head, form.total, form.header) != (head, len(block), header):
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
                self._shared.clear()
            form = _Form(head, len(block), header, {}, record.session, record.kind in EVENTS)
            self._forms[middle] = self._shared[b"".join(middle[part] for part in _SHARED)] = form
        if len(form.shapes) >= _MOST_SHAPES:
            form.shapes.clear()
        if header is not None:
            key = key[:_REST] + block[slice(*header)]
        form.shapes[key] = self.columns.shape_of(record) if record.kind in ROWS else -1


def _lane(record: Record) -> tuple[int, str, int, int]:
    return record.session, record.channel, record.channel_no, record.sender


class Records(Reader):
    """Records by row, from anywhere in the file."""

    #: octets read at once: rows around the one that is asked for come next
    window = 1 << 15

    def __init__(self, source: str | int | bytes, scanner: Scanner) -> None:
        super().__init__(source)
        self._scanner = scanner
        self._columns = scanner.columns
        self._section = (0, 0)

    def row(self, row: int) -> Record:
        """The record of a row, as a reader gave it. Raises CaptureError if it is not there any more."""
        columns = self._columns
        odd = columns.odd.get(row)
        if odd is None:
            return self.at(columns.place[row] << 2)
        first, *more = odd.places
        record = self.at(first)
        parts = [self.at(place) for place in more]
        data = b"".join((record.data, *(part.data for part in parts)))
        end = parts[-1] if parts else record
        return record._replace(number=odd.number, flags=odd.flags, span_ns=end.span_ns, reads=end.reads, data=data)

    def came(self, row: int) -> Record | None:
        """The record of what came, where something else went on."""
        place = self._columns.originals.get(row)
        return None if place is None else self.at(place)

    def at(self, offset: int) -> Record:
        """The record of the block at ``offset``, or the part of one."""
        if not self._section[0] <= offset < self._section[1]:
            self._enter(offset)
        at = self._at + offset - self.offset
        if not 0 <= at < len(self._window):
            self._window, at = b"", 0
        self._at, self.offset = at, offset
        if self._have(12):
            total = int.from_bytes(self._window[self._at + 4 : self._at + 8], "little" if self._order == "<" else "big")
            if self._have(total):
                known = familiar.same(self._familiar, self._window, self._at)
                if known is not None:
                    return known
                block = self._window[self._at : self._at + total]
                found = packet.read(block, offset, self._order, self._interfaces)
                if found is not None and found.record is not None:
                    self._keep(block, found.record, found.offset, found.usual)
                    return found.record
        raise CaptureError(offset, "a record that was there before is gone")

    def _enter(self, offset: int) -> None:
        """Be in the section that ``offset`` is in."""
        self._familiar.clear()
        end = 1 << 63
        for where, order, interfaces in reversed(self._scanner.sections):
            if where <= offset:
                self._order, self._interfaces = order, interfaces
                self._section = where, end
                break
            end = where
