"""What it costs to look at rings, and what it costs their peers.

    python3 -m benchmarks.rings [--quick] [--rounds N] [--markdown FILE]

A scan of sixteen rings' indices, set up once; a whole look at them (every member, twice). Then a kick and its answer
between two threads on one CPU, as they are, and with somebody watching: as ``vhostspy rings`` does, waking up now and
then; waiting for every edge, from the other CPU; and with the kick passed on (``--exact-kicks``). Every kick must reach
who waits for it, and none twice, or the run fails. Exit status: 0 when that holds, 1 when it does not, 3 when something
failed.
"""

from __future__ import annotations

import argparse
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

from vhostspy.dissectors.codec import Context
from vhostspy.inspection.files import File
from vhostspy.inspection.notifications import Notifications
from vhostspy.memory.guest import Mapped, Space, space
from vhostspy.memory.ring import all_rings
from vhostspy.memory.scan import scan
from vhostspy.relay.lines import Lines
from vhostspy.relay.loop import Loop
from vhostspy.relay.nowhere import Nowhere
from vhostspy.session.state import Region, Ring, Session

from .peers import Failed, pin
from .table import Result, as_markdown, as_text, machine, put_into, say

HERE = Path(__file__).resolve().parent
RINGS, SIZE = 16, 256
USER = 0x7F00_0000_0000
#: of a ring's own memory: table, driver's and device's part
STRIDE = 16_384


def sixteen() -> tuple[Session, Space, File]:
    """A session with sixteen rings of 256 in one region of 64 MiB."""
    fd = os.memfd_create("rings")
    os.ftruncate(fd, 64 << 20)
    with mmap.mmap(fd, RINGS * STRIDE) as written:
        written[:] = bytes(len(written))  # as a guest's driver clears its rings
    region = Region(0, 64 << 20, USER, 0, 1)
    rings = {}
    for at in range(RINGS):
        start = USER + at * STRIDE
        rings[at] = Ring(at, SIZE, 0, (start, start + 8192, start + 4096, 0), started=True, enabled=True)
    session = Session(1, context=Context(1 << 29 | 1 << 32, 0, "net"), regions=(region,), rings=rings)
    file = File(fd)
    return session, space(session, (Mapped(region, file.read, file.words),)), file


def per_call(call: Callable[[], object], times: int) -> float:
    """Microseconds of this thread's own time."""
    begun = time.thread_time_ns()
    for _ in range(times):
        call()
    return (time.thread_time_ns() - begun) / times / 1000


def scans(rounds: int, quick: bool) -> list[Result]:
    session, memory, file = sixteen()
    scanned = scan(session, memory)
    assert len(scanned.rings) == RINGS
    times = 1_000 if quick else 100_000
    fast = tuple(per_call(scanned.read, times) for _ in range(rounds))
    whole = tuple(per_call(lambda: all_rings(session, memory), max(times // 200, 10)) for _ in range(rounds))
    file.close()
    return [
        Result("scan of 16 rings", fast, 2, 1, unit="µs"),
        Result("a whole look at 16 rings, twice each", whole, None, None, unit="µs"),
    ]


class Times(NamedTuple):
    p50_ns: int
    p99_ns: int


class Kicks:
    """Two threads on one CPU that kick and answer each other."""

    def __init__(self, program: Path, cpu: int, count: int) -> None:
        self.program, self.cpu, self.count = program, cpu, count

    def run(self, kick: int, answered: int, call: int) -> Times:
        words = [str(self.program), *map(str, (kick, answered, call, self.count))]
        done = subprocess.run(
            ["taskset", "-c", str(self.cpu), *words], pass_fds={kick, answered, call}, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"kicks ended with {done.returncode}: {done.stderr}")
        p50, p99, odd = map(int, done.stdout.split())
        if odd:
            raise Taken(f"{odd} kicks or calls were taken by somebody else, or came together")
        return Times(p50, p99)

    def alone(self) -> Times:
        with eventfds(2) as (kick, call):
            return self.run(kick, kick, call)

    def watched(self, every_s: float, cpu: int) -> Times:
        """``every_s`` 0: woken by each edge."""
        with eventfds(2) as (kick, call), beside(_watch, (kick, call), every_s, cpu):
            return self.run(kick, kick, call)

    def relayed(self, cpu: int) -> Times:
        with eventfds(2) as (kick, call):
            theirs = -1
            context = get_context("fork")
            here, there = context.Pipe()
            process = context.Process(target=_relay, args=(kick, there, cpu))
            process.start()
            try:
                from multiprocessing.reduction import recv_handle

                theirs = recv_handle(here)
                return self.run(kick, theirs, call)
            finally:
                process.terminate()
                process.join()
                if theirs >= 0:
                    os.close(theirs)


class Taken(Exception):
    """A watcher has changed what the peers see."""


@contextmanager
def eventfds(count: int) -> Iterator[list[int]]:
    made = [os.eventfd(0, 0) for _ in range(count)]
    try:
        yield made
    finally:
        for fd in made:
            os.close(fd)


@contextmanager
def beside(target: Callable[..., None], *about: object) -> Iterator[None]:
    """A process that does something meanwhile, and says when it has begun."""
    context = get_context("fork")
    begun = context.Event()
    process = context.Process(target=target, args=(begun, *about))
    process.start()
    begun.wait(10)
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _watch(begun: Event, fds: tuple[int, int], every_s: float, cpu: int) -> None:
    os.sched_setaffinity(0, {cpu})
    notifications = Notifications()
    for fd in fds:
        notifications.add(os.dup(fd))
    begun.set()
    while True:
        if every_s:
            time.sleep(every_s)
        notifications.poll(0 if every_s else 10)


def _relay(kick: int, there: Connection, cpu: int) -> None:
    from multiprocessing.reduction import send_handle

    os.sched_setaffinity(0, {cpu})
    loop = Loop(Nowhere())
    outgoing = Lines(loop).replace("kick", 0, kick)
    assert outgoing is not None
    send_handle(there, outgoing, os.getppid())
    loop.run()


def kicks(folder: Path, cpu: int, other: int | None, rounds: int, quick: bool) -> list[Result]:
    program = folder / "kicks"
    done = subprocess.run(
        ["cc", "-O2", "-Wall", "-Wextra", "-pthread", "-o", str(program), str(HERE / "kicks.c")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Failed(done.stderr)
    made = Kicks(program, cpu, 2_000 if quick else 100_000)
    ways: dict[str, Callable[[], Times]] = {
        "watched every 10 ms, same CPU": lambda: made.watched(0.01, cpu),
        "relayed (--exact-kicks), same CPU": lambda: made.relayed(cpu),
    }
    if other is not None:
        ways |= {
            "watched every 10 ms, another CPU": lambda: made.watched(0.01, other),
            "watched edge by edge, another CPU": lambda: made.watched(0, other),
            "relayed, another CPU": lambda: made.relayed(other),
        }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds):
        order = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        for name in order:
            before, with_it, after = made.alone(), ways[name](), made.alone()
            found[name].append((
                2 * with_it.p50_ns / (before.p50_ns + after.p50_ns), 2 * with_it.p99_ns / (before.p99_ns + after.p99_ns)
            ))  # fmt: skip
    results = []
    for name, ratios in found.items():
        p50, p99 = (tuple(values) for values in zip(*ratios, strict=True))
        if name.startswith("watched"):
            results.append(Result(f"kick {name}, p50", p50, 1.10, 1.05))
            results.append(Result(f"kick {name}, p99", p99, None, None))
        else:
            same = "same" in name
            results.append(Result(f"kick {name}, p50", p50, 3.0 if same else None, 2.2 if same else None))
    return results


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.rings", description="Measure looking at rings.")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds, of which the median counts (7)")
    parser.add_argument("--quick", action="store_true", help="one round of few kicks, to see that it runs")
    parser.add_argument("--cpu", type=int, metavar="N", help="the CPU for the peers (the last one)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the table between two marks of this file")
    options = parser.parse_args(arguments)
    rounds = 1 if options.quick else options.rounds
    cpus = sorted(os.sched_getaffinity(0))
    cpu = pin(options.cpu)
    other = next((one for one in cpus if one != cpu), None)
    say(f"{machine()}; peers on CPU {cpu}; {rounds} rounds")
    try:
        with tempfile.TemporaryDirectory(prefix="vhostspy-bench-") as name:
            results = [*scans(rounds, options.quick), *kicks(Path(name), cpu, other, rounds, options.quick)]
    except Taken as taken:
        say(str(taken))
        return 1
    except (Failed, OSError, subprocess.SubprocessError) as error:
        say(f"benchmark failed: {error}")
        return 3
    print(as_text(results))
    if options.markdown:
        put_into(options.markdown, "rings", as_markdown(results, f"{machine()}; {rounds} rounds. Kicks taken: 0."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
