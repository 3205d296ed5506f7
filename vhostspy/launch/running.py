"""The relay once its sockets are there: made, run, and how it ended."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from vhostspy import __version__
from vhostspy.capture.writer import Writer
from vhostspy.dissectors.registry import PROTOCOLS
from vhostspy.relay.control import Control
from vhostspy.relay.nowhere import Nowhere
from vhostspy.relay.pairing import Relay, Settings

from .options import keeps_memory
from .process import Signals, say
from .viewers import Viewers

if TYPE_CHECKING:
    from argparse import Namespace

    from vhostspy.relay.endpoint import Connector, Listener
    from vhostspy.relay.policy import PolicyMaker

    from .target import Target

#: of the unlinked queue file that views read when no capture is kept
QUEUE_BYTES = 1 << 30


def run(
    options: Namespace,
    target: Target,
    sides: tuple[Listener | Connector, Listener | Connector],
    new_policy: PolicyMaker | None,
    signals: Signals,
) -> int:
    """Relay until somebody ends it, and give the exit status."""
    writer: Writer | Nowhere
    if options.no_capture:
        writer = Nowhere()
    else:
        writer = Writer(target.fd, snaplen=options.snaplen, bounded=QUEUE_BYTES if target.bounded else None)
    settings = Settings(
        protocol=options.protocol or "", exact_reads=options.exact_reads, once=options.once,
        connect_timeout_s=options.connect_timeout, new_policy=new_policy, say=say,
        keep_memory=keeps_memory(options), exact_kicks=options.exact_kicks,
    )  # fmt: skip
    relay = Relay(sides, writer, settings)
    relay.event(
        "start", text="vhostspy begins to relay", version=__version__, pid=os.getpid(), listen=options.listen,
        connect=options.connect, device=options.device or "", command=[os.fsdecode(word) for word in sys.argv[1:]],
    )  # fmt: skip
    writer.flush()
    signals.drive(relay)
    tuple(PROTOCOLS.values())  # no session's first message is to wait for a table
    control = Control(relay, target.path)
    viewers = Viewers(options, target, relay)
    if options.sample_rings:
        viewers.start_sampler(options, control)
    relay.start()
    say(f"{sides[0].name} ⇄ {sides[1].name}: waiting for {'a session' if options.once else 'sessions'}, ^C ends")
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        relay.run()
    finally:
        signals.ignore_alarm()
        control.close()
        relay.event("end", text="the capture is complete")
        relay.writer.close()
        viewers.wait()
    status = _status(relay)
    return _judged(viewers) if options.strict and not status else status


def _judged(viewers: Viewers) -> int:
    """What ``--strict`` makes of the rules' outcome, which a view has found out."""
    if viewers.broken:
        return 1
    if viewers.failed:
        say("whether the rules were kept is not known: what checks them has failed")
        return 3
    return 0


def _status(relay: Relay) -> int:
    writer = relay.writer
    if writer.error is not None:
        say(
            f"the capture is not complete: {writer.error.strerror}; {writer.lost_messages} messages "
            f"({writer.lost_bytes} bytes) are not in it; the traffic was not affected"
        )
        return 3
    return 0 if relay.failure is None else 3
