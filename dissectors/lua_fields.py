"""The fields that Wireshark gets for a protocol: a name, a type, how it is shown, what its values are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Kind(NamedTuple):
    """What a member's value is: "int" (signed), "uint", "bool", "bytes", "string", "none"; and in how many octets."""

    of: str
    size: int = 0


class Fields:
    """The fields of a protocol: a name has one type for all members that have it, if that can be."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[Kind]] = {}
        #: (name, type, base, names) -> number
        self._numbers: dict[tuple[str, str, str, int], int] = {}
        self._texts: list[str] = []

    def meet(self, name: str, kind: Kind) -> None:
        """A member of that name is such; all have been met before the first is numbered."""
        self._kinds.setdefault(name, []).append(kind)

    def number(self, name: str, kind: Kind, base: str = "", names: int = 0, text: str = "") -> int:
        """The field's number, from 1: a new one where the same name is shown in another way."""
        key = (name, self._type(name, kind), base, names)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers) + 1
            self._texts.append(text)
        return number

    def _type(self, name: str, kind: Kind) -> str:
        kinds = self._kinds.get(name, [kind])
        integers = [each for each in kinds if each.of in ("int", "uint", "bool")]
        if kind not in integers or all(each.of == "bool" for each in integers):
            return kind.of
        size = max(each.size for each in integers)
        signed = {each.of == "int" for each in integers if each.of != "bool"}
        if len(signed) == 2:
            # one type takes both, unless there are unsigned integers of its width
            if all(each.of == "int" or each.size < 8 for each in integers):
                return "int64"
            return f"{kind.of if kind.of != 'bool' else 'uint'}64"
        width = {1: 8, 2: 16, 4: 32, 8: 64}[size]
        if True in signed:
            width = max(width, 32)
        return f"{'int' if True in signed else 'uint'}{width}"

    def table(self) -> list[Sequence[object]]:
        return [
            (name, type_, base, names, text)
            for (name, type_, base, names), text in zip(self._numbers, self._texts, strict=True)
        ]


def bit_name(name: str) -> str:
    """What a bit's or value's name is in a field's name."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
