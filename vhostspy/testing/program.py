"""The programs of a test, each a child process that ends with it and says what it had to say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import vhostspy

#: how long a program may take to end once it was asked to, in seconds
END_S = 5.0


class Program:
    """Runs in the test's folder; what it prints is in two files there."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | os.PathLike[str]],
        folder: Path,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        __tracebackhide__ = True
        self.name = name
        #: it was we who ended it
        self._asked = False
        self.command = [os.fspath(word) for word in command]
        self.stdout, self.stderr = folder / f"{name}.stdout", folder / f"{name}.stderr"
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            try:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=None if env is None else {**os.environ, **env},
                    cwd=folder,
                    pass_fds=pass_fds,
                    # ^C is the test run's: it ends its programs in order
                    start_new_session=True,
                )
            except OSError as error:
                raise AssertionError(f"{self.command[0]} cannot be started: {error.strerror}") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float = 10.0) -> int:
        """Its exit status, once it has ended by itself. AssertionError when it has not in this time."""
        __tracebackhide__ = True
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout_s:g} s{self.last_words()}") from None

    def wait_for_socket(self, path: str, timeout_s: float = 10.0) -> None:
        """Until the socket is there, without connecting to it. AssertionError when the program ends instead."""
        __tracebackhide__ = True
        deadline = monotonic() + timeout_s
        while not os.path.exists(path):
            if self.status is not None:
                raise AssertionError(f"{self.name} {self.how_it_ended} before it made {path}{self.last_words()}")
            if monotonic() > deadline:
                raise AssertionError(f"{self.name} did not make {path} within {timeout_s:g} s{self.last_words()}")
            sleep(0.005)

    def end(self) -> int:
        """Ask it to end, and make it end if it does not; its exit status. May be called twice."""
        if self.status is None:
            self._asked = True
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        status = self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            # what it started itself, and left behind
            os.killpg(self._process.pid, signal.SIGKILL)
        return status

    @property
    def failed(self) -> bool:
        """It has ended badly, and by itself."""
        return bool(self.status) and not self._asked

    @property
    def crashed(self) -> bool:
        """It was ended by a signal, and not by ours."""
        return self.failed and (self.status or 0) < 0

    @property
    def how_it_ended(self) -> str:
        status = self.status
        if status is None:
            return "still runs"
        return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"

    def last_words(self, most: int = 10) -> str:
        """The last lines of what it wrote to standard error, indented, a newline before each; or nothing."""
        try:
            lines = self.stderr.read_text(errors="backslashreplace").splitlines()
        except OSError:
            return ""
        return "".join(f"\n    {line}" for line in lines[-most:])


def ours(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this very vhostspy, wherever it was started from."""
    return [sys.executable, "-m", module, *arguments]


def our_path() -> dict[str, str]:
    """What such a command needs in its environment."""
    here = str(Path(vhostspy.__file__).parent.parent)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}
