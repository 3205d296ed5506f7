"""The loop alone: that it wakes for what waits to be written, and watches a number whoever has it now."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from vhostspy.capture.writer import Writer
from vhostspy.relay.loop import Loop


def test_records_that_wait_are_written_when_it_is_woken(tmp_path: Path) -> None:
    writer = Writer(os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT, 0o600))
    loop = Loop(writer)
    reader, wake = os.pipe()
    asked = []

    def wake_later(seconds: float) -> None:
        asked.append(writer.pos > 0)
        os.write(wake, b"!")

    def come() -> None:
        os.read(reader, 1)
        loop.woken()
        loop.running = writer.pos > 0

    loop.wake_later = wake_later
    loop.watch(reader, Loop.IN, come, lambda fd, events: None)
    loop.run()
    assert asked == [True]
    assert (tmp_path / "a").stat().st_size > 0
    writer.close()
    os.close(reader)
    os.close(wake)


def test_a_number_that_another_socket_has_now_is_watched(tmp_path: Path) -> None:
    writer = Writer(os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT, 0o600))
    loop = Loop(writer)
    heard = []
    one, other = socket.socketpair()
    loop.watch(one, Loop.IN, lambda: heard.append("first"), lambda fd, events: None)
    number = one.fileno()
    one.close()
    other.close()
    one, other = socket.socketpair()
    assert number in (one.fileno(), other.fileno())
    if one.fileno() != number:
        one, other = other, one

    def read() -> None:
        heard.append("second")
        loop.running = False

    loop.watch(one, Loop.IN, read, lambda fd, events: None)
    other.send(b"x")
    loop.run()
    assert heard == ["second"]
    loop.unwatch(one)
    one.close()
    other.close()
    writer.close()
