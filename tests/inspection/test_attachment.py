"""A viewer of a running relay: what it sees of rings, and what it holds for how long."""

from __future__ import annotations

import os
import resource
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.relay.harness import Relayed, message, receive
from vhostspy.inspection.attachment import POSTCOPY, Attachment
from vhostspy.inspection.sampling import event_of, in_records, put
from vhostspy.memory.inflight import Queue
from vhostspy.memory.sample import rings_of
from vhostspy.message import Event
from vhostspy.rules.engine import Rules

from .driver import (
    ADD_MEM_REG,
    AVAILABLE,
    GET_VRING_BASE,
    GUEST,
    IOTLB_MSG,
    POSTCOPY_END,
    POSTCOPY_LISTEN,
    REM_MEM_REG,
    SET_INFLIGHT_FD,
    SET_LOG_BASE,
    SET_MEM_TABLE,
    SIZE,
    USER,
    Pair,
)


@pytest.fixture
def pair(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder, keep_memory=True) as relayed, Pair(relayed) as made:
        yield made


def held(name: str) -> int:
    """Descriptors and mappings of that memfd in this process: the test's own, the relay's, the viewer's."""
    found = Path("/proc/self/maps").read_text().count(f"/memfd:{name}")
    for number in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{number}").startswith(f"/memfd:{name}")
        except OSError:
            pass
    return found


def test_indices(pair: Pair) -> None:
    pair.set_up()
    attachment = pair.attach()
    for head in range(3):
        pair.make_available(head)
    pair.use(0)
    (seen,) = attachment.look()
    (ring,) = seen.rings
    assert (ring.number, ring.size, ring.available, ring.used, ring.in_flight) == (0, 64, 3, 1, 2)
    assert (ring.started, ring.enabled, ring.problem) == (True, True, "")
    assert [chain.head for chain in attachment.open_chains(seen.session, ring)] == [2, 1]


def test_a_glance_is_live(pair: Pair) -> None:
    pair.set_up()
    attachment = pair.attach()
    assert list(attachment.glance()) == [], "nothing was looked at yet"
    attachment.look()
    assert list(attachment.glance()) == [(1, 0, 0)]
    pair.use(0)
    assert list(attachment.glance()) == [(1, 0, 1)]
    pair.say(SET_MEM_TABLE, struct.pack("=II", 0, 0))
    pair.passed()
    assert list(attachment.glance()) == []


def test_kicks_are_counted_and_stay_for_the_back_end(pair: Pair) -> None:
    pair.set_up()
    attachment = pair.attach()
    attachment.look()
    for count in range(1, 4):
        pair.make_available(count)
        assert attachment.notifications.poll(1)
        ring = attachment.look()[0].rings[0]
        assert (ring.kicks, ring.kick_count) == (count, count)
    assert os.eventfd_read(pair.kick) == 3, "nobody took any"
    ring = attachment.look()[0].rings[0]
    assert (ring.kicks, ring.kick_count) == (3, 0)
    os.eventfd_write(pair.call, 1)
    assert attachment.notifications.poll(1)
    ring = attachment.look()[0].rings[0]
    assert (ring.calls, ring.call_count) == (1, 1)


def test_what_was_kicked_before_is_not_counted(pair: Pair) -> None:
    pair.set_up()
    pair.make_available(0)
    attachment = pair.attach()
    ring = attachment.look()[0].rings[0]
    assert (ring.kicks, ring.kick_count) == (0, 1)


def test_memory_is_let_go_with_its_table(pair: Pair) -> None:
    pair.set_up()
    pair.attach().look()
    before = held("guest")
    assert before == 3  # the test's, the keeper's, the viewer's
    pair.say(SET_MEM_TABLE, struct.pack("=II", 0, 0))
    pair.passed().look()
    pair.relayed.call(pair.relayed.relay.writer.settle)
    assert held("guest") == 1


def test_a_session_that_ends_is_seen_as_it_was_left(pair: Pair) -> None:
    pair.set_up()
    attachment = pair.attach()
    for head in range(3):
        pair.make_available(head)
    pair.use(1)
    attachment.look()
    pair.leave()
    pair.passed()
    (seen,) = attachment.endings
    assert (seen.rings[0].available, seen.rings[0].used) == (3, 1)
    assert seen.requests == {0: ["read 0 sectors at 0", "read 0 sectors at 0"]}
    assert attachment.look() == []
    assert held("guest") == 1, "only the test's"
    assert attachment.follow() == [] and attachment.endings == []


def test_in_postcopy_nothing_is_touched_or_held(pair: Pair) -> None:
    pair.set_up()
    attachment = pair.attach()
    attachment.look()
    assert held("guest") > 2
    pair.say(POSTCOPY_LISTEN)
    (seen,) = pair.passed().look()
    assert (seen.rings, seen.why) == ((), POSTCOPY)
    assert held("guest") == 2, "the test's and the keeper's"
    pair.say(POSTCOPY_END)
    (seen,) = pair.passed().look()
    assert seen.rings[0].available == 0


def test_a_hole_that_is_read_stays_a_hole(pair: Pair) -> None:
    """Descriptors and data are read without making pages; of rings only what is there."""
    pair.set_up()
    pair.make_available(0)
    pages = os.fstat(pair.file).st_blocks
    attachment = pair.attach()
    (seen,) = attachment.look()
    attachment.with_requests(seen)
    used_page = 8  # the used ring is the guest's in time, and may be made by our look at it
    assert os.fstat(pair.file).st_blocks - pages <= used_page


def test_a_file_that_is_cut_off(pair: Pair) -> None:
    pair.set_up()
    os.ftruncate(pair.file, 0x4000)
    (seen,) = pair.attach().look()
    assert "file ends before" in seen.rings[0].problem


def test_a_file_that_is_cut_off_while_it_is_watched(pair: Pair) -> None:
    """Reading a mapping of it would end the process (SIGBUS)."""
    pair.set_up()
    attachment = pair.attach()
    attachment.look()
    assert list(attachment.glance()) == [(1, 0, 0)]
    os.ftruncate(pair.file, 0x4000)
    assert list(attachment.glance()) == []
    assert "file ends before" in attachment.look()[0].rings[0].problem
    os.ftruncate(pair.file, SIZE)
    pair.make_available(3)
    assert attachment.look()[0].rings[0].available == 1


def test_a_file_that_is_shorter_than_its_region(pair: Pair) -> None:
    pair.set_up()
    os.ftruncate(pair.file, 0x4000)
    attachment = pair.attach()
    assert "file ends before" in attachment.look()[0].rings[0].problem
    assert list(attachment.glance()) == []


def test_a_table_of_which_a_region_was_removed(pair: Pair) -> None:
    """The others keep their files."""
    other = os.memfd_create("other")
    os.ftruncate(other, SIZE)
    regions = ((GUEST + (1 << 32), SIZE, USER + (1 << 32), 0), (GUEST, SIZE, USER, 0))
    payload = struct.pack("=II", 2, 0) + b"".join(struct.pack("=4Q", *region) for region in regions)
    pair.set_up()
    pair.say(SET_MEM_TABLE, payload, [other, pair.file])
    os.close(other)
    pair.make_available(3)
    attachment = pair.attach()
    assert attachment.look()[0].rings[0].available == 1
    pair.say(REM_MEM_REG, struct.pack("=Q4Q", 0, *regions[0]))
    assert pair.passed().look()[0].rings[0].available == 1
    attachment.close()
    assert pair.attach().look()[0].rings[0].available == 1


def test_hundreds_of_regions_come_and_go(pair: Pair) -> None:
    """Which is more than one answer of the relay brings; all of one file, so one descriptor will do."""
    places = [struct.pack("=Q4Q", 0, GUEST + (at << 32), SIZE, USER + (at << 32), 0) for at in range(300)]
    pair.set_up()
    pair.say(SET_MEM_TABLE, struct.pack("=II", 0, 0))
    for place in places:
        pair.say(ADD_MEM_REG, place, [pair.file])
    attachment = pair.attach()
    pair.make_available(3)
    (seen,) = attachment.look()
    assert (seen.rings[0].available, seen.why) == (1, "")
    assert list(attachment.glance()) == [(1, 0, 0)]
    memory = attachment.memory(seen.session)
    assert memory.octets(GUEST + (299 << 32) + AVAILABLE, 4) == b"\0\0\1\0"
    for place in places[1:]:
        pair.say(REM_MEM_REG, place)
    assert pair.passed().look()[0].rings[0].available == 1
    pair.say(REM_MEM_REG, places[0])
    assert "is in no region" in pair.passed().look()[0].rings[0].problem
    pair.relayed.call(pair.relayed.relay.writer.settle)
    assert held("guest") == 1


def test_a_process_that_may_not_have_so_many_files_open_says_so(pair: Pair) -> None:
    pair.set_up()
    attachment = pair.attach()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(pair.file)
    os.close(lowest)
    refused = 0
    try:
        for limit in range(lowest, soft):  # at first none may be opened, then one, then two...
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            (seen,) = attachment.look()
            if not seen.why:
                break
            assert "not have so many files open" in seen.why or "Too many open files" in seen.why
            refused += 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert refused
    assert attachment.look()[0].rings[0].problem == ""


@pytest.mark.parametrize("size, offset", [(1 << 63, 0), ((1 << 64) - 1, (1 << 64) - 1), (0, 0), (7, 0), (1 << 40, 3)])
def test_an_in_flight_region_and_a_log_of_any_size(pair: Pair, size: int, offset: int) -> None:
    pair.set_up()
    pair.say(SET_LOG_BASE, struct.pack("=QQ", size, offset), [pair.file])
    pair.say(2, struct.pack("=Q", 1 << 26 | 1 << 30 | 1 << 32 | 1 << 29))
    pair.say(SET_INFLIGHT_FD, struct.pack("=QQHH", size, offset, 1, 64), [pair.file])
    (seen,) = pair.attach().look()
    assert seen.rings[0].available == 0


def test_what_was_translated_is_known_after_postcopy(pair: Pair) -> None:
    pair.set_up()
    pair.say(2, struct.pack("=Q", 1 << 33 | 1 << 30 | 1 << 32 | 1 << 29))
    attachment = pair.attach()
    assert "is not translated" in attachment.look()[0].rings[0].problem
    pair.say(IOTLB_MSG, struct.pack("=QQQBB6x", USER, SIZE, USER, 3, 2))
    pair.make_available(0)
    assert pair.passed().look()[0].rings[0].available == 1
    pair.say(POSTCOPY_LISTEN)
    pair.passed().look()
    pair.say(POSTCOPY_END)
    assert pair.passed().look()[0].rings[0].available == 1


def test_of_a_session_in_which_nobody_has_spoken_nothing_is_said(pair: Pair) -> None:
    """It may become one that has no rings, but that is not known yet."""
    attachment = pair.attach()
    (session,) = attachment.sessions
    silent, served = (session._replace(protocol=name) for name in ("", "vfio-user"))
    assert attachment.look_at(silent)[3:5] == ((), "")
    assert attachment.look_at(served)[3:5] == ((), "vfio-user has no rings")


def test_the_dirty_log(pair: Pair) -> None:
    pair.set_up()
    log = os.memfd_create("log")
    os.ftruncate(log, 4096)
    pair.say(SET_LOG_BASE, struct.pack("=QQ", 4096, 0), [log])
    pair.say(2, struct.pack("=Q", 1 << 26 | 1 << 30 | 1 << 32 | 1 << 29))
    os.pwrite(log, b"\x03", 0x100 // 8)
    (seen,) = pair.attach().look()
    assert [(one.guest_address, one.pages, one.dirty) for one in seen.dirty] == [(0x10_0000, 256, 2)]
    os.close(log)


def watched(pair: Pair, attachment: Attachment, most: int) -> list[Event]:
    """Samples twenty times a second, so many, or until one has a finding."""
    events: list[Event] = []
    while len(events) < most and not any(event.findings for event in events):
        attachment.notifications.poll(0.05)
        pair.passed()
        events += [event_of(seen, attachment.pipeline) for seen in attachment.look()]
    return events


def test_a_kick_that_a_back_end_took_twice_is_named_within_two_seconds(pair: Pair) -> None:
    """It reads its eventfd, looks at the ring, and reads once more before it waits: what came between is lost."""
    pair.set_up()
    attachment = pair.attach(Rules())
    watched(pair, attachment, 4)
    pair.make_available(0)
    os.eventfd_read(pair.kick)
    pair.use(0)
    pair.wants_kicks_behind(1)
    pair.make_available(1)
    os.eventfd_read(pair.kick)
    begun = time.monotonic_ns()
    events = watched(pair, attachment, 400)
    (finding,) = events[-1].findings
    # it takes three looks, and on a busy machine they may be later than that
    assert sum(event.monotonic_ns - begun > 2_000_000_000 for event in events) <= 3
    # this one may be busy with what it took: it says what it knows of only when it has done it
    assert (finding.rule, finding.severity, finding.who) == ("VU-MEMR-02", "warning", 1)
    assert "ring 0" in finding.text and "available index 2, used index 1" in finding.text


@pytest.mark.parametrize("kicked, severity, who", [(False, "error", 0), (True, "warning", 1)])
def test_a_kick_that_the_front_end_forgot(pair: Pair, kicked: bool, severity: str, who: int) -> None:
    """One that came was seen, though the back-end took it at once."""
    pair.set_up()
    attachment = pair.attach(Rules())
    pair.make_available(0)
    os.eventfd_read(pair.kick)
    pair.use(0)
    pair.wants_kicks_behind(1)
    watched(pair, attachment, 4)
    pair.word(0x4004 + 2, 1)
    pair.word(0x4002, 2)  # available
    if kicked:
        os.eventfd_write(pair.kick, 1)
        os.eventfd_read(pair.kick)
    events = watched(pair, attachment, 400)
    (finding,) = events[-1].findings
    assert (finding.rule, finding.severity, finding.who) == ("VU-MEMR-02", severity, who)


def test_samples_in_the_capture_are_what_was_seen(pair: Pair) -> None:
    pair.set_up()
    attachment = pair.attach()
    pair.make_available(0)
    (seen,) = attachment.look()
    put(attachment, seen)
    pair.relayed.call(lambda: pair.relayed.relay.writer.flush())
    (event,) = [item for item in attachment.follow() if isinstance(item, Event)]
    assert (event.event, event.session, event.text) == ("sample", 1, "ring 0: 1 available, 0 used")
    assert rings_of(event.facts) == seen.rings


def test_samples_of_many_rings_in_a_bad_state_all_fit_their_records(pair: Pair) -> None:
    """One that does not would be refused, and the sampler would take that for its end."""
    pair.set_up()
    attachment = pair.attach()
    (seen,) = attachment.look()
    (ring,) = seen.rings
    rings = tuple(ring._replace(number=number, problem="p" * 200, chain="c" * 300) for number in range(100))
    requests = {number: [f"{number} " + "r" * 90] * 8 for number in range(100)}
    queues = tuple(Queue(number, 1, 64, 1, tuple(range(64))) for number in range(100))
    whole = seen._replace(rings=rings, requests=requests, inflight=queues)
    put(attachment, whole)
    pair.relayed.call(lambda: pair.relayed.relay.writer.flush())
    events = [item for item in attachment.follow() if isinstance(item, Event)]
    assert [one for event in events for one in rings_of(event.facts)] == list(rings)
    told = {ring: texts for event in events for ring, texts in event.facts["requests"].items()}
    assert told == {str(number): texts for number, texts in requests.items()}
    (alone,) = in_records(whole._replace(rings=rings[:1], requests={0: ["r" * 20_000]}))
    assert [one["ring"] for one in alone["rings"]] == [0] and "requests" not in alone


def test_a_relay_that_is_gone_is_noticed(pair: Pair) -> None:
    attachment = pair.attach()
    assert not attachment.ended
    pair.relayed.call(pair.control.close)
    attachment.follow()
    assert attachment.ended


def test_rings_that_stop_are_noticed(pair: Pair) -> None:
    pair.set_up()
    attachment = pair.attach()
    assert not attachment.stopped
    pair.say(GET_VRING_BASE, struct.pack("=II", 0, 0))
    pair.back.sendall(message(GET_VRING_BASE, struct.pack("=II", 0, 0), reply=True))
    receive(pair.front)
    assert pair.passed().stopped
    assert not pair.passed().stopped
