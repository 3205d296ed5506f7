"""What the two halves of a player share of one session: its script, its sockets, and what it has come to so far."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from vhostspy.compare import Difference
from vhostspy.message import Message, end_name

from .addresses import Addresses
from .cues import Cues
from .log import Log
from .matching import Expected
from .outcome import Mismatch
from .script import Part
from .settings import Settings
from .stage import Stage
from .store import Store


class Place(NamedTuple):
    """A moment of the record, across its sessions: at a message's number, or behind it, where a session ends."""

    no: int
    behind: bool = False


#: says whether a moment of the record may come: no session that is played at the same time is before it still
Turn = Callable[[Place], bool]


class Over(Exception):
    """The session ends here; the text says why."""


class Tally:
    """What a session has come to. Times without a unit are seconds of the monotonic clock."""

    __slots__ = (
        "first_ns",
        "heard",
        "last_ns",
        "matched",
        "mismatches",
        "moment",
        "notes",
        "sent",
        "session",
        "strays",
    )

    def __init__(self, session: int) -> None:
        self.session = session
        self.mismatches: list[Mismatch] = []
        self.notes: list[str] = []
        self.sent = self.matched = 0
        #: how much came that has no place in the record
        self.strays = 0
        #: when the first message was sent and when the last one came; 0: not yet
        self.first_ns = self.last_ns = 0
        #: when something last passed, and when something last came that gets the session on
        self.moment = self.heard = monotonic()

    def mismatch(
        self, expected: Message | None, came: Message | None, found: tuple[Difference, ...] = (), text: str = ""
    ) -> None:
        self.mismatches.append(Mismatch(self.session, expected, came, found, text))

    def note(self, text: str) -> None:
        self.notes.append(text)


class Scene:
    """Owns the session's sockets (``stage``); store and log are the replay's."""

    def __init__(
        self, part: Part, settings: Settings, sock: socket.socket, store: Store, log: Log, turn: Turn | None = None
    ) -> None:
        """turn: asked before each request of ours, and before we take leave; None: nobody else is played."""
        self.part = part
        self.turn = turn
        self.settings = settings
        self.side = settings.side
        self.store = store
        self.log = log
        self.stage = Stage(part, sock, store)
        self.cues = Cues(part, settings.side)
        #: what the other side asked in the record
        self.expected = Expected(self.cues.their_requests, settings.strictness)
        self.tally = Tally(part.number)
        #: place of a request of ours -> what became of it, if that is something else than was recorded
        self.edited: dict[int, Message] = {}
        #: where the live front-end has what we ask about; None: we do not
        self.addresses = Addresses.of(part, settings.side)
        #: what the other side is called
        self.theirs = end_name(part.protocol, 1 - settings.side)
        #: all is done: what the peer still asks is not looked at any more
        self.leaving = False
