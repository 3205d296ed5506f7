"""The descriptors of a replay: made as recorded, the same one wherever the record has the same one, owned here.

A recorded descriptor is known by what the kernel said of it (device, inode, an eventfd's number). What the peer gives
in the replay takes the place of what it gave in the record, and is sent where that was sent: an in-flight region, a
shared object. Everything else is made: memfds of the recorded size, eventfds, pipes and sockets with an end for us.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterable
from typing import NamedTuple

from vhostspy.capture.record import Descriptor
from vhostspy.errors import Failure
from vhostspy.message import Message

#: of a file whose size is not known: device memory, a host notifier's page
_PAGE = 4096
#: most octets that are kept of what comes out of a pipe (a device's state)
_MOST_STATE = 1 << 26

_F_ADD_SEALS = 1033
#: F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW; those against writing would stop us from setting rings up
_SEALS = 1 | 2 | 4


class Identity(NamedTuple):
    """What tells recorded descriptors apart. Eventfds may be told by nothing but a number that is used again."""

    kind: str
    device: int
    inode: int
    number: int | None
    role: str


def identity(one: Descriptor) -> Identity:
    kind = one.kind
    role = f"{one.role} {one.access}" if kind == "eventfd" or kind == "pipe" or kind == "socket" else ""
    return Identity(kind, one.device, one.inode, one.eventfd_id, role)


class Store:
    """Owns every descriptor it lends; ``close`` closes them all."""

    def __init__(self) -> None:
        self._live: dict[Identity, int] = {}
        #: our ends of sockets on which nothing is said
        self._silent: list[int] = []
        #: what came out of pipes that the peer wrote into, newest last
        self.states: list[bytes] = []
        self._reading: dict[int, bytearray] = {}
        self._writing: dict[int, memoryview] = {}
        self.made = 0

    def close(self) -> None:
        for fd in (*self._live.values(), *self._silent, *self._reading, *self._writing):
            os.close(fd)
        self._live.clear()
        self._silent.clear()
        self._reading.clear()
        self._writing.clear()

    def find(self, one: Descriptor | None) -> int | None:
        """The live descriptor in the place of a recorded one, lent; None: there is none (yet)."""
        return None if one is None else self._live.get(identity(one))

    def keep(self, one: Descriptor, fd: int) -> None:
        """``fd``, owned here from now on, is what the peer gave where it gave ``one`` in the record."""
        key = identity(one)
        before = self._live.get(key)
        if before is not None:
            os.close(before)
        self._live[key] = fd

    def forget(self, gone: Iterable[Identity]) -> None:
        """Close those; the record has no further use for them."""
        for key in gone:
            fd = self._live.pop(key, None)
            if fd is not None:
                os.close(fd)

    def lend(self, one: Descriptor, message: Message) -> int:
        """The descriptor for ``one`` of ``message``, made if it is not there yet; it stays the store's."""
        key = identity(one)
        fd = self._live.get(key)
        if fd is None:
            fd = self._live[key] = self._make(one, message)
            self.made += 1
        return fd

    def _make(self, one: Descriptor, message: Message) -> int:
        if one.kind == "eventfd" or one.role in ("kick", "call", "err", "log-event", "irq"):
            return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        if one.kind == "pipe":
            return self._pipe(one)
        if one.kind == "socket":
            # a socket that becomes no channel: nobody speaks on it, and it does not end
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            self._silent.append(ours.detach())
            return theirs.detach()
        if one.kind == "userfaultfd":
            return _userfaultfd()
        if one.kind == "directory":
            raise Failure(f"{message.name} #{message.no} passes on a directory, which a replay does not open")
        return _memory(one, max(one.size if one.size is not None else _PAGE, _needed(message)))

    # -- pipes

    def _pipe(self, one: Descriptor) -> int:
        """A pipe; the peer gets the recorded end. What came out of the one before goes into the one that it reads."""
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        theirs, ours = (reading, writing) if one.access == "r" else (writing, reading)
        os.set_blocking(theirs, True)
        if ours == reading:
            self._reading[ours] = bytearray()
        else:
            self._writing[ours] = memoryview(self.states[-1] if self.states else b"")
        return theirs

    def passed_on(self, message: Message) -> None:
        """``message`` was sent: the peer has its pipe ends, and they end when it closes them."""
        self.forget(identity(one) for one in message.fds if one.kind == "pipe")

    @property
    def busy(self) -> bool:
        """There are pipes to be seen to."""
        return bool(self._reading or self._writing)

    def watched(self) -> tuple[list[int], list[int]]:
        """Descriptors to be read when they are readable, and written when they are writable."""
        return [*self._reading], [*self._writing]

    def readable(self, fd: int) -> None:
        """The peer wrote into a pipe."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        state = self._reading[fd]
        if data:
            if len(state) + len(data) > _MOST_STATE:
                raise Failure(f"the peer wrote more than {_MOST_STATE >> 20} MiB into a pipe")
            state += data
            return
        self.states.append(bytes(self._reading.pop(fd)))
        os.close(fd)

    def writable(self, fd: int) -> None:
        """The peer reads from a pipe."""
        left = self._writing[fd]
        try:
            left = left[os.write(fd, left[: 1 << 16]) :] if left else left
        except BlockingIOError:
            return
        except OSError:  # it closed its end
            left = left[:0]
        self._writing[fd] = left
        if not left:
            del self._writing[fd]
            os.close(fd)


def _needed(message: Message) -> int:
    """Octets that a message's members say its file has at least."""
    least = 0
    fields = message.fields
    for one in [fields, *(each for each in fields.get("regions", ()) if isinstance(each, dict))]:
        for size, offset in (("length", "mmap_offset"), ("mmap_length", "mmap_offset"), ("length", "offset")):
            if isinstance(one.get(size), int):
                at = one.get(offset)
                least = max(least, one[size] + (at if isinstance(at, int) else 0))
    return least if least < 1 << 46 else 0


def _memory(one: Descriptor, size: int) -> int:
    name = one.name.removeprefix("/memfd:").removesuffix(" (deleted)").rpartition("/")[2].replace("\0", "")
    # the kernel takes 249 octets
    name = name.encode(errors="replace")[:100].decode(errors="ignore") or "vhostspy"
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create(name, flags)
    except OSError as error:
        raise Failure(f"no memory for a replay: {error.strerror}") from None
    try:
        os.ftruncate(fd, size)
        if one.seals and one.seals & _SEALS:
            fcntl.fcntl(fd, _F_ADD_SEALS, one.seals & _SEALS)
    except (OSError, OverflowError) as error:
        os.close(fd)
        raise Failure(f"a file of {size} bytes for a replay cannot be made: {error}") from None
    return fd


def _userfaultfd() -> int:
    """One that answers for no page; only some users may have one."""
    import ctypes

    number = {"x86_64": 323, "aarch64": 282, "riscv64": 282, "loongarch64": 282}.get(os.uname().machine)
    if number is None:
        raise Failure("the number of the system call userfaultfd is not known on this machine")
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(number, os.O_CLOEXEC | os.O_NONBLOCK))
    if fd < 0:
        raise Failure(f"userfaultfd: {os.strerror(ctypes.get_errno())}")
    return fd
