"""Conversations that are judged: what each end says, and what the rules find."""

from __future__ import annotations

from functools import partial
from typing import Any

from vhostspy.message import Finding
from vhostspy.pipeline import Pipeline
from vhostspy.rules.catalogue import RULES
from vhostspy.rules.engine import Rules
from vhostspy.rules.rule import Case, Moment, Outcome, Rule

from ..pipeline.conversation import Conversation, features

__all__ = ["BUSY", "Talk", "broken", "features", "found"]

#: protocol features of a session that can do most things
BUSY = sum(1 << bit for bit in (0, 1, 3, 5, 9, 10, 12, 13, 15, 16))

# What all conversations together show of the rules, for test_every_rule.
#: rules that some conversation has broken
BROKEN: set[str] = set()
#: rules that one was held to although, asked, they had found nothing; and although they were not asked
KEPT: set[str] = set()
UNASKED: set[str] = set()


class Talk(Conversation):
    """A conversation of peers that nobody knows. ``profile`` says who they are."""

    def __init__(self, *, whole: bool = True, profile: tuple[str | None, str | None] = (None, None), **more: Any):
        #: rules that were asked about something in this conversation
        self.asked: set[str] = set()
        rules = [rule._replace(check=partial(_ask, rule, self.asked)) for rule in RULES]
        super().__init__(Pipeline(rules=Rules(profile=profile, rules=rules)), whole=False, **more)
        if whole:
            self.event("open", text="session 1 begins", front_end={"path": "a.sock"}, back_end={"path": "b.sock"})

    @property
    def findings(self) -> list[Finding]:
        return [finding for item in self.items for finding in item.findings]


def _ask(rule: Rule, asked: set[str], case: Case | Moment) -> Outcome:
    asked.add(rule.id)
    return rule.check(case)


def found(talk: Talk, *but: str) -> list[tuple[str, str, int | None, int]]:
    """Rule, severity, who, message: all that was found, ``but`` what some rules say."""
    came: list[tuple[str, str, int | None, int]] = [
        (one.rule, one.severity, one.who, one.no) for one in talk.findings if one.rule not in but
    ]
    BROKEN.update(rule for rule, *_ in came)
    if not came:
        KEPT.update(talk.asked.difference(but))
    return came


def broken(talk: Talk, rule: str) -> list[tuple[str, int | None, int]]:
    """Severity, who, message: what one rule has found."""
    came: list[tuple[str, int | None, int]] = [
        (one.severity, one.who, one.no) for one in talk.findings if one.rule == rule
    ]
    if came:
        BROKEN.add(rule)
    else:
        (KEPT if rule in talk.asked else UNASKED).add(rule)
    return came
