"""A file of shared memory: 16-bit words by a small read-only mapping, everything else by ``pread``.

A word of a mapping is loaded at once; a copy may catch half of an index. But reading a hole through a mapping makes a
page of memory, which a ``pread`` does not: so only rings are mapped, whose pages the guest has made long ago.
"""

from __future__ import annotations

import mmap
import os

from vhostspy.memory.guest import Outside

#: mappings of one file that are kept; two for each ring
_MOST = 1024


class File:
    """Owns ``fd`` and its mappings."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        state = os.fstat(fd)
        self.size = state.st_size
        # on hugetlbfs this is the size of its pages
        self._page = max(mmap.ALLOCATIONGRANULARITY, state.st_blksize)
        self._maps: dict[tuple[int, int], tuple[mmap.mmap, memoryview]] = {}

    def read(self, offset: int, length: int) -> bytes:
        """Octets, fewer where the file ends."""
        if offset >= 1 << 63:
            return b""
        return os.pread(self.fd, length, offset)

    def words(self, offset: int, count: int) -> memoryview:
        """Live words at an even offset. Raises Outside where the file is too short for them."""
        known = self._maps.get((offset, count))
        if known is not None:
            return known[1]
        end = offset + 2 * count
        if end > self.size and end > (size := os.fstat(self.fd).st_size):
            raise Outside(f"a ring's part ends at {end:#x}, its file at {size:#x}")
        start = offset // self._page * self._page
        length = min(-(-end // self._page) * self._page, max(self.size, end)) - start
        mapped = mmap.mmap(self.fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=start)
        view = memoryview(mapped)[offset - start : end - start].cast("H")
        if len(self._maps) >= _MOST:
            self._forget()
        self._maps[offset, count] = mapped, view
        return view

    def _forget(self) -> None:
        for mapped, view in self._maps.values():
            view.release()
            try:
                mapped.close()
            except BufferError:  # somebody still looks at a part of it: then it goes with that
                pass
        self._maps.clear()

    def close(self) -> None:
        self._forget()
        os.close(self.fd)
