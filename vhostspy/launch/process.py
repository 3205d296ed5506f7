"""The relay's process itself: its words for people, its descriptors, its signals."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from vhostspy.relay.loop import IDLE_S

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


def stop_on_signals(relay: Relay) -> None:
    """^C and SIGTERM end the relay cleanly; a second one ends it at once. SIGALRM is the loop's way to wake itself."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    alarm = bytes([signal.SIGALRM])

    def come() -> None:
        numbers = os.read(reader, 64)
        if alarm in numbers:
            relay.loop.woken()
        if numbers.strip(alarm):
            relay.stop()

    def wake_later() -> None:
        signal.setitimer(signal.ITIMER_REAL, IDLE_S)

    def on_signal(number: int, frame: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    relay.loop.wake_later = wake_later
    relay.loop.watch(reader, relay.loop.IN, come, lambda fd, events: come())
