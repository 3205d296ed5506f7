"""One channel: two sockets, a direction each way between them (``direction.py``), and how it ends."""

from __future__ import annotations

import socket
from sys import byteorder
from typing import TYPE_CHECKING

from vhostspy.dissectors.rows import Channel as ChannelRow
from vhostspy.dissectors.rows import Message

from .direction import Direction

if TYPE_CHECKING:
    from .session import Session

#: what we want the kernel to take in one send, so that a message that was held goes at once
SEND_BUFFER = 262_144
#: a socket that the loop does not watch at all
NOT = -1


class Channel:
    """A pair of sockets that belong together. Owns both.

    ``sockets``: the one to the front-end (client) first, then the one to the back-end (server).
    """

    def __init__(
        self,
        session: Session,
        kind: str,
        number: int,
        row: ChannelRow | None,
        protocol: str,
        sockets: list[socket.socket],
    ) -> None:
        self.session = session
        self.kind = kind
        self.number = number
        self.protocol = protocol
        self.row = row
        self.sockets = sockets
        self.closed = False
        for end in sockets:
            end.setblocking(False)
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            except OSError:
                pass  # a smaller buffer means more pieces, nothing worse
        self.directions = [Direction(self, sender, sockets[sender], sockets[1 - sender]) for sender in (0, 1)]
        if row is not None:
            for direction in self.directions:
                direction.adopt(row)
        #: what each socket is watched for (0: only for hanging up), or NOT
        self._watched = [NOT, NOT]
        #: which ends closed their socket for good, both ways
        self._hung_up = [False, False]
        #: one end was reset: the other is closed as soon as it has what came before
        self._reset = False
        self.watch()

    def identify(self, protocol: str) -> None:
        """The first bytes of the main channel told which protocol it is."""
        self.row = self.session.relay.channel_row(protocol, self.kind)
        if self.row is not None:
            self.protocol = protocol
            self.session.heard()
            for direction in self.directions:
                direction.record_in(self.session.lane(self, direction.sender))
                direction.adopt(self.row)

    def identify_message(self, data: memoryview | bytes) -> tuple[int, bool]:
        """(id, whether it is a reply) from a message's header."""
        if self.row is None:
            raise ValueError("a channel without rows has no messages")
        header = self.row.header
        width = 2 if header.id_type == "u16" else 4
        number = int.from_bytes(data[header.id_at : header.id_at + width], byteorder)
        flags = int.from_bytes(data[header.flags_at : header.flags_at + 4], byteorder)
        return number, flags & header.reply_mask == header.reply_value

    def row_of(self, sender: int, number: int, is_reply: bool) -> Message | None:
        """The row of a message; a reply's is its request's."""
        return self.row.messages.get((1 - sender if is_reply else sender, number)) if self.row else None

    # -- what the sockets wait for ------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Tell the loop."""
        if self.closed:
            return
        loop = self.session.loop
        for end in (0, 1):
            reading, writing = self.directions[end], self.directions[1 - end]
            wanted = NOT
            if reading.ended:
                wanted = NOT if self._hung_up[end] else 0
            elif not reading.blocked:
                wanted = loop.IN
            if writing.outlet.wants_room:
                wanted = max(wanted, 0) | loop.OUT
            if wanted != self._watched[end]:
                self._watched[end] = wanted
                if wanted == NOT:
                    loop.unwatch(self.sockets[end])
                else:
                    loop.watch(self.sockets[end], wanted, reading.pump, self._event)

    def _event(self, fd: int, events: int) -> None:
        """Anything but plain readability."""
        end = 0 if fd == self.sockets[0].fileno() else 1
        reading, writing = self.directions[end], self.directions[1 - end]
        loop = self.session.loop
        watched = self._watched[end]
        if events & loop.HUP:
            # known before the end of file is read, so that it passes on whole: end and refusal at once
            self._hung_up[end] = True
        if events & loop.OUT:
            writing.outlet.drain()
        if events & ~loop.OUT and watched > 0 and watched & loop.IN and not self.closed:
            reading.pump()
        if events & (loop.HUP | loop.ERR) and not self.closed:
            if reading.ended:
                self._hang_up(end)
            elif not watched & loop.IN:
                writing.outlet.lose_target()

    # -- how it ends --------------------------------------------------------------------------------------------------

    def _hang_up(self, end: int) -> None:
        """That end closed its socket for good: writes of the other must fail from now on, as they would directly."""
        self._hung_up[end] = True
        if self.directions[1 - end].outlet.backlog:
            self.directions[1 - end].outlet.lose_target()
        if self.directions[end].shut:
            self.shut_target(self.directions[end])
        self.watch()

    def shut_target(self, direction: Direction) -> None:
        """Pass a direction's end on."""
        if self._reset:
            self.close()
            return
        hung_up = self._hung_up[direction.sender]
        if hung_up:
            self.directions[1 - direction.sender].cut = True
        try:
            self.sockets[1 - direction.sender].shutdown(socket.SHUT_RDWR if hung_up else socket.SHUT_WR)
        except OSError:
            pass  # the target went first
        if all(each.shut for each in self.directions):
            self.close()

    def broken(self, direction: Direction, error: OSError) -> None:
        """Reading failed: a reset. The other side is read no more, and closed (it may see a reset as well then).

        What came before the reset is delivered first, as it would be without us.
        """
        other = self.directions[1 - direction.sender]
        self._reset = True
        direction.ended = other.ended = True
        other.shut = True  # nobody is left to be told
        other.outlet.discard()
        direction.let_go()
        self.session.reset(self, direction.sender, error)
        direction.unblocked()

    def close(self) -> None:
        """Close both sockets; once."""
        if self.closed:
            return
        self.closed = True
        for direction in self.directions:
            direction.discard()
        for end, watched in zip(self.sockets, self._watched, strict=True):
            if watched != NOT:
                self.session.loop.unwatch(end)
            end.close()
        self.session.channel_closed(self)
