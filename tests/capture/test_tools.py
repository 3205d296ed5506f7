"""Wireshark's programs open every file we write, and we read every file they make of it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import CHANGED, EVENT, ORIGINAL, SNAPPED, Record

from .support import ROWS, VFIO_ROWS, message, records, writing

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def run(*command: str | Path) -> str:
    """What it prints; it must succeed, and have nothing to say but who it runs as."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if not line.startswith("Running as user")]
    assert (done.returncode, said) == (0, []), done.stderr
    return done.stdout


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Something of everything."""
    path = tmp_path / "all.pcapng"
    octets = message(2, payload=bytes(range(256)) * 3000)
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        back = writer.lane("main", 1, 1, 1, "vhost-user", ROWS)
        nested = writer.lane("backend", 1, 1, 2, "vhost-user", ROWS)
        now = START
        writer.event({"event": "start", "text": "vhostspy starts"}, now, now)
        lane.plain(memoryview(message(1)), now + 1, 1)
        back.message(memoryview(message(1, 5, bytes(8))), now + 2, 2, flags=ORIGINAL)
        back.message(memoryview(message(1, 5, bytes(8))), now + 2, 2, flags=CHANGED)
        lane.message(memoryview(message(12, 1, bytes(8))), now + 3, 3, fds=[os.eventfd(0)])
        lane.message(memoryview(message(5)), now + 4, 4, fds=[os.memfd_create("x") for _ in range(8)])
        lane.begin(len(octets), memoryview(octets)[:50], now + 5, 5)
        back.plain(memoryview(message(2, 5, bytes(8))), now + 6, 6)
        writer.flush()
        lane.add(memoryview(octets)[50:], 7)
        nested.raw(memoryview(b"abc"), now + 7, 7)
        lane.begin(len(octets), memoryview(octets)[:20_000], now + 8, 8)
        lane.finish()
        vfio = writer.lane("main", 0, 2, 1, "vfio-user", VFIO_ROWS)
        vfio.plain(memoryview(bytes.fromhex("01000a00100000000000000000000000")), now + 9, 9)
        writer.event({"event": "end", "text": "complete"}, now + 10, 10, session=1)
    return path


def packets(path: Path) -> int:
    return int(re.findall(r"Number of packets = (\d+)", run("capinfos", path))[0])


@pytest.mark.needs("capinfos")
def test_capinfos_counts(capture: Path) -> None:
    text = run("capinfos", capture)
    assert "Wireshark Upper PDU export" in text
    assert re.search(r"Number of packets: +15\n", text)
    assert re.search(r"Number of interfaces in file: 4\n", text)
    assert re.findall(r" Name = (\w+)", text) == ["main", "backend", "gpu", "second"]
    assert re.findall(r"Number of packets = (\d+)", text) == ["14", "1", "0", "0"]
    assert re.search(r"Number of resolved IPv4 addresses in file: 4\n", text)
    assert re.search(r"Capture application: vhostspy ", text)
    assert "Time precision = nanoseconds (9)" in text


@pytest.mark.needs("tshark")
def test_tshark_shows_ends_ports_and_comments(capture: Path) -> None:
    fields = ("frame.time_epoch", "_ws.col.Source", "_ws.col.Destination", "frame.interface_name", "frame.p2p_dir")
    wanted = [part for field in fields for part in ("-e", field)]
    lines = run("tshark", "-N", "n", "-r", capture, "-T", "fields", *wanted).splitlines()
    assert len(lines) == 15
    assert lines[1].split("\t") == ["1700000000.000000001", "front-end", "back-end", "main", "0"]
    assert lines[2].split("\t") == ["1700000000.000000002", "back-end", "front-end", "main", "1"]
    assert [line.split("\t")[1:3] for line in lines if line.startswith("1700000000.000000009")] == [
        ["client", "server"]
    ]
    comments = [
        line.strip() for line in run("tshark", "-r", capture, "-T", "fields", "-e", "frame.comment").splitlines()
    ]
    assert comments[0] == "vhostspy starts"
    assert comments[2:4] == ["came like this", "went on like this"]
    assert comments[4].startswith("kick eventfd ")
    assert comments[5].count("memory memfd") == 3
    assert comments[5].endswith("5 more")
    found = run("tshark", "-r", capture, "-Y", 'frame.comment contains "memfd"').splitlines()
    assert len(found) == 1


@pytest.mark.needs("tshark")
def test_tshark_draws_arrows(capture: Path) -> None:
    text = run("tshark", "-N", "n", "-q", "-r", capture, "-z", "flow,any,standard")
    assert re.search(r"-+>", text)
    assert re.search(r"<-+", text)


@pytest.mark.needs("tshark")
def test_tshark_reads_it_from_a_pipe(capture: Path) -> None:
    with capture.open("rb") as file:
        done = subprocess.run(["tshark", "-r", "-"], stdin=file, capture_output=True, text=True, timeout=60, check=True)
    assert len(done.stdout.splitlines()) == 15


@pytest.mark.needs("tshark")
@pytest.mark.parametrize("size", [16_384, 16_385, 261_935, 261_936, 261_937, 523_872, 523_873, 1_048_588])
def test_no_packet_is_too_long_for_wireshark(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    octets = message(2, payload=bytes(size - 12))
    with writing(path) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        lane.message(memoryview(octets), START, 0)
        lane.begin(size, memoryview(octets)[:5000], START, 0, fds=[os.eventfd(0)])
        lane.add(memoryview(octets)[5000:], 1)
    lengths = [int(line) for line in run("tshark", "-r", path, "-T", "fields", "-e", "frame.cap_len").splitlines()]
    assert max(lengths) <= 262_144
    assert sum(lengths) == 2 * size + 208 * len(lengths) + 128
    assert [record.data == octets for record in records(path)] == [True, True]


def same(found: list[Record], expected: list[Record]) -> bool:
    return sorted(found, key=repr) == sorted(expected, key=repr)


@pytest.mark.needs("tshark", "editcap", "mergecap", "reordercap")
def test_what_other_programs_write_is_read_the_same(capture: Path, tmp_path: Path) -> None:
    expected = records(capture)
    out = tmp_path / "out"
    run("editcap", capture, out)
    assert records(out) == expected
    run("tshark", "-r", capture, "-w", out)
    assert records(out) == expected
    run("reordercap", capture, out)
    assert same(records(out), expected)
    run("editcap", "-a", "3:looked at", capture, out)
    assert records(out) == expected


@pytest.mark.needs("tshark", "editcap")
def test_a_selection_is_read(capture: Path, tmp_path: Path) -> None:
    expected = records(capture)
    out = tmp_path / "out"
    run("editcap", "-r", capture, out, "2-4")
    assert records(out) == expected[1:4]
    run("tshark", "-r", capture, "-Y", "frame.comment", "-w", out)
    assert [record.number for record in records(out) if record.kind != EVENT] == [
        record.number for record in expected if record.fds or record.flags
    ]


@pytest.mark.needs("editcap")
def test_cut_packets_are_read(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("editcap", "-s", "220", capture, out)
    found = records(out)
    plain = [record for record in found if record.length == 20 and not record.fds]
    assert plain
    assert all(len(record.data) == 12 and record.flags & SNAPPED for record in plain if record.number != 3)
    run("editcap", "-s", "100", capture, out)
    with pytest.raises(CaptureError, match="none of its 15 packets"):
        records(out)


@pytest.mark.needs("mergecap")
def test_merged_files_keep_all_records_and_their_numbers(capture: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pcapng"
    octets = message(2, payload=bytes(500_000))
    with writing(other) as writer:
        for channel in ("gpu", "main"):
            lane = writer.lane(channel, 0, 1, 1, "vhost-user", ROWS)
            lane.message(memoryview(octets), START + 4, 4)
    out = tmp_path / "out"
    for mode in ("all", "none", "any"):
        run("mergecap", "-I", mode, "-w", out, capture, other)
        assert same(records(out), records(capture) + records(other))
    run("mergecap", "-a", "-w", out, other, capture)
    assert records(out) == records(other) + records(capture)


@pytest.mark.needs("editcap")
def test_a_classic_pcap_is_refused_in_a_sentence(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("editcap", "-F", "nsecpcap", capture, out)
    with pytest.raises(CaptureError, match="classic pcap file; editcap -F pcapng"):
        records(out)
    back = tmp_path / "back"
    run("editcap", "-F", "pcapng", out, back)
    assert records(back) == records(capture)


@pytest.mark.needs("capinfos")
def test_a_snapped_capture_opens(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path, snaplen=100) as writer:
        lane = writer.lane("main", 0, 1, 1, "vhost-user", ROWS)
        for size in (10, 88, 89, 20_000, 600_000):
            lane.message(memoryview(message(2, payload=bytes(size))), START, 0)
    assert packets(path) == 5
    with Reader(path) as reader:
        assert [len(record.data) for record in reader] == [22, 100, 100, 100, 100]
