"""The IOMMU: misses, updates, invalidations, and what they leave translated."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from vhostspy.message import Message

from .gates import FRONT
from .rule import Breach, Case, Memory, Outcome, request, rule
from .vrings import inside

IOMMU = "vhost-user, IOMMU support"
PAYLOAD = "vhost-user, Message Specification, Payload, An IOTLB message"
MISS, UPDATE, INVALIDATE, ACCESS_FAIL = 1, 2, 3, 4
_NAMES = {1: "miss", 2: "update", 3: "invalidate", 4: "access fail"}
_BOTH = (request("IOTLB_MSG"), request("IOTLB_MSG", channel="backend"))
#: translations and misses that are remembered of a session
MOST = 4096


@rule("VU-IOT-02", "error", "the front-end updates and invalidates, the back-end misses and reports failed accesses",
      IOMMU, on=_BOTH)  # fmt: skip
def wrong_type(case: Case) -> Outcome:
    kinds = (MISS, ACCESS_FAIL) if case.message.channel == "backend" else (UPDATE, INVALIDATE)
    came = case.fields["type"]
    if came in kinds:
        return None
    wanted = " or ".join(f"{kind} ({_NAMES[kind]})" for kind in kinds)
    return f"{case.name}: expected type {wanted} on the {case.message.channel} channel, came {came}"


@rule("VU-IOT-03", "error", "permission is 0 to 3", PAYLOAD, on=_BOTH)
def permission(case: Case) -> Outcome:
    came = case.fields["permission"]
    return f"{case.name}: expected permission 0 to 3, came {came}" if came > 3 else None


@rule("VU-IOT-04", "warning", "an update has a size, and leads to memory", IOMMU, on=request("IOTLB_MSG"))
def update_of_nothing(case: Case) -> Outcome:
    fields, session = case.fields, case.before
    if fields["type"] != UPDATE:
        return None
    length, address = fields["length"], fields["user_address"]
    if not length:
        return f"{case.name}: expected an update of 1 byte or more, came 0 at {fields['iova']:#x}"
    if not case.sure or not session.regions or inside(session.regions, address, length):
        return None
    # an update may be longer than one region, so only where it starts is certain
    if inside(session.regions, address, 1):
        return None
    return f"{case.name}: expected an address in a memory region, came {address:#x} for {fields['iova']:#x}"


@rule("VU-IOT-05", "warning", "a miss is answered by an update before it is repeated", IOMMU,
      on=_BOTH)  # fmt: skip
def missed_again(case: Case) -> Outcome:
    #: addresses missed and not updated since -> message
    missed: dict[int, int] = case.memory.of("VU-IOT-05")
    oldest = case.memory.of("oldest miss")
    kind, iova = case.fields["type"], case.fields["iova"]
    if kind == UPDATE:
        end = iova + case.fields["length"]
        for address in [one for one in missed if iova <= one < end]:
            del missed[address]
        oldest.clear()  # somebody reads there
        return None
    if kind != MISS or case.message.channel != "backend":
        return None
    oldest.setdefault("miss", case.message)
    earlier = missed.get(iova)
    if earlier is None:
        if len(missed) < MOST:
            missed[iova] = case.message.no
        return None
    if not case.first("VU-IOT-05", iova):
        return None
    text = f"{case.name}: expected an update for {iova:#x} since the miss in #{earlier}, there was none"
    return Breach(text, who=0, evidence=(earlier,))


def unserved_miss(memory: Memory) -> Message | None:
    """The oldest miss since which no update has come."""
    miss: Message | None = memory.of("oldest miss").get("miss")
    return miss


@rule("VU-IOT-06", "warning", "a translation is invalidated before another takes its place", IOMMU,
      on=request("IOTLB_MSG"))  # fmt: skip
def replaced(case: Case) -> Outcome:
    #: first addresses, in order, of what is translated, no part of it twice; of each its end, where it leads, and the
    #: message
    starts: list[int] = case.memory.of("VU-IOT-06").setdefault("starts", [])
    known: dict[int, tuple[int, int, int]] = case.memory.of("VU-IOT-06 known")
    fields = case.fields
    kind, start, length = fields["type"], fields["iova"], fields["length"]
    if kind not in (UPDATE, INVALIDATE) or kind == UPDATE and not length:
        return None
    first = bisect_right(starts, start)
    if first and known[starts[first - 1]][0] > start:
        first -= 1
    last = bisect_left(starts, start + length, first)
    over = [(one, *known.pop(one)) for one in starts[first:last]]
    del starts[first:last]
    if kind == INVALIDATE:
        return None
    found = None
    for at, _, address, no in over:
        if fields["user_address"] - start != address - at:
            text = f"{case.name}: expected an invalidation of {at:#x}, translated to {address:#x} in #{no}, before"
            found = Breach(f"{text} it leads to {fields['user_address']:#x}", evidence=(no,))
    if len(known) < MOST:
        insort(starts, start)
        known[start] = (start + length, fields["user_address"], case.message.no)
    return found


@rule("VU-IOT-07", "note", "updates come because of misses", FRONT + "IOTLB_MSG", on=_BOTH, bends=("qemu",),
      notes="QEMU tells of the rings' pages beforehand.")  # fmt: skip
def unasked(case: Case) -> Outcome:
    seen = case.memory.of("VU-IOT-07")
    if case.fields["type"] == MISS:
        seen["miss"] = True
    if case.fields["type"] != UPDATE or seen or not case.sure or not case.first("VU-IOT-07"):
        return None
    return f"{case.name}: expected a miss before the first update, there was none"
