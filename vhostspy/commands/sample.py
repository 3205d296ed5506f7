"""The sampler: a process beside the relay that looks at the rings now and then, and has what it saw recorded.

The relay starts it by exec for ``--sample-rings``. It asks over the control socket as any viewer does, at low priority,
and ends when the relay does; without it nothing but its samples is missing.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from vhostspy.inspection import Asked, Attachment, NoRelay
from vhostspy.inspection.sampling import put

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

#: how often the capture is followed, and notifications are counted, between two samples
STEP_S = 0.02


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--control", required=True, help="the relay's control socket")
    parser.add_argument("--every", type=float, required=True, help="seconds")
    parser.add_argument("--data", action="store_true", help="the first bytes of requests too")


def run(options: Namespace) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(19)
    try:
        attachment = Attachment(Asked(options.control))
    except NoRelay as none:
        sys.stderr.write(f"vhostspy: no samples of rings: {none}\n")
        return 3
    try:
        _sample(options, attachment)
    except NoRelay:
        pass  # it has ended
    finally:
        attachment.close()
    return 0


def _sample(options: Namespace, attachment: Attachment) -> None:
    due = 0.0
    while not attachment.ended:
        attachment.follow()
        for seen in attachment.endings:
            put(attachment, seen if options.data else seen._replace(requests={}))
        now = time.monotonic()
        if now >= due or attachment.stopped:
            if now >= due:
                due = now + options.every
            for seen in attachment.look():
                if seen.rings or seen.why:
                    told = attachment.with_problems(seen)
                    put(attachment, attachment.with_requests(told) if options.data else told)
        time.sleep(min(STEP_S, options.every))
        attachment.notifications.poll()
