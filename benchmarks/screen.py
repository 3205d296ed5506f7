"""Measure the screen: how soon it stands, how soon it is elsewhere, what it takes, and what the peers notice of it.

    python3 -m benchmarks.screen [--quick] [--rounds N] [--messages N] [--markdown FILE]

The screen runs in a pseudo-terminal of 130×40, as any program in a terminal does; what counts is when a text has been
drawn. Each round measures both captures, both applications, or the relay with and without somebody who watches, one
after the other. What a repaint takes is the CPU of a process without a terminal (``yardstick``).
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from time import monotonic, sleep

from . import mix, yardstick
from .peers import Failed, compile_tools, environment, parse, pin, stopped
from .table import Result, as_markdown, as_text, machine, put_into, say

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 600.0
#: what a terminal is told besides text
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?<>=]*[a-zA-Z]|\][^\x07]*\x07|[()][A-Z0-9]|[=>78])")


class Screen:
    """A program in a pseudo-terminal: what Python is to run."""

    def __init__(self, *words: str, folder: Path) -> None:
        self._fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 130, 0, 0))
        self.started = monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *words], stdin=slave, stdout=slave, stderr=slave, cwd=ROOT,
            env={**environment(folder), "TERM": "xterm-256color"}, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._drawn = b""

    def until(self, text: str, limit_s: float = LIMIT_S) -> float:
        """Seconds until a text is drawn, from now on; raises Failed where it is not."""
        start = monotonic()
        wanted = text.encode()
        while wanted not in _ESCAPES.sub(b"", self._drawn):
            left = start + limit_s - monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise Failed(f"{text!r} was not drawn within {limit_s:.0f} s")
            try:
                self._drawn = (self._drawn + os.read(self._fd, 1 << 16))[-(1 << 18) :]
            except OSError:
                raise Failed(f"the screen ended before {text!r} was drawn") from None
        return monotonic() - start

    def press(self, keys: str) -> None:
        """Keys; what was drawn before them no longer counts."""
        while select.select([self._fd], [], [], 0)[0]:
            os.read(self._fd, 1 << 16)
        self._drawn = b""
        os.write(self._fd, keys.encode())

    def drain(self, for_s: float) -> None:
        end = monotonic() + for_s
        while (left := end - monotonic()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                os.read(self._fd, 1 << 16)

    @property
    def resident_kib(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        os.close(self._fd)


#: an application of Textual's with nothing in it but what tells that it is drawn
_EMPTY = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    def compose(self):
        yield Static("nothing else")
Empty().run()
"""


def tui(capture: Path) -> tuple[str, ...]:
    return "-m", "vhostspy", "tui", str(capture)


def first_paint(capture: Path | None, folder: Path) -> float:
    """From the command to the first message drawn; None: to all that there is in an empty application."""
    words, text = (("-c", _EMPTY), "nothing else") if capture is None else (tui(capture), "SET_OWNER")
    screen = Screen(*words, folder=folder)
    try:
        screen.until(text)
        return monotonic() - screen.started
    finally:
        screen.close()


def jumps(capture: Path, count: int, rounds: int, folder: Path) -> list[float]:
    """From the last key of ``:goto N`` to that message's own pane, once all rows are known."""
    return pressed(tui(capture), f"{count} messages", (":goto {}", "\r", "session at #{}"), count, rounds, folder)


def table_jumps(rounds: int, folder: Path) -> list[float]:
    """The same in Textual's table, from the last key to the row."""
    keys = "{}", "g", "row {} "
    return pressed(("-m", "benchmarks.yardstick", "table"), "row 1 ", keys, yardstick.ROWS, rounds, folder)


def pressed(
    words: tuple[str, ...], begun: str, keys: tuple[str, str, str], count: int, rounds: int, folder: Path
) -> list[float]:
    """Seconds from the last key to the text that shows that one is there, for numbers across ``count``."""
    before, last, text = keys
    screen = Screen(*words, folder=folder)
    try:
        screen.until(begun)
        found = []
        for number in range(rounds):
            no = (number + 1) * count // (rounds + 1)
            screen.drain(0.5)
            screen.press(before.format(no))
            screen.drain(0.5)
            screen.press(last)
            found.append(screen.until(text.format(no)))
        return found
    finally:
        screen.close()


def repaint(what: str, capture: Path, folder: Path) -> float:
    """Milliseconds of CPU of a jump in Textual's table, in our list, or on our screen (``yardstick``)."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.yardstick", "jumps", what, str(capture)],
        capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT, env=environment(folder),
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"jumps in the {what}: {done.stderr[-2000:]}")
    return statistics.median(float(each) for each in done.stdout.split())


_INDEX = """
import sys
from vhostspy.index import Index
from vhostspy.rules.engine import Rules
index = Index(sys.argv[1], rules=Rules())
while index.advance(1): pass
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS:")))
"""


def memory(capture: Path, count: int, folder: Path) -> float:
    """What the screen takes beside an index that knows all, in MB; Textual itself is part of it."""
    command = [sys.executable, "-c", _INDEX, str(capture)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S, cwd=ROOT)
    screen = Screen(*tui(capture), folder=folder)
    try:
        screen.until(f"{count} messages")
        # at its end all is known, and the session of the last row is there
        screen.press("G")
        while screen.process.poll() is None and _still_reading(screen):
            screen.drain(0.2)
        return (screen.resident_kib - int(done.stdout)) / 1024
    finally:
        screen.close()


def _still_reading(screen: Screen) -> bool:
    """It uses its processor for more than drawing."""

    def used() -> int:
        fields = Path(f"/proc/{screen.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = used()
    screen.drain(1.0)
    return used() - before > 40  # hundredths of a second


def p99(watched: bool, count: int, tools: Path) -> float:
    """The 99th percentile of a round trip through a relay that records, in ns; ``watched``: by a screen."""
    front, back, capture = tools / "front.sock", tools / "back.sock", tools / "run.pcapng"
    front.unlink(missing_ok=True)
    back.unlink(missing_ok=True)
    started: list[subprocess.Popen[str]] = []
    screen = None

    def start(words: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=environment(tools) | {"XDG_RUNTIME_DIR": str(tools)},
        )  # fmt: skip
        started.append(process)
        return process

    try:
        start([str(tools / "server"), "vhost-user", str(back)])
        vhostspy = [sys.executable, "-m", "vhostspy", "--listen", str(front), "--connect", str(back)]
        relay = start([*vhostspy, "--protocol", "vhost-user", "-w", str(capture), "-q"])
        while not front.exists():
            sleep(0.02)
        if watched:
            os.environ["XDG_RUNTIME_DIR"] = str(tools)
            sleep(0.2)
            screen = Screen(*tui(front), folder=tools)
            screen.until("live")
            screen.drain(0.5)
        client = start([str(tools / "client"), "ping", str(front), str(count), str(relay.pid)])
        end = monotonic() + LIMIT_S
        while client.poll() is None:
            if monotonic() > end:
                raise Failed("the client did not end")
            if screen is not None:
                screen.drain(0.05)
            else:
                sleep(0.05)
        out, err = client.communicate()
        if client.returncode:
            raise Failed(f"the client ended with {client.returncode}: {err}")
        return parse(out)["p99_ns"]
    finally:
        if screen is not None:
            screen.close()
        for process in stopped(started):
            process.wait(5)
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()


def measure(options: argparse.Namespace, folder: Path) -> list[Result]:
    many = 20_000 if options.quick else options.messages
    rounds = 1 if options.quick else options.rounds
    large, small, middle = folder / "large.pcapng", folder / "small.pcapng", folder / "middle.pcapng"
    table = folder / "table.pcapng"
    for path, count in ((large, many), (small, 1), (middle, min(many, 100_000)), (table, yardstick.ROWS)):
        mix.write(path, count)
    compile_tools(folder)
    for capture in (small, None):
        first_paint(capture, folder)  # now its bytecode is there
    results = []
    paints = [(first_paint(small, folder), first_paint(None, folder)) for _ in range(rounds)]
    say(f"first paint {statistics.median(one for one, _ in paints):.2f} s with a message")
    ratios = tuple(a / b for a, b in paints)
    results.append(Result("first paint, one message, to an empty application of Textual's", ratios, 1.3, 1.15))
    paints = [(first_paint(large, folder), first_paint(small, folder)) for _ in range(rounds)]
    say(f"first paint {statistics.median(one for one, _ in paints):.2f} s with {many:,} messages")
    results.append(Result(f"first paint, {many:,} messages, to that with one", tuple(a / b for a, b in paints), 2, 1.2))
    found = jumps(large, many, max(3, rounds), folder)
    results.append(Result("repaint after a jump", tuple(1000 * one for one in found), 200, 100, unit="ms"))
    ours, others = jumps(table, yardstick.ROWS, max(3, rounds), folder), table_jumps(max(3, rounds), folder)
    ratios = tuple(a / b for a, b in zip(ours, others, strict=True))
    results.append(Result("key to picture, all panes, to Textual's table of 10,000 rows alone", ratios, None, None))
    for what, bar, stretch in (("list", 1 / 4, 1 / 8), ("screen", None, None)):
        ratios = tuple(repaint(what, table, folder) / repaint("table", table, folder) for _ in range(rounds))
        name = {"list": "repaint of the list", "screen": "repaint of the screen, all panes,"}[what]
        results.append(Result(f"{name} after a jump, CPU, to that table", ratios, bar, stretch))
    # the lines of the list and of two panes, in widgets and in styles: nothing a message
    few = min(many, 100_000)
    beside = [memory(middle, few, folder)]
    results.append(Result(f"memory beside the index, {few:,} messages", tuple(beside), 60, 40, unit="MB"))
    trips = 2_000 if options.quick else 20_000
    pairs = [(p99(True, trips, folder), p99(False, trips, folder)) for _ in range(rounds)]
    results.append(
        Result("ping p99, watched on the screen, to its own unwatched", tuple(a / b for a, b in pairs), 1.5, 1.2)
    )
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.screen", description="Measure the screen.")
    parser.add_argument("--quick", action="store_true", help="does it run? its figures mean nothing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--cpu", type=int, help="the processor for all (default: any, as a user has it)")
    parser.add_argument("--markdown", type=Path, help="put the table into this file")
    options = parser.parse_args()
    if options.cpu is not None:
        pin(options.cpu)
    with tempfile.TemporaryDirectory(prefix="vhostspy-screen-") as name:
        try:
            results = measure(options, Path(name))
        except Failed as failed:
            say(f"benchmark failed: {failed}")
            return 1
    print(as_text(results))
    if options.markdown is not None:
        put_into(options.markdown, "screen", as_markdown(results, f"{machine()}; {options.rounds} rounds."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
