"""Rules as things that can be looked up: ``vhostspy explain VU-RPL-02``, and below each message those about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from vhostspy.dissectors import registry
from vhostspy.dissectors.explain import Article, Section, Subject
from vhostspy.dissectors.rows import Channel, Message, Protocol
from vhostspy.dissectors.spelling import full_name, squashed
from vhostspy.message import Kind

from .catalogue import RULES
from .rule import Rule, Slot

#: a rule that listens to more sorts of message than this is about messages in general
_PARTICULAR = 24


def with_rules(subjects: Iterable[Subject]) -> Iterator[Subject]:
    """The subjects, with the rules that are about them; then the rules themselves."""
    about = {title: tuple(rules) for title, rules in _about().items()}
    for subject in subjects:
        rules = about.get(subject.title, ())
        if rules:
            subject = subject._replace(
                article=partial(_article_with, subject, rules), value=partial(_value_with, subject, rules)
            )
        yield subject
    yield from map(_subject, RULES)


def _article_with(subject: Subject, rules: tuple[Rule, ...]) -> Article:
    article = subject.article()
    section = Section("rules about it", rows=tuple((rule.id, rule.severity, rule.text) for rule in rules))
    return article._replace(sections=(*article.sections, section))


def _value_with(subject: Subject, rules: tuple[Rule, ...]) -> dict[str, object]:
    return {**subject.value(), "rules": [rule.id for rule in rules]}


def _about() -> dict[str, list[Rule]]:
    """A message's full name -> the rules that listen to it in particular."""
    slots = list(_slots())
    about: dict[str, list[Rule]] = {}
    for rule in RULES:
        names = {title: None for title, slot in slots if any(on.messages and on.messages(slot) for on in rule.on)}
        if len(names) <= _PARTICULAR:
            for title in names:
                about.setdefault(title, []).append(rule)
    return about


def _slots() -> Iterator[tuple[str, Slot]]:
    for protocol in registry.PROTOCOLS.values():
        for channel in protocol.channels.values():
            for row in channel.messages.values():
                title = full_name(protocol, channel, row)
                for kind in ("request", "reply", "ack"):
                    yield title, _slot(protocol, channel, row, kind)


def _slot(protocol: Protocol, channel: Channel, row: Message, kind: Kind) -> Slot:
    sender = row.sender if kind == "request" else 1 - row.sender
    return Slot(protocol.name, channel.name, sender, kind, row.id, row)


def _subject(rule: Rule) -> Subject:
    return Subject(
        rule.id,
        "rules",
        rule.id,
        _sentence(rule),
        frozenset({squashed(rule.id), squashed(f"rule {rule.id}")}),
        partial(_article, rule),
        partial(_value, rule),
    )


def _sentence(rule: Rule) -> str:
    return f"{rule.text[:1].upper()}{rule.text[1:]}."


def _article(rule: Rule) -> Article:
    facts = [("looks at", "; ".join(on.text for on in rule.on))]
    if rule.bends:
        facts.append(("bent by", f"{', '.join(rule.bends)}: it then weighs one step less"))
    if rule.notes:
        facts.append(("note", rule.notes))
    facts.append(("source", rule.source))
    return Article(rule.id, f"rule, {rule.severity}", _sentence(rule), tuple(facts))


def _value(rule: Rule) -> dict[str, object]:
    return {
        "kind": "rule",
        "name": rule.id,
        "severity": rule.severity,
        "text": rule.text,
        "on": [on.text for on in rule.on],
        "bends": list(rule.bends),
        "notes": rule.notes,
        "source": rule.source,
    }
