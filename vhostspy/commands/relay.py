"""``vhostspy --listen … --connect …``: set up a relay, its capture and its viewers, run it, and say how it ended.

The relay's process does nothing but relay and record. What is printed comes from a viewer: another process, started by
exec, that follows the capture while it grows.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from vhostspy.capture.writer import Writer
from vhostspy.dissectors.registry import PROTOCOLS
from vhostspy.errors import WrongUse
from vhostspy.launch.options import add_arguments, check, keeps_memory
from vhostspy.launch.process import fill_standard_descriptors, more_descriptors, say, stop_on_signals
from vhostspy.launch.target import Target
from vhostspy.relay.control import Control
from vhostspy.relay.endpoint import Connector, Listener
from vhostspy.relay.nowhere import Nowhere
from vhostspy.relay.pairing import Relay, Settings

if TYPE_CHECKING:
    from argparse import Namespace

    from vhostspy.launch.viewers import Viewers

__all__ = ["add_arguments", "run"]

#: of the unlinked queue file that views read when no capture is kept
QUEUE_BYTES = 1 << 30


def run(options: Namespace) -> int:
    check(options)
    if options.strict or options.enforce or options.baseline or options.junit:
        options.validate = True
    if fill_standard_descriptors():
        options.quiet = True
        options.no_capture = options.write is None  # nobody would ever read it
    more_descriptors()
    new_policy = _policy(options)
    sides = _sides(options)
    try:
        target = Target(options)  # last: it replaces an older capture
    except BaseException:
        for side in sides:
            if isinstance(side, Listener):
                side.close()
        raise
    return _run(options, target, sides, new_policy)


def _run(options: Namespace, target: Target, sides: Any, new_policy: Any) -> int:
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
        "start", text="vhostspy begins to relay", version=_version(), pid=os.getpid(), listen=options.listen,
        connect=options.connect, device=options.device or "", command=[os.fsdecode(word) for word in sys.argv[1:]],
    )  # fmt: skip
    writer.flush()
    stop_on_signals(relay)
    tuple(PROTOCOLS.values())  # it listens already; but no session's first message is to wait for a table
    control = Control(relay, target.path)
    from vhostspy.launch.viewers import Viewers  # the sockets are there already

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
        # an alarm that is still to come would end the process while Python takes its handlers away
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
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


def _version() -> str:
    from vhostspy import __version__

    return __version__


def _policy(options: Namespace) -> Any:
    if not options.enforce:
        return _features(options)
    from vhostspy.arguments import disabled, profile
    from vhostspy.baseline import read_baseline
    from vhostspy.enforcer import policy_maker

    accepted = read_baseline(options.baseline) if options.baseline else frozenset[tuple[str, str, str]]()
    return policy_maker(disabled(options), profile(options), options.device, _features(options), accepted)


def _features(options: Namespace) -> Any:
    if not (
        options.mask_features
        or options.offer_features
        or options.mask_protocol_features
        or options.offer_protocol_features
    ):
        return None
    from vhostspy.relay.features import policy_maker, protocol_feature_bits, virtio_feature_bits

    return policy_maker(
        virtio_feature_bits(options.mask_features, options.device or ""),
        virtio_feature_bits(options.offer_features, options.device or ""),
        protocol_feature_bits(options.mask_protocol_features),
        protocol_feature_bits(options.offer_protocol_features),
    )


def _sides(options: Namespace) -> tuple[Listener | Connector, Listener | Connector]:
    """The front-end's side, then the back-end's."""
    try:
        mode = int(options.socket_mode, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise WrongUse(f"--socket-mode {options.socket_mode}: expected three octal digits, such as 660")
    connectors = [Connector(name) for name in options.connect]
    listeners: list[Listener] = []
    try:
        for name in options.listen:
            listeners.append(Listener(name, mode))
    except Exception:
        for listener in listeners:
            listener.close()
        raise
    sides: list[Listener | Connector] = [*listeners, *connectors]
    if options.front_end == "connect":
        sides.reverse()
    return sides[0], sides[1]
