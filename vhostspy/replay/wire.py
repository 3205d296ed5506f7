"""One live socket of a replay: octets and descriptors in, whole messages out, and the other way.

Nothing here waits: what the peer does not take stays in a queue, and the player's one poll says when to go on.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from struct import Struct
from typing import NamedTuple

from vhostspy.dissectors.rows import Channel
from vhostspy.errors import Failure
from vhostspy.relay.descriptors import CONTROL_SIZE, CUT_SHORT, RECEIVE_FLAGS, close_all, received, rights
from vhostspy.relay.framer import LOST, Framer

#: what a socket that a peer gave says when nobody is at its other end: one that listens, or was never connected
_NO_CONNECTION = frozenset((errno.ENOTCONN, errno.EINVAL, errno.EOPNOTSUPP, errno.EDESTADDRREQ))
#: the peer takes and says nothing more
_GONE = _NO_CONNECTION | {errno.EPIPE, errno.ECONNRESET, errno.ECONNREFUSED}
#: octets read at once
_READ = 1 << 16
#: struct timeval: seconds, and microseconds
_MOMENT = Struct("@ll").pack(0, 2000)
_PATIENTLY = int(socket.MSG_CMSG_CLOEXEC)
_SEND_FLAGS = int(socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)


class Whole(NamedTuple):
    """A message that came. Its descriptors belong to whoever has it. ``framed`` False: octets that begin no message."""

    data: bytes
    fds: list[int]
    framed: bool = True


class Wire:
    """Owns its socket, what came with descriptors and is not whole yet, and copies of the descriptors still to go."""

    def __init__(self, sock: socket.socket, name: str, number: int, protocol: str, rows: Channel) -> None:
        # every call says for itself whether it waits; one that does waits for a moment only
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _MOMENT)
        self.socket = sock
        self.name = name
        self.number = number
        self.key = name, number
        self.protocol = protocol
        self.rows = rows
        self._framer = Framer(rows)
        self._held = bytearray()
        self._held_fds: list[int] = []
        #: what the peer has not taken yet, with copies of the descriptors that belong to it
        self.out: deque[tuple[memoryview, list[int]]] = deque()
        #: the peer will say nothing more; it takes nothing more
        self.ended = self.broken = self.closed = False
        #: "closed", or in what other way it ended
        self.how = "closed"
        self._lost = False

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def wants_room(self) -> bool:
        return bool(self.out) and not self.broken

    def close(self) -> None:
        """May be called twice."""
        self.socket.close()
        self.ended = self.broken = self.closed = True
        close_all(self._held_fds)
        while self.out:
            close_all(self.out.popleft()[1])

    def finish(self) -> None:
        """Say that nothing more comes from here; the peer may still speak."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it went first

    # -- out

    def send(self, data: bytes, fds: list[int]) -> bool:
        """Send one message, its descriptors with its first octet; they are lent. False: the peer takes nothing more."""
        if self.broken:
            return False
        if not self.out:
            try:
                if fds:
                    done = self.socket.sendmsg((data,), rights(fds), _SEND_FLAGS)
                else:
                    done = self.socket.send(data, _SEND_FLAGS)
            except BlockingIOError:
                done = 0
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self.broken = True
                return False
            if done:
                if done < len(data):
                    self.out.append((memoryview(data)[done:], []))
                return True
        self.out.append((memoryview(data), [os.dup(fd) for fd in fds]))
        return True

    def drain(self) -> None:
        """The peer may take more."""
        while self.out:
            data, fds = self.out[0]
            try:
                done = self.socket.sendmsg((data,), rights(fds) if fds else (), _SEND_FLAGS)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self.broken = True
                return
            close_all(fds)
            if done < len(data):
                self.out[0] = (data[done:], fds)
            else:
                self.out.popleft()

    # -- in

    def receive(self, patient: bool = False) -> list[Whole]:
        """What is whole of what has come; sets ``ended`` at the stream's end. Raises Failure for lost descriptors.

        patient: where nothing has come yet, wait a moment: half the cost of a poll before it.
        """
        try:
            data, ancillary, flags, _ = self.socket.recvmsg(
                _READ, CONTROL_SIZE, _PATIENTLY if patient else RECEIVE_FLAGS
            )
        except BlockingIOError:
            return []
        except OSError as error:
            if error.errno not in _GONE:
                raise
            unusable = error.errno in _NO_CONNECTION
            self.ended, self.how = True, "gave a socket without a peer" if unusable else "reset the connection"
            return self._rest()
        fds = received(ancillary) if ancillary else []
        if flags & CUT_SHORT:
            close_all(fds)
            raise Failure(f"{self.name} channel: the kernel dropped descriptors of a message (open file limit?)")
        if not data:
            self.ended = True
            close_all(fds)
            return self._rest()
        if self._lost:
            return [Whole(data, fds, False)]
        framer = self._framer
        if not self._held and len(data) >= framer.header and framer.length(data, 0) == len(data):  # as nearly always
            return [Whole(data, fds)]
        return self._cut(data, fds)

    def _cut(self, data: bytes, fds: list[int]) -> list[Whole]:
        """The messages that what was read completes; the beginning of another is held until its end comes."""
        framer = self._framer
        self._held += data
        buffer = bytes(self._held)
        cuts, length = framer.walk(buffer, len(buffer))
        messages: list[Whole] = []
        start = 0
        for end in cuts:
            # a read ends behind what carries descriptors: they belong to the message that has its last octet
            mine = fds if end == len(buffer) else []
            if start == 0:
                mine = self._held_fds + mine
                self._held_fds = []
            messages.append(Whole(buffer[start:end], mine))
            start = end
        if start == len(buffer):
            fds = []
        del self._held[:start]
        if length == LOST:
            self._lost = True
            messages.append(Whole(bytes(self._held), self._held_fds + fds, False))
            self._held.clear()
            self._held_fds = []
        else:
            self._held_fds += fds
        return messages

    def _rest(self) -> list[Whole]:
        """What the stream's end leaves unfinished."""
        if not self._held:
            return []
        rest = Whole(bytes(self._held), self._held_fds, False)
        self._held.clear()
        self._held_fds = []
        return [rest]
