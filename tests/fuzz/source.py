"""Choices made by octets: a run of them is one example, and a changed octet is another example near it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """Reads octets from the front; what is asked for behind the end is zero, or empty."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def __bool__(self) -> bool:
        """Whether something is left."""
        return self._at < len(self._octets)

    def take(self, count: int) -> bytes:
        """At most so many."""
        taken = self._octets[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._octets))

    def number(self, size: int = 1) -> int:
        """Of so many octets, little-endian."""
        return int.from_bytes(self.take(size), "little")

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.number(1 if len(choices) <= 256 else 2) % len(choices)]
