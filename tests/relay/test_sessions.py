"""Which connections make a session: many, late, none, and every way in which the two peers can be reached."""

from __future__ import annotations

import gc
import os
import socket
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import pytest

from vhostspy.capture.reader import Reader
from vhostspy.relay.endpoint import Connector, Listener
from vhostspy.relay.pairing import COLLECT_AFTER
from vhostspy.relay.session import Session

from .harness import (
    Relayed,
    at_end,
    connected,
    events,
    exchange,
    listening,
    message,
    messages,
    quiet,
    receive,
    running,
    send,
    sized,
    until,
)
from .test_back_pressure import in_a_child


def resident_kib() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


class Used(NamedTuple):
    """What this process has: descriptors, objects (blocks of Python's allocator), memory."""

    descriptors: int
    objects: int
    kib: int

    @classmethod
    def now(cls) -> Used:
        gc.collect()
        return cls(len(os.listdir("/proc/self/fd")), sys.getallocatedblocks(), resident_kib())


def many_sessions(relayed: Relayed, count: int, at_once: int) -> Used:
    """Open, talk, close, some at the same time; gives how much more there is than after a fifth of them."""
    before = Used(0, 0, 0)
    for round_no in range(count // at_once):
        pairs = [relayed.open() for _ in range(at_once)]
        relayed.forget()
        for at, (front, back) in enumerate(pairs):
            exchange(front, back, at)
        for at, (front, back) in enumerate(pairs):
            (front if at % 2 else back).close()
            assert at_end(back if at % 2 else front)
            (back if at % 2 else front).close()
        relayed.no_session()
        relayed.call(relayed.writer.settle)
        if round_no == count // at_once // 5:
            before = Used.now()
    after = Used.now()
    return Used(*(one - other for one, other in zip(after, before, strict=True)))


@pytest.mark.parametrize("at_once", [1, 25], ids=["one after another", "25 at once"])
def test_500_sessions_leave_nothing_behind(relayed: Relayed, at_once: int) -> None:
    # how much memory this whole process has says little about five hundred sessions: that is for ten thousand
    assert many_sessions(relayed, 500, at_once).descriptors == 0
    assert sum(type(one) is Session for one in gc.get_objects()) <= COLLECT_AFTER
    assert len(relayed.relay.loop._events) == 2, "the listener, and the test's own pipe"
    records = relayed.stop()
    assert len(messages(records)) == 1000
    assert [event["text"] for event in events(records, "open")] == [f"session {at} begins" for at in range(1, 501)]


@pytest.mark.parametrize("at_once", [1, 20], ids=["one after another", "20 at once, and one that stays"])
def test_sessions_that_are_over_are_forgotten_without_a_collector(relayed: Relayed, at_once: int) -> None:
    """The command turns it off, so that no collection falls into a burst; a day has very many sessions."""
    staying = relayed.open() if at_once > 1 else None
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for _ in range(200 // at_once):
            pairs = [relayed.open() for _ in range(at_once)]
            relayed.forget()
            for front, back in pairs:
                exchange(front, back)
                front.close()
                back.close()
            until(lambda: len(relayed.relay.sessions) == (1 if staying else 0))
        relayed.call(lambda: None)
        left = sum(isinstance(one, Session) for one in gc.get_objects())
    finally:
        gc.enable()
        gc.unfreeze()
    assert left <= COLLECT_AFTER + 1
    for sock in staying or ():
        sock.close()


@pytest.mark.soak
@pytest.mark.parametrize("case", ["sessions_one_after_another", "sessions_50_at_once"])
def test_10000_sessions_leave_nothing_behind(folder: Path, case: str) -> None:
    """In a process of its own, whose memory other tests have not used and left in pieces.

    Found are the last 8,000 sessions' leavings: one object each would be 8,000.
    """
    found = in_a_child(case, folder, timeout_s=600)
    assert found["descriptors"] == 0
    assert found["objects"] < 800
    assert found["kib"] < 2048


def test_sessions_are_numbered_and_know_the_one_before(relayed: Relayed) -> None:
    for _ in range(3):
        front, back = relayed.open()
        exchange(front, back)
        front.close()
        back.close()
        relayed.no_session()
    records = messages(relayed.stop())
    assert [(one.session, one.previous) for one in records] == [(1, 0), (1, 0), (2, 1), (2, 1), (3, 2), (3, 2)]
    assert [one.number for one in records] == [1, 2, 3, 4, 5, 6]


def test_sides_that_are_the_wrong_way_round_are_told(relayed: Relayed) -> None:
    """No message has a name then, and both ends are blamed; who began tells why."""
    for begins in (0, 1):
        ends = relayed.open()
        send(ends[begins], message(1))
        assert receive(ends[1 - begins]).data == message(1)
        send(ends[1 - begins], message(1, bytes(8), reply=True))
        receive(ends[begins])
    (told,) = events(relayed.stop(), "fault")
    assert told["session"] == 2
    assert told["text"] == (
        "the back-end speaks first, as only a front-end does: are the sides the wrong way round? (--front-end)"
    )


# -- only one session -------------------------------------------------------------------------------------------------


def test_once_ends_with_its_session(folder: Path) -> None:
    with Relayed(folder, once=True) as relayed:
        front, back = relayed.open()
        exchange(front, back)
        assert not os.path.exists(relayed.front_path), "nobody else can come, so the path is gone"
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            connected(relayed.front_path)
        front.close()
        back.close()
        assert relayed.thread is not None
        relayed.thread.join()
        assert relayed.relay.failure is None


def test_once_a_connection_without_a_byte_does_not_count(folder: Path) -> None:
    with Relayed(folder, once=True) as relayed:
        for _ in range(3):
            front, back = relayed.open()
            front.close()
            assert at_end(back)
            back.close()
            relayed.no_session()
        front, back = relayed.open()
        exchange(front, back)
        front.close()
        back.close()
        assert relayed.thread is not None
        relayed.thread.join()
        numbers = [event["session"] for event in events(relayed.stop(), "open")]
        assert numbers == [1, 2, 3, 4]


def test_once_a_probe_beside_the_session_waits_and_is_let_go(folder: Path) -> None:
    """Somebody who connects while the session is there gets no session, and is not left hanging when it ends."""
    with Relayed(folder, once=True) as relayed:
        front, back = relayed.open()
        probe = connected(relayed.front_path)
        with probe:
            exchange(front, back)
            front.close()
            back.close()
            try:
                assert probe.recv(1) == b""
            except ConnectionResetError:
                pass
        assert relayed.thread is not None
        relayed.thread.join()


def test_once_a_few_bytes_are_a_session(folder: Path) -> None:
    """Too few to be a message, and yet somebody spoke."""
    with Relayed(folder, once=True) as relayed:
        front, back = relayed.open()
        send(front, b"\x01\x00")
        front.close()
        assert back.recv(10) == b"\x01\x00"
        assert at_end(back)
        back.close()
        assert relayed.thread is not None
        relayed.thread.join()


def test_once_the_other_side_cannot_be_reached(folder: Path) -> None:
    said: list[str] = []
    sides = Listener(str(folder / "front")), Connector(str(folder / "back"))
    with running(*sides, once=True, connect_timeout_s=0.2, say=said.append, capture=folder / "c") as relay:
        begun = monotonic()
        front = connected(str(folder / "front"))
        with front:
            assert at_end(front)
        assert monotonic() - begun >= 0.2
        relay.join()
        failure = relay.relay.failure
    assert failure is not None
    assert "back: could not be reached within 0.2 s: No such file or directory" in failure
    assert len(said) == 2, f"that it tries, and that it gave up: {said}"
    with Reader(folder / "c") as reader:
        assert [event["event"] for event in events(list(reader))] == ["fault"]


def test_without_once_the_next_connection_is_tried_anew(folder: Path) -> None:
    said: list[str] = []
    sides = Listener(str(folder / "front")), Connector(str(folder / "back"))
    with running(*sides, connect_timeout_s=0.1, say=said.append) as relay:
        with connected(str(folder / "front")) as front:
            assert at_end(front)
        with listening(str(folder / "back")) as back_listener, connected(str(folder / "front")) as front:
            back, _ = back_listener.accept()
            with back:
                back.settimeout(10)
                exchange(front, back)
        assert relay.relay.failure is None


# -- a back-end that is not there -------------------------------------------------------------------------------------


def test_a_back_end_that_comes_late(folder: Path) -> None:
    said: list[str] = []
    sides = Listener(str(folder / "front")), Connector(str(folder / "back"))
    with running(*sides, say=said.append), connected(str(folder / "front")) as front:
        send(front, sized(20), [7])  # it need not wait to speak
        until(lambda: said)
        with listening(str(folder / "back")) as back_listener:
            back, _ = back_listener.accept()
            with back:
                back.settimeout(10)
                assert receive(back).tags == (7,)
                exchange(front, back)
    assert len(said) == 1


def test_a_back_end_that_is_there_but_does_not_listen_yet(folder: Path) -> None:
    back_listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    back_listener.bind(str(folder / "back"))
    said: list[str] = []
    sides = Listener(str(folder / "front")), Connector(str(folder / "back"))
    with back_listener, running(*sides, say=said.append), connected(str(folder / "front")) as front:
        until(lambda: said)
        assert "Connection refused" in said[0]
        back_listener.listen()
        back, _ = back_listener.accept()
        with back:
            exchange(front, back)


def test_a_front_end_that_does_not_wait(folder: Path) -> None:
    """It hangs up before the back-end is there: that is no failure, and nobody connects to the back-end for it."""
    said: list[str] = []
    sides = Listener(str(folder / "front")), Connector(str(folder / "back"))
    with running(*sides, once=True, say=said.append) as relay:
        with connected(str(folder / "front")):
            until(lambda: said)
        with listening(str(folder / "back")) as back_listener, connected(str(folder / "front")) as front:
            back, _ = back_listener.accept()
            with back:
                exchange(front, back)
            assert quiet(back_listener)
        assert relay.relay.failure is None


def test_the_relay_ends_while_a_front_end_waits_for_its_back_end(folder: Path) -> None:
    said: list[str] = []
    sides = Listener(str(folder / "front")), Connector(str(folder / "back"))
    with running(*sides, say=said.append) as relay, connected(str(folder / "front")) as front:
        until(lambda: said)
        relay.stop()
        assert at_end(front)


def test_a_back_end_that_restarts(folder: Path) -> None:
    front_path, back_path = str(folder / "front"), str(folder / "back")
    with running(Listener(front_path), Connector(back_path)):
        for _ in range(3):
            with listening(back_path) as back_listener, connected(front_path) as front:
                back, _ = back_listener.accept()
                with back:
                    exchange(front, back)
            os.unlink(back_path)


def test_a_back_end_with_a_full_queue_is_waited_for(folder: Path) -> None:
    """Its listener has no room for one more connection: that passes."""
    front_path, back_path = str(folder / "front"), str(folder / "back")
    with ExitStack() as stack:
        back_listener = stack.enter_context(listening(back_path, backlog=0))
        blockers = [stack.enter_context(connected(back_path))]
        said: list[str] = []
        stack.enter_context(running(Listener(front_path), Connector(back_path), say=said.append))
        front = stack.enter_context(connected(front_path))
        until(lambda: said)
        for _ in blockers:
            stack.enter_context(back_listener.accept()[0])
        back = stack.enter_context(back_listener.accept()[0])
        exchange(front, back)


def test_the_back_end_gets_one_connection_for_each_that_arrives(relayed: Relayed) -> None:
    """And none to see whether it is there."""
    assert quiet(relayed.back_listener)
    for at in range(5):
        front, back = relayed.open()
        exchange(front, back)
        assert quiet(relayed.back_listener), f"after {at} sessions"
        front.close()
        back.close()
    relayed.no_session()
    assert quiet(relayed.back_listener)


def test_two_relays_in_a_row(folder: Path) -> None:
    """What one passes on the next one understands; each notes the same messages with the same descriptors."""
    front_path, middle_path, back_path = (str(folder / name) for name in ("front", "middle", "back"))
    with (
        listening(back_path) as back_listener,
        running(Listener(middle_path), Connector(back_path), capture=folder / "second"),
        running(Listener(front_path), Connector(middle_path), capture=folder / "first"),
        connected(front_path) as front,
    ):
        back, _ = back_listener.accept()
        with back:
            back.settimeout(10)
            for at in range(50):
                exchange(front, back, at)
            front.sendall(b"".join(sized(20 + at) for at in range(100)))
            for at in range(100):
                assert len(receive(back).data) == 20 + at
            front.close()
            assert at_end(back)
    notes = []
    for name in ("first", "second"):
        with Reader(folder / name) as reader:
            notes.append([(one.sender, one.data, [fd.inode for fd in one.fds]) for one in messages(list(reader))])
    assert notes[0] == notes[1]
    assert len(notes[0]) == 200


def test_a_fault_of_ours_ends_its_session_and_no_other(relayed: Relayed, monkeypatch: pytest.MonkeyPatch) -> None:
    good_front, good_back = relayed.open()
    exchange(good_front, good_back)
    bad_front, bad_back = relayed.open()
    exchange(bad_front, bad_back)

    def fail(*about: object) -> None:
        raise LookupError("planted")

    relayed.call(lambda: monkeypatch.setattr(type(relayed.relay.sessions[1].main.directions[0].lane), "plain", fail))
    # bound methods of the sessions' lanes are older than that: only what is bound from now on fails
    session = relayed.relay.sessions[1]
    for one in session.main.directions:
        relayed.call(partial(one.record_in, one.lane))
    bad_front.sendall(sized(20))
    assert receive(bad_back).data == sized(20), "it went on before it was recorded"
    assert at_end(bad_front)
    exchange(good_front, good_back)
    (fault,) = events(relayed.stop(), "fault")
    assert "LookupError('planted')" in fault["text"]
    assert fault["session"] == 2
    assert relayed.relay.failure is not None
