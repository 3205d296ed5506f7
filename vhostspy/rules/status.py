"""Device status and resets."""

from __future__ import annotations

from .gates import FRONT
from .rule import Breach, Case, Outcome, reply, request, rule

STATUS = FRONT + "SET_STATUS"
VIRTIO = "virtio, Device Status Field"
RESET = FRONT + "RESET_DEVICE"
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 64
_USES = ("SET_VRING_KICK", "SET_VRING_ENABLE", "SET_VRING_NUM", "VRING_KICK")


@rule("VU-ST-02", "error", "status is a byte", STATUS, on=request("SET_STATUS"))
def a_byte(case: Case) -> Outcome:
    status = case.fields["status"]
    return f"SET_STATUS: expected at most 255, came {status:#x}" if status > 255 else None


@rule("VU-ST-03", "warning", "status bits are cleared only by way of 0", VIRTIO, on=request("SET_STATUS"))
def cleared(case: Case) -> Outcome:
    said = case.memory.of("VU-ST-03")
    status = case.fields["status"]
    was, no = said.get("status", 0), said.get("no", 0)
    said.update(status=status, no=case.message.no)
    if not status or not was & ~status:
        return None
    text = f"SET_STATUS: expected 0 before bits are cleared, came {status:#x} after {was:#x} in #{no}"
    return Breach(text, evidence=(no,))


def _status(case: Case) -> int:
    return int(case.fields["status"])


@rule("VU-ST-04", "note", "FEATURES_OK comes after ACKNOWLEDGE and DRIVER", VIRTIO, on=request("SET_STATUS"),
      bends=("qemu",))  # fmt: skip
def features_ok_alone(case: Case) -> Outcome:
    status = _status(case)
    if not status & FEATURES_OK or status & (ACKNOWLEDGE | DRIVER) == ACKNOWLEDGE | DRIVER:
        return None
    if not case.first("VU-ST-04"):
        return None
    return f"SET_STATUS: expected ACKNOWLEDGE and DRIVER with FEATURES_OK, came {status:#x}"


@rule("VU-ST-05", "warning", "DRIVER_OK comes after FEATURES_OK", VIRTIO, on=request("SET_STATUS"))
def driver_ok_alone(case: Case) -> Outcome:
    status = _status(case)
    if not status & DRIVER_OK or status & FEATURES_OK:
        return None
    # a device of before VERSION_1 has no FEATURES_OK
    if case.before.features_set and not (case.before.virtio_agreed or 0) >> 32 & 1:
        return None
    return f"SET_STATUS: expected FEATURES_OK with DRIVER_OK, came {status:#x}"


@rule("VU-ST-06", "warning", "the back-end keeps FEATURES_OK", VIRTIO,
      on=(request("SET_STATUS"), reply("GET_STATUS")), notes="Taken away: it refuses the features.")  # fmt: skip
def features_refused(case: Case) -> Outcome:
    said = case.memory.of("VU-ST-06")
    status = _status(case)
    if not case.message.is_reply:
        said.update(status=status, no=case.message.no)
        return None
    if not said.get("status", 0) & FEATURES_OK or status & FEATURES_OK or not case.first("VU-ST-06", said["no"]):
        return None
    text = f"GET_STATUS reply: expected FEATURES_OK as set in #{said['no']}, came {status:#x}: features are refused"
    return Breach(text, who=None, evidence=(said["no"],))


@rule("VU-ST-07", "warning", "a device that needs a reset gets it before it is used again", VIRTIO,
      on=(reply("GET_STATUS"), request("SET_STATUS", "RESET_DEVICE", *_USES)))  # fmt: skip
def goes_on_without_reset(case: Case) -> Outcome:
    needs = case.memory.of("VU-ST-07")
    message = case.message
    if message.name == "GET_STATUS":
        if case.fields["status"] & NEEDS_RESET:
            needs.setdefault("no", message.no)
        else:
            needs.clear()
        return None
    if message.name == "RESET_DEVICE" or message.name == "SET_STATUS":
        if message.name == "RESET_DEVICE" or not case.fields["status"]:
            needs.clear()
        return None
    no = needs.get("no")
    if no is None or message.name == "SET_VRING_ENABLE" and not case.fields["num"] or not case.first("VU-ST-07", no):
        return None
    text = f"{case.name}: expected a reset, as the device says in #{no} that it needs one"
    return Breach(text, evidence=(no,))


@rule(
    "VU-RST-01", "warning", "rings are stopped, and their positions asked for, before a reset", RESET,
    on=request("RESET_DEVICE", "SET_STATUS", "GET_VRING_BASE", "SET_VRING_KICK"), bends=("qemu",),
    notes="Some back-ends lose the positions of rings when the status becomes 0 (QEMU 7.2 asks afterwards).",
)  # fmt: skip
def reset_while_running(case: Case) -> Outcome:
    message = case.message
    reset = case.memory.of("VU-RST-01")
    started = [number for number, ring in case.before.rings.items() if ring.started]
    if message.name == "RESET_DEVICE":
        if not started:
            return None
        return f"RESET_DEVICE: expected ring {started[0]} to be stopped before, it is started"
    if message.name == "SET_STATUS":
        if not case.fields["status"]:
            reset.update(dict.fromkeys(started, message.no))
        return None
    no = reset.pop(case.fields["index"], None)
    if no is None or message.name == "SET_VRING_KICK" or not case.first("VU-RST-01", no):
        return None
    text = f"GET_VRING_BASE: expected before SET_STATUS 0 in #{no}, which may have reset ring {case.fields['index']}"
    return Breach(text, evidence=(no,))
