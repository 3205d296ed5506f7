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

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import translate
from functools import lru_cache
from typing import Any, NamedTuple

from vhostspy.dissectors import registry
from vhostspy.dissectors.rows import Array, Bytes, Field, Layout, Member, Padding, Word
from vhostspy.errors import WrongUse
from vhostspy.message import Message, end_name

SEVERITIES = {"note": 1, "warning": 2, "error": 3}
#: nanoseconds, and bytes
_UNITS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000,
    "B": 1, "kB": 1000, "MB": 1_000_000, "GB": 1_000_000_000,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
    "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40,
}  # fmt: skip
#: deeper nesting is a mistake, or malice
MOST_NESTED = 100
MOST_LETTERS = 10_000

Test = Callable[[Message], bool]
Values = Callable[[Message], Iterable[Any]]


class FilterError(ValueError):
    """A filter that cannot be read: what is wrong, where (an offset into the text), and what could stand there."""

    def __init__(self, text: str, at: int, problem: str, expected: str = "") -> None:
        self.text, self.at, self.problem, self.expected = text, at, problem, expected
        super().__init__(f"{problem} (at character {at + 1})" + (f"; {expected}" if expected else ""))

    def pointing(self) -> str:
        """The filter with a caret below the place, for terminals; what cannot be shown in one column is a ``?``."""
        line = "".join(letter if letter.isprintable() else "?" for letter in self.text)
        return f"{line}\n{' ' * self.at}^"


class Filter(NamedTuple):
    """A filter, ready to ask: ``filter(message)``."""

    text: str
    test: Test
    #: it asks for ``pending``: only what comes later tells whether a request stays one (see ``settled``)
    pending: bool = False

    def __call__(self, message: Message) -> bool:
        return self.test(message)

    def settled(self, message: Message, answered: bool) -> bool:
        """The same, once it is known whether a request that is waited for got its answer."""
        return self.test(message._replace(awaited=False)) if message.awaited and answered else self.test(message)


def compile(text: str) -> Filter:
    """Read a filter; the empty one lets everything pass. Raises FilterError."""
    if len(text) > MOST_LETTERS:
        raise FilterError(text[:60], 0, f"a filter of {len(text)} characters is too long")
    parser = _Parser(text)
    return Filter(text, parser.whole(), parser.pending)


def asked_for(text: str) -> Filter:
    """The filter of a command line; raises WrongUse with the mistake and its place below each other."""
    try:
        return compile(text)
    except FilterError as mistake:
        raise WrongUse(f"-Y: {mistake}\n{mistake.pointing()}") from None


# -- words


class _Token(NamedTuple):
    kind: str  # "word", "text", "operator", "end"
    value: str
    at: int
    end: int


_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<operator>===|!==|==|!=|<=|>=|&&|\|\||~|[<>()!{},&=])
  | (?P<word>(?:[^\s"'()!{},&=<>|~\[\]]|\[[^\s\[\]]*\])+)
    """,
    re.VERBOSE,
)
_AND, _OR, _NOT = ("&&", "and"), ("||", "or"), ("!", "not")
_COMPARE = ("==", "!=", "<=", ">=", "<", ">", "contains", "matches", "in", "eq", "ne", "lt", "le", "gt", "ge", "~")
_SAME = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "~": "matches"}
_EXPECT_COMPARISON = "here could stand ==, !=, <, <=, >, >=, in {…}, contains, matches, &, &&, || or the end"


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            if text[at] in "\"'":
                raise FilterError(text, at, "this quotation has no end")
            raise FilterError(text, at, f"{text[at]!r} means nothing here", "write texts in quotes")
        kind = found.lastgroup or ""
        if kind != "space":
            yield _Token(kind, found[0], at, found.end())
        at = found.end()
    yield _Token("end", "", len(text), len(text))


def _unquoted(token: _Token) -> str:
    if token.kind != "text":
        return token.value
    return re.sub(r"\\(.)", r"\1", token.value[1:-1], flags=re.DOTALL)


class _Parser:
    """Recursive descent: or, and, not, comparison."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.at = 0
        self.nested = 0
        self.pending = False

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def take_if(self, values: tuple[str, ...]) -> bool:
        if self.token.kind != "text" and self.token.value in values:
            self.at += 1
            return True
        return False

    def error(self, token: _Token, problem: str, expected: str = "") -> FilterError:
        return FilterError(self.text, token.at, problem, expected)

    def whole(self) -> Test:
        if self.token.kind == "end":
            return _everything
        test = self.any_of()
        if self.token.kind != "end":
            token = self.token
            if token.value == ")":
                raise self.error(token, "there is no ( that this ) closes")
            if token.value == "=":
                raise self.error(token, "= is not an operator", "equality is ==")
            raise self.error(token, f"{token.value} can't follow", _EXPECT_COMPARISON)
        return test

    def any_of(self) -> Test:
        test = self.all_of()
        while self.take_if(_OR):
            test = _either(test, self.all_of())
        return test

    def all_of(self) -> Test:
        test = self.one()
        while self.take_if(_AND):
            test = _both(test, self.one())
        return test

    def one(self) -> Test:
        self.nested += 1
        if self.nested > MOST_NESTED:
            raise self.error(self.token, f"more than {MOST_NESTED} levels of parentheses")
        try:
            if self.take_if(_NOT):
                return _negated(self.one())
            if self.take_if(("(",)):
                opened = self.tokens[self.at - 1]
                test = self.any_of()
                if not self.take_if((")",)):
                    if self.token.kind == "end":
                        raise self.error(opened, "this ( is not closed")
                    raise self.error(self.token, f"{self.token.value} can't follow", "here could stand )")
                return test
            return self.comparison()
        finally:
            self.nested -= 1

    def comparison(self) -> Test:
        token = self.take()
        if token.kind == "end":
            raise self.error(token, "the filter ends here", f"something must follow: {_SOME_NAMES}")
        if token.kind != "word" or token.value in ("and", "or", "in", "contains", "matches"):
            raise self.error(token, f"{token.value} can't stand here", f"a name must: {_SOME_NAMES}")
        name = _name(token, self.text)
        self.pending = self.pending or token.value == "pending"
        mask = None
        if self.take_if(("&",)):
            mask = self.number("a mask, as in flags & 0x8")
        operator = self.token
        if operator.kind == "text" or operator.value not in _COMPARE:
            return _present(name, mask)
        self.take()
        sign = _SAME.get(operator.value, operator.value)
        values = name.values if mask is None else _masked(name.values, mask)
        if sign == "in":
            return self.member_of(name, values)
        operand = self.operand(name, sign)
        if sign == "matches":
            return _matching(name, values, self.pattern(operand))
        if sign == "contains":
            return _containing(values, _unquoted(operand))
        return self.compared(name, values, sign, operand)

    def number(self, what: str) -> int:
        token = self.take()
        value = _number(token.value) if token.kind == "word" else None
        if value is None or not isinstance(value, int):
            raise self.error(token, f"here must stand {what}")
        return value

    def operand(self, name: _Name, sign: str) -> _Token:
        token = self.take()
        if token.kind not in ("word", "text"):
            what = f"{token.value} can't stand here" if token.kind != "end" else "the filter ends here"
            raise self.error(token, what, f"after {sign} comes {name.takes}")
        return token

    def member_of(self, name: _Name, values: Values) -> Test:
        opened = self.token
        if not self.take_if(("{",)):
            raise self.error(opened, "after in comes a set", "as in {8 9 10} or {GET_*, SET_OWNER}")
        tests: list[Test] = []
        while not self.take_if(("}",)):
            if self.token.kind == "end":
                raise self.error(opened, "this { is not closed")
            token = self.operand(name, "{")
            low, dots, high = token.value.partition("..")
            if token.kind == "word" and dots and _number(low) is not None and _number(high) is not None:
                tests.append(_between(values, _number(low) or 0, _number(high) or 0))
            else:
                tests.append(self.compared(name, values, "==", token))
            self.take_if((",",))
        return lambda message: any(test(message) for test in tests)

    def pattern(self, token: _Token) -> Callable[[str], object]:
        """``matches``: a regular expression where it is quoted, else a pattern as the shell has them."""
        if token.kind == "word":
            return _glob(token.value).match
        try:
            return re.compile(_unquoted(token), re.IGNORECASE).search
        except (re.error, RecursionError, OverflowError) as mistake:
            raise self.error(token, f"no regular expression: {mistake}") from None

    def compared(self, name: _Name, values: Values, sign: str, token: _Token) -> Test:
        text = _unquoted(token)
        number = _number(text) if token.kind == "word" else None
        if name.kind == "number" and number is None:
            raise self.error(token, f"{text} is no number", f"after {sign} comes {name.takes}")
        if name.kind == "severity" and text.lower() in SEVERITIES:
            return _ordered(values, sign, SEVERITIES[text.lower()])
        if name.choices and name.kind != "severity" and not _is_pattern(text):
            self.one_of(token, text, name)
        if number is not None and name.kind != "text":
            test = _ordered(values, sign, number)
            # digits may also be octets in hex, or part of a name
            return _either(test, _same_text(name, values, sign, text)) if sign == "==" and name.kind == "any" else test
        if sign not in ("==", "!="):
            if name.kind == "severity":
                raise self.error(token, f"{text} is no severity", "note, warning or error")
            raise self.error(token, f"{text} can't be compared by size", "texts are compared by == and !=")
        return _same_text(name, values, sign, text)

    def one_of(self, token: _Token, text: str, name: _Name) -> None:
        if text.lower() in name.choices or (name.kind in ("named", "flag") and _number(text) is not None):
            return
        near = get_close_matches(text.lower(), name.choices, 1, 0.5)
        hint = f"did you mean {name.choices[near[0]]}?" if near else ""
        if not hint and len(name.choices) <= 6:
            hint = f"there are {', '.join(name.choices.values())}"
        raise self.error(token, f"{name.name} is never {text}", hint)


# -- names


class _Name(NamedTuple):
    """What a name stands for."""

    name: str
    values: Values
    #: number, flag, text; named: a number, or the name of one; severity
    kind: str
    takes: str
    #: the texts there are, in lower case -> as they are written
    choices: Mapping[str, str] = {}


def _fd_values(message: Message) -> Iterator[Any]:
    for fd in message.fds:
        yield from (fd.role, fd.kind, fd.name)


def _names_of(message: Message) -> Iterator[Any]:
    return _flattened(message.names)


def _flattened(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _flattened(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _flattened(part)
    elif value is not None:
        yield value


def _known(value: Any) -> tuple[Any, ...]:
    return () if value is None else (value,)


def _severities(message: Message) -> Iterator[Any]:
    for finding in message.findings:
        yield SEVERITIES[finding.severity]
        yield finding.rule


_NUMBERS: dict[str, Values] = {
    "no": lambda m: (m.no,),
    "session": lambda m: (m.session,),
    "channel_no": lambda m: (m.channel_no,),
    "size": lambda m: _known(m.size),
    "length": lambda m: (m.length,),
    "flags": lambda m: _known(m.flags),
    "reads": lambda m: (m.reads,),
    "answers": lambda m: _known(m.answers),
    "latency": lambda m: _known(m.latency_ns),
}
_FLAGS: dict[str, Test] = {
    "request": lambda m: m.kind == "request",
    "reply": lambda m: m.kind == "reply" or m.kind == "ack",
    "ack": lambda m: m.kind == "ack",
    "raw": lambda m: m.kind == "raw",
    "pending": lambda m: m.awaited,
    "need_reply": lambda m: m.need_reply,
    "failed": lambda m: m.failed,
    "changed": lambda m: m.changed,
    "dropped": lambda m: m.dropped,
    "injected": lambda m: m.injected,
    "incomplete": lambda m: m.incomplete,
    "unknown": lambda m: m.name is None and m.kind != "raw",
}
_TEXTS: dict[str, Values] = {
    "protocol": lambda m: (m.protocol,),
    "info": lambda m: (m.info,),
    "bytes": lambda m: (m.data.hex(),),
    "names": _names_of,
}
_OTHERS = ("message", "from", "channel", "id", "kind", "fds", "finding")
_HEADER = ("request", "flags", "size")
_PREFIXES = ("vhost_user", "vhost_user_gpu", "vfio_user")
_SOME_NAMES = "message, from, channel, session, no, fds, reply, pending, latency, finding, fields.…, vhost_user.…"
_NUMBER = "a number (8, 0x8, 4KiB, 5ms)"


def _name(token: _Token, text: str) -> _Name:
    name = token.value
    if name in _NUMBERS:
        takes = "a time (5ms, 800us, 2s)" if name == "latency" else _NUMBER
        return _Name(name, _NUMBERS[name], "number", takes)
    if name in _FLAGS:
        flag = _FLAGS[name]
        return _Name(name, lambda m: (flag(m),), "flag", "true or false", {"true": "true", "false": "false"})
    if name in _TEXTS:
        return _Name(name, _TEXTS[name], "text", "a text")
    if name == "message":
        return _Name(name, lambda m: _known(m.name), "text", "a message's name, or a pattern", _message_names())
    if name == "id":
        return _Name(name, _request, "named", "a message's number or name", _message_names())
    if name == "from":
        ends = {end: end for protocol in registry.PROTOCOLS.values() for end in protocol.ends}
        ends |= {"front-end": "front-end", "back-end": "back-end", "client": "client", "server": "server"}
        return _Name(name, _from, "text", "front-end or back-end", ends)
    if name == "channel":
        channels = {"main": "main", "backend": "backend", "gpu": "gpu", "second": "second"}
        return _Name(name, lambda m: (m.channel,), "text", "main, backend, gpu or second", channels)
    if name == "kind":
        kinds = {kind: kind for kind in ("request", "reply", "ack", "raw")}
        return _Name(name, lambda m: (m.kind,), "text", "request, reply, ack or raw", kinds)
    if name == "fds":
        return _Name(name, lambda m: (len(m.fds), *_fd_values(m)), "fds", "a number, a role or a kind of descriptor")
    if name == "finding":
        return _Name(name, _severities, "severity", "note, warning, error, or a rule's name")
    prefix, dot, path = name.partition(".")
    if dot and (prefix == "fields" or prefix in _PREFIXES):
        return _member(token, text, prefix, path)
    raise _unknown(token, text)


def _request(message: Message) -> tuple[Any, ...]:
    return _known(message.id)


def _from(message: Message) -> tuple[Any, ...]:
    """An end goes by vhost-user's and by vfio-user's name."""
    own = end_name(message.protocol, message.sender)
    return (own, *(("front-end", "client"), ("back-end", "server"))[message.sender]) if message.sender < 2 else (own,)


def _unknown(token: _Token, text: str) -> FilterError:
    name = token.value
    members = _member_names(None)
    if name in members:
        return FilterError(text, token.at, f"there is no {name}", f"a message's member is fields.{name}")
    known = [*_NUMBERS, *_FLAGS, *_TEXTS, *_OTHERS, *(f"fields.{member}" for member in members)]
    if any(name.upper() == other.upper() for other in _message_names().values()):
        return FilterError(text, token.at, f"{name} is a message's name", f"write message == {name}")
    near = get_close_matches(name, known, 1, 0.6)
    return FilterError(
        text, token.at, f"there is no {name}", f"did you mean {near[0]}?" if near else f"there are {_SOME_NAMES}"
    )


def _member(token: _Token, text: str, prefix: str, path: str) -> _Name:
    protocol = None if prefix == "fields" else prefix.replace("_", "-")
    ours = _in_protocol(protocol)
    if prefix != "fields" and path in _HEADER:
        if path == "request":
            takes = "a message's number or name"
            return _Name(token.value, _only(ours, _request), "named", takes, _message_names())
        return _Name(token.value, _only(ours, _NUMBERS[path]), "number", _NUMBER)
    members = _member_names(protocol)
    steps = path.split(".")
    for step in steps:
        # what a device's config holds is named too; a member of nobody's is a slip
        if step not in members and step not in _EXTRA_MEMBERS and not step.isdecimal():
            near = get_close_matches(step, [*members, *(_HEADER if prefix != "fields" else ())], 1, 0.5)
            at = token.at + len(prefix) + 1
            hint = f"did you mean {near[0]}?" if near else ""
            raise FilterError(text, at, f"no message has a member {step or '(nothing)'}", hint)
    return _Name(token.value, _only(ours, _fields(tuple(steps))), "any", "a number, a name or a text")


_EXTRA_MEMBERS = ("rest", "reserved", "padding")


def _in_protocol(protocol: str | None) -> Test | None:
    return None if protocol is None else lambda message: message.protocol == protocol


def _only(test: Test | None, values: Values) -> Values:
    return values if test is None else lambda message: values(message) if test(message) else ()


def _fields(path: tuple[str, ...]) -> Values:
    """The values of a member, wherever it is nested, and what its bits and numbers are called."""

    def values(message: Message) -> list[Any]:
        found: list[Any] = []
        row = message.row
        if row is None:
            # whatever it holds, it is not called that
            if path == ("rest",) and message.kind != "raw" and message.payload:
                found.append(message.payload)
            return found
        _find(message.fields, path, found)
        _find(message.names, path, found)
        return found

    return values


def _find(value: Any, path: tuple[str, ...], found: list[Any]) -> None:
    """All values at ``path`` in ``value``, which may begin at any depth."""
    if isinstance(value, Mapping):
        here = value.get(path[0])
        if here is not None:
            if len(path) == 1:
                found.extend(_flattened(here) if isinstance(here, (list, tuple)) else (here,))
            else:
                _find(here, path[1:], found)
        for key, part in value.items():
            if key != path[0] and isinstance(part, (Mapping, list, tuple)):
                _find(part, path, found)
    elif isinstance(value, (list, tuple)):
        if path[0].isdecimal():
            position = int(path[0][:9])
            if position < len(value):
                if len(path) == 1:
                    found.append(value[position])
                else:
                    _find(value[position], path[1:], found)
            return
        for part in value:
            if isinstance(part, (Mapping, list, tuple)):
                _find(part, path, found)


def _message_names() -> Mapping[str, str]:
    """Every message of every protocol, also by the names it had before."""
    return _all_message_names(_revision())


@lru_cache(maxsize=4)
def _all_message_names(revision: int) -> Mapping[str, str]:
    names: dict[str, str] = {}
    for protocol in registry.PROTOCOLS.values():
        for channel in protocol.channels.values():
            for row in channel.messages.values():
                names[row.name.lower()] = row.name
                for older in row.older:
                    names.setdefault(older.lower(), row.name)
    return names


def _revision() -> int:
    """Rows may be added while we run; how many there are tells."""
    return sum(
        len(channel.messages) for protocol in registry.PROTOCOLS.values() for channel in protocol.channels.values()
    )


def _member_names(protocol: str | None) -> frozenset[str]:
    return _all_member_names(protocol, _revision())


@lru_cache(maxsize=8)
def _all_member_names(protocol: str | None, revision: int) -> frozenset[str]:
    names: set[str] = set()
    for known in registry.PROTOCOLS.values():
        if protocol is not None and known.name != protocol:
            continue
        for channel in known.channels.values():
            for row in channel.messages.values():
                for layout in (*row.request, *(row.reply or ())):
                    names.update(_members(layout.members))
    return frozenset(names)


def _members(members: tuple[Member, ...]) -> Iterator[str]:
    for member in members:
        if isinstance(member, Word):
            yield from (part.name for part in member.parts)
        elif isinstance(member, Array):
            yield member.name
            if isinstance(member.of, Layout):
                yield from _members(member.of.members)
        elif isinstance(member, (Field, Bytes, Padding)):
            yield member.name


# -- values


def _number(word: str) -> int | float | None:
    """A number as people write it: ``8``, ``0x8``, ``1.5ms``, ``4KiB``; times in nanoseconds, sizes in bytes."""
    found = re.fullmatch(
        r"(-?)(0[xX][0-9a-fA-F_]{1,40}|0[bB][01_]{1,130}|[0-9][0-9_]{0,39})(\.[0-9]{1,20})?([a-zA-Zµμ]*)", word
    )
    if found is None or (found[4] and found[4] not in _UNITS):
        return None
    digits = found[2].replace("_", "")
    if digits[:2].lower() in ("0x", "0b"):
        if found[3] or not digits[2:]:
            return None
        value: int | float = int(digits, 0)
    else:
        value = float(digits + found[3]) if found[3] else int(digits)
    if found[4]:
        value *= _UNITS[found[4]]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
    return -value if found[1] else value


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text or "[" in text


@lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern), re.IGNORECASE)


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


# -- tests


def _everything(message: Message) -> bool:
    return True


def _either(a: Test, b: Test) -> Test:
    return lambda message: a(message) or b(message)


def _both(a: Test, b: Test) -> Test:
    return lambda message: a(message) and b(message)


def _negated(test: Test) -> Test:
    return lambda message: not test(message)


def _masked(values: Values, mask: int) -> Values:
    return lambda message: [value & mask for value in values(message) if isinstance(value, int)]


def _present(name: _Name, mask: int | None) -> Test:
    """A name alone: is it there? A flag must be set, a count not 0; other numbers only have to be there."""
    values = name.values
    if mask is not None:
        return lambda message: any(isinstance(value, int) and value & mask for value in values(message))
    if name.kind in ("flag", "fds"):
        return lambda message: any(values(message))
    return lambda message: any(value is not False for value in values(message))


def _ordered(values: Values, sign: str, wanted: int | float) -> Test:
    def numbers(message: Message) -> list[int | float]:
        return [value for value in values(message) if isinstance(value, (int, float))]

    if sign == "==":
        return lambda message: any(value == wanted for value in numbers(message))
    if sign == "!=":
        return lambda message: bool(found := numbers(message)) and all(value != wanted for value in found)
    if sign == "<":
        return lambda message: any(value < wanted for value in numbers(message))
    if sign == "<=":
        return lambda message: any(value <= wanted for value in numbers(message))
    if sign == ">":
        return lambda message: any(value > wanted for value in numbers(message))
    return lambda message: any(value >= wanted for value in numbers(message))


def _between(values: Values, low: int | float, high: int | float) -> Test:
    return lambda message: any(isinstance(value, (int, float)) and low <= value <= high for value in values(message))


def _same_text(name: _Name, values: Values, sign: str, text: str) -> Test:
    if name.kind == "named":
        return _same_message(values, sign, text)
    if _is_pattern(text):
        match = _glob(text).match

        def same(value: Any) -> bool:
            return match(_text(value)) is not None

    else:
        wanted = name.choices.get(text.lower(), text).lower()
        octets = re.sub("[:. -]", "", wanted) if re.fullmatch("[0-9a-f]{2}([:. -]?[0-9a-f]{2})*", wanted) else None

        def same(value: Any) -> bool:
            if isinstance(value, (bytes, bytearray)):
                return octets is not None and bytes(value).hex() == octets
            return _text(value).lower() == wanted

    if sign == "==":
        return lambda message: any(same(value) for value in values(message))
    return lambda message: bool(found := list(values(message))) and not any(same(value) for value in found)


def _same_message(values: Values, sign: str, text: str) -> Test:
    """``vhost_user.request == SET_VRING_KICK``: the header's number, by its name."""
    if _is_pattern(text):
        match = _glob(text).match

        def same(message: Message) -> bool:
            return message.name is not None and match(message.name) is not None

    else:
        wanted = _message_names().get(text.lower(), text)

        def same(message: Message) -> bool:
            return message.name == wanted

    if sign == "==":
        return lambda message: bool(list(values(message))) and same(message)
    return lambda message: bool(list(values(message))) and not same(message)


def _matching(name: _Name, values: Values, search: Callable[[str], object]) -> Test:
    if name.kind == "named":
        return lambda message: message.name is not None and search(message.name) is not None
    return lambda message: any(search(_text(value)) is not None for value in values(message))


def _containing(values: Values, text: str) -> Test:
    """A part of a text, whatever its letters' case; of octets, written in hex with or without colons."""
    wanted = text.lower()
    octets = wanted.replace(":", "") if re.fullmatch("[0-9a-f]{2}(:?[0-9a-f]{2})*", wanted) else None

    def within(value: Any) -> bool:
        if isinstance(value, (bytes, bytearray)):
            return (octets is not None and bytes.fromhex(octets) in value) or text.encode() in value
        return wanted in _text(value).lower() or (octets is not None and octets in _text(value).lower())

    return lambda message: any(within(value) for value in values(message))
