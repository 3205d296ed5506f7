"""Long messages lie in several records; here their parts become one again.

A part says which octets of which message it holds. A lane (one direction of one channel) has one long message at a
time, and its parts are in order, with records of other lanes between them.
"""

from __future__ import annotations

from collections.abc import Iterator

from .record import INCOMPLETE, SNAPPED, Record

#: a record, and the file offsets of the blocks that it was in
Placed = tuple[Record, tuple[int, ...]]


class Joiner:
    """All messages that are not complete yet, one a lane."""

    def __init__(self) -> None:
        self._joining: dict[tuple[int | str, ...], _Joining] = {}

    def add(self, part: Record, offset: int, where: int) -> list[Placed]:
        """What this part completes: at most an older message that will never be, and the message itself.

        offset: the part's first octet, in its message. where: the file offset of its block.
        """
        whole = offset + len(part.data) >= part.length or part.flags & (SNAPPED | INCOMPLETE) != 0
        if whole and not offset:
            return [(part, (where,))]
        lane = (part.session, part.channel_no, part.protocol, part.channel, part.sender, part.kind)
        found: list[Placed] = []
        joining = self._joining.pop(lane, None)
        if joining is not None and not joining.goes_on(part, offset):
            found.append(joining.record(0, INCOMPLETE))
            joining = None
        if joining is not None:
            joining.add(part, where)
            if whole:
                found.append(joining.record(part.number, 0))
            else:
                self._joining[lane] = joining
        elif not offset:
            self._joining[lane] = _Joining(part, where)
        else:
            # its first parts are not in this file, or not before this one
            found.append((part._replace(flags=part.flags | INCOMPLETE), (where,)))
        return found

    def unfinished(self, number: int) -> Iterator[Placed]:
        """Messages whose end is not in the file; ``number`` is the highest so far."""
        joining, self._joining = self._joining, {}
        for nth, one in enumerate(joining.values(), 1):
            yield one.record(number + nth, INCOMPLETE)


class _Joining:
    """A long message, as far as it has been read."""

    def __init__(self, first: Record, place: int) -> None:
        self._places = [place]
        self._first = first
        self._last = first
        self._parts = [first.data]
        self._octets = len(first.data)

    def goes_on(self, part: Record, offset: int) -> bool:
        """Whether ``part`` is the next of this message: one lane has one at a time, so times tell them apart."""
        first = self._first
        return (
            offset == self._octets
            and part.time_ns == first.time_ns
            and part.monotonic_ns == first.monotonic_ns
            and part.length == first.length
        )

    def add(self, part: Record, place: int) -> None:
        self._places.append(place)
        self._last = part
        self._parts.append(part.data)
        self._octets += len(part.data)

    def record(self, number: int, flags: int) -> Placed:
        """All parts as one: descriptors from the first, what is known only later from the last."""
        last = self._last
        joined = self._first._replace(
            number=number,
            flags=self._first.flags | last.flags | flags,
            span_ns=last.span_ns,
            reads=last.reads,
            data=b"".join(self._parts),
        )
        return joined, tuple(self._places)
