"""``vhostspy show``: a capture as lines, from its first record to its last."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.dissectors import virtio
from vhostspy.errors import WrongUse, nearest
from vhostspy.filter import asked_for
from vhostspy.output.printer import Printer, Show
from vhostspy.output.text import Look
from vhostspy.pipeline import Pipeline

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _ArgumentGroup

#: characters that are written at once
_BLOCK = 1 << 16


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a capture; - is standard input")
    add_output_arguments(parser)


def add_output_arguments(parser: ArgumentParser | _ArgumentGroup) -> None:
    """How messages are to be shown; the same words wherever they are."""
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("-v", "--verbose", action="store_true", help="all members of each message")
    parser.add_argument("-x", "--hex", action="store_true", help="its bytes as well")
    parser.add_argument("-Y", "--filter", metavar="FILTER", help="only messages that match (docs/filters.md)")
    parser.add_argument(
        "--device", metavar="TYPE", help="what the back-end is, where it cannot be told from the session"
    )
    parser.add_argument("--no-summary", action="store_true", help="end with the last message, without a summary")


def run(options: Namespace) -> int:
    output = Output(sys.stdout, live=options.file == "-")
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
    if reader.note:
        complain(f"{name}: {reader.note}")
    return status


def complain(sentence: str) -> int:
    """Say it to people, after what they have been shown so far."""
    if sys.stdout is not None:
        sys.stdout.flush()
    sys.stderr.write(f"vhostspy show: {sentence}\n")
    return 2


def new_printer(options: Namespace, output: Output) -> Printer:
    """What the options ask for. Raises WrongUse for a filter that cannot be read, and for an unknown device."""
    filter_ = asked_for(options.filter)
    device = None
    if options.device is not None:
        found = virtio.find(options.device)
        if found is None:
            raise WrongUse(f"--device: there is no device {options.device!r}{nearest(options.device, virtio.DEVICES)}")
        device = found.name
    look = Look(options.verbose, options.hex, colour=output.colour)
    return Printer(Show(options.json, look, filter_, not options.no_summary), Pipeline(device), output.write)


class Output:
    """Standard output, written in large pieces; ``flush`` when somebody may be waiting for a line.

    Raises BrokenPipeError once nobody reads it any more. Without a standard output, what is written is forgotten.
    """

    def __init__(self, stream: TextIO | None, live: bool = False) -> None:
        self.live = live
        self._stream = stream
        self._parts: list[str] = []
        self._size = 0
        self.colour = stream is not None and wants_colour(stream)

    def write(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._size >= _BLOCK:
            self._empty()

    def flush(self) -> None:
        if self._parts:
            self._empty()
            if self._stream is not None:
                self._stream.flush()

    def _empty(self) -> None:
        text = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._stream is not None:
            self._stream.write(text)


def wants_colour(stream: TextIO) -> bool:
    """Colour is for terminals that have some, and for people who did not say otherwise."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb")
