"""``vhostspy --listen … --connect …``: listen, open the capture, then relay (``launch/running.py``).

The relay's process does nothing but relay and record. What is printed comes from a viewer: another process, started by
exec, that follows the capture while it grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhostspy.errors import WrongUse
from vhostspy.launch.options import add_arguments, check
from vhostspy.launch.process import Signals, fill_standard_descriptors, more_descriptors
from vhostspy.launch.target import Target
from vhostspy.relay.endpoint import Connector, Listener

if TYPE_CHECKING:
    from argparse import Namespace

    from vhostspy.relay.policy import PolicyMaker

__all__ = ["add_arguments", "run"]


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
    signals = Signals()
    from vhostspy.launch import running  # peers can connect already: they need not wait until all of it is read

    return running.run(options, target, sides, new_policy, signals)


def _policy(options: Namespace) -> PolicyMaker | None:
    if not options.enforce:
        return _features(options)
    from vhostspy.arguments import disabled, profile
    from vhostspy.baseline import read_baseline
    from vhostspy.enforcer import policy_maker

    accepted = read_baseline(options.baseline) if options.baseline else frozenset[tuple[str, str, str]]()
    return policy_maker(disabled(options), profile(options), options.device, _features(options), accepted)


def _features(options: Namespace) -> PolicyMaker | None:
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
