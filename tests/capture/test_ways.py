"""The short ways into a capture give, octet by octet, what ``message`` gives."""

from __future__ import annotations

import os
from itertools import accumulate
from pathlib import Path

import pytest

from .support import ROWS, message, records, writing

NUM, KICK = message(8, 1, bytes(8)), message(12, 1, bytes(8))
#: each twice: the first of a kind makes what the second finds
MESSAGES = [message(2, 1, bytes(range(8))), NUM, message(2, 1, bytes(8)), message(1), NUM, message(1), message(77)] * 2
#: the upper half of a packet's time changes here
HALF = 5 << 32


@pytest.mark.parametrize("snaplen", [None, 16])
@pytest.mark.parametrize("wall", [HALF + 7, HALF - 1])
def test_messages_of_one_read(tmp_path: Path, wall: int, snaplen: int | None) -> None:
    written = []
    octets = memoryview(b"".join(MESSAGES))
    cuts = list(accumulate(map(len, MESSAGES)))
    for way in ("several", "plain", "message"):
        with writing(tmp_path / way, snaplen=snaplen) as writer:
            lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
            for read in range(2):
                if way == "several":
                    lane.several(octets, cuts, wall + read, 1000 + read)
                else:
                    for start, end in zip([0, *cuts], cuts, strict=False):
                        getattr(lane, way)(octets[start:end], wall + read, 1000 + read)
        written.append((tmp_path / way).read_bytes())
    assert written[0] == written[1] == written[2]
    assert len(records(tmp_path / "several")) == 2 * len(MESSAGES)


def test_more_than_the_buffer_holds(tmp_path: Path) -> None:
    octets = memoryview(NUM * 5000)
    with writing(tmp_path / "a") as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        lane.several(octets, range(20, 100_001, 20), HALF, 0)
    found = records(tmp_path / "a")
    assert [record.number for record in found] == list(range(1, 5001))
    assert {bytes(record.data) for record in found} == {NUM}


@pytest.mark.parametrize("count", [1, 8])
def test_messages_with_descriptors(tmp_path: Path, count: int) -> None:
    written = []
    device, inode = 0, 0
    for way in ("carrying", "message"):
        with writing(tmp_path / way) as writer:
            lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
            for read in range(3):
                fds = [os.memfd_create("x") for _ in range(count)]
                state = os.fstat(fds[0])
                device, inode = state.st_dev, state.st_ino
                if way == "carrying":
                    lane.carrying(memoryview(KICK), HALF + read, 1000, fds)
                else:
                    lane.message(memoryview(KICK), HALF + read, 1000, fds=fds)
        written.append([record._replace(fds=()) for record in records(tmp_path / way)])
        assert [len(record.fds) for record in records(tmp_path / way)] == [count] * 3
        assert records(tmp_path / way)[-1].fds[0][3:5] == (device, inode)
    assert written[0] == written[1]
