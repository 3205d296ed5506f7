"""What the kernel says of a descriptor that goes by, without reading from it or changing it.

Runs in the relay, mostly when nothing is ready to be read, so it counts in system calls. ``describe`` finds out
anything about anything; in /proc that takes 15 µs. ``Facts`` does the two kinds that come in numbers for 3 µs each:

- an eventfd's id is in /proc only. The kernel makes that text anew at every read and looks the number up then, so one
  open file of fdinfo serves all: each eventfd is put into the place (``dup2``) that the file tells of.
- a memfd's name never changes, and its inode number does not come again, so its entry is remembered by these and by
  what may change. Seals may not where one of them forbids others, as it does unless the memfd was made to be sealed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from fcntl import F_GETFL, fcntl
from typing import Final

from .record import Descriptor, pack_descriptor

#: F_GET_SEALS, which type checkers do not always know
_GET_SEALS: Final = 1034
#: F_SEAL_SEAL: no other is added any more
_FINAL: Final = 1
_ACCESS: Final = {os.O_RDONLY: "r", os.O_WRONLY: "w", os.O_RDWR: "rw"}
_EVENTFD_ROLES: Final = frozenset({"kick", "call", "err", "log-event", "irq"})
_EVENTFD_NAME: Final = "anon_inode:[eventfd]"
#: more than such a file of an eventfd has, and so little that Python need not ask malloc for it
_INFO_SIZE: Final = 384
#: inode (since Linux 5.14) and eventfd-id (since 5.2) in such a file
_EVENTFD: Final = re.compile(rb"(?:\nino:\t(\d+))?\neventfd-count:[ 0-9a-f]+\neventfd-id: *(\d+)").search
#: entries that are remembered
_MOST_KNOWN: Final = 1024
#: descriptors that a comment names
COMMENTED: Final = 4

#: the device number all anonymous inodes share; 0: not asked yet
_anonymous_device = 0


class Facts:
    """Takes the facts of many descriptors. Owns three descriptors, until ``close``."""

    __slots__ = ("_info", "_known", "_nothing", "_place")

    def __init__(self) -> None:
        #: (entry, words for the comment)
        self._known: dict[tuple[object, ...], tuple[bytes, bytes]] = {}
        self._info = -1
        self._nothing = os.eventfd(0, os.EFD_CLOEXEC)
        self._place = os.dup(self._nothing)
        try:
            self._info = os.open(f"/proc/self/fdinfo/{self._place}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass  # no /proc: then little is known

    def close(self) -> None:
        for fd in (self._nothing, self._place, self._info):
            if fd >= 0:
                os.close(fd)
        self._nothing = self._place = self._info = -1

    def take(self, fds: Sequence[int], role: str, close: bool = True) -> tuple[bytes, bytes]:
        """Take the facts of these descriptors: their entries, and a comment in a few words (ASCII); and close them.

        The last eventfd lives until ``rest``.
        """
        look = self._event if role in _EVENTFD_ROLES and self._info >= 0 else self._memory
        entries: list[bytes] = []
        said: list[bytes] = []
        for fd in fds:
            found = look(fd, role) or _entry(describe(fd, role))
            if close:
                os.close(fd)
            entries.append(found[0])
            said.append(found[1])
        return b"".join(entries), comment(said)

    def rest(self) -> None:
        """For now all are taken: an eventfd must not live longer because it lies in the place."""
        os.dup2(self._nothing, self._place, False)

    def _event(self, fd: int, role: str) -> tuple[bytes, bytes] | None:
        """None: it is no eventfd."""
        try:
            os.dup2(fd, self._place, False)
            info = os.pread(self._info, _INFO_SIZE, 0)
        except OSError:
            return None
        # remembered by the whole text: searching it takes as long as reading it
        known = self._known.get((role, info))
        if known is not None:
            return known
        inode, number = _numbers(info)
        return None if number is None else self._remember((role, info), _eventfd(fd, role, inode, number))

    def _memory(self, fd: int, role: str) -> tuple[bytes, bytes] | None:
        """None: it is no memfd, or an odd one."""
        try:
            # mode, inode, device, links, owners and size in one slice
            key: tuple[object, ...] = (role, os.fstat(fd)[:7], fcntl(fd, F_GETFL))
            known = self._known.get(key)
            if known is not None:
                return known
            seals = fcntl(fd, _GET_SEALS)
        except OSError:
            return None
        if not seals & _FINAL:
            key = *key, seals
            known = self._known.get(key)
            if known is not None:
                return known
        described = describe(fd, role)
        if described.kind != "memfd":
            return None  # a file system may give the inode of a file that is gone to another
        return self._remember(key, described)

    def _remember(self, key: tuple[object, ...], described: Descriptor) -> tuple[bytes, bytes]:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key] = found = _entry(described)
        return found


def _entry(described: Descriptor) -> tuple[bytes, bytes]:
    return pack_descriptor(described), words(described)


def describe(fd: int, role: str = "") -> Descriptor:
    """Take what can be found out about ``fd``, which stays open and the caller's.

    role: what the message says it is for. Never raises: a closed or odd descriptor is an ``other`` about which little
    is known.
    """
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
        return _eventfd(fd, role, *_numbers(_info(fd)))
    elif name.startswith("anon_inode:[userfaultfd"):
        kind = "userfaultfd"
    else:
        kind = "other"
    return Descriptor(role, kind, access, device, inode, size, seals, None, name)


def comment(said: Sequence[bytes]) -> bytes:
    """Descriptors' words in one line for people: ``memory memfd 512 MiB, kick eventfd 42, 3 more``."""
    if len(said) <= COMMENTED:
        return b", ".join(said)
    return b"%b, %d more" % (b", ".join(said[: COMMENTED - 1]), len(said) - COMMENTED + 1)


def words(one: Descriptor) -> bytes:
    """A descriptor in a few words (ASCII)."""
    said = [one.role, one.kind]
    if one.eventfd_id is not None:
        said.append(str(one.eventfd_id))
    elif one.size is not None:
        said.append(_size(one.size))
    elif one.kind in ("socket", "pipe"):
        said.append(str(one.inode))
    return " ".join(filter(None, said)).encode()


def _size(octets: int) -> str:
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if octets and not octets & ((1 << shift) - 1):
            return f"{octets >> shift} {unit}"
    return f"{octets} B"


def _eventfd(fd: int, role: str, inode: int, number: int | None) -> Descriptor:
    global _anonymous_device
    if not _anonymous_device:
        _anonymous_device = os.fstat(fd).st_dev
    # an eventfd cannot be opened again: it is always for reading and writing
    return Descriptor(role, "eventfd", "rw", _anonymous_device, inode, None, None, number, _EVENTFD_NAME)


def _numbers(info: bytes) -> tuple[int, int | None]:
    """Inode and id of an eventfd, from its file in fdinfo."""
    found = _EVENTFD(info)
    return (int(found[1] or 0), int(found[2])) if found else (0, None)


def _info(fd: int) -> bytes:
    try:
        file = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
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
        return _ACCESS.get(fcntl(fd, F_GETFL) & os.O_ACCMODE, "")
    except OSError:
        return ""


def _seals(fd: int) -> int | None:
    try:
        return fcntl(fd, _GET_SEALS)
    except OSError:
        return None
