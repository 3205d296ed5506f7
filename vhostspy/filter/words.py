"""What a filter's text is made of: words, quoted texts, operators, numbers with units, patterns; and its mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import translate
from functools import lru_cache
from typing import Any, NamedTuple

#: nanoseconds, and bytes
_UNITS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000,
    "B": 1, "kB": 1000, "MB": 1_000_000, "GB": 1_000_000_000,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
    "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40,
}  # fmt: skip


class FilterError(ValueError):
    """A filter that cannot be read: what is wrong, where (an offset into the text), and what could stand there."""

    def __init__(self, text: str, at: int, problem: str, expected: str = "") -> None:
        self.text, self.at, self.problem, self.expected = text, at, problem, expected
        super().__init__(f"{problem} (at character {at + 1})" + (f"; {expected}" if expected else ""))

    def pointing(self) -> str:
        """The filter with a caret below the place, for terminals; what cannot be shown in one column is a ``?``."""
        line = "".join(letter if letter.isprintable() else "?" for letter in self.text)
        return f"{line}\n{' ' * self.at}^"


class Token(NamedTuple):
    """A piece of the text, from ``at`` up to and without ``end``."""

    #: word, text (in quotes), operator, end
    kind: str
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


def tokens(text: str) -> Iterator[Token]:
    """The pieces of a filter, an end behind them; FilterError at what is none."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            if text[at] in "\"'":
                raise FilterError(text, at, "this quotation has no end")
            raise FilterError(text, at, f"{text[at]!r} means nothing here", "write texts in quotes")
        kind = found.lastgroup or ""
        if kind != "space":
            yield Token(kind, found[0], at, found.end())
        at = found.end()
    yield Token("end", "", len(text), len(text))


def unquoted(token: Token) -> str:
    if token.kind != "text":
        return token.value
    return re.sub(r"\\(.)", r"\1", token.value[1:-1], flags=re.DOTALL)


def number(word: str) -> int | float | None:
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


def is_pattern(text: str) -> bool:
    return "*" in text or "?" in text or "[" in text


@lru_cache(maxsize=256)
def glob(pattern: str) -> re.Pattern[str]:
    """A pattern as the shell has them, to be matched from the first letter; letters' case does not count."""
    return re.compile(translate(pattern), re.IGNORECASE)


def as_text(value: Any) -> str:
    """How a value is compared as text."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
