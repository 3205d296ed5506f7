"""What the benchmarks found, as a table: a line an area, with the goal and whether it was met."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .peers import Failed


class Result(NamedTuple):
    """A line of the table: a value of each round, and what it should be (at least, or at most); None: no goal.

    ``stretch``: what to try for; None: nothing beyond the bar.
    """

    area: str
    values: tuple[float, ...]
    bar: float | None
    stretch: float | None
    at_least: bool = False
    #: "×" for a ratio
    unit: str = "×"

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def verdict(self) -> str:
        def holds(limit: float) -> bool:
            return self.median >= limit if self.at_least else self.median <= limit

        if self.bar is None:
            return "no goal"
        if self.stretch is not None and holds(self.stretch):
            return "met, and the stretch"
        if holds(self.bar):
            return "met"
        if self.bar == 0:
            return f"missed by {self.median:g}"
        return f"missed by {abs(self.median / self.bar - 1):.0%}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cells(result: Result) -> tuple[str, str, str, str, str, str]:
    sign, unit = "≥" if result.at_least else "≤", f" {result.unit}" if result.unit else ""
    spread = f"{number(min(result.values))}–{number(max(result.values))}" if len(result.values) > 1 else ""
    return (
        result.area,
        number(result.median) + unit,
        spread,
        "" if result.bar is None else f"{sign} {number(result.bar)}",
        "" if result.stretch is None else f"{sign} {number(result.stretch)}",
        result.verdict(),
    )


HEADINGS = ("area", "median", "rounds", "bar", "stretch", "verdict")


def as_text(results: Iterable[Result]) -> str:
    lines = [HEADINGS, *(cells(result) for result in results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (map(str.ljust, line, widths) for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def as_markdown(results: Iterable[Result], heading: str) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(cells(result) for result in results)]
    return "\n".join((heading, "", *("| " + " | ".join(line) + " |" for line in lines)))


def put_into(path: Path, name: str, text: str) -> None:
    """Replace what stands between the two marks of that name in a file, which must be there. Raises Failed."""
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = path.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise Failed(f"{path} has no lines {first} and {last} to put the figures between")
    path.write_text(f"{before}{first}\n{text}\n{last}{after}")


def machine() -> str:
    """Where the figures come from: date, kind of machine, kernel, interpreter, version."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    compiler = subprocess.run(["cc", "-dumpfullversion"], capture_output=True, text=True, timeout=10).stdout.strip()
    return (
        f"{datetime.date.today().isoformat()}; {os.cpu_count()} CPUs ({model}), Linux {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}, cc {compiler}"
    )
