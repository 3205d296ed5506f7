"""The two ways a command ends other than well, which the command line turns into a sentence and an exit status."""

from __future__ import annotations

from collections.abc import Iterable


class WrongUse(Exception):
    """An option's value or a file that cannot be used: exit status 2. The text is the whole sentence."""


class Failure(Exception):
    """A peer or the system failed: exit status 3. The text says who and what."""


def nearest(word: str, right: Iterable[str]) -> str:
    """`` (did you mean …?)`` with the word most like ``word``; empty where none is near."""
    from difflib import get_close_matches

    known = {candidate.lower(): candidate for candidate in right}
    found = get_close_matches(word.lower(), known, 1, 0.55)
    return f" (did you mean {known[found[0]]}?)" if found else ""
