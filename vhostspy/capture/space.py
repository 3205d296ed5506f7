"""Give a file's space back while it stays open. Apart from the writer because of ctypes, which is slow to import."""

from __future__ import annotations

import ctypes
from typing import Final

_KEEP_SIZE: Final = 1
_PUNCH_HOLE: Final = 2

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
_fallocate.restype = ctypes.c_int


def punch(fd: int, start: int, length: int) -> bool:
    """Free these bytes of the file; they read as zeros from now on. False: the file system cannot do that."""
    return int(_fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, length)) == 0
