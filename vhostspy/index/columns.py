"""A capture as columns: a few octets a row, no object a message.

What is the same for many messages (who sent what sort of message where, how long it was) is a *shape*, kept once; a row
holds its shape's number, where it lies in the file, and what is its own. So a filter that speaks of shapes only is
answered once a shape. Numbers that are small in most captures are kept in small columns, which become wider with the
first larger one: a million rows take some 20 MB.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from vhostspy.capture.record import EVENT, INCOMPLETE, MESSAGE, RAW, SAMPLE, Descriptor, Record
from vhostspy.dissectors.codec import NOTHING_KNOWN, Context
from vhostspy.message import Message, read

#: kinds of records that become rows, and those among them that are no messages
ROWS = (MESSAGE, RAW, EVENT, SAMPLE)
EVENTS = (EVENT, SAMPLE)
#: in ``state``: worst finding 0 to 3, and bits
SEVERITY = 0b11
AWAITED = 1 << 2
#: what columns can't say of it; the pipeline must be asked
ODD = 1 << 3

MOST_SHAPES = 1 << 14
MOST_CONTEXTS = 1 << 14
#: octets of a message that a shape knows; every header is shorter
MOST_HEADER = 32
_MOST_NUMBER = 0xFFFFFFFF
_FD = Descriptor()
#: in captures that were merged, a request is looked for among so many rows
_FAR = 10_000


class Shape(NamedTuple):
    """What many rows have in common."""

    #: record kind, one of ROWS
    kind: int
    #: a message of that shape, of no session, without time, number and payload; None: events
    message: Message | None
    protocol: str
    channel: str
    channel_no: int
    sender: int
    #: a reply's name may be another's, since several messages have its number
    doubtful: bool = False


#: the shape of rows whose shape is not kept, because there are too many
UNKNOWN = Shape(0, None, "", "", 0, 0, True)


class Odd(NamedTuple):
    """A record that is not one whole block: in which blocks it is, and what its blocks do not say."""

    places: tuple[int, ...]
    number: int
    flags: int


class Times:
    """Times in ns, of which four octets change from one row to the next; those above are kept where they do, once in
    4.3 seconds.
    """

    __slots__ = ("high", "low", "rows", "turns")

    def __init__(self) -> None:
        self.low = array("I")
        #: of rows from the ones in ``rows`` on, what is above 32 bits
        self.turns = array("I")
        self.rows = array("I")
        #: of the next row, unless ``turn`` says otherwise
        self.high = -1

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, row: int) -> int:
        return self.low[row] | self.turns[bisect_right(self.rows, row) - 1] << 32

    def append(self, ns: int) -> None:
        if ns >> 32 != self.high:
            self.turn(ns >> 32)
        self.low.append(ns & 0xFFFFFFFF)

    def turn(self, high: int) -> None:
        """From the next row on it is another."""
        self.high = high
        self.turns.append(high)
        self.rows.append(len(self.low))

    def pop(self) -> None:
        # a turn just before it stays: at worst another follows in the same place, and counts
        self.low.pop()


class Columns:
    """The rows: messages, pieces that could not be framed, and events, in the order of the file."""

    __slots__ = (
        "_contexts", "_shapes", "context", "contexts", "no", "odd", "ordered", "originals", "partner", "place",
        "session", "shape", "shapes", "state", "time",
    )  # fmt: skip

    def __init__(self) -> None:
        #: file offset of its block, divided by four
        self.place = array("I")
        #: monotonic ns
        self.time = Times()
        #: index into ``shapes``; becomes wider
        self.shape = array("B")
        #: becomes wider
        self.session = array("B")
        #: the message's number; of events, the number of the message before it
        self.no = array("I")
        #: numbers only grow, as they do unless captures were merged
        self.ordered = True
        # from here on filled in once a row was studied, so these may be shorter
        #: how many rows behind it the row is that answers it, or (below 0) before it the one that it answers; 0: there
        #: is none. Becomes wider
        self.partner = array("b")
        #: index into ``contexts``; becomes wider
        self.context = array("B")
        self.state = bytearray()

        self.shapes: list[Shape] = [UNKNOWN]
        self._shapes: dict[tuple[object, ...], int] = {}
        self.contexts: list[Context] = [NOTHING_KNOWN]
        self._contexts: dict[Context, int] = {NOTHING_KNOWN: 0}
        self.odd: dict[int, Odd] = {}
        #: row -> file offset of the record of what came, where something else went on
        self.originals: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.place)

    def shape_of(self, record: Record) -> int:
        """The number of this record's shape, which is kept from now on if there is room."""
        kind, header = record.kind, record.data[:MOST_HEADER]
        message = None
        if kind not in EVENTS:
            message = read(record._replace(data=header, fds=(_FD,) * len(record.fds)), NOTHING_KNOWN)
            header = header[: message.payload_at]
            if message.msgid is not None:
                message = message._replace(msgid=0)
        else:
            header = b""
        key: tuple[object, ...] = (*_common(record), header if message is None or message.msgid is None else header[2:])
        known = self._shapes.get(key)
        if known is not None:
            return known
        if message is not None:
            message = message._replace(
                no=0, time_ns=0, monotonic_ns=0, session=0, data=header, original=None, msgid=message.msgid
            )
        doubtful = message is not None and message.is_reply and (message.row is None or bool(message.row.others))
        return self._keep(
            key, Shape(kind, message, record.protocol, record.channel, record.channel_no, record.sender, doubtful)
        )

    def answered_as(self, shape: int, message: Message) -> int:
        """The shape of the same message, once it is known by its request what it is called; 0: there is no room."""
        known = self.shapes[shape]
        if known.message is None:
            return 0
        key = (shape, message.name, message.kind)
        named = known.message._replace(row=message.row, name=message.name, kind=message.kind)
        return self._shapes.get(key) or self._keep(key, known._replace(message=named, doubtful=False))

    def _keep(self, key: tuple[object, ...], shape: Shape) -> int:
        if len(self.shapes) >= MOST_SHAPES:
            return 0
        number = self._shapes[key] = len(self.shapes)
        self.shape = fitting(self.shape, number)
        self.shapes.append(shape)
        return number

    def context_no(self, context: Context) -> int:
        """Its number; 0, and the row odd, where there are too many (``contexts[0]`` is then another)."""
        number = self._contexts.get(context)
        if number is None:
            if len(self.contexts) >= MOST_CONTEXTS:
                return 0
            number = self._contexts[context] = len(self.contexts)
            self.context = fitting(self.context, number)
            self.contexts.append(context)
        return number

    def add(self, record: Record, places: tuple[int, ...]) -> None:
        """Another row, of any kind."""
        row = len(self.place)
        number = record.number
        self.put_place(places[0])
        self.time.append(record.monotonic_ns)
        shape = self.shape_of(record)
        self.shape.append(shape)
        self.in_session(record.session)
        self.session.append(record.session)
        before = self.no[-1] if row else 0
        self.no.append(min(number, _MOST_NUMBER) or before)
        if number and number <= before:
            self.ordered = False
        # that it is incomplete may be known from the rest of the file only
        if (
            len(places) > 1
            or record.flags & INCOMPLETE
            or number > _MOST_NUMBER
            or not (number or record.kind in EVENTS)
        ):
            self.odd[row] = Odd(places, number, record.flags)

    def take_back(self) -> None:
        """Forget the last row, which was not studied yet."""
        for column in (self.place, self.shape, self.session, self.no):
            column.pop()
        self.time.pop()

    def put_place(self, offset: int) -> None:
        # beyond 16 GiB it becomes wider
        self.place = fitting(self.place, offset >> 2)
        self.place.append(offset >> 2)

    def in_session(self, session: int) -> None:
        """Rows of that session will come."""
        if session >> 8 * self.session.itemsize:
            self.session = fitting(self.session, session)

    def pair(self, request: int, reply: int) -> None:
        """These rows answer each other."""
        apart = reply - request
        try:
            self.partner[request] = apart
        except OverflowError:
            self.partner = fitting(self.partner, apart)
            self.partner[request] = apart
        self.partner[reply] = -apart

    def row_of(self, no: int) -> int | None:
        """The row of message ``no``."""
        if no > _MOST_NUMBER:
            return next((row for row, odd in self.odd.items() if odd.number == no), None)
        if not self.ordered:
            return next((row for row, number in enumerate(self.no) if number == no and self.is_message(row, no)), None)
        numbers = self.no
        row = bisect_left(numbers, no)
        # events have the number of the message before them; before the first one, or where it is damaged, another's
        while row < len(numbers) and numbers[row] == no:
            if self.is_message(row, no):
                return row
            row += 1
        return None

    def request(self, no: int, session: int, row: int) -> int | None:
        """The row of the request that a reply in ``row`` answers; None: it is not to be found."""
        if self.ordered:
            found = self.row_of(no)
            return found if found is not None and self.session[found] == session else None
        for before in range(row - 1, max(-1, row - _FAR), -1):
            if self.no[before] == no and self.session[before] == session and self.is_message(before, no):
                return before
        return None

    def is_message(self, row: int, no: int) -> bool:
        return self.shapes[self.shape[row]].kind not in EVENTS and self.number(row) == no

    def number(self, row: int) -> int:
        """The message's number, whatever it is."""
        odd = self.odd.get(row)
        return self.no[row] if odd is None else odd.number


def fitting(column: array[int], value: int) -> array[int]:
    """The column, or one of the same numbers that has room for ``value`` (and, where it has a sign, for -``value``)."""
    codes = "bhiq" if column.typecode in "bhiq" else "BHIQ"
    while abs(value) >> 8 * column.itemsize - (codes == "bhiq"):
        column = array(codes[codes.index(column.typecode) + 1], column)
    return column


def _common(record: Record) -> tuple[object, ...]:
    return (
        record.kind, record.protocol, record.channel, record.channel_no, record.sender, record.flags, record.reads,
        record.byte_order, record.length, len(record.fds), record.fds_at,
    )  # fmt: skip
