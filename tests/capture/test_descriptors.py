"""What is found out about descriptors, and that each is closed once: the conftest counts them after every test."""

from __future__ import annotations

import fcntl
import os
import select
import socket
from pathlib import Path

import pytest

from vhostspy.capture import facts
from vhostspy.capture.facts import Facts, comment, describe, words
from vhostspy.capture.record import (
    DESCRIPTOR,
    Descriptor,
    pack_descriptor,
    unpack_descriptor,
)

from .support import ROWS, message, records, writing


def inode(fd: int) -> tuple[int, int]:
    state = os.fstat(fd)
    return state.st_dev, state.st_ino


def eventfd_id(fd: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("eventfd-id:"):
            return int(line.split()[1])
    raise LookupError("no eventfd-id")


@pytest.mark.parametrize("role", ["kick", "memory", ""])
def test_an_eventfd_has_an_id_and_keeps_its_count(role: str) -> None:
    fd = os.eventfd(3, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        assert describe(fd, role) == Descriptor(
            role, "eventfd", "rw", *inode(fd), eventfd_id=eventfd_id(fd), name="anon_inode:[eventfd]"
        )
        assert os.eventfd_read(fd) == 3
    finally:
        os.close(fd)


def test_a_memfd_has_a_size_and_seals() -> None:
    fd = os.memfd_create("guest-ram", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, 1 << 20)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        os.lseek(fd, 5, os.SEEK_SET)
        assert describe(fd, "memory") == Descriptor(
            "memory", "memfd", "rw", *inode(fd), 1 << 20, fcntl.F_SEAL_SHRINK, None, "/memfd:guest-ram (deleted)"
        )
        assert os.lseek(fd, 0, os.SEEK_CUR) == 5
    finally:
        os.close(fd)


def test_a_socket_a_pipe_and_their_access() -> None:
    one, other = socket.socketpair()
    with one, other:
        device, number = inode(one.fileno())
        assert describe(one.fileno(), "socket") == Descriptor(
            "socket", "socket", "rw", device, number, name=f"socket:[{number}]"
        )
    reading, writing_end = os.pipe()
    try:
        assert (describe(reading).kind, describe(reading).access) == ("pipe", "r")
        assert describe(writing_end).access == "w"
        assert describe(writing_end).name == f"pipe:[{inode(reading)[1]}]"
    finally:
        os.close(reading)
        os.close(writing_end)


def test_files_folders_and_devices(tmp_path: Path) -> None:
    plain = tmp_path / "memfd: no"
    plain.write_bytes(b"12345")
    found = {}
    for path, flags in ((plain, os.O_RDONLY), (tmp_path, os.O_RDONLY), (Path("/dev/null"), os.O_WRONLY)):
        fd = os.open(path, flags)
        try:
            found[path.name] = describe(fd)
        finally:
            os.close(fd)
    assert (found[plain.name].kind, found[plain.name].size, found[plain.name].access) == ("file", 5, "r")
    assert found[plain.name].name == str(plain)
    assert found[tmp_path.name].kind == "directory"
    assert (found["null"].kind, found["null"].access) == ("device", "w")


@pytest.mark.parametrize(
    ("link", "kind"),
    [
        ("anon_inode:[userfaultfd]", "userfaultfd"),
        ("/dmabuf:virtio-gpu", "dma-buf"),
        ("anon_inode:dmabuf", "dma-buf"),
        ("anon_inode:[eventpoll]", "other"),
        ("", "other"),
    ],
)
def test_what_cannot_be_made_here_is_known_by_its_link(monkeypatch: pytest.MonkeyPatch, link: str, kind: str) -> None:
    epoll = select.epoll()
    monkeypatch.setattr(facts, "_link", lambda fd: link)
    found = describe(epoll.fileno(), "memory")
    epoll.close()
    assert (found.kind, found.access, found.name) == (kind, "rw", link)
    assert (found.size is not None) == (kind == "dma-buf")


@pytest.mark.parametrize("fd", [-1, 987_654, 1 << 40])
def test_no_descriptor_at_all_is_an_other(fd: int) -> None:
    for role in ("", "kick"):
        assert describe(fd, role) == Descriptor(role, "other")


def test_an_entry_keeps_everything_and_the_end_of_a_long_name() -> None:
    assert DESCRIPTOR.size == 128
    one = Descriptor("kick", "eventfd", "rw", 16, 1 << 63, None, None, 77, "anon_inode:[eventfd]")
    two = Descriptor("memory", "memfd", "r", 1, 2, (1 << 64) - 1, 0xF, None, "/dev/" + "é" * 60)
    assert unpack_descriptor(pack_descriptor(one)) == one
    packed = pack_descriptor(two)
    again = unpack_descriptor(packed)
    assert again[:-1] == two[:-1]
    assert packed[40:] == two.name.encode()[-88:]
    assert two.name.endswith(again.name.lstrip("\N{REPLACEMENT CHARACTER}"))
    odd = Descriptor(name=os.fsdecode(b"/tmp/\xff"))
    assert unpack_descriptor(pack_descriptor(odd)).name == odd.name


def test_a_newer_entry_is_read_as_far_as_it_is_known() -> None:
    entry = bytearray(pack_descriptor(Descriptor("kick", "eventfd", "rw")))
    entry[:3] = b"\xfa\xfb\xfc"
    assert unpack_descriptor(bytes(entry) + b"more") == Descriptor("", "other", "")


def test_the_comment_names_what_people_ask_for() -> None:
    found = [
        Descriptor("memory", "memfd", size=512 << 20),
        Descriptor("kick", "eventfd", eventfd_id=42),
        Descriptor("", "file", size=5),
        Descriptor("socket", "socket", inode=9),
        Descriptor("call", "eventfd", eventfd_id=1),
    ]
    said = [words(one) for one in found]
    assert comment(said[:4]) == b"memory memfd 512 MiB, kick eventfd 42, file 5 B, socket socket 9"
    assert comment(said) == b"memory memfd 512 MiB, kick eventfd 42, file 5 B, 2 more"


def test_many_at_once_are_told_apart_and_each_is_closed() -> None:
    facts_of = Facts()
    try:
        for role in ("kick", "memory"):
            reading, writing_end = os.pipe()
            fds = [os.eventfd(0), os.memfd_create("one"), os.eventfd(7), os.memfd_create("two"), reading]
            os.ftruncate(fds[3], 4096)
            single = [describe(fd, role) for fd in fds]
            entries, _ = facts_of.take(fds, role)
            assert [unpack_descriptor(entries[at : at + 128]) for at in range(0, len(entries), 128)] == single
            for fd in fds:
                with pytest.raises(OSError):
                    os.fstat(fd)
            os.close(writing_end)
    finally:
        facts_of.close()


def test_an_eventfd_is_the_same_whatever_its_count() -> None:
    taken = Facts()
    fds = [os.eventfd(0), os.eventfd(0)]
    found = []
    for count in (0, 1, 0):
        for fd in fds:
            if count:
                os.eventfd_write(fd, count)
            entries, _ = taken.take([fd], "kick", close=False)
            found.append(unpack_descriptor(entries))
            assert found[-1] == describe(fd, "kick")
            if count:
                assert os.eventfd_read(fd) == count
    taken.close()
    for fd in fds:
        os.close(fd)
    assert found[0].eventfd_id != found[1].eventfd_id
    assert found == found[:2] * 3


def test_what_is_remembered_of_a_memfd_is_what_does_not_change() -> None:
    facts_of = Facts()
    fd = os.memfd_create("ram", os.MFD_ALLOW_SEALING)
    try:
        for change in (
            lambda: os.ftruncate(fd, 4096),
            lambda: os.ftruncate(fd, 8192),
            lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW),
            lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL),
            lambda: os.ftruncate(fd, 4096),  # sealed for good, but not against this
        ):
            change()
            for again in (os.dup(fd), os.dup(fd), os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)):
                expected = describe(again, "memory")
                assert unpack_descriptor(facts_of.take([again], "memory")[0]) == expected
    finally:
        os.close(fd)
        facts_of.close()


def test_an_eventfd_does_not_live_longer_because_it_was_looked_at() -> None:
    facts_of = Facts()
    try:
        before = len(os.listdir("/proc/self/fd"))
        fd = os.eventfd(0)
        number = eventfd_id(fd)
        facts_of.take([fd], "kick")
        facts_of.rest()
        assert len(os.listdir("/proc/self/fd")) == before
        left = [Path(f"/proc/self/fdinfo/{name}") for name in os.listdir("/proc/self/fd")]
        assert not any(f"eventfd-id: {number}\n" in path.read_text() for path in left if path.exists())
    finally:
        facts_of.close()


@pytest.mark.parametrize("count", [1, 4, 5, 8, 253])
def test_the_writer_owns_and_closes(tmp_path: Path, count: int) -> None:
    ids = []
    with writing(tmp_path / "a") as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        for _ in range(3):
            fds = [os.eventfd(0) for _ in range(min(count, 250))]
            ids.append([eventfd_id(fd) for fd in fds])
            lane.message(memoryview(message(12, 1, bytes(8))), 0, 0, fds=fds, fds_at=3)
        writer.settle()
        assert not writer.unsettled
    assert [[one.eventfd_id for one in record.fds] for record in records(tmp_path / "a")] == ids
    assert {record.fds_at for record in records(tmp_path / "a")} == {3}


def test_many_messages_with_descriptors_do_not_pile_up(tmp_path: Path) -> None:
    with writing(tmp_path / "a") as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        for _ in range(200):
            lane.message(memoryview(message(12, 1, bytes(8))), 0, 0, fds=[os.eventfd(0)])
            assert writer.unsettled_fds <= 64
    assert all(len(record.fds) == 1 for record in records(tmp_path / "a"))


def test_a_long_message_keeps_its_descriptors(tmp_path: Path) -> None:
    octets = message(5, 1, bytes(300_000))
    with writing(tmp_path / "a") as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        lane.begin(len(octets), memoryview(octets)[:20], 0, 0, fds=[os.eventfd(0), os.eventfd(0)], fds_at=12)
        lane.add(memoryview(octets)[20:], 9)
    (record,) = records(tmp_path / "a")
    assert [one.role for one in record.fds] == ["memory", "memory"]
    assert (record.fds_at, record.span_ns, record.reads, record.data == octets) == (12, 9, 2, True)
