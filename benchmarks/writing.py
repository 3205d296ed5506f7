"""How fast records are written, against other writers of pcapng; each writer in an interpreter of its own.

python3 -m benchmarks.writing NAME COUNT FILE       prints the nanoseconds that a record took
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .peers import ROOT, Failed

MESSAGE = bytes.fromhex("0200000001000000080000000000000000000000")
LIMIT_S = 300


class Yardstick(NamedTuple):
    module: str
    #: records that take it about a second
    records: int
    #: bar and stretch: how many times faster than it; None: shown without a goal, since it does less
    goals: tuple[float, float] | None


YARDSTICKS = {
    "dpkt": Yardstick("dpkt", 100_000, (5, 8)),
    "dpkt, all in one call": Yardstick("dpkt", 300_000, None),
    "python-pcapng": Yardstick("pcapng", 20_000, (20, 40)),
    "scapy, the same layers": Yardstick("scapy", 500, (100, 200)),
    "scapy, octets without a layer": Yardstick("scapy", 30_000, None),
}


def available(name: str) -> bool:
    return find_spec(YARDSTICKS[name].module) is not None


def run(name: str, count: int, folder: Path) -> float:
    """Nanoseconds a record takes a writer. Raises Failed."""
    path = folder / "writing.pcapng"
    command = [sys.executable, "-m", "benchmarks.writing", name, str(count), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=LIMIT_S)
    path.unlink(missing_ok=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr}")
    return float(done.stdout)


def vhostspy_ns(count: int, path: Path) -> int:
    """A 20-byte message each, as the relay records it."""
    from vhostspy.capture.writer import Writer
    from vhostspy.dissectors.registry import channel

    view = memoryview(bytearray(MESSAGE))
    writer = Writer(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    record = writer.lane("main", 0, 1, 1, "vhost-user", channel("vhost-user", "main")).plain
    wall, mono = time.time_ns(), time.monotonic_ns()
    start = time.perf_counter_ns()
    for number in range(count):
        record(view, wall + number, mono + number)
    writer.close()
    return time.perf_counter_ns() - start


def packet() -> bytes:
    """What the same message is for the other writers: as many octets in the record."""
    from vhostspy.capture.pcapng import TAGS
    from vhostspy.capture.record import HEADER

    return bytes(TAGS.size + HEADER.size) + MESSAGE


def dpkt_ns(count: int, path: Path, at_once: bool = False) -> int:
    """One call a record; or all in one call, its fastest way, which asks for them all beforehand."""
    pcapng = import_module("dpkt.pcapng")

    data, wall = packet(), time.time()
    with path.open("wb") as file:
        writer = pcapng.Writer(file)
        start = time.perf_counter_ns()
        if at_once:
            writer.writepkts((wall + number, data) for number in range(count))
        else:
            for number in range(count):
                writer.writepkt(data, wall + number)
        file.flush()
        return time.perf_counter_ns() - start


def python_pcapng_ns(count: int, path: Path) -> int:
    blocks, FileWriter = import_module("pcapng.blocks"), import_module("pcapng.writer").FileWriter
    data = packet()
    section = blocks.SectionHeader(options={"shb_userappl": "benchmark"})
    interface = section.new_member(blocks.InterfaceDescription, link_type=252, options={"if_name": "main"})
    with path.open("wb") as file:
        writer = FileWriter(file, section)
        start = time.perf_counter_ns()
        for number in range(count):
            block = section.new_member(blocks.EnhancedPacket)
            block.interface_id = interface.interface_id
            block.timestamp = number
            block.packet_data = data
            writer.write_block(block)
        file.flush()
        return time.perf_counter_ns() - start


def scapy_ns(count: int, path: Path, layers: bool = True) -> int:
    """The same record, made of layers and written; or octets that are ready, and tell nobody what they are."""
    writer = import_module("scapy.utils").PcapNgWriter(str(path))
    if layers:
        ours = import_module("vhostspy.dissectors.scapy_layers")
        start = time.perf_counter_ns()
        for number in range(count):
            writer.write(ours.ExportedPdu() / ours.VhostspyRecord(number=number) / ours.VhostUser(MESSAGE))
    else:
        data = packet()
        writer.linktype = 252
        writer.write_header(None)
        start = time.perf_counter_ns()
        for _ in range(count):
            writer.write_packet(data, sec=1.0)
    writer.flush()
    return time.perf_counter_ns() - start


WRITERS: dict[str, Callable[[int, Path], int]] = {
    "vhostspy": vhostspy_ns,
    "dpkt": dpkt_ns,
    "dpkt, all in one call": partial(dpkt_ns, at_once=True),
    "python-pcapng": python_pcapng_ns,
    "scapy, the same layers": scapy_ns,
    "scapy, octets without a layer": partial(scapy_ns, layers=False),
}


if __name__ == "__main__":
    how_many = int(sys.argv[2])
    print(WRITERS[sys.argv[1]](how_many, Path(sys.argv[3])) / how_many)
