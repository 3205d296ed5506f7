"""The relay's process itself: its words for people, its descriptors, its signals."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vhostspy.relay.pairing import Relay


def say(text: str) -> None:
    """A line for people. They may have closed standard error; the traffic does not depend on it."""
    try:
        os.write(2, f"vhostspy: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        pass


def fill_standard_descriptors() -> bool:
    """Make sure that 0, 1 and 2 are open, so that no capture or socket gets a number that others write to.

    Tells whether standard output was closed: then nobody wants lines.
    """
    was_closed = False
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            was_closed = was_closed or fd == 1
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    return was_closed


def more_descriptors() -> None:
    """Every relayed descriptor is open here for a moment: take what the system allows."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pass  # then it is as many as it is


class Signals:
    """From now on ^C and SIGTERM end the relay cleanly, once it is there; a second one ends the process at once."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, self._once)
        signal.signal(signal.SIGTERM, self._once)
        signal.signal(signal.SIGALRM, lambda number, frame: None)

    def drive(self, relay: Relay) -> None:
        """Stop that one. SIGALRM is its loop's way to wake itself."""
        alarm = bytes([signal.SIGALRM])

        def come() -> None:
            numbers = os.read(self._reader, 64)
            if alarm in numbers:
                relay.loop.woken()
            if numbers.strip(alarm):
                relay.stop()

        relay.loop.wake_later = lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
        relay.loop.watch(self._reader, relay.loop.IN, come, lambda fd, events: come())

    def ignore_alarm(self) -> None:
        """One that is still to come would end the process while Python takes its handlers away."""
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _once(self, number: int, frame: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
