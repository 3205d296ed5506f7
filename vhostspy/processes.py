"""Processes of our own: how one is started, and the file without a name that one writes and another reads."""

from __future__ import annotations

import os
import sys

_START = "import sys; sys.path.append(sys.argv.pop(1)); from vhostspy.cli import main; sys.exit(main())"


def command_line(*words: str) -> list[str]:
    """That of vhostspy with these words. Not -m: it would look for modules in whatever folder the user is in."""
    return [sys.executable, "-P", "-c", _START, _package_folder(), *words]


def _package_folder() -> str:
    """Where this very package lies: a checkout, or an environment's site-packages."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def unnamed_file() -> int:
    """A file in $TMPDIR that is gone with its last descriptor, which this one is: the caller's, for its user alone."""
    folder = os.environ.get("TMPDIR") or "/tmp"
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # not every file system has them
        from tempfile import mkstemp

        fd, path = mkstemp(prefix="vhostspy-")
        os.unlink(path)
        return fd
