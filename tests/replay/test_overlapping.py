"""Sessions that overlap in time in a record are played at the same time, in the record's order between them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.relay.harness import DEADLINE_S, Relayed, reached, taken, temporary_folder
from vhostspy.message import Message
from vhostspy.replay import Outcome, Script, replay

#: octets by hand: u32 request, u32 flags, u32 size
OWNER = bytes.fromhex("03000000 01000000 00000000")
GET_FEATURES = bytes.fromhex("01000000 01000000 00000000")
FEATURES = bytes.fromhex("01000000 05000000 08000000 00000040 01000000")
GET_QUEUE_NUM = bytes.fromhex("11000000 01000000 00000000")
QUEUES = bytes.fromhex("11000000 05000000 08000000 02000000 00000000")
SET_FEATURES = bytes.fromhex("02000000 01000000 08000000 00000000 01000000")
ANSWERS = {GET_FEATURES: FEATURES, GET_QUEUE_NUM: QUEUES}


class Step(NamedTuple):
    """What one of two front-ends does; ``what`` is what it says, or its end."""

    session: int
    what: bytes | None


A, B = 0, 1
#: source and destination of a migration on one host: the second is set up while the first runs, and outlives it
MIGRATION = [
    Step(A, OWNER), Step(A, GET_FEATURES), Step(A, SET_FEATURES),
    Step(B, OWNER), Step(B, GET_FEATURES),
    Step(A, GET_QUEUE_NUM),
    Step(B, SET_FEATURES),
    Step(A, None),
    Step(B, GET_QUEUE_NUM),
    Step(B, None),
]  # fmt: skip
#: one within the other
WITHIN = [
    Step(A, OWNER), Step(B, OWNER), Step(B, GET_FEATURES), Step(B, None), Step(A, GET_FEATURES), Step(A, None),
]  # fmt: skip
#: a reconnect: nothing overlaps
APART = [Step(A, OWNER), Step(A, GET_FEATURES), Step(A, None), Step(B, OWNER), Step(B, GET_FEATURES), Step(B, None)]


def recorded(steps: Sequence[Step], one_at_a_time: bool = False) -> bytes:
    """The capture of two front-ends and what answers them, each step after the one before has passed.

    one_at_a_time: the second is not answered before the first has gone.
    """
    with temporary_folder() as folder, Relayed(Path(folder)) as relayed:
        ends: dict[int, tuple[socket.socket, socket.socket]] = {}
        asked: list[tuple[int, bytes]] = []

        def answer(session: int, what: bytes) -> None:
            front, back = ends[session]
            back.sendall(ANSWERS[what])
            assert front.recv(100) == ANSWERS[what]

        for session, what in steps:
            if session not in ends:
                ends[session] = relayed.open()
            front, back = ends[session]
            if what is None:
                front.close()
                assert back.recv(1) == b""
                back.close()
                while asked:
                    answer(*asked.pop(0))
                continue
            front.sendall(what)
            assert back.recv(100) == what
            if what in ANSWERS and one_at_a_time and session == B and ends[A][0].fileno() >= 0:
                asked.append((session, what))
            elif what in ANSWERS:
                answer(session, what)
            else:
                taken(front)
        relayed.forget()
        relayed.no_session()
        relayed.stop()
        return relayed.capture.read_bytes()


class Served(NamedTuple):
    #: connection (in the order in which they were accepted), octets; None: its end
    heard: list[tuple[int, bytes | None]]


@contextmanager
def back_ends(
    path: Path, count: int, answer: Callable[[int, bytes], bytes | None] | None = None, one_at_a_time: bool = False
) -> Iterator[Served]:
    """A back-end that serves any number of front-ends at once, and notes what it hears, in order, across all."""
    served = Served([])
    lock = threading.Lock()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(DEADLINE_S)
    threads: list[threading.Thread] = []

    def serve(number: int, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(DEADLINE_S)
            while True:
                data = sock.recv(1000)
                # the front-end waits for an answer, or for its turn: a read may have two messages without one
                for one in _messages(data) if data else (None,):
                    with lock:
                        served.heard.append((number, one))
                    if one in ANSWERS:
                        said = answer(number, one) if answer is not None else ANSWERS[one]
                        if said is not None:
                            sock.sendall(said)
                if not data:
                    return

    def accept() -> None:
        for number in range(count):
            sock, _ = listener.accept()
            if one_at_a_time:
                serve(number, sock)
                continue
            threads.append(threading.Thread(target=serve, args=(number, sock)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield served
    finally:
        accepting.join(DEADLINE_S)
        for thread in threads:
            thread.join(DEADLINE_S)
        listener.close()
        assert not any(thread.is_alive() for thread in (accepting, *threads))


def _messages(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = 12 + int.from_bytes(data[8:12], "little")
        found.append(data[:size])
        data = data[size:]
    return found


def as_heard(steps: Sequence[Step]) -> list[tuple[int, bytes | None]]:
    return [(session, what) for session, what in steps]


def in_order(passed: Sequence[Message]) -> list[tuple[int, str | None, bool]]:
    return [(one.session, one.name, one.is_reply) for one in sorted(passed, key=lambda one: one.no)]


@pytest.mark.parametrize("steps", [MIGRATION, WITHIN], ids=["migration", "within"])
def test_front_ends_keep_the_order_of_the_record(steps: Sequence[Step], tmp_path: Path) -> None:
    capture = recorded(steps)
    script = Script.read(capture)
    with back_ends(tmp_path / "s", 2):
        outcome = replay(capture, "front-end", connect=tmp_path / "s", timeout_s=5)
    assert outcome.status == 0, outcome.text
    assert outcome.notes == ("sessions 1 and 2 overlap in the record: played at the same time",)
    assert [one.ended for one in outcome.sessions] == ["all was played"] * 2
    played = [one for session in outcome.sessions for one in session.messages]
    was = [one for part in script.parts for one in part.messages]
    assert in_order(played) == in_order(was)


def test_a_front_end_stays_as_long_as_in_the_record(tmp_path: Path) -> None:
    """The first goes between two messages of the second, and not before."""
    capture = recorded(MIGRATION)
    with back_ends(tmp_path / "s", 2) as served:
        outcome = replay(capture, "front-end", connect=tmp_path / "s", timeout_s=5)
    assert outcome.status == 0, outcome.text
    heard = served.heard
    assert [one for one in heard if one[0] == A] == [one for one in as_heard(MIGRATION) if one[0] == A]
    assert [one for one in heard if one[0] == B] == [one for one in as_heard(MIGRATION) if one[0] == B]
    assert heard.index((A, GET_QUEUE_NUM)) < heard.index((A, None)) < heard.index((B, GET_QUEUE_NUM))


def test_front_ends_that_are_connected_to(tmp_path: Path) -> None:
    """With --listen the nth connection is the nth session's."""
    capture = recorded(MIGRATION)
    path = tmp_path / "s"
    outcomes: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(replay(capture, "front-end", listen=path, timeout_s=5, connect_timeout_s=5))
    )
    thread.start()
    with reached(str(path)) as first, reached(str(path)) as second:
        ends = [first, second]
        while ends:
            for end in list(ends):
                end.settimeout(0.01)
                try:
                    data = end.recv(1000)
                except TimeoutError:
                    continue
                for one in _messages(data):
                    if one in ANSWERS:
                        end.sendall(ANSWERS[one])
                if not data:
                    ends.remove(end)
                    end.close()
    thread.join(DEADLINE_S)
    assert outcomes[0].status == 0, outcomes[0].text


def test_a_back_end_that_serves_one_at_a_time(tmp_path: Path) -> None:
    """The second front-end asks while it is not let in yet, and is answered when the first has gone."""
    steps = [
        Step(A, OWNER), Step(A, GET_FEATURES), Step(B, GET_FEATURES), Step(A, GET_QUEUE_NUM), Step(A, None),
        Step(B, GET_QUEUE_NUM), Step(B, None),
    ]  # fmt: skip
    capture = recorded(steps, one_at_a_time=True)
    with back_ends(tmp_path / "s", 2, one_at_a_time=True) as served:
        outcome = replay(capture, "front-end", connect=tmp_path / "s", timeout_s=5)
    assert outcome.status == 0, outcome.text
    assert outcome.notes[0].startswith("sessions 1 and 2 overlap")
    assert served.heard == as_heard(
        [one for one in steps if one.session == A] + [one for one in steps if one.session == B]
    )


def test_nobody_waits_for_a_session_that_ended_early(tmp_path: Path) -> None:
    """The first one's back-end does not answer: that is told, and the second is played to its end."""
    capture = recorded(MIGRATION)

    def silent_to_the_first(number: int, asked: bytes) -> bytes | None:
        return None if number == A and asked == GET_QUEUE_NUM else ANSWERS[asked]

    with back_ends(tmp_path / "s", 2, silent_to_the_first):
        outcome = replay(capture, "front-end", connect=tmp_path / "s", timeout_s=1)
    first, second = outcome.sessions
    assert first.ended == "the back-end did not answer within 1 s"
    assert [str(one) for one in first.mismatches] == [
        "GET_QUEUE_NUM reply #9 from the back-end did not come: GET_QUEUE_NUM #8 stands unanswered for 1 s"
    ]
    assert (second.ended, second.mismatches, second.sent) == ("all was played", (), 4)


def test_sessions_that_do_not_overlap_are_played_one_after_the_other(tmp_path: Path) -> None:
    capture = recorded(APART)
    with back_ends(tmp_path / "s", 2) as served:
        outcome = replay(capture, "front-end", connect=tmp_path / "s", timeout_s=5)
    assert (outcome.status, outcome.notes) == (0, ())
    assert served.heard == as_heard(APART)


def test_nobody_there_for_the_second(tmp_path: Path) -> None:
    """The first is ended, and what it came to is told."""
    capture = recorded(MIGRATION)
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(FEATURES)  # its answer, before it was asked
        outcome = replay(capture, "front-end", connect=ours, timeout_s=1)
    assert outcome.failure == "a connected socket serves one session; the script has more"
    assert [one.number for one in outcome.sessions] == [1]


# -- as back-end


def front_ends(path: Path, steps: Sequence[Step]) -> list[bytes]:
    """Two front-ends talk in that order; what they were answered."""
    ends: dict[int, socket.socket] = {}
    answers = []
    for session, what in steps:
        if session not in ends:
            ends[session] = reached(str(path))
        if what is None:
            ends[session].close()
            continue
        ends[session].sendall(what)
        if what in ANSWERS:
            answers.append(ends[session].recv(100))
    return answers


@contextmanager
def played_back_end(capture: bytes, path: Path, **options: Any) -> Iterator[list[Outcome]]:
    outcomes: list[Outcome] = []

    def run() -> None:
        outcomes.append(replay(capture, "back-end", listen=path, **options))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield outcomes
    finally:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


@pytest.mark.parametrize("steps", [MIGRATION, WITHIN], ids=["migration", "within"])
def test_two_front_ends_are_served_at_the_same_time(steps: Sequence[Step], tmp_path: Path) -> None:
    with played_back_end(recorded(steps), tmp_path / "s", timeout_s=5) as outcomes:
        answers = front_ends(tmp_path / "s", steps)
    assert answers == [ANSWERS[what] for _, what in steps if what in ANSWERS]
    assert outcomes[0].status == 0, outcomes[0].text
    assert [one.matched for one in outcomes[0].sessions] == [
        sum(session == one and what is not None for session, what in steps) for one in (A, B)
    ]


def test_front_ends_in_an_order_of_their_own(tmp_path: Path) -> None:
    """Live front-ends do not know the record's order between them; each is followed by itself."""
    other = [one for one in MIGRATION if one.session == A][:-1] + [one for one in MIGRATION if one.session == B]
    with played_back_end(recorded(MIGRATION), tmp_path / "s", timeout_s=5) as outcomes:
        front_ends(tmp_path / "s", [*other, Step(A, None)])
    assert outcomes[0].status == 0, outcomes[0].text


def test_a_look_whether_we_are_ready_is_no_session(tmp_path: Path) -> None:
    with played_back_end(recorded(WITHIN), tmp_path / "s", timeout_s=5) as outcomes:
        reached(str(tmp_path / "s")).close()
        front_ends(tmp_path / "s", WITHIN)
    assert outcomes[0].status == 0, outcomes[0].text


def test_the_second_front_end_does_not_come(tmp_path: Path) -> None:
    with played_back_end(recorded(WITHIN), tmp_path / "s", timeout_s=5, connect_timeout_s=1) as outcomes:
        front_ends(tmp_path / "s", [one for one in WITHIN if one.session == A])
    assert outcomes[0].failure == f"{tmp_path / 's'}: nobody connected again within 1 s"
    assert [one.number for one in outcomes[0].sessions] == [1]


def test_it_says_what_it_waits_for(tmp_path: Path) -> None:
    said: list[str] = []
    outcome = replay(
        recorded(WITHIN), "front-end", connect=tmp_path / "nobody", connect_timeout_s=1.75, say=said.append
    )  # fmt: skip
    assert outcome.failure.endswith("No such file or directory")
    assert said == [f"{tmp_path / 'nobody'}: No such file or directory; trying again for 0.75 s more"]
