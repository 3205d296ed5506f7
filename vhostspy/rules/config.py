"""The configuration space: ranges, flags, what may be written, and how much of it the features promise."""

from __future__ import annotations

from typing import Any

from vhostspy.dissectors import virtio
from vhostspy.dissectors.plan import plan
from vhostspy.session import ledger as ledgers

from .gates import FRONT
from .rule import Breach, Case, Moment, Outcome, event, reply, request, rule

GET, SET = FRONT + "GET_CONFIG", FRONT + "SET_CONFIG"
SPACE = "vhost-user, Payload, Virtio device config space"
#: bytes of a configuration space; rust-vmm's peers take more
MOST = 256
MOST_RUST = 4096
#: where PCI devices have it: an offset that begins there is one counted from the wrong place
PCI_BASE = 0x100
MIGRATION = 1


def _rust(case: Case) -> bool:
    peers = case.memory.peers
    return any(peers.known(end, ("rust-vmm", "crosvm")) for end in (0, 1))


@rule("VU-CFG-02", "error", "offset and length stay within 256 bytes", GET, on=request("GET_CONFIG", "SET_CONFIG"),
      notes="4096 where rust-vmm or crosvm is at an end.")  # fmt: skip
def beyond_space(case: Case) -> Outcome:
    offset, length = case.fields["offset"], case.fields["length"]
    most = MOST_RUST if _rust(case) and offset != PCI_BASE else MOST
    if offset + length <= most:
        return None
    hint = "; is it counted from 0x100, where PCI has it?" if offset >= PCI_BASE else ""
    return f"{case.name}: expected offset and length within {most} bytes, came {offset:#x} and {length}{hint}"


def _asked(case: Case) -> Any:
    """The GET_CONFIG that this answers."""
    for asked in ledgers.outstanding(case.before.ledger, ("main", case.message.channel_no)):
        if asked.no == case.message.answers:
            return asked
    return None


@rule("VU-CFG-03", "warning", "the answer of GET_CONFIG has the offset and flags of the question", GET,
      on=reply("GET_CONFIG"), bends=("libvhost-user",), notes="A refusal, of no bytes: a note.")  # fmt: skip
def other_range(case: Case) -> Outcome:
    asked = _asked(case)
    if asked is None or "offset" not in asked.fields:
        return None
    length = case.fields.get("length", 0)
    if not length:
        wanted = f"{asked.fields['length']} bytes at {asked.fields['offset']}"
        text = f"GET_CONFIG reply: expected {wanted} as in #{asked.no}, came none: it is refused"
        return Breach(text, evidence=(asked.no,), severity="note")
    for member, what in (("offset", "offset"), ("config_flags", "flags")):
        wanted, came = asked.fields.get(member, 0), case.fields.get(member, 0)
        if wanted != came:
            return Breach(f"GET_CONFIG reply: expected {what} {wanted} as in #{asked.no}, came {came}",
                          evidence=(asked.no,))  # fmt: skip
    return None


@rule("VU-CFG-04", "warning", "SET_CONFIG has flags 0, or 1 in a migration", SPACE, on=request("SET_CONFIG"),
      notes="rust-vmm and crosvm have 2 too.")  # fmt: skip
def flags(case: Case) -> Outcome:
    came = case.fields.get("config_flags", 0)
    if came <= 1 or _rust(case) and came == 2:
        return None
    return f"SET_CONFIG: expected flags 0 or 1, came {came:#x}"


#: device -> ranges (first byte, end) that a driver may write; devices not named here are not judged
_WRITABLE: dict[str, tuple[tuple[int, int], ...]] = {
    "block": ((32, 33),),
    "net": ((0, 6),),
    "fs": (),
    "crypto": (),
    "vsock": (),
    "gpu": ((4, 8),),
    "input": ((0, 2),),
    "balloon": ((4, 8), (8, 16)),
    "console": ((8, 12),),
}


@rule("VU-CFG-05", "warning", "a driver writes only what its device lets it write", SET, on=request("SET_CONFIG"),
      notes="With flags 1, in a migration, anything. Devices that cannot be told are not judged.")  # fmt: skip
def read_only(case: Case) -> Outcome:
    fields, device = case.fields, case.before.device
    writable = _WRITABLE.get(device or "")
    if writable is None or fields.get("config_flags") == MIGRATION:
        return None
    start, end = fields["offset"], fields["offset"] + fields["length"]
    if any(first <= start and end <= last for first, last in writable):
        return None
    return f"SET_CONFIG: expected a range that a {device} driver may write, came bytes {start} to {end - 1}"


@rule("VU-CFG-06", "note", "after CONFIG_CHANGE the front-end asks for the configuration",
      "vhost-user, Back-end message types, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG",
      on=(request("CONFIG_CHANGE_MSG", channel="backend"), request("GET_CONFIG"), event("close")))  # fmt: skip
def change_not_looked_at(case: Case | Moment) -> Outcome:
    changed = case.memory.of("VU-CFG-06")
    if isinstance(case, Moment):
        no = changed.pop("no", None)
        if no is None:
            return None
        return Breach(f"CONFIG_CHANGE_MSG #{no}: expected GET_CONFIG after it, there was none", who=0, no=no)
    if case.message.channel == "backend":
        changed["no"] = case.message.no
    else:
        changed.pop("no", None)
    return None


#: of a block device: feature bit -> bytes of configuration that it makes meaningful
_BLOCK_NEEDS = (
    (17, 96),
    (16, 72),
    (14, 57),
    (13, 48),
    (12, 36),
    (11, 33),
    (10, 32),
    (6, 24),
    (4, 20),
    (2, 16),
    (1, 12),
)
#: who asks for less reads single members as the guest does
LEAST_WHOLE = 24


@rule("VU-CFG-07", "warning", "the configuration is as long as the features promise",
      "Linux, include/uapi/linux/virtio_blk.h", on=reply("GET_CONFIG"), bends=("qemu",),
      notes="Of block devices. An older front-end asks for what it knows.")  # fmt: skip
def too_short_for_features(case: Case) -> Outcome:
    session, fields = case.before, case.fields
    if session.device != "block" or fields.get("offset") or fields.get("length", 0) < LEAST_WHOLE:
        return None
    word = session.virtio_agreed if session.features_set else session.virtio_offered
    length = fields["length"]
    for bit, wanted in _BLOCK_NEEDS:
        if (word or 0) >> bit & 1:
            if length >= wanted or not case.first("VU-CFG-07"):
                return None
            return f"GET_CONFIG reply: expected {wanted} bytes or more as feature bit {bit} is there, came {length}"
    return None


@rule("VU-CFG-08", "note", "GET_CONFIG comes after SET_FEATURES", "virtio, Device initialization",
      on=request("GET_CONFIG"), bends=("qemu", "crosvm", "libkrun", "rust-vmm"))  # fmt: skip
def before_features(case: Case) -> Outcome:
    if case.before.features_set or not case.sure or not case.first("VU-CFG-08"):
        return None
    return "GET_CONFIG: expected after SET_FEATURES, came before it"


def _known_size(device: str | None) -> int:
    """The bytes of its configuration that the specification knows; 0: not known."""
    found = virtio.DEVICES.get(device or "")
    sizes = [plan(layout, "<").size for layout in found.config] if found is not None else []
    return max((size for size in sizes if size is not None), default=0) if None not in sizes else 0


@rule("VU-CFG-09", "note", "behind what a device has in its configuration are zeros", SPACE, on=reply("GET_CONFIG"),
      notes="Memory of the back-end's may get out there (QEMU f8ffcb2bda).")  # fmt: skip
def something_behind(case: Case) -> Outcome:
    offset, data = case.fields.get("offset", 0), case.fields.get("config", b"")
    known = _known_size(case.before.device)
    behind = data[max(0, known - offset) :] if known else b""
    if not any(behind) or not case.first("VU-CFG-09"):
        return None
    first = next(at for at, octet in enumerate(behind) if octet)
    text = f"{case.name}: expected zeros from byte {max(known, offset)} on, where a {case.before.device} device has "
    return f"{text}nothing, came {behind[first:][:8].hex(' ')} at {max(known, offset) + first}"
