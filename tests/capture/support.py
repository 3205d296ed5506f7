"""Rows small enough to be seen whole, and writers and readers around a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct

from vhostspy.capture.reader import Reader
from vhostspy.capture.record import Record
from vhostspy.capture.writer import Writer
from vhostspy.dissectors.rows import NO_FDS, Channel, Fds, Header, Layout, Message

_NOTHING = Layout("nothing", (), "")


def _row(name: str, number: int, sender: int = 0, *, reply: bool = False, role: str = "") -> Message:
    fds = Fds(role, 0, 8) if role else NO_FDS
    return Message(name, number, sender, (_NOTHING,), (_NOTHING,) if reply else None, "", "", request_fds=fds)


def _channel(header: Header, *rows: Message) -> Channel:
    return Channel("main", header, 1 << 21, {(row.sender, row.id): row for row in rows})


#: a vhost-user main channel
ROWS = _channel(
    Header(_NOTHING, 12, 0, "u32", 8, False, 4, 4, 4, 8),
    _row("GET_FEATURES", 1, reply=True),
    _row("SET_FEATURES", 2),
    _row("SET_MEM_TABLE", 5, role="memory"),
    _row("SET_VRING_KICK", 12, role="kick"),
)
#: a vfio-user main channel: the id is a u16 behind the message's own number
VFIO_ROWS = _channel(
    Header(_NOTHING, 16, 2, "u16", 4, True, 8, 0xF, 1, 0),
    _row("VERSION", 1, reply=True),
    _row("REGION_WRITE", 10, reply=True),
)

_HEADER = Struct("=III")


def message(number: int, flags: int = 1, payload: bytes = b"") -> bytes:
    """The octets of a vhost-user message."""
    return _HEADER.pack(number, flags, len(payload)) + payload


@contextmanager
def writing(path: Path, *, snaplen: int | None = None, bounded: int | None = None) -> Iterator[Writer]:
    """A writer of this file, closed at the end."""
    writer = Writer(
        os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), snaplen=snaplen, bounded=bounded
    )
    try:
        yield writer
    finally:
        writer.close()


def records(source: Path | bytes) -> list[Record]:
    """All of a file that is whole."""
    with Reader(source) as reader:
        found = list(reader)
        assert reader.note == ""
        return found
