"""Stopping rings: GET_VRING_BASE, what it answers, and where the ring goes on."""

from __future__ import annotations

from typing import NamedTuple

from vhostspy.session import ledger as ledgers

from .gates import FRONT
from .negotiation import PROTOCOL_BIT
from .replies import SECOND, age
from .rule import Breach, Case, Outcome, Slot, every, reply, request, rule

SUSPENDED = "vhost-user, Suspended device state"
STATES = "vhost-user, Ring states"
INDEX = "vhost-user, Vring descriptor index for split virtqueues"
#: where rings begin: split ones, and packed ones with both wrap counters set
FRESH = (0, 0x80008000)
#: a ring that needs longer to drain is worth a note
SLOW_NS = SECOND // 2
_STOPS = ("GET_VRING_BASE", "GET_VRING_BASE_SKIP_DRAIN")


@rule("VU-RUN-01", "error", "GET_VRING_BASE asks with 0 in num", FRONT + "GET_VRING_BASE", on=request(*_STOPS))
def reserved(case: Case) -> Outcome:
    num = case.fields["num"]
    return f"{case.name}: expected 0 in num, which is reserved, came {num}" if num else None


@rule("VU-RUN-02", "warning", "GET_VRING_BASE is for rings that are started", FRONT + "GET_VRING_BASE",
      on=request(*_STOPS), bends=("qemu",))  # fmt: skip
def not_started(case: Case) -> Outcome:
    index = case.fields["index"]
    ring = case.before.rings.get(index)
    if not case.sure or ring is not None and ring.started:
        return None
    state = "was never set up" if ring is None or ring.size is None and ring.addresses is None else "is not"
    return f"{case.name}: expected ring {index} to be started, it {state}"


@rule(
    "VU-RUN-03", "warning", "GET_VRING_BASE answers with a position the ring can have reached", INDEX,
    on=(request("SET_VRING_BASE"), reply(*_STOPS)), notes="Back to before where it was begun: what is there is lost.",
)  # fmt: skip
def base_implausible(case: Case) -> Outcome:
    fields, message = case.fields, case.message
    index = fields.get("index")
    begun = case.memory.of("VU-RUN-03")
    if message.kind == "request":
        if "num" in fields:
            begun[index] = (fields["num"], message.no)
        return None
    num = fields.get("num")
    if num is None:
        return None
    if num >> 16:
        return f"{case.name}: expected a position of 16 bits for split ring {index}, came {num:#x}"
    base, no = begun.get(index, (None, 0))
    if base is None or (num - base) & 0xFFFF < 0x8000:
        return None
    text = f"{case.name}: expected ring {index} at {base & 0xFFFF} as in #{no}, or further, came {num}"
    return Breach(text, evidence=(no, message.answers or 0))


@rule("VU-RUN-05", "warning", "a ring is disabled before it is stopped", STATES, on=request(*_STOPS),
      bends=("dpdk", "spdk", "qemu"),
      notes="It may also be stopped as it is; so QEMU does with network devices.")  # fmt: skip
def stopped_enabled(case: Case) -> Outcome:
    ring = case.before.rings.get(case.fields["index"])
    if ring is None or not ring.enabled or not ring.started or not (case.before.virtio_agreed or 0) & PROTOCOL_BIT:
        return None
    if not case.first("VU-RUN-05"):
        return None
    text = f"{case.name}: expected SET_VRING_ENABLE 0 for ring {ring.number} before it, it is enabled"
    return f"{text}, and will be when it is started again"


class _Stopped(NamedTuple):
    """Where a ring stopped; then also where it is to begin."""

    base: int
    no: int
    addresses: tuple[int, int, int, int] | None
    #: the message that has it begin anew, 0: none has
    anew: int = 0


@rule(
    "VU-RUN-06", "warning", "a ring goes on where GET_VRING_BASE said that it stopped", FRONT + "SET_VRING_BASE",
    on=(request("SET_VRING_BASE", "SET_VRING_KICK", "RESET_DEVICE", "RESET_OWNER", "SET_STATUS"), reply(*_STOPS)),
    bends=("cloud-hypervisor",),
    notes="From the beginning, at the addresses that it had: a note, as after a restart of the guest. At others it is "
    "another driver's ring.",
)  # fmt: skip
def goes_on_elsewhere(case: Case) -> Outcome:
    message = case.message
    stopped: dict[int, _Stopped] = case.memory.of("VU-RUN-06")
    index = case.fields.get("index", -1)
    ring = case.after.rings.get(index)
    if message.is_reply:
        if ring is not None and ring.base is not None and len(stopped) < 4096:
            stopped[index] = _Stopped(ring.base, message.no, ring.addresses)
        return None
    if (
        message.name in ("RESET_DEVICE", "RESET_OWNER")
        or message.name == "SET_STATUS"
        and not case.fields.get("status")
    ):
        stopped.clear()  # rings begin anew
        return None
    was = stopped.get(index)
    if was is None or ring is None or ring.base is None:
        return None
    text = f"SET_VRING_BASE: expected ring {index} to go on at {was.base} as in #{was.no}, came {ring.base}"
    if message.name == "SET_VRING_KICK":
        del stopped[index]
        if not was.anew or (ring.addresses or ())[:3] != (was.addresses or ())[:3]:
            return None
        # nobody tells the back-end of a guest's restart
        text += ": right if the guest's driver has begun anew, where it was before"
        return Breach(text, no=was.anew, evidence=(was.no,), severity="note")
    if ring.base == was.base:
        del stopped[index]
    elif ring.base in FRESH:
        stopped[index] = was._replace(anew=message.no)
    else:
        del stopped[index]
        return Breach(f"{text}: requests in between are skipped, or done twice", evidence=(was.no,))
    return None


@rule("VU-RUN-07", "note", "a ring stops within half a second", FRONT + "GET_VRING_BASE", on=reply(*_STOPS))
def drains(case: Case) -> Outcome:
    took = case.message.latency_ns or 0
    if took < SLOW_NS:
        return None
    return f"{case.name}: expected ring {case.fields.get('index')} to stop within 500 ms, it took {age(took)}"


def _own_requests(slot: Slot) -> bool:
    return slot.channel == "backend" and slot.kind == "request" and slot.sender == 1


@rule("VU-RUN-09", "warning", "once all rings are stopped the back-end only answers", SUSPENDED,
      on=every(_own_requests, "requests of the back-end"), malformed=True)  # fmt: skip
def speaks_while_suspended(case: Case) -> Outcome:
    rings = case.before.rings.values()
    if not case.sure or any(ring.started for ring in rings):
        return None
    if not any(ring.kick is not None for ring in rings):
        return None  # it has not begun yet
    if any(one.name in _STOPS for one in ledgers.outstanding(case.before.ledger, ("main", 1))):
        return None  # it is just stopping
    if not case.first("VU-RUN-09", case.message.name):
        return None
    return f"{case.name}: expected only answers from the back-end as all rings are stopped"


@rule("VU-RUN-10", "note", "it is clear what starts a ring: SET_VRING_ENABLE, or its kick alone", STATES,
      on=request("SET_VRING_KICK"),
      notes="Where PROTOCOL_FEATURES (bit 30) was offered and not acknowledged, the kick does; rust-vmm before PR#227 "
      "waited to have it enabled.")  # fmt: skip
def started_by_kick(case: Case) -> Outcome:
    session = case.before
    offered, agreed = session.virtio_offered or 0, session.virtio_agreed or 0
    if not case.sure or not session.features_set or agreed & PROTOCOL_BIT or not offered & PROTOCOL_BIT:
        return None
    if not case.first("VU-RUN-10"):
        return None
    return (
        f"SET_VRING_KICK: ring {case.fields['index']} is enabled by this alone, as PROTOCOL_FEATURES is not agreed on"
    )
