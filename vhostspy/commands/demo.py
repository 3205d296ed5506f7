"""``vhostspy demo``: a back-end, the proxy and a front-end, each a process of its own, as in real life.

The peers write to a disk in memory through rings in shared memory; only their messages pass through the proxy, whose
lines are shown as they come. Nothing is installed, no network is used, and every wait has an end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO

import vhostspy
from vhostspy.errors import Failure, WrongUse
from vhostspy.output.stream import Output

#: longest wait for each step, in seconds
WAIT_S = 10.0
#: what the front-end writes, and after how many requests the back-end's disk grows
SECTORS = 64
GROW_AFTER = 8

PICTURE = """\
A front-end with a block driver and a back-end with a disk, both made for this demo, and vhostspy between them:

    front-end ──► [{listen}] vhostspy ──► [{connect}] back-end

"""

NEXT = """\

To go on:
  {show}
        the same session from the file, with all members of each message
  {relay}
        between QEMU and your back-end, which listens on /tmp/vhost.sock; QEMU then gets
        -object memory-backend-memfd,id=mem,size=1G,share=on -machine memory-backend=mem
        -chardev socket,id=spy,path=/tmp/spy.sock -device vhost-user-blk-pci,chardev=spy
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from vhostspy.arguments import written

    parser.add_argument("--keep", metavar="FILE", type=written, help="keep the capture of the session in this file")
    parser.add_argument("-v", "--verbose", action="store_true", help="show all members of each message")


def run(options: argparse.Namespace) -> int:
    """Exit status 0 when all data came back as written; Failure names the part that failed."""
    output = Output(sys.stdout, needed=False)
    previous = signal.signal(signal.SIGTERM, _leave)
    try:
        with tempfile.TemporaryDirectory(prefix="vhostspy-demo-") as folder:
            outcome = _play(Path(folder), options.keep, options.verbose, output)
    finally:
        signal.signal(signal.SIGTERM, previous)
    output.write("\n" + _told(outcome) + _go_on(options.keep))
    output.flush()
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    """SIGTERM: leave through all ``finally``, so that no process and no socket stays behind."""
    raise SystemExit(128 + number)


class Part:
    """One process of the demo. What it says on stderr is kept, in case it has to be told."""

    def __init__(self, name: str, folder: Path, arguments: Sequence[str], stdout: IO[str] | None) -> None:
        self.name = name
        self._errors = folder / f"{name}.stderr"
        # the parts find this very vhostspy, wherever it was started from
        path = os.pathsep.join(filter(None, [str(Path(vhostspy.__file__).parent.parent), os.environ.get("PYTHONPATH")]))
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": path},
                # Ctrl-C reaches the demo alone, which then ends its parts in order
                start_new_session=True,
            )

    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> bool:
        """Has it ended within this time?"""
        try:
            self._process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        """The last lines it wrote to stderr, each indented, with a newline before them; empty if there are none."""
        lines = self._errors.read_text(errors="backslashreplace").splitlines()[-5:]
        return "".join(f"\n    {line}" for line in lines)

    def end(self) -> None:
        if self.status() is None:
            self._process.terminate()
            if not self.wait(2):
                self._process.kill()
                self._process.wait()


def _play(folder: Path, keep: str | None, verbose: bool, output: Output) -> dict[str, object]:
    """Start the three, wait for each, and give what the front-end says it did."""
    listen, connect = folder / "front-end.sock", folder / "back-end.sock"
    capture = keep or str(folder / "demo.pcapng")
    output.write(PICTURE.format(listen=listen.name, connect=connect.name))
    output.flush()  # the relay writes to the same place after us
    parts: list[Part] = []
    try:
        parts.append(
            Part(
                "back-end",
                folder,
                ["vhostspy.demo.back_end", "--listen", str(connect), "--once", "--grow-after", str(GROW_AFTER)],
                None,
            )
        )
        _until_present(connect, parts)
        words = ["vhostspy", "--listen", str(listen), "--connect", str(connect), "--once", "-w", capture]
        parts.append(Part("relay", folder, [*words, "-v"] if verbose else words, None))
        _until_present(listen, parts)
        with (folder / "outcome").open("w+") as said:
            words = ["vhostspy.demo.front_end", "--connect", str(listen), "--expect-growth", "--sectors", str(SECTORS)]
            parts.append(Part("front-end", folder, words, said))
            _until_ended(parts)
            said.seek(0)
            outcome: dict[str, object] = json.load(said)
        return outcome
    finally:
        for part in reversed(parts):
            part.end()


def _until_present(path: Path, parts: Sequence[Part]) -> None:
    """Wait for a socket to appear; Failure if a part ends instead."""
    deadline = time.monotonic() + WAIT_S
    while not path.exists():
        if parts[-1].status() is not None:
            _blame(parts)
        if time.monotonic() > deadline:
            raise Failure(f"the {parts[-1].name} did not begin to listen within {WAIT_S:g} s{parts[-1].last_words()}")
        time.sleep(0.01)


def _until_ended(parts: Sequence[Part]) -> None:
    """Wait for all of them, the front-end first: the others end because it does."""
    for part in reversed(parts):
        deadline = time.monotonic() + WAIT_S
        while not part.wait(0.05):
            if any(other.status() for other in parts) and not part.wait(1):
                _blame(parts)
            if time.monotonic() > deadline:
                raise Failure(f"the {part.name} did not end within {WAIT_S:g} s{part.last_words()}")
        if part.status():
            for other in parts:  # the one that is at fault may still be writing its last words
                other.wait(1)
            _blame(parts)


def _blame(parts: Sequence[Part]) -> None:
    """Raise for the part that ended badly. The proxy comes first, since its end takes both others with it."""
    for part in sorted(parts, key=lambda part: ("relay", "back-end", "front-end").index(part.name)):
        status = part.status()
        if status is None or (status == 0 and part is not parts[-1]):
            continue
        if status == 2:
            raise WrongUse(f"the {part.name} could not be started like this:{part.last_words()}")
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        raise Failure(f"the {part.name} {how}{':' if part.last_words() else ''}{part.last_words()}")
    raise Failure("one of the parts failed and did not say why")


def _told(outcome: dict[str, object]) -> str:
    messages = outcome["messages"]
    counts = [count for count in messages.values() if count] if isinstance(messages, dict) else []
    return (
        f"Wrote {outcome['sectors']} sectors and read back the same; the disk grew meanwhile from "
        f"{outcome['capacity_before']} to {outcome['capacity_after']} sectors: {sum(counts)} messages on "
        f"{len(counts)} channels.\n"
    )


def _go_on(keep: str | None) -> str:
    name = "vhostspy" if shutil.which("vhostspy") else "python3 -m vhostspy"
    show = f"{name} show {keep or 'demo.pcapng'} -v"
    if keep is None:
        show = f"{name} demo --keep demo.pcapng && {show}"
    return NEXT.format(show=show, relay=f"{name} --listen /tmp/spy.sock --connect /tmp/vhost.sock")
