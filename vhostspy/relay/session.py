"""One session: a main connection with the channels that are opened inside it.

Makes channels, keeps them together, tells the capture what happens to them, and gives a policy its hands. Owns its
channels, and through them their sockets.
"""

from __future__ import annotations

import errno
import os
import socket
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Any

from vhostspy.capture import record
from vhostspy.dissectors import registry

from .channel import Channel
from .descriptors import close_all
from .keeper import LABELS, Keeper
from .lines import Lines
from .policy import PASSED, Injection, Policy, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhostspy.capture.lane import Lane

    from .nowhere import NoLane
    from .pairing import Relay

#: how long nested channels may outlive the main one
GRACE_NS = 1_000_000_000

#: which protocol is spoken on a nested socket
NESTED_PROTOCOL = {"backend": "vhost-user", "gpu": "vhost-user-gpu", "second": "vfio-user"}


class Session:
    """``sockets``: the one to the front-end (client), then the one to the back-end (server); taken over."""

    def __init__(self, relay: Relay, number: int, previous: int, sockets: list[socket.socket]) -> None:
        self.relay = relay
        self.loop = relay.loop
        self.number = number
        self.previous = previous
        self.policy: Policy | None = None
        self.channels: list[Channel] = []
        self.ended = False
        #: channels that the capture was not told of yet: (channel, who passed the socket, in which message)
        self._opened: list[tuple[Channel, int, int]] = []
        #: nothing was sent yet: a probe that only looks whether somebody listens
        self.silent = True
        #: None: kicks and calls go on their own way
        self.lines: Lines | None = Lines(relay.loop) if relay.settings.exact_kicks else None
        #: None: nothing is kept, so that nobody can look at the session's memory
        self.keeper: Keeper | None = Keeper() if relay.settings.keep_memory and relay.writer.fd >= 0 else None
        self.event(
            "open", None, record.FROM_SPY, text=f"session {number} begins", previous=previous, **relay.peers(sockets)
        )
        self.main = Channel(self, "main", 1, None, "", sockets)
        self.channels.append(self.main)

    def make_policy(self) -> None:
        """To be called once the relay knows of this session."""
        if self.relay.settings.new_policy is not None:
            try:
                self.policy = self.relay.settings.new_policy(self)
            except Exception as error:
                self.policy_failed(error)

    # -- what channels ask for ----------------------------------------------------------------------------------------

    def lane(self, channel: Channel, sender: int) -> Lane | NoLane:
        """Where a direction's messages are recorded."""
        lane: Lane | NoLane = self.loop.writer.lane(
            channel.kind, sender, self.number, channel.number, channel.protocol, channel.row, previous=self.previous
        )
        if self.keeper is not None and channel.kind == "main" and channel.protocol == "vhost-user":
            lane.heed(LABELS, self.keeper.heed)
        return lane

    def heard(self) -> None:
        """The first bytes came: it is no probe."""
        if self.silent:
            self.silent = False
            self.relay.heard(self)

    def event(self, name: str, channel: Channel | None, sender: int, **members: Any) -> None:
        self.loop.writer.event(
            {"event": name, **members}, time_ns(), monotonic_ns(),
            session=self.number, previous=self.previous, channel=channel.kind if channel else "",
            channel_no=channel.number if channel else 0, protocol=channel.protocol if channel else "", sender=sender,
        )  # fmt: skip

    def open_nested(self, kind: str, peer: int, sender: int, number: int) -> int | None:
        """``sender`` passes the socket ``peer`` (the caller's) in message ``number``: relay what is spoken on it.

        Gives the descriptor to pass on in its place, which the caller then owns; None if it must go unseen.
        """
        row = self.relay.channel_row(NESTED_PROTOCOL[kind], kind)
        if row is None:
            return None
        try:
            outer = socket.socket(fileno=os.dup(peer))
            try:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            except OSError:
                outer.close()
                raise
        except OSError as error:
            text = f"the {kind} channel goes unseen: {error.strerror}"
            self.event("fault", self.main, sender, after=number, text=text)
            return None
        sockets = [outer, ours] if sender == 0 else [ours, outer]
        channel_no = 1 + sum(1 for channel in self.channels if channel.kind == kind)
        channel = Channel(self, kind, channel_no, row, NESTED_PROTOCOL[kind], sockets)
        self.channels.append(channel)
        self._opened.append((channel, sender, number))
        return theirs.detach()

    def tell_opened(self) -> None:
        """Once the messages that opened channels are in the capture, these are too."""
        while self._opened:
            channel, sender, number = self._opened.pop(0)
            text = f"{channel.kind} channel {channel.number} is relayed"
            self.event("channel", channel, sender, after=number, text=text)

    def end_of_file(self, channel: Channel, sender: int) -> None:
        direction = channel.directions[sender]
        if channel is self.main and direction.read_bytes:
            self.heard()
        self.event("eof", channel, sender, after=self.loop.writer.number, text="closed its side")

    def reset(self, channel: Channel, sender: int, error: OSError) -> None:
        what = "closed with unread bytes (reset)" if error.errno == errno.ECONNRESET else f"failed: {error.strerror}"
        self.event("reset", channel, sender, after=self.loop.writer.number, text=what)

    def undelivered(self, channel: Channel, sender: int, octets: int, messages: int, first: int) -> None:
        """Messages were recorded as passed on whose end found no room, and now never will."""
        receiver = registry.PROTOCOLS[channel.protocol or "vhost-user"].ends[1 - sender]
        text = f"the {receiver} never took the last {octets} bytes"
        if messages:
            text += f", of #{first}" if messages == 1 else f", from #{first} on ({messages} messages)"
        self.event(
            "undelivered", channel, sender, after=self.loop.writer.number, messages=messages, bytes=octets,
            text=text, **({"first": first} if messages else {}),
        )  # fmt: skip

    def channel_closed(self, channel: Channel) -> None:
        if self.ended:
            return
        if channel is self.main:
            self.forget_memory()
            if any(direction.read_bytes for direction in channel.directions):
                self.heard()
            if all(other.closed for other in self.channels):
                self.finish()
            else:
                self.loop.call_at(monotonic_ns() + GRACE_NS, lambda now: self.finish())
        elif self.main.closed and all(other.closed for other in self.channels):
            self.finish()

    def forget_memory(self) -> None:
        """Nobody can look at it any more, and nothing of it stays alive through us."""
        if self.keeper is not None:
            self.keeper.close()
        if self.lines is not None and self.main.closed:
            self.lines.close()

    def fault(self, text: str) -> None:
        """Our own trouble: said loudly, and the session ends, since going on would not be exact."""
        if not self.ended:
            self.event("fault", self.main, record.FROM_SPY, after=self.loop.writer.number, text=text)
            self.relay.failed(text)
            self.finish()

    def finish(self) -> None:
        """Close what is open; once."""
        if self.ended:
            return
        self.ended = True
        for channel in self.channels:
            channel.close()
        self.forget_memory()
        self.event(
            "close", None, record.FROM_SPY, text=f"session {self.number} ends",
            bytes={"front-end": self.main.directions[0].read_bytes, "back-end": self.main.directions[1].read_bytes},
        )  # fmt: skip
        self.relay.session_ended(self)

    # -- a policy's hands ---------------------------------------------------------------------------------------------

    def _channel(self, number: int, holds: Callable[[Channel], bool]) -> Channel | None:
        for channel in self.channels:
            if channel.number == number and not channel.closed and holds(channel):
                return channel
        return None

    def release(self, channel: str, channel_no: int, sender: int, verdict: Verdict = PASSED) -> None:
        found = self._channel(channel_no, lambda open_one: open_one.kind == channel)
        if found is not None:
            judge = found.directions[sender].judge
            if judge is not None:
                judge.release(verdict)

    def inject(self, injection: Injection) -> None:
        found = self._channel(injection.channel_no, lambda open_one: open_one.kind == injection.channel)
        if found is not None:
            found.directions[1 - injection.to].inject(injection)
        else:
            close_all(list(injection.fds))

    def end(self, reason: str) -> None:
        """A policy's decision: nothing more goes on."""
        if not self.ended:
            text = reason or "ended by a policy"
            self.event("fault", self.main, record.FROM_SPY, after=self.loop.writer.number, text=text)
            self.finish()

    def call_at(self, due_ns: int, call: Callable[[int], None]) -> None:
        def due(now: int) -> None:
            if not self.ended:
                try:
                    call(now)
                except Exception as error:
                    self.policy_failed(error)

        self.loop.call_at(due_ns, due)

    def policy_failed(self, error: Exception) -> None:
        """A mistake in a policy ends its session: what it would have decided nobody knows."""
        self.fault(f"the policy failed ({type(error).__name__}: {error}); its session ends here")
