"""Old captures open. A file stays here for good, as the version of its name wrote it; its records are as they were."""

from __future__ import annotations

from pathlib import Path

from vhostspy.capture.reader import Reader
from vhostspy.capture.record import CHANGED, EVENT, MESSAGE, ORIGINAL, RAW, Descriptor, Record

TIME = 1_700_000_000_000_000_000
#: the mask did it
MASK = 1 << 24
FEATURES = bytes.fromhex("01000000 05000000 08000000")


def message(number: int, at: int, sender: int, data: bytes, *, kind: int = MESSAGE, span: int = 0, flags: int = 0,
            reads: int = 1, fds_at: int = 0, fds: tuple[Descriptor, ...] = ()) -> Record:  # fmt: skip
    return Record(
        kind, number, TIME + at, 1000 + at, span, 2, 1, "vhost-user", "main", 1, sender, flags, reads, "<", len(data),
        data, fds_at, fds,
    )  # fmt: skip


VERSION_1 = [
    Record(
        EVENT, 0, TIME, 1000, 0, 2, 1, "", "", 0, 2, 0, 1, "<", 60,
        b'{"event": "open", "text": "session 2 begins", "previous": 1}',
    ),
    message(1, 1, 0, bytes.fromhex("01000000 01000000 00000000")),
    message(2, 2, 1, FEATURES + b"\xff" * 8, span=3, reads=2, flags=ORIGINAL | MASK),
    message(2, 2, 1, FEATURES + b"\x0f" * 8, span=3, reads=2, flags=CHANGED | MASK),
    message(
        3, 3, 0, bytes.fromhex("05000000 01000000 00000000"), fds_at=4,
        fds=(
            Descriptor("memory", "memfd", "rw", 1, 110628, 4096, 0, None, "/memfd:ram (deleted)"),
            Descriptor("memory", "eventfd", "rw", 16, 1038, None, None, 8, "anon_inode:[eventfd]"),
        ),
    ),
    message(4, 5, 1, bytes.fromhex("02000000 05000000 08000000 0000000000000000")),
    # in two records, with the message before it between them
    message(5, 4, 0, bytes.fromhex("02000000 01000000 68420000") + bytes(17000), span=5, reads=2),
    message(6, 6, 0, b"garbage", kind=RAW),
]  # fmt: skip


def test_version_1() -> None:
    with Reader(Path(__file__).parent / "version1.pcapng") as reader:
        assert list(reader) == VERSION_1
        assert reader.note == ""
