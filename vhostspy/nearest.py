"""The right word for one that is nearly right: what a mistake in an option, a filter or a name was meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, right: Iterable[str]) -> str:
    """`` (did you mean …?)`` with the word that was meant; empty where none is likely."""
    found = alike(word, right)
    return f" (did you mean {found}?)" if found else ""


def alike(word: str, right: Iterable[str]) -> str | None:
    """The one of ``right`` that a slip or two make ``word`` of, or that it is the beginning or a part of.

    Case, strokes and blanks do not count. A short word has room for one slip: with two it is another word.
    """
    typed, words = _letters(word), _words(word)
    best: tuple[float, int] | None = None
    found = None
    for candidate in right:
        known = _letters(candidate)
        # slips; to be its beginning is worth one and a half, to be a part of it, or some of its words, two and a half
        worth: float = _slips(typed, known) if typed else 99
        if worth > _most_slips(typed):
            worth = 99
        if len(typed) > 2 and known.startswith(typed):
            worth = min(worth, 1.5)
        elif len(typed) > 3 and (typed in known or words and words <= _words(candidate)):
            worth = min(worth, 2.5)
        rank = worth, abs(len(known) - len(typed))
        if worth < 99 and (best is None or rank < best):
            best, found = rank, candidate
    return found


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


def _words(text: str) -> set[str]:
    """Of a name that has several."""
    found = set("".join(letter if letter.isalnum() else " " for letter in text.lower()).split())
    return found if len(found) > 1 else set()


def _most_slips(word: str) -> float:
    return 1 if len(word) < 7 else 2 if len(word) < 12 else 3


def _slips(one: str, other: str) -> int:
    """Letters that were added, left out, changed, or put in the wrong order (optimal string alignment)."""
    if abs(len(one) - len(other)) > 3:
        return 99
    before: list[int] = []
    row: list[int] = [*range(len(other) + 1)]
    for i, letter in enumerate(one):
        before, above, row = row, before, [i + 1]
        for j, its in enumerate(other):
            # of three letters none may be another: can is no cam
            changed = before[j] + (letter != its) * (1 if len(one) > 3 else 2)
            least = min(changed, before[j + 1] + 1, row[j] + 1)
            if i and j and letter == other[j - 1] and one[i - 1] == its:
                least = min(least, above[j - 1] + 1)
            row.append(least)
    return row[-1]
