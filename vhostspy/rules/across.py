"""One connection and the one before it on the same sockets: what a reconnect has to bring back."""

from __future__ import annotations

from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.session.state import Session

from .gates import FRONT
from .negotiation import LOG_ALL, protocol_names, virtio_names
from .replies import SECOND, age
from .rule import Breach, Case, Moment, Outcome, event, reply, request, rule
from .running import FRESH

COMMUNICATION = "vhost-user, Communication"
RECONNECT = "QEMU, hw/virtio/vhost-user.c: what was agreed on is kept over a reconnect"


def _earlier(case: Case) -> Session | None:
    """The connection before, where both are known from their beginnings."""
    earlier = case.before.previous
    return earlier if earlier is not None and earlier.whole and case.sure else None


def _alive(earlier: Session) -> bool:
    """Nobody has closed it yet."""
    return earlier.ended is None


@rule("VU-SES-04", "note", "a back-end has one connection at a time", COMMUNICATION,
      on=request("GET_FEATURES", "SET_OWNER"), malformed=True,
      notes="The second one is served, refused, or left alone: back-ends differ (VPP-418, SPDK #3519).")  # fmt: skip
def parallel(case: Case) -> Outcome:
    earlier = _earlier(case)
    if earlier is None or not _alive(earlier) or not case.first("VU-SES-04"):
        return None
    return f"expected one connection at a time, session {earlier.number} on the same sockets is still there"


@rule("VU-RC-01", "note", "a front-end connects once", COMMUNICATION, on=request("GET_FEATURES", "SET_OWNER"),
      malformed=True, notes="A reconnect is normal: all is negotiated and set up anew.")  # fmt: skip
def reconnected(case: Case) -> Outcome:
    earlier = _earlier(case)
    if earlier is None or _alive(earlier) or not case.first("VU-RC-01"):
        return None
    ended = earlier.ended
    how = ""
    if ended is not None and ended.sender is not None:
        end = "back-end" if ended.sender else "front-end"
        how = f", which the {end} {'reset' if ended.how == 'reset' else 'closed'}"
    return f"expected one connection, this is another after session {earlier.number}{how}"


@rule("VU-RC-02", "warning", "after a reconnect rings have the size that they had", RECONNECT,
      on=request("SET_VRING_NUM"), notes="Memory slots: VU-MEM-14. Features: VU-SES-01.")  # fmt: skip
def other_size(case: Case) -> Outcome:
    earlier = _earlier(case)
    if earlier is None:
        return None
    index, num = case.fields["index"], case.fields["num"]
    was = earlier.rings.get(index)
    if was is None or was.size is None or was.size == num or not case.first("VU-RC-02", index):
        return None
    return f"SET_VRING_NUM: expected {was.size} for ring {index} as on the connection before, came {num}"


@rule("VU-SES-01", "warning", "after a reconnect as much is offered and acknowledged as before", RECONNECT,
      on=(request("SET_FEATURES", "SET_PROTOCOL_FEATURES"), reply("GET_FEATURES", "GET_PROTOCOL_FEATURES")),
      notes="LOG_ALL comes and goes with migrations.")  # fmt: skip
def shrunk(case: Case) -> Outcome:
    earlier = _earlier(case)
    if earlier is None or not case.first("VU-SES-01", case.message.name, case.message.kind):
        return None
    protocol = "PROTOCOL" in (case.message.name or "")
    came = case.fields["protocol_features" if protocol else "features"]
    if case.message.is_reply:
        was = earlier.protocol_offered if protocol else earlier.virtio_offered
    elif protocol:
        was = earlier.protocol_agreed
    else:
        was = (earlier.virtio_agreed or 0) & ~LOG_ALL if earlier.features_set else None
    lost = (was or 0) & ~came
    if not lost:
        return None
    names = protocol_names(lost) if protocol else virtio_names(lost)
    return f"{case.name}: expected all bits of session {earlier.number}, missing are {names}"


@rule("VU-SES-02", "warning", "after a reconnect rings go on where they stopped", FRONT + "SET_VRING_BASE",
      on=request("SET_VRING_BASE"), bends=("cloud-hypervisor",),
      notes="Judged where the back-end said where: GET_VRING_BASE was its last word. From 0 after it: a note.",
      )  # fmt: skip
def other_base(case: Case) -> Outcome:
    earlier = _earlier(case)
    ring = case.after.rings.get(case.fields["index"])
    if earlier is None or ring is None or ring.base is None:
        return None
    was = earlier.rings.get(ring.number)
    if was is None or was.base is None or was.started or was.kick is None or was.base == ring.base:
        return None
    if not case.first("VU-SES-02", ring.number):
        return None
    text = f"SET_VRING_BASE: expected ring {ring.number} to go on at {was.base} as in session {earlier.number}"
    return Breach(f"{text}, came {ring.base}", severity="note" if ring.base in FRESH else None)


@rule("VU-SES-03", "warning", "after a reconnect the in-flight region comes back before rings are started",
      "vhost-user, Inflight I/O tracking", on=request("SET_VRING_KICK"))  # fmt: skip
def inflight_lost(case: Case) -> Outcome:
    earlier = _earlier(case)
    if earlier is None or earlier.inflight is None or not earlier.inflight.size or not _unclean(earlier):
        return None
    if case.memory.of("VU-INF-03") or case.before.inflight is not None or not case.first("VU-SES-03"):
        return None
    text = f"SET_VRING_KICK: expected SET_INFLIGHT_FD before it, with the region of session {earlier.number}: requests "
    return f"{text}that were under way are lost without"


#: so many times the pause before it came again, and at least so long, a front-end may stay away
STAYS_AWAY_TIMES, STAYS_AWAY_NS = 3, 10 * SECOND


@rule(
    "VU-SES-05", "note", "a front-end that has connected again once does so each time",
    "QEMU f02a4b8e64, 6eaf0e612b: a reconnect that fails half way was the last one", on=event("end"),
    notes="Judged at the relay's end, where the same process has come again before and the back-end closed, or the "
    "handshake broke. Whether that process was ended meanwhile is not to be seen.",
)  # fmt: skip
def never_again(moment: Moment) -> Outcome:
    session = moment.before
    earlier, ended = session.previous, session.ended
    if earlier is None or earlier.ended is None or ended is None or not (session.whole and earlier.whole):
        return None
    front = session.peers[FRONT_END]
    if not front.pid or front.pid != earlier.peers[FRONT_END].pid or front.path not in moment.event.facts["listen"]:
        return None  # another one, or it is the relay that connects
    if ended.sender != BACK_END and session.features_set:
        return None  # it has left
    pause, away = session.opened_ns - earlier.ended.at_ns, moment.event.time_ns - ended.at_ns
    if pause < 0 or away < max(STAYS_AWAY_NS, STAYS_AWAY_TIMES * pause):
        return None
    how = "" if session.features_set else ", which ended in the handshake"
    text = (
        f"expected the front-end (process {front.pid}) to connect again after session {session.number}{how}, as it did "
        f"{age(pause)} after session {earlier.number}; nothing came for {age(away)}: it has given up, or was ended"
    )
    return Breach(text, who=FRONT_END, no=ended.last, evidence=(ended.last,))


def _unclean(earlier: Session) -> bool:
    """Rings were started when it ended, so requests may have been under way."""
    return any(ring.started for ring in earlier.rings.values())
