"""The writing half of a direction: whole messages go on in portions, then they are recorded.

A portion is several messages without descriptors, or exactly one with some (or the first part of one), so that the next
reader has no doubt which message they belong to. A socket that becomes a channel of its own is replaced on its way. The
writer of the capture becomes the owner of what was sent.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from vhostspy.capture import record

from .descriptors import Ancillary, duplicate, is_stream_socket
from .lines import ROLES
from .outlet import PORTION, Outlet

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from vhostspy.dissectors.rows import Channel as ChannelRow

    from .channel import Channel
    from .held import Whole


class Passing:
    """Sends into ``target`` (not owned) what ``sender`` sent; ``changed`` and ``lost`` are its outlet's."""

    __slots__ = (
        "_header", "_lines", "_nested", "_queued", "_sendmsg", "carriers", "channel", "lane", "loop", "outlet",
        "sender",
    )  # fmt: skip

    def __init__(
        self,
        channel: Channel,
        sender: int,
        target: socket.socket,
        changed: Callable[[], None],
        lost: Callable[[int], None],
    ) -> None:
        session = channel.session
        self.channel = channel
        self.sender = sender
        self.loop = session.loop
        self.lane = session.lane(channel, sender)
        self.outlet = Outlet(session.loop, target, changed, lost, session.fault)
        self._sendmsg = target.sendmsg
        self._header = 0
        #: (is a reply, id) of messages that carry a socket which becomes a channel of that kind
        self._nested: dict[tuple[bool, int], str] = {}
        #: id -> kick or call, where those are relayed as well
        self._lines: dict[int, str] = {}
        #: of messages that were recorded as passed on while there was a backlog, at once: the number of the last, and
        #: where each of them ends
        self._queued: list[tuple[int, Sequence[int]]] = []
        #: ids of messages that may have descriptors, none of which becomes a channel
        self.carriers: frozenset[int] = frozenset()

    def adopt(self, row: ChannelRow) -> None:
        """From now on this is a channel of that kind."""
        self._header = row.header.length
        carriers = set()
        for (requester, number), message in row.messages.items():
            if requester == self.sender:
                if message.request_fds.most:
                    carriers.add(number)
                if message.request_fds.channel:
                    self._nested[False, number] = message.request_fds.channel
            elif message.reply_fds.channel:
                self._nested[True, number] = message.reply_fds.channel
            lines = self.channel.session.lines
            if lines is not None and requester == self.sender and message.request_fds.role in ROLES:
                self._lines[number] = message.request_fds.role
        self.carriers = frozenset(carriers - {number for _, number in self._nested} - self._lines.keys())

    def as_it_came(self, count: int, cuts: list[int], ancillary: Ancillary, last: int, wall: int, mono: int) -> None:
        """Pass on whole messages straight from the read buffer's first ``count`` bytes, and record them.

        ``cuts`` are the ends of those without descriptors; the message at ``last`` has those of ``ancillary``, if any.
        """
        outlet, view, start = self.outlet, self.loop.view, 0
        taken = 0
        while start < last:
            end = last
            if end - start > PORTION:
                # as many as fit, or one that does not
                end = cuts[max(bisect_right(cuts, start + PORTION) - 1, bisect_right(cuts, start))]
            if outlet.send(view[start:end], []):
                taken = end
            start = end
        fds: Sequence[int] = ()
        if ancillary:
            fds = array("i", ancillary[0][2])
            data = view[last:count]
            try:
                # as it came: no list of numbers is made twice
                sent = 0 if outlet.backlog or outlet.gone else self._sendmsg((data,), ancillary)
            except OSError:
                sent = 0
            if sent < len(data):
                outlet.send(data[sent:], [] if sent else list(fds), keep=True)
        if outlet.gone:
            start = 0
            for end in cuts:
                self.lane.message(view[start:end], wall, mono, flags=0 if end <= taken else record.DROPPED)
                start = end
            if ancillary:
                self.lane.message(view[last:count], wall, mono, flags=record.DROPPED, fds=fds)
        else:
            if cuts:
                self.lane.several(view, cuts, wall, mono)
            if ancillary:
                self.lane.carrying(view[last:count], wall, mono, fds)
            if outlet.backlog:
                self.queued([*cuts, count] if ancillary else cuts)

    def pass_on(self, messages: list[Whole]) -> None:
        """Send in portions, then record; takes over the messages."""
        pieces: list[memoryview | bytes] = []
        size = taken = 0
        for message in messages:
            length = len(message.data)
            if message.fds or size + length > PORTION:
                taken += self._send_pieces(pieces)
                pieces, size = [], 0
            if message.fds:
                outgoing = self._outgoing(message)
                taken += self.outlet.send(memoryview(message.data), outgoing, keep=outgoing is message.fds)
            else:
                pieces.append(message.data)
                size += length
        taken += self._send_pieces(pieces)
        for at, message in enumerate(messages):
            self.record(message, 0 if at < taken else record.DROPPED)
        if self.outlet.backlog:
            self.queued(list(accumulate(len(message.data) for message in messages)))
        self.channel.session.tell_opened()

    def _send_pieces(self, pieces: list[memoryview | bytes]) -> int:
        """How many of them went on, or wait for room."""
        if not pieces:
            return 0
        data = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return len(pieces) if self.outlet.send(data, []) else 0

    def record(self, message: Whole, flags: int = 0) -> None:
        """Into the capture, which takes over the descriptors."""
        data, fds, wall, mono, span, reads, fds_at, own_flags = message
        self.lane.message(memoryview(data), wall, mono, span, reads, own_flags | flags, fds, fds_at)

    def queued(self, ends: Sequence[int]) -> None:
        """There is a backlog, and what was just recorded may lie in it: messages in a row that end there."""
        self._queued.append((self.loop.writer.number, ends))
        if self.outlet.stalled:
            self.outlet.drain()  # descriptors that were just taken out may have been too many

    def emptied(self) -> None:
        """Nothing waits any more."""
        self._queued.clear()

    def untaken(self, octets: int) -> tuple[int, int]:
        """Of how many recorded messages the last octets are, and the number of the first of them (0: of none)."""
        messages = first = 0
        for number, ends in reversed(self._queued):
            for at in range(len(ends) - 1, -1, -1):
                if octets <= 0:
                    return messages, first
                octets -= ends[at] - (ends[at - 1] if at else 0)
                messages += 1
                first = number - (len(ends) - 1 - at)
        return messages, first

    def _outgoing(self, message: Whole) -> list[int]:
        """The descriptors to send. A new list, the caller's, if one was replaced; else the message's own."""
        if not (self._nested or self._lines):
            return message.fds
        number, is_reply = self.channel.identify_message(message.data)
        role = None if is_reply else self._lines.get(number)
        lines = self.channel.session.lines
        if role is not None and lines is not None and len(message.fds) == 1:
            instead = lines.replace(role, message.data[self._header], message.fds[0])
            return message.fds if instead is None else [instead]
        return self._with_nested(message, number, is_reply)

    def _with_nested(self, message: Whole, number: int, is_reply: bool) -> list[int]:
        """With one end of a pair of ours in the place of a socket that becomes a channel."""
        kind = self._nested.get((is_reply, number))
        row = self.channel.row_of(self.sender, number, is_reply)
        if kind is None or row is None:
            return message.fds
        which = (row.reply_fds if is_reply else row.request_fds).which
        at = which(bytes(message.data[self._header :])) if which is not None else 0
        if at is None or at >= len(message.fds) or not is_stream_socket(message.fds[at]):
            return message.fds
        theirs = self.channel.session.open_nested(kind, message.fds[at], self.sender, self.loop.writer.number + 1)
        if theirs is None:
            return message.fds
        others = duplicate(message.fds[:at] + message.fds[at + 1 :])
        if len(others) < len(message.fds) - 1:
            self.channel.session.fault(f"the process has no room for the descriptors beside the {kind} channel's")
        others.insert(at, theirs)
        return others
