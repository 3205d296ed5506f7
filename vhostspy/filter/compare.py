"""Comparisons, each made once and then asked of many messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from vhostspy.message import Message

from .names import Name, Test, Values, message_names
from .words import as_text, glob, is_pattern


def everything(message: Message) -> bool:
    return True


def any_of(tests: Iterable[Test]) -> Test:
    first, second, *more = tests
    if not more:
        return lambda message: first(message) or second(message)
    every = (first, second, *more)
    return lambda message: any(test(message) for test in every)


def all_of(tests: Iterable[Test]) -> Test:
    first, second, *more = tests
    if not more:
        return lambda message: first(message) and second(message)
    every = (first, second, *more)
    return lambda message: all(test(message) for test in every)


def negated(test: Test) -> Test:
    return lambda message: not test(message)


def masked(values: Values, mask: int) -> Values:
    return lambda message: [value & mask for value in values(message) if isinstance(value, int)]


def present(name: Name, mask: int | None) -> Test:
    """A name alone: is it there? A flag must be set, a count not 0; other numbers only have to be there."""
    values = name.values
    if mask is not None:
        return lambda message: any(isinstance(value, int) and value & mask for value in values(message))
    if name.kind in ("flag", "fds"):
        return lambda message: any(values(message))
    return lambda message: any(value is not False for value in values(message))


def ordered(values: Values, sign: str, wanted: int | float) -> Test:
    """Numbers by size; ``!=`` holds where there are some and none is equal."""

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


def between(values: Values, low: int | float, high: int | float) -> Test:
    return lambda message: any(isinstance(value, (int, float)) and low <= value <= high for value in values(message))


def same_text(name: Name, values: Values, sign: str, text: str) -> Test:
    """Texts, or octets written in hex, by equality or pattern; ``!=`` as for numbers."""
    if name.kind == "named":
        return _same_message(values, sign, text)
    if name.name == "message" and sign == "==" and values is name.values:
        return _called(text, name)
    if is_pattern(text):
        match = glob(text).match

        def same(value: Any) -> bool:
            return match(as_text(value)) is not None

    else:
        wanted = name.choices.get(text.lower(), text).lower()
        octets = re.sub("[:. -]", "", wanted) if re.fullmatch("[0-9a-f]{2}([:. -]?[0-9a-f]{2})*", wanted) else None

        def same(value: Any) -> bool:
            if isinstance(value, (bytes, bytearray)):
                return octets is not None and bytes(value).hex() == octets
            return as_text(value).lower() == wanted

    if sign == "==":
        return lambda message: any(same(value) for value in values(message))
    return lambda message: bool(found := list(values(message))) and not any(same(value) for value in found)


def _called(text: str, name: Name) -> Test:
    """``message == SET_VRING_*``: asked of a million messages, which have few names, so each name is looked at once."""
    match = glob(text).match if is_pattern(text) else None
    wanted = name.choices.get(text.lower(), text).lower()
    known: dict[str | None, bool] = {None: False}

    def test(message: Message) -> bool:
        called = message.name
        if called in known:
            return known[called]
        assert called is not None
        found = known[called] = called.lower() == wanted if match is None else match(called) is not None
        return found

    return test


def _same_message(values: Values, sign: str, text: str) -> Test:
    """``vhost_user.request == SET_VRING_KICK``: the header's number, by its name."""
    if is_pattern(text):
        match = glob(text).match

        def same(message: Message) -> bool:
            return message.name is not None and match(message.name) is not None

    else:
        wanted = message_names().get(text.lower(), text)

        def same(message: Message) -> bool:
            return message.name == wanted

    if sign == "==":
        return lambda message: bool(list(values(message))) and same(message)
    return lambda message: bool(list(values(message))) and not same(message)


def matching(name: Name, values: Values, search: Callable[[str], object]) -> Test:
    if name.kind == "named":
        return lambda message: message.name is not None and search(message.name) is not None
    return lambda message: any(search(as_text(value)) is not None for value in values(message))


def containing(values: Values, text: str) -> Test:
    """A part of a text, whatever its letters' case; of octets, written in hex with or without colons."""
    wanted = text.lower()
    octets = wanted.replace(":", "") if re.fullmatch("[0-9a-f]{2}(:?[0-9a-f]{2})*", wanted) else None

    def within(value: Any) -> bool:
        if isinstance(value, (bytes, bytearray)):
            return (octets is not None and bytes.fromhex(octets) in value) or text.encode(
                errors="surrogatepass"
            ) in value
        return wanted in as_text(value).lower() or (octets is not None and octets in as_text(value).lower())

    return lambda message: any(within(value) for value in values(message))
