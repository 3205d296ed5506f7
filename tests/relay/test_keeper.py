"""The memory keeper: what is kept of a session's memory, for how long, and who gets it."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from vhostspy.capture.record import SAMPLE
from vhostspy.relay.control import Control

from .harness import (
    Relayed,
    close_all,
    connected,
    message,
    messages,
    open_to_viewers,
    receive,
    rights,
    tag_of,
    tagged,
    unpacked,
    until,
)

SET_MEM_TABLE, SET_VRING_KICK, SET_VRING_CALL = 5, 12, 13
SET_LOG_BASE, SET_INFLIGHT_FD, ADD_MEM_REG, REM_MEM_REG = 6, 32, 37, 38
POSTCOPY_LISTEN, POSTCOPY_END = 29, 30


@pytest.fixture
def watched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Relayed, Control]]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder, keep_memory=True) as relayed, open_to_viewers(relayed) as control:
        yield relayed, control


def regions(count: int, first: int = 0) -> bytes:
    """A table of memory regions of 4 KiB each, one behind the other."""
    entries = [struct.pack("=4Q", at << 12, 4096, 0x7000_0000 + (at << 12), 0) for at in range(first, first + count)]
    return struct.pack("=II", count, 0) + b"".join(entries)


def slot(at: int) -> bytes:
    return struct.pack("=5Q", 0, at << 12, 4096, 0x7000_0000 + (at << 12), 0)


def pass_on(front: socket.socket, back: socket.socket, data: bytes, fds: Sequence[int] = ()) -> None:
    """One message from front-end to back-end; takes over the descriptors."""
    front.sendmsg([data], rights(fds))
    close_all(fds)
    receive_anything(back, len(data))


def receive_anything(sock: socket.socket, length: int) -> None:
    data, ancillary, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC)
    assert len(data) == length
    close_all(unpacked(ancillary))


def ask(control: Control, **request: Any) -> tuple[dict[str, Any], list[int]]:
    """The answer, and the descriptors that came with it."""
    with connected(control.path) as sock:
        sock.sendall(json.dumps(request).encode() + b"\n")
        data, ancillary, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC)
        while not data.endswith(b"\n"):
            data += sock.recv(65536)
        return json.loads(data), unpacked(ancillary)


def kept(control: Control, session: int = 1) -> dict[tuple[int, int, str], int | str]:
    """(message, position, role) -> what is in it: the tag of a file, "eventfd" else."""
    answer, fds = ask(control, do="memory", session=session)
    assert answer["ok"], answer
    found: dict[tuple[int, int, str], int | str] = {}
    for (no, at, role, _ring), fd in zip(answer["kept"], fds, strict=True):
        found[no, at, role] = "eventfd" if role in ("kick", "call") else tag_of(fd)
    close_all(fds)
    return found


def memory_files() -> int:
    """Files of tags that this process (and so the relay in it) has open."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    return sum(link.startswith("/memfd:tag ") for link in links)


def test_a_new_table_takes_the_place_of_the_old(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    pass_on(front, back, message(SET_MEM_TABLE, regions(3)), tagged(1, 2, 3))
    assert kept(control) == {(1, 0, "memory"): 1, (1, 1, "memory"): 2, (1, 2, "memory"): 3}
    for number in (2, 3):  # the second of a kind takes another way through the capture
        pass_on(front, back, message(SET_MEM_TABLE, regions(3)), tagged(4, 5, 6))
        assert kept(control) == {(number, 0, "memory"): 4, (number, 1, "memory"): 5, (number, 2, "memory"): 6}
    relayed.call(relayed.relay.writer.settle)
    assert memory_files() == 3


def test_slots_come_and_go(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    for at in range(3):
        pass_on(front, back, message(ADD_MEM_REG, slot(at)), tagged(10 + at))
    pass_on(front, back, message(REM_MEM_REG, slot(1)))
    assert kept(control) == {(1, 0, "memory"): 10, (3, 0, "memory"): 12}
    pass_on(front, back, message(REM_MEM_REG, slot(0)), tagged(77))  # libblkio sends a descriptor along
    pass_on(front, back, message(REM_MEM_REG, slot(2)))
    assert kept(control) == {}
    pass_on(front, back, message(ADD_MEM_REG, slot(0), need_reply=True), tagged(13))
    pass_on(back, front, message(ADD_MEM_REG, struct.pack("=Q", 0), reply=True))
    assert kept(control) == {(7, 0, "memory"): 13}
    pass_on(front, back, message(ADD_MEM_REG, slot(1), need_reply=True), tagged(14))
    pass_on(back, front, message(ADD_MEM_REG, struct.pack("=Q", 1), reply=True))  # refused
    assert kept(control) == {(7, 0, "memory"): 13}


def test_which_of_two_regions_was_refused(watched: tuple[Relayed, Control]) -> None:
    """The front-end does not wait for the first answer before it adds the second."""
    relayed, control = watched
    front, back = relayed.open()
    for at in range(2):
        pass_on(front, back, message(ADD_MEM_REG, slot(at), need_reply=True), tagged(10 + at))
    pass_on(front, back, message(ADD_MEM_REG, slot(2)), tagged(12))
    pass_on(back, front, message(ADD_MEM_REG, struct.pack("=Q", 1), reply=True))
    assert kept(control) == {(2, 0, "memory"): 11, (3, 0, "memory"): 12}
    pass_on(back, front, message(ADD_MEM_REG, struct.pack("=Q", 0), reply=True))
    assert kept(control) == {(2, 0, "memory"): 11, (3, 0, "memory"): 12}


def test_a_region_of_the_table_is_removed(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    pass_on(front, back, message(SET_MEM_TABLE, regions(3)), tagged(1, 2, 3))
    pass_on(front, back, message(REM_MEM_REG, slot(1)))
    assert kept(control) == {(1, 0, "memory"): 1, (1, 2, "memory"): 3}
    pass_on(front, back, message(REM_MEM_REG, slot(2)))
    pass_on(front, back, message(REM_MEM_REG, slot(7)))
    assert kept(control) == {(1, 0, "memory"): 1}
    relayed.call(relayed.relay.writer.settle)
    assert memory_files() == 1


def test_a_removal_among_other_messages_is_seen(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    pass_on(front, back, message(REM_MEM_REG, slot(9)))
    pass_on(front, back, message(ADD_MEM_REG, slot(0)), tagged(1))
    with relayed.frozen():
        front.sendall(message(15) + message(REM_MEM_REG, slot(0)) + message(15))
    for _ in range(3):
        receive(back)
    assert kept(control) == {}


def test_eventfds_are_kept_and_sockets_and_pipes_never(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    ring = struct.pack("=Q", 0)
    pass_on(front, back, message(SET_VRING_KICK, ring), [os.eventfd(0)])
    pass_on(front, back, message(SET_VRING_CALL, ring), [os.eventfd(0)])
    pass_on(front, back, message(SET_VRING_KICK, struct.pack("=Q", 1)), [os.eventfd(0)])
    assert set(kept(control)) == {(1, 0, "kick"), (2, 0, "call"), (3, 0, "kick")}
    pass_on(front, back, message(SET_VRING_KICK, ring), [os.eventfd(0)])
    assert set(kept(control)) == {(4, 0, "kick"), (2, 0, "call"), (3, 0, "kick")}
    ours, theirs = socket.socketpair()  # user-mode Linux signals calls by a socket
    pass_on(front, back, message(SET_VRING_CALL, ring), [theirs.detach()])
    reader, writer = os.pipe()
    pass_on(front, back, message(SET_VRING_KICK, ring), [writer])
    assert set(kept(control)) == {(3, 0, "kick")}
    relayed.call(relayed.relay.writer.settle)
    assert os.read(reader, 1) == b""
    assert ours.recv(1) == b""
    ours.close()
    os.close(reader)


def test_log_and_inflight_region(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    pass_on(front, back, message(SET_LOG_BASE, struct.pack("=QQ", 4096, 0)), tagged(1))
    pass_on(front, back, message(SET_INFLIGHT_FD, struct.pack("=QQHH", 4096, 0, 1, 64) + bytes(4)), tagged(2))
    pass_on(front, back, message(SET_LOG_BASE, struct.pack("=QQ", 4096, 0)), tagged(3))
    assert kept(control) == {(2, 0, "inflight"): 2, (3, 0, "log"): 3}


def test_in_postcopy_the_word_of_thanks_changes_nothing(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    pass_on(front, back, message(POSTCOPY_LISTEN))
    pass_on(front, back, message(SET_MEM_TABLE, regions(1)), tagged(1))
    pass_on(front, back, message(SET_MEM_TABLE, bytes(8)))
    assert kept(control) == {(2, 0, "memory"): 1}
    pass_on(front, back, message(POSTCOPY_END))
    pass_on(front, back, message(SET_MEM_TABLE, bytes(8)))
    assert kept(control) == {}


@pytest.mark.parametrize("first", [0, 1], ids=["front-end", "back-end"])
def test_all_is_let_go_when_a_peer_goes(watched: tuple[Relayed, Control], first: int) -> None:
    relayed, control = watched
    ends = relayed.open()
    pass_on(*ends, message(SET_MEM_TABLE, regions(2)), tagged(1, 2))
    assert len(kept(control)) == 2
    relayed.forget()
    ends[first].close()
    relayed_end = ends[1 - first]
    assert relayed_end.recv(1) == b""
    relayed_end.close()
    relayed.no_session()
    relayed.call(relayed.relay.writer.settle)
    assert memory_files() == 0
    answer, fds = ask(control, do="memory", session=1)
    assert (answer["ok"], fds) == (False, [])


def test_after_detaching_nothing_is_kept(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    pass_on(front, back, message(SET_MEM_TABLE, regions(1)), tagged(1))
    assert ask(control, do="detach")[0]["ok"]
    until(lambda: memory_files() == 0)
    pass_on(front, back, message(SET_MEM_TABLE, regions(1)), tagged(2))
    until(lambda: memory_files() == 0)
    assert "no memory is kept" in ask(control, do="memory", session=1)[0]["text"]


def test_without_memory_nothing_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder, keep_memory=False) as relayed:
        control = relayed.call(lambda: Control(relayed.relay, str(relayed.capture)))
        front, back = relayed.open()
        pass_on(front, back, message(SET_MEM_TABLE, regions(1)), tagged(1))
        relayed.call(relayed.relay.writer.settle)
        until(lambda: memory_files() == 0)
        assert "--no-memory" in ask(control, do="memory", session=1)[0]["text"]
        relayed.call(control.close)


def test_many_descriptors_come_in_several_answers(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    for ring in range(250):
        pass_on(front, back, message(SET_VRING_KICK, struct.pack("=Q", ring)), [os.eventfd(0)])
    rings: list[int] = []
    start: int | None = 0
    while start is not None:
        answer, fds = ask(control, do="memory", session=1, **{"from": start})
        assert len(fds) == len(answer["kept"])
        close_all(fds)
        rings += [entry[3] for entry in answer["kept"]]
        start = answer["next"]
    assert rings == list(range(250))


def test_the_capture_can_be_read_and_not_written(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    pass_on(front, back, message(3))
    answer, fds = ask(control, do="capture")
    assert answer == {"ok": True, "capture": str(relayed.capture)}
    (fd,) = fds
    assert os.pread(fd, 4, 0) == b"\n\r\r\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(fd, b"x", 0)
    os.close(fd)


def test_samples_go_into_the_capture(watched: tuple[Relayed, Control]) -> None:
    relayed, control = watched
    front, back = relayed.open()
    pass_on(front, back, message(3))
    assert ask(control, do="sample", session=1, facts='{"rings": []}', text="0 rings")[0]["ok"]
    for wrong in ({"facts": "x" * 20_000}, {"facts": 7}, {}, {"facts": "{}", "session": 2}):
        assert not ask(control, **{"do": "sample", "session": 1, **wrong})[0]["ok"]
    records = relayed.stop()
    (sample,) = [one for one in records if one.kind == SAMPLE]
    assert (sample.session, sample.data) == (1, b'{"rings": []}')
    assert len(messages(records)) == 1
