"""Where a relay's capture goes: a file that is kept, a pipe that a view feeds, or a queue that only views read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from vhostspy.errors import WrongUse
from vhostspy.processes import unnamed_file

if TYPE_CHECKING:
    from argparse import Namespace


class Target:
    """Where the capture goes: a file that is kept, or an unlinked one that only views read."""

    def __init__(self, options: Namespace) -> None:
        self.fd = -1
        #: what is kept, for people ("" if nothing is)
        self.path = ""
        #: the queue is bounded: nothing is kept but what views still have to read
        self.bounded = True
        #: the capture is copied by a view to this descriptor (a pipe that may stall)
        self.copy_to = -1
        if options.no_capture:
            return
        if options.write == "-":
            self.copy_to = 1
            if os.isatty(1):
                raise WrongUse("-w - writes a capture to standard output, which is a terminal; pipe it into a program")
        elif options.write is not None:
            self._open(options.write)
        if self.fd < 0:
            self.fd = unnamed_file()

    def _open(self, name: str) -> None:
        try:
            mode = os.stat(name).st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
        except OSError as error:
            raise WrongUse(f"-w {name}: {error.strerror}") from None
        if stat.S_ISDIR(mode) or stat.S_ISSOCK(mode):
            raise WrongUse(
                f"-w {name}: is a {'directory' if stat.S_ISDIR(mode) else 'socket'}, expected a file to write"
            )
        self.path = name
        try:
            if stat.S_ISFIFO(mode):
                self.copy_to = os.open(name, os.O_WRONLY | os.O_CLOEXEC)
                return
            self.fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WrongUse(f"-w {name}: {error.strerror}") from None
        self.path = os.path.abspath(name)
        self.bounded = False
