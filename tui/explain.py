"""The explain page: what ``vhostspy explain`` says, with its colours."""

from __future__ import annotations

import re
from functools import lru_cache

from vhostspy.dissectors import explain
from vhostspy.dissectors.explain import Book
from vhostspy.rules.subjects import with_rules

from .line import Line, Span, line

_ARTICLES = 4
_ROLES = {"title": "strong", "head": "dim", "label": "title"}
#: paint is told by characters that no text has
_PAINTED = re.compile("\ue000(.)(.*?)\ue001")
_CODES = {"t": "title", "h": "head", "l": "label"}


@lru_cache(maxsize=1)
def book() -> Book:
    return Book(with_rules(explain.every()))


def explain_lines(name: str, width: int) -> list[Line]:
    """The articles about whatever has that name; what may have been meant where nothing has."""
    found = book().find(name)
    if not found:
        near = book().near(name)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return [line((f"nothing is called {name}{hint}", "warning"))]
    lines: list[Line] = []
    if len(found) > _ARTICLES:
        for subject in found:
            lines.append(line((f"{subject.title:<34}  ", "name"), (subject.text, "plain"), subject=subject.title))
        return lines
    for place, subject in enumerate(found):
        if place:
            lines += [line(), line(("─" * min(width, 60), "dim")), line()]
        lines += [_line(text) for text in explain.render(subject.article(), min(width, 120), _paint)]
    return lines


def names() -> list[str]:
    """All that can be explained, for completion."""
    return [subject.title for subject in book().subjects]


def _paint(text: str, what: str) -> str:
    return f"\ue000{what[0]}{text}\ue001"


def _line(text: str) -> Line:
    spans: list[Span] = []
    at = 0
    for part in _PAINTED.finditer(text):
        spans.append((text[at : part.start()], "plain"))
        spans.append((part[2], _ROLES[_CODES[part[1]]]))
        at = part.end()
    spans.append((text[at:], "plain"))
    return Line(tuple(span for span in spans if span[0]))
