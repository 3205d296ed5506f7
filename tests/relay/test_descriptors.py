"""Every descriptor reaches the receiver on its own message, and none stays behind in the relay.

Sends are written as in ``test_kernel``: ``A20+1`` is one send of a message of 20 bytes with one descriptor. ``H12 P8``
is a message of 20 bytes in two sends, header and payload. The receiver reads header and payload with one call each.
"""

from __future__ import annotations

import os
import re
import socket
from typing import NamedTuple

import pytest

from vhostspy.capture import record
from vhostspy.relay.descriptors import close_row
from vhostspy.relay.direction import READS_ON
from vhostspy.relay.outlet import PORTION, Outlet

from .harness import (
    Got,
    Relayed,
    close_all,
    events,
    message,
    messages,
    receive,
    receive_in_two_calls,
    rights,
    send,
    sized,
    tagged,
    taken,
    unpacked,
    until,
)

SET_VRING_KICK = 12

# halves of messages that come one after another belong together here
pytestmark = pytest.mark.usefixtures("long_hold")


class Case(NamedTuple):
    number: str
    sent: str
    #: messages and how many descriptors each must come with
    expected: str


CASES = [
    Case("1", "A20 B20", "A20 B20"),
    Case("2", "A20 B20+1", "A20 B20+1"),
    Case("3", "A20+1 B20", "A20+1 B20"),
    Case("4", "A20+1 B20+2", "A20+1 B20+2"),
    Case("5", "N20 B20 D52 K20+1 C20+1 E20 F20", "N20 B20 D52 K20+1 C20+1 E20 F20"),
    Case("7", "A20+1 B20 C20", "A20+1 B20 C20"),
    Case("8", "A20 B20+1 C20", "A20 B20+1 C20"),
    Case("9, header and payload in two sends", "A20 H12+1 P8 Z20", "A20 H20+1 Z20"),
    Case("9, the next with descriptors too", "A20 H12+1 P8 Z20+2", "A20 H20+1 Z20+2"),
    Case("9, twice", "H12+1 P8 H12+1 P8 Z20", "H20+1 H20+1 Z20"),
    Case("10, late", "H12 P8+1 Z20", "H20+1 Z20"),
    Case("10, half early, half late", "A20 H12+1 P8+2 Z20", "A20 H20+3 Z20"),
    Case("11, as long as can be", "A20 M65548+2 Z20", "A20 M65548+2 Z20"),
    Case("13, with no bytes before", "A20 B12+8", "A20 B12+8"),
    Case("20", "A20 B20+253 C20", "A20 B20+253 C20"),
    Case("a burst", "A20 " + "B20+1 " * 40 + "C20", "A20 " + "B20+1 " * 40 + "C20"),
]
DIRECTIONS = {"to the back-end": 0, "to the front-end": 1}


def parsed(text: str) -> list[tuple[str, int, list[int]]]:
    """(letter, length, tags); tags count on through the text."""
    found, tag = [], 1
    for letter, length, descriptors in re.findall(r"([A-Z])(\d+)(?:\+(\d+))?", text):
        following = tag + int(descriptors or 0)
        found.append((letter, int(length), list(range(tag, following))))
        tag = following
    return found


#: SET_VRING_KICK, which may carry descriptors and is passed on in a shorter way, and one that may not
CARRIER, OTHER = 12, 40
kinds = pytest.mark.parametrize("number", [CARRIER, OTHER], ids=["known to carry", "not known to carry"])


def octets(letter: str, length: int, number: int) -> bytes:
    if letter == "H":
        return message(number, bytes(8))[:length]
    if letter == "P":
        return bytes(length)
    return sized(length, number=number, fill=ord(letter))


def expected_of(case: Case) -> list[tuple[int, tuple[int, ...]]]:
    return [(length, tuple(tags)) for _, length, tags in parsed(case.expected)]


def seen(got: list[Got]) -> list[tuple[int, tuple[int, ...]]]:
    return [(len(one.data), one.tags) for one in got]


def ends(relayed: Relayed, direction: int) -> tuple[socket.socket, socket.socket]:
    opened = relayed.open()
    until(lambda: relayed.relay.sessions, "the session begins")
    sender, receiver = opened[direction], opened[1 - direction]
    # room for all of a case at once, so that the relay finds it in one read if it can
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return sender, receiver


def greet(sender: socket.socket, receiver: socket.socket) -> None:
    """The first message of a session goes another way than all that follow."""
    send(sender, sized(20))
    receive(receiver)


def none_kept(relayed: Relayed) -> None:
    assert relayed.descriptors_in_hand() == 0


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
@pytest.mark.parametrize("case", CASES, ids=[case.number for case in CASES])
@kinds
def test_each_descriptor_comes_with_its_message(
    relayed: Relayed, case: Case, at_once: bool, direction: int, number: int
) -> None:
    sender, receiver = ends(relayed, direction)
    greet(sender, receiver)
    before = len(os.listdir("/proc/self/fd"))
    if at_once:
        with relayed.frozen():
            for letter, length, tags in parsed(case.sent):
                send(sender, octets(letter, length, number), tags)
    else:
        for letter, length, tags in parsed(case.sent):
            send(sender, octets(letter, length, number), tags)
            taken(sender)
    expected = expected_of(case)
    careful = receive if max(length for length, _ in expected) > 36_544 else receive_in_two_calls
    assert seen([careful(receiver) for _ in expected]) == expected
    none_kept(relayed)
    assert len(os.listdir("/proc/self/fd")) == before
    recorded = messages(relayed.stop(), direction)
    assert [(one.length, len(one.fds)) for one in recorded[1:]] == [(length, len(tags)) for length, tags in expected]


@pytest.mark.parametrize("case", CASES, ids=[case.number for case in CASES])
@kinds
def test_exact_reads_bring_them_where_they_were_sent(relayed_exactly: Relayed, case: Case, number: int) -> None:
    """Nothing is mended: a descriptor that was sent with the payload comes with the payload."""
    sender, receiver = ends(relayed_exactly, 0)
    greet(sender, receiver)
    with relayed_exactly.frozen():
        for letter, length, tags in parsed(case.sent):
            send(sender, octets(letter, length, number), tags)
    expected = expected_of(case)
    assert seen([receive(receiver) for _ in expected]) == expected
    none_kept(relayed_exactly)


@pytest.mark.parametrize("descriptors", [False, True], ids=["", "with descriptors behind them"])
@pytest.mark.parametrize("length", [20, 4096, 10_000, 36_544, 40_000])
@pytest.mark.parametrize("first", [False, True], ids=["", "at the beginning"])
def test_portions_are_whole_messages_that_the_kernel_keeps_in_one_piece(
    relayed: Relayed, monkeypatch: pytest.MonkeyPatch, length: int, descriptors: bool, first: bool
) -> None:
    """Or one that is longer, alone."""
    sender, receiver = ends(relayed, 0)
    if not first:
        greet(sender, receiver)
    portions: list[int] = []
    pass_on = Outlet.send

    def watched(self: Outlet, data: memoryview, fds: list[int], *, keep: bool = False) -> bool:
        portions.append(len(data))
        return pass_on(self, data, fds, keep=keep)

    monkeypatch.setattr(Outlet, "send", watched)
    count = 120_000 // length
    with relayed.frozen():
        sender.sendall(sized(length) * count)
        if descriptors:
            send(sender, sized(20, CARRIER), [1])
    got = [receive(receiver) for _ in range(count + descriptors)]
    assert all(len(one.data) == length for one in got[:count])
    assert [one.tags for one in got[count:]] == [(1,)] * descriptors
    sizes = [one for one in portions if one != 20 or length == 20]
    assert all(size % length == 0 for size in sizes)
    assert all(size <= PORTION or size == length for size in sizes)


def test_14_a_receiver_that_asks_for_credentials_gets_ours(relayed: Relayed) -> None:
    sender, receiver = ends(relayed, 0)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    send(sender, sized(20), [7])
    data, ancillary, _, _ = receiver.recvmsg(4096, 4096)
    close_all(unpacked(ancillary))
    assert len(data) == 20
    assert {kind for _, kind, _ in ancillary} == {socket.SCM_RIGHTS, socket.SCM_CREDENTIALS}


def test_14_credentials_that_a_sender_attaches_disturb_nothing(relayed: Relayed) -> None:
    sender, receiver = ends(relayed, 0)
    fds = tagged(7)
    credentials = (
        (os.getpid()).to_bytes(4, "little") + os.getuid().to_bytes(4, "little") + os.getgid().to_bytes(4, "little")
    )
    sender.sendmsg([sized(20)], [*rights(fds), (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])
    close_all(fds)
    assert receive_in_two_calls(receiver).tags == (7,)


def test_21_two_sets_of_rights_in_one_send(relayed: Relayed) -> None:
    sender, receiver = ends(relayed, 0)
    fds = tagged(1, 2, 3)
    sender.sendmsg([sized(20)], rights(fds[:1]) + rights(fds[1:]))
    close_all(fds)
    assert receive_in_two_calls(receiver).tags == (1, 2, 3)
    none_kept(relayed)


def test_several_messages_in_one_send_are_marked_when_the_last_takes_no_descriptors(relayed: Relayed) -> None:
    """Nobody can tell whose they are: they go to the last, and the record says that this may be wrong."""
    sender, receiver = ends(relayed, 0)
    kick, started = message(12, bytes(8)), message(18, bytes(8))
    send(sender, kick + started, [5])
    assert [receive_in_two_calls(receiver).tags for _ in range(2)] == [(), (5,)]
    send(sender, started + kick, [6])
    assert [receive_in_two_calls(receiver).tags for _ in range(2)] == [(), (6,)]
    marked = [bool(one.flags & record.UNSURE_FDS) for one in messages(relayed.stop())]
    assert marked == [False, True, False, False]


def test_late_descriptors_are_recorded_as_such(relayed: Relayed) -> None:
    sender, receiver = ends(relayed, 0)
    data = message(40, bytes(8))
    with relayed.frozen():
        send(sender, data[:12])
        send(sender, data[12:], [9])
    assert receive_in_two_calls(receiver).tags == (9,)
    send(sender, data[:12], [10])
    taken(sender)
    send(sender, data[12:15])
    taken(sender)
    send(sender, data[15:], [11])
    assert receive_in_two_calls(receiver).tags == (10, 11)
    _, second = messages(relayed.stop())
    assert second.flags & record.LATE_FDS
    assert (second.fds_at, second.reads, len(second.fds)) == (15, 3, 2)


def test_a_descriptor_that_reaches_its_reader_is_closed_in_the_relay_soon(relayed: Relayed) -> None:
    """A pipe that the relay keeps would delay its reader's end of file: without any more traffic it must be let go."""
    sender, receiver = ends(relayed, 0)
    read_end, write_end = os.pipe()
    sender.sendmsg([sized(20)], rights([write_end]))
    os.close(write_end)
    _, ancillary, _, _ = receiver.recvmsg(4096, 4096)
    close_all(unpacked(ancillary))
    os.set_blocking(read_end, False)

    def ended() -> bool:
        try:
            return os.read(read_end, 1) == b""
        except BlockingIOError:
            return False

    until(ended, "the pipe's other end is closed")
    os.close(read_end)


def test_a_burst_with_descriptors_leaves_the_other_end_its_turn(relayed: Relayed) -> None:
    """The relay reads on behind descriptors, but not for ever."""
    front, back = relayed.open()
    greet(front, back)
    with relayed.frozen():
        for at in range(3 * READS_ON):
            send(front, sized(20, SET_VRING_KICK), [at])
        send(back, sized(20))
    assert [receive(back).tags for _ in range(3 * READS_ON)] == [(at,) for at in range(3 * READS_ON)]
    receive(front)
    none_kept(relayed)
    senders = [one.sender for one in messages(relayed.stop())]
    assert senders.index(1) <= 1 + 1 + READS_ON


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_what_is_no_message_goes_on_with_its_descriptors(relayed: Relayed, direction: int) -> None:
    sender, receiver = ends(relayed, direction)
    garbage = bytes(range(1, 256)) * 40
    send(sender, sized(20), [1])
    send(sender, garbage, [2, 3])
    first = receive_in_two_calls(receiver)
    assert first.tags == (1,)
    data, tags = b"", []
    while len(data) < len(garbage):
        piece, ancillary, _, _ = receiver.recvmsg(65536, 4096)
        fds = unpacked(ancillary)
        tags += [int.from_bytes(os.pread(fd, 8, 0), "little") for fd in fds]
        close_all(fds)
        data += piece
    assert (data, tags) == (garbage, [2, 3])
    none_kept(relayed)
    records = relayed.stop()
    (unread,) = events(records, "unread")
    assert (unread["offset"], unread["sender"]) == (20, direction)
    raw = [one for one in messages(records, direction) if one.kind == record.RAW]
    assert b"".join(one.data for one in raw) == garbage
    assert sum(len(one.fds) for one in raw) == 2


def test_first_bytes_of_no_known_protocol_go_on(relayed: Relayed) -> None:
    sender, receiver = ends(relayed, 0)
    garbage = b"\xff" * 150_000
    send(sender, garbage, [1])
    data, tags = b"", []
    while len(data) < len(garbage):
        piece, ancillary, _, _ = receiver.recvmsg(65536, 4096)
        fds = unpacked(ancillary)
        tags += [int.from_bytes(os.pread(fd, 8, 0), "little") for fd in fds]
        close_all(fds)
        data += piece
    assert (data, tags) == (garbage, [1])
    # the other direction speaks for itself
    send(receiver, sized(20), [2])
    assert receive_in_two_calls(sender).tags == (2,)
    assert events(relayed.stop(), "unread")[0]["offset"] == 0


@pytest.mark.parametrize("order", ["as they came", "from behind", "mixed", "with a hole", "one", "none"])
def test_numbers_in_a_row_are_closed_and_no_others(order: str) -> None:
    """Those in a row go in one call; a number between them that is another's stays open."""
    fds = tagged(*range(6))
    mine = {
        "as they came": fds,
        "from behind": fds[::-1],
        "mixed": [fds[0], fds[5], fds[2], fds[3]],  # the last is as far from the first as four in a row are
        "with a hole": fds[:2] + fds[3:],
        "one": fds[2:3],
        "none": [],
    }[order]
    others = [fd for fd in fds if fd not in mine]
    close_row(mine)
    try:
        for fd in others:
            os.fstat(fd)
        for fd in mine:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
    finally:
        close_all(others)
