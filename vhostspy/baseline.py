"""Findings that are known and accepted, in a JSON file.

What is compared are rule, end and sentence, without the numbers of messages, times and addresses that another run has
others of.
"""

from __future__ import annotations

import json
import re

from vhostspy.errors import WrongUse
from vhostspy.message import Finding, blamed

FORMAT = 1

#: rule, end, sentence
Known = frozenset[tuple[str, str, str]]
#: numbers of messages, times, and addresses
_CHANGING = re.compile(r"#\d+|\b\d+(?:\.\d+)? (?:s|ms|µs|ns)\b|\b0x[0-9a-f]{6,}\b")


def key(finding: Finding, protocol: str) -> tuple[str, str, str]:
    """What is the same in another run."""
    return finding.rule, blamed(finding, protocol), _CHANGING.sub("…", finding.text)


def read_baseline(path: str) -> Known:
    """The findings that are accepted; WrongUse for what is no baseline."""
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
        if not isinstance(values, dict) or values.get("vhostspy-baseline") != FORMAT:
            raise ValueError(path)
        return frozenset((str(one["rule"]), str(one["who"]), str(one["text"])) for one in values["findings"])
    except OSError as error:
        raise WrongUse(f"--baseline {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        # who has edited one by hand has made a slip somewhere
        where = f" ({error})" if isinstance(error, json.JSONDecodeError) else ""
        raise WrongUse(
            f"--baseline {path}: is no baseline{where}; vhostspy check --write-baseline FILE makes one"
        ) from None
