"""What the fixture ``vhostspy`` is: the relay around the programs of one test, and the session that it has kept.

Nothing is started before the test asks for it. Sockets lie in a short folder of their own (their names must be short),
the capture and what the programs print in ``folder``.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Literal

from vhostspy.baseline import Known
from vhostspy.compare import Strictness
from vhostspy.corpus import Scenario
from vhostspy.message import Finding, Message
from vhostspy.replay import Outcome, replay
from vhostspy.replay.adapt import Adapted
from vhostspy.session.state import Session

from .back_end import BackEnd
from .front_end import FrontEnd
from .program import Program, our_path, ours
from .talk import TIMEOUT_S, Talk
from .verdict import Recorded, read, transcript

#: how long the relay may take to record what has happened, in seconds
SETTLE_S = 2.0


class Spy:
    """front_end_socket is where the front-end connects to, back_end_socket where the back-end listens.

    device: what the back-end is, where it cannot be told. options: more words for the relay's command line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        options: Collection[str] = (),
        disabled: Collection[str] = (),
        baseline: Known = frozenset(),
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.folder = folder
        self.device = device
        self.options = [*options]
        self.timeout_s = timeout_s
        #: all that passes
        self.capture = folder / "session.pcapng"
        self.programs: list[Program] = []
        self._disabled = disabled
        self._baseline = baseline
        #: a folder with a short name, for other sockets of the test's programs as well; gone when the test has ended
        self.sockets = Path(tempfile.mkdtemp(prefix="vspy-"))
        self.back_end_socket = str(self.sockets / "back-end.sock")
        self._relay: Program | None = None
        #: the ends that the test itself speaks for, or did
        self.spoke: set[int] = set()
        self._talks: list[Talk] = []
        self._recorded: Recorded | None = None

    # -- the relay

    @property
    def front_end_socket(self) -> str:
        """Give this to the front-end. From the first time that it is asked for, the relay listens there."""
        path = str(self.sockets / "front-end.sock")
        if self._relay is None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
                # made here: who connects at once need not wait for the relay to start
                listening.bind(path)
                listening.listen(64)
                fd = listening.fileno()
                words = ["--listen", f"fd:{fd}", "--connect", self.back_end_socket, "-q", "-w", str(self.capture)]
                if self.device:
                    words += ["--device", self.device]
                command = ours("vhostspy", *words, *self.options)
                self._relay = Program("relay", command, self.folder, our_path(), pass_fds=[fd])
        return path

    # -- the test's programs

    def start(
        self,
        *command: str | os.PathLike[str],
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        until: str | None = None,
    ) -> Program:
        """Run a program until the test ends; ``{front_end}`` and ``{back_end}`` in its words become the sockets.

        until: wait until it has made this socket; so does ``{back_end}`` among its words.
        """
        __tracebackhide__ = True
        words = [os.fspath(word) for word in command]
        listens = any("{back_end}" in word for word in words)
        # the relay starts while the program does
        front_end_socket = self.front_end_socket
        words = [word.replace("{front_end}", front_end_socket) for word in words]
        words = [word.replace("{back_end}", self.back_end_socket) for word in words]
        called = name or f"{Path(words[0]).name}{f'-{len(self.programs)}' if self.programs else ''}"
        program = Program(called, words, self.folder, env)
        self.programs.append(program)
        wanted = until or (self.back_end_socket if listens else None)
        if wanted:
            program.wait_for_socket(wanted, self.timeout_s)
        return program

    def start_demo_back_end(self, *options: str) -> Program:
        """A back-end with a disk, for tests of front-ends; options: those of ``python -m vhostspy.demo.back_end``."""
        command = ours("vhostspy.demo.back_end", "--listen", "{back_end}", *options)
        return self.start(*command, name="demo-back-end", env=our_path())

    def start_demo_front_end(self, *options: str) -> Program:
        """A front-end with a block driver, for tests of back-ends that have a disk; it writes, reads and ends."""
        command = ours("vhostspy.demo.front_end", "--connect", "{front_end}", *options)
        return self.start(*command, name="demo-front-end", env=our_path())

    # -- to speak for one end

    def front_end(self, **options: Any) -> FrontEnd:
        """Connect, by way of the relay, and speak for the front-end. Options: those of ``Talk``."""
        __tracebackhide__ = True
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(self.front_end_socket)
        except BaseException as error:
            sock.close()
            relay = self._relay
            if isinstance(error, OSError) and relay is not None:
                relay.end()
                raise AssertionError(f"the relay {relay.how_it_ended}{relay.last_words()}") from None
            raise
        talk = FrontEnd(sock, **{"device": self.device, "timeout_s": self.timeout_s, **options})
        self._talks.append(talk)
        self.spoke.add(talk.side)
        return talk

    def back_end(self, **options: Any) -> BackEnd:
        """Wait for a front-end, which connects by way of the relay, and speak for the back-end."""
        __tracebackhide__ = True
        self.front_end_socket  # noqa: B018  (the relay is there from now on)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(self.back_end_socket)
            try:
                listening.listen(1)
                listening.settimeout(self.timeout_s)
                sock, _ = listening.accept()
            except TimeoutError:
                raise AssertionError(f"no front-end came within {self.timeout_s:g} s{self._words()}") from None
            finally:
                os.unlink(self.back_end_socket)
        talk = BackEnd(sock, **{"device": self.device, "timeout_s": self.timeout_s, **options})
        self._talks.append(talk)
        self.spoke.add(talk.side)
        return talk

    def replay(
        self,
        capture: str | os.PathLike[str] | Scenario,
        as_: Literal["front-end", "back-end"] = "front-end",
        *,
        match: Literal["exact", "semantic", "shape"] | None = None,
        adapt: bool | None = None,
        check: bool = True,
        **options: Any,
    ) -> Outcome:
        """Play one side of a capture, by way of the relay: against the test's back-end, or to its front-end.

        match: how much counts; semantic, and shape for a scenario of the corpus. adapt: a front-end takes only what is
        offered to it; so do those of the corpus. check: AssertionError unless all comes as recorded. Options: those of
        ``vhostspy.replay.replay``.
        """
        __tracebackhide__ = True
        if isinstance(capture, Scenario):
            match, adapt = match or "shape", adapt is not False
            options.setdefault("device", capture.device)
            capture = capture.path
        if adapt and as_ == "front-end":
            adapted = Adapted(options.pop("see", None), options.pop("edit", None))
            options.update(see=adapted.see, edit=adapted.edit)
        if as_ == "front-end":
            options["connect"] = self.front_end_socket
        else:
            self.front_end_socket  # noqa: B018
            options["listen"] = self.back_end_socket
        outcome = replay(capture, as_, strictness=Strictness(match or "semantic"), **options)
        if check and outcome.status:
            raise AssertionError(f"{outcome.text}{self._words()}")
        return outcome

    # -- what was said

    def finish(self) -> Recorded:
        """End talks, programs and relay; then the capture, read and judged. May be called twice."""
        if self._recorded is None:
            self._end()
            self._recorded = self._read()
        return self._recorded

    @property
    def messages(self) -> list[Message]:
        """All that has passed so far; what the test itself said or heard is among them."""
        return self._so_far().messages

    @property
    def findings(self) -> list[Finding]:
        """What the rules have found in it so far."""
        return [finding for _, finding in self._so_far().findings]

    @property
    def session(self) -> Session:
        """The latest session as it stands; AssertionError before the first."""
        sessions = self._so_far().sessions
        if not sessions:
            raise AssertionError(f"nobody has connected yet{self._words()}")
        return sessions[max(sessions)]

    def wait_until_said(self, name: str, timeout_s: float | None = None) -> Message:
        """The first message of this name, once it has passed. AssertionError when it does not in time."""
        __tracebackhide__ = True
        longest_s = self.timeout_s if timeout_s is None else timeout_s
        deadline = monotonic() + longest_s
        while True:
            messages = self.messages
            for message in messages:
                if message.name == name:
                    return message
            if monotonic() > deadline:
                said = "\n".join(["", *transcript(messages)])
                raise AssertionError(f"{name} did not pass within {longest_s:g} s{said}{self._words()}")
            sleep(0.02)

    def _so_far(self) -> Recorded:
        """The capture; the relay writes when it has nothing better to do, so it is waited for what we know of."""
        if self._recorded is not None:
            return self._recorded
        known = self._known()
        deadline = monotonic() + SETTLE_S
        while True:
            recorded = self._read()
            if len(recorded.messages) >= known or monotonic() > deadline:
                return recorded
            sleep(0.002)

    def _read(self) -> Recorded:
        try:
            return read(self.capture, self.device, self._disabled, self._baseline)
        except FileNotFoundError:
            return Recorded((), {})

    # -- the end

    def close(self) -> None:
        """End all that runs; the capture stays. May be called twice."""
        self._end()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _end(self) -> None:
        known = self._known()
        for talk in self._talks:
            talk.close()
        if self._talks:
            self._settle(known, "eof", "reset", "close")
        for program in reversed(self.programs):
            program.end()
        if self._relay is not None:
            self._settle(known, "close")
            self._relay.end()
        self._talks.clear()

    def _known(self) -> int:
        """How many messages the talks know of; what one end said the other has heard."""
        sides = {talk.side: 0 for talk in self._talks}
        for talk in self._talks:
            sides[talk.side] += len(talk.messages)
        return max(sides.values(), default=0)

    def _settle(self, known: int, *events: str) -> None:
        """Until the relay has recorded ``known`` messages and the end of each session: who closed first is part of it.

        A session may stay open, too.
        """
        deadline = monotonic() + SETTLE_S
        while self._relay is not None and self._relay.status is None and monotonic() < deadline:
            recorded = self._read()
            ended = {event.session for event in recorded.events if event.event in events}
            if len(recorded.messages) >= known and ended.issuperset(recorded.sessions):
                return
            sleep(0.005)

    @property
    def parts(self) -> list[Program]:
        """The test's programs, and the relay."""
        return [*self.programs, *([self._relay] if self._relay else [])]

    def _words(self) -> str:
        """What ended badly, and its last words."""
        return "".join(f"\n{part.name} {part.how_it_ended}{part.last_words()}" for part in self.parts if part.failed)

    def report(self) -> str:
        """For a test that failed: the capture, the last messages, and what the programs had to say."""
        lines: list[str] = []
        if self._relay is not None:
            recorded = self.finish()
            if self.capture.exists():
                lines += [f"capture: {self.capture}", f"    vhostspy show {self.capture} -v"]
            lines += transcript(recorded.messages)
        for part in self.parts:
            words = part.last_words() if part is not self._relay or part.failed else ""
            if words or part.failed:
                lines.append(f"{part.name} {part.how_it_ended}{words}")
        return "\n".join(lines)
