"""Kicks and calls are counted without taking any, whoever takes them how soon."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from vhostspy.inspection.notifications import Noticed, Notifications


@pytest.fixture
def watched() -> Iterator[tuple[int, int, Notifications]]:
    """An eventfd, the duplicate of it that is watched, and who watches."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    notifications = Notifications()
    own = os.dup(fd)
    notifications.add(own)
    yield fd, own, notifications
    notifications.close()
    os.close(fd)


def test_a_kick_that_is_taken_at_once_is_seen(watched: tuple[int, int, Notifications]) -> None:
    fd, own, notifications = watched
    for count in range(1, 4):
        os.eventfd_write(fd, 1)
        assert os.eventfd_read(fd) == 1
        assert notifications.poll()
        assert notifications.look(own) == Noticed(count, 0)


def test_that_one_is_taken_is_none(watched: tuple[int, int, Notifications]) -> None:
    fd, own, notifications = watched
    os.eventfd_write(fd, 1)
    notifications.poll()
    assert notifications.look(own) == Noticed(1, 1)
    os.eventfd_read(fd)
    notifications.poll()
    assert notifications.look(own) == Noticed(1, 0)
    assert not notifications.poll()


def test_several_between_two_looks_are_at_least_one(watched: tuple[int, int, Notifications]) -> None:
    fd, own, notifications = watched
    for _ in range(5):
        os.eventfd_write(fd, 2)
    notifications.poll()
    assert notifications.look(own) == Noticed(1, 10)


@pytest.mark.parametrize("flags", [os.EFD_NONBLOCK, os.EFD_NONBLOCK | os.EFD_SEMAPHORE])
def test_what_was_there_before_is_none_and_stays(flags: int) -> None:
    fd = os.eventfd(3, flags)
    notifications = Notifications()
    own = os.dup(fd)
    notifications.add(own)
    assert notifications.look(own) == Noticed(0, 3)
    os.eventfd_read(fd)
    notifications.poll()
    assert notifications.look(own).seen == 0
    os.eventfd_write(fd, 1)
    notifications.poll()
    assert notifications.look(own).seen == 1
    notifications.close()
    os.close(fd)


def test_at_the_most_that_it_can_count(watched: tuple[int, int, Notifications]) -> None:
    fd, own, notifications = watched
    most = (1 << 64) - 2
    os.eventfd_write(fd, most)
    notifications.poll()
    assert notifications.look(own) == Noticed(1, most)
    with pytest.raises(BlockingIOError):
        os.eventfd_write(fd, 1)
    assert os.eventfd_read(fd) == most
    os.eventfd_write(fd, 1)
    notifications.poll()
    assert notifications.look(own).pending == 1


def test_one_eventfd_for_all_rings(watched: tuple[int, int, Notifications]) -> None:
    fd, own, notifications = watched
    second = os.dup(fd)
    notifications.add(second)
    os.eventfd_write(fd, 1)
    notifications.poll()
    assert notifications.look(own) == notifications.look(second) == Noticed(1, 1)
    notifications.drop(second)
    os.eventfd_write(fd, 1)
    notifications.poll()
    assert notifications.look(own) == Noticed(2, 2)


def test_where_the_process_has_no_room_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    notifications = Notifications()
    fd = os.eventfd(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            notifications.add(fd)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    os.close(fd)
    notifications.close()
