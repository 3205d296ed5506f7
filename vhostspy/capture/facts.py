"""What the kernel says of a descriptor that goes by, without reading from it or changing it.

Runs in the relay when nothing is ready to be read, so it counts in system calls: an eventfd needs one file of /proc
(its id is there only), a socket one fstat, memory four short calls.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Sequence
from typing import Final

from .record import Descriptor

#: F_GET_SEALS; the fcntl module has it, type checkers do not always
_GET_SEALS: Final = getattr(fcntl, "F_GET_SEALS", 1034)
_ACCESS: Final = {os.O_RDONLY: "r", os.O_WRONLY: "w", os.O_RDWR: "rw"}
_EVENTFD_ROLES: Final = frozenset({"kick", "call", "err", "log-event", "irq"})
_EVENTFD_NAME: Final = "anon_inode:[eventfd]"
_INFO_SIZE: Final = 1024

#: the device number all anonymous inodes share; 0: not asked yet
_anonymous_device = 0


def describe(fd: int, role: str = "", folder: int | None = None) -> Descriptor:
    """Take what can be found out about ``fd``, which stays open and the caller's.

    role: what the message says it is for; only a hint where to look first. folder: an open descriptor of
    ``/proc/self/fdinfo``, which makes it a little faster. Never raises: a closed or odd descriptor is an ``other``
    about which little is known.
    """
    info = b""
    if role in _EVENTFD_ROLES:
        info = _info(fd, folder)
        if b"eventfd-count:" in info:
            return _eventfd(fd, role, info)
    try:
        state = os.fstat(fd)
    except (OSError, ValueError, OverflowError):
        return Descriptor(role, "other")
    mode = state.st_mode
    device, inode = state.st_dev, state.st_ino
    if stat.S_ISSOCK(mode):
        return Descriptor(role, "socket", "rw", device, inode, name=f"socket:[{inode}]")
    name = _link(fd)
    access = _access(fd)
    size = seals = None
    if stat.S_ISFIFO(mode):
        kind = "pipe"
    elif stat.S_ISDIR(mode):
        kind = "directory"
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        kind = "device"
    elif name.startswith(("/dmabuf:", "anon_inode:dmabuf", "anon_inode:[dmabuf]")):
        kind, size = "dma-buf", state.st_size
    elif stat.S_ISREG(mode):
        # names of files are their owners' choice: only a link count of 0 can be a memfd
        kind, size = "file", state.st_size
        seals = _seals(fd)
        if name.startswith("/memfd:") and not state.st_nlink:
            kind = "memfd"
        elif seals is not None:
            # other files of tmpfs answer too, with "sealed against seals" unless they are memfds
            seals = None
    elif name.startswith("anon_inode:[eventfd"):
        return _eventfd(fd, role, info or _info(fd, folder))
    elif name.startswith("anon_inode:[userfaultfd"):
        kind = "userfaultfd"
    else:
        kind = "other"
    return Descriptor(role, kind, access, device, inode, size, seals, None, name)


def comment(found: Sequence[Descriptor], most: int) -> str:
    """Descriptors in a few words for people, as ``memory memfd 512 MiB, kick eventfd 42``; at most ``most`` of them."""
    words = [_words(one) for one in found[:most]]
    if len(found) > most:
        words[-1] = f"{len(found) - most + 1} more"
    return ", ".join(words)


def _words(one: Descriptor) -> str:
    words = [one.role, one.kind]
    if one.eventfd_id is not None:
        words.append(str(one.eventfd_id))
    elif one.size is not None:
        words.append(_size(one.size))
    elif one.kind in ("socket", "pipe"):
        words.append(str(one.inode))
    return " ".join(filter(None, words))


def _size(octets: int) -> str:
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if octets and not octets & ((1 << shift) - 1):
            return f"{octets >> shift} {unit}"
    return f"{octets} B"


def _eventfd(fd: int, role: str, info: bytes) -> Descriptor:
    global _anonymous_device
    if not _anonymous_device:
        _anonymous_device = os.fstat(fd).st_dev
    # an eventfd cannot be opened again: it is always for reading and writing
    inode, number = _number(info, b"\nino:") or 0, _number(info, b"\neventfd-id:")
    return Descriptor(role, "eventfd", "rw", _anonymous_device, inode, None, None, number, _EVENTFD_NAME)


def _number(info: bytes, name: bytes) -> int | None:
    """What stands behind this name, up to the end of the line."""
    try:
        return int(info.partition(name)[2].partition(b"\n")[0])
    except ValueError:
        return None


def _info(fd: int, folder: int | None) -> bytes:
    try:
        if folder is None:
            file = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        else:
            file = os.open(str(fd), os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(file, _INFO_SIZE)
    except OSError:
        return b""
    finally:
        os.close(file)


def _link(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def _access(fd: int) -> str:
    try:
        return _ACCESS.get(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE, "")
    except OSError:
        return ""


def _seals(fd: int) -> int | None:
    try:
        return fcntl.fcntl(fd, _GET_SEALS)
    except OSError:
        return None
