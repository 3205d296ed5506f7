"""A million examples of each way in, with the progress as it goes.

python -m tests.fuzz [ENTRY…]        all, or those
    --examples N                     so many of each (1,000,000)
    --seconds S                      no longer than this for each (300)
    --seed N                         the same examples again
    --plain                          by chance alone, also where atheris is installed

With atheris (``pip install 'vhostspy[fuzz]'``) the examples are led by which lines they reach, and those that reached
new ones are kept in ``~/.cache/vhostspy/fuzz`` for the next time; without it they are changes of known ones. What is
found is written there too, is shown with its traceback, and ends with status 1.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from .entries import ENTRIES, Entry
from .mutation import changed

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "vhostspy" / "fuzz"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n\n")[0])
    names = [entry.name for entry in ENTRIES]
    parser.add_argument("entries", nargs="*", metavar="ENTRY", help=f"of {', '.join(names)}")
    parser.add_argument("--examples", type=int, default=1_000_000, help="of each (default 1000000)")
    parser.add_argument("--seconds", type=int, default=300, help="the longest time for each (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="the same examples again (default: others each time)")
    parser.add_argument("--plain", action="store_true", help="not led by coverage")
    options = parser.parse_args()
    unknown = set(options.entries) - set(names)
    if unknown:
        parser.error(f"no entry {', '.join(unknown)}; there are {', '.join(names)}")
    guided = find_spec("atheris") is not None and not options.plain
    print(
        "led by coverage" if guided else "by chance (no atheris here)" if not options.plain else "by chance", flush=True
    )
    found = 0
    for entry in ENTRIES:
        if not options.entries or entry.name in options.entries:
            seed = options.seed or random.SystemRandom().randrange(1, 1 << 31)
            run = _guided if guided else _plain
            found += run(entry, options.examples, options.seconds, seed)
    return 1 if found else 0


class Progress:
    """One line for an entry, written over itself on a terminal."""

    def __init__(self, entry: Entry) -> None:
        self._name = entry.name
        self._begun = time.monotonic()
        self._terminal = sys.stdout.isatty()

    def show(self, examples: int, more: str = "", last: bool = False) -> None:
        seconds = time.monotonic() - self._begun
        rate = examples / seconds if seconds else 0
        line = f"{self._name:16} {examples:>9,} examples {seconds:6.0f} s {rate:>8,.0f}/s  {more}"
        if self._terminal:
            print(f"\r{line:79}", end="\n" if last else "", flush=True)
        elif last:
            print(line, flush=True)


def _plain(entry: Entry, examples: int, seconds: int, seed: int) -> int:
    """Changes of seeds, in this process."""
    chance = random.Random(seed)
    seeds = [*entry.seeds()]
    progress = Progress(entry)
    end = time.monotonic() + seconds
    done = 0
    for done in range(1, examples + 1):
        octets = changed(seeds, entry.longest, chance)
        try:
            entry.run(octets)
        except Exception:
            progress.show(done, "FOUND", last=True)
            _tell(entry, octets)
            return 1
        if done % 256 == 0:
            if time.monotonic() > end:
                break
            if done % 4096 == 0:
                progress.show(done)
    progress.show(done, f"seed {seed}", last=True)
    return 0


def _tell(entry: Entry, octets: bytes) -> None:
    traceback.print_exc()
    folder = CACHE / "found"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{entry.name}-{hash(octets) & 0xFFFFFFFF:08x}"
    path.write_bytes(octets)
    print(f"{entry.name}: {octets!r}\n(in {path})", flush=True)


def _guided(entry: Entry, examples: int, seconds: int, seed: int) -> int:
    """By atheris, in a process of its own: it ends its process."""
    corpus = CACHE / "corpus" / entry.name
    found = CACHE / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, octets in enumerate(entry.seeds()):
        corpus.joinpath(f"seed-{number}").write_bytes(octets)
    command = [
        sys.executable, "-m", "tests.fuzz.guided", entry.name, str(corpus), f"-artifact_prefix={found}/{entry.name}-",
        f"-runs={examples}", f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={entry.longest}",
        "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2048", "-use_value_profile=0",
    ]  # fmt: skip
    progress = Progress(entry)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
    )
    lines: list[str] = []
    done, reached = 0, ""
    try:
        for line in _lines(process):
            state = re.match(r"#(\d+)\s.*?cov: (\d+).*?corp: (\d+)", line)
            final = re.match(r"stat::number_of_executed_units:\s*(\d+)", line)
            if state:
                done, reached = int(state[1]), f"{state[2]} branches, {state[3]} kept"
                progress.show(done, reached)
            elif final:
                done = int(final[1])
            else:
                lines.append(line)
        status = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if status == 0:
        progress.show(done, f"{reached}, seed {seed}", last=True)
        return 0
    progress.show(done, f"FOUND, seed {seed}", last=True)
    told = (at for at, line in enumerate(lines) if "Uncaught" in line or "ERROR" in line)
    begin = next(told, max(len(lines) - 40, 0))
    print("".join(lines[begin:]), flush=True)
    return 1


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


if __name__ == "__main__":
    sys.exit(main())
