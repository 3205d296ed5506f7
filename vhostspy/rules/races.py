"""Changes that nobody waits for: the other end may not have made them when they are needed.

A change is fenced by NEED_REPLY, or by a request behind it whose answer is awaited: messages are handled in order. What
passes beside the socket (kicks, the guest's accesses to memory) is not seen, so these are windows, not proofs.
"""

from __future__ import annotations

from typing import NamedTuple

from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.memory.sample import rings_of

from .gates import FRONT, REPLY_ACK
from .negotiation import PROTOCOL_BIT
from .replies import SECOND, age
from .rings import stuck
from .rule import Breach, Case, Moment, Outcome, event, every, request, rule

#: after so long without a fence none comes
FENCED_WITHIN_NS = SECOND
#: a window that is worth a word
WINDOW_NS = SECOND // 20
_MEMORY = ("SET_MEM_TABLE", "ADD_MEM_REG", "REM_MEM_REG")
_FRONT = every(
    lambda slot: slot.channel == "main" and slot.sender == FRONT_END and slot.kind == "request",
    "requests of the front-end",
)


@rule(
    "VU-RACE-01", "note", "enabling a ring is waited for before the guest kicks it",
    "QEMU d7dc0682f5: a kick was lost on the way", on=(_FRONT, event("eof", "reset")), malformed=True,
    bends=("qemu", "crosvm", "libkrun", "dpdk", "spdk"),
)  # fmt: skip
def enabled_unfenced(case: Case | Moment) -> Outcome:
    pending = case.memory.of("VU-RACE-01")
    no, ring = pending.get("no", 0), pending.get("ring", 0)
    if isinstance(case, Case):
        message = case.message
        late = bool(no) and message.monotonic_ns - pending["at"] >= FENCED_WITHIN_NS
        if message.awaited or late:
            pending.clear()  # all before it is done when this is answered
        if message.name == "SET_VRING_ENABLE" and not message.awaited and case.fields.get("num") == 1:
            pending.setdefault("no", message.no)
            pending.setdefault("ring", case.fields.get("index"))
            pending.setdefault("at", message.monotonic_ns)
        if not late:
            return None
    elif not no or case.event.channel not in ("main", ""):
        return None
    pending.pop("no", None)
    if not case.first("VU-RACE-01"):
        return None
    text = f"SET_VRING_ENABLE #{no}: expected NEED_REPLY, or a request behind it whose answer is awaited; a kick of "
    return Breach(f"{text}ring {ring} may come before it", who=FRONT_END, no=no, evidence=(no,))


@rule(
    "VU-RACE-02", "warning", "memory that changes while rings are started is waited for",
    FRONT + "SET_MEM_TABLE; QEMU 28ed5ef163", on=_FRONT, malformed=True, bends=("crosvm", "libkrun"),
    notes="Where REPLY_ACK is not agreed on, or before the first ring is started: a note.",
)  # fmt: skip
def memory_unfenced(case: Case) -> Outcome:
    pending = case.memory.of("VU-RACE-02")
    message = case.message
    if message.awaited:
        pending.clear()
        return None
    running = any(ring.started for ring in case.before.rings.values())
    if message.name in _MEMORY:
        if case.fields.get("count") != 0 and (message.size or 0) > 8:
            pending.setdefault("no", message.no)
            pending["name"], pending["running"] = message.name, running
        return None
    if not pending or not pending["running"] and message.name != "SET_VRING_KICK":
        return None
    no, name, while_running = pending["no"], pending["name"], pending["running"]
    pending.clear()
    if not case.first("VU-RACE-02", while_running):
        return None
    when = "while rings are started" if while_running else "before the first ring is started"
    text = f"{name} #{no}: expected NEED_REPLY, or a request behind it that is answered, {when}; came {case.name}"
    could = bool((case.before.protocol_agreed or 0) & REPLY_ACK)
    return Breach(text, no=no, evidence=(no, message.no), severity=None if while_running and could else "note")


@rule(
    "VU-RACE-03", "note", "a ring is enabled as soon as it is started",
    "rust-vmm/vhost #247: a kick in between is lost",
    on=request("SET_VRING_KICK", "SET_VRING_ENABLE"),
)  # fmt: skip
def window_before_enable(case: Case) -> Outcome:
    started: dict[int, tuple[int, int]] = case.memory.of("VU-RACE-03")
    message, index = case.message, case.fields["index"]
    if message.name == "SET_VRING_KICK":
        ring = case.before.rings.get(index)
        started.pop(index, None)
        if (ring is None or not ring.enabled) and (case.before.virtio_agreed or 0) & PROTOCOL_BIT:
            started[index] = (message.no, message.monotonic_ns)
        return None
    no, at = started.pop(index, (0, 0))
    window = message.monotonic_ns - at
    if not no or case.fields["num"] != 1 or window < WINDOW_NS or not case.first("VU-RACE-03"):
        return None
    text = f"SET_VRING_ENABLE: expected at once after SET_VRING_KICK #{no}, came {age(window)} later; kicks of ring "
    return Breach(f"{text}{index} in between may be lost", evidence=(no,))


class Early(NamedTuple):
    """The kicks of a ring that is started and not enabled yet."""

    #: SET_VRING_KICK
    no: int
    kicks: int = 0
    taken: bool = False
    #: the index up to which the ring was used then; a packed one's position
    used: int | None = None


@rule(
    "VU-RACE-04", "warning", "a kick that is taken before its ring is enabled is made good for when it is",
    "rust-vmm/vhost #247: the handler emptied the eventfd, and nobody looked again", on=event("sample"),
    notes="By the count of the kick's eventfd while the ring is disabled, and by buffers that wait for a second once "
    "it is enabled (--sample-rings): proof of what VU-RACE-03 only makes likely.",
)  # fmt: skip
def kick_taken_early(moment: Moment) -> Outcome:
    early: dict[int, Early] = moment.memory.of("VU-RACE-04")
    for sampled in rings_of(moment.event.facts):
        ring, last, count = moment.before.rings.get(sampled.number), early.pop(sampled.number, None), sampled.kick_count
        if ring is None or ring.kick is None or not ring.started or count is None:
            continue
        if last is None or last.no != ring.kick.no:
            last = Early(ring.kick.no)
        if not ring.enabled:
            taken = last.taken or last.kicks > count
            early[sampled.number] = Early(last.no, max(last.kicks, count), taken, sampled.used)
        elif last.taken and sampled.in_flight and sampled.used == last.used:
            early[sampled.number] = last  # nobody has looked yet
    breaches = []
    for sampled, still, for_ns in stuck(moment):
        last = early.get(sampled.number)
        if last is None or last.no != still.no or not moment.first("VU-RACE-04", last.no):
            continue
        kicks = "a kick" if last.kicks == 1 else f"{last.kicks} kicks"
        text = (
            f"ring {sampled.number}: expected a look at the ring at SET_VRING_ENABLE, as {kicks} of SET_VRING_KICK "
            f"#{last.no} came and went before it; nothing was used for {age(for_ns)}, {sampled.in_flight} in flight"
        )
        breaches.append(Breach(text, who=BACK_END, no=last.no))
    return breaches
