"""Kicks and calls that are relayed one by one: each gets there, each is counted, and no eventfd stays behind."""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from vhostspy.relay.session import Session

from .harness import Relayed, close_all, message, rights, unpacked, until

KICK, CALL = 12, 13


@pytest.fixture
def exact(folder: Path) -> Iterator[Relayed]:
    with Relayed(folder, exact_kicks=True) as relayed:
        yield relayed


def hand_over(relayed: Relayed, number: int, ring: int, fd: int) -> int:
    """The front-end gives its eventfd; what the back-end gets for it."""
    front, back = relayed._opened[-2:]
    front.sendmsg([message(number, struct.pack("=Q", ring))], rights([fd]))
    _, ancillary, _, _ = back.recvmsg(4096, 4096)
    (got,) = unpacked(ancillary)
    return got


def passed(session: Session) -> dict[tuple[str, int], int]:
    assert session.lines is not None
    return session.lines.passed


def until_passed(relayed: Relayed, count: int) -> None:
    session = relayed.session()
    until(lambda: sum(passed(session).values()) == count)


def is_kicked(fd: int) -> bool:
    return bool(select.select([fd], [], [], 10)[0])


def eventfds() -> int:
    found = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{number}").startswith("anon_inode:[eventfd")
        except OSError:
            pass
    return found


def test_each_way(exact: Relayed) -> None:
    exact.open()
    kick, call = os.eventfd(0), os.eventfd(0)
    theirs_kick, theirs_call = hand_over(exact, KICK, 0, kick), hand_over(exact, CALL, 0, call)
    session = exact.session()
    for count in (1, 2, 5):
        os.eventfd_write(kick, count)
        assert is_kicked(theirs_kick)
        assert os.eventfd_read(theirs_kick) == count
    os.eventfd_write(theirs_call, 3)
    assert is_kicked(call)
    assert os.eventfd_read(call) == 3
    assert passed(session) == {("kick", 0): 8, ("call", 0): 3}
    assert exact.call(lambda: session.lines is not None and session.lines.pending("kick", 0)) == 0
    os.eventfd_write(kick, 4)
    assert is_kicked(theirs_kick)
    assert exact.call(lambda: session.lines is not None and session.lines.pending("kick", 0)) == 4
    close_all([kick, call, theirs_kick, theirs_call])


def test_the_peers_modes_are_as_they_were(exact: Relayed) -> None:
    """Whether reading waits is a mode of the eventfd itself, for all who have it."""
    exact.open()
    kick = os.eventfd(0)
    theirs = hand_over(exact, KICK, 0, kick)
    assert os.get_blocking(kick) and os.get_blocking(theirs)
    close_all([kick, theirs])


def test_a_new_eventfd_takes_the_place_of_the_old(exact: Relayed) -> None:
    exact.open()
    before = eventfds()
    for count in range(1, 5):
        kick = os.eventfd(0)
        theirs = hand_over(exact, KICK, 0, kick)
        os.eventfd_write(kick, 1)
        assert is_kicked(theirs)
        until_passed(exact, count)
        close_all([kick, theirs])
    exact.call(exact.relay.writer.settle)
    assert eventfds() - before == 2, "one from the front-end, one of ours"


def test_nothing_stays_behind(exact: Relayed) -> None:
    before = eventfds()
    front, back = exact.open()
    kick = os.eventfd(0)
    os.eventfd_write(kick, 1)
    theirs = hand_over(exact, KICK, 0, kick)
    assert is_kicked(theirs)
    exact.forget()
    front.close()
    assert back.recv(1) == b""
    back.close()
    exact.no_session()
    exact.call(exact.relay.writer.settle)
    close_all([kick, theirs])
    assert eventfds() == before


def test_what_is_no_eventfd_passes_as_it_is(exact: Relayed) -> None:
    exact.open()
    reader, writer = os.pipe()
    theirs = hand_over(exact, KICK, 0, writer)
    assert os.fstat(theirs).st_ino == os.fstat(writer).st_ino
    assert passed(exact.session()) == {}
    close_all([reader, writer, theirs])


def test_many_rings_at_once(exact: Relayed) -> None:
    exact.open()
    kicks = [os.eventfd(0) for _ in range(32)]
    theirs = [hand_over(exact, KICK, ring, fd) for ring, fd in enumerate(kicks)]
    for _ in range(50):
        for fd in kicks:
            os.eventfd_write(fd, 1)
    until_passed(exact, 32 * 50)
    assert all(os.eventfd_read(fd) == 50 for fd in theirs)
    close_all([*kicks, *theirs])


def test_rings_with_one_kick_still_have_one(exact: Relayed) -> None:
    """Whoever of them takes it, it is of all: ours must not go to one of them alone."""
    exact.open()
    kick = os.eventfd(0, os.EFD_NONBLOCK)
    before = eventfds()
    first = hand_over(exact, KICK, 0, kick)
    os.eventfd_write(kick, 2)
    until_passed(exact, 2)
    second = hand_over(exact, KICK, 1, kick)
    os.eventfd_write(kick, 3)
    until(lambda: passed(exact.session())["kick", 1] == 3)
    assert passed(exact.session()) == {("kick", 0): 5, ("kick", 1): 3}, "since each has it"
    assert is_kicked(first) and is_kicked(second)
    assert os.eventfd_read(second) == 5
    with pytest.raises(BlockingIOError):
        os.eventfd_read(first)
    # another takes the place of the first ring's: the second ring keeps the one that both had
    other = os.eventfd(0, os.EFD_NONBLOCK)
    third = hand_over(exact, KICK, 0, other)
    os.eventfd_write(kick, 1)
    until(lambda: passed(exact.session())["kick", 1] == 4)
    os.eventfd_write(other, 1)
    assert is_kicked(second) and is_kicked(third)
    until(lambda: passed(exact.session()) == {("kick", 0): 6, ("kick", 1): 4})
    # and it is gone with the last
    close_all([first, second])
    fourth = hand_over(exact, KICK, 1, other)
    exact.call(exact.relay.writer.settle)
    close_all([third, fourth, other])
    assert eventfds() == before + 2, "the other as the line holds it, and ours"
    close_all([kick])


def test_calls_of_several_rings_to_one_eventfd_are_each_counted(exact: Relayed) -> None:
    exact.open()
    call = os.eventfd(0, os.EFD_NONBLOCK)
    first, second = hand_over(exact, CALL, 0, call), hand_over(exact, CALL, 1, call)
    os.eventfd_write(first, 2)
    os.eventfd_write(second, 3)
    until_passed(exact, 5)
    assert passed(exact.session()) == {("call", 0): 2, ("call", 1): 3}
    assert is_kicked(call)
    assert os.eventfd_read(call) == 5
    close_all([call, first, second])


@pytest.mark.parametrize("waits", [False, True])
def test_an_eventfd_that_is_full_is_no_end_of_the_relay(exact: Relayed, waits: bool) -> None:
    """Its writer would have to wait, or is refused; a full one says all that a kick says."""
    exact.open()
    kick = os.eventfd(0, os.EFD_CLOEXEC | (0 if waits else os.EFD_NONBLOCK))
    got = hand_over(exact, KICK, 0, kick)
    most = (1 << 64) - 2
    for times in range(1, 4):
        os.eventfd_write(kick, most)
        until_passed(exact, times * most)
    assert is_kicked(got)
    hand_over_again = hand_over(exact, KICK, 1, kick)
    close_all([kick, got, hand_over_again])


@pytest.mark.parametrize("number", [KICK, CALL])
def test_how_an_eventfd_is_read_stays_as_it_was(exact: Relayed, number: int) -> None:
    exact.open()
    for flags in (0, os.EFD_NONBLOCK):
        given = os.eventfd(0, flags)
        got = hand_over(exact, number, 0, given)
        assert os.get_blocking(got) == os.get_blocking(given)
        close_all([given, got])


def test_kicks_that_are_read_one_by_one(exact: Relayed) -> None:
    exact.open()
    kick = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
    # before Linux 6.5 the kernel does not tell: then ours is read at once, as most are
    tells = "eventfd-semaphore" in Path(f"/proc/self/fdinfo/{kick}").read_text()
    got = hand_over(exact, KICK, 0, kick)
    os.eventfd_write(kick, 3)
    until_passed(exact, 3)
    expected = [1, 1, 1] if tells else [3]
    assert [os.eventfd_read(got) for _ in expected] == expected
    with pytest.raises(BlockingIOError):
        os.eventfd_read(got)
    close_all([kick, got])
