"""vfio-user: headers, message ids, directions, descriptors, and what is left at the end."""

from __future__ import annotations

from vhostspy.dissectors import registry
from vhostspy.message import Message
from vhostspy.session import ledger as ledgers

from .replies import LATE_NS, age
from .rule import Breach, Case, Moment, Outcome, event, rule
from .vfio_state import CLIENT, PROTOCOL, SERVER, asked, command, state, vfio

HEADER = "vfio-user, Header"
COMMANDS = "vfio-user, Commands"
DMA_READ = "vfio-user, VFIO_USER_DMA_READ"
NO_REPLY, ERROR = 0x10, 0x20
HEADER_BYTES = 16
#: what the fixed part of the largest message takes beside its data
_ROOM = 32 + HEADER_BYTES

is_request = vfio(lambda slot: slot.kind == "request", "every command of vfio-user")
is_reply = vfio(lambda slot: slot.kind != "request", "every reply of vfio-user")


def called(case: Case) -> str:
    """The message for people, with its message id."""
    message = case.message
    kind = " reply" if message.is_reply else ""
    return f"{message.name or f'command {message.id}'}{kind} (message id {message.msgid})"


def _named(message: Message) -> str:
    return f"{message.name or f'command {message.id}'} #{message.no}"


@rule("VF-HDR-01", "error", "a message is no larger than its receiver takes", "vfio-user, Header; libvfio-user",
      on=vfio(), malformed=True)  # fmt: skip
def too_large(case: Case) -> Outcome:
    message = case.message
    most = state(case.memory).limit(1 - message.sender, "max_data_xfer_size") + _ROOM
    if not case.sure or (message.size or 0) <= most:
        return None
    return f"{called(case)}: expected at most {most} bytes by the receiver's max_data_xfer_size, came {message.size}"


@rule("VF-HDR-02", "error", "the type is 0 or 1; NO_REPLY only in commands, ERROR only in replies", HEADER, on=vfio(),
      malformed=True, pure=True)  # fmt: skip
def flags(case: Case) -> Outcome:
    came = case.message.flags or 0
    if came & 0xF > 1:
        return f"{called(case)}: expected type 0 or 1 in the flags, came {came & 0xF}"
    if came & 0xF and came & NO_REPLY:
        return f"{called(case)}: expected no NO_REPLY in a reply, came flags {came:#x}"
    if not came & 0xF and came & ERROR:
        return f"{called(case)}: expected no ERROR in a command, came flags {came:#x}"
    return f"{called(case)}: expected flags 6 to 31 to be zero, came {came:#x}" if came & ~0x3F else None


def _nobody_waits(case: Case) -> bool:
    message = case.message
    channel = case.before.channels.get((message.channel, message.channel_no))
    return case.sure and message.answers is None and (channel is None or not channel.unread)


@rule("VF-HDR-03", "error", "a reply has the message id and the command of one that is outstanding", HEADER,
      on=is_reply, malformed=True)  # fmt: skip
def unsolicited(case: Case) -> Outcome:
    message = case.message
    if not _nobody_waits(case) or state(case.memory).noreply.get((1 - message.sender, message.msgid, message.id)):
        return None
    queue = case.before.ledger.get((message.channel, message.channel_no))
    same = [one for one in queue.waiting if one.msgid == message.msgid] if queue is not None else []
    if same:
        wanted = f"the reply to {same[0].name} #{same[0].no}"
        return Breach(f"expected {wanted}, came one with its message id to {called(case)}", evidence=(same[0].no,))
    return f"{called(case)}: expected a reply to what is outstanding, nobody waits for this"


@rule("VF-HDR-04", "error", "a reply with ERROR is a header alone", HEADER, on=is_reply, malformed=True)
def error_with_payload(case: Case) -> Outcome:
    message = case.message
    if not message.refused or message.size == HEADER_BYTES:
        return None
    return f"{called(case)}: expected 16 bytes of a reply with ERROR, came {message.size}"


@rule("VF-HDR-05", "warning", "commands go in their direction only", COMMANDS, on=is_request, malformed=True)
def direction(case: Case) -> Outcome:
    message = case.message
    if message.row is not None:
        return None
    other = registry.row(message.protocol, "main", 1 - message.sender, message.id or 0)
    if other is None:
        return None
    ends = ("client", "server")
    wanted, came = ends[other.sender], ends[message.sender]
    return f"{other.name} (message id {message.msgid}): expected from the {wanted}, came from the {came}"


@rule("VF-HDR-06", "error", "a command with NO_REPLY is not answered", HEADER, on=is_reply, malformed=True)
def not_wanted(case: Case) -> Outcome:
    message = case.message
    if asked(case) is not None:
        return None
    key = (1 - message.sender, message.msgid, message.id)
    noreply = state(case.memory).noreply
    if not noreply.get(key):
        return None
    noreply[key] -= 1
    if not noreply[key]:
        del noreply[key]
    return f"{called(case)}: expected no answer as the command had NO_REPLY, one came"


@rule("VF-HDR-07", "error", "the command is a known one", COMMANDS, on=vfio(
    lambda slot: slot.kind == "request" and (slot.row is None or slot.id == 14)), malformed=True,
    notes="14 (DIRTY_PAGES) was removed: a note.")  # fmt: skip
def unknown(case: Case) -> Outcome:
    message = case.message
    if message.id == 14:
        if not case.first("VF-HDR-07", 14):
            return None
        return Breach("DIRTY_PAGES: expected no command that has been removed, came 14", severity="note")
    if registry.row(message.protocol, "main", 1 - message.sender, message.id or 0) is not None:
        return None  # VF-HDR-05
    return f"expected a known command, came {message.id} (message id {message.msgid})"


@rule("VF-HDR-08", "warning", "the server's commands come on its own socket, once there is one", DMA_READ,
      on=command("DMA_READ", "DMA_WRITE"), malformed=True)  # fmt: skip
def wrong_socket(case: Case) -> Outcome:
    message = case.message
    if message.channel != "main" or not any(name == "second" for name, _ in case.before.channels):
        return None
    return f"{called(case)}: expected on the server's own socket, came on the main one"


@rule("VF-HDR-09", "note", "a message id is not used again while it is outstanding", HEADER, on=is_request,
      bends=("spdk",), malformed=True)  # fmt: skip
def reused(case: Case) -> Outcome:
    message = case.message
    queue = case.before.ledger.get((message.channel, message.channel_no))
    for one in queue.waiting if queue is not None else ():
        if one.msgid == message.msgid and one.sender == message.sender and case.first("VF-HDR-09", message.sender):
            text = f"{called(case)}: expected another message id than that of {_named(one)}, which is waited for"
            return Breach(text, evidence=(one.no,))
    return None


@rule("VF-HDR-10", "note", "a command waits until the one before is answered", "vfio-user, Command Concurrency",
      on=is_request, bends=("qemu",), malformed=True)  # fmt: skip
def pipelined(case: Case) -> Outcome:
    message = case.message
    queue = case.before.ledger.get((message.channel, message.channel_no))
    waiting = [one for one in queue.waiting if one.sender == message.sender] if queue is not None else []
    if not waiting or not case.first("VF-HDR-10", message.sender):
        return None
    text = f"{called(case)}: came while {_named(waiting[0])} is outstanding; the {_ENDS[1 - message.sender]} has to "
    return Breach(f"{text}take them in order", evidence=(waiting[0].no,))


_ENDS = ("client", "server")


@rule("VF-FD-01", "error", "no more descriptors than the receiver takes, and none where there are none",
      "vfio-user, VFIO_USER_VERSION, max_msg_fds", on=vfio(), bends=("spdk",), malformed=True)  # fmt: skip
def too_many(case: Case) -> Outcome:
    message = case.message
    came = len(message.fds)
    if not came or message.row is None:
        return None
    fds = message.row.reply_fds if message.is_reply else message.row.request_fds
    if not fds.most and message.name != "VERSION":
        return f"{called(case)}: expected no descriptor, came {came}"
    most = state(case.memory).limit(1 - message.sender, "max_msg_fds")
    if not case.sure or came <= max(most, 1) or message.name == "VERSION":
        return None
    return f"{called(case)}: expected at most {most} descriptors by the receiver's max_msg_fds, came {came}"


@rule("VF-RTP-01", "note", "an answer takes no longer than 5 s", "QEMU, hw/vfio-user/proxy.c, x-msg-timeout",
      on=(is_reply, event("waiting")), malformed=True)  # fmt: skip
def late(case: Case | Moment) -> Outcome:
    if isinstance(case, Case):
        message = case.message
        if (message.latency_ns or 0) < LATE_NS or not case.first("VF-RTP-01", message.answers):
            return None
        text = f"{called(case)}: expected within 5 s, came after {age(message.latency_ns or 0)}"
        return Breach(text, evidence=(message.answers or 0,))
    waiting = case.event
    no, age_ns = waiting.facts.get("no"), waiting.facts.get("age_ns", 0)
    if PROTOCOL not in case.memory.kept or age_ns < LATE_NS or waiting.sender is None:
        return None
    if not case.first("VF-RTP-01", no):
        return None
    asked = next((one for one in ledgers.outstanding(case.before.ledger) if one.no == no), None)
    name = "" if asked is None else f"{asked.name or f'command {asked.id}'} "
    return Breach(f"{name}#{no}: expected an answer within 5 s, none came in {age(age_ns)}", who=1 - waiting.sender)


@rule("VF-END-01", "note", "a client takes its DMA regions back before it leaves", "vfio-user, Client Disconnection",
      on=event("eof", "reset"))  # fmt: skip
def left(moment: Moment) -> Outcome:
    if PROTOCOL not in moment.memory.kept or moment.event.sender != CLIENT or not moment.sure:
        return None
    channel = moment.before.channels.get(("main", 1))
    kept = state(moment.memory).dma
    if moment.event.channel not in ("main", "") or not kept or (channel is not None and channel.closed):
        return None
    regions = "a DMA region" if len(kept) == 1 else f"{len(kept)} DMA regions"
    return f"the client has left with {regions} not taken back: the server has to clean up"


@rule("VF-END-02", "warning", "a client that connects again begins with VERSION, and maps its memory again",
      "vfio-user, Client Disconnection", on=command("REGION_READ", "REGION_WRITE", "DEVICE_SET_IRQS"))  # fmt: skip
def not_mapped_again(case: Case) -> Outcome:
    previous = case.before.previous
    if previous is None or not case.sure or not case.first("VF-END-02"):
        return None
    kept = state(case.memory)
    if kept.version[SERVER] is not None or kept.version[CLIENT] is not None:
        return None
    return f"{called(case)}: expected VERSION first on a new connection, it has not come"
