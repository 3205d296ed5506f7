"""Files as other programs, other versions and accidents leave them."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from vhostspy.capture import pcapng
from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import HEADER, MAGIC, SNAPPED, Record

from .support import ROWS, message, records, writing

MS = 1_000_000


@pytest.fixture
def capture(tmp_path: Path) -> bytes:
    """Three messages."""
    path = tmp_path / "a.pcapng"
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        for number in (1, 2, 3):
            lane.plain(memoryview(message(2, payload=bytes([number] * 8))), number, number)
    return path.read_bytes()


def read(data: bytes) -> tuple[list[Record], str, CaptureError | None]:
    with Reader(data) as reader:
        found: list[Record] = []
        try:
            found.extend(reader)
        except CaptureError as error:
            return found, reader.note, error
        return found, reader.note, None


def payloads(found: list[Record]) -> list[int]:
    return [record.data[-1] for record in found]


# -- what is no capture ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"#!/bin/sh\necho\n", "not a capture"),
        (b"x", "not a capture"),
        (b"\xd4\xc3\xb2\xa1\x02\0\x04\0" + bytes(16), "classic pcap"),
        (b"\x4d\x3c\xb2\xa1\x02\0\x04\0" + bytes(16), "classic pcap"),
        (b"\x1f\x8b\x08\0" + bytes(16), "compressed"),
        (b"\n\r\r\n", "within its section header"),
        (b"\n\r\r\n\x1c\0\0\0\1\2\3\4" + bytes(16), "byte order"),
    ],
)
def test_not_a_capture(data: bytes, words: str) -> None:
    found, note, error = read(data)
    assert (found, note) == ([], "")
    assert words in str(error)
    assert "\n" not in str(error)


def test_a_directory_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="a directory"):
        Reader(tmp_path)
    with pytest.raises(FileNotFoundError):
        Reader(tmp_path / "none")


def test_a_capture_of_something_else() -> None:
    body = struct.pack("<HHI", 1, 0, 0)
    packet = struct.pack("<IIIII", 0, 0, 0, 60, 60) + bytes(60)
    data = pcapng.section_header("dumpcap") + pcapng.block(1, body) + pcapng.block(6, packet) * 3
    found, _, error = read(data)
    assert not found
    assert "none of its 3 packets are vhostspy's" in str(error)


# -- the end, and damage before it -------------------------------------------------------------------------------------


def test_every_cut(capture: bytes) -> None:
    whole, _, _ = read(capture)
    starts = [len(capture) - 284 * back for back in (3, 2, 1, 0)]
    for cut in range(12, len(capture)):
        found, note, error = read(capture[:cut])
        assert error is None
        assert found == whole[: sum(cut >= end for end in starts[1:])]
        assert ("stops in the middle of a record" in note) == (cut not in starts and cut >= starts[0]) or cut < starts[
            0
        ]


def test_damage_is_said_with_its_place_after_what_lies_before_it(capture: bytes) -> None:
    second = len(capture) - 2 * 284
    for offset, value, words in (
        (4, 285, "a block of 285 octets"),
        (4, 280, "octets"),
        (280, 280, "says 284 octets at its start and 280 at its end"),
        (8, 5, "a packet of interface 5"),
        (20, 262_145, "a packet of 262145 octets (expected: 262144 at most)"),
        (148 + 6, 40, "whose header is 40 octets"),
        (148 + 64, 3, "octets 0 to 20 of a message that has 3"),
        (4, 1 << 30, "a block of 1073741824 octets"),
    ):
        damaged = bytearray(capture)
        size = 2 if offset == 154 else 4
        damaged[second + offset : second + offset + size] = value.to_bytes(size, "little")
        found, note, error = read(bytes(damaged))
        assert payloads(found) == [1]
        assert note == ""
        assert isinstance(error, CaptureError)
        assert error.where == second
        assert str(error).startswith(f"octet {second}: ")
        assert words in str(error)


def test_a_record_that_was_being_written_is_a_note(capture: bytes) -> None:
    open_record = bytes(236) + b"some of the octets"
    found, note, error = read(capture + open_record)
    assert payloads(found) == [1, 2, 3]
    assert "in a record that was being written" in note
    assert error is None


# -- other versions ----------------------------------------------------------------------------------------------------


def changed(capture: bytes, at: int, new: bytes) -> bytes:
    """The capture with these octets in the header of its second record."""
    place = len(capture) - 2 * 284 + 148 + at
    return capture[:place] + new + capture[place + len(new) :]


def test_a_newer_version_is_refused_clearly(capture: bytes) -> None:
    found, _, error = read(changed(capture, 4, b"\2"))
    assert payloads(found) == [1]
    assert "written by a newer vhostspy (records of version 2) (expected: version 1 at most)" in str(error)


def test_unknown_kinds_of_record_are_skipped(capture: bytes) -> None:
    found, _, error = read(changed(capture, 5, b"\x63"))
    assert payloads(found) == [1, 3]
    assert error is None


def test_unknown_protocols_channels_and_flags_are_read(capture: bytes) -> None:
    found, _, error = read(changed(capture, 8, b"\x63\0\x63\0" + b"\0\0\x80\0"))
    assert error is None
    assert (found[1].protocol, found[1].channel, found[1].flags) == ("", "", 0x800000)


def test_a_longer_header_is_skipped() -> None:
    """Members that a later version appends, before the descriptors and inside their entries."""
    tags = pcapng.tags("vhost-user", "X", 0, 1, 1)
    header = HEADER.pack(
        MAGIC, 1, 1, HEADER.size + 8, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 5, 6, 7, 4, 0, 0, 2, 136
    )  # fmt: skip
    entry = bytes([2, 2, 3, 4]) + bytes(28) + (42).to_bytes(8, "little") + b"name".ljust(88, b"\0") + b"new data"
    packet = tags + header + b"new data" + entry * 2 + b"octets"[:4]
    body = struct.pack("<IIIII", 0, 0, 5, len(packet), len(packet)) + packet
    data = pcapng.section_header("vhostspy 9") + pcapng.interface("main") + pcapng.block(6, body)
    (record,) = read(data)[0]
    assert (record.data, record.time_ns, record.monotonic_ns, record.span_ns) == (b"octe", 5, 6, 7)
    assert [(one.role, one.kind, one.access, one.eventfd_id, one.name) for one in record.fds] == [
        ("kick", "eventfd", "rw", 42, "name")
    ] * 2


# -- other programs ----------------------------------------------------------------------------------------------------


def split(capture: bytes) -> list[bytes]:
    found = []
    at = 0
    while at < len(capture):
        size = int.from_bytes(capture[at + 4 : at + 8], "little")
        found.append(capture[at : at + size])
        at += size
    return found


def swapped(block: bytes) -> bytes:
    """The same block from a big-endian program: the packet's data stay as they are."""
    kind, size = struct.unpack_from("<II", block)
    if kind == pcapng.SECTION:
        body = struct.pack(">IHHq", pcapng.BYTE_ORDER_MAGIC, 1, 0, -1)
    elif kind == pcapng.INTERFACE:
        body = struct.pack(">HHI", 252, 0, 0)
    elif kind == pcapng.PACKET:
        words = struct.unpack_from("<IIIII", block, 8)
        body = struct.pack(">IIIII", *words) + block[28 : 28 + words[3] + (-words[3] % 4)]
    else:
        body = block[8:-4]
    return struct.pack(">II", kind, len(body) + 12) + body + struct.pack(">I", len(body) + 12)


def test_a_big_endian_section(capture: bytes) -> None:
    data = b"".join(map(swapped, split(capture)))
    assert read(data) == read(capture)


def test_two_sections_in_a_row_of_either_order(capture: bytes) -> None:
    other = b"".join(map(swapped, split(capture)))
    found, note, error = read(capture + other + capture)
    assert payloads(found) == [1, 2, 3] * 3
    assert (note, error) == ("", None)
    assert [record.number for record in found] == [1, 2, 3] * 3


def test_foreign_blocks_options_interfaces_and_tag_order(capture: bytes) -> None:
    section, interface, *_, one, two, _ = split(capture)
    ethernet = pcapng.block(1, struct.pack("<HHI", 1, 0, 0))
    foreign = pcapng.block(6, struct.pack("<IIIII", 0, 0, 0, 4, 4) + b"vspy")
    simple = pcapng.block(3, struct.pack("<I", 4) + b"vspy")
    statistics = pcapng.block(5, bytes(12))
    custom = pcapng.block(0xBAD, bytes(3_000_000))
    other_tool = pcapng.block(6, struct.pack("<IIIII", 1, 0, 0, 16, 16) + struct.pack(">HH8sHH", 12, 8, b"json", 0, 0))
    # interface 1 instead of 0, no options, and the tags in another order
    packet = one[28 : 28 + 228]
    name, rest, behind = packet[:12], packet[12:116], packet[116:]
    moved = rest + name + behind
    moved_one = pcapng.block(6, struct.pack("<IIIII", 1, 0, 0, 228, 228) + moved)
    renumbered = two[:8] + struct.pack("<I", 1) + two[12:]
    data = b"".join(
        (section, ethernet, interface, foreign, simple, statistics, custom, other_tool, moved_one, renumbered, foreign)
    )  # fmt: skip
    found, note, error = read(data)
    assert (payloads(found), note, error) == ([1, 2], "", None)
    assert found == read(capture)[0][:2]


def test_a_packet_cut_by_editcap(capture: bytes) -> None:
    section, interface, *_, one, _, _ = split(capture)
    for kept, data in ((228, 20), (220, 12), (208, 0)):
        cut = pcapng.block(6, struct.pack("<IIIII", 0, 0, 0, kept, 228) + one[28 : 28 + kept])
        found, _, error = read(section + interface + cut)
        assert error is None
        assert [(len(record.data), record.length, record.flags) for record in found] == [
            (data, 20, SNAPPED if kept < 228 else 0)
        ]
    cut = pcapng.block(6, struct.pack("<IIIII", 0, 0, 0, 150, 228) + one[28 : 28 + 150])
    found, _, error = read(section + interface + cut + one)
    assert (payloads(found), error) == ([1], None)


# -- sources, and files that grow --------------------------------------------------------------------------------------


def test_a_pipe_and_a_descriptor(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"before" + capture)
    fd = os.open(path, os.O_RDONLY)
    os.lseek(fd, 6, os.SEEK_SET)
    with Reader(fd) as reader:
        assert payloads(list(reader)) == [1, 2, 3]
    os.close(fd)
    script = f"import sys; sys.stdout.buffer.write(open({str(path)!r}, 'rb').read()[6:])"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        with Reader(child.stdout.fileno()) as reader:
            assert payloads(list(reader)) == [1, 2, 3]


def test_a_growing_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    with Reader(path, follow=True) as reader:
        assert list(reader) == []
        with writing(path) as writer:
            lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
            assert list(reader) == []
            octets = message(2, payload=os.urandom(400_000))
            small = memoryview(message(2, payload=bytes(8)))
            now, sent, seen = 0, 0, 0
            for step in range(300):
                now += 1 * MS
                if step % 50 == 10:
                    lane.begin(len(octets), memoryview(octets)[:70_000], now, now)
                    found = list(reader)
                    for at in range(70_000, len(octets), 70_000):
                        lane.add(memoryview(octets)[at : at + 70_000], now)
                        found += list(reader)
                    assert found[-1].data == octets
                    seen += len(found)
                else:
                    lane.plain(small, now, now)
                    found = list(reader)
                    seen += len(found)
                sent += 1
                assert sent - seen <= 51  # the oldest is written 50 ms later
            assert writer.tick(now) == writer.due
            assert writer.tick(writer.due) is None
            seen += len(list(reader))
            assert seen == sent
        assert list(reader) == []
        assert reader.note == ""


def test_a_growing_file_octet_by_octet(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("wb", buffering=0) as file, Reader(path, follow=True) as reader:
        found = []
        for at in range(len(capture)):
            found += list(reader)
            file.write(capture[at : at + 1])
        found += list(reader)
        assert payloads(found) == [1, 2, 3]
        file.write(capture[100:140])
        reader.follow = False
        with pytest.raises(CaptureError):
            list(reader)


def test_the_end_of_a_followed_file_is_a_note(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(capture[:-10])
    with Reader(path, follow=True) as reader:
        assert payloads(list(reader)) == [1, 2]
        assert reader.note == ""
        reader.follow = False
        assert list(reader) == []
        assert "in the middle of a record" in reader.note


def test_one_may_stop_reading_and_go_on(capture: bytes) -> None:
    with Reader(capture) as reader:
        found = [next(iter(reader)) for _ in range(3)]
        assert payloads(found) == [1, 2, 3]
        assert list(reader) == []


def test_a_killed_writer_leaves_what_it_flushed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    script = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parent.parent.parent)!r})
from tests.capture.support import ROWS, message
from vhostspy.capture.writer import Writer
writer = Writer(os.open({str(path)!r}, os.O_RDWR | os.O_CREAT))
lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
for number in range(100):
    lane.plain(memoryview(message(2, payload=bytes(8))), number, number)
writer.flush()
lane.begin(300_012, memoryview(message(2, payload=bytes(300_000)))[:90_000], 0, 0)
other = writer.lane("main", 1, 1, 1, "vhost-user", ROWS)
other.plain(memoryview(message(2, payload=bytes(8))), 0, 0)
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.kill()
        child.wait(10)
    with Reader(path) as reader:
        assert [record.number for record in reader] == list(range(1, 101))
        assert "in a record that was being written" in reader.note


def test_a_hostile_size_takes_no_memory(capture: bytes) -> None:
    tracemalloc.start()
    for kind in (1, 6, 0x0A0D0D0A, 77):
        for size in (0xFFFFFFFC, 0x0FFFFFFC, 0x7FFFFFF0):
            read(capture + struct.pack("<III", kind, size, 0x1A2B3C4D) + bytes(100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_writer_and_reader_agree_on_long_messages_side_by_side(tmp_path: Path) -> None:
    one = message(2, payload=os.urandom(700_000))
    two = message(1, 5, os.urandom(500_000))
    path = tmp_path / "a"
    with writing(path) as writer:
        front = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        back = writer.lane("main", 1, 1, 1, "vhost-user", ROWS)
        front.begin(len(one), memoryview(one)[:50_000], 1, 1)
        back.begin(len(two), memoryview(two)[:50_000], 2, 2)
        for at in range(50_000, 700_012, 50_000):
            front.add(memoryview(one)[at : at + 50_000], at)
            back.add(memoryview(two)[at : at + 50_000], at)
    first, second = records(path)
    assert (first.number, first.sender, first.data == two) == (1, 1, True)
    assert (second.number, second.sender, second.data == one) == (2, 0, True)
