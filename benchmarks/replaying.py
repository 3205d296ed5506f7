"""How long a replay of a recorded set-up takes, as a ratio to the same messages straight between two processes.

    python3 -m benchmarks.replaying [--rounds N] [--markdown FILE] [CAPTURE...]

Each round plays the capture's set-up twice to the same back-end, over a connection of its own each time: by a program
in C that has every octet ready (``script.c``), and by a replay; the time counts from the first message that is sent to
the last answer. The back-end is qemu-storage-daemon where that is installed and the capture is of a disk, and always a
program in C that answers at once, whatever comes. What counts is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vhostspy.message import Message
from vhostspy.replay import Script, replay

from .table import Result, as_markdown, as_text, machine, put_into, say

HERE = Path(__file__).parent
CAPTURES = HERE.parent / "captures"
DEFAULT = ("s", "c", "c-sid", "a-sid")
SEND, RECEIVE = 1, 2
#: a kick is written to behind its message, as front-ends do
_KINDS = {"eventfd": 1, "socket": 2, "kick": 3}


def steps(messages: tuple[Message, ...], side: int) -> bytes:
    """A script of ``script.c``: the main channel's messages; what two messages are about stays in their octets."""
    octets = b""
    for message in messages:
        if message.channel != "main":
            continue
        kinds = []
        if message.sender == side:
            for fd in message.fds:
                kinds.append(_KINDS.get(fd.role if fd.role == "kick" else fd.kind) or max(fd.size or 4096, 4))
        head = (SEND if message.sender == side else RECEIVE, len(kinds), len(message.data))
        octets += struct.pack(f"=3I{len(kinds)}Q", *head, *kinds) + message.data
    return octets


@contextmanager
def running(command: list[str], appears: Path) -> Iterator[None]:
    """A program that makes a socket."""
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not appears.exists():
            if time.monotonic() > deadline or program.poll() is not None:
                raise SystemExit(f"{command[0]} makes no socket")
            time.sleep(0.005)
        yield
    finally:
        program.terminate()
        program.wait(10)
        appears.unlink(missing_ok=True)


def storage_daemon(folder: Path, path: Path) -> list[str] | None:
    """qemu-storage-daemon with an empty disk, if there is one."""
    program = shutil.which("qemu-storage-daemon")
    if program is None:
        return None
    disk = folder / "disk.img"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    return [
        program, "--blockdev", f"driver=file,node-name=disk,filename={disk}", "--export",
        f"type=vhost-user-blk,id=export,addr.type=unix,addr.path={path},node-name=disk,writable=on,num-queues=2",
    ]  # fmt: skip


def recorded(capture: str, folder: Path, path: Path) -> Iterator[tuple[str, list[str], Script]]:
    """The back-ends there are: name, command, and the set-up as it is with that one."""
    script = Script.read(CAPTURES / f"{capture}.pcapng").cut(until_no="set-up")
    yield "in C", [str(folder / "script"), str(folder / "back"), "listen", str(path)], script
    command = storage_daemon(folder, path)
    if command is not None:
        kept = folder / "kept.pcapng"
        with running(command, path):
            # this disk's size, this version's features
            replay(script, "front-end", connect=path, timeout_s=5, write=kept)
        yield "qemu-storage-daemon", command, Script.read(kept)


def measure(capture: str, rounds: int, folder: Path) -> Iterator[tuple[str, int, list[float], list[float]]]:
    """For each back-end: its name, how many messages, and the times of both in microseconds."""
    path = folder / "be.sock"
    for name, command, script in recorded(capture, folder, path):
        messages = script.parts[0].messages
        for file, side in (("front", 0), ("back", 1)):
            (folder / file).write_bytes(steps(messages, side))
        straight, replayed = [], []
        with running(command, path):
            for number in range(rounds + 1):
                found = subprocess.run(
                    [folder / "script", folder / "front", "connect", path],
                    capture_output=True, text=True, timeout=20, check=True,
                )  # fmt: skip
                gc.collect()
                outcome = replay(script, "front-end", connect=path, timeout_s=5)
                if outcome.status:
                    raise SystemExit(outcome.text)
                if number:  # the first one warms up
                    straight.append(int(found.stdout) / 1000)
                    replayed.append(outcome.sessions[0].took_ns / 1000)
        yield name, len(messages), straight, replayed


def main() -> int:
    parser = argparse.ArgumentParser(description="replay against the same messages sent by a program in C")
    parser.add_argument("captures", metavar="CAPTURE", nargs="*", default=DEFAULT)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--quick", action="store_true", help="one round, to see that it runs")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="put the figures into this file")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    gc.set_threshold(100_000)  # as the command does
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="replaying-") as name:
        folder = Path(name)
        subprocess.run(["cc", "-O2", "-o", folder / "script", HERE / "script.c"], check=True)
        for capture in options.captures:
            for back_end, count, straight, replayed in measure(capture, rounds, folder):
                ratios = tuple(b / a for a, b in zip(straight, replayed, strict=True))
                real = back_end != "in C"
                area = f"set-up of {capture} ({count} messages), back-end {back_end}"
                results.append(Result(area, ratios, 2.0 if real else None, None))
                say(f"{area}: {statistics.median(straight):.0f} µs, replayed {statistics.median(replayed):.0f} µs")
    print(as_text(results))
    if options.markdown:
        put_into(options.markdown, "replaying", as_markdown(results, f"{machine()}; {rounds} rounds."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
