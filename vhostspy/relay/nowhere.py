"""A capture that keeps nothing: for a relay that only relays, by request or after it was told to detach.

The same face as ``vhostspy.capture.writer.Writer``. Descriptors that are handed over are closed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .descriptors import close_all


class Nowhere:
    """Counts, and keeps nothing."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.fd = -1
        self.pos = 0
        self.unsettled: list[Any] = []
        self.lost_messages = self.lost_bytes = 0
        self.error: OSError | None = None

    def lane(self, *about: Any, **more: Any) -> NoLane:
        return NoLane(self)

    def event(self, *about: Any, **more: Any) -> None:
        pass

    def sample(self, *about: Any, **more: Any) -> None:
        pass

    def settle(self) -> None:
        pass

    def tick(self, mono_ns: int) -> int | None:
        return None

    def flush(self, mono_ns: int = 0) -> bool:
        return True

    def consumed(self, offset: int) -> None:
        pass

    def close(self) -> None:
        pass


class NoLane:
    __slots__ = ("writer",)

    def __init__(self, writer: Nowhere) -> None:
        self.writer = writer

    def heed(self, *about: Any) -> None:
        pass

    def plain(self, view: memoryview, wall_ns: int, mono_ns: int) -> None:
        self.writer.number += 1

    def several(self, view: memoryview, cuts: Sequence[int], wall_ns: int, mono_ns: int) -> None:
        self.writer.number += len(cuts)

    def carrying(self, view: memoryview, wall_ns: int, mono_ns: int, fds: Sequence[int]) -> None:
        self.writer.number += 1
        close_all(list(fds))

    def message(
        self, view: memoryview, wall_ns: int, mono_ns: int, span_ns: int = 0, reads: int = 1, flags: int = 0,
        fds: Sequence[int] = (), fds_at: int = 0,
    ) -> None:  # fmt: skip
        self.writer.number += 1
        close_all(list(fds))

    raw = message

    def begin(
        self, length: int, view: memoryview, wall_ns: int, mono_ns: int, span_ns: int = 0, reads: int = 1,
        flags: int = 0, fds: Sequence[int] = (), fds_at: int = 0,
    ) -> None:  # fmt: skip
        self.writer.number += 1
        close_all(list(fds))

    def add(self, view: memoryview, mono_ns: int) -> None:
        pass

    def mark(self, flags: int) -> None:
        pass

    def finish(self) -> None:
        pass
