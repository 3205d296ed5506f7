"""A real terminal: tmux, with a server of its own, in which a program runs, is typed to, and looked at."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest


class Terminal:
    """A window of tmux. Owns its server, which ``close`` ends."""

    def __init__(self, folder: Path, command: str, **environment: str) -> None:
        # a server that was ended may still hold its socket
        self.socket = folder / f"tmux-{time.monotonic_ns()}"
        words = ["env", *(f"{name}={value}" for name, value in environment.items()), "TERM=xterm-256color"]
        # what it ended with stays to be seen
        line = f"{shlex.join(words)} {command}; echo ended with $?; exec cat"
        self._tmux("new-session", "-d", "-x", "130", "-y", "40", "-s", "t", line)

    def _tmux(self, *words: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in ("TMUX", "TMUX_PANE")}
        command = ["tmux", "-S", str(self.socket), "-f", "/dev/null", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def shown(self) -> str:
        return self._tmux("capture-pane", "-p", "-t", "t")

    def press(self, *keys: str) -> None:
        """Keys as tmux calls them, or texts."""
        for key in keys:
            self._tmux("send-keys", "-t", "t", key)

    def wait_for(self, text: str, within_s: float = 60) -> str:
        """Wait until a text is on the screen; fails with what is there instead."""
        end = time.monotonic() + within_s
        while True:
            shown = self.shown
            if text in shown:
                return shown
            if time.monotonic() > end:
                pytest.fail(f"{text!r} did not come:\n{shown}", pytrace=False)
            time.sleep(0.05)

    def close(self) -> None:
        self._tmux("kill-server")
