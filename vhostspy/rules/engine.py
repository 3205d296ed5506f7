"""Holds what passes against the rules: a message costs little more than the rules that listen to it.

Which rules listen to a sort of message (``Slot``) is found out once. Everything that is remembered beside the session's
state ends with the session.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from vhostspy.capture.record import BY_SHIFT, DROPPED, INJECTED, SNAPPED
from vhostspy.message import Event, Finding, Message
from vhostspy.session.state import Session

from .catalogue import RULES
from .peers import OBSERVERS, TITLES, Portraits
from .rule import BOTH, SENDER, Breach, Case, Memory, Moment, Outcome, Rule, Severity, Slot
from .vfio_state import KEEPERS

#: what a rule weighs where its breaker is known to bend it; None: not worth a word then
LOWER: dict[Severity, Severity | None] = {"error": "warning", "warning": "note", "note": None}

#: the name too: one number may have two meanings
Key = tuple[str, str, int, str, int | None, str | None]


class Listeners:
    """The rules of one slot: those for all messages, and those that only see what fits a layout; pure and others."""

    __slots__ = ("any", "form", "keepers", "meaning", "observers", "pure_form", "pure_meaning")

    def __init__(self, observers: Iterable[Rule], rules: Iterable[Rule], keepers: Iterable[Rule]) -> None:
        #: asked before the rules, and after them
        self.observers = tuple(observers)
        self.keepers = tuple(keepers)
        listening = tuple(rules)
        self.any = bool(listening or self.observers or self.keepers)
        self.pure_form = tuple(rule for rule in listening if rule.malformed and rule.pure)
        self.pure_meaning = tuple(rule for rule in listening if not rule.malformed and rule.pure)
        self.form = tuple(rule for rule in listening if rule.malformed and not rule.pure)
        self.meaning = tuple(rule for rule in listening if not rule.malformed and not rule.pure)


class Rules:
    """``disabled``: rules that are not asked, by id. ``profile``: who the ends are (``peers.DIALECTS``), None: told
    from what they send; ``"unknown"``: nobody whom we know.
    """

    def __init__(
        self,
        disabled: Container[str] = (),
        profile: tuple[str | None, str | None] = (None, None),
        rules: Sequence[Rule] = RULES,
    ) -> None:
        self.rules = tuple(rule for rule in rules if rule.id not in disabled)
        self._profile = profile
        self._slots: dict[Key, Listeners] = {}
        self._events: dict[str, tuple[Rule, ...]] = {}
        self._memories: dict[int, Memory] = {}
        self._judged = 0

    def judge(self, before: Session, message: Message, after: Session) -> tuple[Finding, ...]:
        """What is wrong with a message that leads from the session ``before`` to the one ``after``."""
        if message.sender not in (0, 1) or message.marks & INJECTED:
            return ()  # not the peers' doing
        if message.marks & DROPPED and not message.marks >> BY_SHIFT:
            return ()  # nobody was there to take it: it has set nothing up that what comes behind it would need
        key = (message.protocol, message.channel, message.sender, message.kind, message.id, message.name)
        listeners = self._slots.get(key) or self._listeners(key, message)
        if not listeners.any:
            return ()
        memory = self._memories.get(before.number) or self._memory(before)
        self._judged += 1
        if not self._judged % TRIM_EVERY:
            for each in self._memories.values():
                each.trim()
        case = Case(before, message, after, memory, message.fields)
        clean = memory.still_clean(before)
        octets = (message.data, len(message.fds), key)
        # what is the same as before is right as before; what came in a remarkable way is looked at each time
        known = not message.marks and octets in clean
        findings: list[Finding] = []
        for observer in listeners.observers:
            observer.check(case)
        if not known and listeners.pure_form:
            self._ask(listeners.pure_form, case, findings)
        if listeners.form:
            self._ask(listeners.form, case, findings)
        if (listeners.meaning or listeners.pure_meaning and not known) and (known or _readable(message)):
            if not known:
                self._ask(listeners.pure_meaning, case, findings)
            self._ask(listeners.meaning, case, findings)
        for keeper in listeners.keepers:
            keeper.check(case)
        if findings:
            return tuple(findings)
        if not known and len(message.data) <= MOST_OCTETS and not message.marks and _readable(message):
            clean.add(octets)
        return ()

    def _ask(self, rules: tuple[Rule, ...], case: Case, findings: list[Finding]) -> None:
        for rule in rules:
            outcome = rule.check(case)
            if outcome is not None:
                self._found(findings, rule, outcome, case.message, case)

    def judge_event(self, before: Session, event: Event, after: Session) -> tuple[Finding, ...]:
        """What an event shows to be wrong: a silence that has lasted, an end of file at the wrong time."""
        listeners = self._events.get(event.event)
        if listeners is None:
            listeners = self._events[event.event] = tuple(
                rule for rule in self.rules if any(event.event in topic.events for topic in rule.on)
            )
        findings: list[Finding] = []
        if listeners:
            moment = Moment(before, event, after, self._memory(before))
            for rule in listeners:
                outcome = rule.check(moment)
                if outcome is not None:
                    self._found(findings, rule, outcome, event, moment)
        return tuple(findings)

    def lose(self) -> None:
        """Records are missing: of what was under way nothing is certain any more."""
        for memory in self._memories.values():
            memory.lose()

    def forget(self, session: int) -> None:
        """The session has ended."""
        self._memories.pop(session, None)

    def _memory(self, session: Session) -> Memory:
        memory = self._memories.get(session.number)
        if memory is None:
            memory = self._memories[session.number] = Memory(Portraits(self._profile))
        return memory

    def _listeners(self, key: Key, message: Message) -> Listeners:
        if len(self._slots) > MOST_SLOTS:
            self._slots.clear()  # peers may make up message numbers
        slot = Slot(message.protocol, message.channel, message.sender, message.kind, message.id, message.row)
        chosen = [[rule for rule in rules if _listens(rule, slot)] for rules in (OBSERVERS, self.rules, KEEPERS)]
        listeners = self._slots[key] = Listeners(*chosen)
        return listeners

    def _found(
        self, findings: list[Finding], rule: Rule, outcome: Outcome, item: Message | Event, case: Case | Moment
    ) -> None:
        if isinstance(outcome, str):
            outcome = Breach(outcome)
        breaches: Sequence[Breach] = (outcome,) if isinstance(outcome, Breach) else outcome or ()
        for breach in breaches:
            finding = _finding(rule, breach, item, case)
            if finding is not None:
                findings.append(finding)


def _listens(rule: Rule, slot: Slot) -> bool:
    return any(topic.messages is not None and topic.messages(slot) for topic in rule.on)


MOST_SLOTS = 4096
#: messages between two looks at what the rules have noted
TRIM_EVERY = 4096
#: longer messages are judged each time
MOST_OCTETS = 256


def _readable(message: Message) -> bool:
    """It is whole and fits a layout, so its members are there; of an error in vfio-user there are none."""
    if message.kind == "raw" or message.incomplete or message.marks & SNAPPED:
        return False
    if message.row is None or message.refused:
        return message.row is not None
    decoded = message.decoded
    return decoded.layout is not None and not decoded.missing and not decoded.rest


def _finding(rule: Rule, breach: Breach, item: Message | Event, case: Case | Moment) -> Finding | None:
    who = item.sender if breach.who == SENDER else breach.who
    severity = breach.severity or rule.severity
    text = breach.text
    if rule.bends and not breach.harmful and who is not None and who != BOTH:
        known = case.memory.peers.known(who, rule.bends)
        if known is not None:
            lower = LOWER[severity]
            if lower is None:
                return None
            severity = lower
            text = f"{text} ({TITLES.get(known, known)} is known to do so)"
    no = breach.no
    if no is None:
        if isinstance(item, Message):
            no = item.no
        else:
            about = item.facts.get("no", item.facts.get("after", 0))
            no = about if isinstance(about, int) else 0
    evidence = tuple(dict.fromkeys(one for one in (*breach.evidence, no) if one))
    return Finding(rule.id, severity, who, text, rule.source, no, evidence, case.before.number)
