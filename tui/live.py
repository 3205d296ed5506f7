"""A relay that is watched: started for it, or found running. It is another process, and owes the screen nothing.

What passes is read from its capture; what is asked of it goes over its control socket. When the screen ends, crashes or
lags, the relay goes on.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from vhostspy.capture.pcapng import BEGINS
from vhostspy.errors import Failure, WrongUse
from vhostspy.inspection import Asked, NoRelay
from vhostspy.processes import command_line, unnamed_file

from .look import Looking

if TYPE_CHECKING:
    from vhostspy.rules.engine import Rules

#: how long a relay may take to listen, and to end once it was asked to
START_S, END_S = 30.0, 10.0
_MOST_WORDS = 200
_LONGEST = 1 << 16
#: a file without a name that a relay has inherited
_OWN = "/proc/self/fd/"


class Relay:
    """One relay. ``pid``; ``words``: what it said lately; ``fd``: its capture, ours to close."""

    #: it was started here: leaving may end it
    ours = False

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.words: list[str] = []
        status, _ = asked("status")
        self.pid = int(status["pid"])
        self.names = (str(status["front_end"]), str(status["back_end"]))
        #: the capture's path; "" if it has no name that anybody could use
        self.path = str(status["capture"])
        if self.path.startswith(_OWN):
            self.path = ""
        _, fds = asked("capture")
        self.fd = fds[0]
        self._handle = os.pidfd_open(self.pid)

    @property
    def alive(self) -> bool:
        return not select.select([self._handle], [], [], 0)[0]

    def ask(self, do: str, **members: Any) -> str:
        """Have the relay do something; gives what is wrong, or ""."""
        if not self.alive:
            return "the relay has ended"
        try:
            self.asked(do, **members)
        except NoRelay as refusal:
            return str(refusal)
        return ""

    def look(self, rules: Rules | None) -> Looking:
        """What looks into its sessions' memory, to be held against ``rules``; the caller closes it. Raises Failure."""
        try:
            return Looking(Asked(self.asked.path), rules)
        except NoRelay as refusal:
            raise Failure(str(refusal)) from None

    def heard(self) -> list[str]:
        """What it said since the last call."""
        return []

    def end(self) -> None:
        """Ask it to end, and wait for that."""
        if self.alive:
            os.kill(self.pid, signal.SIGTERM)
        select.select([self._handle], [], [], END_S)

    @property
    def status(self) -> int:
        """Its exit status, once it has ended and is ours; else 0."""
        return 0

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._handle)
        self.asked.close()


class Started(Relay):
    """A relay of our own, in a session of its own: what the terminal sends to us does not reach it."""

    ours = True

    def __init__(self, words: Sequence[str], own: int | None, passed: Sequence[int] = ()) -> None:
        self.process = subprocess.Popen(
            command_line(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(*passed, *(() if own is None else (own,))),
            start_new_session=True,
        )
        assert self.process.stderr is not None
        self._stderr = self.process.stderr.fileno()
        os.set_blocking(self._stderr, False)
        self._text = b""
        said = self._wait_until_it_listens()
        super().__init__(self._found())
        self.words = said

    def _wait_until_it_listens(self) -> list[str]:
        """It says so. Raises Failure, or WrongUse, with its own words, where it ends instead."""
        said: list[str] = []
        end = monotonic() + START_S
        while monotonic() < end:
            select.select([self._stderr], [], [], 0.05)
            said += self.heard()
            if any("⇄" in each for each in said):
                return said
            status = self.process.poll()
            if status is not None:
                said += self.heard()
                text = "\n".join(each.removeprefix("vhostspy: ") for each in said) or f"it ended with status {status}"
                raise WrongUse(text) if status == 2 else Failure(text)
        self.process.terminate()
        raise Failure("the relay did not get ready")

    def _found(self) -> Asked:
        from vhostspy.relay.control import folder

        try:
            return Asked(os.path.join(folder(), f"{self.process.pid}.sock"))
        except NoRelay as refusal:
            self.process.terminate()
            raise Failure(
                f"the screen talks to the relay over its control socket, and there is none: {refusal}"
            ) from None

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def status(self) -> int:
        return self.process.poll() or 0

    def end(self) -> None:
        if self.alive:
            self.process.terminate()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def heard(self) -> list[str]:
        try:
            data = os.read(self._stderr, _LONGEST)
        except BlockingIOError:
            return []
        *lines, self._text = (self._text + data).split(b"\n")
        self._text = self._text[-_LONGEST:]
        said = [line.decode(errors="backslashreplace") for line in lines]
        if hasattr(self, "words"):
            self.words = [*self.words, *said][-_MOST_WORDS:]
        return said


def start(words: Sequence[str], keeps: bool, passed: Sequence[int] = ()) -> Started:
    """Start a relay by its command line; where it ``keeps`` no capture, into a file without a name, which is ours.

    passed: descriptors that its sockets are named by; they stay the caller's.
    """
    if keeps:
        return Started([*words, "-q"], None, passed)
    own = unnamed_file()
    try:
        return Started([*words, "-q", "-w", f"{_OWN}{own}"], own, passed)
    finally:
        os.close(own)


def watched(asked: Asked) -> Relay:
    """A relay that runs already. Raises Failure where its capture is not kept."""
    try:
        relay = Relay(asked)
    except NoRelay as refusal:
        raise Failure(str(refusal)) from None
    if os.pread(relay.fd, 4, 0) != BEGINS:  # one that keeps nothing has given this part of its file back
        relay.close()
        raise Failure(
            "that relay keeps nothing of what has passed; one started with -w FILE, or with --tui, can be watched"
        )
    return relay
