"""``vhostspy --listen … --connect …``: set up a relay, its capture and its viewers, run it, and say how it ended.

The relay's process does nothing but relay and record. What is printed comes from a viewer: another process, started by
exec, that follows the capture while it grows.
"""

from __future__ import annotations

import gc
import os
import signal
import stat
import sys
from typing import TYPE_CHECKING, Any

from vhostspy.capture.writer import Writer
from vhostspy.dissectors.registry import MAIN, PROTOCOLS
from vhostspy.errors import WrongUse
from vhostspy.relay.control import Control
from vhostspy.relay.endpoint import Connector, Listener
from vhostspy.relay.loop import IDLE_S
from vhostspy.relay.nowhere import Nowhere
from vhostspy.relay.pairing import Relay, Settings

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

#: of the unlinked queue file that views read when no capture is kept
QUEUE_BYTES = 1 << 30
#: the exit status of a view that found an error under --strict (commands/view.py)
BROKEN = 10
#: how long viewers may take to print what is left
VIEWERS_S = 30.0


def add_arguments(parser: ArgumentParser) -> None:
    from vhostspy.arguments import add_output_arguments, add_rule_arguments, one_of, seconds

    sockets = parser.add_argument_group(
        "sockets (a path, @NAME for an abstract socket, fd:N for an inherited descriptor)"
    )
    sockets.add_argument(
        "--listen", metavar="PATH", action="append", default=[], help="listen here, for the peer that connects"
    )
    sockets.add_argument(
        "--connect", metavar="PATH", action="append", default=[], help="connect here, for each that comes"
    )
    sockets.add_argument(
        "--front-end", metavar="SIDE", type=one_of("listen", "connect"), default="listen",
        help="the side that the front-end is on, listen (the default) or connect; with two --listen, or two --connect, "
        "the front-end's comes first",
    )  # fmt: skip
    sockets.add_argument("--socket-mode", metavar="MODE", default="600", help="of the listening socket, octal (600)")
    sockets.add_argument(
        "--connect-timeout", metavar="S", type=seconds, default=10.0, help="try so long to connect (10 s)"
    )
    sockets.add_argument("--once", action="store_true", help="end when the first session ends")
    keep = parser.add_argument_group("capture")
    keep.add_argument("-w", "--write", metavar="FILE", help="keep the session in a pcapng file; - is standard output")
    keep.add_argument("--snaplen", metavar="N", type=_size, help="keep at most N bytes of each message")
    keep.add_argument(
        "--no-memory", action="store_true", help="keep no descriptors of guest memory: nobody can look at the rings"
    )
    keep.add_argument(
        "--sample-rings", metavar="S", type=seconds, help="record every S seconds how far the rings are (no guest data)"
    )
    keep.add_argument("--sample-data", action="store_true", help="and the first bytes of the requests in flight, named")
    keep.add_argument("--no-capture", action="store_true", help="relay only: keep and show nothing")
    show = parser.add_argument_group("output")
    show.add_argument("--tui", action="store_true", help="inspect it on the screen, live (docs/tui.md)")
    show.add_argument("-q", "--quiet", action="store_true", help="print no messages")
    add_output_arguments(show)
    act = parser.add_argument_group("protocol")
    act.add_argument("--protocol", metavar="NAME", type=one_of(*MAIN), help="told from the first message")
    act.add_argument("--exact-reads", action="store_true", help="pass pieces of messages on as they come")
    act.add_argument(
        "--exact-kicks", action="store_true",
        help="relay kicks and calls too, to count each one; the round trip of a kick then takes two to three times as "
        "long on one CPU, seven to eight times across CPUs",
    )
    for name, what in (("mask", "clear"), ("offer", "set")):
        for kind in ("features", "protocol-features"):
            act.add_argument(
                f"--{name}-{kind}", metavar="NAMES", action="append", default=[],
                help=f"{what} these bits in what the back-end offers (names or numbers, with commas)",
            )  # fmt: skip
    rules = parser.add_argument_group("rules")
    rules.add_argument("--validate", action="store_true", help="findings as they happen; with -q nothing else")
    rules.add_argument("--strict", action="store_true", help="exit status 1 if a finding was an error")
    rules.add_argument(
        "--enforce", action="store_true",
        help="end a session at its first error, before the message goes on; silences and ends of file end nothing",
    )  # fmt: skip
    add_rule_arguments(rules)


def _size(text: str) -> int:
    import argparse

    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes")
    return int(text)


def say(text: str) -> None:
    """A line for people. They may have closed standard error; the traffic does not depend on it."""
    try:
        os.write(2, f"vhostspy: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        pass


def run(options: Namespace) -> int:
    _check(options)
    if options.strict or options.enforce or options.baseline or options.junit:
        options.validate = True
    if fill_standard_descriptors():
        options.quiet = True
        options.no_capture = options.write is None  # nobody would ever read it
    more_descriptors()
    new_policy = _policy(options)
    sides = _sides(options)
    try:
        target = Target(options)  # last: it replaces an older capture
    except BaseException:
        for side in sides:
            if isinstance(side, Listener):
                side.close()
        raise
    return _run(options, target, sides, new_policy)


def _run(options: Namespace, target: Target, sides: Any, new_policy: Any) -> int:
    writer: Writer | Nowhere
    if options.no_capture:
        writer = Nowhere()
    else:
        writer = Writer(target.fd, snaplen=options.snaplen, bounded=QUEUE_BYTES if target.bounded else None)
    settings = Settings(
        protocol=options.protocol or "", exact_reads=options.exact_reads, once=options.once,
        connect_timeout_s=options.connect_timeout, new_policy=new_policy, say=say,
        keep_memory=not options.no_memory, exact_kicks=options.exact_kicks,
    )  # fmt: skip
    relay = Relay(sides, writer, settings)
    relay.event(
        "start", text="vhostspy begins to relay", version=_version(), pid=os.getpid(), listen=options.listen,
        connect=options.connect, device=options.device or "", command=[os.fsdecode(word) for word in sys.argv[1:]],
    )  # fmt: skip
    writer.flush()
    stop_on_signals(relay)
    tuple(PROTOCOLS.values())  # it listens already; but no session's first message is to wait for a table
    control = Control(relay, target.path)
    viewers = Viewers(options, target, relay)
    if options.sample_rings:
        viewers.start_sampler(options, control)
    relay.start()
    say(f"{sides[0].name} ⇄ {sides[1].name}: waiting for {'a session' if options.once else 'sessions'}, ^C ends")
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        relay.run()
    finally:
        # an alarm that is still to come would end the process while Python takes its handlers away
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        control.close()
        relay.event("end", text="the capture is complete")
        relay.writer.close()
        viewers.wait()
    status = _status(relay)
    return _judged(viewers) if options.strict and not status else status


def _judged(viewers: Viewers) -> int:
    """What ``--strict`` makes of the rules' outcome, which a view has found out."""
    if viewers.broken:
        return 1
    if viewers.failed:
        say("whether the rules were kept is not known: what checks them has failed")
        return 3
    return 0


def _status(relay: Relay) -> int:
    writer = relay.writer
    if writer.error is not None:
        say(
            f"the capture is not complete: {writer.error.strerror}; {writer.lost_messages} messages "
            f"({writer.lost_bytes} bytes) are not in it; the traffic was not affected"
        )
        return 3
    return 0 if relay.failure is None else 3


def _version() -> str:
    from vhostspy import __version__

    return __version__


def _check(options: Namespace) -> None:
    """What argparse does not see: options that do not go together."""
    if options.filter:
        from vhostspy.filter import asked_for

        asked_for(options.filter)  # a mistake in it is told before anybody connects
    names = len(options.listen), len(options.connect)
    if sum(names) != 2:
        raise WrongUse(
            "two sockets are needed, one for each peer: --listen PATH --connect PATH, or one of them twice "
            f"(there are {names[0]} to listen on and {names[1]} to connect to)"
        )
    if names != (1, 1) and options.front_end == "connect":
        raise WrongUse(
            "--front-end says which of --listen and --connect is the front-end's; with one twice it is the first"
        )
    both = options.listen + options.connect
    if both[0] == both[1]:
        raise WrongUse(f"{both[0]} is both sides: two different sockets are needed")
    if options.write == "-" and options.json:
        raise WrongUse("-w - puts the capture on standard output, where --json would go as well; give -w a file")
    checks = options.validate or options.strict or options.junit
    if options.sample_data and not options.sample_rings:
        raise WrongUse("--sample-data says what --sample-rings records: it cannot go without it")
    if options.sample_rings and (options.no_capture or options.no_memory):
        without = "--no-capture" if options.no_capture else "--no-memory"
        raise WrongUse(f"--sample-rings looks at memory and records what it sees: it cannot go with {without}")
    if options.no_capture and checks:
        raise WrongUse("--no-capture leaves nothing that could be checked: it cannot go with --validate and --strict")
    if options.baseline:
        from vhostspy.baseline import read_baseline

        read_baseline(options.baseline)  # a mistake in it is told before anybody connects
    if options.quiet and not options.write and not options.no_capture and not checks and not options.enforce:
        raise WrongUse("--quiet prints nothing, and without -w FILE nothing is kept: nothing would be left to do")
    if options.no_capture and (options.write or options.json):
        raise WrongUse("--no-capture keeps and shows nothing, so -w and --json cannot go with it")
    if options.exact_reads and options.enforce:
        raise WrongUse("--exact-reads passes on pieces, and --enforce judges whole messages only: use one of them")
    if options.exact_reads and any((options.mask_features, options.mask_protocol_features,
                                    options.offer_features, options.offer_protocol_features)):  # fmt: skip
        raise WrongUse(
            "--exact-reads passes on pieces, and features can be changed in whole messages only: use one of them"
        )


def _policy(options: Namespace) -> Any:
    if not options.enforce:
        return _features(options)
    from vhostspy.arguments import disabled, profile
    from vhostspy.baseline import read_baseline
    from vhostspy.enforcer import policy_maker

    accepted = read_baseline(options.baseline) if options.baseline else frozenset[tuple[str, str, str]]()
    return policy_maker(disabled(options), profile(options), options.device, _features(options), accepted)


def _features(options: Namespace) -> Any:
    if not (
        options.mask_features
        or options.offer_features
        or options.mask_protocol_features
        or options.offer_protocol_features
    ):
        return None
    from vhostspy.relay.features import policy_maker, protocol_feature_bits, virtio_feature_bits

    return policy_maker(
        virtio_feature_bits(options.mask_features, options.device or ""),
        virtio_feature_bits(options.offer_features, options.device or ""),
        protocol_feature_bits(options.mask_protocol_features),
        protocol_feature_bits(options.offer_protocol_features),
    )


def _sides(options: Namespace) -> tuple[Listener | Connector, Listener | Connector]:
    """The front-end's side, then the back-end's."""
    try:
        mode = int(options.socket_mode, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise WrongUse(f"--socket-mode {options.socket_mode}: expected three octal digits, such as 660")
    connectors = [Connector(name) for name in options.connect]
    listeners: list[Listener] = []
    try:
        for name in options.listen:
            listeners.append(Listener(name, mode))
    except Exception:
        for listener in listeners:
            listener.close()
        raise
    sides: list[Listener | Connector] = [*listeners, *connectors]
    if options.front_end == "connect":
        sides.reverse()
    return sides[0], sides[1]


def more_descriptors() -> None:
    """Every relayed descriptor is open here for a moment: take what the system allows."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pass  # then it is as many as it is


def stop_on_signals(relay: Relay) -> None:
    """^C and SIGTERM end the relay cleanly; a second one ends it at once. SIGALRM is the loop's way to wake itself."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    alarm = bytes([signal.SIGALRM])

    def come() -> None:
        numbers = os.read(reader, 64)
        if alarm in numbers:
            relay.loop.woken()
        if numbers.strip(alarm):
            relay.stop()

    def wake_later() -> None:
        signal.setitimer(signal.ITIMER_REAL, IDLE_S)

    def on_signal(number: int, frame: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    relay.loop.wake_later = wake_later
    relay.loop.watch(reader, relay.loop.IN, come, lambda fd, events: come())


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
            self.fd = _queue_file()

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


def _queue_file() -> int:
    """A file without a name in $TMPDIR."""
    folder = os.environ.get("TMPDIR") or "/tmp"
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        from tempfile import mkstemp

        fd, path = mkstemp(prefix="vhostspy-")
        os.unlink(path)
        return fd


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
            self.pids.append(os.posix_spawn(sys.executable, _argv("_view", words), os.environ, file_actions=actions))
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
        self.pids.append(os.posix_spawn(sys.executable, _argv("_sample", words), os.environ))

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
                say(f"the view ended with status {status}; the traffic and the capture are as they should be")


_START = "import sys; sys.path.append(sys.argv.pop(1)); from vhostspy.cli import main; sys.exit(main())"


def _argv(command: str, words: list[str]) -> list[str]:
    """The command line of a process of our own. Not -m: it would look for modules in whatever folder the user is in."""
    return [sys.executable, "-P", "-c", _START, _package_folder(), command, *words]


def _package_folder() -> str:
    """Where this very package lies: a checkout, or an environment's site-packages."""
    import vhostspy

    return os.path.dirname(os.path.dirname(os.path.abspath(vhostspy.__file__)))


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


def fill_standard_descriptors() -> bool:
    """Make sure that 0, 1 and 2 are open, so that no capture or socket gets a number that others write to.

    Tells whether standard output was closed: then nobody wants lines.
    """
    was_closed = False
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            was_closed = was_closed or fd == 1
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    return was_closed
