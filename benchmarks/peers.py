"""One run of the benchmark: a server, perhaps something between, and a client that makes a load and measures it.

The three programs in C are compiled into a folder of the caller's, which also takes the sockets and captures. All
processes inherit the caller's CPU affinity. Every wait is bounded.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from . import audit

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent

#: what can stand between client and server
DIRECT = "direct"
C = "C"
CHUNKS = "C, chunks as they come"
RELAY = "vhostspy, no capture"
CAPTURE = "vhostspy, capture"
VIEW = "vhostspy, capture and lines"
STRACE = "strace on both peers"

#: how the relay is told to write no lines, and to keep nothing
QUIET = ("--quiet",)
NO_CAPTURE = ("--no-capture",)

#: the two ends' programs are watched as somebody who debugs this protocol would
STRACE_COMMAND = ("strace", "-f", "-ttt", "-s", "64", "-e", "trace=%network", "-o")

#: seconds after which a run has failed
LIMIT_S = 300


class Failed(Exception):
    """A program of the benchmark did not do what it should; the sentence says which and what it said."""


class Measure(NamedTuple):
    """What one run gave. Times in nanoseconds; ``sent`` and ``received`` are the client's, warming up included."""

    sent: int
    received: int
    units: int
    messages: int
    elapsed_ns: int
    cpu_ns: int
    p50_ns: int
    p99_ns: int
    #: of the server
    misplaced: int
    pieces: int
    #: all of the relay's processes together, in KiB; 0 without a relay of ours
    peak_kib: int
    #: messages missing in the capture; 0 without a capture
    lost: int


def compile_tools(folder: Path) -> None:
    """Build client, server and relay into the folder. Raises Failed, with the compiler's words."""
    for name in ("client", "server", "relay"):
        command = ["cc", "-O2", "-Wall", "-Wextra", "-o", str(folder / name), str(HERE / f"{name}.c")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except FileNotFoundError:
            raise Failed("the benchmark needs a C compiler called cc") from None
        if done.returncode != 0:
            raise Failed(f"{' '.join(command)}: {done.stderr}")


def environment(folder: Path) -> dict[str, str]:
    """What our processes get: with bytecode as an installed program has it, whatever the caller's habits are."""
    chosen = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return chosen | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def protocol_of(load: str) -> str:
    return "vfio-user" if "v" in load else "vhost-user"


def vhostspy_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vhostspy", *arguments]


def relay_command(candidate: str, tools: Path, protocol: str, listen: Path, connect: Path, capture: Path) -> list[str]:
    """The command of what stands between; empty for nothing."""
    if candidate in (C, CHUNKS):
        chunks = ["--chunks"] if candidate == CHUNKS else []
        return [str(tools / "relay"), *chunks, protocol, str(listen), str(connect)]
    if candidate in (DIRECT, STRACE):
        return []
    ours = vhostspy_command("--listen", str(listen), "--connect", str(connect), "--protocol", protocol)
    if candidate == RELAY:
        return [*ours, *NO_CAPTURE]
    return [*ours, "-w", str(capture), *(() if candidate == VIEW else QUIET)]


def ahead_of_others() -> None:
    """Run before whatever else runs here, but for what this process starts itself (a viewer)."""
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def run(
    load: str, candidate: str, count: int, tools: Path, *, real_time: bool = False, keep: Path | None = None
) -> Measure:
    """Make a load of so many units through a candidate. ``tools``: the folder of the programs, sockets and captures.

    real_time: nothing else on the CPU may get in between (with strace it may). The capture is read back, counted
    and removed, or left at ``keep``. Raises Failed.
    """
    protocol = protocol_of(load)
    front, back, capture = tools / "front.sock", tools / "back.sock", keep or tools / "run.pcapng"
    front.unlink(missing_ok=True)
    back.unlink(missing_ok=True)
    command = relay_command(candidate, tools, protocol, front, back, capture)
    started: list[subprocess.Popen[str]] = []

    def start(words: list[str], out: int = subprocess.PIPE) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=environment(tools), preexec_fn=ahead_of_others if real_time and candidate != STRACE else None,
        )  # fmt: skip
        started.append(process)
        return process

    def traced(name: str) -> list[str]:
        return [*STRACE_COMMAND, str(tools / f"{name}.strace")] if candidate == STRACE else []

    def finish(process: subprocess.Popen[str], name: str) -> str:
        try:
            out, err = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"{load} through {candidate}: the {name} had not ended after {LIMIT_S} s") from None
        if process.returncode != 0:
            others = "".join(p.communicate(timeout=5)[1] for p in stopped(started) if p is not process)
            raise Failed(f"{load} through {candidate}: the {name} ended with {process.returncode}: {err}{others}")
        return out

    try:
        server = start([*traced("server"), str(tools / "server"), protocol, str(back)])
        relay = start(command, subprocess.DEVNULL) if command else None
        words = [*traced("client"), str(tools / "client"), load, str(front if relay else back), str(count)]
        client = start([*words, str(relay.pid)] if relay else words)
        values = parse(finish(client, "client"))
        values.update(parse(finish(server, "server")))
        peak_kib = 0
        if relay:
            if candidate not in (C, CHUNKS):
                peak_kib = sum(peak_of(pid) for pid in with_children(relay.pid))
                relay.terminate()
            finish(relay, "relay")
    finally:
        for process in stopped(started):
            process.wait(5)
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
    lost = 0
    if candidate in (CAPTURE, VIEW):
        lost = values["sent"] + values["received"] - audit.messages_in(capture)
        if keep is None:
            capture.unlink()
    return Measure(
        sent=values["sent"],
        received=values["received"],
        units=values["units"],
        messages=values["messages"],
        elapsed_ns=values["elapsed_ns"],
        cpu_ns=values["cpu_ns"],
        p50_ns=values.get("p50_ns", 0),
        p99_ns=values.get("p99_ns", 0),
        misplaced=values["misplaced"],
        pieces=values["pieces"],
        peak_kib=peak_kib,
        lost=lost,
    )


def stopped(processes: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """End those that still run, and give all."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
    return processes


def parse(line: str) -> dict[str, int]:
    """``name=number`` words."""
    return {name: int(number) for name, _, number in (word.partition("=") for word in line.split())}


def with_children(pid: int) -> list[int]:
    """A process and those below it."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        below = []
    return [pid, *(child for word in below for child in with_children(int(word)))]


def peak_of(pid: int) -> int:
    """The most memory a process has had resident, in KiB; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def pin(cpu: int | None) -> int:
    """Put this process, and so all that it starts, on one CPU: that one, or the last it may use."""
    chosen = max(os.sched_getaffinity(0)) if cpu is None else cpu
    os.sched_setaffinity(0, {chosen})
    return chosen
