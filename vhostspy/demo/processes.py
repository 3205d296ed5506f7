"""The peers as programs: their options, their signals, and what they print."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys

from . import endpoint
from .back_end import BackEnd
from .block import Disk
from .exercise import exercise
from .front_end import FrontEnd
from .wire import PeerError

FAILED = 3


def back_end_main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or, with ``--once`` (or when it connects), until the front-end has closed."""
    parser = argparse.ArgumentParser(prog="vhostspy.demo.back_end", description="A virtio block device in memory.")
    endpoint.add_arguments(parser)
    parser.add_argument("--once", action="store_true", help="end after the first connection")
    parser.add_argument("--sectors", metavar="N", type=int, default=2048, help="size of the disk (default 2048)")
    parser.add_argument("--queues", metavar="N", type=int, default=4)
    parser.add_argument("--grow-after", metavar="N", type=int, help="double the disk, once, after N requests")
    options = parser.parse_args(argv)

    def say(sentence: str) -> None:
        print(f"back-end: {sentence}", file=sys.stderr, flush=True)

    device = BackEnd(
        Disk(options.sectors), queues=options.queues, grow_after=options.grow_after, log=say, timeout_s=options.timeout
    )
    with device:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: device.stop())
        try:
            if options.listen is None:
                sock = (
                    endpoint.inherited(options.fd)
                    if options.connect is None
                    else endpoint.connect(options.connect, options.timeout)
                )
                device.serve(sock)
                return 0
            with endpoint.Listener(options.listen) as listener:
                timeout_s = options.timeout if options.once else None
                while not device.stopping:
                    accepted = listener.accept(timeout_s, device.wake_fd())
                    if accepted is None:
                        continue
                    try:
                        device.serve(accepted)
                    except PeerError as error:
                        if options.once:
                            raise
                        say(str(error))
                    if options.once:
                        break
        except (PeerError, OSError) as error:
            say(str(error))
            return FAILED
    return 0


def front_end_main(argv: list[str] | None = None) -> int:
    """One session; its outcome is printed as one JSON object."""
    parser = argparse.ArgumentParser(prog="vhostspy.demo.front_end", description="A driver for a virtio block device.")
    endpoint.add_arguments(parser)
    parser.add_argument("--sectors", metavar="N", type=int, default=64, help="sectors to write and read back")
    parser.add_argument("--queues", metavar="N", type=int, default=1)
    parser.add_argument("--expect-growth", action="store_true", help="wait until the disk has grown")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        if options.listen is not None:
            with endpoint.Listener(options.listen) as listener:
                sock = listener.accept(options.timeout)
        elif options.connect is not None:
            sock = endpoint.connect(options.connect, options.timeout)
        else:
            sock = endpoint.inherited(options.fd)
        if sock is None:
            raise PeerError("nobody connected")
        with FrontEnd(sock, queues=options.queues, timeout_s=options.timeout) as front_end:
            outcome = exercise(front_end, options.sectors, options.expect_growth)
    except (PeerError, OSError) as error:
        print(f"front-end: {error}", file=sys.stderr)
        return FAILED
    print(json.dumps({**outcome._asdict(), "pid": os.getpid()}), flush=True)
    return 0
