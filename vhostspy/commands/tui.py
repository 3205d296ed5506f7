"""``vhostspy tui FILE``: a capture on the screen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vhostspy.capture.reader import CaptureError
from vhostspy.errors import WrongUse

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    from vhostspy.arguments import add_rule_arguments, device

    parser.add_argument("file", metavar="FILE", help="a capture")
    parser.add_argument("-Y", "--filter", metavar="FILTER", help="begin with the messages that match (docs/filters.md)")
    parser.add_argument("--device", metavar="TYPE", type=device, help="what the back-end is, where it cannot be told")
    add_rule_arguments(parser)


def run(options: Namespace) -> int:
    require_textual()
    from vhostspy.arguments import disabled, profile
    from vhostspy.filter import asked_for
    from vhostspy.rules.engine import Rules
    from vhostspy.tui.app import Screen
    from vhostspy.tui.feed import Indexed

    filter_ = asked_for(options.filter) if options.filter else None
    require_terminal()
    try:
        feed = Indexed(options.file, device=options.device, rules=Rules(disabled(options), profile(options)))
    except CaptureError as error:
        raise WrongUse(f"{options.file}: {error}") from None
    return Screen(feed, filter_, source=options.file, marks_beside=options.file).run() or 0


def require_textual() -> None:
    """Raises WrongUse, which says how to install it, where Textual is missing."""
    try:
        import textual  # noqa: F401
    except ImportError:
        raise WrongUse(
            "the screen is drawn by Textual, which is not installed here; pip install textual installs it"
        ) from None


def require_terminal() -> None:
    """Textual reads from standard input and draws on standard error."""
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise WrongUse(
            "the screen needs a terminal for its input, output and errors; vhostspy show prints to files and pipes"
        )
