"""Full sockets, full tables: who has to wait waits, nobody else does, and nothing is lost on the way."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic_ns
from typing import Any

import pytest

from vhostspy.relay import outlet

from .harness import (
    BACK,
    FRONT,
    Relayed,
    at_end,
    by_side,
    close_all,
    fill,
    messages,
    quiet,
    receive,
    receive_bytes,
    rights,
    send,
    sized,
    tagged,
    taken,
    unread,
    until,
    waiting,
)
from .test_streams import in_threads


def small_buffers(relayed: Relayed, *ends: socket.socket) -> None:
    """Room for very little, on all four sockets."""
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    until(lambda: relayed.relay.sessions)
    for end in relayed.session().main.sockets:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)


@pytest.mark.parametrize("length", [20, 4096, 65_536])
def test_a_mebibyte_each_way_at_once_with_small_buffers(relayed: Relayed, length: int) -> None:
    """Both send before they read: with one thread for both directions nobody may wait for a destination."""
    front, back = relayed.open()
    small_buffers(relayed, front, back)
    count = (1 << 20) // length if length > 20 else 10_000
    data = sized(length) * count

    def both_ways(sock: socket.socket) -> bytes:
        writing = threading.Thread(target=sock.sendall, args=(data,), daemon=True)
        writing.start()
        got = receive_bytes(sock, len(data))
        writing.join(10)
        return got

    got = in_threads(lambda: both_ways(front), lambda: both_ways(back))
    assert got == [data, data]
    records = relayed.stop()
    assert [len(messages(records, sender)) for sender in (0, 1)] == [count, count]


@by_side
def test_a_stalled_receiver_stops_its_sender_and_nothing_else(relayed: Relayed, side: int) -> None:
    ends = relayed.open()
    other_front, other_back = relayed.open()
    sender, receiver = ends[side], ends[1 - side]
    until(lambda: len(relayed.relay.sessions) == 2)
    filled = fill(relayed, side, sender, [4096])
    # bounded: two sockets' buffers and one read of ours
    assert len(filled.octets) < 3 * 262_144 * 2
    assert 0 < waiting(relayed, side) <= 262_144
    # the other direction, and the other session
    for at in range(3):
        send(receiver, sized(20), [at])
        assert receive(sender).tags == (at,)
        send(other_front, sized(20), [at])
        assert receive(other_back).tags == (at,)
    assert receive_bytes(receiver, len(filled.octets)) == filled.octets
    sender.sendall(filled.rest)
    assert receive_bytes(receiver, len(filled.rest)) == filled.rest
    send(sender, sized(20), [9])
    assert receive(receiver).tags == (9,)


def test_descriptors_that_have_to_wait_keep_their_messages(relayed: Relayed) -> None:
    """The receiver reads nothing until very many are under way."""
    front, back = relayed.open()
    front.settimeout(0.1)
    at = 0
    while True:
        fds = tagged(at)
        try:
            front.sendmsg([sized(2000, 12 if at % 2 else 40, fill=at)], rights(fds))
            at += 1
        except TimeoutError:
            if waiting(relayed, FRONT):
                break
        finally:
            close_all(fds)
    assert at > 100
    for expected in range(at):
        got = receive(back)
        assert (got.data, got.tags) == (sized(2000, 12 if expected % 2 else 40, fill=expected), (expected,))
    assert relayed.descriptors_in_hand() == 0


def test_a_stalled_receiver_that_takes_a_byte_at_a_time(relayed: Relayed) -> None:
    front, back = relayed.open()
    small_buffers(relayed, front, back)
    data = b"".join(sized(length, fill=length) for length in range(12, 400))
    writing = threading.Thread(target=front.sendall, args=(data,), daemon=True)
    writing.start()
    got = b"".join(receive_bytes(back, 1) for _ in range(len(data)))
    writing.join(10)
    assert got == data


class FewRefs:
    """A socket that refuses descriptors as the kernel does when too many are under way."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.refuse = True
        self.tries = 0

    def sendmsg(self, *args: Any) -> int:
        self.tries += 1
        if self.refuse:
            raise OSError(errno.ETOOMANYREFS, "Too many references: cannot splice")
        return self.sock.sendmsg(*args)


def refuse_descriptors(relayed: Relayed) -> FewRefs:
    """Towards the back-end."""
    few = FewRefs(relayed.session().main.sockets[BACK])
    ours = relayed.session().main.directions[FRONT]

    def put() -> None:
        ours.outlet.target = few  # type: ignore[assignment]
        ours.passing._sendmsg = few.sendmsg

    relayed.call(put)
    return few


@pytest.mark.parametrize("number", [12, 40], ids=["known to carry", "not known to carry"])
def test_with_too_many_descriptors_under_way_it_is_tried_again_in_peace(relayed: Relayed, number: int) -> None:
    """The socket has room meanwhile, which must not make the relay spin, and no try may bring forth two."""
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    few = refuse_descriptors(relayed)
    begun = len(relayed.relay.loop._timers)
    send(front, sized(20, number), [1])
    send(front, sized(24, number))
    until(lambda: few.tries >= 20)
    assert quiet(back)
    assert relayed.call(lambda: len(relayed.relay.loop._timers)) <= begun + 2
    # one each 5 ms: there can't be many more in the same time
    tries: list[int] = []

    def count_for_a_while() -> None:
        tries.append(few.tries)
        relayed.relay.loop.call_at(monotonic_ns() + 10 * outlet.RETRY_NS, lambda now: tries.append(few.tries))

    relayed.call(count_for_a_while)
    until(lambda: len(tries) == 2)
    assert tries[1] - tries[0] <= 11
    # the other direction lives
    send(back, sized(20), [5])
    assert receive(front).tags == (5,)
    few.refuse = False
    assert [receive(back).tags for _ in range(2)] == [(1,), ()]
    assert relayed.descriptors_in_hand() == 0


def test_the_relay_ends_while_descriptors_wait_to_be_tried_again(relayed: Relayed) -> None:
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    few = refuse_descriptors(relayed)
    send(front, sized(20), [1])
    until(lambda: few.tries)
    front.close()
    back.close()
    relayed.no_session()


def test_253_descriptors(relayed: Relayed) -> None:
    front, back = relayed.open()
    for _ in range(3):
        send(front, sized(20), range(253))
        assert receive(back).tags == tuple(range(253))
    assert [len(one.fds) for one in messages(relayed.stop())] == [253] * 3


# -- in a process of its own, with little room for descriptors --------------------------------------------------------

CHILD = Path(__file__).with_name("child.py")


def in_a_child(case: str, folder: Path, *, user: bool = False, timeout_s: float = 60) -> dict[str, Any]:
    """Run a function of ``child.py`` in another process, and give what it found."""
    command = [sys.executable, str(CHILD), case, str(folder)]
    if user:
        os.chmod(folder, 0o777)
        command.append("user")
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, cwd=root, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.needs_root
def test_an_ordinary_user_with_very_many_descriptors_under_way(folder: Path) -> None:
    """The kernel refuses for a while; all arrive in order, on their messages."""
    found = in_a_child("too_many_refs", folder, user=True)
    assert found["silent"]
    assert found["tags"] == [[at * 4 + i for i in range(4)] for at in range(found["sent"])]
    assert found["busy"] < 0.5


@pytest.mark.needs_root
def test_descriptors_that_lie_unread_in_us_never_keep_us_from_sending(folder: Path) -> None:
    found = in_a_child("deadlock_of_refs", folder, user=True)
    assert found["tags"] == [[at * 4 + i for i in range(4)] for at in range(95)] + [[1000] * 60]


def test_a_full_table_ends_the_session_with_a_sentence(folder: Path) -> None:
    found = in_a_child("table_full_on_receive", folder)
    assert "descriptors were lost" in found["failure"]


def test_a_full_table_does_not_stop_the_listener_for_ever(folder: Path) -> None:
    found = in_a_child("table_full_on_accept", folder)
    assert found["said"] == 1, "said once, not once a try"
    assert found["served"]


def test_a_full_table_and_a_caller_of_the_control_socket_keep_nobody_busy(folder: Path) -> None:
    found = in_a_child("table_full_on_control", folder)
    assert found["busy"] < 0.5
    assert found["answered"]


def test_a_full_table_leaves_a_nested_channel_unseen_but_whole(folder: Path) -> None:
    found = in_a_child("table_full_on_nested", folder)
    assert found["alive"]


def test_nothing_is_left_unread(relayed: Relayed) -> None:
    front, back = relayed.open()
    send(front, sized(20))
    taken(front)
    assert unread(front) == 0
    receive(back)
    front.close()
    assert at_end(back)
