"""The ladder: vhostspy against its yardsticks, as ratios inside one run.

    python3 -m benchmarks.ladder [--quick] [--rounds N] [--only AREA] [--markdown FILE]

Every round runs every candidate in turn, on one CPU; what counts is the median of the rounds' ratios. Before any time
counts, no descriptor may be on a wrong message and no message may be missing in a capture, and a relay that passes its
reads on as they come must misplace some, or the loads prove nothing. Exit status: 0 when that holds, whatever the times
are; 1 when it does not; 3 when something failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from vhostspy.dissectors.registry import PROTOCOLS

from . import startup, writing
from .audit import Damaged
from .peers import (
    CAPTURE,
    CHUNKS,
    DIRECT,
    RELAY,
    STRACE,
    VIEW,
    C,
    Failed,
    Measure,
    compile_tools,
    pin,
    protocol_of,
    run,
)
from .table import Result, as_markdown, as_text, machine, put_into, say

#: units of a load in a round; a burst has five messages
COUNTS = {
    "ping": 20_000,
    "s20": 40_000,
    "skick1": 20_000,
    "smem8": 20_000,
    "sburst": 10_000,
    "sv4k": 20_000,
    "sv1m": 200,
    "v1m": 200,
}
#: what --only takes
PARTS = (*COUNTS, "memory", "startup", "writing")
QUICK = {"ping": 500, "s20": 1000, "skick1": 500, "smem8": 500, "sburst": 500, "sv4k": 500, "sv1m": 10, "v1m": 10}


class Row(NamedTuple):
    """A goal about a load: one candidate's measure divided by another's.

    ``faster``: the other's divided by the one's, and the bar is the least that will do.
    """

    area: str
    load: str
    what: Literal["p50", "p99", "time", "cpu"]
    of: str
    to: str
    bar: float
    stretch: float
    faster: bool = False


ROWS = (
    Row("ping p50, no capture", "ping", "p50", RELAY, C, 1.20, 1.10),
    Row("ping p50, lossless capture", "ping", "p50", CAPTURE, C, 1.30, 1.20),
    Row("ping p99, capture", "ping", "p99", CAPTURE, C, 1.8, 1.4),
    Row("ping p99, capture and lines (nice 19), to its own without", "ping", "p99", VIEW, CAPTURE, 1.5, 1.2),
    Row("ping p50, capture, times faster than strace", "ping", "p50", CAPTURE, STRACE, 3.0, 4.0, faster=True),
    Row("s20, capture, times faster than strace", "s20", "time", CAPTURE, STRACE, 10.0, 20.0, faster=True),
    Row("CPU per relayed message, capture (ping)", "ping", "cpu", CAPTURE, C, 1.40, 1.25),
    Row("s20, capture", "s20", "time", CAPTURE, C, 1.5, 1.2),
    Row("skick1, capture", "skick1", "time", CAPTURE, C, 1.6, 1.35),
    Row("smem8, capture", "smem8", "time", CAPTURE, C, 1.6, 1.35),
    Row("sburst, capture", "sburst", "time", CAPTURE, C, 1.6, 1.4),
    Row("sv4k, capture", "sv4k", "time", CAPTURE, C, 2.0, 1.6),
    Row("v1m, relay only", "v1m", "p50", RELAY, C, 1.30, 1.1),
    Row("sv1m, relay only", "sv1m", "time", RELAY, C, 1.30, 1.1),
    Row("v1m, full capture", "v1m", "p50", CAPTURE, C, 3.0, 2.3),
    Row("sv1m, full capture", "sv1m", "time", CAPTURE, C, 3.0, 2.3),
)

#: in every round of these loads, besides what the rows need
ALSO = dict.fromkeys(COUNTS, (DIRECT,)) | {"sburst": (DIRECT, CHUNKS)}


class Checks(NamedTuple):
    """What must hold before a time counts, added up over all runs."""

    misplaced: list[int]
    misplaced_by_chunks: list[int]
    pieces: list[int]
    lost: list[int]
    #: messages that captures should hold
    captured: list[int]


def measured(measure: Measure, what: str) -> float:
    """Nanoseconds: of a round trip, for a unit of the load, or of the relay's CPU for a message."""
    if what == "time":
        return measure.elapsed_ns / measure.units
    if what == "cpu":
        return measure.cpu_ns / measure.messages
    return measure.p50_ns if what == "p50" else measure.p99_ns


def run_load(
    load: str, rows: list[Row], rounds: int, count: int, tools: Path, checks: Checks, real_time: bool
) -> list[Result]:
    """All rounds of a load, and the results of its rows."""
    wanted = dict.fromkeys([*ALSO[load], C, *(name for row in rows for name in (row.to, row.of))])
    candidates = [name for name in wanted if name != STRACE or shutil.which("strace")]
    if STRACE in wanted and STRACE not in candidates:
        say(f"SKIPPED: {load} against strace, which is not installed")
    measures: dict[str, list[Measure]] = {name: [] for name in candidates}
    for number in range(rounds):
        turn = number % len(candidates)  # nobody is always the first or always behind the same one
        for name in candidates[turn:] + candidates[:turn]:
            measure = run(load, name, count, tools, real_time=real_time)
            measures[name].append(measure)
            if name == CHUNKS:
                checks.misplaced_by_chunks.append(measure.misplaced)
                continue
            checks.misplaced.append(measure.misplaced)
            if name not in (DIRECT, STRACE):  # a big send comes in pieces without a relay as well
                checks.pieces.append(measure.pieces)
            if name in (CAPTURE, VIEW):
                checks.lost.append(measure.lost)
                checks.captured.append(measure.sent + measure.received)
    for name, runs in measures.items():
        figures = [
            f"{what} {statistics.median(measured(m, what) for m in runs) / 1000:.2f}"
            for what in ("p50", "p99", "time", "cpu")
            if measured(runs[0], what)
        ]
        say(f"{load:7} {name:28} {', '.join(figures)} µs")
    results = []
    for row in rows:
        if row.to not in measures or row.of not in measures:
            continue
        pairs = zip(measures[row.of], measures[row.to], strict=True)
        ratios = [measured(one, row.what) / measured(other, row.what) for one, other in pairs]
        values = tuple(1 / ratio for ratio in ratios) if row.faster else tuple(ratios)
        results.append(Result(row.area, values, row.bar, row.stretch, row.faster))
    return results


def memory(rounds: int, quick: bool, tools: Path, checks: Checks) -> list[Result]:
    """The relay's peak after few and after many messages, with a capture; the many also show that none is lost."""
    few, many = (500, 5000) if quick else (5_000, 500_000)  # round trips: two messages each
    peaks: dict[int, list[float]] = {few: [], many: []}
    lost, total = 0, 0
    for number in range(rounds):
        for count in (few, many) if number < (1 if quick else 2) else (few,):
            measure = run("ping", CAPTURE, count, tools)
            peaks[count].append(measure.peak_kib / 1024)
            checks.lost.append(measure.lost)
            checks.captured.append(measure.sent + measure.received)
            lost += measure.lost
            total += measure.sent + measure.received
    growth = abs(max(peaks[many]) - statistics.median(peaks[few]))
    return [
        Result(f"relay's peak RSS, {few * 2:,} messages", tuple(peaks[few]), 25, 16, unit="MB"),
        Result(f"relay's peak RSS, {many * 2:,} messages", tuple(peaks[many]), 25, 16, unit="MB"),
        Result("difference between the two", (growth,), 1, 1, unit="MB"),
        Result(f"messages lost of {total:,}", (lost,), 0, 0, unit=""),
    ]


def in_wireshark(tools: Path) -> list[Result]:
    """Whether tshark opens a capture of long messages: packets that it doesn't show."""
    if shutil.which("tshark") is None:
        say("SKIPPED: does tshark open it; tshark is not installed")
        return []
    path = tools / "long.pcapng"
    measure = run("v1m", CAPTURE, 20, tools, keep=path)
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-e", "frame.number"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    path.unlink()
    if shown.returncode != 0:
        raise Failed(f"tshark does not open a capture: {shown.stderr}")
    missing = max(0, measure.sent + measure.received - len(shown.stdout.split()))
    return [Result("messages of 1 MiB that tshark does not show", (missing,), 0, 0, unit="")]


def starting(rounds: int, tools: Path, real_time: bool) -> list[Result]:
    """Start-up against ``python -c pass``; each value is the least of three."""
    python = startup.bare_python(tools)
    script = str(python.with_name("vhostspy"))
    listening = partial(startup.until_listening, python)
    measures: dict[str, tuple[Callable[..., int], float, float]] = {
        "python -m vhostspy --version": (partial(startup.until_version, python), 2.2, 1.7),
        "vhostspy --version": (partial(startup.until_script_version, python), 2.2, 1.7),
        "until it listens, vhostspy": (partial(listening, script), 3.5, 2.5),
        "until it listens, python -m vhostspy": (partial(listening, str(python), "-m", "vhostspy"), 3.5, 2.5),
    }
    ratios: dict[str, list[float]] = {area: [] for area in measures}
    if real_time:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))  # else it would see late what they did
    for measure, _, _ in measures.values():
        measure(real_time=real_time)  # now its bytecode is there
    for _ in range(rounds):
        nothing = min(startup.until_pass(python, real_time=real_time) for _ in range(3))
        for area, (measure, _, _) in measures.items():
            ratios[area].append(min(measure(real_time=real_time) for _ in range(3)) / nothing)
    if real_time:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return [Result(area, tuple(ratios[area]), bar, stretch) for area, (_, bar, stretch) in measures.items()]


def writing_rates(rounds: int, quick: bool, tools: Path) -> list[Result]:
    """Records written in a second, against other writers of pcapng."""
    there = [name for name in writing.YARDSTICKS if writing.available(name)]
    for name in writing.YARDSTICKS:
        if name not in there:
            say(f"SKIPPED: the write rate against {name}, which this interpreter cannot import")
    ratios: dict[str, list[float]] = {name: [] for name in there}
    for _ in range(rounds):
        ours = writing.run("vhostspy", 5_000 if quick else 400_000, tools)
        for name in there:
            theirs = writing.run(name, 100 if quick else writing.YARDSTICKS[name].records, tools)
            ratios[name].append(theirs / ours)
    results = []
    for name, values in ratios.items():
        bar, stretch = writing.YARDSTICKS[name].goals or (None, None)
        results.append(Result(f"pcapng write, times faster than {name}", tuple(values), bar, stretch, at_least=True))
    return results


def asked(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks.ladder", description="Measure vhostspy against its yardsticks."
    )
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds, of which the median counts (7)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="so many times the usual loads")
    parser.add_argument("--quick", action="store_true", help="one round of small loads, to see that it runs")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"only this load or part: {', '.join(PARTS)}")
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="for a machine that has other work: run before it (SCHED_FIFO, as root)",
    )
    parser.add_argument("--cpu", type=int, metavar="N", help="the CPU for all processes (the last one)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="takes programs, sockets and captures for the time")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the table between two marks of this file")
    options = parser.parse_args(arguments)
    options.rounds = 1 if options.quick else options.rounds
    options.only = options.only or [*PARTS]
    return options


def every_area(options: argparse.Namespace, tools: Path, checks: Checks) -> list[Result]:
    """What was asked for, area by area; ``checks`` takes what the loads have to keep to."""
    rounds, chosen = options.rounds, options.only
    results: list[Result] = []
    compile_tools(tools)
    for load, usual in COUNTS.items():
        if load not in chosen:
            continue
        if protocol_of(load) not in PROTOCOLS:
            say(f"SKIPPED: {load}; this vhostspy has no {protocol_of(load)}")
        else:
            count = QUICK[load] if options.quick else max(1, int(usual * options.scale))
            rows = [row for row in ROWS if row.load == load]
            results += run_load(load, rows, rounds, count, tools, checks, options.real_time)
    if "v1m" in chosen and "vfio-user" in PROTOCOLS:
        results += in_wireshark(tools)
    if "memory" in chosen:
        results += memory(rounds, options.quick, tools, checks)
    if "startup" in chosen:
        results += starting(rounds, tools, options.real_time)
    if "writing" in chosen:
        results += writing_rates(rounds, options.quick, tools)
    order = [row.area for row in ROWS]
    results.sort(key=lambda result: order.index(result.area) if result.area in order else len(order))
    return results


def sound(checks: Checks, merging: bool) -> bool:
    """Say what the loads had to keep to, and whether they did. ``merging``: there was a load that has reads merged."""
    print(
        f"misplaced descriptors: {sum(checks.misplaced)} in {len(checks.misplaced)} runs; "
        f"messages cut into pieces: {sum(checks.pieces)}; "
        f"lost: {sum(checks.lost)} of {sum(checks.captured):,} captured messages"
    )
    kept = not any(checks.misplaced) and not any(checks.lost) and not any(checks.pieces)
    if merging:
        print(f"misplaced by a relay of chunks as they come: {sum(checks.misplaced_by_chunks)}")
        if not all(checks.misplaced_by_chunks):
            print("the loads made the kernel merge nothing: this run proves nothing")
            kept = False
    return kept


def main(arguments: list[str] | None = None) -> int:
    options = asked(arguments)
    cpu = pin(options.cpu)
    say(f"{machine()}; all on CPU {cpu}; {options.rounds} rounds")
    checks = Checks([], [], [], [], [])
    with tempfile.TemporaryDirectory(prefix="vhostspy-bench-", dir=options.folder) as name:
        try:
            results = every_area(options, Path(name), checks)
        except (Failed, Damaged, OSError, subprocess.SubprocessError) as error:
            say(f"benchmark failed: {error}")
            return 3
    print(as_text(results))
    print()
    if not sound(checks, "sburst" in options.only):
        return 1
    if options.markdown:
        heading = (
            f"{machine()}; {options.rounds} rounds. Descriptors misplaced: 0 "
            f"(by a relay that passes its reads on as they come: {sum(checks.misplaced_by_chunks):,}). "
            f"Messages lost: 0 of {sum(checks.captured):,}."
        )
        put_into(options.markdown, "figures", as_markdown(results, heading))
    return 0


if __name__ == "__main__":
    sys.exit(main())
