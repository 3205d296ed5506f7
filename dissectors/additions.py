"""Rows that users add: messages that no release knows yet. ``docs/dissectors.md`` shows how.

A file of Python calls ``add`` for each message; ``--dissector FILE`` runs it before anything is read. What is made of
rows is made when it is needed, so an added message is everywhere where the others are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import cast

from .heads import forget
from .plan import plan
from .registry import PROTOCOLS
from .rows import Array, Bytes, Chain, Channel, Field, Layout, Message, Word, member_names, with_nested

__all__ = ["add", "add_features", "load"]


def load(path: str) -> None:
    """Run a file of Python that adds rows (``--dissector``); whatever it raises, it raises here."""
    from runpy import run_path

    run_path(path, run_name="dissector")


def add(protocol: str, channel: str, message: Message) -> None:
    """Make a message known. If its number is taken, the payload's size tells the two apart, and this one comes first.

    Raises ValueError, with what is wrong, for rows that nothing could be derived from.
    """
    known = PROTOCOLS.get(protocol)
    if known is None:
        raise ValueError(f"there is no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
    found = known.channels.get(channel)
    if found is None:
        raise ValueError(f"{protocol} has no channel {channel!r}; it has {', '.join(known.channels)}")
    for row in (message, *message.others):
        _check(row, found)
    messages = cast("dict[tuple[int, int], Message]", found.messages)
    key = (message.sender, message.id)
    before = messages.get(key)
    if before is not None:
        others = [each for each in (before, *before.others) if each.name != message.name]
        message = message._replace(others=(*message.others, *(each._replace(others=()) for each in others)))
    messages[key] = message
    forget()


def add_features(protocol: str, names: Mapping[int, str]) -> None:
    """Give bits of the protocol's own features a name: bit number -> name."""
    known = PROTOCOLS.get(protocol)
    if known is None or known.features is None:
        raise ValueError(f"there is no protocol {protocol!r} with features of its own")
    for bit, name in names.items():
        if not 0 <= bit < 64:
            raise ValueError(f"{name}: there is no bit {bit} in 64 bits")
    cast("dict[int, str]", known.features.names).update(names)


def _check(message: Message, channel: Channel) -> None:
    """Whether a row can be used by everything that is derived from rows."""
    name = message.name
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ValueError(f"{name}: a message is named in capitals, as in the specification: SET_OWNER")
    if not (message.source and message.text):
        raise ValueError(f"{name}: source (where it is written) and text (what it is) are missing")
    if message.sender not in (0, 1):
        raise ValueError(f"{name}: sender is FRONT_END or BACK_END, not {message.sender!r}")
    if not 0 <= message.id < (1 << (16 if channel.header.id_type == "u16" else 32)):
        raise ValueError(f"{name}: {message.id} is no number of a message")
    if message.answer == "reply" and message.reply is None:
        raise ValueError(f"{name}: answer is 'reply', and reply, the layouts it may have, is missing")
    taken = set(member_names(channel.header.layout)) | {"rest"}
    for layout in (*message.request, *(message.reply or ())):
        plan(layout, "<")
        for each in with_nested(layout):
            names = member_names(each)
            for member in names:
                if not re.fullmatch(r"[a-z][a-z0-9_]*", member):
                    raise ValueError(
                        f"{name}: {member!r} of {each.name} is no name for a member: small letters, digits, _"
                    )
                if member in taken:
                    raise ValueError(f"{name}: a member of {each.name} cannot be called {member!r}: the header's is")
                if names.count(member) > 1:
                    raise ValueError(f"{name}: {each.name} has two members called {member!r}")
            if each.when is not None and each.when[0] not in _integers(each):
                raise ValueError(f"{name}: {each.name}: {each.when[0]!r}, which 'when' asks for, is no integer in it")
            _check_words(name, each)
            for member, number in _counted(each):
                if number not in names[: names.index(member)]:
                    raise ValueError(
                        f"{name}: {each.name}: {number!r}, which tells of {member}, is no member before it"
                    )


def _check_words(name: str, layout: Layout) -> None:
    words = [member for member in layout.members if isinstance(member, Word)]
    if len(words) > 1:
        raise ValueError(f"{name}: {layout.name} has {len(words)} words, whose other bits would both be 'reserved'")
    for word in words:
        if word.type not in _WIDTHS:
            raise ValueError(
                f"{name}: {layout.name}: a word has no sign, {word.type!r} is none of {', '.join(_WIDTHS)}"
            )
        bits = [bit for part in word.parts for bit in range(part.low, part.low + max(part.width, 1))]
        if len(set(bits)) < len(bits) or min(bits, default=0) < 0 or max(bits, default=0) >= _WIDTHS[word.type]:
            raise ValueError(f"{name}: {layout.name}: parts of a word lie side by side, within its {word.type}")


_WIDTHS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64}


def _integers(layout: Layout) -> set[str]:
    parts = {part.name for member in layout.members if isinstance(member, Word) for part in member.parts}
    return parts | {member.name for member in layout.members if isinstance(member, Field)}


def _counted(layout: Layout) -> Iterator[tuple[str, str]]:
    """Members whose extent an earlier one tells, and that one's name."""
    for member in layout.members:
        if isinstance(member, Chain):
            yield member.name, member.first
        elif isinstance(member, Bytes) and isinstance(member.size, str):
            yield member.name, member.size
        elif isinstance(member, Array) and isinstance(member.times, str):
            yield member.name, member.times
