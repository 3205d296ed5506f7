"""The live view: the relay's capture as lines while it grows, in a process of its own.

The relay starts it by exec and owes it nothing: it reads the file that the relay writes, at its own pace and at low
priority, and may crash, lag or be closed without touching the traffic. It ends when it has read the capture's end, or,
when the relay is gone without one (its end of a pipe is closed), all there is.

With ``--copy`` the octets themselves go to standard output, whole blocks only: Wireshark at the other end of a pipe
must not see a record that is still being filled.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic_ns
from typing import TYPE_CHECKING

from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import EVENT
from vhostspy.commands.show import new_printer, write_junit
from vhostspy.launch.viewers import BROKEN
from vhostspy.message import Event
from vhostspy.output.stream import Output
from vhostspy.pipeline import LAG_NS

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

#: how often a file that does not grow is looked at
POLL_MS = 50
#: records between two words to the relay about how far we are
_STRIDE = 512
_COPY_BLOCK = 1 << 20


def add_arguments(parser: ArgumentParser) -> None:
    from vhostspy.arguments import add_output_arguments, add_rule_arguments

    parser.add_argument("--fd", type=int, required=True, help="the capture")
    parser.add_argument("--alive", type=int, required=True, help="a pipe that ends when the relay does")
    parser.add_argument("--consumed", type=int, default=-1, help="a pipe for offsets up to which all was read")
    parser.add_argument("--copy", action="store_true", help="the capture's octets, not lines")
    add_output_arguments(parser)
    parser.add_argument("--validate", action="store_true", help="findings as they happen")
    parser.add_argument("--strict", action="store_true", help=f"end with {BROKEN} if one was an error")
    parser.add_argument("-q", "--quiet", action="store_true", help="findings alone")
    parser.add_argument("--name", default="", help="of the capture, for people")
    add_rule_arguments(parser)


def run(options: Namespace) -> int:
    # ^C goes to the whole group: the relay ends the capture, and we show it to its end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(19)
    relay = Relay(options.alive, options.consumed)
    if options.copy:
        copy(options.fd, relay)
        return 0
    return view(options, relay)


class Relay:
    """What we know of the relay, and tell it.

    alive: read end of a pipe that only the relay can write to. consumed: write end of a pipe for 8-byte little-endian
    offsets, or -1.
    """

    def __init__(self, alive: int, consumed: int) -> None:
        self.gone = False
        self._consumed = consumed
        self._told = 0
        self._poll = select.poll()
        self._poll.register(alive, select.POLLIN)
        if consumed >= 0:
            os.set_blocking(consumed, False)

    def wait(self) -> None:
        """Give the file time to grow; see whether the relay still is."""
        if self._poll.poll(POLL_MS):
            self.gone = True

    def read_to(self, offset: int) -> None:
        """All before that offset of the file was read and shown: its space may be used again."""
        if self._consumed >= 0 and offset > self._told:
            self._told = offset
            try:
                os.write(self._consumed, offset.to_bytes(8, "little"))
            except BlockingIOError:
                pass  # it has not even read what we said before; the next word says more
            except OSError:
                self._consumed = -1


def view(options: Namespace, relay: Relay) -> int:
    # with these it reads on to the end, whether somebody looks or not
    output = Output(sys.stdout, live=True, needed=not (options.strict or options.junit))
    printer = new_printer(options, output, findings_only=options.quiet)
    reader = Reader(options.fd, follow=True)
    reader.offset = 0  # the descriptor's own position is the relay's
    ended = False
    status = 0
    try:
        while not ended:
            # looked at before reading: what was written before its end is then read after it
            last = relay.gone
            reader.follow = not last
            for count, record in enumerate(reader):
                for item in printer.pipeline.feed(record):
                    printer.items((item,))
                    if record.kind == EVENT and isinstance(item, Event) and item.event == "end" and not item.session:
                        ended = True
                if count % _STRIDE == 0:
                    relay.read_to(reader.offset)
            relay.read_to(reader.offset)
            if ended or last:
                break
            printer.items(printer.pipeline.tick(monotonic_ns() - LAG_NS))
            output.flush()
            relay.wait()
    except CaptureError as error:
        output.flush()
        sys.stderr.write(f"vhostspy: what is recorded can't be read: {error}\n")
        status = 2
    printer.end()
    output.flush()
    write_junit(options, printer, options.name)
    return BROKEN if options.strict and not status and printer.report.count("error") else status


def copy(fd: int, relay: Relay) -> None:
    """Pass the capture on to standard output, block by block, until it ends. A closed pipe ends the copy, quietly."""
    offset = 0
    while True:
        last = relay.gone
        for block in _whole_blocks(fd, offset):
            _write_all(1, block)
            offset += len(block)
            relay.read_to(offset)
        if last:
            return
        relay.wait()


def _whole_blocks(fd: int, offset: int) -> Iterator[bytes]:
    """Pieces of the file, each of as many whole blocks as fit; ends where the file does for now."""
    while True:
        window = os.pread(fd, _COPY_BLOCK, offset)
        at = 0
        while at + 12 <= len(window):
            kind = int.from_bytes(window[at : at + 4], "little")
            total = int.from_bytes(window[at + 4 : at + 8], "little")
            if kind == 0 or total < 12 or at + total > len(window):
                break
            at += total
        if not at:
            return
        yield window[:at]
        offset += at


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
