"""Records in, messages and events out: the one path from a capture to everything that looks at it.

A pipeline names each message, finds the request that it answers, keeps the sessions, and says who waits. It reads no
clock: what a request's age is follows from the records' times, and, while a capture grows, from ``tick``. So a file
shows what was shown live.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from vhostspy.capture.record import DROPPED, EVENT, INCOMPLETE, MESSAGE, ORIGINAL, RAW, SAMPLE, Record
from vhostspy.dissectors import virtio
from vhostspy.message import Event, Finding, Message, answering, awaiting, end_name, judged, read
from vhostspy.session import ledger as ledgers
from vhostspy.session import state
from vhostspy.session.events import after_gap, channel_ended, step_event
from vhostspy.session.state import Session
from vhostspy.session.transitions import step

if TYPE_CHECKING:
    # a view without findings starts without all the rules
    from vhostspy.rules.engine import Rules

Item = Message | Event

#: the ages at which a request is said to be unanswered, in seconds; after the last, each time its age has doubled
WAITING_S = (1, 2, 5, 10, 30, 60)
SECOND = 1_000_000_000
#: records reach a growing file at most so long after their time: who follows it ticks that much later
LAG_NS = 250_000_000
_NEVER = 1 << 63
#: how many ended sessions are kept for those that follow on the same sockets
MOST_ENDED = 64
#: and how many that have not ended: a capture may say anything
MOST_OPEN = 4096


class Snapshot(NamedTuple):
    """All that a pipeline knows at one moment, its rules' memory left out."""

    device: str | None
    sessions: tuple[Session, ...]
    ended: tuple[int, ...]
    originals: Mapping[tuple[int, str, int, int], bytes]
    told: Mapping[tuple[int, int], int]
    due_ns: int
    called_off: frozenset[tuple[int, int]]
    last_ns: int
    highest: int


class Pipeline:
    """One capture's way from records to messages.

    ``device``: the device type as the user gives it, for every session; None: inferred. ``rules``: what all of it is
    held against; None: messages and events have no findings.
    """

    def __init__(self, device: str | None = None, rules: Rules | None = None) -> None:
        self.device = device
        self.rules = rules
        #: sessions by number: those that are open, and the latest that ended
        self.sessions: dict[int, Session] = {}
        self._ended: list[int] = []
        #: where the relay listened
        self._listen: tuple[str, ...] = ()
        #: (session, channel, number, sender) -> what came, until what went on in its place is here
        self._originals: dict[tuple[int, str, int, int], bytes] = {}
        #: (session, request's number) -> how often its silence was spoken of
        self._told: dict[tuple[int, int], int] = {}
        #: monotonic time at which the next silence is due; early at worst
        self._due_ns = _NEVER
        #: (session, request's number) of those that an end of file has already called unanswered
        self._called_off: set[tuple[int, int]] = set()
        self._last_ns = 0
        #: the highest number of a message; where captures were merged, lower ones may follow
        self._highest = 0

    def snapshot(self) -> Snapshot:
        """What is known now, to go on from later: a copy that shares all that is immutable."""
        return Snapshot(
            self.device, tuple(self.sessions.values()), tuple(self._ended), dict(self._originals), dict(self._told),
            self._due_ns, frozenset(self._called_off), self._last_ns, self._highest,
        )  # fmt: skip

    @classmethod
    def from_snapshot(cls, known: Snapshot) -> Self:
        """A pipeline that goes on from there, without rules."""
        pipeline = cls(known.device)
        pipeline.sessions = {session.number: session for session in known.sessions}
        pipeline._ended = list(known.ended)
        pipeline._originals = dict(known.originals)
        pipeline._told = dict(known.told)
        pipeline._due_ns = known.due_ns
        pipeline._called_off = set(known.called_off)
        pipeline._last_ns = known.last_ns
        pipeline._highest = known.highest
        return pipeline

    def feed(self, record: Record) -> Iterable[Item]:
        """What a record turns into, with the silences that were due before it."""
        if record.number > self._highest:
            if record.number > self._highest + 1:
                self._missing(record)
            self._highest = record.number
        now = record.monotonic_ns
        before = self._silences(now) if now > self._due_ns else ()
        if now > self._last_ns:
            self._last_ns = now
        if record.kind == MESSAGE or record.kind == RAW:
            message = self._message(record)
            return before if message is None else (*before, message)
        if record.kind == EVENT or record.kind == SAMPLE:
            return (*before, *self._event(record))
        return before

    def tick(self, now_ns: int) -> Iterable[Event]:
        """The silences that are due at monotonic time ``now_ns``; records of an earlier time must all have been fed."""
        return self._silences(now_ns) if now_ns > self._due_ns else ()

    def finish(self) -> Iterable[Event]:
        """The capture is at its end: what is unanswered stays so. Harmless when it was said before."""
        events: list[Event] = []
        for number in list(self.sessions):
            session = self.sessions[number]
            if any(True for _ in ledgers.outstanding(session.ledger)):
                events += self._unanswered(session, " when the capture ends")
        return events

    # -- messages

    def _message(self, record: Record) -> Message | None:
        key = (record.session, record.channel, record.channel_no, record.sender)
        if record.flags & ORIGINAL:
            if len(self._originals) < MOST_OPEN:
                self._originals[key] = record.data
            return None
        session = self.sessions.get(record.session)
        if session is None:
            session = self._begin(record)
        message = read(record, session.context, self._originals.pop(key, None) if self._originals else None)
        if message.kind == "request":
            # what did not get there whole is not answered
            if not message.marks & (DROPPED | INCOMPLETE) and ledgers.expects_answer(message, session.context):
                message = awaiting(message)
                self._due_ns = min(self._due_ns, record.monotonic_ns + WAITING_S[0] * SECOND)
        elif message.kind != "raw":
            request = ledgers.request_answered(session.ledger, message)
            if request is not None:
                message = answering(message, request)
                if self._told:
                    self._told.pop((session.number, request.no), None)
        if not session.protocol and record.protocol:
            session = session._replace(protocol=record.protocol)
        after = self.sessions[record.session] = step(session, message)
        if self.rules is not None:
            findings = self.rules.judge(session, message, after)
            if findings:
                return judged(message, findings)
        return message

    def _missing(self, record: Record) -> None:
        """Numbers are left out before it: somebody has cut or filtered the capture.

        One that begins with a later session lacks the earlier ones, and nothing of this.
        """
        if self._highest or record.session == 1 or record.channel not in ("main", ""):
            self._after_gap()

    def _after_gap(self) -> None:
        self.sessions = {number: after_gap(one) for number, one in self.sessions.items()}
        if self.rules is not None:
            self.rules.lose()

    def _begin(self, record: Record) -> Session:
        if len(self.sessions) >= MOST_OPEN + MOST_ENDED:
            self._forget(next(iter(self.sessions)))
        session = state.new(record.session, record.protocol, self.device)
        if record.previous:
            before = self.sessions.get(record.previous)
            if before is not None:
                # one back is enough, and keeps a day of reconnects from being one chain in memory
                session = session._replace(previous=before._replace(previous=None))
        self.sessions[record.session] = session
        return session

    def _forget(self, number: int) -> None:
        """All that is known of a session, whether it has ended or not."""
        self.sessions.pop(number, None)
        if self.rules is not None:
            self.rules.forget(number)
        self._told = {key: times for key, times in self._told.items() if key[0] != number}
        self._originals = {key: data for key, data in self._originals.items() if key[0] != number}
        self._called_off = {key for key in self._called_off if key[0] != number}

    # -- events

    def _event(self, record: Record) -> list[Event]:
        facts = _facts(record.data)
        name = facts.pop("event", None)
        text = facts.pop("text", "")
        sender = record.sender if record.sender in (0, 1) else None
        event = Event(
            name if isinstance(name, str) else "unknown",
            record.time_ns,
            record.monotonic_ns,
            record.session,
            record.channel,
            record.channel_no,
            sender,
            record.protocol,
            text if isinstance(text, str) else str(text),
            facts,
        )
        if not record.session:
            return self._of_all(event)
        session = self.sessions.get(record.session)
        if session is None:
            session = self._begin(record)
        if event.event in ("eof", "reset"):
            last = facts.get("after")
            if isinstance(last, int) and self._highest < last < _NEVER:
                self._after_gap()
                session = self.sessions[record.session]
            event = self._closing(session, event)
        before = session
        session = self.sessions[record.session] = step_event(session, event)
        event = self._judged(before, event, session)
        if event.event == "close":
            return self._close(session, event)
        return [event]

    def _of_all(self, event: Event) -> list[Event]:
        """An event of the capture, not of a session: it starts, has a gap, ends."""
        if event.event == "start":
            if self.device is None:
                # what the relay was told holds for whoever reads its capture, unless they know better
                self.device = _known_device(event.facts.get("device"))
            listen = event.facts.get("listen")
            self._listen = tuple(map(str, listen)) if isinstance(listen, list) else ()
        elif event.event == "gap":
            self._after_gap()
        elif event.event == "end":
            return [*self.finish(), self._judged_end(event)]
        return [event]

    def _judged(self, before: Session, event: Event, after: Session | None = None) -> Event:
        if self.rules is None:
            return event
        findings = self.rules.judge_event(before, event, before if after is None else after)
        return event._replace(findings=findings) if findings else event

    def _judged_end(self, event: Event) -> Event:
        """The relay ends: what is to be said of sessions that nobody came after. They are told where it listened."""
        if self.rules is None:
            return event
        moment = event._replace(facts={**event.facts, "listen": self._listen})
        followed = {one.previous.number for one in self.sessions.values() if one.previous is not None}
        findings: list[Finding] = []
        for session in self.sessions.values():
            if session.number not in followed:
                findings += self.rules.judge_event(session, moment, session)
        return event._replace(findings=tuple(findings)) if findings else event

    def _closing(self, session: Session, event: Event) -> Event:
        """Say of an end of file whether it was the first, and what it leaves unanswered."""
        key = (event.channel, event.channel_no)
        channel = session.channels.get(key)
        first = channel is None or not channel.closed
        who = end_name(event.protocol, event.sender) if event.sender is not None else "a peer"
        where = f" the {event.channel} channel" if event.channel not in ("main", "") else ""
        what = f"closed{where}"
        if event.event == "reset":
            # the relay's own words tell more where the socket failed in another way
            failure = event.text.startswith("failed")
            what = f"{event.text}{where and ' on' + where}" if failure else f"reset{where or ' the connection'}"
        text = f"{who} {what}{' first' if first else ''}"
        waiting = [request for request in ledgers.outstanding(session.ledger, key) if first]
        facts = dict(event.facts)
        queue = session.ledger.get(key)
        if "after" not in facts and queue is not None and event.sender is not None:
            facts["after"] = queue.last[event.sender]
        if waiting:
            oldest = waiting[0]
            text += f", {_called(oldest)} unanswered for {_age(event.monotonic_ns - oldest.monotonic_ns)}"
            if len(waiting) > 1:
                text += f" and {len(waiting) - 1} more"
            facts["waiting"] = oldest.no
            self._called_off.add((session.number, oldest.no))
        return event._replace(text=text, facts=facts)

    def _close(self, session: Session, event: Event) -> list[Event]:
        events = [*self._unanswered(session), event]
        if self.rules is not None:
            self.rules.forget(session.number)
        self._ended.append(session.number)
        if len(self._ended) > MOST_ENDED:
            self._forget(self._ended.pop(0))
        return events

    # -- who waits

    def _silences(self, now_ns: int) -> list[Event]:
        """Waiting events of all ages that were reached before ``now_ns``, in the order of their time."""
        events: list[Event] = []
        due = _NEVER
        for session in self.sessions.values():
            for request in ledgers.outstanding(session.ledger):
                told = self._told.get((session.number, request.no), 0)
                while (at := request.monotonic_ns + _waiting_ns(told)) < now_ns:
                    events.append(self._judged(session, _waiting(session, request, _waiting_ns(told))))
                    told += 1
                    self._told[session.number, request.no] = told
                due = min(due, at)
        self._due_ns = due
        if len(self._told) > MOST_OPEN:
            # requests that the ledger let go are not waited for any more
            waiting = {
                (each.number, one.no) for each in self.sessions.values() for one in ledgers.outstanding(each.ledger)
            }
            self._told = {key: times for key, times in self._told.items() if key in waiting}
        events.sort(key=lambda event: event.monotonic_ns)
        return events

    def _unanswered(self, session: Session, when: str = "") -> list[Event]:
        """A session ends: an event for each request that now stays unanswered; nobody waits afterwards."""
        events = []
        for request in ledgers.outstanding(session.ledger):
            key = (session.number, request.no)
            if key not in self._called_off:
                age_ns = max(0, self._last_ns - request.monotonic_ns)
                events.append(self._judged(session, _unanswered(session, request, age_ns, when)))
            self._told.pop(key, None)
            self._called_off.discard(key)
        for channel in session.ledger:
            session = channel_ended(session, channel)
        self.sessions[session.number] = session
        return events


def _facts(data: bytes) -> dict[str, Any]:
    """An event's JSON object; what is none is kept as text, never an error."""
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError):
        facts = None
    if isinstance(facts, dict):
        return facts
    return {"event": "unknown", "text": data.decode("utf-8", "replace")}


def _known_device(name: object) -> str | None:
    found = virtio.find(name) if isinstance(name, str) else None
    return found.name if found is not None else None


def _waiting_ns(times_told: int) -> int:
    """The age at which a silence is spoken of next."""
    if times_told < len(WAITING_S):
        return WAITING_S[times_told] * SECOND
    return (WAITING_S[-1] << (times_told - len(WAITING_S) + 1)) * SECOND


def _called(request: Message) -> str:
    name = request.name or f"message {request.id}"
    return f"{name} #{request.no}"


def _age(ns: int) -> str:
    """Ages are spoken of in seconds, or in what they have below one."""
    if ns >= 60 * SECOND:
        return f"{ns // SECOND} s"
    if ns >= SECOND:
        return f"{ns / SECOND:.1f} s"
    return f"{ns / 1_000_000:.1f} ms" if ns >= 1_000_000 else f"{ns // 1000} µs"


def _about(session: Session, request: Message, name: str, age_ns: int, text: str, facts: Mapping[str, Any]) -> Event:
    return Event(
        name,
        request.time_ns + age_ns,
        request.monotonic_ns + age_ns,
        session.number,
        request.channel,
        request.channel_no,
        request.sender,
        session.protocol,
        text,
        {"no": request.no, **facts},
    )


def _waiting(session: Session, request: Message, age_ns: int) -> Event:
    text = f"{_called(request)} unanswered for {_age(age_ns)}"
    return _about(session, request, "waiting", age_ns, text, {"age_ns": age_ns})


def _unanswered(session: Session, request: Message, age_ns: int, when: str) -> Event:
    text = f"{_called(request)} unanswered"
    if age_ns > 0:
        text += f" for {_age(age_ns)}"
    text += when
    return _about(session, request, "unanswered", age_ns, text, {"age_ns": age_ns})
