"""The back-end's own channel: opened once, used in time, closed with the session.

That its messages have the right form is for the rules of headers (VU-HDR-01, VU-HDR-05) and sizes (VU-SZ-01), as on the
main channel.
"""

from __future__ import annotations

from vhostspy.dissectors.rows import BACK_END, FRONT_END

from .gates import BACK, FRONT, REPLY_ACK_SOURCE, ungated
from .iotlb import MISS, UPDATE
from .memory import PAGE
from .replies import title
from .rule import Breach, Case, Moment, Outcome, Slot, event, every, reply, request, rule

CHANNEL = "vhost-user, Back-end communication"
SUSPENDED = "vhost-user, Suspended device state"
PAGES = (4096, 16384, 65536)
SECOND = 1_000_000_000


def _requests(slot: Slot) -> bool:
    return slot.channel == "backend" and slot.kind == "request" and slot.sender == BACK_END


@rule("VU-BE-02", "warning", "SET_BACKEND_REQ_FD comes once", FRONT + "SET_BACKEND_REQ_FD",
      on=request("SET_BACKEND_REQ_FD"), malformed=True,
      notes="A second one takes the first one's place; DPDK and QEMU have leaked the first.")  # fmt: skip
def opened_again(case: Case) -> Outcome:
    notes = case.memory.of("VU-BE-02")
    earlier = notes.get("no")
    notes["no"] = case.message.no
    if earlier is None:
        return None
    if any(one.name == "backend" and one.by == earlier and one.closed for one in case.before.channels.values()):
        return None
    text = f"SET_BACKEND_REQ_FD: expected the channel of #{earlier} to be closed first, came a second one"
    return Breach(text, evidence=(earlier,))


@rule("VU-BE-05", "warning", "the front-end answers only where NEED_REPLY asks for it", REPLY_ACK_SOURCE,
      on=every(lambda slot: slot.channel == "backend" and slot.kind in ("reply", "ack") and slot.sender == FRONT_END,
               "answers on the back-end channel"), malformed=True)  # fmt: skip
def answers_unasked(case: Case) -> Outcome:
    message = case.message
    queue = case.before.ledger.get((message.channel, message.channel_no))
    unasked = queue.unasked if queue is not None else None
    if unasked is None or unasked.no != message.answers or unasked.need_reply:
        return None
    return Breach(f"{title(unasked)}: expected no answer as none was asked for, one came", evidence=(unasked.no,))


@rule("VU-BE-06", "warning", "the back-end speaks on its channel after SET_FEATURES, while the session lasts",
      SUSPENDED, on=every(_requests, "requests of the back-end"), malformed=True,
      notes="CONFIG_CHANGE at the beginning: a note. After all rings have stopped: VU-RUN-09.")  # fmt: skip
def speaks_too_early(case: Case) -> Outcome:
    session, message = case.before, case.message
    if session.ended is not None:
        text = f"{case.name}: expected nothing any more as the main channel has ended"
        return text if case.first("VU-BE-06", "late") else None
    if session.features_set or not case.sure or not case.first("VU-BE-06", message.name):
        return None
    text = f"{case.name}: expected after SET_FEATURES, came before it"
    return Breach(text, severity="note" if message.name == "CONFIG_CHANGE_MSG" else None)


@rule("VU-BE-07", "error", "VRING_HOST_NOTIFIER_MSG only with HOST_NOTIFIER, with a descriptor unless bit 8 is set",
      BACK + "VRING_HOST_NOTIFIER_MSG", on=request("VRING_HOST_NOTIFIER_MSG", channel="backend"))  # fmt: skip
def host_notifier(case: Case) -> Outcome:
    missing = ungated(case)
    if missing is not None:
        return missing
    wanted = 0 if case.fields.get("nofd") else 1
    came = len(case.message.fds)
    if came == wanted:
        return None
    return f"{case.name}: expected {wanted} descriptors as bit 8 is {'clear' if wanted else 'set'}, came {came}"


@rule("VU-BE-08", "warning", "a host notifier is one page, at a page of its file, ring after ring",
      BACK + "VRING_HOST_NOTIFIER_MSG", on=request("VRING_HOST_NOTIFIER_MSG", channel="backend"),
      notes="In another order of rings, as QEMU has had trouble with: a note.")  # fmt: skip
def notifier_area(case: Case) -> Outcome:
    fields = case.fields
    given: dict[int, int] = case.memory.of("VU-BE-08")
    index = fields["index"]
    if fields.get("nofd"):
        given.pop(index, None)
        return None
    given[index] = case.message.no
    if fields["length"] not in PAGES:
        return f"{case.name}: expected an area of one page, came {fields['length']} bytes"
    if fields["offset"] % PAGE:
        return f"{case.name}: expected an offset of whole pages, came {fields['offset']:#x}"
    if index and index - 1 not in given and case.first("VU-BE-08 order"):
        text = f"{case.name}: expected the notifier of ring {index - 1} first, came that of ring {index}"
        return Breach(text, severity="note")
    return None


@rule("VU-BE-09", "error", "VRING_CALL and VRING_ERR only with INBAND_NOTIFICATIONS, and 0 in num", BACK + "VRING_CALL",
      on=request("VRING_CALL", "VRING_ERR", channel="backend"))  # fmt: skip
def in_band(case: Case) -> Outcome:
    missing = ungated(case)
    if missing is not None:
        return missing
    num = case.fields["num"]
    return f"{case.name}: expected 0 in num, came {num}" if num else None


@rule(
    "VU-BE-10", "warning", "the back-end channel lasts as long as the main channel", CHANNEL,
    on=(event("eof", "reset"), every(lambda slot: slot.channel == "main", "messages on the main channel")),
    malformed=True, notes="QEMU closes it on what it does not like.",
)  # fmt: skip
def closed_alone(case: Case | Moment) -> Outcome:
    gone = case.memory.of("VU-BE-10")
    if isinstance(case, Moment):
        if case.event.channel == "backend" and case.before.ended is None and case.event.sender is not None:
            gone.setdefault("first", (case.event.sender, case.event.facts.get("after", 0), case.event.monotonic_ns))
        return None
    first = gone.pop("first", None)
    if first is None:
        return None
    end, after, at = first
    # another socket may take its place at once
    if case.message.name == "SET_BACKEND_REQ_FD" or case.message.monotonic_ns - at < SECOND // 100:
        if case.message.name != "SET_BACKEND_REQ_FD":
            gone["first"] = first
        return None
    name = "the back-end" if end == BACK_END else "the front-end"
    text = f"expected the back-end channel to last, {name} closed it and the main channel goes on"
    return Breach(text, who=end, evidence=(after,))


@rule("VU-BE-11", "note", "a miss is acknowledged before its update comes",
      "vhost-user, IOMMU support: who waits for the acknowledgement must not keep the update from coming",
      on=(request("IOTLB_MSG", channel="backend"), reply("IOTLB_MSG", channel="backend"), request("IOTLB_MSG")),
      )  # fmt: skip
def update_before_acknowledgement(case: Case) -> Outcome:
    missed = case.memory.of("VU-BE-11")
    message = case.message
    if message.channel == "main":
        if case.fields["type"] == UPDATE and "no" in missed:
            missed["update"] = message.no
        return None
    if not message.is_reply:
        missed.clear()
        if message.need_reply and case.fields["type"] == MISS:
            missed["no"] = message.no
        return None
    no, update = missed.get("no"), missed.get("update")
    if no is None or update is None or message.answers != no or not case.first("VU-BE-11"):
        return None
    text = f"IOTLB_MSG #{no}: expected the acknowledgement before the update #{update}, it came after"
    return Breach(text, evidence=(no, update))
