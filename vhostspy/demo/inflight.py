"""The in-flight region of split rings: which chains a back-end had fetched when it died.

For each queue a header (u64 features, u16 version, u16 descriptors, u16 last batch head, u16 used index) and for each
descriptor 16 bytes (u8 in flight, 5 unused, u16 next, u64 counter); each queue's part is rounded up to 64 bytes.
Source: vhost-user, Inflight I/O tracking.
"""

from __future__ import annotations

import mmap
import os
import struct

from .wire import OwnedFd

_HEADER = struct.Struct("=QHHHH")
_ENTRY = struct.Struct("=B5xHQ")
_VERSION = 1


class InflightRegion:
    """Owns its descriptor and mapping."""

    def __init__(self, fd: OwnedFd, size_bytes: int, offset: int, queues: int, queue_size: int) -> None:
        """Takes ``fd`` over, also when ValueError says that the numbers don't fit each other or the file."""
        self._fd = fd
        self.size_bytes = size_bytes
        self._queue_size = queue_size
        self._stride = _stride(queue_size)
        self._counter = 0
        fits = 0 < queues * self._stride <= size_bytes and offset + size_bytes <= os.fstat(fd.fileno()).st_size
        if not fits or offset % mmap.ALLOCATIONGRANULARITY:
            fd.close()
            raise ValueError(f"{queues} queues of {queue_size} don't fit into {size_bytes} bytes at {offset}")
        self._map = mmap.mmap(fd.fileno(), size_bytes, offset=offset)
        self._queues = queues

    @classmethod
    def make(cls, queues: int, queue_size: int) -> InflightRegion:
        """A new one, all zeroes but for the headers."""
        fd = OwnedFd(os.memfd_create("inflight", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
        size_bytes = queues * _stride(queue_size)
        os.ftruncate(fd.fileno(), size_bytes)
        region = cls(fd, size_bytes, 0, queues, queue_size)
        for index in range(queues):
            _HEADER.pack_into(region._map, index * region._stride, 0, _VERSION, queue_size, 0, 0)
        return region

    def fileno(self) -> int:
        return self._fd.fileno()

    def close(self) -> None:
        self._map.close()
        self._fd.close()

    def fetched(self, index: int, head: int) -> None:
        if index < self._queues and head < self._queue_size:
            self._counter += 1
            _ENTRY.pack_into(self._map, self._entry(index, head), 1, 0, self._counter)

    def finished(self, index: int, head: int, used_index: int) -> None:
        """After the used ring was written."""
        if index < self._queues and head < self._queue_size:
            _ENTRY.pack_into(self._map, self._entry(index, head), 0, 0, 0)
            struct.pack_into("=HH", self._map, index * self._stride + 12, head, used_index)

    def unfinished(self, index: int, used_index: int) -> list[int]:
        """Heads that were fetched and not given back, in the order of fetching."""
        if index >= self._queues:
            return []
        last, known_used = struct.unpack_from("=HH", self._map, index * self._stride + 12)
        if known_used != used_index and last < self._queue_size:
            # its predecessor died between the used ring and this region: that last one was given back
            _ENTRY.pack_into(self._map, self._entry(index, last), 0, 0, 0)
        entries = []
        for head in range(self._queue_size):
            inflight, _, counter = _ENTRY.unpack_from(self._map, self._entry(index, head))
            if inflight:
                entries.append((counter, head))
                self._counter = max(self._counter, counter)
        return [head for _, head in sorted(entries)]

    def _entry(self, index: int, head: int) -> int:
        return index * self._stride + _HEADER.size + _ENTRY.size * head


def _stride(queue_size: int) -> int:
    return -(-(_HEADER.size + _ENTRY.size * queue_size) // 64) * 64
