"""Postcopy migration: advise, listen, exchange addresses, acknowledge, end."""

from __future__ import annotations

from .gates import FRONT
from .rule import Breach, Case, Moment, Outcome, event, reply, request, rule

TABLE = FRONT + "SET_MEM_TABLE"
QEMU = "QEMU, hw/virtio/vhost-user.c, vhost_user_set_mem_table_postcopy"
_MEMORY = ("SET_MEM_TABLE", "ADD_MEM_REG")
#: bytes of the message with which the front-end acknowledges the back-end's addresses
THANKS = 8


@rule("VU-PC-02", "error", "POSTCOPY_ADVISE, then POSTCOPY_LISTEN, then POSTCOPY_END", FRONT + "POSTCOPY_LISTEN",
      on=request("POSTCOPY_LISTEN", "POSTCOPY_END"))  # fmt: skip
def order(case: Case) -> Outcome:
    wanted = "advised" if case.message.name == "POSTCOPY_LISTEN" else "listening"
    phase = case.before.postcopy
    if not case.sure or phase == wanted:
        return None
    before = "POSTCOPY_ADVISE" if wanted == "advised" else "POSTCOPY_LISTEN"
    return f"{case.name}: expected after {before}, postcopy is at: {phase}"


@rule("VU-PC-03", "error", "POSTCOPY_LISTEN comes before the memory regions", "libvhost-user, vu_set_postcopy_listen",
      on=request("POSTCOPY_LISTEN"))  # fmt: skip
def memory_before(case: Case) -> Outcome:
    regions = case.before.regions
    if not regions:
        return None
    text = f"POSTCOPY_LISTEN: expected no memory region yet, {len(regions)} are there"
    return Breach(text, evidence=(regions[-1].no,))


def _asked(case: Case) -> tuple[int, int, list[tuple[int, int]]] | None:
    """Of the memory message that an answer answers in postcopy: number, bytes, guest ranges."""
    asked = case.memory.of("postcopy").get(case.message.answers)
    return asked if isinstance(asked, tuple) else None


def _ranges(case: Case) -> list[tuple[int, int]]:
    fields = case.fields
    listed = fields.get("regions")
    listed = listed if isinstance(listed, list) else [fields]
    return [(one["guest_address"], one["length"]) for one in listed if "guest_address" in one]


@rule("VU-PC-04", "error", "in postcopy memory messages are answered by as many bytes", TABLE,
      on=(request(*_MEMORY), reply(*_MEMORY)))  # fmt: skip
def same_size(case: Case) -> Outcome:
    message = case.message
    notes = case.memory.of("postcopy")
    if not message.is_reply:
        if message.context.postcopy and (message.size or 0) > THANKS:
            notes.clear()
            notes[message.no] = (message.no, message.size, _ranges(case))
        return None
    asked = _asked(case)
    if asked is None or asked[1] == message.size:
        return None
    text = f"{case.name}: expected {asked[1]} bytes with the back-end's addresses as asked in #{asked[0]}"
    return Breach(f"{text}, came {message.size}", evidence=(asked[0],))


@rule("VU-PC-05", "error", "in postcopy the answer has the same regions, in the same order", QEMU, on=reply(*_MEMORY))
def same_regions(case: Case) -> Outcome:
    asked = _asked(case)
    came = _ranges(case)
    if asked is None or not came or came == asked[2]:
        return None
    if len(came) != len(asked[2]):
        text = f"{case.name}: expected {len(asked[2])} regions as in #{asked[0]}, came {len(came)}"
    else:
        at = next(number for number, one in enumerate(came) if one != asked[2][number])
        text = f"{case.name}: expected region {at} at {asked[2][at][0]:#x} as in #{asked[0]}, came {came[at][0]:#x}"
    return Breach(text, evidence=(asked[0],))


@rule("VU-PC-06", "warning", "in postcopy memory messages come without NEED_REPLY", TABLE, on=request(*_MEMORY))
def asks_for_acknowledgement(case: Case) -> Outcome:
    message = case.message
    if not message.context.postcopy or not message.need_reply:
        return None
    return f"{case.name}: expected no NEED_REPLY in postcopy as the answer has the addresses, came with it"


@rule(
    "VU-PC-07", "warning", "the front-end acknowledges the back-end's addresses with a message of 8 bytes, which are 0",
    QEMU, on=(request(*_MEMORY, "POSTCOPY_END"), reply(*_MEMORY), event("close")),
)  # fmt: skip
def never_thanked(case: Case | Moment) -> Outcome:
    #: the answer that wants to be acknowledged
    owed = case.memory.of("postcopy owed")
    if isinstance(case, Case):
        message = case.message
        if message.is_reply:
            if _asked(case) is not None and (message.size or 0) > THANKS:
                owed["no"] = message.no
            return None
        if message.name != "POSTCOPY_END":
            if message.size != THANKS or not message.context.postcopy:
                return None
            owed.pop("no", None)
            value = case.fields.get("value")
            return f"{case.name}: expected 0 as acknowledgement, came {value}" if value else None
    no = owed.pop("no", None)
    if no is None:
        return None
    text = f"expected the front-end to acknowledge the back-end's addresses in #{no} with 8 bytes, it never did"
    return Breach(text, who=0, no=no, evidence=(no,))


@rule("VU-PC-08", "warning", "in postcopy rings are started once the back-end's addresses are acknowledged", TABLE,
      on=request("SET_VRING_KICK"))  # fmt: skip
def started_too_early(case: Case) -> Outcome:
    no = case.memory.of("postcopy owed").get("no")
    if no is None or not case.message.context.postcopy or not case.first("VU-PC-08"):
        return None
    text = f"SET_VRING_KICK: expected the addresses of #{no} to be acknowledged before, they are not"
    return Breach(text, evidence=(no,))


@rule("VU-PC-10", "warning", "after POSTCOPY_END memory stays as it is", TABLE, on=request(*_MEMORY),
      notes="Ordinary changes are allowed again: a note.")  # fmt: skip
def after_the_end(case: Case) -> Outcome:
    if case.before.postcopy != "ended" or not case.first("VU-PC-10"):
        return None
    thanks = case.message.size == THANKS
    text = f"{case.name}: expected no more postcopy messages after POSTCOPY_END, came one of {case.message.size} bytes"
    return Breach(text, severity=None if thanks else "note")
