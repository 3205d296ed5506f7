"""A file that fails: the relay hears nothing of it, the file stays readable, what is missing is said."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import missing
from vhostspy.capture.reader import Reader
from vhostspy.capture.record import EVENT, INCOMPLETE, Record
from vhostspy.capture.writer import Writer

from .support import ROWS, message, records, writing

MS = 1_000_000


@contextmanager
def room_for(octets: int) -> Iterator[None]:
    """No file of this process may grow beyond this (SIGXFSZ is ignored by Python: writes fail with EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def gaps(found: list[Record]) -> list[dict[str, object]]:
    events = [json.loads(record.data) for record in found if record.kind == EVENT]
    return [event for event in events if event["event"] == "gap"]


def numbers(found: list[Record]) -> list[int]:
    return [record.number for record in found if record.kind != EVENT]


@pytest.mark.parametrize("limit", [30_000, 30_001, 30_250, 210_000, 100])
def test_a_full_disk_that_gets_space_again(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "a"
    view = memoryview(message(2, payload=bytes(8)))
    now = 0
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        with room_for(limit):
            for _ in range(2000):
                now += 1 * MS
                lane.plain(view, now, now)
            assert isinstance(writer.error, OSError)
            lost = writer.lost_messages
            assert lost
            writer.flush(now)
            with Reader(path) as reader:
                assert len(list(reader)) > 0 or limit == 100
                assert not reader.note or limit == 100
        for _ in range(1000):
            now += 1 * MS
            lane.plain(view, now, now)
        # tried again 50 ms after the last failure
        assert writer.lost_messages < lost + 50
        lost = writer.lost_messages
    found = records(path)
    (gap,) = gaps(found)
    assert (gap["messages"], gap["bytes"], gap["why"]) == (lost, lost * 20, "File too large")
    assert len(numbers(found)) == 3000 - lost
    # one hole, as long as the gap says
    (hole,) = [b - a for a, b in pairwise(numbers(found)) if b != a + 1]
    assert hole == lost + 1
    assert numbers(found)[-1] == 3000


def test_a_disk_that_stays_full_keeps_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    view = memoryview(message(2, payload=bytes(8)))
    with room_for(50_000):
        with writing(path) as writer:
            lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
            for now in range(2000):
                lane.plain(view, now * MS, now * MS)
        assert writer.lost_messages
        assert writer.error is not None
    found = records(path)
    assert numbers(found) == list(range(1, len(found) + 1))
    assert len(found) + writer.lost_messages == 2000
    assert writer.lost_bytes == writer.lost_messages * 20


@pytest.mark.parametrize("limit", [20_000, 300_000, 524_400, 700_000])
def test_a_long_message_that_does_not_fit(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "a"
    octets = message(2, payload=os.urandom(600_000))
    small = memoryview(message(2, payload=bytes(8)))
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        lane.plain(small, 0, 0)
        with room_for(limit):
            lane.begin(len(octets), memoryview(octets)[:100_000], 1, 1 * MS)
            for at in range(100_000, len(octets), 100_000):
                lane.add(memoryview(octets)[at : at + 100_000], 2 * MS)
            lane.plain(small, 2, 2 * MS)
        failed = limit < 600_000
        assert writer.lost_messages == int(failed)
        writer.flush(200 * MS)
        lane.message(memoryview(octets), 3, 300 * MS)
    found = records(path)
    assert len(gaps(found)) == int(failed)
    assert found[-1].data == octets
    assert found[-1].number == 4
    parts = [record for record in found if record.flags & INCOMPLETE]
    assert all(octets.startswith(part.data) for part in parts)
    assert not failed or gaps(found)[0]["bytes"] == len(octets) - sum(len(part.data) for part in parts)


def test_a_device_that_is_always_full() -> None:
    writer = Writer(os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC))
    lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
    view = memoryview(message(2, payload=bytes(8)))
    for now in range(3000):
        lane.plain(view, now * MS, now * MS)
        if now % 100 == 0:
            lane.message(memoryview(message(12, 1, bytes(8))), now * MS, now * MS, fds=[os.eventfd(0)])
            lane.message(memoryview(message(2, payload=bytes(20_000))), now * MS, now * MS)
    writer.close()
    assert writer.lost_messages == writer.number == 3060


def test_a_small_file_system(tmp_path: Path) -> None:
    """ENOSPC as it is: a tmpfs of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing(f"no tmpfs can be mounted: {done.stderr.strip()}")
    try:
        path, ballast = place / "a", place / "ballast"
        ballast.write_bytes(bytes(800_000))
        view = memoryview(message(2, payload=bytes(8)))
        with writing(path) as writer:
            lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
            for now in range(2000):
                lane.plain(view, now * MS, now * MS)
            assert writer.error is not None
            assert writer.error.strerror == "No space left on device"
            records(path)
            ballast.unlink()
            for now in range(2000, 2100):
                lane.plain(view, now * MS, now * MS)
        found = records(path)
        (gap,) = gaps(found)
        assert gap["messages"] == writer.lost_messages
        assert len(numbers(found)) + writer.lost_messages == 2100
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_slow_viewer_of_a_bounded_queue(tmp_path: Path) -> None:
    path = tmp_path / "a"
    view = memoryview(message(2, payload=bytes(8)))
    found: list[Record] = []
    with writing(path, bounded=1 << 20) as writer, Reader(path, follow=True) as reader:

        def look() -> None:
            found.extend(reader)
            writer.consumed(reader.offset)

        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        for now in range(9000):
            lane.plain(view, now * MS, now * MS)
        lost = writer.lost_messages
        assert lost
        assert writer.error is None
        assert path.stat().st_size <= 1 << 20
        look()
        lane.plain(view, 40_000 * MS, 40_000 * MS)
        writer.flush(40_000 * MS)
        look()
        lane.message(memoryview(message(2, payload=bytes(1_050_000))), 0, 40_001 * MS)
        assert writer.lost_messages == lost + 1
        look()
        writer.close()
        look()
    assert [gap["why"] for gap in gaps(found)] == ["the viewer is too slow"] * 2
    whole = [record for record in found if record.kind != EVENT]
    assert len(whole) + lost + 1 == 9002


def test_the_space_behind_a_reader_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "a"
    octets = memoryview(message(2, payload=bytes(range(250)) * 4000))
    with writing(path, bounded=1 << 30) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        with Reader(path, follow=True) as reader:
            count = 0
            for _ in range(40):
                lane.message(octets, 0, 0)
                for record in reader:
                    assert record.data == octets
                    count += 1
                writer.consumed(reader.offset)
            assert count == 40
        assert path.stat().st_blocks * 512 < 20 << 20 < path.stat().st_size


def test_a_pipe_is_written_in_order(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    writer = Writer(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    octets = message(2, payload=os.urandom(500_000))
    try:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        with Reader(reading, follow=True) as reader:
            found = []
            now = 0
            lane.begin(len(octets), memoryview(octets)[:10], 0, 0)
            for at in range(10, len(octets), 10_000):
                now += 60 * MS
                lane.add(memoryview(octets)[at : at + 10_000], now)
                lane.plain(memoryview(message(2)), now, now)
                found += list(reader)
            writer.flush()
            found += list(reader)
        assert not writer.lost_messages
        assert [record.number for record in found] == list(range(1, len(found) + 1))
        assert [record.data == octets for record in found].count(True) == 1
    finally:
        writer.close()
        os.close(reading)


def test_a_pipe_that_nobody_empties_loses_records_not_blocks(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    writer = Writer(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    try:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        view = memoryview(message(2, payload=bytes(9)))
        for now in range(3000):
            lane.plain(view, now, now * MS)
        lost = writer.lost_messages
        assert lost
        found = []
        with Reader(reading, follow=True) as reader:
            for now in range(3000, 3010):
                found += list(reader)
                writer.flush(now * MS)
            found += list(reader)
            assert writer.pos == 0
        assert len(numbers(found)) == 3000 - lost
        assert [gap["messages"] for gap in gaps(found)] == [lost]
    finally:
        writer.close()
        os.close(reading)


def test_a_pipe_whose_reader_went() -> None:
    reading, end = os.pipe()
    os.close(reading)
    writer = Writer(end)
    lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
    lane.plain(memoryview(message(2)), 0, 0)
    writer.close()
    writer.close()
    assert isinstance(writer.error, BrokenPipeError)
    assert writer.lost_messages == 1


def test_a_file_opened_to_append_is_written_where_it_must_be(tmp_path: Path) -> None:
    path = tmp_path / "a"
    writer = Writer(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC))
    octets = message(2, payload=bytes(range(250)) * 200)
    lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
    lane.begin(len(octets), memoryview(octets)[:50], 0, 0)
    lane.add(memoryview(octets)[50:], 0)
    writer.close()
    assert records(path)[0].data == octets


@pytest.mark.parametrize("most", [1000, 4096, 50_000])
def test_a_file_that_takes_a_little_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Short writes are no failures."""
    path = tmp_path / "a"
    pwrite = os.pwrite

    def little(fd: int, data: bytes | memoryview, offset: int) -> int:
        return pwrite(fd, memoryview(data)[:most], offset)

    def little_of_many(fd: int, buffers: list[bytes | memoryview], offset: int) -> int:
        return little(fd, b"".join(buffers), offset)

    monkeypatch.setattr(os, "pwrite", little)
    monkeypatch.setattr(os, "pwritev", little_of_many)
    octets = message(2, payload=os.urandom(600_000))
    small = memoryview(message(2, payload=bytes(8)))
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        for now in range(100):
            lane.plain(small, now * MS, now * MS)
        lane.begin(len(octets), memoryview(octets)[:70_000], 0, 0)
        for at in range(70_000, len(octets), 70_000):
            lane.add(memoryview(octets)[at : at + 70_000], 0)
        assert writer.error is None
    found = records(path)
    assert numbers(found) == list(range(1, 102))
    assert found[-1].data == octets


def test_any_write_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nth write is a short one, and the one after it fails: for every n the file stays whole, and nothing is lost
    but what the gap says."""
    octets = message(2, payload=os.urandom(300_000))
    small = memoryview(message(2, payload=bytes(8)))
    pwrite, pwritev = os.pwrite, os.pwritev
    most = 0
    for nth in range(100):
        path = tmp_path / str(nth)
        count = 0

        def counted(fd: int, data: bytes | memoryview, offset: int, nth: int = nth) -> int:
            nonlocal count
            count += 1
            if count == nth + 1:
                raise OSError(28, "No space left on device")
            return pwrite(fd, memoryview(data)[: len(data) // 2 if count == nth else None], offset)

        def counted_many(fd: int, buffers: list[bytes | memoryview], offset: int) -> int:
            return counted(fd, b"".join(buffers), offset)

        monkeypatch.setattr(os, "pwrite", counted)
        monkeypatch.setattr(os, "pwritev", counted_many)
        now = 0
        with writing(path) as writer:
            lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
            for _ in range(6):
                for _ in range(3):
                    now += 20 * MS
                    lane.plain(small, now, now)
                lane.begin(len(octets), memoryview(octets)[:100_000], now, now)
                lane.plain(small, now, now)
                lane.add(memoryview(octets)[100_000:250_000], now)
                lane.add(memoryview(octets)[250_000:], now)
            total = writer.number
        monkeypatch.setattr(os, "pwrite", pwrite)
        monkeypatch.setattr(os, "pwritev", pwritev)
        found = records(path)
        whole = [record for record in found if record.kind != EVENT and not record.flags & INCOMPLETE]
        assert total == 30
        assert len(whole) + writer.lost_messages == total
        assert [gap["messages"] for gap in gaps(found)] == [writer.lost_messages][: writer.lost_messages]
        assert all(record.data in (octets, small) for record in whole)
        assert [record.number for record in whole] == sorted({record.number for record in whole})
        most = max(most, count)
        if count < nth:
            break
    assert 20 < most < 99


def test_a_peer_that_never_repeats_a_size_fills_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        for size in range(3000):
            lane.plain(memoryview(message(2, size << 8 | 1, bytes(size))), 0, 0)
            assert len(lane.templates) <= 1024
            assert len(lane.variants) <= 1024
    assert [record.length - 12 for record in records(path)] == list(range(3000))
