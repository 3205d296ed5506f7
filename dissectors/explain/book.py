"""Subjects, and how they are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple

from ..spelling import squashed
from .article import Article

#: what people write behind a message's name, as our own lists do
_TAILS = ("reply", "ack", "request", "message")


class Subject(NamedTuple):
    """One thing that can be explained. ``article`` and ``value`` make what they give when it is asked for."""

    #: as it is shown
    name: str
    #: the heading that it is listed under
    group: str
    #: a spelling that leads to this subject alone
    title: str
    #: what it is, in a sentence
    text: str
    #: all its spellings, squashed
    keys: frozenset[str]
    article: Callable[[], Article]
    #: the same for programs
    value: Callable[[], dict[str, object]]
    #: its number beside the name in lists
    number: str = ""
    #: spellings that count only when nothing else has that name: VERSION is a message before it is a structure
    weak_keys: frozenset[str] = frozenset()
    #: squashed names of what is in it, by which it is found when nothing else is
    members: frozenset[str] = frozenset()


class Book:
    """Subjects in the order of the lists."""

    def __init__(self, subjects: Iterable[Subject]) -> None:
        self.subjects = tuple(subjects)

    def find(self, text: str) -> list[Subject]:
        """All that are called so; if none is, what has a member, a value or a heading of that name.

        A pattern with ``*`` or ``?`` is held against the names.
        """
        if "*" in text or "?" in text:
            pattern = text.upper().replace("-", "_").replace(" ", "_")
            return [
                one
                for one in self.subjects
                if any(fnmatchcase(name.upper().replace("-", "_"), pattern) for name in (one.name, one.title))
            ]
        for word in _forms(text):
            for names in (_title, _keys, _weak_keys, _members):
                found = [one for one in self.subjects if word in names(one)]
                if found:
                    return found
        word = squashed(text)
        return [one for one in self.subjects if len(word) > 3 and word in squashed(one.group)]

    def near(self, text: str, most: int = 3) -> list[str]:
        """Names that may have been meant: first those that it is a part of, then those that are like it."""
        word = squashed(text)
        if not word or text.split()[-1].isdecimal():
            return []  # there is no such number; another one is no likelier
        names = {squashed(one.name): one.name for one in reversed(self.subjects)}
        # of a few letters every other name has a part
        part_of = [name for key, name in names.items() if len(word) > 3 and word in key][::-1]
        # a misspelt full name, or an older one, leads to its subject too
        known = {
            key: one.name
            for one in reversed(self.subjects)
            for key in one.keys | one.weak_keys
            if len(key) > 2 and (not key[-1].isdigit() or squashed(one.name)[-2:] == key[-2:])
        }
        like = [known[key] for key in get_close_matches(word, known, 3 * most, 0.6 if len(word) > 4 else 0.75)]
        return list(dict.fromkeys([*part_of[:most], *like]))[:most]

    def groups(self) -> Iterator[tuple[str, list[Subject]]]:
        """The headings of the list, each with what is below it."""
        found: dict[str, list[Subject]] = {}
        for one in self.subjects:
            found.setdefault(one.group, []).append(one)
        yield from found.items()


def _title(one: Subject) -> tuple[str]:
    return (squashed(one.title),)


def _keys(one: Subject) -> frozenset[str]:
    return one.keys


def _weak_keys(one: Subject) -> frozenset[str]:
    return one.weak_keys


def _members(one: Subject) -> frozenset[str]:
    return one.members


def _forms(text: str) -> Iterator[str]:
    word = squashed(text)
    if word:
        yield word
    # 0x0c is 12
    if word.startswith("0x"):
        try:
            yield str(int(word, 16))
        except ValueError:
            pass
    for tail in _TAILS:
        if word.endswith(tail) and len(word) > len(tail):
            yield word[: -len(tail)]
