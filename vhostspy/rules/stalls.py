"""Nobody moves: who owes whom what, since when.

A wait is spoken of when a request's age reaches 1, 2, 5, 10 … seconds (event ``waiting``). One answer that is late is
for VU-RPL-15; here it is about both channels at once, and about sessions in which nothing passes any more.
"""

from __future__ import annotations

from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.message import Message, end_name
from vhostspy.session import ledger as ledgers
from vhostspy.session.state import Session

from .iotlb import unserved_miss
from .replies import SECOND, age, title
from .rule import BOTH, Breach, Case, Moment, Outcome, event, every, reply, rule

CHANNEL = "vhost-user, Back-end communication; QEMU db8a3772e3 and 4382138f64"
#: both ends have waited for so long
CROSSED_NS = 2 * SECOND
STILL_NS = 10 * SECOND


def _oldest(session: Session, asker: int) -> Message | None:
    """What this end waits for longest."""
    waiting = [one for one in ledgers.outstanding(session.ledger) if one.sender == asker]
    return min(waiting, key=lambda one: one.monotonic_ns, default=None)


def _unread(session: Session) -> bool:
    """Octets could not be read any more: the answer may be among them."""
    return any(channel.unread for channel in session.channels.values())


@rule("VU-STL-01", "error", "the ends do not wait for each other, on one channel each", CHANNEL,
      on=event("waiting"), notes="A back-end that misses a translation waits for its update.")  # fmt: skip
def crossed(moment: Moment) -> Outcome:
    session = moment.before
    now = moment.event.monotonic_ns
    front, back = _oldest(session, FRONT_END), _oldest(session, BACK_END) or unserved_miss(moment.memory)
    if front is None or back is None or min(now - front.monotonic_ns, now - back.monotonic_ns) < CROSSED_NS:
        return None
    if session.protocol not in ("", "vhost-user") or _unread(session):
        return None
    if not moment.first("VU-STL-01", front.no, back.no):
        return None
    text = (
        f"expected one of the ends to answer: the back-end owes an answer to {title(front)} on the {front.channel} "
        f"channel since {age(now - front.monotonic_ns)}, the front-end one to {title(back)} on the {back.channel} "
        f"channel since {age(now - back.monotonic_ns)}"
    )
    later = max(front, back, key=lambda one: one.no)
    return Breach(text, who=BOTH, no=later.no, evidence=(front.no, back.no))


@rule("VU-STL-02", "warning", "a session does not stand still while an answer is owed", "whoever waits, waits for ever",
      on=event("waiting"), notes="Nothing has passed on any channel for 10 s or more.")  # fmt: skip
def stands_still(moment: Moment) -> Outcome:
    session, facts = moment.before, moment.event.facts
    no, age_ns = facts.get("no", 0), facts.get("age_ns", 0)
    if age_ns < STILL_NS or moment.event.sender is None or _unread(session):
        return None
    asked = next((one for one in ledgers.outstanding(session.ledger) if one.no == no), None)
    newest = max((max(queue.last) for queue in session.ledger.values()), default=0)
    if asked is None or asked.no != newest or not moment.first("VU-STL-02", no):
        return None  # somebody has spoken since
    if _oldest(session, 1 - asked.sender) is not None:
        return None  # VU-STL-01
    owes, waits = end_name(session.protocol, 1 - asked.sender), end_name(session.protocol, asked.sender)
    text = f"expected the session to go on: the {owes} owes the {waits} an answer to {title(asked)} on the "
    text += f"{asked.channel} channel since {age(age_ns)}, and nothing has passed since"
    return Breach(text, who=1 - asked.sender, no=no)


@rule(
    "VU-STL-03", "note", "a session that is set up begins", "QEMU 60cd11024f: waited for an answer to what it had not "
    "sent", on=(every(lambda slot: slot.channel == "main"), event("eof", "reset")), malformed=True,
    notes="Closed after 10 s or more in which nobody owed anything and no ring was started.",
)  # fmt: skip
def stopped_in_silence(case: Case | Moment) -> Outcome:
    notes = case.memory.of("VU-STL-03")
    if isinstance(case, Case):
        notes["last"] = (case.message.no, case.message.monotonic_ns, case.name)
        return None
    session = case.before
    if session.ended is not None or case.event.channel not in ("main", "") or "last" not in notes:
        return None
    no, at, name = notes["last"]
    silence = case.event.monotonic_ns - at
    if silence < STILL_NS or any(True for _ in ledgers.outstanding(session.ledger)):
        return None
    if not session.features_set or not session.rings or any(ring.kick is not None for ring in session.rings.values()):
        return None
    text = f"expected rings to be started, the front-end stopped after {name} #{no}; nobody owed anything, and "
    return Breach(f"{text}{age(silence)} later the connection ended", who=FRONT_END, no=no, evidence=(no,))


#: bytes that a front-end reads: rust-vmm since 2026; it read 8 before
LOG_ANSWER_RUST = 16


@rule("VU-STL-04", "note", "the answer of SET_LOG_BASE is as long as its front-end reads: it waits for the rest",
      "rust-vmm/vhost #217: 0 bytes of DPDK, 8 of libvhost-user and passt, 16 of rust-vmm",
      on=reply("SET_LOG_BASE"), malformed=True,
      notes="A warning where the front-end is rust-vmm's and comes short; QEMU takes any.")  # fmt: skip
def log_answer(case: Case) -> Outcome:
    size = case.message.size or 0
    if case.memory.peers.known(FRONT_END, ("qemu",)) or not case.first("VU-STL-04"):
        return None
    text = f"{case.name}: expected as many bytes as the front-end reads, came {size}"
    if case.memory.peers.known(FRONT_END, ("rust-vmm",)):
        if size == LOG_ANSWER_RUST:
            return None
        wants = f"{text}; rust-vmm reads {LOG_ANSWER_RUST}, and before 2026 8, and waits for the rest for ever"
        return Breach(wants, who=None, severity="warning")
    return Breach(f"{text}; back-ends answer with 0, 8 or 16, and some front-ends wait for one of these", who=None)
