"""A vhost-user session at one moment: what was offered and agreed, memory, rings, channels, who waits.

Values only; ``transitions`` makes the next of the one before. What was not seen is None, never a guess: a capture that
begins in the middle of a session knows nothing of what was agreed (``whole`` is False then).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vhostspy.capture.record import Descriptor
from vhostspy.dissectors.codec import Context
from vhostspy.message import Message

from . import ledger as ledgers
from .device import Evidence
from .display import Displays
from .ledger import Ledger

PROTOCOL_FEATURES = 1 << 30
LOG_ALL = 1 << 26


class Region(NamedTuple):
    """A piece of guest memory; addresses of the guest and of the front-end, sizes and offsets in bytes."""

    guest_address: int
    size: int
    user_address: int
    offset: int
    #: the message it came with, and that message's descriptor for it
    no: int
    fd: Descriptor | None = None


class Line(NamedTuple):
    """A kick, call or err descriptor of a ring; ``fd`` None: explicitly none (polling, or in-band messages)."""

    no: int
    fd: Descriptor | None


class Ring(NamedTuple):
    number: int
    size: int | None = None
    base: int | None = None
    #: descriptor table, used ring, available ring, used-ring log (packed rings: ring, device and driver event area)
    addresses: tuple[int, int, int, int] | None = None
    #: writes to its used ring go into the dirty log
    logged: bool = False
    kick: Line | None = None
    call: Line | None = None
    err: Line | None = None
    started: bool = False
    enabled: bool = False
    big_endian: bool | None = None
    #: the last message about it
    no: int = 0


class Log(NamedTuple):
    """The dirty log that SET_LOG_BASE handed over."""

    no: int
    size: int
    offset: int
    fd: Descriptor | None


class Inflight(NamedTuple):
    """The in-flight region that GET_INFLIGHT_FD answered with or SET_INFLIGHT_FD handed over."""

    no: int
    size: int
    offset: int
    queues: int
    queue_size: int
    fd: Descriptor | None


class Opened(NamedTuple):
    """A channel of the session; ``by`` is the message that carried its socket (0: the session's own socket)."""

    name: str
    channel_no: int
    by: int = 0
    #: (end, "eof" or "reset"), first to close first
    closed: tuple[tuple[int, str], ...] = ()
    #: an end whose octets could not be framed any more
    unread: tuple[int, ...] = ()


class Ended(NamedTuple):
    """Who closed the main channel first, how, after which message of its own and of anybody, and when (wall clock)."""

    sender: int | None
    how: str
    after: int
    last: int
    at_ns: int = 0


class Peer(NamedTuple):
    """Who is at one end: the socket, and the process as far as the kernel told the relay."""

    path: str = ""
    pid: int = 0
    program: str = ""


class Session(NamedTuple):
    number: int
    protocol: str = ""
    #: its first moment was seen: what has not been agreed on by then was not agreed on at all
    whole: bool = False
    opened_ns: int = 0
    #: who speaks: front-end or client, back-end or server
    peers: tuple[Peer, Peer] = (Peer(), Peer())
    #: the session before this on the same sockets, as it ended
    previous: Session | None = None
    #: what layouts depend on, kept up to date: agreed feature words, device, postcopy
    context: Context = Context(None, None, None)
    #: SET_FEATURES has been seen
    features_set: bool = False
    virtio_offered: int | None = None
    protocol_offered: int | None = None
    owner: int | None = None
    regions: tuple[Region, ...] = ()
    slots: int | None = None
    queues: int | None = None
    rings: Mapping[int, Ring] = {}
    channels: Mapping[tuple[str, int], Opened] = {}
    log: Log | None = None
    inflight: Inflight | None = None
    status: int | None = None
    #: none, advised, listening, ended
    postcopy: str = "none"
    #: (direction, message) of the device-state transfer that is going on
    device_state: tuple[int, int] | None = None
    config: bytes | None = None
    #: shared memory regions: id -> size in bytes
    shmem: Mapping[int, int] = {}
    #: display channels of a gpu, by their number
    displays: Displays = {}
    evidence: Evidence = Evidence()
    device_given: bool = False
    ended: Ended | None = None
    #: always the last member, see ``with_ledger``
    ledger: Ledger = ledgers.EMPTY

    @property
    def virtio_agreed(self) -> int | None:
        return self.context.virtio_features

    @property
    def protocol_agreed(self) -> int | None:
        return self.context.protocol_features

    @property
    def device(self) -> str | None:
        """The device type, given or inferred; None while it cannot be told."""
        return self.context.device

    @property
    def logging(self) -> bool:
        return bool((self.virtio_agreed or 0) & LOG_ALL)


def new(number: int, protocol: str = "", device: str | None = None) -> Session:
    """A session of which nothing is known; ``device`` is what the user says it is."""
    return Session(number, protocol, context=Context(None, None, device), device_given=device is not None)


def with_ledger(session: Session, ledger: Ledger) -> Session:
    """The session with another ledger."""
    # every message comes by here: twice as fast as _replace
    return tuple.__new__(Session, session[:-1] + (ledger,))


#: the decoded members of a message, by name
Fields = Mapping[str, Any]
#: what one message does: the session before, the message, its members -> the session after
Handler = Callable[[Session, Message, Fields], Session]
