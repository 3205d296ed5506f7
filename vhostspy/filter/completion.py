"""What may stand next in a filter, for those who type one."""

from __future__ import annotations

import re

from vhostspy.message import SEVERITIES

from .names import OWN_NAMES, named, names_of_members
from .words import FilterError, Token

#: ``name ==`` and what was typed of its value; a set that is open counts too
_COMPARED = re.compile(r"([\w.]+)\s*(?:==|!=|<=|>=|<|>|in\s*\{[^}]*)\s*$")


def completions(before: str, word: str) -> list[str]:
    """Words that begin like ``word`` and may follow ``before``: names, or the values of the name before a sign."""
    compared = _COMPARED.search(before)
    if compared is not None:
        candidates = _values(compared[1])
    elif "." in word:
        prefix, _, _ = word.partition(".")
        protocol = None if prefix == "fields" else prefix.replace("_", "-")
        candidates = [f"{prefix}.{member}" for member in sorted(names_of_members(protocol))]
    else:
        candidates = [*sorted(OWN_NAMES), "fields.", "vhost_user.", "vfio_user.", "vhost_user_gpu."]
    beginning = word.casefold()
    return [each for each in candidates if each.casefold().startswith(beginning)]


def _values(name: str) -> list[str]:
    """What a name is compared with, where that is one of a few."""
    try:
        found = named(Token("word", name, 0, len(name)), name)
    except FilterError:
        return []
    if found.kind == "severity":
        return list(SEVERITIES)
    return sorted(set(found.choices.values()))
