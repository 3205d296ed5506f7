"""Replies: who owes one, and what comes in their place or too much.

A request's sender waits where the row, NEED_REPLY and what was agreed on say so (``session.ledger``). That an answer is
missing is certain once the end that owes it hangs up, or another answer overtakes it; while all are silent, or when the
one who waits hangs up, only a long wait counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.message import Event, Message
from vhostspy.session import ledger as ledgers

from .gates import FRONT, REPLY_ACK_SOURCE
from .header import asker
from .rule import Breach, Case, Moment, Outcome, Rule, Severity, Slot, event, every, reply, rule

COMMUNICATION = "vhost-user, Communication"
QEMU_READS = "QEMU, hw/virtio/vhost-user.c, vhost_user_read_header"
SECOND = 1_000_000_000
#: a silence of so long counts as one
LATE_NS = 5 * SECOND
#: an end of file so soon after an acknowledgement is its other half
AT_ONCE_NS = SECOND // 10


def title(request: Message) -> str:
    return f"{request.name or f'message {request.id}'} #{request.no}"


def age(ns: int) -> str:
    return f"{ns / SECOND:.1f} s" if ns >= SECOND else f"{ns / 1_000_000:.1f} ms"


# -- missing


def _missing(moment: Moment) -> Iterator[tuple[Message, str]]:
    """Requests that are certainly left without an answer now, with what came instead."""
    happened = moment.event
    if happened.event == "unanswered":
        no = happened.facts.get("no")
        age_ns = happened.facts.get("age_ns", 0)
        for asked in ledgers.outstanding(moment.before.ledger):
            if asked.no == no and age_ns >= LATE_NS:
                yield asked, f"none came in {age(age_ns)}"
        return
    key = (happened.channel or "main", happened.channel_no or 1)
    channel = moment.before.channels.get(key)
    if channel is not None and channel.closed:
        return  # the other one has hung up before, and all was said then
    for asked in ledgers.outstanding(moment.before.ledger, key):
        waited = happened.monotonic_ns - asked.monotonic_ns
        if happened.sender == 1 - asked.sender:
            yield asked, "a reset came" if happened.event == "reset" else "the end of the connection came"
        elif waited >= LATE_NS:
            yield asked, f"none came in {age(waited)}"


def _answer_missing(
    id: str, severity: Severity, text: str, source: str, concerns: Callable[[Message], bool],
    bends: tuple[str, ...] = (), notes: str = "",
) -> Rule:  # fmt: skip
    """A rule for the missing answers of one sort of requests."""

    def check(moment: Moment) -> Outcome:
        told = moment.memory.of(id)
        breaches = []
        for asked, instead in _missing(moment):
            if not concerns(asked) or asked.no in told or _unread(moment, asked):
                continue
            told[asked.no] = True
            breaches.append(Breach(f"{title(asked)}: expected an answer, {instead}", who=1 - asked.sender, no=asked.no))
        return breaches

    return rule(id, severity, text, source, on=event("eof", "reset", "unanswered"), bends=bends, notes=notes)(check)


def _unread(moment: Moment, asked: Message) -> bool:
    """Whether the answering end's octets could not be read any more: the answer may be among them."""
    channel = moment.before.channels.get((asked.channel, asked.channel_no))
    return channel is not None and 1 - asked.sender in channel.unread


#: (channel, name) of requests whose missing answer has a rule of its own
_OWN = {
    ("main", "SET_LOG_BASE"): "VU-RPL-11",
    ("main", "NET_SET_MTU"): "VU-RPL-12",
    ("main", "SET_BACKEND_REQ_FD"): "VU-RPL-12",
    ("main", "IOTLB_MSG"): "VU-RPL-13",
}


def _rule_of(asked: Message) -> str:
    own = _OWN.get((asked.channel, asked.name or ""))
    if own is not None:
        return own
    return "VU-RPL-01" if asked.row is not None and asked.row.answer == "reply" else "VU-RPL-02"


FAMILIES: tuple[Rule, ...] = (
    _answer_missing(
        "VU-RPL-01", "error", "a request with a reply of its own gets it", COMMUNICATION,
        lambda asked: asked.protocol == "vhost-user" and _rule_of(asked) == "VU-RPL-01",
        notes="Certain when the end that owes it hangs up; otherwise after 5 s. Twice: VU-RPL-07.",
    ),
    _answer_missing(
        "VU-RPL-02", "error", "a request with NEED_REPLY gets an acknowledgement, once REPLY_ACK is agreed on",
        REPLY_ACK_SOURCE, lambda asked: asked.protocol == "vhost-user" and _rule_of(asked) == "VU-RPL-02",
        notes="As VU-RPL-01.",
    ),
    _answer_missing(
        "VU-RPL-11", "error", "SET_LOG_BASE is answered once LOG_SHMFD is agreed on", COMMUNICATION,
        lambda asked: _rule_of(asked) == "VU-RPL-11", notes="By 0, 8 or 16 bytes.",
    ),
    _answer_missing(
        "VU-RPL-12", "warning", "NET_SET_MTU and SET_BACKEND_REQ_FD with NEED_REPLY are answered",
        FRONT + "NET_SET_MTU", lambda asked: _rule_of(asked) == "VU-RPL-12",
    ),
    _answer_missing(
        "VU-RPL-13", "warning", "IOTLB_MSG is answered", FRONT + "IOTLB_MSG",
        lambda asked: _rule_of(asked) == "VU-RPL-13", bends=("dpdk",), notes="DPDK does so only with NEED_REPLY.",
    ),
)  # fmt: skip


# -- too much, or in the wrong order


def _answers(slot: Slot) -> bool:
    return slot.kind in ("reply", "ack") and slot.sender != asker(slot.channel)


def _queue(case: Case) -> ledgers.Queue | None:
    """The channel's queue before this message; None while nobody has spoken, or where a side is not read."""
    message = case.message
    key = (message.channel, message.channel_no)
    channel = case.before.channels.get(key)
    if channel is not None and channel.unread:
        return None
    return case.before.ledger.get(key)


@rule(
    "VU-RPL-03", "error", "a request without NEED_REPLY, and without a reply of its own, gets no answer",
    REPLY_ACK_SOURCE, on=every(_answers), malformed=True,
    notes="With NEED_REPLY but without REPLY_ACK, as DPDK, libvhost-user and passt do: a note. libvhost-user always "
    "answers POSTCOPY_LISTEN: a note.",
)  # fmt: skip
def not_asked_for(case: Case) -> Outcome:
    message = case.message
    queue = _queue(case)
    unasked = queue.unasked if queue is not None else None
    if unasked is None or message.answers != unasked.no or message.channel == "backend":
        return None  # on the back-end channel: VU-BE-05
    if case.before.protocol_agreed is None or not case.sure:
        return None
    if unasked.need_reply:
        if not case.first("VU-RPL-03", message.id):
            return None
        text = f"{title(unasked)}: expected no answer as REPLY_ACK is not agreed on, one came"
        return Breach(text, evidence=(unasked.no,), severity="note")
    text = f"{title(unasked)}: expected no answer as none was asked for, one came"
    return Breach(text, evidence=(unasked.no,), severity="note" if unasked.name == "POSTCOPY_LISTEN" else None)


def _out_of_order(case: Case) -> Outcome:
    message = case.message
    queue = _queue(case)
    if queue is None or not queue.waiting or not case.sure:
        return None
    oldest = queue.waiting[0]
    if oldest.sender == message.sender or message.answers == oldest.no:
        return None
    if message.answers is None:
        text = f"expected the answer to {title(oldest)}, came one to {message.name or f'message {message.id}'}"
        return Breach(f"{text}, which nobody waits for", evidence=(oldest.no,))
    asked = next((one for one in queue.waiting if one.no == message.answers), None)
    if asked is None:
        return None
    text = f"expected the answer to {title(oldest)} first, came the one to {title(asked)}"
    return Breach(text, evidence=(oldest.no, asked.no))


@rule("VU-RPL-04", "error", "answers come in the order of their requests", QEMU_READS,
      on=every(lambda slot: _answers(slot) and slot.channel == "main"), malformed=True)  # fmt: skip
def out_of_order(case: Case) -> Outcome:
    return _out_of_order(case)


@rule("VU-RPL-05", "warning", "NEED_REPLY is not set in answers", QEMU_READS + ": takes flags 0x5 only",
      on=every(_answers), bends=("libvhost-user",), malformed=True, pure=True)  # fmt: skip
def echoes_need_reply(case: Case) -> Outcome:
    message = case.message
    if not message.need_reply or not case.first("VU-RPL-05", message.channel, message.id):
        return None
    return f"{case.name}: expected flags 0x5, came {message.flags:#x} with NEED_REPLY"


def _asks(slot: Slot) -> bool:
    return slot.kind == "request" and slot.sender == asker(slot.channel)


@rule("VU-RPL-06", "warning", "no request while the reply to another one is awaited", QEMU_READS, on=every(_asks),
      malformed=True)  # fmt: skip
def pipelined(case: Case) -> Outcome:
    message = case.message
    queue = _queue(case)
    if queue is None or not queue.waiting:
        return None
    for asked in queue.waiting:
        if asked.row is not None and asked.row.answer == "reply" and asked.sender == message.sender:
            if not case.first("VU-RPL-06", asked.channel, asked.id):
                return None
            text = f"{case.name}: expected the reply to {title(asked)} to be waited for, came before it"
            return Breach(text, evidence=(asked.no,))
    return None


@rule("VU-RPL-07", "error", "nothing comes from the back-end on the main channel but answers to what was asked",
      COMMUNICATION, on=every(lambda slot: slot.channel == "main"), malformed=True)  # fmt: skip
def unsolicited(case: Case) -> Outcome:
    return _unsolicited(case)


def _unsolicited(case: Case) -> Outcome:
    """A request of the wrong end, or an answer that nobody waits for; acknowledgements of NEED_REPLY count as asked."""
    message = case.message
    asked = case.memory.of(f"unasked {message.channel}")
    key = (message.channel_no, message.id)
    if message.sender == asker(message.channel):
        if message.kind == "request" and message.need_reply and not message.awaited:
            asked[key] = asked.get(key, 0) + 1
        return None
    queue = _queue(case)
    name = message.name or f"message {message.id}"
    if message.kind == "request":
        if queue is not None and any(one.id == message.id for one in queue.waiting):
            return None  # VU-HDR-06
        return f"expected only answers from this end, came {name} on the {message.channel} channel"
    if message.answers is not None:
        if asked.get(key):
            asked[key] -= 1
        return None
    if asked.get(key):
        asked[key] -= 1
        return None
    # what was asked before the capture began, or could not be read, is not known
    if not case.sure or queue is None or queue.waiting:
        return None
    return f"expected no answer as nobody waits for one, came one to {name}"


def _acknowledges(slot: Slot) -> bool:
    return _answers(slot) and (slot.kind == "ack" or slot.row is not None and slot.row.name == "IOTLB_MSG")


@rule("VU-RPL-08", "warning", "acknowledgements say 0, success", REPLY_ACK_SOURCE, on=every(_acknowledges))
def refused(case: Case) -> Outcome:
    message = case.message
    if not message.failed:
        return None
    evidence = () if message.answers is None else (message.answers,)
    what = f"{message.name or f'message {message.id}'}" + (f" #{message.answers}" if message.answers else "")
    # who is to blame, the one that asked or the one that refused, nobody can tell
    return Breach(f"{what} was refused: expected 0, came {_signed(case)}", who=None, evidence=evidence)


def _signed(case: Case) -> int:
    value = int(case.fields.get("value", 0))
    return value - (1 << 64) if value >> 63 else value


@rule("VU-RPL-09", "warning", "the result in an acknowledgement is 0, a small number, or an errno below 0",
      "conventions of QEMU, libvhost-user and rust-vmm", on=every(lambda slot: slot.kind == "ack"),
      pure=True)  # fmt: skip
def odd_result(case: Case) -> Outcome:
    value = _signed(case)
    return None if -4096 < value < 4096 else f"{case.name}: expected 0, a small number or -errno, came {value:#x}"


@rule(
    "VU-RPL-10", "note", "an acknowledgement of 0 means that it was done",
    "libvhost-user, vu_process_message: acknowledges with 0 although it has failed inside",
    on=(every(lambda slot: slot.kind == "ack" and slot.channel == "main"), event("eof", "reset")),
)  # fmt: skip
def acknowledged_and_gone(case: Case | Moment) -> Outcome:
    notes = case.memory.of("VU-RPL-10")
    if isinstance(case, Case):
        notes["ack"] = case.message
        return None
    gone = case.event
    ack: Message | None = notes.get("ack")
    queue = case.before.ledger.get(("main", 1))
    if ack is None or gone.channel not in ("main", "") or gone.sender != BACK_END or ack.failed or queue is None:
        return None
    waited = gone.monotonic_ns - ack.monotonic_ns
    if waited > AT_ONCE_NS or max(queue.last) != ack.no or not _closes_first(case):
        return None
    about = f"#{ack.answers}" if ack.answers else f"#{ack.no}"
    return Breach(
        f"{ack.name} {about} was acknowledged with 0, and the back-end hung up {age(waited)} later: expected it to go "
        "on; it probably failed on just that",
        no=ack.answers or ack.no, evidence=(ack.no,),
    )  # fmt: skip


def _closes_first(moment: Moment) -> bool:
    channel = moment.before.channels.get(("main", 1))
    return channel is None or not channel.closed


@rule(
    "VU-RPL-14", "error", "GET_CONFIG is answered with as many bytes as were asked for, or with a refusal",
    FRONT + "GET_CONFIG", on=reply("GET_CONFIG"), notes="A refusal is empty, or has length 0 (rust-vmm, crosvm).",
)  # fmt: skip
def config_length(case: Case) -> Outcome:
    length = case.fields.get("length", 0)
    queue = _queue(case)
    if not length or queue is None or case.message.answers is None:
        return None
    for asked in queue.waiting:
        wanted = asked.fields.get("length")
        if asked.no == case.message.answers and wanted is not None and wanted != length:
            text = f"GET_CONFIG reply: expected {wanted} bytes of configuration as asked for, came {length}"
            return Breach(text, evidence=(asked.no,))
    return None


@rule("VU-RPL-15", "warning", "an answer takes no longer than 5 s", "a front-end waits, and its guest with it",
      on=(every(_answers), event("waiting")), malformed=True)  # fmt: skip
def late(case: Case | Moment) -> Outcome:
    if isinstance(case, Case):
        message = case.message
        if (message.latency_ns or 0) < LATE_NS or not case.first("VU-RPL-15", message.answers):
            return None
        text = f"{case.name}: expected within 5 s, came after {age(message.latency_ns or 0)}"
        return Breach(text, evidence=(message.answers or 0,))
    return _waits(case.event, case)


def _waits(waiting: Event, moment: Moment) -> Outcome:
    no, age_ns = waiting.facts.get("no"), waiting.facts.get("age_ns", 0)
    if age_ns < LATE_NS or waiting.sender is None or not moment.first("VU-RPL-15", no):
        return None
    asked = next((one for one in ledgers.outstanding(moment.before.ledger) if one.no == no), None)
    if asked is None or _unread(moment, asked) or asked.protocol != "vhost-user":
        return None
    return Breach(f"{title(asked)}: expected an answer within 5 s, none came in {age(age_ns)}", who=1 - asked.sender)


@rule("VU-RPL-16", "error", "on the back-end channel too answers come to what was asked, in order",
      "vhost-user, Back-end communication", on=every(lambda slot: slot.channel == "backend"),
      malformed=True)  # fmt: skip
def back_end_channel(case: Case) -> Outcome:
    unsolicited = _unsolicited(case)
    if unsolicited is not None or case.message.sender != FRONT_END or not case.message.is_reply:
        return unsolicited
    return _out_of_order(case)
