"""The processes that read a relay's capture while it grows: what they are told, and what became of them."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from vhostspy.processes import command_line

from .process import say

if TYPE_CHECKING:
    from argparse import Namespace

    from vhostspy.relay.control import Control
    from vhostspy.relay.pairing import Relay

    from .target import Target

#: how a view ends that found an error where there may be none; no interpreter ends so by itself
BROKEN = 10
#: how long viewers may take to print what is left
VIEWERS_S = 30.0


class Viewers:
    """The processes that read the capture while it grows: one that prints, one that copies it into a pipe.

    Started by exec: a forked child would keep the peers' sockets open, and delay their end of file. They learn from a
    pipe, which only this process writes to, that the relay is gone.
    """

    def __init__(self, options: Namespace, target: Target, relay: Relay) -> None:
        self.pids: list[int] = []
        self._relay = relay
        self._alive = -1
        self._read: dict[int, int] = {}
        #: one has found an error in what the peers did; one has not done what it was there for
        self.broken = self.failed = False
        prints = not (options.quiet or target.copy_to == 1)
        if options.no_capture or not (prints or options.validate or target.copy_to >= 0):
            return
        self._alive_end, self._alive = os.pipe2(os.O_CLOEXEC)
        self._bounded = target.bounded
        if target.copy_to >= 0:
            self._start(target, ["--copy"], stdout=target.copy_to)
        if prints or options.validate:
            # where standard output is the capture, findings go where people's lines go
            self._start(target, view_words(options), stdout=2 if target.copy_to == 1 else 1)
        os.close(self._alive_end)
        if target.copy_to > 2:
            os.close(target.copy_to)

    def _start(self, target: Target, words: list[str], stdout: int) -> None:
        passed = [target.fd, self._alive_end]
        words = ["--fd", str(target.fd), "--alive", str(self._alive_end), *words]
        consumed = -1
        if self._bounded:
            reader, consumed = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            words += ["--consumed", str(consumed)]
            passed.append(consumed)
            self._read[reader] = 0
            self._relay.loop.watch(reader, self._relay.loop.IN, lambda: self._consumed(reader), self._consumer_gone)
        for fd in passed:
            os.set_inheritable(fd, True)
        try:
            actions = [] if stdout == 1 else [(os.POSIX_SPAWN_DUP2, stdout, 1)]
            command = command_line("_view", *words)
            self.pids.append(os.posix_spawn(sys.executable, command, os.environ, file_actions=actions))
        finally:
            for fd in passed:
                os.set_inheritable(fd, False)
            if consumed >= 0:
                os.close(consumed)

    def start_sampler(self, options: Namespace, control: Control) -> None:
        """A process that looks at the rings; it asks over the control socket, and ends when that closes."""
        if control.problem:
            say(f"no samples of rings: {control.problem}")
            return
        words = ["--control", control.path, "--every", str(options.sample_rings)]
        words += ["--data"] if options.sample_data else []
        self.pids.append(os.posix_spawn(sys.executable, command_line("_sample", *words), os.environ))

    def _consumed(self, reader: int) -> None:
        """A view tells how far it has read: what all have read need not be kept."""
        try:
            data = os.read(reader, 4096)
        except BlockingIOError:
            return
        if len(data) < 8:
            self._consumer_gone(reader, 0)
            return
        self._read[reader] = int.from_bytes(data[-8:], "little")
        self._relay.writer.consumed(min(self._read.values()))

    def _consumer_gone(self, reader: int, events: int) -> None:
        if events & self._relay.loop.IN:
            self._consumed(reader)
            return
        self._relay.loop.unwatch(reader)
        os.close(reader)
        del self._read[reader]
        if self._read:
            self._relay.writer.consumed(min(self._read.values()))
        elif self._bounded:
            self._relay.detach()  # nobody is left to read it

    def wait(self) -> None:
        """Let them print what is left. One that failed is told of, and is nobody else's trouble."""
        from select import select
        from time import monotonic

        if self._alive >= 0:
            os.close(self._alive)
        end = monotonic() + VIEWERS_S
        for pid in self.pids:
            handle = os.pidfd_open(pid)
            try:
                if not select([handle], [], [], max(0.0, end - monotonic()))[0]:
                    say("what is printed did not get ready; it ends here")
                    os.kill(pid, signal.SIGKILL)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            finally:
                os.close(handle)
            if status == BROKEN:
                self.broken = True
            elif status:
                self.failed = True
                say(f"the view ended with status {status}; traffic and capture do not depend on it")


def view_words(options: Namespace) -> list[str]:
    """The output options, for the view's own command line."""
    flags = {"--json": options.json, "-v": options.verbose, "-x": options.hex, "--no-summary": options.no_summary}
    values = {"-Y": options.filter, "--device": options.device}
    given = [(name, value) for name, value in values.items() if value]
    given += [("--dissector", path) for path in options.dissector]
    if options.validate:
        flags |= {"--validate": True, "--strict": options.strict}
        # findings alone, also where standard output has no room for lines
        flags["-q"] = options.quiet or options.write == "-"
        flags["--no-summary"] = options.no_summary or flags["-q"]
        given += _rule_words(options)
    return [word for word, on in flags.items() if on] + [word for pair in given for word in pair]


def _rule_words(options: Namespace) -> list[tuple[str, str]]:
    ends = ("front-end", "back-end")
    words = [("--disable", ",".join(sorted(rules))) for rules in options.disable if rules]
    words += [("--peer-profile", f"{ends[end]}={name}") for end, name in options.peer_profile]
    values = {"--baseline": options.baseline, "--junit": options.junit, "--name": options.write}
    return words + [(name, value) for name, value in values.items() if value]
