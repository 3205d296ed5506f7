"""The device's own state in a migration: over which descriptor it goes, when, and that it is checked.

What the answer says of a descriptor is for VU-FD-09.
"""

from __future__ import annotations

from .gates import FRONT
from .rule import Breach, Case, Moment, Outcome, event, reply, request, rule

SET, CHECK = FRONT + "SET_DEVICE_STATE_FD", FRONT + "CHECK_DEVICE_STATE"
PARAMETERS = "vhost-user, Message Specification, Payload, Device state transfer parameters"
SUSPENDED = "vhost-user, Suspended device state"
STATE = "vhost-user, Migrating back-end state"
_DIRECTIONS = ("save", "load")


@rule("VU-DS-02", "error", "direction is 0 (save) or 1 (load), phase 0", PARAMETERS,
      on=request("SET_DEVICE_STATE_FD"))  # fmt: skip
def parameters(case: Case) -> Outcome:
    direction, phase = case.fields["direction"], case.fields["phase"]
    if direction in (0, 1) and not phase:
        return None
    return f"{case.name}: expected direction 0 or 1 and phase 0, came {direction} and {phase}"


@rule("VU-DS-03", "error", "the device is suspended while its state is transferred", SUSPENDED,
      on=request("SET_DEVICE_STATE_FD"))  # fmt: skip
def still_running(case: Case) -> Outcome:
    started = [ring for ring in case.before.rings.values() if ring.started]
    if not started:
        return None
    numbers = ", ".join(str(ring.number) for ring in started[:8])
    since = started[0].kick.no if started[0].kick is not None else 0
    text = f"{case.name}: expected all rings to be stopped by GET_VRING_BASE, started are: {numbers}"
    return Breach(text, evidence=(since,))


@rule("VU-DS-06", "warning", "CHECK_DEVICE_STATE is answered with 0", CHECK, on=reply("CHECK_DEVICE_STATE"))
def failed(case: Case) -> Outcome:
    value = case.fields.get("value", 0)
    if not value:
        return None
    # the one that sent the state may be wrong as well as the one that could not load it
    return Breach(f"{case.name}: expected 0, came {value}: the transfer has failed", who=None)


@rule(
    "VU-DS-07", "warning", "a transfer is checked, and only then another begins", STATE,
    on=(request("SET_DEVICE_STATE_FD"), event("eof", "reset")),
)  # fmt: skip
def not_checked(case: Case | Moment) -> Outcome:
    under_way = case.before.device_state
    if under_way is None:
        return None
    direction, no = under_way
    what = f"SET_DEVICE_STATE_FD #{no} ({_DIRECTIONS[direction] if direction in (0, 1) else direction})"
    if isinstance(case, Case):
        text = f"{case.name}: expected CHECK_DEVICE_STATE for {what} before, came another transfer"
        return Breach(text, evidence=(no,))
    if case.event.channel not in ("main", "") or case.before.ended is not None:
        return None
    text = f"{what}: expected CHECK_DEVICE_STATE after it, the connection ended without"
    return Breach(text, who=0, no=no, evidence=(no,))
