"""Rings as they are seen in memory, sample by sample."""

from __future__ import annotations

from typing import Any

import pytest

from ..pipeline.conversation import SECOND
from .steps import BACK, FRONT, MODERN, kick, running, set_up, stop, with_memory
from .talk import Talk, broken

TRACKING = 1 << 12


def guest(device: str | None = "block", protocol: int = 0) -> Talk:
    """A ring is under way, of a device that we know."""
    talk = running(protocol)
    session = talk.pipeline.sessions[1]
    talk.pipeline.sessions[1] = session._replace(
        context=session.context._replace(device=device), device_given=device is not None
    )
    return talk


def ring(available: int, used: int, number: int = 0, size: int = 256, **more: Any) -> dict[str, Any]:
    ahead = (available - used) & 0xFFFF
    known = {"in_flight": ahead} if ahead <= size else {"problem": "too far ahead"}
    return {"ring": number, "layout": "split", "size": size, "started": True, "enabled": True, "available": available,
            "used": used, **known, **more}  # fmt: skip


def look(talk: Talk, *rings: dict[str, Any], after_s: float = 0.5, **more: Any) -> None:
    talk.pause(int(after_s * SECOND))
    talk.event("sample", rings=list(rings), **more)


def texts(talk: Talk, rule: str) -> list[str]:
    return [one.text for one in talk.findings if one.rule == rule]


def test_a_ring_that_stands_still_with_its_kick_untaken() -> None:
    """SIGSTOP: the guest has kicked, nobody reads the eventfd."""
    talk = guest()
    look(talk, ring(7, 7, kick_count=0))
    for _ in range(5):
        look(talk, ring(10, 7, kick_count=1))
    assert broken(talk, "VU-MEMR-01") == [("warning", BACK, 0)]  # once
    assert broken(talk, "VU-MEMR-02") == []
    (text,) = texts(talk, "VU-MEMR-01")
    assert "ring 0" in text and "available index 10, used index 7, 3 in flight" in text
    assert "counts 1, which nobody takes" in text


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param([(10, 7), (10, 8), (10, 9), (10, 10)], id="it goes on"),
        pytest.param([(10, 10)] * 6, id="nothing waits"),
        pytest.param([(10, 10)] * 6 + [(11, 10)] * 2, id="what waits came just now"),
    ],
)
def test_rings_that_are_well(seen: list[tuple[int, int]]) -> None:
    talk = guest()
    for available, used in seen:
        look(talk, ring(available, used, kick_count=0))
    assert broken(talk, "VU-MEMR-01") == []
    assert broken(talk, "VU-MEMR-02") == []


@pytest.mark.parametrize(
    "device, number, available, severity",
    [
        ("net", 0, 256, None),  # full, to receive into
        ("net", 0, 200, None),
        ("net", 1, 200, "warning"),
        ("vsock", 2, 8, None),
        ("fs", 1, 3, "warning"),
        (None, 0, 3, "note"),
        (None, 0, 256, None),
    ],
)
def test_what_may_wait_by_its_nature(device: str | None, number: int, available: int, severity: str | None) -> None:
    talk = guest(device)
    for _ in range(4):
        look(talk, ring(available, 0, number))
    assert [one[0] for one in broken(talk, "VU-MEMR-01")] == [severity] * (severity is not None)


@pytest.mark.parametrize(
    "more, severity",
    [
        ({"kick_count": 1, "receives": False}, "warning"),
        ({"kick_count": 1, "receives": True}, "note"),
        ({"kick_count": 1}, "note"),
        ({"kick_count": 0, "receives": False}, "note"),
        ({"kick_count": 1, "receives": False, "no_notify": True}, "note"),
    ],
)
def test_requests_of_a_device_that_nobody_knows(more: dict[str, Any], severity: str) -> None:
    """virtiofsd is stopped; nothing on the wire says that it has a file system."""
    talk = guest(None)
    for _ in range(5):
        look(talk, ring(3, 0, 1, **more))
    assert [one[0] for one in broken(talk, "VU-MEMR-01")] == [severity]


@pytest.mark.parametrize("for_s, expected", [(3, ["note"]), (9, ["note"]), (11, ["note", "warning"])])
def test_a_slow_disk_that_has_seen_all_that_waits(for_s: int, expected: list[str]) -> None:
    """One request takes its time: its device wants to be kicked behind it."""
    talk = guest()
    look(talk, ring(7, 7, kick_count=0, available_event=7))
    for _ in range(2 * for_s):
        look(talk, ring(8, 7, kick_count=0, available_event=8))
    assert [one[0] for one in broken(talk, "VU-MEMR-01")] == expected
    assert broken(talk, "VU-MEMR-02") == []
    assert "the device has seen all of them" in texts(talk, "VU-MEMR-01")[0]


def test_what_comes_while_a_disk_is_slow_and_is_not_taken() -> None:
    talk = guest()
    look(talk, ring(7, 7, kick_count=0, available_event=7))
    for _ in range(6):
        look(talk, ring(8, 7, kick_count=0, available_event=8))
    for _ in range(4):
        look(talk, ring(9, 7, kick_count=1, available_event=8))
    assert [one[0] for one in broken(talk, "VU-MEMR-01")] == ["note", "warning"]
    assert "counts 1, which nobody takes" in texts(talk, "VU-MEMR-01")[1]


def test_a_device_that_polls_is_not_said_to_leave_its_kick() -> None:
    talk = guest("net")
    for _ in range(5):
        look(talk, ring(200, 0, 1, kick_count=1, no_notify=True))
    (text,) = texts(talk, "VU-MEMR-01")
    assert text.endswith("the device wants no kicks")


def test_a_fast_ring_may_come_by_the_same_place_again() -> None:
    """A packed ring of 256 is round after 512, a disk does that many in no time: seen so twice, it is chance."""
    talk = guest()
    for _ in range(10):
        look(talk, ring(40, 30, layout="packed", used_wrap=True), after_s=1)
        look(talk, ring(40, 30, layout="packed", used_wrap=True), after_s=1)
        look(talk, ring(50, 42, layout="packed", used_wrap=False), after_s=1)
    assert broken(talk, "VU-MEMR-01") == []


@pytest.mark.parametrize("before", [{"enabled": False}, {"started": False}, {"in_flight": None, "problem": "?"}])
def test_what_waited_while_the_ring_did_not_run_is_not_held_against_it(before: dict[str, Any]) -> None:
    """A guest changes how many queues it has; its rings come back as they were."""
    talk = guest("net")
    for _ in range(20):
        look(talk, ring(200, 100, 1, **before))
    look(talk, ring(200, 100, 1))
    look(talk, ring(200, 100, 1))
    assert broken(talk, "VU-MEMR-01") == []
    look(talk, ring(200, 100, 1))
    assert len(broken(talk, "VU-MEMR-01")) == 1


@pytest.mark.parametrize("more", [{"started": False}, {"enabled": False}])
def test_a_ring_that_does_not_run_may_stand_still(more: dict[str, Any]) -> None:
    talk = guest()
    for _ in range(4):
        look(talk, ring(10, 7, **more))
    assert broken(talk, "VU-MEMR-01") == []


def test_a_kick_that_was_taken_and_led_to_nothing() -> None:
    """The eventfd was read, the device asked to be told of more behind 7, and is not going on."""
    talk = guest()
    look(talk, ring(7, 7, available_event=7, kicks=4, kick_count=0))
    for _ in range(4):
        look(talk, ring(8, 7, available_event=7, kicks=5, kick_count=0))
    # it may be busy with what it took: some say what they know of only when they have done it
    assert broken(talk, "VU-MEMR-02") == [("warning", BACK, 0)]
    assert broken(talk, "VU-MEMR-01") == []
    assert "taken" in texts(talk, "VU-MEMR-02")[0]


@pytest.mark.parametrize(
    "device, number, rings, severity",
    [
        (None, 1, 3, "note"),  # a disk of vhost-device-scsi: its buffers for events
        (None, 0, 1, "warning"),  # vhost-device-rng, which has dropped QEMU's first kick
        ("rng", 0, 1, "warning"),
        ("block", 0, 2, "warning"),
        ("scsi", 1, 3, None),
    ],
)
def test_a_kick_for_buffers_to_write_into(device: str | None, number: int, rings: int, severity: str | None) -> None:
    """As vhostspy saw it with these devices: available 8 (1), used 0, a kick wanted behind 0, the eventfd read."""
    talk = guest(device)
    for other in range(1, rings):
        set_up(talk, other)
    seen = ring(8, 0, number, size=128, kick_count=0, available_event=0, receives=True)
    for _ in range(5):
        look(talk, seen)
    assert [one[0] for one in broken(talk, "VU-MEMR-02")] == [severity] * (severity is not None)


@pytest.mark.parametrize("known", ["it was seen to say so", "its library does"])
def test_a_device_that_says_what_it_knows_of_at_once_has_lost_the_kick(known: str) -> None:
    talk = guest()
    if known == "its library does":
        assert talk.pipeline.rules is not None
        talk.pipeline.rules._memories[1].peers.recognise(BACK, "libvhost-user", "as said here")
    else:
        look(talk, ring(5, 4, available_event=5, kicks=4, kick_count=0))
    look(talk, ring(7, 7, available_event=7, kicks=4, kick_count=0))
    for _ in range(4):
        look(talk, ring(8, 7, available_event=7, kicks=5, kick_count=0))
    assert broken(talk, "VU-MEMR-02") == [("error", BACK, 0)]


def test_buffers_for_which_no_kick_was_wanted_are_no_lost_kick() -> None:
    """The device is busy with the first, for which the driver kicked; behind that index no kick is wanted twice."""
    talk = guest()
    look(talk, ring(7, 7, available_event=7, kicks=4, kick_count=0))
    look(talk, ring(8, 7, available_event=7, kicks=5, kick_count=0))
    for available in (9, 10, 10, 11, 11):
        look(talk, ring(available, 7, available_event=7, kicks=5, kick_count=0))
    assert [one[1] for one in broken(talk, "VU-MEMR-02")] == [BACK]


def test_a_kick_that_was_there_before_may_have_gone_with_the_one_that_is_missed() -> None:
    talk = guest()
    look(talk, ring(7, 7, available_event=7, kicks=4, kick_count=1))
    for _ in range(4):
        look(talk, ring(8, 7, available_event=7, kicks=4, kick_count=0))
    assert [one[1] for one in broken(talk, "VU-MEMR-02")] == [BACK]


def test_a_kick_that_never_came() -> None:
    """The ring moved before our eyes, and its eventfd was not written to."""
    talk = guest()
    look(talk, ring(7, 7, available_event=7, kicks=4, kick_count=0))
    for _ in range(4):
        look(talk, ring(8, 7, available_event=7, kicks=4, kick_count=0))
    assert broken(talk, "VU-MEMR-02") == [("error", FRONT, 0)]


@pytest.mark.parametrize(
    "more",
    [
        {"available_event": 8, "kick_count": 0},  # it has seen all that is there: it only takes its time
        {"available_event": 7, "kick_count": 1},  # the kick is still there to be read
        {"available_event": 7, "kick_count": 0, "no_notify": True},  # it polls
        {"kick_count": 0},  # nothing says how far it has read
    ],
)
def test_no_kick_is_lost_where_none_is_missing(more: dict[str, Any]) -> None:
    talk = guest()
    look(talk, ring(7, 7, kicks=4))
    for _ in range(4):
        look(talk, ring(8, 7, kicks=5, **more))
    assert broken(talk, "VU-MEMR-02") == []
    assert len(broken(talk, "VU-MEMR-01")) == 1


@pytest.mark.parametrize("used, rule, who", [(700, "VU-MEMR-03", FRONT), (1010, "VU-MEMR-04", BACK)])
def test_indices_that_cannot_be(used: int, rule: str, who: int) -> None:
    talk = guest()
    look(talk, ring(1000, used))
    assert broken(talk, rule) == []  # it may have been caught in between
    look(talk, ring(1000, used))
    look(talk, ring(1000, used))
    assert broken(talk, rule) == [("error", who, 0)]


@pytest.mark.parametrize(
    "available, used, size", [(1000, 744, 256), (3, 65533, 256), (0, 0, 256), (32_768, 0, 32_768), (5, 32_773, 32_768)]
)
def test_indices_that_can_be(available: int, used: int, size: int) -> None:
    talk = guest()
    for _ in range(3):
        look(talk, ring(available, used, size=size))
    assert broken(talk, "VU-MEMR-03") == []
    assert broken(talk, "VU-MEMR-04") == []


def test_a_chain_that_leads_nowhere_is_told_once() -> None:
    talk = guest()
    for _ in range(3):
        look(talk, ring(8, 7, chain="chain 3: address 0x10 is in no region"))
    assert broken(talk, "VU-MEMR-05") == [("error", FRONT, 0)]
    busy = guest()
    for index in range(7, 10):  # it may be linked anew while it is followed
        look(busy, ring(index + 1, index, chain="chain 3: address 0x10 is in no region"))
    assert broken(busy, "VU-MEMR-05") == []
    well = guest()
    look(well, ring(8, 7))
    assert broken(well, "VU-MEMR-05") == []


@pytest.mark.parametrize("then, wrong", [(7, False), (263, False), (264, True), (6, True)])
def test_available_goes_forward_by_a_ring_at_most(then: int, wrong: bool) -> None:
    talk = guest()
    look(talk, ring(7, 7))
    look(talk, ring(then, 7) | {"problem": ""})
    assert broken(talk, "VU-MEMR-06") == [("warning", FRONT, 0)] * wrong


def test_a_ring_that_is_set_up_anew_begins_anew() -> None:
    """The guest has started again: what it has made available so far is less than before."""
    talk = guest("net")
    look(talk, ring(256, 0))
    stop(talk)
    set_up(talk)
    kick(talk)
    look(talk, ring(64, 0))
    assert broken(talk, "VU-MEMR-06") == []


@pytest.mark.parametrize("answered, wrong", [(7, False), (10, False), (6, True), (400, True)])
def test_where_a_ring_stopped(answered: int, wrong: bool) -> None:
    talk = guest()
    look(talk, ring(10, 7))
    stop(talk, at=answered)
    look(talk, ring(10, 7, started=False), after_s=0.1)
    no = talk.no
    assert broken(talk, "VU-MEMR-07") == [("note", BACK, no)] * wrong
    look(talk, ring(10, 7, started=False), after_s=0.1)
    assert len(broken(talk, "VU-MEMR-07")) == wrong


def test_what_is_seen_long_after_the_stop_may_be_the_guests_again() -> None:
    talk = guest()
    stop(talk, at=400)
    look(talk, ring(10, 7, started=False), after_s=2)
    stop(talk, at=400)
    look(talk, ring(0, 0, started=False), after_s=0.1)
    assert broken(talk, "VU-MEMR-07") == []


@pytest.mark.parametrize("started", [False, True])
def test_calls_while_all_rings_are_stopped(started: bool) -> None:
    talk = guest()
    for calls in (3, 3, 5, 6):
        look(talk, ring(7, 7, started=started, calls=calls))
    assert broken(talk, "VU-RUN-04") == [("warning", None, 0)] * (not started)


def test_calls_of_rings_beside_which_others_run() -> None:
    """Of many rings a sample is several records, and one may have none but stopped ones."""
    talk = guest()
    for calls in (3, 4, 5):
        look(talk, ring(7, 7, calls=0))
        look(talk, ring(7, 7, number=40, started=False, calls=calls), after_s=0)
    assert broken(talk, "VU-RUN-04") == []


def queue(used: int, *heads: int) -> dict[str, Any]:
    return {"number": 0, "version": 1, "size": 256, "used_index": used, "heads": list(heads), "last_batch_head": 0}


@pytest.mark.parametrize("used, started, wrong", [(7, False, False), (6, False, True), (6, True, False)])
def test_the_in_flight_regions_used_index(used: int, started: bool, wrong: bool) -> None:
    talk = guest(protocol=TRACKING)
    look(talk, ring(7, 7, started=started), inflight=[queue(used)])
    assert broken(talk, "VU-INF-07") == [("note", BACK, 0)] * wrong


@pytest.mark.parametrize("heads, wrong", [((), False), ((3, 4), True)])
def test_a_fresh_in_flight_region(heads: tuple[int, ...], wrong: bool) -> None:
    talk = with_memory(TRACKING, MODERN)
    set_up(talk)
    region = {"mmap_length": 8192, "mmap_offset": 0, "num_queues": 1, "queue_size": 256}
    talk.ask("GET_INFLIGHT_FD", region, **{**region, "mmap_length": 0})
    look(talk, ring(0, 0, started=False), inflight=[queue(0, *heads)])
    assert broken(talk, "VU-INF-08") == [("warning", BACK, 0)] * wrong
    kick(talk)
    look(talk, ring(0, 0), inflight=[queue(0, 1)])
    assert len(broken(talk, "VU-INF-08")) == wrong


def test_whatever_a_sample_says_is_read() -> None:
    talk = guest()
    odd: list[dict[str, Any]] = [
        {},
        {"rings": 7},
        {"rings": [7, {}, {"ring": "a"}, {"ring": 0, "layout": "split", "size": -1}]},
        {"rings": [{"ring": 0, "layout": "split", "size": 256, "available": "x", "used": None}]},
        {"inflight": {}, "rings": []},
        {"inflight": [{}, 3]},
    ]
    for facts in odd:
        talk.event("sample", **facts)
    assert not any(one.rule.startswith("VU-MEMR") for one in talk.findings)
