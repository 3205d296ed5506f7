"""Other readers of captures, each in an interpreter of its own, and a file for one of them.

python3 -m benchmarks.other pyshark FILE LUA        prints the seconds of CPU that it took, tshark's included
python3 -m benchmarks.other vhostspy FILE           the same of ours
python3 -m benchmarks.other search FILE FILTER      the same of a search by the index, as the screen does it
python3 -m benchmarks.other index FILE              prints how many MB an index of the file holds
python3 -m benchmarks.other peak WORD...            prints the most memory that vhostspy holds with these words, in MB
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from struct import pack

from .peers import ROOT, Failed, environment

LIMIT_S = 1800
#: pcap's link type for D-Bus
DBUS = 231


def run(command: list[str], folder: Path) -> float:
    """What such a command prints; ``folder`` is for bytecode. Raises Failed."""
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=LIMIT_S, env=environment(folder)
    )  # fmt: skip
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr}")
    return float(done.stdout)


def write_dbus(path: Path, count: int) -> None:
    """A capture of as many method calls on D-Bus: no protocol of Wireshark's is closer to ours than this one."""
    fields = ((1, "o", "/org/example/Disk"), (2, "s", "org.example.Disk"), (3, "s", "Flush"), (6, "s", "org.example"))
    header = b""
    for number, kind, text in fields:
        header += bytes(-len(header) % 8)
        header += pack("<B", number) + bytes((1, ord(kind), 0)) + pack("<I", len(text)) + text.encode() + b"\0"
    with path.open("wb") as file:
        file.write(pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, DBUS))
        for number in range(1, count + 1):
            message = pack("<cBBBIII", b"l", 1, 0, 1, 0, number, len(header)) + header + bytes(-len(header) % 8)
            time = number * 20
            file.write(pack("<IIII", time // 1_000_000, time % 1_000_000, len(message), len(message)) + message)


def read_by_pyshark(path: str, lua: str) -> float:
    """Every member of every message, by name."""
    pyshark = import_module("pyshark")
    with pyshark.FileCapture(path, custom_parameters=["-X", f"lua_script:{lua}"], keep_packets=False) as capture:
        for packet in capture:
            for layer in packet.layers:
                for name in layer.field_names:
                    getattr(layer, name)
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def read_by_us(path: str) -> float:
    """The same: members, and what they are called."""
    from vhostspy.capture.reader import Reader
    from vhostspy.message import Message
    from vhostspy.pipeline import Pipeline

    pipeline = Pipeline()
    with Reader(path) as reader:
        for record in reader:
            for item in pipeline.feed(record):
                if isinstance(item, Message):
                    fields, names = item.fields, item.names
                    for name in fields:
                        names.get(name)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def index_mb(path: str) -> float:
    """What the index of a capture adds to the process, once all of it is studied."""
    from vhostspy.index import Index

    before = _resident()
    with Index(path) as index:
        while index.advance(1.0):
            pass
        return (_resident() - before) / (1 << 20)


def search(path: str, text: str) -> float:
    """All messages that match: the rows are found, then searched; what the filter does not ask for is not looked at."""
    from vhostspy.filter import asked_for
    from vhostspy.index import Index

    wanted = asked_for(text)
    if wanted is None:
        raise Failed(f"no filter: {text}")
    with Index(path) as index:
        found = index.matching(wanted)
        while found.advance(1.0) or index.offset < index.size:
            index.advance(0.01)
        if not found.rows:
            raise Failed(f"{text} finds nothing in {path}")
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def peak_mb(*words: str) -> float:
    """Of a process that this small one starts: a child's peak counts what its parent held when it was made."""
    process = subprocess.Popen([sys.executable, "-m", "vhostspy", *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise Failed(f"vhostspy {' '.join(words)} ended with {process.returncode}")
    return used.ru_maxrss / 1024


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    readers: dict[str, Callable[..., float]] = {
        "pyshark": read_by_pyshark, "vhostspy": read_by_us, "search": search, "index": index_mb, "peak": peak_mb,
    }  # fmt: skip
    print(readers[sys.argv[1]](*sys.argv[2:]))
