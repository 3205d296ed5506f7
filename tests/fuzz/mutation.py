"""Examples near those that are known."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

#: values that counts, sizes and flags go wrong at
EDGES = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 254, 255)


def _flip(octets: bytearray, chance: random.Random) -> None:
    octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)


def _edge(octets: bytearray, chance: random.Random) -> None:
    octets[chance.randrange(len(octets))] = chance.choice(EDGES)


def _any(octets: bytearray, chance: random.Random) -> None:
    octets[chance.randrange(len(octets))] = chance.randrange(256)


def _cut(octets: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(octets))
    del octets[start : start + chance.choice((1, 2, 4, 8, len(octets)))]


def _insert(octets: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(octets) + 1)
    octets[at:at] = chance.randbytes(chance.choice((1, 2, 4, 8)))


def _repeat(octets: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(octets))
    piece = octets[start : start + chance.choice((1, 2, 4, 8, 16, 40))]
    at = chance.randrange(len(octets) + 1)
    octets[at:at] = piece


CHANGES: Sequence[Callable[[bytearray, random.Random], None]] = (_flip, _edge, _any, _cut, _insert, _repeat)


def changed(seeds: Sequence[bytes], longest: int, chance: random.Random) -> bytes:
    """One of the seeds, or two of them joined, with a few changes."""
    octets = bytearray(chance.choice(seeds))
    if chance.random() < 0.1:
        other = chance.choice(seeds)
        octets = octets[: chance.randrange(len(octets) + 1)] + other[chance.randrange(len(other) + 1) :]
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 8))):
        if octets:
            chance.choice(CHANGES)(octets, chance)
    return bytes(octets[:longest])
