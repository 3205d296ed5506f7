"""The in-flight region: when it is asked for and handed over, and whether it is large enough."""

from __future__ import annotations

from .gates import FRONT
from .negotiation import PACKED
from .rule import Breach, Case, Outcome, reply, request, rule

GET, SET = FRONT + "GET_INFLIGHT_FD", FRONT + "SET_INFLIGHT_FD"
TRACKING = "vhost-user, Inflight I/O tracking"
#: each time a new file and a new mapping: more often than this and somebody forgets them
MOST_TIMES = 8


def _split(queue_size: int) -> int:
    """Bytes that a queue of a split ring needs at least: a head of 16, and 16 for each descriptor."""
    return 16 + 16 * queue_size


def _packed(queue_size: int) -> int:
    return 32 + 32 * queue_size


@rule(
    "VU-INF-02", "warning", "SET_INFLIGHT_FD hands back what GET_INFLIGHT_FD gave, or a connection before this", SET,
    on=request("GET_INFLIGHT_FD", "SET_INFLIGHT_FD", "SET_VRING_KICK"), bends=("qemu",),
    notes="Asked for, or handed back, again before a ring is started: a note, and more than eight times an error "
    "(CVE-2020-10726, CVE-2022-0669).",
)  # fmt: skip
def never_asked_for(case: Case) -> Outcome:
    name = case.message.name or ""
    times = case.memory.of("VU-INF-02")
    if name == "SET_VRING_KICK":
        # a guest that starts anew has a region of its own
        times.pop("GET_INFLIGHT_FD", None)
        times.pop("SET_INFLIGHT_FD", None)
        return None
    times["asked"] = times.get("asked", False) or name == "GET_INFLIGHT_FD"
    times[name] = count = times.get(name, 0) + 1
    if count in (2, MOST_TIMES + 1):
        each = "makes a file and a mapping" if name == "GET_INFLIGHT_FD" else "is another mapping"
        text = f"{name}: expected once before rings are started, came {count} times; each {each}"
        return Breach(text, severity="note" if count == 2 else "error", harmful=count > 2)
    if name == "GET_INFLIGHT_FD" or not case.sure:
        return None
    if case.before.inflight is not None or case.before.previous is not None:
        return None
    if times["asked"] or not case.first("VU-INF-02"):
        return None
    return "SET_INFLIGHT_FD: expected GET_INFLIGHT_FD before it on a fresh session, there was none"


@rule("VU-INF-03", "error", "SET_INFLIGHT_FD says what the answer of GET_INFLIGHT_FD said",
      "QEMU, hw/virtio/vhost.c, vhost_dev_set_inflight",
      on=(reply("GET_INFLIGHT_FD"), request("SET_INFLIGHT_FD")))  # fmt: skip
def handed_back_changed(case: Case) -> Outcome:
    given = case.memory.of("VU-INF-03")
    fields = case.fields
    came = {name: fields[name] for name in ("mmap_length", "num_queues", "queue_size")}
    if case.message.is_reply:
        given.clear()
        if came["mmap_length"]:
            given.update(came, no=case.message.no)
        return None
    if not given:
        return None
    changed = [name for name in came if came[name] != given[name]]
    if not changed:
        return None
    words = ", ".join(f"{name} {came[name]}, not {given[name]}" for name in changed)
    return Breach(f"SET_INFLIGHT_FD: expected what #{given['no']} answered, came {words}", evidence=(given["no"],))


@rule("VU-INF-04", "warning", "the in-flight region comes between SET_FEATURES and SET_VRING_KICK", SET,
      on=request("GET_INFLIGHT_FD", "SET_INFLIGHT_FD"))  # fmt: skip
def at_the_wrong_time(case: Case) -> Outcome:
    session = case.before
    name = case.name
    if case.sure and not session.features_set:
        return f"{name}: expected after SET_FEATURES, which says whether rings are split or packed, came before"
    started = [number for number, ring in session.rings.items() if ring.started]
    if name == "SET_INFLIGHT_FD" and started:
        return f"{name}: expected before rings are started, ring {started[0]} is"
    return None


@rule(
    "VU-INF-05", "warning", "an in-flight region is for one queue or more, of one descriptor or more, as many as "
    "there are, and has room for all", TRACKING, on=(reply("GET_INFLIGHT_FD"), request("SET_INFLIGHT_FD")),
    notes="More queues than there are, or too little room: an error (CVE-2021-3839).",
)  # fmt: skip
def implausible(case: Case) -> Outcome:
    fields = case.fields
    queues, size, length = fields["num_queues"], fields["queue_size"], fields["mmap_length"]
    if case.message.is_reply and not length:
        return None  # none is given
    if not queues or not size:
        return f"{case.name}: expected queues and descriptors, came {queues} queues of {size}"
    most = case.before.queues
    if most and queues > 2 * most:
        text = f"{case.name}: expected at most {most} queues as GET_QUEUE_NUM said, came {queues}"
        return Breach(text, severity="error")
    one = _packed(size) if (case.before.virtio_agreed or 0) & PACKED else _split(size)
    if length < queues * one and case.sure:
        text = f"{case.name}: expected {queues * one} bytes or more for {queues} queues of {size}, came {length}"
        return Breach(text, severity="error")
    return None


@rule("VU-INF-06", "warning", "the in-flight region's file is as long as offset and size say", TRACKING,
      on=(reply("GET_INFLIGHT_FD"), request("SET_INFLIGHT_FD")))  # fmt: skip
def beyond_file(case: Case) -> Outcome:
    fields = case.fields
    wanted = fields["mmap_offset"] + fields["mmap_length"]
    for fd in case.message.fds[:1]:
        if fd.size is not None and fd.kind in ("memfd", "file") and wanted > fd.size:
            return f"{case.name}: expected a file of {wanted:#x} bytes or more, came {fd.size:#x}"
    return None
