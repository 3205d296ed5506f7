"""From text to a test: or, and, not, comparison, by recursive descent."""

from __future__ import annotations

import re
from collections.abc import Callable

from vhostspy.message import SEVERITIES
from vhostspy.nearest import alike

from .compare import (
    all_of,
    any_of,
    between,
    containing,
    everything,
    masked,
    matching,
    negated,
    ordered,
    present,
    same_text,
)
from .names import NUMBER, SOME_NAMES, Name, Test, Values, named
from .tree import Node, join, term
from .words import FilterError, Token, glob, is_pattern, number, tokens, unquoted

#: deeper nesting is a mistake, or malice
MOST_NESTED = 100
_AND, _OR, _NOT = ("&&", "and"), ("||", "or"), ("!", "not")
_COMPARE = ("==", "!=", "<=", ">=", "<", ">", "contains", "matches", "in", "eq", "ne", "lt", "le", "gt", "ge", "~")
_SAME = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "~": "matches"}
_EXPECT_COMPARISON = "here could stand ==, !=, <, <=, >, >=, in {…}, contains, matches, &, &&, || or the end"


class Parser:
    """One filter's text on its way to a tree of tests; methods raise FilterError where the text can't go on so."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(tokens(text))
        self.at = 0
        self.nested = 0
        #: ``pending`` is asked for somewhere
        self.pending = False

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def take_if(self, values: tuple[str, ...]) -> bool:
        if self.token.kind != "text" and self.token.value in values:
            self.at += 1
            return True
        return False

    def error(self, token: Token, problem: str, expected: str = "") -> FilterError:
        return FilterError(self.text, token.at, problem, expected)

    def whole(self) -> Node:
        if self.token.kind == "end":
            return Node(everything)
        test = self.any_of()
        if self.token.kind != "end":
            token = self.token
            if token.value == ")":
                raise self.error(token, "there is no ( that this ) closes")
            if token.value == "=":
                raise self.error(token, "= is not an operator", "equality is ==")
            raise self.error(token, f"{token.value} can't follow", _EXPECT_COMPARISON)
        return test

    def any_of(self) -> Node:
        nodes = [self.all_of()]
        while self.take_if(_OR):
            nodes.append(self.all_of())
        return nodes[0] if len(nodes) == 1 else join("or", any_of(node.test for node in nodes), *nodes)

    def all_of(self) -> Node:
        nodes = [self.one()]
        while self.take_if(_AND):
            nodes.append(self.one())
        return nodes[0] if len(nodes) == 1 else join("and", all_of(node.test for node in nodes), *nodes)

    def one(self) -> Node:
        self.nested += 1
        if self.nested > MOST_NESTED:
            raise self.error(self.token, f"more than {MOST_NESTED} levels of parentheses")
        try:
            if self.take_if(_NOT):
                node = self.one()
                return join("not", negated(node.test), node)
            if self.take_if(("(",)):
                opened = self.tokens[self.at - 1]
                node = self.any_of()
                if not self.take_if((")",)):
                    if self.token.kind == "end":
                        raise self.error(opened, "this ( is not closed")
                    raise self.error(self.token, f"{self.token.value} can't follow", "here could stand )")
                return node
            return self.comparison()
        finally:
            self.nested -= 1

    def comparison(self) -> Node:
        token = self.take()
        if token.kind == "end":
            raise self.error(token, "the filter ends here", f"something must follow: {SOME_NAMES}")
        if token.kind != "word" or token.value in ("and", "or", "in", "contains", "matches"):
            raise self.error(token, f"{token.value} can't stand here", f"a name must: {SOME_NAMES}")
        name = named(token, self.text)
        self.pending = self.pending or token.value == "pending"
        mask = None
        if self.take_if(("&",)):
            mask = self.number("a mask, as in flags & 0x8")
        operator = self.token
        if operator.kind == "text" or operator.value not in _COMPARE:
            return term(name, present(name, mask))
        self.take()
        sign = _SAME.get(operator.value, operator.value)
        values = name.values if mask is None else masked(name.values, mask)
        if sign == "in":
            return term(name, self.member_of(name, values), counted=False)
        operand = self.operand(name, sign)
        if sign == "matches":
            return term(name, matching(name, values, self.pattern(operand)), counted=False)
        if sign == "contains":
            return term(name, containing(values, unquoted(operand)), counted=False)
        counted = operand.kind == "word" and number(operand.value) is not None
        return term(name, self.compared(name, values, sign, operand), counted)

    def number(self, what: str) -> int:
        token = self.take()
        value = number(token.value) if token.kind == "word" else None
        if value is None or not isinstance(value, int):
            raise self.error(token, f"here must stand {what}")
        return value

    def operand(self, name: Name, sign: str) -> Token:
        token = self.take()
        if token.kind not in ("word", "text"):
            what = f"{token.value} can't stand here" if token.kind != "end" else "the filter ends here"
            raise self.error(token, what, f"after {sign} comes {name.takes}")
        return token

    def member_of(self, name: Name, values: Values) -> Test:
        opened = self.token
        if not self.take_if(("{",)):
            raise self.error(opened, "after in comes a set", "as in {8 9 10} or {GET_*, SET_OWNER}")
        tests: list[Test] = []
        while not self.take_if(("}",)):
            if self.token.kind == "end":
                raise self.error(opened, "this { is not closed")
            token = self.operand(name, "{")
            low, dots, high = token.value.partition("..")
            if token.kind == "word" and dots and number(low) is not None and number(high) is not None:
                tests.append(between(values, number(low) or 0, number(high) or 0))
            else:
                tests.append(self.compared(name, values, "==", token))
            self.take_if((",",))
        return lambda message: any(test(message) for test in tests)

    def pattern(self, token: Token) -> Callable[[str], object]:
        """``matches``: a regular expression where it is quoted, else a pattern as the shell has them."""
        if token.kind == "word":
            return glob(token.value).match
        try:
            return re.compile(unquoted(token), re.IGNORECASE).search
        except (re.error, RecursionError, OverflowError) as mistake:
            raise self.error(token, f"no regular expression: {mistake}") from None

    def compared(self, name: Name, values: Values, sign: str, token: Token) -> Test:
        text = unquoted(token)
        wanted = number(text) if token.kind == "word" else None
        if name.kind == "number" and wanted is None:
            raise self.error(token, f"{text} is no number", f"after {sign} comes {name.takes}")
        if name.name == "latency" and wanted and text[-1].isdecimal():
            raise self.error(token, f"{text} has no unit", f"after {sign} comes {name.takes}")
        if name.kind == "severity" and text.lower() in SEVERITIES:
            return ordered(values, sign, SEVERITIES[text.lower()])
        if name.choices and name.kind != "severity" and not is_pattern(text):
            self.one_of(token, text, name)
        if wanted is not None and name.kind != "text":
            test = ordered(values, sign, wanted)
            # digits may also be octets in hex, or part of a name
            return any_of((test, same_text(name, values, sign, text))) if sign == "==" and name.kind == "any" else test
        if sign not in ("==", "!="):
            if name.kind == "severity":
                raise self.error(token, f"{text} is no severity", "note, warning or error")
            if text[:1].isdecimal():
                raise self.error(token, f"{text} is no number", f"after {sign} comes {NUMBER}")
            raise self.error(token, f"{text} can't be compared by size", "texts are compared by == and !=")
        return same_text(name, values, sign, text)

    def one_of(self, token: Token, text: str, name: Name) -> None:
        if text.lower() in name.choices or (name.kind in ("named", "flag") and number(text) is not None):
            return
        near = alike(text, name.choices.values())
        hint = f"did you mean {near}?" if near else ""
        if not hint and len(name.choices) <= 6:
            hint = f"there are {', '.join(name.choices.values())}"
        raise self.error(token, f"{name.name} is never {text}", hint)
