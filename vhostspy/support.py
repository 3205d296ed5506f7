"""Where vhostspy can run: the sentence for everywhere else.

This file and ``__main__.py`` are read by interpreters too old for the rest: they keep to the syntax of any Python 3.
"""

import sys

OLDEST_PYTHON = (3, 11)


def unsupported() -> str:
    """What this machine lacks, as a sentence; empty where nothing does."""
    if sys.version_info < OLDEST_PYTHON:
        return "vhostspy needs Python {}.{} or newer; this is {}.{}".format(*(OLDEST_PYTHON + sys.version_info[:2]))
    if sys.platform != "linux":
        return "vhostspy runs on Linux only: descriptors and memory files are its subject; this is " + sys.platform
    return ""
