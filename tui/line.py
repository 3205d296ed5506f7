"""Lines as the panes make them: pieces of text, each with a role. What a role looks like is the theme's matter.

Every text that a peer, a file system or a user chose passes ``escape`` on its way here, so that it is never markup,
moves no cursor and turns no direction.
"""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap
from typing import Any, NamedTuple

#: a text and its role, one of ROLES
Span = tuple[str, str]

#: what a piece of text is; the names of component classes in panes.tcss are ``role--…``
ROLES = (
    "plain", "dim", "name", "value", "strong", "title", "front", "back", "spy", "error", "warning", "note", "ok", "new",
    "hit", "cursor", "link",
)  # fmt: skip


class Line(NamedTuple):
    """One line of a pane."""

    spans: tuple[Span, ...]
    #: what the line is about, by which it is found again: ("member", path), ("row", 12), …
    key: Any = None
    #: octets of the message that it speaks of: from, up to and without
    octets: tuple[int, int] | None = None
    #: it can be folded: None if not, else whether it is open
    open: bool | None = None
    #: the row that Enter leads to
    row: int | None = None
    #: what ``explain`` is asked for here
    subject: str = ""

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.spans)


def line(*spans: Span | str, **more: Any) -> Line:
    """A line of spans; a bare text is plain."""
    return Line(tuple((span, "plain") if isinstance(span, str) else span for span in spans), **more)


BLANK = Line(())


def wrapped(text: str, role: str, width: int, indent: str = "", first: Iterable[Span] = (), **more: Any) -> list[Line]:
    """A sentence, broken at ``width``; ``first`` stands before it, and later lines begin below its text."""
    before = tuple(first)
    start = sum(len(part) for part, _ in before) or len(indent)
    room = max(12, width - start)
    lines = wrap(text, room, break_long_words=True, break_on_hyphens=False) or [""]
    head: tuple[Span, ...] = before or ((indent, "plain"),)
    made = [Line((*head, (lines[0], role)), **more)]
    made += [Line(((" " * start, "plain"), (each, role)), **more) for each in lines[1:]]
    return made
