"""The reading half of a direction: how a chunk of bytes becomes messages.

1. ``pump`` reads as much as there is, behind what is held from before. The usual case, one whole message without
   descriptors, is sent and recorded right there; ``_whole`` does the same for several, and for one with descriptors,
   behind which it reads on.
2. ``_chunk`` does everything else: it cuts it into messages. Descriptors belong to the message that holds the chunk's
   last byte: the kernel stops a read behind the buffer that carries some. (With exact reads there is never more than
   one message.)
3. What is incomplete at the end is held, so that a receiver that reads a payload with one call finds it whole; for at
   most ``HOLD_NS``, and only up to ``HOLD`` bytes. A longer message goes through as it comes.
4. Whole messages are judged, if there is a policy, and go on (``passing.py``).

A target that is full stops the reading of its source, and nothing else. Nothing here waits.
"""

from __future__ import annotations

import socket
from resource import RLIMIT_NOFILE, getrlimit
from struct import Struct
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

from vhostspy.capture import record
from vhostspy.dissectors import registry
from vhostspy.dissectors.rows import BACK_END
from vhostspy.dissectors.rows import Channel as ChannelRow

from .descriptors import (
    CONTROL_SIZE,
    CUT_SHORT,
    RECEIVE_FLAGS,
    RIGHTS,
    Ancillary,
    close_all,
    received,
)
from .framer import LOST, Framer, detect
from .held import Held, Whole
from .judge import Judge
from .outlet import PORTION
from .passing import Passing
from .policy import Injection, by_flags

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from vhostspy.capture.lane import Lane

    from .channel import Channel
    from .nowhere import NoLane

_u32 = Struct("=I").unpack_from
_u16 = Struct("=H").unpack_from

#: the longest message that is held until it is whole
HOLD = 131_072
#: how long it is held without a new byte
HOLD_NS = 100_000_000
#: enough to tell a protocol from
FIRST_BYTES = 12
#: how often one read follows another, before other sockets have their turn
READS_ON = 16


class Direction:
    """What one end sends to the other: ``source`` is read, the outlet's target written; neither is owned here.

    ``sender`` is the end at the source: 0 front-end or client, 1 back-end or server.
    """

    __slots__ = (
        "_extra", "_header", "_id_at", "_postponed", "_record_plain", "_recv", "_send", "_size_at", "_timer_set",
        "_unpack_id", "channel", "cut", "eager", "ended", "exact", "framer", "held", "injections", "judge", "lane",
        "long_left", "long_sent", "loop", "lost", "outlet", "passing", "plain", "read_bytes", "sender", "shut",
        "source",
    )  # fmt: skip

    def __init__(self, channel: Channel, sender: int, source: socket.socket, target: socket.socket) -> None:
        session = channel.session
        self.channel = channel
        self.loop = session.loop
        self.sender = sender
        self.source = source
        # for the hot path: bound once
        self._recv = source.recvmsg_into
        self._send = target.send
        self._header = self._size_at = self._extra = self._id_at = 0
        self._unpack_id = _u32
        self.passing = Passing(channel, sender, target, self._outlet_changed, self._untaken)
        self.outlet = self.passing.outlet
        self.record_in(self.passing.lane)
        self.framer: Framer | None = None
        self.judge: Judge | None = None
        #: bytes read from the source so far
        self.read_bytes = 0
        self.held = Held()
        self.exact = session.relay.settings.exact_reads
        #: the held message goes on as its bytes come
        self.eager = self.exact
        self._timer_set = False
        #: bytes that are still to come of a message too long to be held
        self.long_left = 0
        #: and those that went on
        self.long_sent = 0
        #: framing was given up
        self.lost = False
        #: a policy's messages that wait for the end of one that went on in part
        self.injections: list[Whole] = []
        #: what lies behind a message that a policy holds, and is nothing to be decided on
        self._postponed: Callable[[], None] | None = None
        #: nothing stands between a whole message and the target: framed, no policy, no exact reads, nothing held
        self.plain = False
        #: the source said its last; the target was told
        self.ended = False
        self.shut = False
        #: we shut the source ourselves, so that its end says nothing about the peer
        self.cut = False

    def record_in(self, lane: Lane | NoLane) -> None:
        """From now on messages are recorded there."""
        self.lane = self.passing.lane = lane
        self._record_plain = lane.plain

    def adopt(self, row: ChannelRow) -> None:
        """From now on this is a channel of that kind."""
        self.framer = Framer(row)
        self._header, self._size_at, self._extra = self.framer.header, self.framer.size_at, self.framer.extra
        self._id_at, self._unpack_id = row.header.id_at, _u32 if row.header.id_type == "u32" else _u16
        self.passing.adopt(row)
        policy = self.channel.session.policy
        if policy is not None:
            wanted: Container[int] = ()
            try:
                wanted = policy.wants(self.channel.protocol, self.channel.kind, self.sender)
            except Exception as error:
                self.channel.session.policy_failed(error)
            if wanted != ():
                self.judge = Judge(self, policy, wanted)
        self._see_whether_plain()

    def _see_whether_plain(self) -> None:
        self.plain = not (
            self.framer is None
            or self.exact
            or self.judge
            or self.lost
            or self.long_left
            or self.held.data
            or self.outlet.gone
            or self.outlet.backlog
        )

    @property
    def blocked(self) -> bool:
        """Nothing may be read: the target is full, or a policy holds a message."""
        return self.outlet.full or (self.judge is not None and bool(self.judge.waiting))

    @property
    def delivered(self) -> bool:
        """Nothing of what was read waits to go on."""
        return not self.outlet.backlog and not (self.judge is not None and self.judge.waiting)

    # -- reading ------------------------------------------------------------------------------------------------------

    def pump(self, reads_on: int = READS_ON) -> None:
        """The source has something: bytes, its end, or an error.

        The hot path: one whole message, as nearly all are, goes on and is recorded right here. Descriptors end a read
        whatever lies behind them, most often the rest of a burst: that is read at once, up to ``reads_on`` times.
        """
        if not self.plain:
            self._pump_behind_held()
            return
        loop = self.loop
        try:
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
            ancillary
            or not self._header <= count <= PORTION
            or _u32(loop.buffer, self._size_at)[0] != count - self._extra
        ):
            if flags & CUT_SHORT or not count or not self._whole(count, ancillary, wall, mono):
                self._received(count, ancillary, flags, 0, wall, mono)
            elif ancillary and reads_on and self.plain:
                self.pump(reads_on - 1)
            return
        data = loop.view[:count]
        try:
            sent = self._send(data)
        except OSError:
            sent = 0
        if sent == count:
            self._record_plain(data, wall, mono)
        else:
            delivered = self.outlet.send(data[sent:], [])
            self.passing.record(Whole(data, [], wall, mono), 0 if delivered else record.DROPPED)
            self._queued(count)

    def _whole(self, count: int, ancillary: Ancillary, wall: int, mono: int) -> bool:
        """What was read is whole messages, the last perhaps with descriptors: pass them on and record them.

        False: there is more to it, and nothing was done.
        """
        framer = self.framer
        if framer is None:
            return False
        buffer = self.loop.buffer
        if self._header <= count <= PORTION and _u32(buffer, self._size_at)[0] == count - self._extra:
            cuts = [count]  # one, as nearly always with descriptors: a walk takes half a microsecond longer
        else:
            cuts, _ = framer.walk(buffer, count)
            if not cuts or cuts[-1] != count:
                return False
        last = count
        if ancillary:
            last = cuts[-2] if len(cuts) > 1 else 0
            if (
                len(ancillary) != 1
                or ancillary[0][:2] != RIGHTS
                or self._unpack_id(buffer, last + self._id_at)[0] not in self.passing.carriers
            ):
                return False
            cuts.pop()
        self.passing.as_it_came(count, cuts, ancillary, last, wall, mono)
        if self.outlet.backlog or self.outlet.gone:
            self._see_whether_plain()
        return True

    def _pump_behind_held(self) -> None:
        """The same whenever something stands between a whole message and the target."""
        view = self.loop.view
        old = len(self.held.data)
        view[:old] = self.held.data
        room = view[old : old + self._wanted() if self.exact else None]
        try:
            count, ancillary, flags, _ = self._recv([room], CONTROL_SIZE, RECEIVE_FLAGS)
        except BlockingIOError:
            return
        except OSError as error:
            self.channel.broken(self, error)
            return
        self.read_bytes += count
        self._received(count, ancillary, flags, old, time_ns(), monotonic_ns())

    def _received(self, count: int, ancillary: Ancillary, flags: int, old: int, wall: int, mono: int) -> None:
        """A read gave ``count`` bytes behind the ``old`` that were held."""
        fds = received(ancillary) if ancillary else []
        if flags & CUT_SHORT:
            close_all(fds)
            self.channel.session.fault(
                f"descriptors were lost on the {self.channel.kind} channel: the process has no room for more (limit "
                f"{getrlimit(RLIMIT_NOFILE)[0]}); the session ends here, since going on would hand over wrong ones"
            )
        elif count == 0:
            close_all(fds)
            self.finish()
        else:
            self._chunk(self.loop.view[: old + count], old, fds, wall, mono)
            self._see_whether_plain()

    def _wanted(self) -> int:
        """With exact reads: how much may be read so that nothing of the next message is."""
        most = len(self.loop.view) - len(self.held.data)
        if self.lost:
            return most
        if self.long_left:
            return min(self.long_left, most)
        held = self.held.data
        return min(self.framer.bytes_wanted(held) if self.framer else FIRST_BYTES - len(held), most)

    def _chunk(self, view: memoryview, old: int, fds: list[int], wall: int, mono: int) -> None:
        """``view`` was read, its first ``old`` bytes before; takes over ``fds``, which came with its last byte."""
        if self.framer is None and not self.lost:
            if len(view) < FIRST_BYTES:
                self._hold(view, old, fds, wall, mono)
                return
            self._detect(view)
        if self.long_left:
            view, fds = self._long_part(view, fds, mono)
        if self.lost or self.framer is None:
            if view:
                self.held.keep(view, old, fds, wall, mono)
                self._pass_on_raw()
            return
        cuts, length = self.framer.walk(view, len(view))
        start = 0
        messages: list[Whole] = []
        for end in cuts:
            mine = fds if end == len(view) else []
            if old and start == 0:
                messages += self._complete(view[:end], mine, old, mono)
            else:
                messages.append(Whole(view[start:end], mine, wall, mono))
            start = end
        rest = view[start:]
        if fds and not rest and len(cuts) > 1:
            messages[-1] = self._doubt(messages[-1])
        if self.judge is not None:
            self.judge.submit(messages)
        else:
            self.passing.pass_on(messages)
        if not rest or self.channel.closed:
            if rest:
                close_all(fds)
        elif 0 <= length <= HOLD:
            self._hold(rest, 0 if cuts else old, fds, wall, mono)
        else:
            self.held.keep(rest, 0 if cuts else old, fds, wall, mono)
            if self.judge is not None and self.judge.waiting:
                # it must not overtake what a policy holds; nothing more is read until then
                self._postponed = lambda: self._not_held(length)
            else:
                self._not_held(length)

    def _not_held(self, length: int) -> None:
        """What lies in ``held`` begins no message, or one of ``length`` bytes, too long: it goes on as it comes."""
        if length == LOST:
            self._give_up_framing(memoryview(self.held.data), "no message begins here: a size that cannot be")
            self._pass_on_raw()
        else:
            self._begin_long(length)

    def _detect(self, view: memoryview) -> None:
        """The first bytes of a session say which protocol it is."""
        name = self.channel.session.relay.settings.protocol or detect(view)
        if name:
            self.channel.identify(name)
        if self.framer is None:
            self._give_up_framing(view, "these bytes begin no protocol that vhostspy knows")
        elif self.sender == BACK_END and not self.channel.identify_message(view)[1]:
            self._doubt_sides()

    def _doubt_sides(self) -> None:
        """Nobody but a front-end begins a session: then no message is known, and each end is blamed for the other."""
        front, back = registry.PROTOCOLS[self.channel.protocol].ends
        text = f"the {back} speaks first, as only a {front} does: are the sides the wrong way round? (--front-end)"
        self.channel.session.event("fault", self.channel, record.FROM_SPY, after=self.loop.writer.number, text=text)

    def _give_up_framing(self, rest: memoryview, why: str) -> None:
        """``rest`` and all that follows is no message."""
        self.lost = True
        offset = self.read_bytes - len(rest)
        self.channel.session.event(
            "unread",
            self.channel,
            self.sender,
            after=self.loop.writer.number,
            offset=offset,
            bytes=bytes(rest[:16]).hex(),
            text=f"{why} (byte {offset}); from here on bytes and descriptors go on as they come",
        )

    def _doubt(self, message: Whole) -> Whole:
        """Several messages came in one read, and the descriptors of that read went to the last: does it take any?"""
        number, is_reply = self.channel.identify_message(message.data)
        row = self.channel.row_of(self.sender, number, is_reply)
        if row is None or (row.reply_fds if is_reply else row.request_fds).most:
            return message
        return message._replace(flags=message.flags | record.UNSURE_FDS)

    # -- incomplete messages ------------------------------------------------------------------------------------------

    def _hold(self, rest: memoryview, old: int, fds: list[int], wall: int, mono: int) -> None:
        """Keep an incomplete message, ``old`` bytes of which were kept before; takes over ``fds``."""
        if not old:
            self.eager = self.exact
        self.held.keep(rest, old, fds, wall, mono)
        if self.eager:
            self._flush_held()
        elif not self._timer_set and self.judge is None:
            # a policy decides on whole messages only: those may take as long as they like
            self._timer_set = True
            self.loop.call_at(mono + HOLD_NS, self._hold_expired)

    def _hold_expired(self, now: int) -> None:
        """It has stood still for long enough, unless it was us who stood still: the loop looks once more before."""
        if self._stands_still(now):
            self._timer_set = True
            self.loop.call_at(now + 1, self._let_held_go)

    def _let_held_go(self, now: int) -> None:
        """It goes on as it is, and its remainder as it comes."""
        if self._stands_still(now):
            self.eager = True
            self._flush_held()

    def _stands_still(self, now: int) -> bool:
        """Whether a message is held that had no new byte for long enough; if it had one, the timer is set again."""
        self._timer_set = False
        held = self.held
        if not held.data or self.eager or self.channel.closed:
            return False
        due = held.last + HOLD_NS
        if now < due:
            self._timer_set = True
            self.loop.call_at(due, self._hold_expired)
        return now >= due

    def _flush_held(self) -> bool:
        """Send what is held and did not go yet; the descriptors stay held, for the record. False: nobody takes it."""
        held = self.held
        if held.sent == len(held.data):
            return True
        delivered = self.outlet.send(memoryview(held.data)[held.sent :], held.fds[held.sent_fds :], keep=True)
        held.sent, held.sent_fds = len(held.data), len(held.fds)
        return delivered

    def _complete(self, data: memoryview, fds: list[int], old: int, mono: int) -> list[Whole]:
        """The held message is whole. If a part of it went on before, the rest goes now, and nothing is left to do."""
        sent = self.held.sent
        whole = self.held.complete(data, fds, old, mono)
        if not sent:
            return [whole]
        delivered = self.outlet.send(data[sent:], fds, keep=True)
        self.passing.record(whole, 0 if delivered else record.DROPPED)
        self._queued(len(data))
        self._pass_on_injections()
        return []

    def _begin_long(self, length: int) -> None:
        """What is held begins a message longer than may be held: it goes through as it comes."""
        held = self.held
        begun = memoryview(held.data)
        if self.judge is not None and self.channel.identify_message(begun)[0] in self.judge.wanted:
            self.channel.session.end(f"a message of {length} bytes is too long to be decided on (at most {HOLD})")
            return
        flags = held.flags | (0 if self._flush_held() else record.DROPPED)
        span = held.last - held.mono
        self.lane.begin(length, begun, held.wall, held.mono, span, held.reads, flags, held.fds, held.fds_at)
        held.clear()
        self.long_sent = len(begun)
        self.long_left = length - len(begun)

    def _long_part(self, view: memoryview, fds: list[int], mono: int) -> tuple[memoryview, list[int]]:
        """Pass on the next part of a long message; gives what lies behind it, and whose descriptors are left."""
        part, rest = view[: self.long_left], view[self.long_left :]
        if not self.outlet.send(part, [] if rest else fds):
            self.lane.mark(record.DROPPED)
        self.lane.add(part, mono)
        self.long_left -= len(part)
        self.long_sent += len(part)
        if not self.long_left:
            self._queued(self.long_sent)
            self._pass_on_injections()
        return rest, fds if rest else []

    def _pass_on_raw(self, flags: int = 0) -> None:
        """What is held is no message, or will never be a whole one."""
        held = self.held
        flags |= held.flags | (0 if self._flush_held() else record.DROPPED)
        data, span = memoryview(held.data), held.last - held.mono
        self.lane.raw(data, held.wall, held.mono, span, held.reads, flags, held.fds, held.fds_at)
        held.clear()
        self._queued(len(data))

    # -- whole messages -----------------------------------------------------------------------------------------------

    def inject(self, injection: Injection) -> None:
        """Send what nobody sent; takes over its descriptors. It never lands inside a message that is passing."""
        flags = record.INJECTED | by_flags(injection.by)
        self.injections.append(Whole(injection.data, list(injection.fds), time_ns(), monotonic_ns(), flags=flags))
        if not self.held.sent and not self.long_left:
            self._pass_on_injections()

    def _pass_on_injections(self) -> None:
        if self.injections:
            injections, self.injections = self.injections, []
            self.passing.pass_on(injections)

    # -- what finds no room --------------------------------------------------------------------------------------------

    def _queued(self, length: int) -> None:
        """A message or piece was recorded, of that length; its end may wait for room."""
        if self.outlet.backlog:
            self.passing.queued((length,))

    def _untaken(self, octets: int) -> None:
        """The target will never take the last octets that were passed on: the capture takes back what it says of them.

        What is not recorded yet, or not to its end, says so itself.
        """
        passing_now = self.held.sent
        if passing_now:
            self.held.flags |= record.DROPPED
        elif self.long_left:
            passing_now = self.long_sent
            self.lane.mark(record.DROPPED)
        messages, first = self.passing.untaken(octets - passing_now)
        self.channel.session.undelivered(self.channel, self.sender, octets, messages, first)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _outlet_changed(self) -> None:
        """The backlog appeared or is gone, or the target is."""
        self._see_whether_plain()
        if not self.outlet.backlog:
            self.passing.emptied()
        if self.outlet.gone and not self.cut and not self.ended:
            # whoever writes to a socket that nobody reads gets an error; so must our source
            self.cut = True
            try:
                self.source.shutdown(socket.SHUT_RD)
            except OSError:
                pass  # it is gone as well
        self.unblocked()

    def unblocked(self) -> None:
        """Something that stood in the way may be gone."""
        if self._postponed is not None and not self.channel.closed and not (self.judge and self.judge.waiting):
            postponed, self._postponed = self._postponed, None
            postponed()
            self._see_whether_plain()
        if self.ended and self.delivered:
            self.pass_on_end()
        self.channel.watch()

    def finish(self) -> None:
        """End of file: what is held goes as it is, then the target is told."""
        if not self.ended:
            self.ended = True
            self.let_go()
            if not self.cut:
                self.channel.session.end_of_file(self.channel, self.sender)
            self.unblocked()

    def let_go(self) -> None:
        """Nothing more comes: pass on and record what is incomplete."""
        if self.long_left:
            self.lane.finish()
            self.long_left = 0
        if self.held.data:
            self._pass_on_raw(record.INCOMPLETE)

    def pass_on_end(self) -> None:
        """Tell the target, once; a source that is closed for good, and not only done with writing, takes no answers."""
        if not self.shut:
            self.shut = True
            self.channel.shut_target(self)

    def discard(self) -> None:
        """The channel is closed: nothing that is still ours may stay open."""
        self.outlet.gone = True  # what waited is lost, so nothing may follow it
        self.outlet.discard()
        if self.judge is not None:
            self.judge.discard()
        self._postponed = None
        for injection in self.injections:
            close_all(injection.fds)
        self.injections = []
        self.let_go()
