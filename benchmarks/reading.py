"""Reading: what decoding, lists, JSON, filters and checks of captures cost, as ratios inside one run.

    python3 -m benchmarks.reading [--quick] [--rounds N] [--only PART] [--markdown FILE]

A capture of a million mixed messages (``mix``) is written into a temporary folder by the relay's own writer. What is
compared is the CPU time of whole commands, all on one CPU, what they write being thrown away; before that, both must
have read the same messages. tshark has the dissector that ``vhostspy wireshark`` prints. Exit status: 0 when it ran,
whatever the times are; 1 when tshark reads a message otherwise; 3 when something failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from . import decoding, mix, other
from .peers import ROOT, Failed, environment, pin
from .table import Result, as_markdown, as_text, machine, put_into, say

PARTS = ("decode", "list", "json", "filter", "pyshark", "check", "memory")
#: the filter finds one message a session
RARE = "SET_PROTOCOL_FEATURES"
LIMIT_S = 3600


class Differs(Exception):
    """tshark and vhostspy do not read the same; the sentence says what."""


class Captures(NamedTuple):
    """What is read. ``few`` is for commands that take minutes with ``many``; ``dbus`` has as many messages as that."""

    folder: Path
    many: Path
    few: Path
    dbus: Path
    number: int
    few_number: int
    #: our dissector for Wireshark
    lua: Path

    def tshark(self, *words: str | Path) -> list[str]:
        return ["tshark", "-n", "-X", f"lua_script:{self.lua}", *map(str, words)]


def write(folder: Path, number: int, few: int) -> Captures:
    """Make the files."""
    made = Captures(
        folder,
        folder / "many.pcapng",
        folder / "few.pcapng",
        folder / "dbus.pcap",
        number,
        few,
        folder / "vhostspy.lua",
    )
    mix.write(made.many, number)
    mix.write(made.few, few)
    other.write_dbus(made.dbus, few)
    for path in (made.many, made.few):
        path.chmod(0o644)  # tshark may give up root's rights
    dissector = subprocess.run(ours("wireshark"), capture_output=True, cwd=ROOT, timeout=60, check=True)
    made.lua.write_bytes(dissector.stdout)
    return made


def ours(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "vhostspy", *map(str, words)]


def cost(command: list[str], folder: Path) -> float:
    """Seconds of CPU that a command takes; ``folder`` is for bytecode. Raises Failed."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, cwd=ROOT, env=environment(folder)
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise Failed(f"{' '.join(command)}: {said.read()}")
    return used.ru_utime + used.ru_stime


def compare(captures: Captures) -> int:
    """How many messages both have read, in order: names, flags and sizes. Raises Differs."""
    wanted = ("vhostspy.message", "vhost_user.flags", "vhost_user.size")
    fields = [word for name in wanted for word in ("-e", name)]
    shown = subprocess.run(
        captures.tshark("-r", captures.few, "-Y", "vhost_user", "-T", "fields", *fields),
        capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT,
    )  # fmt: skip
    if shown.returncode:
        raise Failed(f"tshark: {shown.stderr}")
    theirs = [line.split("\t") for line in shown.stdout.splitlines()]
    lines = subprocess.run(
        ours("show", "--json", captures.few), capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT, check=True
    ).stdout.splitlines()
    read = [one for one in map(json.loads, lines) if "kind" in one]
    for place, (one, (name, flags, size)) in enumerate(zip(read, theirs, strict=False), 1):
        if (one["message"], one["flags"], one["size"]) != (name, int(flags, 0), int(size, 0)):
            raise Differs(f"message {place}: {one['message']} here, {name} with flags {flags}, size {size} in tshark")
    if not len(read) == len(theirs) == captures.few_number:
        raise Differs(f"{captures.few_number} messages were written: {len(read)} here, {len(theirs)} in tshark")
    return len(read)


def paired(
    area: str, rounds: int, slow: Callable[[], float], quick: Callable[[], float], bar: float | None = None,
    stretch: float | None = None,
) -> Result:  # fmt: skip
    """How many times faster the quick one is: each gives its seconds for a message, in turn."""
    pairs = [(slow(), quick()) for _ in range(rounds)]
    middle = sorted(pairs)[len(pairs) // 2]
    say(f"{area}: {middle[0] * 1e6:.1f} and {middle[1] * 1e6:.1f} µs a message")
    return Result(area, tuple(theirs / mine for theirs, mine in pairs), bar, stretch, at_least=True)


def views(captures: Captures, rounds: int, chosen: list[str]) -> list[Result]:
    """Whole commands against tshark."""

    def seconds(command: list[str], number: int) -> Callable[[], float]:
        return lambda: cost(command, captures.folder) / number

    many, few = captures.number, captures.few_number
    results = []
    if "list" in chosen:
        line = seconds(ours("show", captures.many), many)
        theirs = seconds(captures.tshark("-r", captures.many), many)
        area = f"list of {many:,}, times faster than tshark with our dissector"
        # a round takes minutes; one of the few has our bytecode written
        cost(ours("show", captures.few), captures.folder)
        results.append(paired(area, 1, theirs, line, 3))
        theirs = seconds(["tshark", "-n", "-r", str(captures.dbus)], few)
        area = "list, times faster than tshark's own dissector of D-Bus, in C"
        results.append(paired(area, rounds, theirs, seconds(ours("show", captures.few), few)))
    if "json" in chosen:
        theirs = seconds(captures.tshark("-r", captures.few, "-T", "json"), few)
        area = "JSON, times faster than tshark with our dissector"
        results.append(paired(area, rounds, theirs, seconds(ours("show", "--json", captures.few), few), 5, 10))
    if "filter" in chosen:
        theirs = seconds(captures.tshark("-r", captures.few, "-Y", f'vhostspy.message == "{RARE}"'), few)
        wanted = f"message == {RARE}"
        found = [sys.executable, "-m", "benchmarks.other", "search", str(captures.few), wanted]
        area = "filter, few hits, by the index, times faster than tshark with our dissector"
        results.append(paired(area, rounds, theirs, lambda: other.run(found, captures.folder) / few, 10))
        shown = seconds(ours("show", "-Y", wanted, captures.few), few)
        area = "the same as a list, with answers and summary (show -Y), times faster"
        results.append(paired(area, rounds, theirs, shown, 10))
    return results


def against_pyshark(captures: Captures, rounds: int, number: int) -> Result:
    """All members of messages, as a program of one's own would read them."""
    path = captures.few.with_name("pyshark.pcapng")
    mix.write(path, number)
    path.chmod(0o644)
    members = [sys.executable, "-m", "benchmarks.other"]
    theirs = [*members, "pyshark", str(path), str(captures.lua)]
    mine = [*members, "vhostspy", str(captures.few)]
    area = "members of each message in a program, times faster than pyshark"
    return paired(
        area,
        rounds,
        lambda: other.run(theirs, captures.folder) / number,
        lambda: other.run(mine, captures.folder) / captures.few_number,
        200,
        300,
    )


def checks(captures: Captures, rounds: int) -> Result:
    """All rules over a capture, against reading it with all members, as a program of one's own would."""
    few = captures.few
    cost(ours("check", few), captures.folder)
    pairs = [
        (
            cost(ours("check", few), captures.folder),
            other.run([sys.executable, "-m", "benchmarks.other", "vhostspy", str(few)], captures.folder),
        )
        for _ in range(rounds)
    ]
    ratios = tuple(checked / read for checked, read in pairs)
    return Result("check, to reading with all members", ratios, None, None)


def memory(captures: Captures) -> list[Result]:
    """The most that commands hold, and what an index of all holds."""
    helper = [sys.executable, "-m", "benchmarks.other"]
    peaks = [
        Result(f"{command} of {count:,}, peak RSS", (peak,), None, None, unit="MB")
        for command in ("show", "check")
        for path, count in ((captures.few, captures.few_number), (captures.many, captures.number))
        for peak in [other.run([*helper, "peak", command, str(path)], captures.folder)]
    ]
    held = other.run([*helper, "index", str(captures.many)], captures.folder)
    return [
        *peaks,
        Result(f"index of {captures.number:,}, held", (held,), 48, 32, unit="MB"),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks.reading", description="Measure what reading captures costs, against other readers."
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds, of which the median counts (3)")
    parser.add_argument("--messages", type=int, default=1_000_000, metavar="N", help="of the long capture (1000000)")
    parser.add_argument("--quick", action="store_true", help="one round of small captures, to see that it runs")
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part")
    parser.add_argument("--cpu", type=int, metavar="N", help="the CPU for all processes (the last one)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="takes the captures for the time, half a gigabyte")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the table between two marks of this file")
    options = parser.parse_args(arguments)
    rounds = 1 if options.quick else options.rounds
    number = 2_000 if options.quick else options.messages
    chosen: list[str] = options.only or [*PARTS]
    cpu = pin(options.cpu)
    say(f"{machine()}; all on CPU {cpu}; {rounds} rounds")
    results: list[Result] = []
    same = 0
    with tempfile.TemporaryDirectory(prefix="vhostspy-bench-", dir=options.folder) as name:
        Path(name).chmod(0o755)
        try:
            if "decode" in chosen:
                results += decoding.measured(rounds, options.quick)
            captures = write(Path(name), number, max(number // 10, 1))
            if shutil.which("tshark") is None:
                say("SKIPPED: lists, JSON, filters and pyshark; tshark is not installed")
            else:
                same = compare(captures)
                results += views(captures, rounds, chosen)
                if "pyshark" in chosen and find_spec("pyshark") is None:
                    say("SKIPPED: against pyshark, which this interpreter cannot import")
                elif "pyshark" in chosen:
                    results.append(against_pyshark(captures, rounds, 50 if options.quick else 2_000))
            if "check" in chosen:
                results.append(checks(captures, rounds))
            if "memory" in chosen:
                results += memory(captures)
        except Differs as difference:
            say(f"not read alike: {difference}")
            return 1
        except (Failed, OSError, subprocess.SubprocessError) as error:
            say(f"benchmark failed: {error}")
            return 3
    print(as_text(results))
    if options.markdown:
        heading = (
            f"{machine()}; {rounds} rounds. Messages that tshark reads alike: {same:,} of {max(number // 10, 1):,}."
        )
        put_into(options.markdown, "reading", as_markdown(results, heading))
    return 0


if __name__ == "__main__":
    sys.exit(main())
