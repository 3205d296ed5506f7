"""Records that nobody wrote like this: Lua never fails, and says what is wrong where something is."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.capture.support import ROWS, message, writing
from vhostspy.capture import pcapng
from vhostspy.capture.record import HEADER, MAGIC

from .synthetic import write
from .test_members import garbage
from .tshark import Tshark


def expert(tshark: Tshark, capture: Path) -> str:
    return tshark.run("-q", "-r", capture, "-z", "expert")


@pytest.mark.parametrize("seed", range(2))
def test_any_octets_in_records(tshark: Tshark, seed: int) -> None:
    """Octets of headers, descriptors and messages are changed, the file's blocks are not."""
    chance = random.Random(seed)
    path = write(tshark.folder / "damaged.pcapng", list(garbage(seed))[:600])
    octets = bytearray(path.read_bytes())
    at = octets.find(MAGIC)
    while at >= 0:
        for _ in range(chance.choice((0, 1, 1, 3))):
            octets[at + chance.choice((4, 5, 6, 7, 8, 9, 10, 11, *range(12, HEADER.size)))] = chance.randrange(256)
        at = octets.find(MAGIC, at + 4)
    capture = tshark.file("damaged.pcapng", bytes(octets))
    tshark.run("-r", capture, "-V")
    tshark.run("-2", "-r", capture, "-T", "json")


@pytest.mark.needs("editcap")
@pytest.mark.parametrize("length", [121, 128, 200, 209, 215, 222, 240])
def test_cut_packets(tshark: Tshark, length: int) -> None:
    path = tshark.folder / "whole.pcapng"
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        lane.message(memoryview(message(5, payload=bytes(40))), 10, 10, fds=[os.memfd_create("x")])
        lane.plain(memoryview(message(5, payload=bytes(40))), 20, 20)
        writer.event({"event": "end", "text": "the capture is complete"}, 30, 30)
    path.chmod(0o644)
    cut = tshark.folder / "cut.pcapng"
    subprocess.run(["editcap", "-s", str(length), path, cut], check=True, timeout=60)
    cut.chmod(0o644)
    shown = tshark.column(cut)
    assert len(shown) == 3
    tshark.run("-r", cut, "-V")


def test_what_is_wrong_is_expert_information(tshark: Tshark) -> None:
    path = tshark.folder / "wrong.pcapng"
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        back = writer.lane("main", 1, 1, 1, "vhost-user", ROWS)
        lane.plain(memoryview(message(2, payload=bytes(4))), 10, 10)
        lane.plain(memoryview(message(2, payload=bytes(11))), 20, 20)
        lane.plain(memoryview(message(4711)), 30, 30)
        lane.raw(memoryview(b"garbage"), 40, 40)
        back.plain(memoryview(message(2, 5, b"\1" + bytes(7))), 50, 50)
        lane.begin(60, memoryview(message(5, payload=bytes(48)))[:50], 60, 60)
        lane.finish()
        writer.event({"event": "unread", "text": "unread from here on"}, 70, 70, session=1, sender=0)
    path.chmod(0o644)
    text = expert(tshark, path)
    for part in (
        "4 bytes missing",
        "3 bytes more than expected",
        "unknown message 4711 is not known",
        "octets that could not be framed",
        "failed (1)",
        "the stream ended in it",
        "unread from here on",
    ):
        assert part in text, text
    assert len(tshark.run("-r", path, "-Y", '_ws.expert.severity >= "Warning"').splitlines()) >= 5


def test_a_newer_record_is_said_to_be_one(tshark: Tshark) -> None:
    path = write(tshark.folder / "newer.pcapng", list(garbage(0))[:1])
    octets = bytearray(path.read_bytes())
    octets[octets.rfind(MAGIC) + 4] = 99
    shown = tshark.column(tshark.file("newer.pcapng", bytes(octets)))
    assert shown[-1] == "(damaged record: written by a newer vhostspy (records of version 99))"


def test_a_foreign_packet_is_left_alone(tshark: Tshark) -> None:
    path = write(tshark.folder / "foreign.pcapng", list(garbage(0))[:1])
    octets = path.read_bytes().replace(pcapng.DISSECTOR, b"nobody's", 4)
    assert "Lua" not in tshark.run("-r", tshark.file("foreign.pcapng", octets), "-V")
