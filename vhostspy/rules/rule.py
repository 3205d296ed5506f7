"""What a rule is: who it is, what it listens to, and a function that finds a breach or nothing.

    @rule("VU-NEG-03", "error", "SET_PROTOCOL_FEATURES acknowledges only what was offered",
          "vhost-user, Protocol features", on=request("SET_PROTOCOL_FEATURES"))
    def protocol_features_not_offered(case: Case) -> Outcome:
        offered = case.before.protocol_offered
        surplus = case.fields["protocol_features"] & ~(offered or 0)
        if offered is None or not surplus:
            return None
        return f"SET_PROTOCOL_FEATURES: expected bits of {offered:#x} as offered, came also {surplus:#x}"

A rule says nothing of what it has not seen: ``case.sure`` tells whether the session is known from its first moment. It
looks at values only, keeps what it must remember in ``case.memory``, and knows the time from the message or event. A
sentence alone blames the message's sender; ``Breach`` says more.

By default a rule sees only messages that are whole and fit a layout, so its members are there: what is wrong with the
form is for the rules of form, which say ``malformed=True``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeVar

from vhostspy.dissectors.context import Context
from vhostspy.dissectors.rows import Message as Row
from vhostspy.message import Event, Kind, Message
from vhostspy.session.state import Session

Severity = Literal["error", "warning", "note"]

#: in ``Breach.who``: the sender of the message, or the end that the event speaks of
SENDER = -1
BOTH = 2
#: a session in which ever new things are remarkable must not cost us all memory
MOST_REMEMBERED = 4096


_VIRTIO_OFFERED = Session._fields.index("virtio_offered")
_OFFERED = slice(_VIRTIO_OFFERED, _VIRTIO_OFFERED + 2)


class Breach(NamedTuple):
    """A rule that does not hold."""

    #: a sentence: what was expected, what came, where
    text: str
    #: an end's number, BOTH, SENDER, None for unknown
    who: int | None = SENDER
    #: messages that prove it, besides the one at hand
    evidence: tuple[int, ...] = ()
    #: the rule's own unless given
    severity: Severity | None = None
    #: the message it is about; the one at hand unless given
    no: int | None = None
    #: its harm was seen, so it weighs no less where the peer is known to do so
    harmful: bool = False


Outcome = str | Breach | Sequence[Breach] | None


class Memory:
    """What the rules remember of one session beside its state; ended with the session."""

    __slots__ = ("_context", "_offered", "_seen", "clean", "kept", "peers")

    def __init__(self, peers: Any = None) -> None:
        #: what pure rules have found nothing wrong with, as long as what was offered and agreed on stays the same
        self.clean: set[object] = set()
        self._context: Context | None = None
        self._offered: tuple[int | None, int | None] = None, None
        #: a rule keeps what it wants to, under its own id
        self.kept: dict[str, Any] = {}
        self._seen: set[object] = set()
        #: see ``peers.Portraits``
        self.peers = peers

    def lose(self) -> None:
        """Messages are missing: what was noted may not hold any more."""
        self.kept.clear()
        self.clean.clear()

    def still_clean(self, session: Session) -> set[object]:
        """``clean``, for the session as it is."""
        if self._context is not session.context or self._offered != session[_OFFERED]:
            self._context = session.context
            self._offered = session.virtio_offered, session.protocol_offered
            self.clean.clear()
        elif len(self.clean) >= MOST_REMEMBERED:
            self.clean.clear()
        return self.clean

    def first(self, *key: object) -> bool:
        """Whether this is the first time in this session that we are asked about it."""
        if key in self._seen or len(self._seen) >= MOST_REMEMBERED:
            return False
        self._seen.add(key)
        return True

    def of(self, rule: str) -> dict[Any, Any]:
        """A rule's own notes, empty at first."""
        notes: dict[Any, Any] | None = self.kept.get(rule)
        if notes is None:
            notes = self.kept[rule] = {}
        return notes

    def trim(self) -> None:
        """Forget the oldest of notes that grow and grow; to be called now and then."""
        for notes in self.kept.values():
            if not isinstance(notes, dict):
                continue  # what vfio-user keeps has its own limits
            _trim(notes)
            for note in notes.values():
                if isinstance(note, (dict, list, set)):
                    _trim(note)


def _trim(notes: dict[Any, Any] | list[Any] | set[Any]) -> None:
    surplus = len(notes) - MOST_REMEMBERED
    if surplus <= 0:
        return
    if isinstance(notes, list):
        del notes[:surplus]
    elif isinstance(notes, dict):
        for key in list(islice(notes, surplus)):
            del notes[key]
    else:
        notes.difference_update(list(islice(notes, surplus)))


class Case(NamedTuple):
    """A message, with the session before and after it."""

    before: Session
    message: Message
    after: Session
    memory: Memory
    #: the message's members
    fields: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The message for people: its name, and that it is an answer."""
        message = self.message
        name = message.name or f"message {message.id}"
        return f"{name} {message.kind}" if message.is_reply else name

    @property
    def sure(self) -> bool:
        """The session was seen from its first moment, without a hole."""
        return self.before.whole

    def first(self, *key: object) -> bool:
        """Whether this is the first time in this session; for what would otherwise be said of every message."""
        return self.memory.first(*key)


class Moment(NamedTuple):
    """An event (an end of file, a silence that has lasted), with the session before and after it."""

    before: Session
    event: Event
    after: Session
    memory: Memory

    @property
    def sure(self) -> bool:
        return self.before.whole

    def first(self, *key: object) -> bool:
        return self.memory.first(*key)


class Slot(NamedTuple):
    """One sort of message: who sends it where, as what. Rules choose their slots once, not for every message."""

    protocol: str
    channel: str
    sender: int
    kind: Kind
    id: int | None
    row: Row | None


class Topic(NamedTuple):
    """What a rule listens to."""

    messages: Callable[[Slot], bool] | None = None
    events: frozenset[str] = frozenset()
    #: for people
    text: str = ""


class Rule(NamedTuple):
    #: exactly as in the documents
    id: str
    severity: Severity
    #: the check in one line
    text: str
    source: str
    on: tuple[Topic, ...]
    check: Callable[[Any], Outcome]
    #: dialects (``peers.DIALECTS``) that are known to bend it: then it weighs one step less
    bends: tuple[str, ...] = ()
    #: it also judges messages that are cut, or fit no layout
    malformed: bool = False
    #: what it finds depends on nothing but the message's octets, the number of its descriptors, and the features that
    #: were offered and agreed on; so it is not asked about the same again
    pure: bool = False
    #: a peer's refusal to go on with it is known; more for people
    notes: str = ""


Checked = TypeVar("Checked", Case, Moment, Case | Moment)


def rule(
    id: str, severity: Severity, text: str, source: str, *, on: Topic | tuple[Topic, ...], bends: tuple[str, ...] = (),
    malformed: bool = False, pure: bool = False, notes: str = "",
) -> Callable[[Callable[[Checked], Outcome]], Rule]:  # fmt: skip
    """Make a rule of a function. The name then stands for the rule."""
    topics = (on,) if isinstance(on, Topic) else on

    def make(check: Callable[[Checked], Outcome]) -> Rule:
        return Rule(id, severity, text, source, topics, check, bends, malformed, pure, notes)

    return make


# -- what there is to listen to


def request(*names: str, channel: str = "main", protocol: str = "vhost-user") -> Topic:
    """Requests of these names."""
    return _messages(names, ("request",), channel, protocol)


def reply(*names: str, channel: str = "main", protocol: str = "vhost-user") -> Topic:
    """Replies and acknowledgements to requests of these names."""
    return _messages(names, ("reply", "ack"), channel, protocol)


def _messages(names: tuple[str, ...], kinds: tuple[Kind, ...], channel: str, protocol: str) -> Topic:
    def listens(slot: Slot) -> bool:
        return (
            slot.row is not None
            and slot.row.name in names
            and slot.kind in kinds
            and (slot.protocol, slot.channel) == (protocol, channel)
        )

    return Topic(listens, text=f"{', '.join(names)} ({kinds[0]})")


def every(choose: Callable[[Slot], bool] = lambda slot: True, text: str = "every message") -> Topic:
    """Messages of vhost-user's own channels that ``choose`` chooses, pieces that could not be framed left out."""

    def listens(slot: Slot) -> bool:
        return (
            slot.protocol == "vhost-user"
            and slot.channel in ("main", "backend")
            and slot.kind != "raw"
            and choose(slot)
        )

    return Topic(listens, text=text)


def event(*names: str) -> Topic:
    """Events: eof, reset, close, unanswered, waiting (a request's age has reached 1, 2, 5, 10 … seconds), gap …"""
    return Topic(events=frozenset(names), text=", ".join(names))
