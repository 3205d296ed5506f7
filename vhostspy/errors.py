"""The two ways a command ends other than well, which the command line turns into a sentence and an exit status."""

from __future__ import annotations


class WrongUse(Exception):
    """An option's value or a file that cannot be used: exit status 2. The text is the whole sentence."""


class Failure(Exception):
    """A peer or the system failed: exit status 3. The text says who and what."""
