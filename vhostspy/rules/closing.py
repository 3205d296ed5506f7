"""Who closed, after what: the message that a connection's end is most likely about.

A peer that is sent something it cannot do seldom says so; it hangs up, and the other one blames the next request that
it wanted an answer to. Where the end comes after all was read, the last request is the likely one. Where octets were
left unread (a reset) it was one before those. Where an acknowledgement came just before, it is the acknowledged one,
whatever the acknowledgement says.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import NamedTuple

from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.dissectors.vhost_user import PROTOCOL_FEATURES
from vhostspy.dissectors.virtio import COMMON_FEATURES
from vhostspy.session import ledger as ledgers
from vhostspy.session.state import Session

from .negotiation import PROTOCOL_BIT
from .replies import AT_ONCE_NS, SECOND, age
from .rule import Breach, Case, Moment, Outcome, Slot, Topic, event, every, rule

COMMUNICATION = "vhost-user, Communication"
#: an end later than this after all messages has another cause
SOON_NS = SECOND
#: requests since the last answer that are kept, and those that are spoken of
MOST_KEPT = 64
MOST_TOLD = 8
#: the steps of a handshake, by the message that takes them
STEPS = (
    "GET_FEATURES", "SET_OWNER", "GET_PROTOCOL_FEATURES", "SET_PROTOCOL_FEATURES", "SET_FEATURES", "SET_MEM_TABLE",
    "ADD_MEM_REG", "SET_VRING_NUM", "SET_VRING_ADDR", "SET_VRING_KICK",
)  # fmt: skip


class _Said(NamedTuple):
    """A message of the main channel, as far as it matters once the connection ends."""

    no: int
    name: str
    at_ns: int
    is_reply: bool
    failed: bool
    #: the request that it answers
    answers: int
    #: the request expects an answer
    awaited: bool

    def __str__(self) -> str:
        return f"{self.name} #{self.no}"


def _remember(case: Case) -> None:
    """Every message of the main channel comes by here: no more than a tuple is made for it."""
    message = case.message
    said = case.memory.of("closing")
    is_reply = message.is_reply
    one = said["last"] = tuple.__new__(_Said, (
        message.no, message.name or f"message {message.id}", message.monotonic_ns, is_reply,
        is_reply and message.failed, message.answers or 0, message.awaited,
    ))  # fmt: skip
    since: deque[_Said] | None = said.get("since")
    if since is None:
        since = said["since"] = deque(maxlen=MOST_KEPT)
    if message.sender == FRONT_END:
        since.append(one)
    else:
        said["answer"] = one
        since.clear()


def _first(moment: Moment) -> bool:
    """Whether this is the first end of the main channel, which was read up to there."""
    if moment.event.channel not in ("main", "") or moment.before.ended is not None:
        return False
    channel = moment.before.channels.get(("main", 1))
    return channel is None or not channel.unread


def _started(session: Session) -> bool:
    return any(ring.started for ring in session.rings.values())


def _in_words(requests: list[_Said]) -> str:
    told = ", ".join(str(one) for one in requests[-MOST_TOLD:])
    more = len(requests) - MOST_TOLD
    return f"{more} more, {told}" if more > 0 else told


#: what a back-end may well end with
_FINAL = frozenset(("CHECK_DEVICE_STATE", "GET_VRING_BASE", "SET_STATUS", "RESET_OWNER"))


@rule(
    "VU-CLS-01", "warning", "the back-end goes on until the front-end closes", COMMUNICATION,
    on=(every(lambda slot: slot.channel == "main"), event("eof", "reset")), malformed=True,
    notes="With an answer owed, a reset, or just after an acknowledgement of 0: an error. After the device is stopped, "
    "or its state checked: a note.",
)  # fmt: skip
def back_end_closed(case: Case | Moment) -> Outcome:
    if isinstance(case, Case):
        _remember(case)
        return None
    if not _first(case) or case.event.sender != BACK_END:
        return None
    said = case.memory.of("closing")
    since: list[_Said] = list(said.get("since") or ())
    answer: _Said | None = said.get("answer")
    reset = case.event.event == "reset"
    how = "reset the connection, so it left octets unread" if reset else "closed"
    if not since:
        return _after_an_answer(case, answer, how)
    if reset and len(since) > 1:
        # it has not read the last one
        about, likely = since[0], f"it is about one of {_in_words(since)}, not the last"
    else:
        about, likely = since[-1], f"it is most likely about {since[-1]}"
        if len(since) > 1:
            likely += f"; since its last answer it was sent {_in_words(since)}"
    owed = list(ledgers.outstanding(case.before.ledger, ("main", 1)))
    waited = case.event.monotonic_ns - since[-1].at_ns
    if waited > SOON_NS and not reset and not owed:
        likely = f"no message is likely to be the cause, the last was {since[-1]}"
    text = f"expected the back-end to go on, it {how} {age(waited)} after {since[-1].name}: "
    final = all(one.name in _FINAL for one in since) and not owed
    return Breach(
        text + likely,
        no=about.no,
        evidence=tuple(one.no for one in since[-MOST_TOLD:]),
        severity="error" if owed or reset else "note" if final else None,
    )


def _after_an_answer(moment: Moment, answer: _Said | None, how: str) -> Outcome:
    """Nothing was asked since its last answer."""
    if answer is None:
        return None  # VU-CLS-03
    waited = moment.event.monotonic_ns - answer.at_ns
    no = answer.answers or answer.no
    if answer.name in _FINAL or not moment.before.features_set:
        text = f"the back-end {how} {age(waited)} after its answer to {answer.name} #{no}"
        return Breach(f"{text}: expected the front-end to close first", no=no, evidence=(answer.no,), severity="note")
    if waited > AT_ONCE_NS:
        text = f"expected the back-end to go on, it {how} {age(waited)} after its last answer, to {answer.name} #{no}"
        if waited > SOON_NS:
            text += ": no message is likely to be the cause"
        return Breach(text, no=no, evidence=(answer.no,))
    text = f"expected the back-end to go on, it {how} {age(waited)} after its answer to {answer.name} #{no}: it is most"
    return Breach(
        f"{text} likely about {answer.name} #{no}, although that was {'refused' if answer.failed else 'answered'}",
        no=no,
        evidence=(answer.no,),
        severity="error",
    )


@rule("VU-CLS-02", "note", "rings are stopped before the connection is closed", "vhost-user, Ring states",
      on=event("eof", "reset"), notes="A front-end that is killed does not get to it.")  # fmt: skip
def closed_running(moment: Moment) -> Outcome:
    if not _first(moment) or moment.event.sender != FRONT_END:
        return None
    started = [number for number, ring in moment.before.rings.items() if ring.started]
    if not started:
        return None
    numbers = ", ".join(str(number) for number in started[:8])
    return f"expected rings to be stopped before the connection is closed, started are: {numbers}"


@rule("VU-CLS-03", "warning", "a connection lasts beyond its handshake", COMMUNICATION, on=event("eof", "reset"),
      notes="Directly after an offer: VU-CLS-04.")  # fmt: skip
def closed_in_handshake(moment: Moment) -> Outcome:
    session = moment.before
    if not _first(moment) or not moment.sure or session.features_set or session.rings and _started(session):
        return None
    said = moment.memory.of("closing")
    last: _Said | None = said.get("last")
    if last is None or _offer(moment, last):
        return None  # nobody said anything: it only looked whether somebody is there
    step = STEPS.index(last.name) + 1 if last.name in STEPS else 0
    at = f", step {step} of {len(STEPS)}" if step else ""
    how = "reset" if moment.event.event == "reset" else "closed"
    text = f"expected the handshake to go on, the connection was {how} after {last.name} #{last.no}{at}"
    offered = session.virtio_offered
    if moment.event.sender == FRONT_END and offered is not None and not offered & PROTOCOL_BIT:
        text += "; the back-end has not offered PROTOCOL_FEATURES (bit 30): QEMU refuses it, and blames memory slots"
    return Breach(text, no=last.no, evidence=(last.no,))


def _offer(moment: Moment, last: _Said) -> bool:
    return moment.event.sender == FRONT_END and last.is_reply and last.name in ("GET_FEATURES", "GET_PROTOCOL_FEATURES")


@rule("VU-CLS-04", "warning", "the front-end goes on after an offer of features, whatever bits it does not know",
      "vhost-user, Protocol features: unknown bits are left out; rust-vmm/vhost 7554d06 refused them",
      on=event("eof", "reset"), notes="A look whether a back-end is there, and then another connection: the same.",
      )  # fmt: skip
def closed_after_offer(moment: Moment) -> Outcome:
    session = moment.before
    last: _Said | None = moment.memory.of("closing").get("last")
    if not _first(moment) or last is None or not _offer(moment, last):
        return None
    earlier = session.previous
    if last.name == "GET_PROTOCOL_FEATURES":
        offered, known, names = session.protocol_offered or 0, 0, PROTOCOL_FEATURES
        known = (earlier.protocol_agreed or 0) if earlier is not None else 0
    else:
        offered, names = session.virtio_offered or 0, COMMON_FEATURES
        known = (earlier.virtio_agreed or 0) if earlier is not None else 0
    unknown = ", ".join(names.bits(offered & ~known)) or "none"
    what = "bits that it did not acknowledge before" if earlier is not None and known else "the offered bits"
    text = f"expected the front-end to go on after the offer in #{last.no}, it closed; {what}: {unknown}"
    return Breach(text, no=last.no, evidence=(last.no,))


HEADER = Struct("<III")
SWAPPED = Struct(">III")
#: a number and a size that a header of vhost-user may have
MOST_ID, MOST_SIZE = 64, 4096


def _unframed(slot: Slot) -> bool:
    return slot.kind == "raw" and slot.protocol in ("", "vhost-user") and slot.channel in ("main", "backend")


@rule(
    "VU-CLS-05", "error", "what an end sends can be read as messages", "vhost-user, Message Specification, Header",
    on=Topic(_unframed, text="octets that are no message"), malformed=True,
    notes="Nothing that follows on that side is judged. Says so if the byte order is the other one.",
)  # fmt: skip
def unreadable(case: Case) -> Outcome:
    message = case.message
    if not case.first("VU-CLS-05", message.channel, message.channel_no, message.sender):
        return None
    data = message.data
    text = f"expected a message on the {message.channel} channel, came {len(data)} octets that are none"
    if len(data) < HEADER.size:
        return f"{text}: {data.hex(' ')}"
    little = message.byte_order == "<"
    id_, flags, size = (SWAPPED if little else HEADER).unpack_from(data)
    if 0 < id_ < MOST_ID and flags & 3 == 1 and flags < 16 and size <= MOST_SIZE:
        return f"{text}: in {'big' if little else 'little'}-endian order they are request {id_} with {size} bytes"
    return f"{text}: {data[: HEADER.size].hex(' ')} …"
