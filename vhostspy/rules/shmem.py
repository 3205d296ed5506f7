"""Shared memory regions of a device (VIRTIO): their sizes, and what is mapped into them."""

from __future__ import annotations

from typing import NamedTuple

from .gates import BACK, FRONT
from .memory import PAGE
from .rule import Breach, Case, Outcome, reply, request, rule

CONFIG = FRONT + "GET_SHMEM_CONFIG"
MAP, UNMAP = BACK + "SHMEM_MAP", BACK + "SHMEM_UNMAP"
_CHANGES = request("SHMEM_MAP", "SHMEM_UNMAP", channel="backend")
#: mappings that are remembered of a session
MOST = 4096


class Mapping(NamedTuple):
    shmid: int
    start: int
    end: int
    no: int
    #: the device was reset since
    dropped: bool = False

    @property
    def where(self) -> str:
        return f"{self.start:#x} to {self.end:#x} of region {self.shmid}"


@rule("VU-SHM-02", "error", "GET_SHMEM_CONFIG always answers the same", CONFIG, on=reply("GET_SHMEM_CONFIG"))
def changes(case: Case) -> Outcome:
    known = case.memory.of("shmem config")
    came = (case.fields["count"], tuple(case.fields["lengths"]))
    earlier, no = known.get("answer"), known.get("no", 0)
    known.setdefault("answer", came)
    known.setdefault("no", case.message.no)
    if earlier is None or earlier == came:
        return None
    return Breach(f"{case.name}: expected the answer of #{no} again, came another", evidence=(no,))


@rule("VU-SHM-03", "error", "shared memory regions have whole pages", CONFIG, on=reply("GET_SHMEM_CONFIG"))
def whole_pages(case: Case) -> Outcome:
    for shmid, length in enumerate(case.fields["lengths"]):
        if length % PAGE:
            return f"{case.name}: expected whole pages, region {shmid} has {length:#x} bytes"
    return None


@rule("VU-SHM-04", "warning", "count is the number of regions that have a size",
      "vhost-user, Message Specification, Payload, VIRTIO Shared Memory Region configuration",
      on=reply("GET_SHMEM_CONFIG"))  # fmt: skip
def miscounted(case: Case) -> Outcome:
    there = sum(1 for length in case.fields["lengths"] if length)
    count = case.fields["count"]
    return None if count == there else f"{case.name}: expected count {there}, the regions with a size, came {count}"


@rule("VU-SHM-05", "error", "what is mapped lies in a region that exists", MAP, on=request("SHMEM_MAP",
      channel="backend"))  # fmt: skip
def outside_region(case: Case) -> Outcome:
    known = case.memory.of("shmem config").get("answer")
    if known is None:
        return None
    fields = case.fields
    shmid, end = fields["shmid"], fields["shm_offset"] + fields["length"]
    length = known[1][shmid] if shmid < len(known[1]) else 0
    if not length:
        return f"{case.name}: expected a region of GET_SHMEM_CONFIG, came {shmid}, which has no size"
    if end <= length:
        return None
    return f"{case.name}: expected the mapping within the {length:#x} bytes of region {shmid}, it ends at {end:#x}"


def _range(case: Case) -> Mapping:
    fields = case.fields
    start = fields["shm_offset"]
    return Mapping(fields["shmid"], start, start + fields["length"], case.message.no)


def _mapped(case: Case) -> dict[int, Mapping]:
    """Message -> what it mapped."""
    mapped: dict[int, Mapping] = case.memory.of("shmem mapped")
    return mapped


@rule("VU-SHM-06", "error", "mappings do not overlap", MAP,
      on=(request("SHMEM_MAP", channel="backend"), reply("SHMEM_MAP", "SHMEM_UNMAP", channel="backend")))  # fmt: skip
def overlaps(case: Case) -> Outcome:
    mapped = _mapped(case)
    if case.message.is_reply:
        if case.message.failed and case.message.answers is not None:
            mapped.pop(case.message.answers, None)  # the front-end has not done it
        return None
    new = _range(case)
    over = [one for one in mapped.values() if one.shmid == new.shmid and not one.dropped
            and one.start < new.end and new.start < one.end]  # fmt: skip
    if len(mapped) < MOST:
        mapped[new.no] = new
    if not over:
        return None
    text = f"{case.name}: expected room at {new.where}, #{over[0].no} has mapped {over[0].where}"
    return Breach(text, evidence=(over[0].no,))


@rule("VU-SHM-07", "error", "SHMEM_UNMAP takes away exactly what was mapped", UNMAP,
      on=request("SHMEM_UNMAP", channel="backend"))  # fmt: skip
def unmaps_other(case: Case) -> Outcome:
    mapped, gone = _mapped(case), _range(case)
    for no, one in mapped.items():
        if one[:3] == gone[:3] and not one.dropped:
            del mapped[no]
            return None
    if not case.sure or any(one[:3] == gone[:3] for one in mapped.values()):
        return None  # VU-SHM-10
    near = [one for one in mapped.values() if one.shmid == gone.shmid and one.start < gone.end and gone.start < one.end]
    text = f"{case.name}: expected a range as it was mapped, came {gone.where}"
    if near:
        return Breach(f"{text}; #{near[0].no} has mapped {near[0].where}", evidence=(near[0].no,))
    return text


@rule("VU-SHM-08", "warning", "mapping is waited for: the guest may look there at once", MAP, on=_CHANGES,
      malformed=True)  # fmt: skip
def not_waited_for(case: Case) -> Outcome:
    agreed = case.before.protocol_agreed
    if case.message.need_reply or agreed is None or not agreed >> 3 & 1 or not case.first("VU-SHM-08", case.name):
        return None
    return f"{case.name}: expected NEED_REPLY, as the guest may look there before it is done"


@rule("VU-SHM-09", "warning", "mappings have whole pages, at whole pages",
      "vhost-user, Message Specification, Payload, MMAP request", on=_CHANGES)  # fmt: skip
def unaligned(case: Case) -> Outcome:
    for member in ("fd_offset", "shm_offset", "length"):
        came = case.fields[member]
        if came % PAGE:
            return f"{case.name}: expected {member} of whole pages, came {came:#x}"
    return None


@rule("VU-SHM-10", "warning", "a reset drops all mappings", MAP,
      on=(request("RESET_DEVICE"), request("SHMEM_UNMAP", channel="backend")))  # fmt: skip
def kept_over_reset(case: Case) -> Outcome:
    mapped = _mapped(case)
    if case.message.channel == "main":
        case.memory.of("VU-SHM-10")["no"] = case.message.no
        for no, one in mapped.items():
            mapped[no] = one._replace(dropped=True)
        return None
    gone = _range(case)
    stale = [one for one in mapped.values() if one.dropped and one[:3] == gone[:3]]
    if not stale:
        return None
    del mapped[stale[0].no]
    reset = case.memory.of("VU-SHM-10").get("no", 0)
    text = f"{case.name}: expected a mapping that is there; that of #{stale[0].no}, {gone.where}, ended with "
    return Breach(f"{text}RESET_DEVICE #{reset}", evidence=(stale[0].no, reset))


@rule("VU-SHM-11", "warning", "flags of SHMEM_MAP are 0 or 1",
      "vhost-user, Message Specification, Payload, MMAP request", on=_CHANGES)  # fmt: skip
def flags(case: Case) -> Outcome:
    came = case.fields.get("reserved", 0)
    return f"{case.name}: expected flags 0 (read-only) or 1 (read-write), came also {came:#x}" if came else None
