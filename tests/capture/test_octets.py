"""What lies in the file, octet by octet: expected by hand, from the pcapng draft and docs/capture-format.md."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vhostspy import __version__
from vhostspy.capture.record import BY, BY_SHIFT, CHANGED, FROM_SPY, ORIGINAL

from ..output.captures import recording
from .support import ROWS, VFIO_ROWS, message, records, writing

WALL = 0x17_9A_BC_DE_12_34_56_78
MONO = 0x00_00_11_22_33_44_55_66


def hexed(text: str) -> bytes:
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """Type and whole octets of each block; both lengths of each must agree, nothing may be left over."""
    found = []
    at = 0
    while at < len(data):
        kind, size = (int.from_bytes(data[place : place + 4], "little") for place in (at, at + 4))
        assert size >= 12 and size % 4 == 0 and at + size <= len(data)
        assert int.from_bytes(data[at + size - 4 : at + size], "little") == size
        found.append((kind, data[at : at + size]))
        at += size
    return found


def packets(path: Path) -> list[bytes]:
    return [block for kind, block in blocks(path.read_bytes()) if kind == 6]


def test_a_file_begins_with_section_interfaces_and_names(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path):
        pass
    (section, header), (one, interface), *others, (names, resolution) = blocks(path.read_bytes())
    for (kind, block), name in zip(others, (b"backend\0", b"gpu\0", b"second\0\0"), strict=True):
        assert kind == 1
        assert block[8:].startswith(
            hexed("fc00 0000 00000400  0200") + len(name.rstrip(b"\0")).to_bytes(2, "little") + name
        )
    assert (section, one, names) == (0x0A0D0D0A, 1, 4)
    application = f"vhostspy {__version__}".encode()
    assert header[8:24] == hexed("4d3c2b1a 0100 0000 ffffffffffffffff")
    assert header[24:28] == hexed("0400") + len(application).to_bytes(2, "little")
    assert header[28 : 28 + len(application)] == application
    assert interface[8:24] == hexed("fc00 0000 00000400  0200 0400") + b"main"
    assert interface.endswith(hexed("0900 0100 09000000  00000000") + len(interface).to_bytes(4, "little"))
    assert resolution[8:] == (
        hexed("0100 0e00 7f000001") + b"front-end\0\0\0"
        + hexed("0100 0d00 7f000002") + b"back-end\0\0\0\0"
        + hexed("0100 0b00 7f000003") + b"client\0\0"[:7] + b"\0"
        + hexed("0100 0b00 7f000004") + b"server\0\0"[:7] + b"\0"
        + hexed("00000000") + len(resolution).to_bytes(4, "little")
    )  # fmt: skip


def test_a_message_octet_by_octet(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path) as writer:
        lane = writer.lane("main", 0, 7, 1, "vhost-user", ROWS, previous=6, byte_order="little")
        lane.plain(memoryview(message(2, payload=bytes(range(1, 7)))), WALL, MONO)
    (packet,) = packets(path)
    assert packet == hexed(
        """
        06000000 1c010000 00000000                  # enhanced packet, 284 octets, interface 0
        debc9a17 78563412                           # time, upper half first
        e2000000 e2000000                           # 226 octets here, 226 in all
        # tags
        000c 0008 76686f7374737079                  # dissector vhostspy
        0014 0004 7f000001  0015 0004 7f000002      # from the front-end to the back-end
        0018 0004 00000002  0019 0004 00000007  001a 0004 00000001   # ports: session 7, channel 1
        0021 0010 76686f73742d75736572000000000000  # vhost-user
        0023 0004 00000000                          # sent
        0024 0020 5345545f46454154555245530000000000000000000000000000000000000000   # SET_FEATURES
        0000 0000
        # our header
        76737079 01 01 5800                         # vspy, version 1, a message, 88 octets
        01 00 01 00                                 # vhost-user, little-endian, main, front-end
        00000000 07000000 06000000 01000000 01000000   # flags, session, previous, channel, reads
        0100000000000000                            # number
        78563412debc9a17 6655443322110000           # wall clock, monotonic
        0000000000000000                            # span
        1200000000000000 0000000000000000           # 18 octets, from the first on
        00000000 0000 8000                          # descriptors: none, entries of 128
        # the message
        02000000 01000000 06000000 010203040506
        0000                                        # padding
        0200 0400 02000000                          # outbound
        0500 0800 0100000000000000                  # packet id 1
        00000000 1c010000
    """
    )


def test_a_reply_of_the_back_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path) as writer:
        lane = writer.lane("main", 1, 7, 1, "vhost-user", ROWS)
        lane.plain(memoryview(message(1, 5, bytes(8))), WALL, MONO)
        lane.plain(memoryview(message(2, 5, bytes(8))), WALL, MONO)
        lane.plain(memoryview(message(77, 5, bytes(8))), WALL, MONO)
    reply, ack, unknown = packets(path)
    tags = reply[28:148]
    assert tags[12:52] == hexed("""
        0014 0004 7f000002  0015 0004 7f000001
        0018 0004 00000002  0019 0004 00000001  001a 0004 00000007
    """)
    assert tags[72:80] == hexed("0023 0004 00000001")
    assert tags[84:116].rstrip(b"\0") == b"GET_FEATURES reply"
    assert ack[112:144].rstrip(b"\0") == b"SET_FEATURES ack"
    assert unknown[112:144].rstrip(b"\0") == b"id 77 reply"
    assert reply[-28:-20] == hexed("0200 0400 01000000")
    assert reply[148 + 8 : 148 + 12] == hexed("01 00 01 01")


def test_vfio_user_has_its_own_ends(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path) as writer:
        client = writer.lane("main", 0, 1, 1, "vfio-user", VFIO_ROWS)
        server = writer.lane("second", 1, 1, 2, "vfio-user", VFIO_ROWS)
        for number in (1, 2):
            client.plain(memoryview(hexed(f"{number:02x}00 0a00 10000000 00000000 00000000")), WALL, MONO)
        server.plain(memoryview(hexed("0100 0a00 10000000 01000000 00000000")), WALL, MONO)
    one, two, reply = packets(path)
    assert one[28 + 12 : 28 + 28] == hexed("0014 0004 7f000003  0015 0004 7f000004")
    assert [packet[112:144].rstrip(b"\0") for packet in (one, two, reply)] == [
        b"REGION_WRITE",
        b"REGION_WRITE",
        b"REGION_WRITE reply",
    ]
    assert [packet[8:12] for packet in (one, two, reply)] == [hexed("00000000"), hexed("00000000"), hexed("03000000")]


def test_channels_have_their_interfaces(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path) as writer:
        for session in (1, 2):
            for channel in ("main", "backend", "gpu", "second"):
                lane = writer.lane(channel, 0, session, 1, "vhost-user", ROWS)
                lane.plain(memoryview(message(2)), WALL, MONO)
    found = blocks(path.read_bytes())
    assert [kind for kind, _ in found] == [0x0A0D0D0A, 1, 1, 1, 1, 4] + [6] * 8
    assert [block[8] for kind, block in found if kind == 6] == [0, 1, 2, 3] * 2


def test_an_event_is_json_with_its_text_as_comment(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path) as writer:
        writer.event({"event": "open", "text": 'a "b" é', "n": [1, None, True, {"x": -5}]}, WALL, MONO, session=3)
    (packet,) = packets(path)
    assert packet[148 + 5] == 3
    assert packet[148 + 11] == FROM_SPY
    assert packet[148 + 32 : 148 + 40] == bytes(8)
    text = '{"event": "open", "text": "a \\u0022b\\u0022 é", "n": [1, null, true, {"x": -5}]}'.encode()
    assert packet[236 : 236 + len(text)] == text
    assert packet.endswith(
        hexed("0100 0800")
        + 'a "b" é'.encode()
        + hexed("0200 0400 00000000  00000000")
        + len(packet).to_bytes(4, "little")
    )


def test_an_event_that_is_too_long_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path) as writer:
        writer.event({"event": "note", "text": "é" * 9000, "more": list(range(5000))}, WALL, MONO)
        with pytest.raises(TypeError, match="a member of type set"):
            writer.event({"event": "note", "more": set()}, WALL, MONO)
    (record,) = records(path)
    assert json.loads(record.data) == {"event": "note", "text": "é" * 2000, "cut": True}


def test_any_text_is_json(tmp_path: Path) -> None:
    path = tmp_path / "a"
    text = "".join(map(chr, range(0x180))) + "\ud800 \udcff \U0001f600 \u2028"
    with writing(path) as writer:
        writer.event({"event": "note", "text": text}, WALL, MONO)
    (record,) = records(path)
    assert json.loads(record.data) == {"event": "note", "text": text}


def test_descriptors_have_entries_and_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "a"
    memory = os.memfd_create("guest", os.MFD_CLOEXEC)
    os.ftruncate(memory, 2 << 20)
    inode, device = os.fstat(memory).st_ino, os.fstat(memory).st_dev
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        lane.message(memoryview(message(5)), WALL, MONO, fds=[memory])
    (packet,) = packets(path)
    assert packet[148 + 80 : 148 + 88] == hexed("00000000 0100 8000")
    entry = packet[236 : 236 + 128]
    assert entry[:4] == hexed("01 01 03 03")  # memory, memfd, rw; size and seals known
    assert entry[8:40] == b"".join(number.to_bytes(8, "little") for number in (device, inode, 2 << 20, 0))
    assert entry[40:].rstrip(b"\0") == b"/memfd:guest (deleted)"
    assert packet[236 + 128 : 236 + 140] == message(5)
    assert packet[236 + 140 :].startswith(hexed("0100 2800") + b"memory memfd 2 MiB  ")


def test_what_a_policy_changed_has_one_number_and_two_records(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path) as writer:
        lane = writer.lane("main", 1, 1, 1, "vhost-user", ROWS)
        by = BY.index("mask") << BY_SHIFT
        lane.message(memoryview(message(1, 5, b"\xff" * 8)), WALL, MONO, flags=ORIGINAL | by)
        lane.message(memoryview(message(1, 5, b"\x0f" * 8)), WALL, MONO, flags=CHANGED | by)
        assert writer.number == 1
    came, went = packets(path)
    assert came[148 + 32 : 148 + 40] == went[148 + 32 : 148 + 40] == hexed("0100000000000000")
    assert (came[148 + 12 : 148 + 16], went[148 + 12 : 148 + 16]) == (hexed("02000001"), hexed("01000001"))
    assert b"came like this (mask)" in came
    assert b"went on like this (mask)" in went


def test_the_snap_length_cuts_octets_not_the_length(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path, snaplen=16) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        for _ in range(2):
            lane.plain(memoryview(message(2, payload=bytes(range(1, 9)))), WALL, MONO)
    for packet in packets(path):
        assert packet[20:28] == hexed("e0000000 e4000000")
        assert packet[148 + 12 : 148 + 16] == hexed("10000000")
        assert packet[148 + 64 : 148 + 72] == hexed("1400000000000000")
        assert packet[236 : 236 + 16] == message(2, payload=bytes(range(1, 9)))[:16]
        assert packet[252:256] == hexed("0100 1d00")


@pytest.mark.parametrize("wall", [0, 0xFFFFFFFF, 1 << 32, (1 << 32) - 1, 5 << 32, 3 << 32])
def test_times_go_over_the_half(tmp_path: Path, wall: int) -> None:
    path = tmp_path / "a"
    walls = [wall, wall + 1, max(wall - 1, 0), wall + (1 << 33)]
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        for each in walls:
            lane.plain(memoryview(message(2)), each, MONO)
        assert writer.number == len(walls)
    for packet, each in zip(packets(path), walls, strict=True):
        assert packet[12:20] == (each >> 32).to_bytes(4, "little") + (each & 0xFFFFFFFF).to_bytes(4, "little")
        assert packet[148 + 40 : 148 + 48] == each.to_bytes(8, "little")


def test_the_short_text_is_of_the_message_that_the_size_fits(tmp_path: Path) -> None:
    """Numbers that drafts gave to others: crosvm's SLEEP has no payload, SET_DEVICE_STATE_FD has 8 octets of it."""
    for octets, name, other in (
        ("2a000000 01000000 00000000", b"SLEEP", b"SET_DEVICE_STATE_FD"),
        ("2a000000 01000000 08000000 00000000 00000000", b"SET_DEVICE_STATE_FD", b"SLEEP"),
    ):
        with recording(tmp_path / "capture.pcapng") as recorded:
            recorded.says(0, bytes.fromhex(octets))
        written = (tmp_path / "capture.pcapng").read_bytes()
        assert name in written
        assert other not in written
