"""The sockets that the relay is told to listen on or to connect to.

A name is a path, ``@name`` for an abstract socket, or ``fd:N`` for an inherited descriptor (a listening socket, or a
connected one). ``WrongUse`` says in one sentence what is wrong with a name; what the system refuses later is an
``OSError``.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from struct import Struct
from struct import error as struct_error

from vhostspy.errors import WrongUse

#: bytes of a path in struct sockaddr_un, with its terminating NUL
SUN_PATH = 108


def address(name: str) -> str | bytes | int:
    """What ``socket`` wants for a name: a path, an abstract address (leading NUL), or a descriptor's number."""
    if name.startswith("fd:"):
        number = name[3:]
        if not number.isdecimal():
            raise WrongUse(f"{name}: expected fd: and the number of an open descriptor, such as fd:3")
        try:
            mode = os.fstat(int(number)).st_mode
        except OSError as error:
            raise WrongUse(f"{name}: no such descriptor was inherited ({error.strerror})") from None
        if not stat.S_ISSOCK(mode):
            raise WrongUse(f"{name}: is no socket")
        return int(number)
    raw = os.fsencode(name)
    if b"\0" in raw:
        raise WrongUse(f"{name!r}: a name has no NUL byte")
    if name.startswith("@"):
        if len(raw) > SUN_PATH:
            raise WrongUse(f"{name}: too long for a socket: {len(raw) - 1} bytes, at most {SUN_PATH - 1}")
        return b"\0" + raw[1:]
    if not raw:
        raise WrongUse("an empty name is no socket")
    if len(raw) >= SUN_PATH:
        raise WrongUse(
            f"{name}: too long for a socket: {len(raw)} bytes, at most {SUN_PATH - 1}; "
            "a relative path from a nearer folder is shorter"
        )
    return name


class Listener:
    """A listening socket of ours; owns the socket, and the path if it made one."""

    def __init__(self, name: str, mode: int = 0o600) -> None:
        self.name = name
        self._made: tuple[str, int] | None = None
        where = address(name)
        if isinstance(where, int):
            self.socket = _adopt(where, name)
            if not self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                self.socket.detach()
                raise WrongUse(f"{name}: is no listening socket")
        else:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                if isinstance(where, str):
                    _clear_stale(where)
                self._bind(where, mode)
            except OSError as error:
                self.socket.close()
                raise WrongUse(f"{name}: cannot listen here: {error.strerror}") from None
            except WrongUse:
                self.socket.close()
                raise
        self.socket.setblocking(False)

    def _bind(self, where: str | bytes, mode: int) -> None:
        if isinstance(where, bytes):
            self.socket.bind(where)
            self.socket.listen(64)
            return
        # the mode must hold from the first moment, so that nobody gets in between bind and chmod
        mask = os.umask(0o777 & ~mode)
        try:
            self.socket.bind(where)
            self.socket.listen(64)  # at once: scripts wait for the path, and connect
        finally:
            os.umask(mask)
        self._made = (where, os.stat(where).st_ino)

    def close(self) -> None:
        """Stop listening; the path goes too, unless somebody has put another socket there."""
        self.socket.close()
        if self._made is not None:
            path, inode = self._made
            self._made = None
            try:
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
            except OSError:
                pass  # it is gone already, which is what was wanted


class Connector:
    """Where to connect to; ``attempt`` never waits."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._where = address(name)
        #: an inherited connection that a session has had: there is no other
        self.spent = False
        if isinstance(self._where, int):
            inherited = _adopt(self._where, name)
            try:
                inherited.getpeername()
            except OSError:
                raise WrongUse(f"{name}: expected a connected socket") from None
            finally:
                inherited.detach()  # until it is asked for
        if isinstance(self._where, str) and os.path.exists(self._where):
            mode = os.stat(self._where).st_mode
            if not stat.S_ISSOCK(mode):
                raise WrongUse(f"{name}: is {_kind(mode)}, expected a socket or nothing yet")

    def attempt(self) -> socket.socket | OSError:
        """One try: a connected non-blocking socket, or why not (worth another try, unless ``spent``)."""
        if isinstance(self._where, int):
            if self.spent:
                return OSError(errno.EBADF, "an inherited connection serves one session")
            self.spent = True
            inherited = _adopt(self._where, self.name)
            inherited.setblocking(False)
            return inherited
        try:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            return error
        try:
            made.connect(self._where)
        except BlockingIOError as error:
            # a connect that waits would wait for as long as they like
            made.close()
            return OSError(error.errno, "somebody listens there and accepts nobody, the queue is full")
        except OSError as error:
            made.close()
            return error
        return made


def _adopt(number: int, name: str) -> socket.socket:
    adopted = socket.socket(fileno=number)
    if adopted.family != socket.AF_UNIX or adopted.type != socket.SOCK_STREAM:
        adopted.detach()
        raise WrongUse(f"{name}: expected a Unix stream socket")
    os.set_inheritable(number, False)
    return adopted


def _kind(mode: int) -> str:
    for test, word in (
        (stat.S_ISREG, "a file"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return word
    return "something else"


def _clear_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; refuse everything else that is in the way."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise WrongUse(f"{path}: the folder {folder} does not exist") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise WrongUse(f"{path}: the folder {folder} cannot be written to") from None
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise WrongUse(f"{path}: is {_kind(status.st_mode)}, not overwritten; choose another name to listen on")
    if _is_listening(path) or _is_listening_at(status):
        raise WrongUse(f"{path}: somebody listens here already; choose another name, or end that program")
    # Not in the tables: left behind, or of another network namespace. Only a connection tells these apart.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                raise
    raise WrongUse(f"{path}: somebody listens here already; choose another name, or end that program")


def _is_listening(path: str) -> bool:
    """Whether the kernel's table of sockets has a listener by that name; asks nobody, so it disturbs nobody."""
    wanted = {path.encode(), os.path.abspath(path).encode()}
    try:
        with open("/proc/net/unix", "rb") as table:
            for line in table:
                columns = line.split(None, 7)
                # number, references, protocol, flags (__SO_ACCEPTCON is 1 << 16), type, state, inode, path
                if len(columns) == 8 and columns[7].rstrip() in wanted and int(columns[3], 16) & 0x10000:
                    return True
    except OSError:
        return False
    return False


def _is_listening_at(status: os.stat_result) -> bool:
    """The same by inode and device, since the name that a socket was bound by may be a relative one.

    Asks the kernel by netlink: struct unix_diag_req for all listening sockets and their file; each answer is a struct
    unix_diag_msg with the attribute UNIX_DIAG_VFS (u32 inode, u32 device). Source: linux/unix_diag.h, sock_diag(7).
    """
    wanted = (status.st_ino & 0xFFFFFFFF, os.major(status.st_dev) << 20 | os.minor(status.st_dev))
    sock_diag_by_family, dump, listen_state, show_file, file_attribute = 20, 0x301, 1 << 10, 2, 1
    request = Struct("=IHHII BBHIIIQ").pack(
        40, sock_diag_by_family, dump, 1, 0, socket.AF_UNIX, 0, 0, listen_state, 0, show_file, (1 << 64) - 1
    )
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as kernel:  # NETLINK_SOCK_DIAG
            kernel.send(request)
            while True:
                answers = kernel.recv(65536)
                at = 0
                while at + 16 <= len(answers):
                    length, kind = Struct("=IH").unpack_from(answers, at)
                    if kind != sock_diag_by_family or length < 32:
                        return False  # the end of the dump, or an error: this kernel cannot tell
                    attribute, end = at + 32, at + length
                    while attribute + 4 <= end:
                        size, name = Struct("=HH").unpack_from(answers, attribute)
                        if name == file_attribute and Struct("=II").unpack_from(answers, attribute + 4) == wanted:
                            return True
                        attribute += max(size + 3 & ~3, 4)
                    at += length + 3 & ~3
    except (OSError, struct_error):
        return False
