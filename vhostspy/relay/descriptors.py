"""Descriptors on their way: received with ``recvmsg``, owned as plain numbers, sent once, closed once.

A list of descriptors always has exactly one owner. Functions that take one over say so; the last owner is the
capture's writer, which notes the kernel's facts about each and closes it.
"""

from __future__ import annotations

import os
import socket
import stat
from array import array
from collections.abc import Sequence

#: room for the 253 descriptors that Linux lets through in one message
CONTROL_SIZE = socket.CMSG_SPACE(253 * 4)
#: what a read says when descriptors were lost; a plain int, since an enumeration's "&" takes longer than a read
CUT_SHORT = int(socket.MSG_CTRUNC)
#: level and type of ancillary data that is descriptors
RIGHTS = (socket.SOL_SOCKET, socket.SCM_RIGHTS)
RECEIVE_FLAGS = int(socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT)

Ancillary = list[tuple[int, int, bytes]]


def received(ancillary: Ancillary) -> list[int]:
    """The descriptors that came with a read; the caller owns them. Credentials are not for us."""
    fds: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array("i")
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
            fds.extend(numbers)
    return fds


def rights(fds: list[int]) -> Ancillary:
    """The same the other way: what ``sendmsg`` wants."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds).tobytes())]


def close_all(fds: list[int]) -> None:
    """Close what the caller owns, and empty the list, so that nothing is closed twice."""
    while fds:
        os.close(fds.pop())


def close_row(fds: Sequence[int]) -> None:
    """Close what the caller owns; numbers in a row, as the kernel gives them to one message, in one call."""
    first, count = fds[0] if fds else 0, len(fds)
    if count > 1 and list(fds) == list(range(first, first + count)):
        os.closerange(first, first + count)
    else:
        for fd in fds:
            os.close(fd)


def duplicate(fds: list[int]) -> list[int]:
    """Copies with the same lifetime rules as any list here; what the process has no room for is left out."""
    copies: list[int] = []
    for fd in fds:
        try:
            copies.append(os.dup(fd))
        except OSError:
            break
    return copies


def is_stream_socket(fd: int) -> bool:
    """Whether it can carry messages of its own (and be replaced by a relayed pair)."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    looked_at = socket.socket(fileno=fd)
    try:
        return looked_at.family == socket.AF_UNIX and looked_at.type == socket.SOCK_STREAM
    finally:
        looked_at.detach()  # it stays the caller's
