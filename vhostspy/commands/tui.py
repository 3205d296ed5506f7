"""``vhostspy tui [FILE|PATH]``: a capture on the screen, or a relay that runs."""

from __future__ import annotations

import gc
import os
import stat
import sys
from typing import TYPE_CHECKING

from vhostspy.capture.reader import CaptureError
from vhostspy.errors import Failure, WrongUse

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from vhostspy.filter import Filter
    from vhostspy.rules.engine import Rules
    from vhostspy.tui.app import Screen
    from vhostspy.tui.live import Relay


MORE = """\
examples:
  vhostspy tui session.pcapng
        a capture
  vhostspy tui a.sock
        the relay that listens there
  vhostspy --listen a.sock --connect b.sock --tui
        a relay of its own

On the screen ? lists every key; docs/tui.md tells more.
"""


def add_arguments(parser: ArgumentParser) -> None:
    from vhostspy.arguments import add_choice_of_rules, device

    parser.epilog = MORE
    parser.add_argument(
        "file", metavar="FILE|PATH", nargs="?",
        help="a capture; or the --listen path of a running relay, to watch it (without: the only one that runs)",
    )  # fmt: skip
    parser.add_argument("-Y", "--filter", metavar="FILTER", help="begin with the messages that match (docs/filters.md)")
    parser.add_argument("--device", metavar="TYPE", type=device, help="what the back-end is, where it cannot be told")
    add_choice_of_rules(parser)


def run(options: Namespace) -> int:
    spare_collector()
    require_textual()
    require_terminal()
    from vhostspy.filter import asked_for

    filter_ = asked_for(options.filter) if options.filter else None
    if options.file is None or _is_relay(options.file):
        from vhostspy.inspection import NoRelay, find
        from vhostspy.tui.live import watched

        try:
            relay = watched(find(options.file))
        except NoRelay as none:
            raise Failure(str(none)) from None
        try:
            return watch(relay, options, filter_)
        finally:
            relay.close()
    return _capture(options, filter_)


def _is_relay(name: str) -> bool:
    """A socket, or the name of an abstract one: no capture is either."""
    try:
        return stat.S_ISSOCK(os.stat(name).st_mode)
    except OSError:
        return name.startswith("@")


def _capture(options: Namespace, filter_: Filter | None) -> int:
    from vhostspy.tui.app import Screen
    from vhostspy.tui.feed import Indexed

    try:
        feed = Indexed(options.file, device=options.device, rules=_rules(options))
        feed.advance(0)  # what is no capture at all is told here, not on the screen
    except FileNotFoundError:
        raise WrongUse(f"{options.file}: there is no such capture, and no relay listens there") from None
    except CaptureError as error:
        raise WrongUse(f"{options.file}: {error}") from None
    return shown(Screen(feed, filter_, source=options.file, marks_beside=options.file))


def shown(screen: Screen) -> int:
    """Run it; gives the exit status. Of a fault of ours Textual has printed what it was."""
    status = screen.run()
    return screen.return_code or status or 0


def spare_collector() -> None:
    """Modules and widgets are made to stay: looking through them again and again is a tenth of the time they take."""
    gc.set_threshold(100_000)


def _rules(options: Namespace) -> Callable[[], Rules]:
    """What makes the rules, once the screen stands."""
    from vhostspy.arguments import disabled, profile

    chosen = disabled(options), profile(options)

    def made() -> Rules:
        from vhostspy.rules.engine import Rules

        return Rules(*chosen)

    return made


def watch(relay: Relay, options: Namespace, filter_: Filter | None, strict: bool = False) -> int:
    """The screen on a relay, until somebody leaves it. Gives the exit status."""
    spare_collector()
    from vhostspy.output.units import escape
    from vhostspy.tui.app import Screen
    from vhostspy.tui.feed import Indexed

    name = f"{os.path.basename(relay.names[0])} ⇄ {os.path.basename(relay.names[1])}"
    rules = _rules(options)
    feed = Indexed(relay.fd, name, follow=True, device=options.device, rules=rules, alive=lambda: relay.alive)
    screen = Screen(feed, filter_, source=relay.path or relay.fd, marks_beside=relay.path, relay=relay, rules=rules)
    status = shown(screen)
    if relay.alive:
        sys.stderr.write(
            f"vhostspy: the relay goes on (process {relay.pid}); vhostspy tui watches it again, "
            f"kill {relay.pid} ends it\n"
        )
        return status
    if relay.path:
        sys.stderr.write(f"vhostspy: what has passed is in {escape(relay.path)}\n")
    status = status or relay.status
    return 1 if strict and not status and feed.counts().errors else status


def require_textual() -> None:
    """Raises WrongUse, which says how to install it, where Textual is missing."""
    try:
        import textual  # noqa: F401
    except ImportError:
        raise WrongUse(
            "the screen is drawn by Textual, which is not installed here; pip install textual installs it"
        ) from None


def require_terminal() -> None:
    """Raises WrongUse, which says what lacks. Textual reads from standard input and draws on standard error."""
    otherwise = "; vhostspy show prints lines"
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise WrongUse(f"the screen needs a terminal for its input, output and errors{otherwise} to files and pipes")
    if os.environ.get("TERM", "dumb") == "dumb":
        raise WrongUse(f"this terminal (TERM={os.environ.get('TERM', '')}) cannot place text on the screen{otherwise}")
    if "utf" not in sys.stdout.encoding.lower():
        raise WrongUse(f"the screen is drawn in UTF-8, and this terminal's locale is {sys.stdout.encoding}{otherwise}")
