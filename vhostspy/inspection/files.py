"""A file of shared memory: read by ``pread``; only what is scanned again and again is mapped, read-only.

A mapping kills who reads where the file has been cut off meanwhile, and reading a hole through it makes a page of
memory. A ``pread`` does neither, nor does it wait for pages that must come from elsewhere. Descriptors may be of
anything that says it is a file: what cannot be read or mapped is ``Outside``.
"""

from __future__ import annotations

import mmap
import os

from vhostspy.memory.guest import Outside


class File:
    """Owns ``fd`` and its mappings."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        # on hugetlbfs this is the size of its pages
        self._page = max(mmap.ALLOCATIONGRANULARITY, os.fstat(fd).st_blksize)
        self._maps: list[tuple[mmap.mmap, memoryview]] = []
        self._mapped_to = 0

    def read(self, offset: int, length: int) -> bytes:
        """Octets, fewer where the file ends. Raises Outside where they cannot be read."""
        if offset + length >= 1 << 63:
            return b""  # no file has so many
        try:
            return os.pread(self.fd, length, offset)
        except OSError as error:
            raise Outside(f"a region's file cannot be read: {error.strerror}") from None

    def words(self, offset: int, count: int) -> memoryview:
        """Live words at an even offset, until ``unmap``; only to be read while ``whole``.

        Raises Outside where the file is too short for them, or cannot be mapped.
        """
        size = os.fstat(self.fd).st_size
        end = offset + 2 * count
        if end > size:
            raise Outside(f"a ring's part ends at {end:#x}, its file at {size:#x}")
        start = offset // self._page * self._page
        length = min(-(-end // self._page) * self._page, size) - start
        try:
            mapped = mmap.mmap(self.fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=start)
        except (OSError, ValueError, OverflowError) as error:
            raise Outside(f"a region's file cannot be mapped: {error}") from None
        view = memoryview(mapped)[offset - start : end - start].cast("H")
        self._maps.append((mapped, view))
        self._mapped_to = max(self._mapped_to, end)
        return view

    @property
    def whole(self) -> bool:
        """Whether what is mapped is still there."""
        return not self._maps or self._mapped_to <= os.fstat(self.fd).st_size

    def unmap(self) -> None:
        """The words given so far are not read any more."""
        for mapped, view in self._maps:
            view.release()
            mapped.close()
        self._maps.clear()
        self._mapped_to = 0

    def close(self) -> None:
        self.unmap()
        os.close(self.fd)
