"""From octets to members by a function that is written for a layout and compiled once, as ``namedtuple`` does it.

Going through a layout member by member takes several times as long, and every message that is looked at comes by here.
A step of a plan adds its lines; what the lines refer to (structs, other functions) is handed over beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

from .items import Item

Fields = dict[str, object]
#: octets, and where in them the members begin; they are there whole
Unpack = Callable[[bytes, int], Fields]
#: the same; None where the members don't end with the octets
Whole = Callable[[bytes, int], Fields | None]

#: integers that are a count as they are, none less than 0
_UNSIGNED = frozenset("BHIQ")


class Text:
    """The lines of a function of ``data`` and ``at``, whose members collect in ``fields``; it begins at ``start``.

    ``exact``: it is to fill the octets up to ``end``, and gives None where it does not.
    """

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self._lines: list[str] = []
        self._known: dict[str, Any] = {}
        self._begun = False
        self._variables = 0
        #: member -> the variable that holds it, which is no less than 0
        self._counts: dict[str, str] = {}

    def refer(self, value: object) -> str:
        """A name by which the lines may speak of a value."""
        name = f"known_{len(self._known)}"
        self._known[name] = value
        return name

    def add(self, *lines: str) -> None:
        self._lines += lines

    def members(self, items: tuple[Item, ...], countable: bool = False) -> tuple[str, str]:
        """The variables for a struct's values, and a dict display that makes members of them.

        ``countable``: those members may tell how much there is of later ones.
        """
        variables: list[str] = []
        parts: list[str] = []
        for each in items:
            variable = f"value_{self._variables}"
            self._variables += 1
            variables.append(variable)
            if each.expand is not None:
                parts.append(f"**{self.refer(each.expand)}[{variable}]")
                continue
            parts.append(f"{each.name!r}: {variable}")
            if countable and each.code in _UNSIGNED:
                self._counts[each.name] = variable
        return f"{', '.join(variables)},", f"{{{', '.join(parts)}}}"

    def run(self, struct: Struct, items: tuple[Item, ...]) -> None:
        """Members of fixed length; the first ones are there, as the caller has seen."""
        if self.exact and self._begun:
            self.fits(f"at + {struct.size} <= end")
        variables, members = self.members(items, countable=True)
        self.add(f"{variables} = {self.refer(struct.unpack_from)}(data, at)")
        self.add(f"fields.update({members})" if self._begun else f"fields = {members}", f"at += {struct.size}")
        self._begun = True

    def begin(self) -> None:
        """Make ``fields``, if there is none yet."""
        if not self._begun:
            self.add("fields = {}")
            self._begun = True

    def count(self, member: str) -> str:
        """How the lines say what an earlier member counts."""
        return self._counts.get(member) or f"{self.refer(number)}(fields, {member!r})"

    def needs(self, holds: str) -> None:
        """Go no further where that does not hold."""
        self.add(f"if not {holds}:", "    return None")

    def fits(self, holds: str) -> None:
        """The same, of the octets' end; where they are known to fit there is nothing to ask."""
        if self.exact:
            self.needs(holds)

    def function(self) -> Callable[[bytes, int], Any]:
        self.begin()
        self.fits("at == end")
        begin = ("start, end = at, len(data)",) if self.exact else ()
        text = "\n    ".join(("def read(data, at):", *begin, *self._lines, "return fields"))
        exec(text, self._known)  # members' names are quoted in it, all else is from here
        function: Callable[[bytes, int], Any] = self._known.pop("read")
        return function


def number(fields: Mapping[str, object], name: str) -> int:
    """A count or length that a peer sent."""
    value = fields.get(name)
    return max(value, 0) if isinstance(value, int) else 0
