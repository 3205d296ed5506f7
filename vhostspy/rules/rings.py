"""Rings in memory, held against each other from sample to sample: a ring that stands still, a kick that is lost.

Samples come from whoever looks into the memory of a running session (``vhostspy rings``, ``--sample-rings``). They are
moments: what is judged must have lasted, or be so twice. Known habits are no finding: a receive ring that is full of
buffers waits for what has not come.
"""

from __future__ import annotations

from typing import NamedTuple

from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.memory.habits import waits
from vhostspy.memory.inflight import Queue, queue_of
from vhostspy.memory.ring import Ring
from vhostspy.memory.sample import rings_of

from .replies import SECOND, age
from .rule import Breach, Case, Moment, Outcome, Severity, event, reply, rule

AVAILABLE = "VIRTIO 1.3, The Virtqueue Available Ring"
USED = "VIRTIO 1.3, The Virtqueue Used Ring"
NOTIFICATIONS = "VIRTIO 1.3, Available Buffer Notifications"
DESCRIPTORS = "VIRTIO 1.3, The Virtqueue Descriptor Table"
STATES = "vhost-user, Ring states"
SUSPENDED = "vhost-user, Suspended device state"
TRACKING = "vhost-user, Inflight I/O tracking"
#: a ring that has not gone on for so long stands still, as seen in so many samples: a fast one may come by the same
#: place again
STILL_NS = SECOND
STILL_SAMPLES = 3
#: and for so long where the device has seen all that waits: a disk may take its time
SLOW_NS = 10 * SECOND
#: back-ends that move the index behind which they want a kick as soon as they take a request
_SAY = ("libvhost-user",)
SAMPLE = event("sample")
_STOPS = ("GET_VRING_BASE", "GET_VRING_BASE_SKIP_DRAIN")


class Still(NamedTuple):
    """A ring as it was seen last."""

    ring: Ring
    #: the message that started it: a ring that was set up anew is another
    no: int
    #: since when something waits and used is the same, and in how many samples
    since_ns: int
    samples: int = 1
    #: the driver was seen to pass the index at which the device wanted a kick, and the kicks before that
    passed: bool = False
    kicks: int | None = None
    #: the device has been seen to say what it knows of before it was used
    says: bool = False
    #: how bad it was when that was told: 1 a note, 2 more
    told: int = 0


def _standing(moment: Moment) -> list[tuple[Ring, Still]]:
    """The rings of a sample with what is known of how long each has stood still; worked out once a sample."""
    notes = moment.memory.of("VU-MEMR")
    if notes.get("at") == (moment.event.monotonic_ns, id(moment.event)):
        return list(notes["now"])
    rings = notes.setdefault("rings", {})
    now = []
    for ring in rings_of(moment.event.facts):
        last: Still | None = rings.get(ring.number)
        no = _set_up(moment, ring)
        now_ns = moment.event.monotonic_ns
        if last is None or last.no != no:
            still = Still(ring, no, now_ns, says=_says(ring))
        else:
            passed = _passed(last.ring, ring)
            still = last._replace(ring=ring, samples=last.samples + 1, says=last.says or _says(ring))
            if (last.ring.used, last.ring.used_wrap) != (ring.used, ring.used_wrap) or not _waits(last.ring):
                still = still._replace(since_ns=now_ns, samples=1, passed=False, told=0)
            if passed:
                still = still._replace(passed=True, kicks=last.ring.kicks)
        rings[ring.number] = still
        now.append((ring, still))
    notes["now"], notes["at"] = now, (moment.event.monotonic_ns, id(moment.event))
    return now


def _set_up(moment: Moment, ring: Ring) -> int:
    known = moment.after.rings.get(ring.number)
    return 0 if known is None or known.kick is None else known.kick.no


def _waits(ring: Ring) -> bool:
    """The device has something to do here."""
    return bool(ring.in_flight) and ring.started and ring.enabled


def _knows_all(ring: Ring) -> bool:
    """The device has said so, and no kick waits for it."""
    if ring.layout != "split" or ring.available_event is None or ring.no_notify or ring.kick_count:
        return False
    return ring.available_event == ring.available


def _says(ring: Ring) -> bool:
    """The device wants a kick behind more than it has used: it says what it knows of as soon as it does."""
    if ring.layout != "split" or ring.available_event is None or ring.used is None or not ring.in_flight:
        return False
    return 0 < (ring.available_event - ring.used) & 0xFFFF <= ring.in_flight


def _passed(last: Ring, ring: Ring) -> bool:
    """From one sample to the next the driver passed the index behind which a kick was wanted, all the time; before
    that no kick was left that could be taken for this one."""
    if ring.layout != "split" or ring.available is None or last.available is None or last.kick_count != 0:
        return False
    if ring.available_event is None or ring.available_event != last.available_event or ring.used != last.used:
        return False
    return (ring.available - ring.available_event - 1) & 0xFFFF < (ring.available - last.available) & 0xFFFF


def _news(moment: Moment, ring: Ring, still: Still, severity: Severity) -> bool:
    """Whether this is worse than what was told of it; it is now."""
    told = 1 if severity == "note" else 2
    if told <= still.told:
        return False
    notes = moment.memory.of("VU-MEMR")
    notes["rings"][ring.number] = still._replace(told=told)
    notes["now"] = [(one, known._replace(told=told) if one is ring else known) for one, known in notes["now"]]
    return True


def stuck(moment: Moment) -> list[tuple[Ring, Still, int]]:
    """The rings in which something waits that should not, with the time that it has."""
    found = []
    for ring, still in _standing(moment):
        for_ns = moment.event.monotonic_ns - still.since_ns
        if not _waits(ring) or ring.moving or ring.problem or still.samples < STILL_SAMPLES or for_ns < STILL_NS:
            continue
        habit = waits(moment.after.device, ring.number)
        if habit or (habit is None and ring.full):
            continue  # filled, to be used some day
        found.append((ring, still, for_ns))
    return found


def _may_wait(moment: Moment, ring: Ring) -> bool:
    """The device may have nothing to give yet: all is for it to write into, and it is asked in another ring."""
    unknown = waits(moment.after.device, ring.number) is None
    return unknown and bool(ring.receives) and len(moment.after.rings) > 1


def _may_be_well(moment: Moment, ring: Ring) -> bool:
    """Nobody knows which device it is: but requests and their kick are left lying by none."""
    if waits(moment.after.device, ring.number) is not None:
        return False
    return ring.receives is not False or ring.no_notify or not ring.kick_count


def _kick_lost(ring: Ring, still: Still) -> int | None:
    """Who lost a kick: an end; None where none is missing, as far as one can tell."""
    if ring.kick_count != 0 or ring.no_notify or ring.available_event is None or ring.available is None:
        return None
    if ring.layout != "split" or (ring.available - ring.available_event - 1) & 0xFFFF >= ring.size:
        return None  # the device knows of all that is there
    if still.passed and still.kicks is not None and ring.kicks == still.kicks:
        return FRONT_END
    return BACK_END


@rule(
    "VU-MEMR-01", "warning", "a started ring in which buffers wait goes on", STATES, on=SAMPLE,
    notes="Nothing used for a second; a note up to ten where the device says that it has seen all that waits. Rings "
    "that wait by their nature are left out: those to receive. Where the device is not known it is a note, but for "
    "requests whose kick nobody takes.",
)  # fmt: skip
def stands_still(moment: Moment) -> Outcome:
    breaches = []
    for ring, still, for_ns in stuck(moment):
        if _kick_lost(ring, still) is not None:
            continue
        busy = _knows_all(ring) and for_ns < SLOW_NS
        severity: Severity = "note" if busy or _may_be_well(moment, ring) else "warning"
        if not _news(moment, ring, still, severity):
            continue
        text = (
            f"ring {ring.number}: expected the back-end to use what is available, nothing was for {age(for_ns)}: "
            f"available index {ring.available}, used index {ring.used}, {ring.in_flight} in flight"
        )
        if _knows_all(ring):
            text += "; the device has seen all of them"
        elif ring.kick_count and not ring.no_notify:
            text += f"; the kick eventfd counts {ring.kick_count}, which nobody takes"
        elif ring.no_notify:
            text += "; the device wants no kicks"
        elif ring.kick_count == 0:
            text += "; the kick eventfd counts nothing, so its kick was taken, or there was none"
        breaches.append(Breach(text, BACK_END, severity=severity))
    return breaches


@rule(
    "VU-MEMR-02", "error", "a kick leads to a look at the ring", NOTIFICATIONS, on=SAMPLE,
    notes="The device asked to be told of these buffers, its eventfd counts nothing, and it does not go on. A warning "
    "where it took the kick and may be busy: of devices that say what they know of only when they are done. A note "
    "where the device is not known, and all is for it to write into in one of several rings.",
)  # fmt: skip
def kick_lost(moment: Moment) -> Outcome:
    breaches = []
    for ring, still, for_ns in stuck(moment):
        who = _kick_lost(ring, still)
        # a device may be busy with the first of them, and say so only when it is done
        says = still.says or moment.memory.peers.known(BACK_END, _SAY) is not None
        severity: Severity = "error" if says or who == FRONT_END else "warning"
        if who == BACK_END and _may_wait(moment, ring):
            severity = "note"
        if who is None or not _news(moment, ring, still, severity):
            continue
        what = "the kick was taken from the eventfd" if who == BACK_END else "no kick was seen"
        breaches.append(Breach(
            f"ring {ring.number}: expected a kick behind index {ring.available_event} to be followed by the back-end, "
            f"{what} and nothing was used for {age(for_ns)}: available index {ring.available}, used index {ring.used}",
            who, severity=severity,
        ))  # fmt: skip
    return breaches


@rule("VU-MEMR-03", "error", "available is at most a ring's size ahead of used", AVAILABLE, on=SAMPLE,
      notes="Seen in two samples that follow each other.")  # fmt: skip
def too_far_ahead(moment: Moment) -> Outcome:
    return _twice(moment, "VU-MEMR-03", lambda ring: _ahead(ring) > ring.size and not _behind(ring), FRONT_END, (
        "ring {0.number}: expected at most {0.size} buffers ahead of used index {0.used}, came available index "
        "{0.available}"
    ))  # fmt: skip


@rule("VU-MEMR-04", "error", "a device uses only what was made available", USED, on=SAMPLE,
      notes="Seen in two samples that follow each other.")  # fmt: skip
def used_without_available(moment: Moment) -> Outcome:
    return _twice(moment, "VU-MEMR-04", _behind, BACK_END, (
        "ring {0.number}: expected used index up to available index {0.available}, came {0.used}"
    ))  # fmt: skip


def _ahead(ring: Ring) -> int:
    if ring.layout != "split" or ring.available is None or ring.used is None:
        return 0
    return (ring.available - ring.used) & 0xFFFF


def _behind(ring: Ring) -> bool:
    """Used is ahead of available by at most half the numbers; the largest ring is as large as that."""
    return _ahead(ring) > ring.size and _ahead(ring) >= 0x8000


def _twice(moment: Moment, rule_id: str, wrong: object, who: int, text: str) -> Outcome:
    before = moment.memory.of(rule_id)
    breaches = []
    for ring in rings_of(moment.event.facts):
        if not callable(wrong) or not wrong(ring) or not ring.started:
            before.pop(ring.number, None)
            continue
        before[ring.number] = before.get(ring.number, 0) + 1
        if before[ring.number] == 2:
            breaches.append(Breach(text.format(ring), who))
    return breaches


@rule("VU-MEMR-05", "error", "descriptors lead to memory, and to an end", DESCRIPTORS, on=SAMPLE,
      notes="Of chains in flight, seen twice: an address in no region, a number outside, a loop.")  # fmt: skip
def bad_chain(moment: Moment) -> Outcome:
    before = moment.memory.of("VU-MEMR-05")
    breaches = []
    for ring in rings_of(moment.event.facts):
        # a chain that is used and linked anew while it is followed looks wrong, once
        seen = (ring.chain, ring.used, ring.available) if ring.chain and ring.started else None
        again = seen is not None and before.get(ring.number) == seen
        before[ring.number] = seen
        if again and moment.first("VU-MEMR-05", ring.number, ring.chain):
            text = f"ring {ring.number}: expected a chain of descriptors that the device can follow, {ring.chain}"
            breaches.append(Breach(text, FRONT_END))
    return breaches


@rule("VU-MEMR-06", "warning", "an index goes forward, and by no more than the ring's size at once", AVAILABLE,
      on=SAMPLE, notes="Judged from sample to sample, while the used index stands.")  # fmt: skip
def jumps(moment: Moment) -> Outcome:
    before: dict[int, tuple[Ring, int]] = moment.memory.of("VU-MEMR-06")
    breaches = []
    for ring in rings_of(moment.event.facts):
        last, no = before.pop(ring.number, (None, 0))
        if ring.layout != "split" or not ring.started or ring.problem or ring.available is None:
            continue
        before[ring.number] = ring, _set_up(moment, ring)
        if last is None or last.available is None or ring.used != last.used or no != _set_up(moment, ring):
            continue
        moved = (ring.available or 0) - last.available & 0xFFFF
        if moved > ring.size:
            breaches.append(Breach(
                f"ring {ring.number}: expected available index {last.available} or up to {ring.size} more while used "
                f"index {ring.used} stands, came {ring.available}", FRONT_END,
            ))  # fmt: skip
    return breaches


@rule(
    "VU-MEMR-07", "note", "GET_VRING_BASE answers with where the ring stopped", STATES, on=(SAMPLE, reply(*_STOPS)),
    notes="By the first sample after it, within half a second, of split rings. The memory may be used anew by then.",
)  # fmt: skip
def stopped_elsewhere(moment: Moment | Case) -> Outcome:
    answered = moment.memory.of("VU-MEMR-07")
    if isinstance(moment, Case):
        fields, message = moment.fields, moment.message
        if "num" in fields:
            answered[fields.get("index")] = (fields["num"] & 0xFFFF, message.no, message.monotonic_ns)
        return None
    breaches = []
    for ring in rings_of(moment.event.facts):
        base, no, when = answered.pop(ring.number, (None, 0, 0))
        if base is None or ring.started or ring.layout != "split" or ring.used is None or ring.available is None:
            continue
        if moment.event.monotonic_ns - when > SECOND // 2 or ring.problem or not ring.available:
            continue  # too late, or wiped
        if (ring.available - base) & 0xFFFF > ring.size or (base - ring.used) & 0xFFFF > ring.size:
            text = (
                f"GET_VRING_BASE: expected ring {ring.number} between used index {ring.used} and available index "
                f"{ring.available}, came {base}"
            )
            breaches.append(Breach(text, BACK_END, evidence=(no,), no=no))
    return breaches


@rule("VU-RUN-04", "warning", "once all rings are stopped nobody is notified any more", SUSPENDED, on=SAMPLE,
      notes="Calls between two samples with all rings stopped. Front-ends may signal them, too.")  # fmt: skip
def calls_while_stopped(moment: Moment) -> Outcome:
    last: dict[int, int] = moment.memory.of("VU-RUN-04")
    rings = rings_of(moment.event.facts)
    # of many rings a sample is several records
    here = {ring.number for ring in rings}
    others = any(ring.started for number, ring in moment.after.rings.items() if number not in here)
    if others or any(ring.started for ring in rings) or not rings:
        last.clear()
        return None
    breaches = []
    for ring in rings:
        before = last.get(ring.number)
        if ring.calls is not None:
            last[ring.number] = ring.calls
            if before is not None and ring.calls > before and moment.first("VU-RUN-04", ring.number):
                text = f"ring {ring.number}: expected no calls while all rings are stopped, came {ring.calls - before}"
                breaches.append(Breach(text, None))
    return breaches


def _queues(moment: Moment) -> list[Queue]:
    listed = moment.event.facts.get("inflight")
    found = [queue_of(one) for one in listed] if isinstance(listed, list) else []
    return [queue for queue in found if queue is not None]


@rule("VU-INF-07", "note", "the in-flight region's used index is the ring's, once it is stopped", TRACKING, on=SAMPLE,
      notes="A back-end that starts again does the last batch once more.")  # fmt: skip
def used_index_differs(moment: Moment) -> Outcome:
    rings = {ring.number: ring for ring in rings_of(moment.event.facts)}
    breaches = []
    for queue in _queues(moment):
        ring = rings.get(queue.number)
        if ring is None or ring.started or ring.layout != "split" or ring.used is None or queue.fresh:
            continue
        if queue.used_index != ring.used and moment.first("VU-INF-07", queue.number):
            text = f"in-flight region, queue {queue.number}: expected used index {ring.used} as in the ring, came "
            breaches.append(Breach(f"{text}{queue.used_index}; a restart does that batch again", BACK_END))
    return breaches


@rule("VU-INF-08", "warning", "a fresh in-flight region is empty", TRACKING, on=SAMPLE,
      notes="One that GET_INFLIGHT_FD has just answered with, before a ring is started.")  # fmt: skip
def not_empty(moment: Moment) -> Outcome:
    region = moment.after.inflight
    if region is None or any(ring.started for ring in moment.after.rings.values()):
        return None
    if moment.memory.of("VU-INF-03").get("no") != region.no:
        return None  # handed over, so that it is gone on with
    breaches = []
    for queue in _queues(moment):
        if queue.heads and moment.first("VU-INF-08", queue.number):
            text = (
                f"in-flight region, queue {queue.number}: expected no entries in a fresh one, came {len(queue.heads)}"
            )
            breaches.append(Breach(text, BACK_END, evidence=(region.no,)))
    return breaches
