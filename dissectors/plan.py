"""A layout, compiled: members of fixed length that follow each other are a run, which one ``struct`` call reads.

A payload is read whatever it holds, and nothing is allocated that it does not fill: a count of four milliards in front
of ten octets gives as many elements as ten octets hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from struct import Struct, error
from typing import Any

from .context import Context
from .items import CODES, ByteOrder, Item, item, octets
from .names import Namer, config_namer, json_namer, value_namer
from .once import once
from .rows import Array, Bytes, Chain, Field, Layout, Word
from .unpack import Fields, Text, Unpack, Whole, number


class _Step:
    """Some members that are read and written together."""

    names: tuple[str, ...]
    #: how many octets they are at least; and how many at most, None: that depends on their contents
    least: int = 0
    most: int | None = None
    #: the member that tells how many there are
    counted_by: str | None = None

    def read(self, fields: Fields, data: bytes, at: int, every: bool) -> tuple[int, int]:
        """Add the members; gives the offset behind them, and how many octets are missing at least.

        ``every``: zero padding too, and where some are missing the others.
        """
        raise NotImplementedError

    def compose(self, text: Text) -> None:
        """Add the lines that read these members, all of them or none."""
        text.begin()
        text.add(f"at, missing = {text.refer(self.read)}(fields, data, at, False)")
        text.fits("not missing")

    def write(self, fields: Mapping[str, object], cut: bool) -> bytes:
        """The octets; ``cut``: up to the last member that is given. ValueError when members lack or don't fit."""
        raise NotImplementedError


class _Run(_Step):
    """Members of fixed length."""

    def __init__(self, items: tuple[Item, ...], byte_order: ByteOrder) -> None:
        self._items = items
        self._byte_order = byte_order
        self._struct = Struct(byte_order + "".join(each.code for each in items))
        self.names = tuple(name for each in items for name in each.names)
        self.least = self.most = self._struct.size

    def compose(self, text: Text) -> None:
        text.run(self._struct, self._items)

    def elements(self, text: Text, octets: str) -> str:
        """How a text says the list of all that are in some octets."""
        variables, members = text.members(self._items)
        return f"[{members} for {variables} in {text.refer(self._struct.iter_unpack)}({octets})]"

    def read(self, fields: Fields, data: bytes, at: int, every: bool) -> tuple[int, int]:
        missing = max(at + self.least - len(data), 0)
        if every:
            return self._read_each(fields, data, at), missing
        if missing:
            return at, missing
        for each, value in zip(self._items, self._struct.unpack_from(data, at), strict=True):
            _put(fields, each, value)
        return at + self.least, 0

    def _read_each(self, fields: Fields, data: bytes, at: int) -> int:
        for each in self._items:
            one = Struct(self._byte_order + each.code)
            if at + one.size > len(data):
                break
            (value,) = one.unpack_from(data, at)
            if each.padding:
                fields[each.name] = value
            else:
                _put(fields, each, value)
            at += one.size
        return at

    def write(self, fields: Mapping[str, object], cut: bool) -> bytes:
        items, struct = self._items, self._struct
        if cut:
            while items and not any(name in fields for name in items[-1].names):
                items = items[:-1]
            struct = Struct(self._byte_order + "".join(each.code for each in items))
        values = [each.collect(fields) for each in items]
        try:
            return struct.pack(*values)
        except error as wrong:
            given = ", ".join(f"{each.name} {value!r}" for each, value in zip(items, values, strict=True))
            raise ValueError(f"a value does not fit ({wrong}): {given}") from None


def _put(fields: Fields, item: Item, value: object) -> None:
    if item.expand is None:
        fields[item.name] = value
    else:
        fields.update(item.expand[value])


class _Octets(_Step):
    """Octets whose number another member tells (None: all that are left)."""

    def __init__(self, name: str, size: str | None) -> None:
        self.names = (name,)
        self._name = name
        self.counted_by = size

    def compose(self, text: Text) -> None:
        text.begin()
        text.add("stop = len(data)" if self.counted_by is None else f"stop = at + {text.count(self.counted_by)}")
        text.fits("stop <= end")
        text.add(f"fields[{self._name!r}] = data[at:stop]", "at = stop")

    def read(self, fields: Fields, data: bytes, at: int, every: bool) -> tuple[int, int]:
        left = len(data) - at
        size = left if self.counted_by is None else number(fields, self.counted_by)
        if size > left:
            return at, size - left
        fields[self._name] = data[at : at + size]
        return at + size, 0

    def write(self, fields: Mapping[str, object], cut: bool) -> bytes:
        return octets(_given(fields, self._name), self._name)


class _Integers(_Step):
    """Integers of one size, as many as ``times`` tells (None: all that fit)."""

    def __init__(self, name: str, code: str, times: int | str | None) -> None:
        self.names = (name,)
        self._name = name
        self._times = times
        self._code = code
        self._struct = Struct(code)
        self.counted_by = times if isinstance(times, str) else None
        self.least = times * self._struct.size if isinstance(times, int) else 0
        self.most = self.least if isinstance(times, int) else None

    def compose(self, text: Text) -> None:
        text.begin()
        if isinstance(self._times, int):
            text.fits(f"at + {self.least} <= end")
            all_of_them = text.refer(Struct(f"{self._code[0]}{self._times}{self._code[1]}").unpack_from)
            text.add(f"fields[{self._name!r}] = [*{all_of_them}(data, at)]", f"at += {self.least}")
            return
        size = self._struct.size
        counted = f"(len(data) - at) // {size}" if self._times is None else text.count(self._times)
        text.add(f"stop = at + {counted} * {size}")
        text.fits("stop <= end")
        each = text.refer(self._struct.iter_unpack)
        text.add(f"fields[{self._name!r}] = [value for value, in {each}(data[at:stop])]", "at = stop")

    def read(self, fields: Fields, data: bytes, at: int, every: bool) -> tuple[int, int]:
        size = self._struct.size
        fit = (len(data) - at) // size
        times = _times(self._times, fields, fit)
        end = at + min(times, fit) * size
        fields[self._name] = [value for (value,) in self._struct.iter_unpack(data[at:end])]
        return end, max(at + times * size - len(data), 0)

    def write(self, fields: Mapping[str, object], cut: bool) -> bytes:
        values = _elements(_given(fields, self._name), self._name)
        try:
            return b"".join(map(self._struct.pack, values))
        except error as wrong:
            raise ValueError(f"a value of {self._name} does not fit: {wrong}") from None


class _Structures(_Step):
    """Structures of one layout, as many as ``times`` tells (None: all that fit). Only whole ones are read."""

    def __init__(self, name: str, plan: Plan, times: int | str | None) -> None:
        if not plan.least:
            raise ValueError(f"{plan.layout.name} may be empty: endless repetitions of it fit into nothing")
        self.names = (name,)
        self._name = name
        self._times = times
        self._plan = plan
        self.counted_by = times if isinstance(times, str) else None
        self.least = times * plan.least if isinstance(times, int) else 0
        self.most = times * plan.size if isinstance(times, int) and plan.size is not None else None

    def compose(self, text: Text) -> None:
        plan, size, times = self._plan, self._plan.size, self._times
        if size is None:
            super().compose(text)
            return
        text.begin()
        counted = (
            text.count(times) if isinstance(times, str) else f"(len(data) - at) // {size}" if times is None else times
        )
        text.add(f"stop = at + {counted} * {size}")
        text.fits("stop <= end")
        only = plan.only_run
        if only is not None:
            elements = only.elements(text, "data[at:stop]")
        else:
            elements = f"[{text.refer(plan.unpack)}(data, at) for at in range(at, stop, {size})]"
        text.add(f"fields[{self._name!r}] = {elements}", "at = stop")

    def read(self, fields: Fields, data: bytes, at: int, every: bool) -> tuple[int, int]:
        plan, least = self._plan, self._plan.least
        fit = (len(data) - at) // least
        times = _times(self._times, fields, fit)
        elements: list[object] = []
        fields[self._name] = elements
        if plan.size is not None:
            unpack, number = plan.unpack, min(times, fit)
            elements += [unpack(data, at + place * least) for place in range(number)]
            return at + number * least, max(at + times * least - len(data), 0)
        for _ in range(min(times, fit)):
            element, end, missing = plan.read_at(data, at)
            if missing:
                break
            elements.append(element)
            at = end
        if self._times is None or len(elements) == times:
            return at, 0
        return at, max(at + (times - len(elements)) * least - len(data), 1)

    def write(self, fields: Mapping[str, object], cut: bool) -> bytes:
        pieces: list[bytes] = []
        for element in _elements(_given(fields, self._name), self._name):
            if not isinstance(element, Mapping) or "rest" in element:
                raise ValueError(f"{self._name} is a list of whole structures, not of {element!r}")
            pieces.append(self._plan.write(element))
        return b"".join(pieces)


class _Links(_Step):
    """Structures that lead to each other. Where the way does not go straight on, the octets are left over."""

    def __init__(self, chain: Chain, byte_order: ByteOrder) -> None:
        self.names = (chain.name,)
        self._name = chain.name
        self._first = chain.first
        self._next = chain.next
        self.plans = tuple(plan(layout, byte_order) for layout in chain.of)

    def compose(self, text: Text) -> None:
        text.begin()
        # the offsets by which they lead to each other are the payload's
        text.add(f"at, missing = {text.refer(self.read)}(fields, data[start:], at - start, False)", "at += start")
        text.fits("not missing")

    def read(self, fields: Fields, data: bytes, at: int, every: bool) -> tuple[int, int]:
        elements: list[object] = []
        fields[self._name] = elements
        following = number(fields, self._first)
        while following == at < len(data):
            any_kind, _, missing = self.plans[-1].read_at(data, at)
            if missing:
                return at, missing
            following = number(any_kind, self._next)
            # a way back, or into this one's own first members, leads nowhere: all that is left is its own
            end = following if at + self.plans[-1].least <= following <= len(data) else len(data)
            elements.append(self._element(data[at:end]))
            at = end
        return at, 0

    def _element(self, piece: bytes) -> Fields:
        for each in self.plans[:-1]:
            element, at, missing = each.read_at(piece, 0)
            if at == len(piece) and not missing and each.suits(element):
                return element
        return self.plans[-1].unpack(piece, 0)

    def write(self, fields: Mapping[str, object], cut: bool) -> bytes:
        return b"".join(map(self._written, _elements(_given(fields, self._name), self._name)))

    def _written(self, element: object) -> bytes:
        trouble: ValueError | None = None
        for each in self.plans:
            try:
                if isinstance(element, Mapping) and "rest" not in element and each.suits(element):
                    return each.write(element)
            except ValueError as wrong:
                trouble = trouble or wrong
        raise trouble or ValueError(f"{self._name} is a list of whole structures, not of {element!r}")


def _times(times: int | str | None, fields: Mapping[str, object], fit: int) -> int:
    return fit if times is None else number(fields, times) if isinstance(times, str) else times


def _given(fields: Mapping[str, object], name: str) -> object:
    try:
        return fields[name]
    except KeyError:
        raise ValueError(f"member '{name}' is missing") from None


def _elements(value: object, name: str) -> list[object] | tuple[object, ...]:
    if isinstance(value, list | tuple):
        return value
    raise ValueError(f"{name} is a list, not {value!r}")


class Plan:
    """A layout, ready to be read and written in one byte order."""

    def __init__(self, layout: Layout, byte_order: ByteOrder) -> None:
        if layout.little_endian:
            byte_order = "<"
        self.layout = layout
        self._steps: tuple[_Step, ...] = tuple(_steps(layout, byte_order))
        self._names = frozenset(name for step in self._steps for name in step.names)
        #: the octets that it has at least
        self.least: int = sum(step.least for step in self._steps)
        #: its length in bytes; None if that depends on its contents
        self.size: int | None = None if any(step.most is None for step in self._steps) else self.least
        #: members that say whether something worked
        self.results = tuple(one.name for one in layout.members if isinstance(one, Field) and one.show == "result")
        self._namers = tuple(_namers(layout, byte_order))
        self.has_names = bool(self._namers)
        #: the member that tells how much of another there is, and that other
        self._counts = tuple((step.counted_by, step.names[0]) for step in self._steps if step.counted_by is not None)

    @property
    def only_run(self) -> _Run | None:
        """All of it, where that is members of fixed length."""
        first = self._steps[0] if len(self._steps) == 1 else None
        return first if isinstance(first, _Run) else None

    @once
    def unpack(self) -> Unpack:
        """The members of octets that hold all of it, from an offset on."""
        if self.size is None:
            return lambda data, at: self.read_at(data, at)[0]
        return self._composed(exact=False)

    @once
    def whole(self) -> Whole:
        """The members of octets that hold it, from an offset on, and nothing behind; None: they don't.

        They must be ``least`` octets or more, and of a fixed size just so many.
        """
        return self._composed(exact=self.size is None, suiting=self.layout.when)

    def _composed(self, exact: bool, suiting: tuple[str, tuple[int, ...]] | None = None) -> Callable[[bytes, int], Any]:
        text = Text(exact)
        for step in self._steps:
            step.compose(text)
        if suiting is not None:
            text.needs(f"fields.get({suiting[0]!r}) in {suiting[1]!r}")
        return text.function()

    def suits(self, fields: Mapping[str, object]) -> bool:
        """Whether members that were read by it are such as it is for."""
        when = self.layout.when
        return when is None or fields.get(when[0]) in when[1]

    def name(self, fields: Mapping[str, object], context: Context) -> Fields:
        """What the values of the members are called, where they are called something."""
        names: Fields = {}
        for member, namer in self._namers:
            if member in fields:
                found = namer(fields[member], fields, context)
                if found:
                    names[member] = found
        return names

    def read(self, data: bytes) -> tuple[Fields, bytes, int]:
        """The members, what is left over, and how many octets are missing at least."""
        fields, at, missing = self.read_at(data, 0)
        if missing or at < len(data):
            # every one, so that it can be told where the members end
            fields, at, missing = self.read_at(data, 0, every=True)
        return fields, data[at:], missing

    def read_at(self, data: bytes, at: int, every: bool = False) -> tuple[Fields, int, int]:
        """The members, the offset behind them, and how many octets are missing at least."""
        fields: Fields = {}
        for place, step in enumerate(self._steps):
            at, missing = step.read(fields, data, at, every)
            if missing:
                return fields, at, missing + sum(later.least for later in self._steps[place + 1 :])
        return fields, at, 0

    def write(self, fields: Mapping[str, object]) -> bytes:
        """The octets of these members, then ``rest``; with that, the members may end anywhere."""
        unknown = fields.keys() - self._names - {"rest"}
        if unknown:
            raise ValueError(f"{self.layout.name} has no member {', '.join(map(repr, sorted(unknown)))}")
        for counter, counted in self._counts:
            value = fields.get(counted)
            if counter not in fields and isinstance(value, bytes | list | tuple):
                fields = {**fields, counter: len(value)}
        if "rest" not in fields:
            return b"".join([step.write(fields, cut=False) for step in self._steps])
        given = [place for place, step in enumerate(self._steps) if any(name in fields for name in step.names)]
        last = given[-1] if given else -1
        pieces = [step.write(fields, cut=place == last) for place, step in enumerate(self._steps[: last + 1])]
        return b"".join((*pieces, octets(fields["rest"], "rest")))


#: By the layout's identity, which is not given to another: the plan holds the layout.
_plans: dict[tuple[int, ByteOrder], Plan] = {}


def plan(layout: Layout, byte_order: ByteOrder) -> Plan:
    """The plan of a layout, made when it is first asked for."""
    key = (id(layout), byte_order)
    known = _plans.get(key)
    if known is None:
        known = _plans[key] = Plan(layout, byte_order)
    return known


def _steps(layout: Layout, byte_order: ByteOrder) -> Iterator[_Step]:
    run: list[Item] = []
    for member in layout.members:
        fixed = None if isinstance(member, Array | Chain) else item(member)
        if fixed is not None:
            run.append(fixed)
            continue
        if run:
            yield _Run(tuple(run), byte_order)
            run = []
        if isinstance(member, Bytes) and not isinstance(member.size, int):
            yield _Octets(member.name, member.size)
        elif isinstance(member, Array) and isinstance(member.of, str):
            yield _Integers(member.name, byte_order + CODES[member.of], member.times)
        elif isinstance(member, Array) and isinstance(member.of, Layout):
            yield _Structures(member.name, plan(member.of, byte_order), member.times)
        elif isinstance(member, Chain):
            yield _Links(member, byte_order)
    if run:
        yield _Run(tuple(run), byte_order)


def _namers(layout: Layout, byte_order: ByteOrder) -> Iterator[tuple[str, Namer]]:
    for member in layout.members:
        if isinstance(member, Field) and member.names is not None:
            yield member.name, value_namer(member.names)
        elif isinstance(member, Word):
            yield from ((part.name, value_namer(part.names)) for part in member.parts if part.names is not None)
        elif isinstance(member, Bytes) and member.show == "config":
            yield member.name, config_namer(byte_order)
        elif isinstance(member, Bytes) and member.show == "json":
            yield member.name, json_namer
        elif isinstance(member, Array) and isinstance(member.of, Layout):
            element = plan(member.of, byte_order)
            if element.has_names:
                yield member.name, _element_namer(element)
        elif isinstance(member, Chain):
            yield member.name, _element_namer(plan(member.of[-1], byte_order))


def _element_namer(element: Plan) -> Namer:
    def name(value: list[Fields], fields: Mapping[str, object], context: Context) -> object:
        names = [element.name(one, context) for one in value]
        return names if any(names) else None

    return name
