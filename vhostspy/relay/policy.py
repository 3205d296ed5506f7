"""What may act on a message before it goes on.

Without a policy the relay decodes nothing. With one, whole messages of the kinds that it names are shown to it, in
order, and its verdict decides. A policy is one object a session; it is called in the relay's thread, between two
system calls of the traffic, so it must be quick and must not wait for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import NamedTuple, Protocol

from vhostspy.capture.record import BY, BY_SHIFT

PASS, DROP, HOLD, END = "pass", "drop", "hold", "end"


class Intercepted(NamedTuple):
    """A whole message on its way.

    ``data`` is its octets with the header. ``fds`` are the relay's descriptors: a policy may look at them, and must not
    close or keep them. ``sender`` is the end that sent this message: 0 front-end or client, 1 back-end or server.
    """

    protocol: str
    channel: str
    channel_no: int
    sender: int
    id: int
    is_reply: bool
    data: bytes
    fds: tuple[int, ...]


class Injection(NamedTuple):
    """A message that nobody sent, to be put into a channel towards the end ``to``.

    Ownership of ``fds`` passes to the relay, which closes them after sending. ``after``: behind the message that is
    being decided on (when it goes the same way), else before it.
    """

    channel: str
    channel_no: int
    to: int
    data: bytes
    fds: tuple[int, ...] = ()
    after: bool = True
    #: what of vhostspy made it: one of ``record.BY``
    by: str = ""


class Verdict(NamedTuple):
    """What becomes of a message.

    ``data`` not None replaces the octets; ``fds`` not None replaces the descriptors (the new ones pass to the relay,
    the old ones are closed). ``inject`` goes before or behind it, with HOLD at once. ``reason`` is shown to people when
    a message is dropped or the session ended.
    """

    action: str = PASS
    data: bytes | None = None
    fds: tuple[int, ...] | None = None
    inject: tuple[Injection, ...] = ()
    reason: str = ""
    #: what of vhostspy changed or dropped it: one of ``record.BY``
    by: str = ""


PASSED = Verdict()


def by_flags(by: str) -> int:
    """The bits of a record's flags that name what acted on it."""
    return BY.index(by) << BY_SHIFT if by in BY else 0


class Hands(Protocol):
    """What a policy can do outside a verdict: on a timer, or from another channel's message."""

    def release(self, channel: str, channel_no: int, sender: int, verdict: Verdict = ...) -> None:
        """Decide the message of ``sender`` that is held on that channel; those behind it follow in order."""

    def inject(self, injection: Injection) -> None: ...

    def end(self, reason: str) -> None:
        """End the session before anything more goes on."""

    def call_at(self, due_ns: int, call: Callable[[int], None]) -> None:
        """Call back at that monotonic time, with the time."""


class Policy(Protocol):
    def wants(self, protocol: str, channel: str, sender: int) -> Container[int]:
        """The ids of the messages, requests and replies alike, it wants to see from ``sender`` on such channels."""
        ...

    def decide(self, message: Intercepted) -> Verdict: ...


#: makes the policy of a new session
PolicyMaker = Callable[[Hands], Policy]
