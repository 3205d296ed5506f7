"""``vhostspy show``: a capture as lines, from its first record to its last."""

from __future__ import annotations

import gc
import os
import stat
import sys
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from vhostspy.arguments import kept_apart, write_file
from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.errors import WrongUse
from vhostspy.output.printer import Printer, Show
from vhostspy.output.stream import Output
from vhostspy.output.text import Look, Text
from vhostspy.pipeline import Pipeline

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from vhostspy.baseline import Known
    from vhostspy.rules.engine import Rules


MORE = """
exit status:
  0  all was read        2  wrong use, or a capture that is damaged
"""


def add_arguments(parser: ArgumentParser) -> None:
    from vhostspy.arguments import LINES, add_output_arguments, add_rule_arguments

    parser.epilog = LINES + MORE
    parser.add_argument("file", metavar="FILE", help="a capture; - is standard input")
    add_output_arguments(parser)
    parser.add_argument("--validate", action="store_true", help="say below each message what is wrong with it")
    parser.add_argument(
        "--at", metavar="N", type=number, help="only message N, and its session as it stood right after it"
    )
    add_rule_arguments(parser)


def number(text: str) -> int:
    """An argument's type: a message's number."""
    try:
        found = int(text.removeprefix("#"))
    except ValueError:
        found = 0
    if found < 1:
        raise ArgumentTypeError(f"{text!r} is no message's number; they count from 1")
    return found


def run(options: Namespace) -> int:
    if options.at is not None:
        return show_moment(options)
    # what passes here makes no cycles: looking for them would be a tenth of the time
    gc.set_threshold(100_000)
    kept_apart({"--junit": options.junit}, [options.file])
    output = Output(sys.stdout, live=_grows(options.file), needed=not options.junit)
    printer = new_printer(options, output)
    name = "standard input" if options.file == "-" else options.file
    try:
        reader = Reader(0 if options.file == "-" else options.file)
    except CaptureError as error:
        raise WrongUse(f"{name}: {error}") from None
    status = 0
    with reader:
        try:
            feed, show = printer.pipeline.feed, printer.items
            for record in reader:
                show(feed(record))
                if output.live:
                    output.flush()
        except CaptureError as error:
            if not reader.offset:
                raise WrongUse(f"{name}: {error}") from None
            # what was before the damage has been shown
            status = complain(f"{name}: {error}; what comes behind it is not shown")
    printer.end()
    output.flush()
    write_junit(options, printer, options.file)
    if reader.note:
        complain(f"{name}: {reader.note}")
    return status


def show_moment(options: Namespace) -> int:
    """``--at``. Raises WrongUse."""
    from .moment import show

    if options.filter is not None:
        raise WrongUse("--at shows one message: there is nothing for -Y to choose")
    output = Output(sys.stdout)
    look = Look(options.verbose, options.hex, colour=output.colour)
    if output.terminal and not options.json:
        output.write(Text(look).heading())
    for text in show(options.file, options.at, look, options.json, options.device, asked_rules(options)):
        output.write(text)
    output.flush()
    return 0


def _grows(file: str) -> bool:
    """A pipe may bring more later: what has come is to be shown meanwhile."""
    try:
        return not stat.S_ISREG((os.fstat(0) if file == "-" else os.stat(file)).st_mode)
    except OSError:
        return False


def complain(sentence: str) -> int:
    """Say it to people, after what they have been shown so far."""
    if sys.stdout is not None:
        sys.stdout.flush()
    sys.stderr.write(f"vhostspy show: {sentence}\n")
    return 2


def new_printer(options: Namespace, output: Output, findings_only: bool = False) -> Printer:
    """What the options ask for. Raises WrongUse for a filter that cannot be read."""
    filter_ = None
    if options.filter is not None:
        from vhostspy.filter import asked_for

        filter_ = asked_for(options.filter)
    look = Look(options.verbose, options.hex, colour=output.colour)
    baseline: Known = frozenset()
    if options.baseline:
        from vhostspy.baseline import read_baseline

        baseline = read_baseline(options.baseline)
    heading = output.terminal and not findings_only
    show = Show(
        json=options.json,
        look=look,
        filter=filter_,
        summary=not options.no_summary,
        findings=findings_only,
        baseline=baseline,
        patient=not output.live,
        heading=heading,
    )
    return Printer(show, Pipeline(options.device, asked_rules(options)), output.write)


def asked_rules(options: Namespace) -> Rules | None:
    """The rules, where the options want any findings; a filter that asks for them does, too."""
    if not (options.validate or options.junit or "finding" in (options.filter or "")):
        return None
    from vhostspy.arguments import disabled, profile
    from vhostspy.rules.engine import Rules

    return Rules(disabled(options), profile(options))


def write_junit(options: Namespace, printer: Printer, file: str) -> None:
    """The findings as JUnit XML, if asked for. Raises Failure where it cannot be written any more."""
    if options.junit:
        from vhostspy.output.findings import junit

        printer.report.file = file
        write_file("--junit", options.junit, "\n".join([*junit([printer.report]), ""]))
