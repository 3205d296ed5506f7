"""The filter language of lists, command lines and breakpoints: text in, a function of a message out.

Wireshark's operators, and the names of our Wireshark dissector; ``docs/filters.md`` has it as a table of examples.
The text becomes closures, each a test of one message, so that a million messages cost one call each and not one parse
each.

A name stands for all values that a message has under it: none, one, or several (the sizes of all its regions). ``==``
and its like hold when one of them does; ``!=`` when there are some and none is equal; ``!(… == …)`` also when there
are none. A name alone asks whether there is something: a flag that is set, a member that exists, a count that is not
0.
"""

from __future__ import annotations

from typing import NamedTuple

from vhostspy.errors import WrongUse
from vhostspy.message import Message

from .names import Test
from .parser import Parser
from .tree import CONTENT, PLACE, SORT, Node, verdict
from .words import FilterError

__all__ = ["CONTENT", "PLACE", "SORT", "Filter", "FilterError", "asked_for", "compile"]

MOST_LETTERS = 10_000


class Filter(NamedTuple):
    """A filter, ready to ask: ``filter(message)``."""

    text: str
    test: Test
    #: it asks for ``pending``: only what comes later tells whether a request stays one (see ``settled``)
    pending: bool = False
    #: the same in its parts
    tree: Node | None = None

    def verdict(self, message: Message, known: int) -> bool | None:
        """Whether a message passes of which only so much is known (SORT, PLACE, CONTENT); None: the rest decides."""
        return None if self.tree is None else verdict(self.tree, message, known)

    def __call__(self, message: Message) -> bool:
        return self.test(message)

    def settled(self, message: Message, answered: bool) -> bool:
        """The same, once it is known whether a request that is waited for got its answer."""
        return self.test(message._replace(awaited=False)) if message.awaited and answered else self.test(message)


def compile(text: str) -> Filter:
    """Read a filter; the empty one lets everything pass. Raises FilterError."""
    if len(text) > MOST_LETTERS:
        raise FilterError(text[:60], 0, f"a filter of {len(text)} characters is too long")
    parser = Parser(text)
    tree = parser.whole()
    return Filter(text, tree.test, parser.pending, tree)


def asked_for(text: str) -> Filter:
    """The filter of a command line; raises WrongUse with the mistake and its place below each other."""
    try:
        return compile(text)
    except FilterError as mistake:
        raise WrongUse(f"-Y: {mistake}\n{mistake.pointing()}") from None
