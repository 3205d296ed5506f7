"""One channel: two sockets, and a direction each way between them.

The life of a chunk of bytes, in the order of the code below:

1. ``Direction.pump`` reads as much as there is, behind what is held from before. The usual case, one whole message
   without descriptors, is sent and recorded right there.
2. ``_chunk`` cuts it into messages. Descriptors belong to the message that holds the chunk's last byte: the kernel
   stops a read behind the buffer that carries some. (With exact reads there is never more than one message.)
3. What is incomplete at the end is held, so that a receiver that reads a payload with one call finds it whole; for at
   most ``HOLD_NS``, and only up to ``HOLD`` bytes. A longer message goes through as it comes.
4. Whole messages are judged, if there is a policy, and sent in portions: a portion with descriptors is exactly one
   message, or its first part, so that the next reader has no doubt either.
5. Then they are recorded. The writer becomes the owner of their descriptors.

A destination that is full stops the reading of its source, and nothing else. Nothing here waits.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Container
from resource import RLIMIT_NOFILE, getrlimit
from sys import byteorder
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from vhostspy.capture import record
from vhostspy.dissectors.rows import Channel as ChannelRow

from .descriptors import CONTROL_SIZE, RECEIVE_FLAGS, close_all, duplicate, is_stream_socket, received, rights
from .framer import LOST, Framer, detect
from .policy import DROP, END, HOLD as HOLD_IT, Injection, Intercepted, Verdict

if TYPE_CHECKING:
    from .session import Session

#: the longest send that the kernel puts into one buffer, and that a reader therefore finds in one piece
PORTION = 36_544
#: the longest message that is held until it is whole
HOLD = 131_072
#: how long it is held without a new byte
HOLD_NS = 100_000_000
#: pause before sending is tried again when too many descriptors are on their way
RETRY_NS = 5_000_000
#: what we want the kernel to take in one send, so that a held message goes at once
SEND_BUFFER = 262_144

#: a socket that the loop does not watch at all
NOT = -1

_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN)


class Pending(NamedTuple):
    """A whole message that a policy has not decided on yet, with everything its record needs."""

    data: bytes
    fds: list[int]
    wall: int
    mono: int
    span: int
    reads: int
    fds_at: int
    flags: int


class Direction:
    """What one end sends to the other: ``source`` is read, ``target`` written; neither is owned here.

    ``sender`` is the end at the source: 0 front-end or client, 1 back-end or server.
    """

    __slots__ = (
        "_nested_replies", "_nested_requests", "_policy_wants", "_recv", "_send_bytes", "_timer_set", "backlog", "channel",
        "cut", "dead", "eager", "ended", "exact", "framer", "held", "held_at", "held_fds", "held_fds_at", "held_flags", "held_last",
        "held_reads", "held_sent", "lane", "long_left", "lost", "loop", "paused", "plain", "read_bytes", "sender",
        "shut", "source", "target",
    )  # fmt: skip

    def __init__(self, channel: Channel, sender: int, source: socket.socket, target: socket.socket) -> None:
        self.channel = channel
        self.loop = channel.session.loop
        self.sender = sender
        self.source = source
        self.target = target
        self._recv = source.recvmsg_into
        self._send_bytes = target.send
        self.framer: Framer | None = None
        self.exact = channel.session.relay.settings.exact_reads
        #: bytes read from the source so far
        self.read_bytes = 0
        # an incomplete message: its bytes, how many of them went on already, and what its record will say
        self.held = bytearray()
        self.held_sent = 0
        self.held_fds: list[int] = []
        self.held_fds_at = 0
        self.held_flags = 0
        self.held_at = (0, 0)
        self.held_last = 0
        self.held_reads = 0
        #: the held message goes on as its bytes come
        self.eager = self.exact
        self._timer_set = False
        #: bytes that are still to come of a message too long to be held
        self.long_left = 0
        #: framing was given up
        self.lost = False
        #: portions that the target had no room for
        self.backlog: deque[tuple[bytes, list[int]]] = deque()
        #: messages that wait for a policy's decision; the first was held by it
        self.paused: deque[Pending] = deque()
        #: the source said its last; the target was told; the target takes no more
        self.ended = False
        self.shut = False
        self.dead = False
        #: we shut the source ourselves, so that its end says nothing about the peer
        self.cut = False
        self._policy_wants: Container[int] = ()
        self._nested_requests: dict[int, str] = {}
        self._nested_replies: dict[int, str] = {}
        #: nothing stands between a chunk and the target: framed, no policy, no exact reads
        self.plain = False
        self.lane = channel.session.lane(channel, sender)

    def adopt(self, row: ChannelRow) -> None:
        """From now on this is a channel of that kind."""
        self.framer = Framer(row)
        for (requester, number), message in row.messages.items():
            if message.request_fds.channel and requester == self.sender:
                self._nested_requests[number] = message.request_fds.channel
            if message.reply_fds.channel and requester != self.sender:
                self._nested_replies[number] = message.reply_fds.channel
        policy = self.channel.session.policy
        if policy is not None:
            self._policy_wants = policy.wants(self.channel.protocol, self.channel.kind, self.sender)
        self.plain = not self.exact and not self._policy_wants and not self.lost

    # -- reading ------------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """The source has something: bytes, its end, or an error."""
        loop = self.loop
        held = len(self.held)
        framer = self.framer
        try:
            if held or self.exact:
                view = loop.view
                view[:held] = self.held
                room = view[held : held + self._wanted() if self.exact else None]
                count, ancillary, flags, _ = self._recv([room], CONTROL_SIZE, RECEIVE_FLAGS)
            else:
                count, ancillary, flags, _ = self._recv(loop.views, CONTROL_SIZE, RECEIVE_FLAGS)
        except BlockingIOError:
            return
        except OSError as error:
            self.channel.broken(self, error)
            return
        wall = time_ns()
        mono = monotonic_ns()
        self.read_bytes += count
        if (
            self.plain
            and not ancillary
            and not held
            and not self.long_left
            and framer is not None
            and framer.header <= count <= PORTION
            and framer.length(loop.buffer, 0) == count
        ):
            data = loop.view[:count]
            try:
                sent = 0 if self.dead else self._send_bytes(data)
            except OSError:
                sent = 0
            if sent == count:
                self.lane.plain(data, wall, mono)
                return
            self.send(data[sent:], [])
            self._record(data, [], wall, mono)
            return
        fds = received(ancillary) if ancillary else []
        if flags & socket.MSG_CTRUNC:
            close_all(fds)
            self.channel.session.fault(
                f"descriptors were lost on the {self.channel.kind} channel: the process has no room for more "
                f"(limit {getrlimit(RLIMIT_NOFILE)[0]}); the session ends here, since going on would hand over wrong ones"
            )
            return
        if count == 0:
            close_all(fds)
            self.finish()
            return
        self._chunk(held, held + count, fds, wall, mono)

    def _wanted(self) -> int:
        """With exact reads: how much may be read so that nothing of the next message is."""
        if self.lost:
            return len(self.loop.view)
        if self.long_left:
            return min(self.long_left, len(self.loop.view))
        return self.framer.bytes_wanted(self.held) if self.framer else 12 - len(self.held)

    def _chunk(self, old: int, total: int, fds: list[int], wall: int, mono: int) -> None:
        """``view[:total]`` was read, the first ``old`` bytes before; takes over ``fds``."""
        view = self.loop.view[:total]
        if self.framer is None and not self.lost:
            self._detect(view)
        if self.long_left:
            view, fds = self._long_part(view, fds, mono)
            if not view:
                return
        if self.lost or self.framer is None:
            if self.lost:
                self._raw(view, fds, wall, mono)
            else:
                self._hold(view, 0, old, fds, wall, mono)
            return
        cuts, length = self.framer.walk(view, len(view))
        whole = cuts[-1] if cuts else 0
        rest = view[whole:]
        messages: list[Pending] = []
        start = 0
        for end in cuts:
            mine, at = (fds, max(old - start, 0)) if end == len(view) else ([], 0)
            messages.append(self._complete(view[start:end], start == 0 and old > 0, mine, at, wall, mono))
            start = end
        if cuts:
            if fds and not rest and len(cuts) > 1:
                messages[-1] = self._doubt(messages[-1])
            if self.held_sent:
                self._pass_on_remainder(messages.pop(0), fds if len(cuts) == 1 and not rest else [])
            self.held = bytearray()
            self.held_sent = 0
            self._pass_on(messages)
        if length == LOST:
            self.lost = True
            self.plain = False
            self.channel.session.event(
                "unread", self.channel, self.sender, after=self.loop.writer.number, offset=self.read_bytes - len(rest),
                bytes=bytes(rest[:16]).hex(), text=f"no message from byte {self.read_bytes - len(rest)} on: "
                "a size that cannot be; bytes and descriptors go on as they come",
            )  # fmt: skip
            self._raw(rest, fds, wall, mono)
        elif rest:
            old = max(old - whole, 0)
            if length > HOLD:
                self._begin_long(rest, length, old, fds, wall, mono)
            else:
                self._hold(rest, whole, old, fds, wall, mono)

    def _detect(self, view: memoryview) -> None:
        """The first bytes of a session say which protocol it is."""
        if len(view) < 12:
            return
        name = self.channel.session.relay.settings.protocol or detect(view)
        if name:
            self.channel.identify(name)
        if self.framer is None:
            self.lost = True
            self.channel.session.event(
                "unread", self.channel, self.sender, after=self.loop.writer.number, offset=0, bytes=bytes(view[:16]).hex(),
                text="these bytes begin no protocol that vhostspy knows; they go on as they come",
            )  # fmt: skip

    def _complete(self, data: memoryview, was_held: bool, fds: list[int], at: int, wall: int, mono: int) -> Pending:
        """A message is whole: what its record will say. ``at``: where in it the read began that brought ``fds``."""
        if not was_held or not self.held_reads:
            return Pending(data, fds, wall, mono, 0, 1, 0, 0)  # type: ignore[arg-type]
        flags, fds_at = self.held_flags, self.held_fds_at
        if fds and at:
            flags |= record.LATE_FDS
            fds_at = fds_at or at
        first_wall, first_mono = self.held_at
        whole = Pending(
            bytes(data), self.held_fds + fds, first_wall, first_mono, mono - first_mono, self.held_reads + 1, fds_at, flags
        )
        self.held_fds = []
        return whole

    def _doubt(self, message: Pending) -> Pending:
        """Several messages came in one read, and the descriptors of that read went to the last, which takes none."""
        number, is_reply = self.identify(message.data)
        row = self.channel.row_of(self.sender, number, is_reply)
        if row is None or (row.reply_fds if is_reply else row.request_fds).most:
            return message
        return message._replace(flags=message.flags | record.UNSURE_FDS)

    def identify(self, data: memoryview | bytes) -> tuple[int, bool]:
        """(id, whether it is a reply) of a whole message."""
        return self.channel.identify_message(data)

    # -- holding ------------------------------------------------------------------------------------------------------

    def _hold(self, rest: memoryview, whole: int, old: int, fds: list[int], wall: int, mono: int) -> None:
        """Keep an incomplete message, ``rest``, of which ``old`` bytes were kept before; takes over ``fds``."""
        if not old:
            self.held_at = (wall, mono)
            self.held_reads = 0
            self.held_sent = 0
            self.held_fds_at = 0
            self.held_flags = 0
            self.eager = self.exact
        elif fds:
            self.held_flags |= record.LATE_FDS
            self.held_fds_at = self.held_fds_at or old
        self.held = bytearray(rest)
        self.held_reads += 1
        self.held_last = mono
        self.held_fds += fds
        if self.eager:
            self._flush_held(fds)
        elif not self._timer_set:
            self._timer_set = True
            self.loop.call_at(mono + HOLD_NS, self._hold_expired)

    def _hold_expired(self, now: int) -> None:
        """It has stood still for long enough: it goes on as it is, and its remainder as it comes."""
        self._timer_set = False
        if not self.held or self.eager or self.channel.closed:
            return
        if now - self.held_last < HOLD_NS:
            self._timer_set = True
            self.loop.call_at(self.held_last + HOLD_NS, self._hold_expired)
        elif not self._policy_wants:  # a policy decides on whole messages only: they wait as long as they like
            self.eager = True
            self._flush_held(self.held_fds)

    def _flush_held(self, fds: list[int]) -> None:
        """Send what is held and did not go yet; ``fds`` stay ours, for the record."""
        self.send(memoryview(bytes(self.held))[self.held_sent :], fds, keep=True)
        self.held_sent = len(self.held)

    # -- messages too long to be held, and bytes that are none --------------------------------------------------------

    def _begin_long(self, rest: memoryview, length: int, old: int, fds: list[int], wall: int, mono: int) -> None:
        first, reads, sent, kept = (wall, mono), 1, 0, fds
        if old:
            first, reads, sent = self.held_at, self.held_reads + 1, self.held_sent
            kept = self.held_fds + fds
            self.held_fds = []
        number, is_reply = self.identify(rest) if len(rest) >= 16 else (0, False)
        if number in self._policy_wants:
            close_all(kept)
            self.channel.session.end_by_policy(
                f"a message of {length} bytes is too long to be decided on (at most {HOLD} bytes)"
            )
            return
        self.held = bytearray()
        self.held_sent = 0
        self.send(rest[sent:], fds if sent else kept, keep=True)
        self.lane.begin(length, rest, first[0], first[1], mono - first[1], reads, 0, kept)
        self.long_left = length - len(rest)

    def _long_part(self, view: memoryview, fds: list[int], mono: int) -> tuple[memoryview, list[int]]:
        """Pass on the next part of a long message; gives what lies behind it."""
        part = view[: self.long_left]
        mine = fds if len(part) == len(view) else []
        self.send(part, mine)
        self.lane.add(part, mono)
        self.long_left -= len(part)
        return view[len(part) :], [] if mine is fds else fds

    def _raw(self, view: memoryview, fds: list[int], wall: int, mono: int) -> None:
        if not view:
            return
        kept, sent = self.held_fds + fds, self.held_sent
        self.held, self.held_fds, self.held_sent = bytearray(), [], 0
        delivered = self.send(view[sent:], fds if sent else kept, keep=True)
        self.lane.raw(view, wall, mono, 0, 1, 0 if delivered else record.DROPPED, kept)

    # -- whole messages: judge, send, record --------------------------------------------------------------------------

    def _pass_on(self, messages: list[Pending]) -> None:
        """Judge, send and record whole messages; takes over their descriptors."""
        if not self._policy_wants and not self.paused:
            self._send_all(messages)
            return
        waiting = bool(self.paused)
        # the chunk's buffer is used again before a decision comes
        self.paused.extend(message._replace(data=bytes(message.data)) for message in messages)
        if not waiting:
            self._judge()

    def _pass_on_remainder(self, message: Pending, new: list[int]) -> None:
        """The first bytes of this message went on before; ``new``: those of its descriptors that came just now."""
        self.send(memoryview(message.data)[self.held_sent :], new, keep=True)
        self._record(message.data, message.fds, *message[2:], delivered=not self.dead)

    def _send_all(self, messages: list[Pending]) -> None:
        """Send in portions, then record: each portion several messages without descriptors, or one."""
        nested = self._nested_requests or self._nested_replies
        pieces: list[memoryview | bytes] = []
        size = 0
        for message in messages:
            fds = message.fds
            length = len(message.data)
            if fds or size + length > PORTION:
                self._send_pieces(pieces)
                pieces, size = [], 0
            if fds:
                outgoing = self._replace_nested(message.data, fds) if nested else fds
                self.send(memoryview(message.data), outgoing, keep=outgoing is fds)
            else:
                pieces.append(message.data)
                size += length
        self._send_pieces(pieces)
        for message in messages:
            self._record(message.data, message.fds, *message[2:], delivered=not self.dead)

    def _send_pieces(self, pieces: list[memoryview | bytes]) -> None:
        if len(pieces) == 1:
            self.send(memoryview(pieces[0]), [])
        elif pieces:
            self.send(memoryview(b"".join(pieces)), [])

    def _judge(self) -> None:
        """Ask the policy about each waiting message, in order, until one is held or the session ends."""
        session = self.channel.session
        policy = session.policy
        while self.paused:
            message = self.paused[0]
            number, is_reply = self.identify(message.data)
            verdict = Verdict()
            if policy is not None and number in self._policy_wants:
                verdict = policy.decide(
                    Intercepted(
                        self.channel.protocol, self.channel.kind, self.channel.number, self.sender, number, is_reply,
                        message.data, tuple(message.fds),
                    )  # fmt: skip
                )
            if verdict.action == HOLD_IT:
                self.channel.watch()
                return
            if not self.carry_out(verdict):
                return
        self.channel.watch()

    def release(self, verdict: Verdict) -> None:
        """The held message is decided."""
        if self.paused and self.carry_out(verdict):
            self._judge()
            if not self.paused and self.ended:
                self.pass_on_end()

    def carry_out(self, verdict: Verdict) -> bool:
        """Do with the first waiting message as decided; false if the session is over."""
        session = self.channel.session
        message = self.paused.popleft()
        for injection in verdict.inject:
            if not self._goes_behind(injection):
                session.inject(injection)
        if verdict.action == END:
            self._record(message.data, message.fds, *message[2:], flags_too=record.ORIGINAL | record.DROPPED)
            session.end_by_policy(verdict.reason)
            return False
        if verdict.action == DROP:
            self._record(message.data, message.fds, *message[2:], flags_too=record.ORIGINAL | record.DROPPED)
        elif verdict.data is not None or verdict.fds is not None:
            kept = duplicate(message.fds) if verdict.fds is None else list(verdict.fds)
            self._record(message.data, message.fds, *message[2:], flags_too=record.ORIGINAL)
            data = message.data if verdict.data is None else verdict.data
            self._send_all([message._replace(data=data, fds=kept, flags=message.flags | record.CHANGED)])
        else:
            self._send_all([message])
        for injection in verdict.inject:
            if self._goes_behind(injection):
                session.inject(injection)
        return not self.channel.closed

    def _goes_behind(self, injection: Injection) -> bool:
        """Whether it goes the same way as the message that is being decided on, and follows it."""
        mine = (self.channel.kind, self.channel.number, 1 - self.sender)
        return injection.after and (injection.channel, injection.channel_no, injection.to) == mine

    def inject(self, injection: Injection) -> None:
        """Send what nobody sent; takes over its descriptors."""
        fds = list(injection.fds)
        self.send(memoryview(injection.data), fds, keep=True)
        self._record(injection.data, fds, time_ns(), monotonic_ns(), flags=record.INJECTED)

    def _record(
        self, data: memoryview | bytes, fds: list[int], wall: int, mono: int, span: int = 0, reads: int = 1, fds_at: int = 0,
        flags: int = 0, *, flags_too: int = 0, delivered: bool = True,
    ) -> None:  # fmt: skip
        flags |= flags_too if delivered else flags_too | record.DROPPED
        self.lane.message(memoryview(data), wall, mono, span, reads, flags, fds, fds_at)

    def _replace_nested(self, data: memoryview | bytes, fds: list[int]) -> list[int]:
        """Put our own pair in the place of a socket that becomes a channel.

        Gives the descriptors to send: a list of its own then, which ``send`` takes over, or ``fds`` itself.
        """
        number, is_reply = self.identify(data)
        kind = (self._nested_replies if is_reply else self._nested_requests).get(number)
        if kind is None or not is_stream_socket(fds[0]):
            return fds
        theirs = self.channel.session.open_nested(kind, fds[0], self.sender, self.loop.writer.number + 1)
        return fds if theirs is None else [theirs, *duplicate(fds[1:])]

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, data: memoryview, fds: list[int], keep: bool = False) -> bool:
        """Send, or put into the backlog what there is no room for; false if the target is gone.

        The descriptors go with the first byte. They are closed here unless the caller keeps them (for the record).
        """
        if self.dead:
            if not keep:
                close_all(fds)
            return False
        if not self.backlog:
            try:
                if fds:
                    sent = self.target.sendmsg([data], rights(fds))
                else:
                    sent = self._send_bytes(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                if error.errno in _GONE:
                    self._target_gone()
                    if not keep:
                        close_all(fds)
                    return False
                if error.errno != errno.ETOOMANYREFS:
                    if not keep:
                        close_all(fds)
                    self.channel.session.fault(f"sending on the {self.channel.kind} channel failed: {error.strerror}")
                    return False
                sent = 0
                self.loop.call_at(monotonic_ns() + RETRY_NS, self._retry)
            if sent == len(data):
                if not keep:
                    close_all(fds)
                return True
            if sent:  # the descriptors went with the first byte
                if not keep:
                    close_all(fds)
                self.backlog.append((bytes(data[sent:]), []))
                self.channel.watch()
                return True
        waiting = duplicate(fds) if keep else fds
        if len(waiting) != len(fds):
            close_all(waiting)
            self.channel.session.fault("no room for the descriptors of a message that has to wait")
            return False
        self.backlog.append((bytes(data), waiting))
        self.channel.watch()
        return True

    def drain(self) -> None:
        """The target has room again."""
        while self.backlog:
            data, fds = self.backlog[0]
            try:
                sent = self.target.sendmsg([data], rights(fds)) if fds else self._send_bytes(data)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ETOOMANYREFS:
                    self.loop.call_at(monotonic_ns() + RETRY_NS, self._retry)
                    self.channel.watch()
                elif error.errno in _GONE:
                    self._target_gone()
                else:
                    self.channel.session.fault(f"sending on the {self.channel.kind} channel failed: {error.strerror}")
                return
            close_all(fds)
            if sent < len(data):
                self.backlog[0] = (data[sent:], fds)
                return
            self.backlog.popleft()
        if self.ended and not self.paused:
            self.pass_on_end()
        self.channel.watch()

    def _retry(self, now: int) -> None:
        if not self.channel.closed:
            self.drain()

    def _target_gone(self) -> None:
        """Nobody reads there any more: what is sent to it gets the same answer here as it would there."""
        self.dead = True
        self.cut = True
        self._drop_backlog()
        try:
            self.source.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # the source is gone as well
        self.channel.watch()

    def _drop_backlog(self) -> None:
        while self.backlog:
            close_all(self.backlog.popleft()[1])

    # -- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """End of file: what is held goes as it is, then the target is told."""
        if self.ended:
            return
        self.ended = True
        self.let_go()
        if not self.cut:
            self.channel.session.end_of_file(self.channel, self.sender)
        if not self.backlog and not self.paused:
            self.pass_on_end()
        self.channel.watch()

    def let_go(self) -> None:
        """Nothing more comes: pass on and record what is incomplete."""
        if self.long_left:
            self.lane.finish()
            self.long_left = 0
        if self.held:
            data, fds = bytes(self.held), self.held_fds
            self.held, self.held_fds = bytearray(), []
            wall, mono = self.held_at
            delivered = True
            if self.held_sent < len(data):
                delivered = self.send(memoryview(data)[self.held_sent :], fds if not self.held_sent else [], keep=True)
            self.held_sent = 0
            flags = self.held_flags | record.INCOMPLETE | (0 if delivered else record.DROPPED)
            self.lane.raw(memoryview(data), wall, mono, self.held_last - mono, self.held_reads, flags, fds, self.held_fds_at)

    def pass_on_end(self) -> None:
        if not self.shut:
            self.shut = True
            # A source that is closed, and not only done with writing, takes no answers: the target must notice that too.
            hung_up = self.channel.gone[self.sender]
            if hung_up:
                self.channel.directions[1 - self.sender].cut = True
            try:
                self.target.shutdown(socket.SHUT_RDWR if hung_up else socket.SHUT_WR)
            except OSError:
                pass  # the target went first
            self.channel.direction_done()

    def discard(self) -> None:
        """The channel is closed: nothing that is still ours may stay open."""
        self._drop_backlog()
        close_all(self.held_fds)
        while self.paused:
            message = self.paused.popleft()
            self._record(message.data, message.fds, *message[2:], flags_too=record.ORIGINAL | record.DROPPED)
        if self.long_left:
            self.lane.finish()
            self.long_left = 0


class Channel:
    """A pair of sockets that belong together. Owns both.

    ``sockets``: the one to the front-end (client) first, then the one to the back-end (server).
    """

    def __init__(
        self, session: Session, kind: str, number: int, row: ChannelRow | None, protocol: str, sockets: list[socket.socket]
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
        self.gone = [False, False]
        self.watch()

    def identify(self, protocol: str) -> None:
        """The first bytes of the main channel told which protocol it is."""
        self.row = self.session.relay.channel_row(protocol, self.kind)
        if self.row is not None:
            self.protocol = protocol
            self.session.identified(self)
            for direction in self.directions:
                direction.lane = self.session.lane(self, direction.sender)
                direction.adopt(self.row)

    def identify_message(self, data: memoryview | bytes) -> tuple[int, bool]:
        """(id, whether it is a reply) from a message's header."""
        assert self.row is not None  # only framed channels have messages
        header = self.row.header
        if header.id_type == "u16":
            number = int.from_bytes(data[header.id_at : header.id_at + 2], byteorder)
        else:
            number = int.from_bytes(data[header.id_at : header.id_at + 4], byteorder)
        flags = int.from_bytes(data[header.flags_at : header.flags_at + 4], byteorder)
        return number, flags & header.reply_mask == header.reply_value

    def row_of(self, sender: int, number: int, is_reply: bool) -> Any:
        assert self.row is not None
        return self.row.messages.get((1 - sender if is_reply else sender, number))

    def watch(self) -> None:
        """Tell the loop what each socket waits for now."""
        if self.closed:
            return
        loop = self.session.loop
        for end in (0, 1):
            reading, writing = self.directions[end], self.directions[1 - end]
            wanted = NOT
            if reading.ended and not self.gone[end]:
                wanted = 0
            elif not (reading.ended or reading.backlog or reading.paused):
                wanted = loop.IN
            if writing.backlog:
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
        if events & loop.OUT:
            writing.drain()
        if events & ~loop.OUT and self._watched[end] > 0 and self._watched[end] & loop.IN:
            reading.pump()
        if events & (loop.HUP | loop.ERR) and not self.closed:
            if reading.ended:
                self._hung_up(end)
            elif not self._watched[end] & loop.IN:
                writing._target_gone()

    def _hung_up(self, end: int) -> None:
        """That end closed its socket for good: writes of the other must fail from now on, as they would directly."""
        self.gone[end] = True
        if self.directions[end].shut:
            self.directions[end].shut = False
            self.directions[end].pass_on_end()
        self.watch()

    def broken(self, direction: Direction, error: OSError) -> None:
        """Reading failed: a reset. The other side is read no more, and closed (it may see a reset as well then)."""
        other = self.directions[1 - direction.sender]
        direction.let_go()
        direction.ended = True
        self.session.reset(self, direction.sender, error)
        direction.drain()
        other.ended = True
        self.close()

    def direction_done(self) -> None:
        if all(direction.shut for direction in self.directions):
            self.close()

    def close(self) -> None:
        """Close both sockets; once."""
        if self.closed:
            return
        loop = self.session.loop
        self.closed = True
        for direction in self.directions:
            direction.discard()
        for end, watched in zip(self.sockets, self._watched, strict=True):
            if watched != NOT:
                loop.unwatch(end)
            end.close()
        self.session.channel_closed(self)
