"""Conversations that are judged: what each end says, and what the rules find."""

from __future__ import annotations

from typing import Any

from vhostspy.message import Finding
from vhostspy.pipeline import Pipeline
from vhostspy.rules.engine import Rules

from ..pipeline.conversation import Conversation, features

__all__ = ["BUSY", "Talk", "broken", "features", "found"]

#: protocol features of a session that can do most things
BUSY = sum(1 << bit for bit in (0, 1, 3, 5, 9, 10, 12, 13, 15, 16))


class Talk(Conversation):
    """A conversation of peers that nobody knows. ``profile`` says who they are."""

    def __init__(self, *, whole: bool = True, profile: tuple[str | None, str | None] = (None, None), **more: Any):
        super().__init__(Pipeline(rules=Rules(profile=profile)), whole=False, **more)
        if whole:
            self.event("open", text="session 1 begins", front_end={"path": "a.sock"}, back_end={"path": "b.sock"})

    @property
    def findings(self) -> list[Finding]:
        return [finding for item in self.items for finding in item.findings]


def found(talk: Talk, *but: str) -> list[tuple[str, str, int | None, int]]:
    """Rule, severity, who, message: all that was found, ``but`` what some rules say."""
    return [(one.rule, one.severity, one.who, one.no) for one in talk.findings if one.rule not in but]


def broken(talk: Talk, rule: str) -> list[tuple[str, int | None, int]]:
    """Severity, who, message: what one rule has found."""
    return [(one.severity, one.who, one.no) for one in talk.findings if one.rule == rule]
