"""Small captures, written as the relay writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vhostspy.capture.writer import Writer
from vhostspy.dissectors import registry

OWNER = bytes.fromhex("03000000 01000000 00000000")
GET_FEATURES = bytes.fromhex("01000000 01000000 00000000")
FEATURES = bytes.fromhex("01000000 05000000 08000000  0000004001000000")

MS = 1_000_000
SECOND = 1_000_000_000


class Recorded:
    """A session on its way into a capture; each message is a millisecond after the one before."""

    def __init__(self, writer: Writer, at_ns: int = 5 * SECOND) -> None:
        self.writer = writer
        self.at_ns = at_ns
        rows = registry.channel("vhost-user", "main")
        self._lanes = [writer.lane("main", end, 1, 1, "vhost-user", rows) for end in (0, 1)]

    def says(self, sender: int, octets: bytes) -> None:
        self.at_ns += MS
        self._lanes[sender].plain(memoryview(octets), 1_700_000_000 * SECOND + self.at_ns, self.at_ns)

    def event(self, name: str, session: int = 1, sender: int = 2, **facts: object) -> None:
        self.at_ns += MS
        channel = "main" if session else ""
        self.writer.event(
            {"event": name, **facts}, self.at_ns, self.at_ns, session=session, channel=channel,
            channel_no=1 if session else 0, protocol="vhost-user" if session else "", sender=sender,
        )  # fmt: skip

    def flush(self) -> None:
        self.writer.flush()


@contextmanager
def recording(path: Path, at_ns: int = 5 * SECOND) -> Iterator[Recorded]:
    """A new capture at ``path``; complete when left, but for an end event."""
    writer = Writer(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    try:
        yield Recorded(writer, at_ns)
    finally:
        writer.close()


def small(path: Path) -> Path:
    """SET_OWNER, and GET_FEATURES answered."""
    with recording(path) as recorded:
        recorded.event("start", session=0, text="vhostspy begins to relay")
        recorded.event("open", text="session 1 begins")
        recorded.says(0, OWNER)
        recorded.says(0, GET_FEATURES)
        recorded.says(1, FEATURES)
        recorded.event("close", text="session 1 ends")
        recorded.event("end", session=0, text="the capture is complete")
    return path
