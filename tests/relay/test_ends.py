"""How a session ends: what a peer does the other sees, as near as the kernel lets us; who was first is recorded."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from time import monotonic_ns

import pytest

from vhostspy.capture import record
from vhostspy.capture.record import Record
from vhostspy.relay import session

from .harness import (
    BACK,
    FRONT,
    Relayed,
    at_end,
    by_side,
    close_all,
    events,
    fill,
    message,
    messages,
    pair,
    quiet,
    receive,
    receive_bytes,
    rights,
    send,
    sized,
    taken,
    unpacked,
    until,
)


def ends_of(records: list[Record]) -> list[tuple[str, int]]:
    """The ends and resets in their order: (event, side)."""
    return [(event["event"], event["sender"]) for event in events(records) if event["event"] in ("eof", "reset")]


def exchange(relayed: Relayed) -> tuple[socket.socket, socket.socket]:
    """A session in which both have spoken."""
    ends = relayed.open()
    for end in (FRONT, BACK):
        send(ends[end], sized(20))
        receive(ends[1 - end])
    return ends


@by_side
def test_a_half_close_passes_on_while_the_other_direction_lives(relayed: Relayed, side: int) -> None:
    ends = exchange(relayed)
    ends[side].shutdown(socket.SHUT_WR)
    assert at_end(ends[1 - side])
    for at in range(3):
        send(ends[1 - side], sized(30, fill=at), [at])
        assert receive(ends[side]).tags == (at,)
    assert relayed.relay.sessions
    ends[1 - side].shutdown(socket.SHUT_WR)
    assert at_end(ends[side])
    relayed.no_session()
    assert ends_of(relayed.stop()) == [("eof", side), ("eof", 1 - side)]


@by_side
def test_what_was_sent_before_a_half_close_comes_before_it(relayed: Relayed, side: int) -> None:
    ends = exchange(relayed)
    with relayed.frozen():
        for at in range(5):
            send(ends[side], sized(30, fill=at), [at])
        ends[side].shutdown(socket.SHUT_WR)
    assert [receive(ends[1 - side]).tags for _ in range(5)] == [(at,) for at in range(5)]
    assert at_end(ends[1 - side])


@by_side
def test_a_full_close(relayed: Relayed, side: int) -> None:
    ends = exchange(relayed)
    ends[side].close()
    assert at_end(ends[1 - side])
    with pytest.raises(BrokenPipeError):  # as directly: whoever writes to a closed peer is told at once
        ends[1 - side].sendall(sized(20))
    ends[1 - side].close()
    relayed.no_session()
    records = relayed.stop()
    assert ends_of(records) == [("eof", side)]
    (closing,) = events(records, "close")
    assert closing["bytes"] == {"front-end": 20, "back-end": 20}


@by_side
def test_what_was_sent_before_a_full_close_comes_before_it(relayed: Relayed, side: int) -> None:
    ends = exchange(relayed)
    with relayed.frozen():
        for at in range(5):
            send(ends[side], sized(30, fill=at), [at])
        ends[side].close()
    assert [receive(ends[1 - side]).tags for _ in range(5)] == [(at,) for at in range(5)]
    assert at_end(ends[1 - side])
    relayed.no_session()


@by_side
def test_more_than_fits_before_a_full_close_comes_before_it(relayed: Relayed, side: int) -> None:
    """The receiver reads nothing until the sender is gone: what waits in the relay is delivered all the same."""
    ends = exchange(relayed)
    sent = fill(relayed, side, ends[side], [65_548]).octets
    ends[side].close()
    assert receive_bytes(ends[1 - side], len(sent)) == sent
    assert at_end(ends[1 - side])
    relayed.no_session()


@by_side
def test_both_close_at_once(relayed: Relayed, side: int) -> None:
    ends = exchange(relayed)
    with relayed.frozen():
        ends[side].close()
        ends[1 - side].close()
    relayed.no_session()
    assert len(ends_of(relayed.stop())) >= 1


@by_side
def test_a_reset_is_recorded_as_one_and_passed_on_if_there_is_something_unread(relayed: Relayed, side: int) -> None:
    """A peer that closes with unread bytes resets. The other sees a reset if bytes of its own lie unread in us."""
    ends = exchange(relayed)
    with relayed.frozen():
        send(ends[1 - side], sized(20))
    until(lambda: not quiet(ends[side]))
    with relayed.frozen():
        send(ends[side], sized(28), [3])
        send(ends[1 - side], sized(20))
        ends[side].close()
    assert receive(ends[1 - side]).tags == (3,)
    try:
        assert ends[1 - side].recv(1) == b""
        seen = "end"
    except ConnectionResetError:
        seen = "reset"
    relayed.no_session()
    records = relayed.stop()
    assert ends_of(records) == [("reset", side)]
    # whether the relay had read the other's last bytes before it noticed decides which of the two it sees
    late = messages(records, 1 - side)
    assert seen == ("reset" if len(late) == 2 else "end")


@by_side
def test_what_waits_in_the_relay_is_delivered_before_a_reset_passes(relayed: Relayed, side: int) -> None:
    """Without us the receiver would find all that was sent before the reset."""
    ends = exchange(relayed)
    send(ends[1 - side], sized(20))
    until(lambda: not quiet(ends[side]))
    sent = fill(relayed, side, ends[side], [65_548]).octets
    ends[side].close()  # with an unread message
    assert receive_bytes(ends[1 - side], len(sent)) == sent
    with pytest.raises((ConnectionResetError, EOFError)):
        receive_bytes(ends[1 - side], 1)
    relayed.no_session()
    records = relayed.stop()
    assert ends_of(records) == [("reset", side)]
    assert not any(one.flags & record.DROPPED for one in messages(records, side))


@by_side
def test_a_receiver_that_shuts_its_reading(relayed: Relayed, side: int) -> None:
    """Its sender is refused, as it would be directly, and what did not arrive is recorded as that."""
    ends = exchange(relayed)
    ends[1 - side].shutdown(socket.SHUT_RD)

    def refused() -> bool:
        try:
            send(ends[side], sized(20), [1])
        except OSError as error:
            return error.errno == errno.EPIPE
        return False

    until(refused)
    # the other direction lives
    send(ends[1 - side], sized(40), [2])
    assert receive(ends[side]).tags == (2,)
    ends[1 - side].close()
    assert at_end(ends[side])
    ends[side].close()
    relayed.no_session()
    records = relayed.stop()
    sent = messages(records, side)
    assert all(one.flags & record.DROPPED for one in sent[1:])
    assert len(sent) > 1
    assert ends_of(records)[0] == ("eof", 1 - side)


@by_side
def test_a_peer_that_closes_while_data_for_it_is_queued(relayed: Relayed, side: int) -> None:
    """The sender is stalled by it, and must learn of the end instead of waiting for ever."""
    ends = exchange(relayed)
    fill(relayed, side, ends[side], [65_548])
    ends[1 - side].close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while True:
            ends[side].sendall(sized(65_548))
    ends[side].close()
    relayed.no_session()
    assert ("reset", 1 - side) in ends_of(relayed.stop())


@by_side
def test_a_peer_that_closes_while_both_ways_are_full(relayed: Relayed, side: int) -> None:
    ends = exchange(relayed)
    for each in (FRONT, BACK):
        fill(relayed, each, ends[each], [65_548])
    ends[side].close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while True:
            ends[1 - side].sendall(sized(65_548))
    ends[1 - side].close()
    relayed.no_session()


@by_side
def test_a_session_without_a_byte(relayed: Relayed, side: int) -> None:
    ends = relayed.open()
    ends[side].close()
    assert at_end(ends[1 - side])
    relayed.no_session()
    records = relayed.stop()
    assert ends_of(records) == [("eof", side)]
    assert not messages(records)


def test_both_half_close_one_after_the_other(relayed: Relayed) -> None:
    front, back = exchange(relayed)
    back.shutdown(socket.SHUT_WR)
    assert at_end(front)
    front.close()
    assert at_end(back)
    relayed.no_session()
    assert ends_of(relayed.stop()) == [("eof", BACK), ("eof", FRONT)]


def nested(front: socket.socket, back: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Open a back-end channel: the front-end's socket of it, and the back-end's."""
    ours, theirs = pair()
    front.sendmsg([message(21)], rights([theirs.fileno()]))
    theirs.close()
    _, ancillary, _, _ = back.recvmsg(4096, 4096)
    (fd,) = unpacked(ancillary)
    other = socket.socket(fileno=fd)
    other.settimeout(10)
    return ours, other


@pytest.fixture
def long_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than any test lasts."""
    monkeypatch.setattr(session, "GRACE_NS", 100 * session.GRACE_NS)


def test_a_nested_channel_may_outlive_the_main_one(relayed: Relayed, long_grace: None) -> None:
    front, back = exchange(relayed)
    ours, other = nested(front, back)
    with ours, other:
        front.close()
        back.close()
        until(lambda: relayed.call(lambda: relayed.session().main.closed))
        send(other, sized(20), [4])
        assert receive(ours).tags == (4,)
        assert quiet(ours)
    relayed.no_session()
    assert len(messages(relayed.stop(), BACK, "backend")) == 1


def test_a_nested_channel_may_outlive_the_main_one_for_a_moment_only(
    relayed: Relayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "GRACE_NS", session.GRACE_NS // 5)
    front, back = exchange(relayed)
    ours, other = nested(front, back)
    with ours, other:
        begun = monotonic_ns()
        front.close()
        back.close()
        assert at_end(ours)
        assert monotonic_ns() - begun >= session.GRACE_NS
        assert at_end(other)
    relayed.no_session()


def test_a_session_ends_with_its_last_channel(relayed: Relayed, long_grace: None) -> None:
    """No time is waited for then."""
    front, back = exchange(relayed)
    ours, other = nested(front, back)
    front.close()
    back.close()
    ours.close()
    assert at_end(other)
    other.close()
    relayed.no_session()


def test_a_nested_channel_that_closes_leaves_the_main_one_alone(relayed: Relayed) -> None:
    front, back = exchange(relayed)
    ours, other = nested(front, back)
    ours.close()
    assert at_end(other)
    other.close()
    send(front, sized(20), [5])
    assert receive(back).tags == (5,)


def test_a_back_end_that_does_not_want_the_nested_socket(relayed: Relayed) -> None:
    front, back = exchange(relayed)
    ours, theirs = pair()
    front.sendmsg([message(21)], rights([theirs.fileno()]))
    theirs.close()
    _, ancillary, _, _ = back.recvmsg(4096, 4096)
    close_all(unpacked(ancillary))
    with ours:
        assert at_end(ours)


def test_the_relay_stops_in_the_middle(relayed: Relayed) -> None:
    """With something held, something queued and a nested channel open: all is given back, the capture is complete."""
    front, back = exchange(relayed)
    ours, other = nested(front, back)
    with ours, other:
        send(front, sized(20)[:15], [7])
        taken(front)
        fill(relayed, BACK, back, [2000], [8])
        records = relayed.stop()
        assert at_end(ours)
        assert at_end(other)
    half = [one for one in messages(records, FRONT) if one.flags & record.INCOMPLETE]
    assert [(one.length, len(one.fds)) for one in half] == [(15, 1)]
    assert len(events(records, "close")) == 1


def test_the_relay_stops_while_a_nested_channel_has_its_grace(folder: Path, long_grace: None) -> None:
    with Relayed(folder) as relayed:
        front, back = exchange(relayed)
        ours, other = nested(front, back)
        with ours, other:
            front.close()
            back.close()
            until(lambda: relayed.call(lambda: relayed.session().main.closed))
            records = relayed.stop()
            assert at_end(ours)
    assert len(events(records, "close")) == 1
