"""Who owns the session, and what a reset leaves."""

from __future__ import annotations

from .gates import FRONT
from .rule import Breach, Case, Outcome, every, request, rule

OWNER = FRONT + "SET_OWNER"


@rule("VU-OWN-01", "warning", "SET_OWNER comes before a ring is started", OWNER, on=request("SET_VRING_KICK"),
      malformed=True, notes="More than once: VU-OWN-02. libvhost-user does without.")  # fmt: skip
def nobody_owns(case: Case) -> Outcome:
    if not case.sure or case.before.owner is not None or case.memory.of("VU-OWN-01").get("reset"):
        return None
    if case.memory.peers.known(1, ("libvhost-user",)) or not case.first("VU-OWN-01"):
        return None
    return "SET_VRING_KICK: expected SET_OWNER before any ring is started, there was none"


@rule("VU-OWN-02", "error", "SET_OWNER comes once a connection", "rust-vmm/vhost, set_owner: refuses a second one",
      on=request("SET_OWNER"), malformed=True)  # fmt: skip
def owned_already(case: Case) -> Outcome:
    owner = case.before.owner
    if owner is None:
        return None
    return Breach(f"SET_OWNER: expected once on a connection, came again after #{owner}", evidence=(owner,))


@rule("VU-OWN-03", "note", "SET_OWNER is the first message", OWNER, on=every(
    lambda slot: slot.channel == "main" and slot.sender == 0 and slot.kind == "request"), bends=("qemu", "libkrun"),
    malformed=True)  # fmt: skip
def owner_not_first(case: Case) -> Outcome:
    notes = case.memory.of("VU-OWN-03")
    if "owner" in notes:
        return None
    if case.message.name != "SET_OWNER":
        notes.setdefault("first", (case.message.name or "another message", case.message.no))
        return None
    notes["owner"] = case.message.no
    if "first" not in notes or not case.sure:
        return None
    name, no = notes["first"]
    return Breach(f"SET_OWNER: expected to be the first message, came after {name} #{no}", evidence=(no,))


@rule("VU-OWN-04", "warning", "RESET_OWNER is not used any more", FRONT + "RESET_OWNER", on=request("RESET_OWNER"),
      malformed=True, notes="QEMU up to 8.1 sends it on a reset of the guest, without RESET_DEVICE.")  # fmt: skip
def resets_owner(case: Case) -> Outcome:
    case.memory.of("VU-OWN-01")["reset"] = case.message.no
    return "RESET_OWNER: expected RESET_DEVICE or nothing in its place; back-ends disagree on what it resets"


_RING_SETUP = ("SET_VRING_NUM", "SET_VRING_ADDR")
_RING_USE = ("SET_VRING_KICK", "SET_VRING_ENABLE", "GET_VRING_BASE", "VRING_KICK")


@rule("VU-OWN-06", "warning", "after RESET_DEVICE a ring is set up anew before it is used", FRONT + "RESET_DEVICE",
      on=request("RESET_DEVICE", *_RING_SETUP, *_RING_USE))  # fmt: skip
def used_after_reset(case: Case) -> Outcome:
    message = case.message
    #: rings that were set up when the device was reset -> the reset
    reset = case.memory.of("VU-OWN-06")
    if message.name == "RESET_DEVICE":
        reset.clear()
        reset.update({index: message.no for index, ring in case.before.rings.items() if ring.size or ring.addresses})
        return None
    index = case.fields.get("index")
    if message.name in _RING_SETUP:
        reset.pop(index, None)
        return None
    if index not in reset or message.name == "SET_VRING_ENABLE" and not case.fields.get("num"):
        return None
    no = reset.pop(index)
    text = f"{case.name}: expected ring {index} to be set up anew after RESET_DEVICE #{no}, it was not"
    return Breach(text, evidence=(no,))
