"""``vhostspy --listen … --connect … --tui``: a relay, and the screen on it.

The relay is a process of its own, which this one starts and then follows through its capture. It can be left running,
and watched again by ``vhostspy tui``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vhostspy.errors import WrongUse

from . import relay as relays
from .tui import require_terminal, require_textual, watch

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

#: options that only say how to print, or what the screen does by itself
_OURS = frozenset(
    ("--tui", "--validate", "--strict", "-q", "--quiet", "-v", "--verbose", "-x", "--hex", "--no-summary")
)


def add_arguments(parser: ArgumentParser) -> None:
    relays.add_arguments(parser)


def run(options: Namespace) -> int:
    require_textual()
    require_terminal()
    if options.json:
        raise WrongUse("--json prints lines, where --tui draws: use one of them")
    if options.write == "-":
        raise WrongUse("-w - puts the capture on standard output, where --tui draws; give -w a file")
    if options.no_capture:
        raise WrongUse("--no-capture leaves nothing that --tui could show")
    if options.junit or options.baseline:
        raise WrongUse("--junit and --baseline are for lines and for check, not for the screen")
    from vhostspy.filter import asked_for

    filter_ = asked_for(options.filter) if options.filter else None
    from vhostspy.tui.live import start

    words = [word for word in sys.argv[1:] if word not in _OURS]
    names = [name.partition(":") for name in (*options.listen, *options.connect)]
    passed = [int(number) for kind, _, number in names if kind == "fd" and number.isdecimal()]
    relay = start(words, options.write is not None, passed)
    try:
        return watch(relay, options, filter_, strict=options.strict)
    finally:
        relay.close()
