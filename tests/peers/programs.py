"""Programs that were started: watched, waited for, put away."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

import pytest

from .place import ROOT

#: a bound of waiting, in seconds, for what comes at once on a machine that has nothing else to do
PATIENCE_S = 30


def until(condition: Callable[[], bool], within_s: float, what: Callable[[], str]) -> None:
    """Wait for the condition; ``what`` is the sentence for when it doesn't come in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what()} (waited {within_s} s)", pytrace=False)
        time.sleep(0.01)


class Program:
    """A started program, in a process group of its own; its output goes into a file in the bench's folder."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def __str__(self) -> str:
        status = self.process.poll()
        state = "is running" if status is None else f"ended with {status}"
        return f"{self.name} {state}, its last output:\n{self.output[-2000:]}"

    def expect(self, text: str, within_s: float) -> None:
        """Wait until the program has written the text; fail at once if it ends without."""

        def seen() -> bool:
            alive = self.process.poll() is None
            if text in self.output:
                return True
            if not alive:
                pytest.fail(f"no {text!r}: {self}", pytrace=False)
            return False

        until(seen, within_s, lambda: f"no {text!r}: {self}")

    def ended(self, within_s: float) -> int:
        """Wait for the end; the exit status."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"no end in {within_s} s: {self}", pytrace=False)

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = PATIENCE_S) -> int:
        """Send the signal and wait for the end; the exit status (negative: the signal that ended it)."""
        self.process.send_signal(number)
        return self.ended(within_s)

    def put_away(self) -> None:
        """End whatever is left of the program and its children."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(3)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def messages(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if "kind" in line]


class Relay:
    """vhostspy between two sockets, writing a capture and JSON lines, and holding the programs to the rules."""

    def __init__(self, program: Program, capture: Path, once: bool) -> None:
        self.program = program
        self.capture = capture
        self.once = once

    def open_descriptors(self) -> dict[str, str]:
        """Number and target of each of its descriptors."""
        folder = f"/proc/{self.program.process.pid}/fd"
        return {number: os.readlink(f"{folder}/{number}") for number in os.listdir(folder)}

    def finish(self, faults: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Let it end (with ``--once`` by itself) and give what it recorded: JSON objects in order.

        The lines it wrote while it ran must be those that its capture gives. None is an error, but of the rules in
        ``faults``, which say whose fault it is; those must be there.
        """
        status = self.program.ended(PATIENCE_S) if self.once else self.program.stop(signal.SIGINT)
        assert status == (1 if faults else 0), str(self.program)
        show = [sys.executable, "-m", "vhostspy", "show", "--json", "--validate", str(self.capture)]
        shown = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert shown.returncode == 0, shown.stderr
        recorded = [json.loads(line) for line in shown.stdout.splitlines()]
        live = [json.loads(line) for line in self.program.output.splitlines() if line.startswith("{")]
        for was, is_now in zip_longest(messages(live), messages(recorded)):
            assert was == is_now, "the live view and the capture tell different things"
        errors = [one for line in live for one in line.get("findings", ()) if one["severity"] == "error"]
        assert {one["rule"] for one in errors} == set(faults or ()), errors
        return recorded


class Qmp:
    """QEMU's monitor, a line of JSON each way; events in between are passed over."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        until(path.exists, PATIENCE_S, lambda: f"QEMU made no {path.name}")
        self._socket.connect(str(path))
        self._lines: IO[str] = self._socket.makefile("rw")
        self._lines.readline()
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: object) -> Any:
        request: dict[str, object] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self._lines.write(json.dumps(request) + "\n")
        self._lines.flush()
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                pytest.fail(f"QMP {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
