"""A capture's blocks into columns, without making records of them: about a microsecond each.

As for the reader, most records begin with the very octets of one before, times and number apart; here descriptors do
not matter either. Whatever is new is read as the reader reads it, once.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from vhostspy.capture import pcapng
from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import DESCRIPTOR, EVENT, HEADER, INCOMPLETE, MESSAGE, ORIGINAL, RAW, Record
from vhostspy.dissectors import registry

from .columns import MOST_HEADER, Columns

_HEADS: Final = pcapng.PACKET_HEADER.size + pcapng.TAGS.size + HEADER.size
#: of a record: block type, length, interface | (time) | packet lengths, tags, header's beginning | number, (wall
#: clock), monotonic time, (span) | header's end
_SHAPE: Final = Struct("<12s8x160sQ8xQ8x24s")
_shape = _SHAPE.unpack_from
_MOST_KNOWN: Final = 4096
_MOST_NUMBER: Final = 0xFFFFFFFF
_U32: Final = Struct("<I")


class _Form(NamedTuple):
    """How records of one kind and length begin and end, and what that says."""

    head: bytes
    rest: bytes
    total: int
    #: the length again, at the block's end
    again: bytes
    #: the message's header from the block's first octet on, without what changes from one message to the next
    header: slice
    #: what is there -> the shape's number; None: no row
    shapes: dict[bytes, int] | None
    session: int
    #: who speaks; None: an event
    lane: tuple[int, str, int, int] | None


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
            section = self._window[self._at : self._at + 4] == b"\n\r\r\n"
            found = self._block()
            if section:
                self.sections.append((where, self._order, self._interfaces))
                self._forms.clear()
            if found is None:
                self._over = not self.follow
                return False
            for record, places in zip(found, self._places, strict=False):
                self._add(record, places)
        else:
            return True
        if not self.follow:
            self._over = True
            for record, places in zip(list(self._unfinished()), self._places, strict=True):
                self._add(record, places)
        return False

    def _alike(self, most: int) -> int:
        """Take records that begin as one before, as far as they are in the window; how many."""
        window, start = self._window, self._at
        at = start
        columns = self.columns
        base = self.offset - start
        if base + len(window) > 1 << 34:
            return 0  # places that need more than four octets are put in one by one
        forms, came = self._forms, self._came
        add_place, add_time, add_shape = columns.place.append, columns.time.append, columns.shape.append
        add_session, add_no = columns.session.append, columns.no.append
        highest = columns.no[-1] if columns.no else 0
        last = len(window) - _SHAPE.size - MOST_HEADER
        count = 0
        while at <= last and count < most:
            head, middle, number, mono, rest = _shape(window, at)
            form = forms.get(middle)
            if form is None:
                break
            same_head, same_rest, total, again, header, shapes, session, lane = form
            end = at + total
            if head != same_head or rest != same_rest or window[end - 4 : end] != again:
                break
            if shapes is not None:
                shape = shapes.get(window[at + header.start : at + header.stop])
                if shape is None or number > _MOST_NUMBER or (came and lane in came):
                    break
                if number:
                    highest = number
                elif lane is not None:
                    break
                add_place((base + at) >> 2)
                add_time(mono)
                add_shape(shape)
                add_session(session)
                add_no(highest)
            at = end
            count += 1
        self.offset += at - start
        self._at = at
        self._highest = max(self._highest, highest)
        return count

    def _know(self, block: bytes, record: Record) -> None:
        """Our own memory serves, see ``_learn``."""

    def _packet(self, block: bytes, where: int) -> list[Record]:
        found = self._parse(block, where)
        self._places = []
        if found is None:
            return []
        record, offset = found
        if not offset:
            self._learn(block, record)
        return self._join(record, offset, where)

    def _add(self, record: Record, places: tuple[int, ...]) -> None:
        if record.kind not in (MESSAGE, RAW, EVENT):
            return
        if record.flags & ORIGINAL:
            self._came[_lane(record)] = places[0]
            return
        columns = self.columns
        if self._came and record.kind != EVENT:
            came = self._came.pop(_lane(record), None)
            if came is not None:
                columns.originals[len(columns)] = came
        columns.add(record, places)

    def _learn(self, block: bytes, record: Record) -> None:
        """The next one that begins like this need not be looked at: it is a whole message of our shape."""
        count, length = len(record.fds), record.length
        inside = pcapng.TAGS.size + HEADER.size + count * DESCRIPTOR.size + length
        if (
            self._order != "<"
            or len(record.data) != length
            or record.flags & (INCOMPLETE | ORIGINAL)
            or _U32.unpack_from(block, 20)[0] != inside
            or _U32.unpack_from(block, 24)[0] != inside
            or len(block) < _SHAPE.size + MOST_HEADER
        ):
            return
        head, middle, _, _, rest = _shape(block)
        data_at = _HEADS + count * DESCRIPTOR.size
        form = self._forms.get(middle)
        if form is None or (form.head, form.rest, form.total) != (head, rest, len(block)):
            if len(self._forms) >= _MOST_KNOWN:
                self._forms.clear()
            header = slice(data_at, data_at)
            rows = registry.channel(record.protocol, record.channel) if record.kind == MESSAGE else None
            if rows is not None and length >= rows.header.length:
                if rows.header.msgid_at not in (None, 0):
                    return
                header = slice(data_at + (0 if rows.header.msgid_at is None else 2), data_at + rows.header.length)
            shapes: dict[bytes, int] | None = {} if record.kind in (MESSAGE, RAW, EVENT) else None
            lane = None if record.kind == EVENT else _lane(record)
            form = _Form(head, rest, len(block), block[-4:], header, shapes, record.session, lane)
            self._forms[middle] = form
        if form.shapes is not None:
            if len(form.shapes) >= _MOST_KNOWN:
                form.shapes.clear()
            form.shapes[block[form.header]] = self.columns.shape_of(record)


def _lane(record: Record) -> tuple[int, str, int, int]:
    return record.session, record.channel, record.channel_no, record.sender


class Records(Reader):
    """Records by row, from anywhere in the file."""

    def __init__(self, source: str | int | bytes, scanner: Scanner) -> None:
        super().__init__(source)
        self._scanner = scanner
        self._columns = scanner.columns

    def row(self, row: int) -> Record:
        """The record of a row, as a reader gave it. Raises CaptureError if it is not there any more."""
        columns = self._columns
        odd = columns.odd.get(row)
        if odd is None:
            return self.at(columns.place[row] << 2)
        first, *more = dict.fromkeys(odd.places)
        record = self.at(first)
        data = b"".join((record.data, *(self.at(place).data for place in more)))
        ends = self.at(more[-1]) if more else record
        return record._replace(number=odd.number, flags=odd.flags, span_ns=ends.span_ns, reads=ends.reads, data=data)

    def came(self, row: int) -> Record | None:
        """The record of what came, where something else went on."""
        place = self._columns.originals.get(row)
        return None if place is None else self.at(place)

    def at(self, offset: int) -> Record:
        """The record of the block at ``offset``, or the part of one."""
        for where, order, interfaces in reversed(self._scanner.sections):
            if where <= offset:
                self._order, self._interfaces = order, interfaces
                break
        step = offset - self.offset
        if not 0 <= self._at + step < len(self._window):
            self._window, self._at = b"", 0
        else:
            self._at += step
        self.offset = offset
        if self._have(12):
            total = self._total()
            if self._have(total):
                found = self._parse(self._window[self._at : self._at + total], offset)
                if found is not None:
                    return found[0]
        raise CaptureError(offset, "a record that was there before is gone")

    def _total(self) -> int:
        return int.from_bytes(self._window[self._at + 4 : self._at + 8], "little" if self._order == "<" else "big")
