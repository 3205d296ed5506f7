"""Two messages side by side: the members by which they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vhostspy.message import Message, end_name

from .facts import Facts, Strictness, facts

Value = int | str | None

#: of so many members people are told how they differ
_MOST_TOLD = 40
#: beside these, what the members are does not matter any more
_DECIDING = ("message", "kind", "channel", "from")


class Difference(NamedTuple):
    """One member; None: not there. A bit is ``member.NAME``, True or False."""

    member: str
    expected: Value
    came: Value

    def __str__(self) -> str:
        return f"{self.member}: expected {written(self.expected)}, came {written(self.came)}"


def differences(
    expected: Message, came: Message, strictness: Strictness = Strictness.SEMANTIC
) -> tuple[Difference, ...]:
    """The members by which they differ, in the order of the wire; none: by this strictness they are the same.

    Messages of different names, kinds, channels or ends differ in that alone; one of which a capture has kept the
    beginning only, in what both have.
    """
    one, other = facts(expected, strictness), facts(came, strictness)
    if expected.snapped or came.snapped:
        shared = (one.keys() & other.keys()) - {"rest", "bytes"}
        one, other = ({name: value for name, value in each.items() if name in shared} for each in (one, other))
    return different(one, other)


def different(expected: Facts, came: Facts) -> tuple[Difference, ...]:
    """The same, of facts that are at hand already."""
    if expected == came:
        return ()
    found = [_difference(name, expected, came) for name in _DECIDING if expected.get(name) != came.get(name)]
    if not found:
        names = [*expected, *(name for name in came if name not in expected)]
        found = [_difference(name, expected, came) for name in names if expected.get(name) != came.get(name)]
        if len(found) > 1:
            # said by their members already; nothing instead of not being there, by what is beside it
            found = [one for one in found if one.member != "bytes" and {one.expected, one.came} != {None, ""}]
    return tuple(found)


def _difference(name: str, expected: Facts, came: Facts) -> Difference:
    one, other = expected.get(name), came.get(name)
    # a bit that is not set is no fact
    if one is None and other is True:
        one = False
    if other is None and one is True:
        other = False
    return Difference(name, one, other)


def written(value: Value) -> str:
    """A value for people."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value} ({value:#x})" if abs(value) > 4095 else str(value)
    if len(value) > 64:
        return f"{value[:64]}…"
    return value or "nothing"


def told(expected: Message | None, came: Message | None, found: Iterable[Difference] = ()) -> Iterator[str]:
    """Both messages with their numbers, and a line a difference below; for a terminal, a report, an assertion."""
    either = expected or came
    if either is None:
        return
    who = end_name(either.protocol, either.sender)
    if came is None:
        yield f"{named(either)} #{either.no} from the {who} did not come"
    elif expected is None:
        yield f"{named(either)} #{either.no} from the {who} was not expected"
    else:
        title = named(expected) if named(expected) == named(came) else f"{named(expected)} or {named(came)}"
        yield f"{title} from the {who}: expected #{expected.no}, came #{came.no}"
    lines = [(one.member, written(one.expected), written(one.came)) for one in found]
    width = max((len(member) for member, _, _ in lines[:_MOST_TOLD]), default=0)
    for member, one, other in lines[:_MOST_TOLD]:
        yield f"    {member:<{width}}  expected {one}, came {other}"
    if len(lines) > _MOST_TOLD:
        yield f"    and {len(lines) - _MOST_TOLD} more"


def named(message: Message) -> str:
    """What a message is called in a sentence."""
    if message.kind == "raw":
        return "unread octets"
    name = message.name or f"message {message.id}"
    return name if message.kind == "request" else f"{name} {message.kind}"
