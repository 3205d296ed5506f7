"""A filter as a tree: what each of its terms asks of a message, so that much can be said without reading the message.

A list of a million messages knows of each what sort it is, and where it stands; its members are to be read first.
``verdict`` answers from as much as is there: yes, no, or None where the rest decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from vhostspy.message import Message

from .names import Name, Test

#: what a term asks for: what messages of one sort have in common (sender, channel, header, how many descriptors) …
SORT: Final = 0
#: … what one of them is in its session: number, session, answer, findings …
PLACE: Final = 1
#: … or anything: members, octets, which descriptors
CONTENT: Final = 2

_SORT: Final = frozenset((
    "message", "id", "from", "channel", "channel_no", "protocol", "kind", "size", "length", "flags", "reads", "request",
    "reply", "ack", "raw", "need_reply", "changed", "dropped", "injected", "incomplete", "unknown",
))  # fmt: skip
_PLACE: Final = frozenset(("no", "session", "answers", "latency", "pending", "finding"))
_HEADER: Final = frozenset(
    f"{prefix}.{member}"
    for prefix in ("vhost_user", "vhost_user_gpu", "vfio_user")
    for member in ("request", "flags", "size")
)


class Node(NamedTuple):
    """A term, or terms put together."""

    test: Test
    #: SORT, PLACE, or CONTENT; the most that a part asks for
    asks: int = SORT
    #: "", "and", "or", "not"
    joined: str = ""
    parts: tuple[Node, ...] = ()


def term(name: Name, test: Test, counted: bool = True) -> Node:
    """``counted``: of descriptors only their number matters."""
    word = name.name
    if word in _SORT or word in _HEADER or (word == "fds" and counted):
        return Node(test)
    return Node(test, PLACE if word in _PLACE else CONTENT)


def join(joined: str, test: Test, *parts: Node) -> Node:
    return Node(test, max(part.asks for part in parts), joined, parts)


def verdict(node: Node, message: Message, known: int) -> bool | None:
    """Whether a message passes of which only ``known`` (SORT, PLACE, CONTENT) is there; None: the rest decides."""
    if node.asks <= known:
        return node.test(message)
    if node.joined == "and":
        return _first(False, (verdict(part, message, known) for part in node.parts))
    if node.joined == "or":
        return _first(True, (verdict(part, message, known) for part in node.parts))
    if node.joined == "not":
        inner = verdict(node.parts[0], message, known)
        return None if inner is None else not inner
    return None


def _first(decisive: bool, verdicts: Iterator[bool | None]) -> bool | None:
    """``decisive`` if there is one; None if there is none and not all are known."""
    found: bool | None = not decisive
    for one in verdicts:
        if one is decisive:
            return decisive
        if one is None:
            found = None
    return found
