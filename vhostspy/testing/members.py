"""Members by name: bits and values may be given as what they are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vhostspy.dissectors import virtio
from vhostspy.dissectors.rows import Field, Layout, Message, Names, Word
from vhostspy.nearest import nearest


def by_number(row: Message, reply: bool, members: Mapping[str, object], device: str | None) -> dict[str, object]:
    """The members as they are on the wire: ``["VERSION_1"]`` and ``"VERSION_1"`` become bits, names their value.

    Raises ValueError for a name that nothing has.
    """
    layouts = (row.reply or ()) if reply else row.request
    names = {name: each for layout in layouts for name, each in _named(layout)}
    return {name: _number(name, value, names.get(name), device) for name, value in members.items()}


def _named(layout: Layout) -> Iterator[tuple[str, Names]]:
    for member in layout.members:
        if isinstance(member, Word):
            yield from ((part.name, part.names) for part in member.parts if part.names is not None)
        elif isinstance(member, Field) and member.names is not None:
            yield member.name, member.names


def _number(name: str, value: object, names: Names | None, device: str | None) -> object:
    words = [value] if isinstance(value, str) else value
    if names is None or not isinstance(words, (list, tuple, set, frozenset)):
        return value
    if names.device:
        names = virtio.features(device)
    numbers = {each: number for number, each in names.names.items()}
    if names.kind == "values":
        return _find(name, value, numbers)
    word = 0
    for each in words:
        word |= 1 << (each if isinstance(each, int) else _find(name, each, numbers))
    return word


def _find(name: str, value: object, numbers: Mapping[str, int]) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.removeprefix("bit ").isdecimal():
        return int(value.removeprefix("bit "))
    found = numbers.get(str(value))
    if found is None:
        raise ValueError(f"{name}: nothing is called {value!r}{nearest(str(value), numbers)}")
    return found
