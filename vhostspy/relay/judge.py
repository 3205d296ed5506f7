"""What a policy decides on one direction, and the carrying out of it.

Whole messages wait here in their order. While the first of them is held nothing behind it goes on, and the source is
read no further.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from typing import TYPE_CHECKING

from vhostspy.capture import record

from .descriptors import close_all, duplicate
from .held import Whole
from .policy import DROP, END, HOLD, PASSED, Injection, Intercepted, Policy, Verdict, by_flags

if TYPE_CHECKING:
    from .direction import Direction


class Judge:
    """Owns the waiting messages and their descriptors."""

    def __init__(self, direction: Direction, policy: Policy, wanted: Container[int]) -> None:
        self.direction = direction
        self.policy = policy
        self.wanted = wanted
        self.waiting: deque[Whole] = deque()
        #: the policy is being asked: its hands may be busy meanwhile, but the first message is not held yet
        self._asking = False

    def submit(self, messages: list[Whole]) -> None:
        """Decide, or wait behind what is held; takes over the messages."""
        held = bool(self.waiting)
        # the buffer that they lie in is used again before a late decision comes
        self.waiting.extend(message._replace(data=bytes(message.data)) for message in messages)
        if not held:
            self._decide()

    def release(self, verdict: Verdict) -> None:
        """The held message is decided; those behind it follow."""
        if self.waiting and not self._asking and self._carry_out(verdict):
            self._decide()

    def discard(self) -> None:
        """The channel is closed: what waits came, and did not go on."""
        while self.waiting:
            self.direction.passing.record(self.waiting.popleft(), record.DROPPED)

    def _decide(self) -> None:
        while self.waiting:
            message = self.waiting[0]
            number, is_reply = self.direction.channel.identify_message(message.data)
            verdict = PASSED
            if number in self.wanted:
                channel = self.direction.channel
                intercepted = Intercepted(
                    channel.protocol,
                    channel.kind,
                    channel.number,
                    self.direction.sender,
                    number,
                    is_reply,
                    bytes(message.data),
                    tuple(message.fds),
                )
                self._asking = True
                try:
                    verdict = self.policy.decide(intercepted)
                    if not isinstance(verdict, Verdict):
                        raise TypeError(f"expected a Verdict, got {verdict!r}")
                except Exception as error:  # somebody else's code: it ends its session, and not the relay
                    channel.session.policy_failed(error)
                finally:
                    self._asking = False
                if channel.closed:
                    return
            if verdict.action == HOLD:
                close_all(list(verdict.fds or ()))
                for injection in verdict.inject:
                    self.direction.channel.session.inject(injection)
                break
            if not self._carry_out(verdict):
                return
        self.direction.unblocked()

    def _carry_out(self, verdict: Verdict) -> bool:
        """Do with the first waiting message as decided; false if the session is over."""
        direction = self.direction
        session = direction.channel.session
        message = self.waiting.popleft()
        behind = [injection for injection in verdict.inject if self._goes_behind(injection)]
        for injection in verdict.inject:
            if injection not in behind:
                session.inject(injection)
        by = by_flags(verdict.by)
        if verdict.action in (END, DROP):
            close_all(list(verdict.fds or ()))
        if verdict.action == END:
            direction.passing.record(message, record.DROPPED | by)
            session.end(verdict.reason)
            return False
        if verdict.action == DROP:
            direction.passing.record(message, record.DROPPED | by)
        elif verdict.data is not None or verdict.fds is not None:
            fds = duplicate(message.fds) if verdict.fds is None else list(verdict.fds)
            if verdict.fds is None and len(fds) < len(message.fds):
                close_all(fds)
                direction.passing.record(message, record.DROPPED | by)
                session.fault("the process has no room for the descriptors of a message that is changed")
                return False
            data = message.data if verdict.data is None else verdict.data
            direction.passing.record(message, record.ORIGINAL | by)
            direction.passing.pass_on([message._replace(data=data, fds=fds, flags=message.flags | record.CHANGED | by)])
        else:
            direction.passing.pass_on([message])
        for injection in behind:
            session.inject(injection)
        return not direction.channel.closed

    def _goes_behind(self, injection: Injection) -> bool:
        """Whether it goes the same way as the message that is being decided on, and follows it."""
        channel = self.direction.channel
        mine = (channel.kind, channel.number, 1 - self.direction.sender)
        return injection.after and (injection.channel, injection.channel_no, injection.to) == mine
