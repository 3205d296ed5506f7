"""Framing and headers: version, flags, numbers, sizes, and messages that were cut."""

from __future__ import annotations

from vhostspy.capture.record import INCOMPLETE
from vhostspy.dissectors import registry
from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.message import Message

from .gates import REPLY_ACK, REPLY_ACK_SOURCE
from .rule import Breach, Case, Outcome, Slot, every, rule

HEADER = "vhost-user, Message Specification, Header"
#: the largest payload that front-ends and back-ends have room for, and what rust-vmm takes
MOST_PAYLOAD = 2056
MOST_PAYLOAD_RUST = 4096
#: whoever sends so little has no reason to do it in pieces
MOST_IN_ONE = 4096
#: what an eventfd is given at a time
MOST_NOTIFIED = 255
VENDOR_IDS = frozenset((1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007))


def asker(channel: str) -> int:
    """The end that sends the requests of a channel."""
    return BACK_END if channel == "backend" else FRONT_END


def _requests(slot: Slot) -> bool:
    return slot.kind == "request"


@rule("VU-HDR-01", "error", "the version in the flags is 1", HEADER, on=every(), malformed=True, pure=True)
def version(case: Case) -> Outcome:
    came = (case.message.flags or 0) & 3
    if came == 1:
        return None
    text = f"{case.name}: expected version 1 in the flags, came {came} (flags {case.message.flags:#x})"
    if not case.message.flags and 0 < (case.message.id or 0) <= MOST_NOTIFIED:
        # a descriptor's number that was closed, given to this socket, and still written to
        text += f"; 8 octets with the number {case.message.id} are what a write to an eventfd looks like"
    return text


@rule("VU-HDR-02", "error", "flag bits 4 to 31 are zero", HEADER, on=every(), malformed=True, pure=True)
def reserved_flags(case: Case) -> Outcome:
    came = (case.message.flags or 0) & ~0xF
    return f"{case.name}: expected reserved flag bits to be zero, came {came:#x}" if came else None


@rule(
    "VU-HDR-03", "error", "message 0 is never sent", "libvhost-user, vu_dispatch: exits on it",
    on=every(lambda slot: slot.id == 0), malformed=True, pure=True,
)  # fmt: skip
def number_zero(case: Case) -> Outcome:
    return f"expected the number of a message, came 0 (flags {case.message.flags:#x}, {case.message.size} bytes)"


@rule(
    "VU-HDR-04", "warning", "the message's number is a known one", "vhost-user, Front-end message types",
    on=every(lambda slot: slot.id != 0 and (slot.row is None or slot.id in VENDOR_IDS)), malformed=True, pure=True,
    notes="Numbers of crosvm and of virtio-fs drafts (1000 to 1007) are a note.",
)  # fmt: skip
def unknown_number(case: Case) -> Outcome:
    message = case.message
    if not case.first("VU-HDR-04", message.channel, message.sender, message.kind, message.id):
        return None
    if message.id in VENDOR_IDS:
        name = f", {message.name} of crosvm or a draft" if message.name else ""
        return Breach(f"expected a number of the specification, came {message.id}{name}", severity="note")
    what = "a request" if message.kind == "request" else "an answer"
    text = f"expected {what} that the {_ENDS[message.sender]} may send on the {message.channel} channel, came number "
    name = _elsewhere(message)
    return f"{text}{message.id}{name or ', which nobody knows (rows of your own: --dissector)'}"


_ENDS = ("front-end", "back-end")


def _elsewhere(message: Message) -> str:
    """The other end, or channel, on which this number is known."""
    for channel, sender in (("main", 0), ("backend", 1)):
        row = registry.row("vhost-user", channel, sender, message.id or 0)
        if row is not None and (channel, sender) != (message.channel, message.sender):
            return f"; {row.name} is the {_ENDS[sender]}'s, on the {channel} channel"
    return ""


@rule(
    "VU-HDR-05", "error", "requests do not have the REPLY bit", HEADER,
    on=every(lambda slot: slot.kind in ("reply", "ack") and slot.sender == asker(slot.channel)),
      malformed=True, pure=True,
)  # fmt: skip
def request_with_reply_bit(case: Case) -> Outcome:
    return f"{case.name}: expected a request of this end, came one with the REPLY bit (flags {case.message.flags:#x})"


@rule(
    "VU-HDR-06", "error", "answers have the REPLY bit", HEADER,
    on=every(lambda slot: slot.kind == "request" and slot.sender != asker(slot.channel)), malformed=True,
)  # fmt: skip
def answer_without_reply_bit(case: Case) -> Outcome:
    message = case.message
    queue = case.before.ledger.get((message.channel, message.channel_no))
    waiting = [one for one in queue.waiting if one.id == message.id] if queue is not None else []
    if not waiting:
        return None  # then nobody asked: VU-RPL-07
    name = waiting[0].name or f"message {message.id}"
    return Breach(
        f"expected an answer to {name} #{waiting[0].no} with the REPLY bit, came one without "
        f"(flags {message.flags:#x})",
        evidence=(waiting[0].no,),
    )


@rule(
    "VU-HDR-07", "error", "a payload has at most 2056 bytes", "QEMU, VhostUserMsg; libvhost-user, VhostUserMsg",
    on=every(), malformed=True, pure=True, notes="rust-vmm takes up to 4096 bytes.",
)  # fmt: skip
def too_large(case: Case) -> Outcome:
    message = case.message
    size = message.size or 0
    if size <= MOST_PAYLOAD:
        return None
    if size <= MOST_PAYLOAD_RUST and case.memory.peers.known(1 - message.sender, ("rust-vmm",)):
        return None
    return f"{case.name}: expected at most {MOST_PAYLOAD} bytes of payload, came {size}"


#: QEMU asks for these answers without looking at the feature
_ASKED_ANYWAY = frozenset(("IOTLB_MSG", "POSTCOPY_LISTEN", "POSTCOPY_END"))


@rule(
    "VU-HDR-08", "warning", "NEED_REPLY is used only once REPLY_ACK is agreed on", REPLY_ACK_SOURCE,
    on=every(_requests), malformed=True, pure=True,
    notes="IOTLB_MSG, POSTCOPY_LISTEN and POSTCOPY_END, and the SET_PROTOCOL_FEATURES that agrees on it: a note.",
)  # fmt: skip
def need_reply_not_agreed(case: Case) -> Outcome:
    message = case.message
    agreed = case.before.protocol_agreed
    if not message.need_reply or agreed is None or agreed & REPLY_ACK or not case.sure:
        return None
    if not case.first("VU-HDR-08", message.channel, message.id):
        return None
    agrees_now = (case.after.protocol_agreed or 0) & REPLY_ACK
    text = f"{case.name}: expected no NEED_REPLY before REPLY_ACK is agreed on, came with it"
    return Breach(text, severity="note" if message.name in _ASKED_ANYWAY or agrees_now else None)


@rule(
    "VU-HDR-09", "note", "NEED_REPLY is not set on what has a reply of its own", REPLY_ACK_SOURCE,
    on=every(lambda slot: slot.kind == "request" and slot.row is not None and slot.row.answer == "reply"
             and slot.row.name != "IOTLB_MSG"),
    bends=("rust-vmm", "qemu"), malformed=True, pure=True,
)  # fmt: skip
def need_reply_of_a_reply(case: Case) -> Outcome:
    if not case.message.need_reply or not case.first("VU-HDR-09", case.message.channel, case.message.id):
        return None
    return f"{case.name}: expected no NEED_REPLY as it is answered anyway, came with it"


@rule(
    "VU-HDR-10", "error", "no connection ends in the middle of a message", "vhost-user, Communication",
    on=every(), malformed=True, pure=True,
)  # fmt: skip
def cut(case: Case) -> Outcome:
    message = case.message
    if not message.marks & INCOMPLETE:
        return None
    channel = case.before.channels.get((message.channel, message.channel_no))
    if channel is not None and any(end != message.sender for end, _ in channel.closed):
        return None  # the other end had hung up: nobody wanted the rest
    return f"{case.name}: expected {message.length} bytes, came {len(message.data)} before the stream ended"


@rule(
    "VU-HDR-12", "note", "a message is sent in one piece",
    "vhost-user, Communication; DPDK, libvhost-user, rust-vmm and passt take a short read for an error",
    on=every(), malformed=True, bends=("libvhost-user",),
    notes="libvhost-user writes header and payload one after the other. vhostspy passes it on whole, so what a "
    "receiver makes of the pieces is only seen with --exact-reads.",
)  # fmt: skip
def in_pieces(case: Case) -> Outcome:
    message = case.message
    # a long one may have met the end of our own buffer
    if message.reads < 2 or message.length > MOST_IN_ONE or message.marks & INCOMPLETE:
        return None
    if not case.first("VU-HDR-12", message.channel, message.sender):
        return None
    return f"{case.name}: expected {message.length} bytes at once, came in {message.reads} pieces"


def _historic(slot: Slot) -> bool:
    """The row is one that has lost its number to another: only the payload's size tells them apart."""
    if slot.row is None or slot.id is None:
        return False
    today = registry.row(slot.protocol, slot.channel, slot.row.sender, slot.id)
    return today is not None and slot.row in today.others


@rule(
    "VU-HDR-11", "note", "a number is not used with a meaning of long ago",
    "crosvm of 2023; virtio-fs drafts with DAX; other drafts", on=every(_historic), malformed=True, pure=True,
)  # fmt: skip
def historic_meaning(case: Case) -> Outcome:
    message = case.message
    if not case.first("VU-HDR-11", message.channel, message.id):
        return None
    source = message.row.source if message.row is not None else "a draft"
    return f"expected {message.id} in its meaning of today, {message.size} bytes fit only {message.name} ({source})"
