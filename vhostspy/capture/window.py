"""A window on the octets of a capture: what a reader looks at, and how far it is in the file.

The file is read, not mapped, since the writer may cut it off; and no size in it makes us take memory: what is held is
what was read at once, and of that only octets that are really there.
"""

from __future__ import annotations

import os
import stat
from types import TracebackType
from typing import Self


class CaptureError(Exception):
    """A file that is no capture, or is damaged; the records before the damage have been given.

    where: file offset in octets. what: the sentence without the place. expected: what should have been there, or "".
    """

    def __init__(self, where: int, what: str, expected: str = "") -> None:
        self.where = where
        self.what = what
        self.expected = expected
        text = f"octet {where}: {what}" if where else what
        super().__init__(text + (f" (expected: {expected})" if expected else ""))


class Window:
    """``source``: a path, a descriptor (it stays the caller's, a file is read from its position on), or octets.

    With ``follow`` the file's end is its end for now. ``offset`` is the file offset up to which all has been read,
    ``note`` a sentence if the file stops within a block, else "".

    Raises OSError if the file cannot be opened or, later, read; CaptureError for a directory.
    """

    #: octets read at once; a packet block always fits
    window = 1 << 20

    def __init__(self, source: str | os.PathLike[str] | int | bytes | bytearray | memoryview, *, follow: bool) -> None:
        self.follow = follow
        self.note = ""
        self.offset = 0
        #: octets of the file, and where in them ``offset`` is
        self._window = b""
        self._at = 0
        self._fd = -1
        self._owned = False
        self._octets: memoryview | None = None
        self._stream = False
        if isinstance(source, bytes | bytearray | memoryview):
            self._octets = memoryview(source).cast("B")
        else:
            self._open(source)

    def _open(self, source: str | os.PathLike[str] | int) -> None:
        if isinstance(source, int):
            self._fd = source
        else:
            self._fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            self._owned = True
        mode = os.fstat(self._fd).st_mode
        if stat.S_ISDIR(mode):
            self.close()
            raise CaptureError(0, "a directory, not a capture")
        self._stream = not stat.S_ISREG(mode)
        if not self._stream and not self._owned:
            self.offset = os.lseek(self._fd, 0, os.SEEK_CUR)

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._owned:
            self._owned = False
            os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _have(self, size: int) -> bool:
        """Make the window hold ``size`` octets from ``_at`` on, which is ``offset``; False: the file does not."""
        if len(self._window) - self._at >= size:
            return True
        if self._octets is not None:
            self._window = bytes(self._octets[self.offset : self.offset + max(size, self.window)])
        elif self._stream:
            parts = [self._window[self._at :]]
            got = len(parts[0])
            while got < size:
                try:
                    part = os.read(self._fd, self.window)
                except BlockingIOError:
                    break
                if not part:
                    break
                parts.append(part)
                got += len(part)
            self._window = b"".join(parts)
        else:
            self._window = os.pread(self._fd, max(size, self.window), self.offset)
        self._at = 0
        return len(self._window) >= size

    def _peek(self, ahead: int, size: int) -> bytes:
        """``size`` octets, ``ahead`` of ``offset``, or those that are there; in a file, without what lies before."""
        start = self.offset + ahead
        if self._octets is not None:
            return bytes(self._octets[start : start + size])
        if self._stream:
            return self._window[self._at + ahead :][:size] if self._have(ahead + size) else b""
        return os.pread(self._fd, size, start)

    def _skip(self, size: int) -> None:
        """Go on behind ``size`` octets, which need not be in the window."""
        self.offset += size
        self._at += size
        if self._at > len(self._window):
            self._window, self._at = b"", 0

    def _short(self, what: str) -> None:
        """The file ends in the middle of something: more may come, or a note is due."""
        if self.follow:
            if not self._stream:
                # what is there now may be half of what will be there
                self._window, self._at = b"", 0
        else:
            self.note = f"the capture stops {what} (octet {self.offset}); all before it was read"
