"""What was read and never taken by its receiver: the capture claims of no octet that it went on which did not."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns

import pytest

from vhostspy.capture.record import DROPPED, INCOMPLETE, Record
from vhostspy.dissectors import registry
from vhostspy.relay.outlet import LOOK_NS, PORTION

from .harness import (
    BACK,
    FRONT,
    Relayed,
    by_side,
    events,
    fill,
    messages,
    quiet,
    receive,
    send,
    sized,
    taken,
    until,
    waiting,
)


def begun(relayed: Relayed) -> tuple[socket.socket, socket.socket]:
    """A session in which both have spoken."""
    ends = relayed.open()
    for end in (FRONT, BACK):
        send(ends[end], sized(20))
        receive(ends[1 - end])
    return ends


def rest_of(sock: socket.socket) -> int:
    """How many octets a receiver that has shut its reading was given before."""
    count = 0
    while True:
        data = sock.recv(1 << 20)
        if not data:
            return count
        count += len(data)


def holds(records: list[Record], side: int, octets: int) -> None:
    """The capture says of that end's messages what is true when the receiver's socket took so many octets."""
    went_on = [one for one in messages(records, side) if not one.flags & DROPPED]
    (event,) = events(records, "undelivered")
    assert event["sender"] == side
    assert sum(one.length for one in went_on) - event["bytes"] == octets
    lost = 0
    while sum(one.length for one in went_on[len(went_on) - lost :]) < event["bytes"]:
        lost += 1
    assert event["messages"] == lost
    assert event["first"] == went_on[-lost].number
    assert event["after"] >= went_on[-1].number


@by_side
@pytest.mark.parametrize("lengths", [(20,), (4096,), (20, 65_548, 400), (16_000, 17_000)], ids=str)
def test_a_receiver_that_shuts_its_reading_while_it_is_full(relayed: Relayed, side: int, lengths: list[int]) -> None:
    """No event of the kernel's tells; its sender must learn of it all the same, and not at the end of the session."""
    ends = begun(relayed)
    fill(relayed, side, ends[side], lengths)
    ends[1 - side].shutdown(socket.SHUT_RD)
    with pytest.raises(BrokenPipeError):
        while True:
            ends[side].sendall(sized(4096))
    # the other direction lives
    send(ends[1 - side], sized(40), [2])
    assert receive(ends[side]).tags == (2,)
    octets = 20 + rest_of(ends[1 - side])
    for end in ends:
        end.close()
    relayed.no_session()
    holds(relayed.stop(), side, octets)


@by_side
def test_descriptors_of_what_was_not_taken_are_closed(relayed: Relayed, side: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    ends = begun(relayed)
    fill(relayed, side, ends[side], [2000], [7])
    ends[1 - side].shutdown(socket.SHUT_RD)
    until(lambda: not waiting(relayed, side))
    octets = 20
    with suppress(EOFError):
        while True:
            got = receive(ends[1 - side])
            assert got.tags == (7,)
            octets += len(got.data)
    for end in ends:
        end.close()
    relayed.no_session()
    relayed.forget()
    assert relayed.call(lambda: relayed.writer.settle()) is None
    until(lambda: len(os.listdir("/proc/self/fd")) == before)
    holds(relayed.stop(), side, octets)


@by_side
def test_a_receiver_that_closes_while_it_is_full(relayed: Relayed, side: int) -> None:
    """It is said before the end of that receiver is, which is what it comes of."""
    ends = begun(relayed)
    fill(relayed, side, ends[side], [300])
    lost = waiting(relayed, side)
    ends[1 - side].close()
    ends[side].close()
    relayed.no_session()
    records = relayed.stop()
    said = [(event["event"], event["sender"]) for event in events(records)]
    assert said.index(("undelivered", side)) < said.index(("reset", 1 - side))
    (event,) = events(records, "undelivered")
    assert event["bytes"] == lost
    sent = [one for one in messages(records, side) if not one.flags & DROPPED]
    assert event["messages"] == -(-lost // 300)
    assert event["first"] == sent[-event["messages"]].number
    receiver = ("front-end", "back-end")[1 - side]
    assert event["text"].startswith(f"the {receiver} never took the last {lost} bytes, ")


@by_side
def test_the_relay_ends_while_a_receiver_is_full(relayed: Relayed, side: int) -> None:
    ends = begun(relayed)
    fill(relayed, side, ends[side], [20, 500])
    relayed.forget()
    records = relayed.stop()
    holds(records, side, 20 + rest_of(ends[1 - side]))
    for end in ends:
        end.close()


@by_side
def test_a_receiver_that_is_only_slow_gets_all_and_nothing_is_said(relayed: Relayed, side: int) -> None:
    ends = begun(relayed)
    sent = fill(relayed, side, ends[side], [4096]).octets
    # it is looked at several times meanwhile
    reached: list[int] = []
    relayed.call(lambda: relayed.relay.loop.call_at(monotonic_ns() + 3 * LOOK_NS, reached.append))
    until(lambda: reached)
    ends[side].close()
    assert rest_of(ends[1 - side]) == len(sent)
    records = relayed.stop()
    assert not events(records, "undelivered")
    assert not any(one.flags & DROPPED for one in messages(records))


@by_side
def test_a_message_that_is_passing_when_its_receiver_shuts_its_reading(
    folder: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    """It says so itself, for it has no number yet; of those before it the event speaks."""
    row = registry.channel("vhost-user", "main")
    assert row is not None
    monkeypatch.setattr(registry, "channel", lambda protocol, kind: row._replace(limit=8 << 20))
    with Relayed(folder) as relayed:
        ends = begun(relayed)
        relayed.session().main.sockets[1 - side].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        with relayed.frozen():
            ends[side].sendall(b"".join(sized(300, fill=at) for at in range(100)) + sized(1 << 20)[:150_000])
        until(lambda: waiting(relayed, side) > 150_000)
        lost = waiting(relayed, side)
        ends[1 - side].shutdown(socket.SHUT_RD)
        until(lambda: not waiting(relayed, side))
        octets = 20 + rest_of(ends[1 - side])
        for end in ends:
            end.close()
        relayed.no_session()
        records = relayed.stop()
    assert 20 + 30_000 + 150_000 - lost == octets
    (event,) = events(records, "undelivered")
    assert event["bytes"] == lost
    *whole, passing = messages(records, side)
    assert not any(one.flags & DROPPED for one in whole)
    assert (passing.length, len(passing.data)) == (1 << 20, 150_000)
    assert passing.flags & (DROPPED | INCOMPLETE) == DROPPED | INCOMPLETE
    of_the_whole = 20 + 30_000 - octets
    assert event["messages"] == -(-of_the_whole // 300) > 0
    assert event["first"] == whole[-event["messages"]].number


@by_side
def test_a_piece_that_had_gone_on_before_its_receiver_shut_its_reading_is_not_called_lost(
    relayed_exactly: Relayed, side: int
) -> None:
    """Half a message went on, and all of the half was taken: the other half never came."""
    relayed = relayed_exactly
    ends = begun(relayed)
    half = sized(200)[:100]
    ends[side].sendall(half)
    until(lambda: not quiet(ends[1 - side]))
    ends[1 - side].shutdown(socket.SHUT_RD)
    assert ends[1 - side].recv(1000)
    ends[side].close()
    ends[1 - side].close()
    relayed.no_session()
    records = relayed.stop()
    assert not events(records, "undelivered")
    last = messages(records, side)[-1]
    assert last.flags & INCOMPLETE
    assert not last.flags & DROPPED


class Gone:
    """A socket that takes so many sends, and then nobody is there."""

    def __init__(self, sock: socket.socket, sends: int) -> None:
        self.sock = sock
        self.left = sends

    def send(self, data: memoryview) -> int:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.EPIPE, "Broken pipe")
        return self.sock.send(data)


@pytest.mark.parametrize("kept", [False, True], ids=["as it came", "behind half a message"])
def test_what_was_taken_of_one_read_is_told_from_what_was_not(
    relayed: Relayed, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver goes between two portions."""
    front, back = begun(relayed)
    many = [sized(4000, fill=at) for at in range(30)]
    fitting = PORTION // 4000
    data = b"".join(many)
    if kept:
        front.sendall(data[:100])
        taken(front)
        data = data[100:]
    outlet = relayed.session().main.directions[FRONT].outlet
    relayed.call(lambda: monkeypatch.setattr(outlet, "send_bytes", Gone(outlet.target, 2).send))
    with relayed.frozen():
        front.sendall(data)
    for at in range(2 * fitting):
        assert receive(back).data == many[at]
    until(lambda: outlet.gone)
    records = relayed.stop()
    sent = messages(records, FRONT)[1:]
    assert [bool(one.flags & DROPPED) for one in sent] == [at >= 2 * fitting for at in range(30)]
    assert not events(records, "undelivered")
