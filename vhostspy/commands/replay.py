"""``vhostspy replay FILE --as END``: play one side of a recorded session to a real peer, and compare."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from vhostspy.arguments import kept_apart, write_file
from vhostspy.dissectors.rows import FRONT_END
from vhostspy.errors import WrongUse
from vhostspy.output.stream import let_go
from vhostspy.output.units import escape, plural
from vhostspy.replay import Outcome, report
from vhostspy.replay.script import SET_UP
from vhostspy.replay.settings import SIDES

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from types import FrameType

    from vhostspy.message import Message
    from vhostspy.replay import Script

MORE = """\
examples:
  vhostspy replay session.pcapng --as front-end --connect b.sock
        to a back-end that listens on b.sock, without a virtual machine
  vhostspy replay session.pcapng --as back-end --listen a.sock
        to a front-end that connects to a.sock
  vhostspy replay --corpus blk --as front-end --connect b.sock
        recorded front-ends of disks, one after the other

exit status:
  0  as recorded       1  something came otherwise, or did not come
  2  wrong use, or a capture that is damaged
  3  nobody was there, or the system failed
"""


def add_arguments(parser: ArgumentParser) -> None:
    from vhostspy.arguments import device, one_of, written
    from vhostspy.replay.meeting import ACCEPT_S, CONNECT_S
    from vhostspy.replay.settings import ANSWER_S, FRONT_END_S

    parser.epilog = MORE
    parser.add_argument("file", metavar="FILE", nargs="?", help="a capture (vhostspy's --write makes one)")
    parser.add_argument(
        "--as", dest="as_", metavar="END", type=one_of(*SIDES),
        help="the side that is played: front-end or back-end (client or server)",
    )  # fmt: skip
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--connect", metavar="PATH", help="the other side listens here (@NAME: abstract; fd:N: inherited)"
    )
    where.add_argument("--listen", metavar="PATH", help="the other side connects here; once for each session")
    parser.add_argument(
        "--match", metavar="HOW", type=one_of("exact", "semantic", "shape"),
        help="how strictly to compare: exact, semantic (default; with --corpus: shape) or shape (docs/replay.md)",
    )  # fmt: skip
    parser.add_argument(
        "--unmatched", metavar="WHAT", type=one_of("fail", "nack", "close"), default="fail",
        help="what a request gets that the record does not have: fail ends the replay's session with a mismatch "
        "(default), nack refuses it and goes on, close closes the connection",
    )  # fmt: skip
    parser.add_argument(
        "--timing", metavar="WHAT", type=one_of("causes", "original"), default="causes",
        help="when to send: as soon as what it waits for has come (default); original: not sooner than recorded",
    )  # fmt: skip
    parser.add_argument("--from-no", metavar="N", type=number, help="leave out the messages before this one")
    parser.add_argument(
        "--until-no", metavar="N", type=number_or_set_up,
        help=f"leave out those behind it; {SET_UP}: of each session all behind the set-up of its rings",
    )  # fmt: skip
    parser.add_argument("-Y", "--filter", metavar="FILTER", help="only messages that match, with their answers")
    parser.add_argument("--edit", metavar="FILE", help="Python whose edit(message) may change what is sent")
    parser.add_argument(
        "--adapt", action="store_true",
        help="as front-end: take only those features that this back-end offers, and go on accordingly",
    )  # fmt: skip
    parser.add_argument(
        "--corpus", metavar="NAME", nargs="?", const="",
        help="in place of FILE: recorded front-ends that come with vhostspy, played with --adapt; alone: lists them",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", metavar="S", type=seconds,
        help=f"the longest wait for a message (default: {ANSWER_S:g} for an answer, {FRONT_END_S:g} for what a "
        "front-end does next)",
    )  # fmt: skip
    parser.add_argument(
        "--connect-timeout", metavar="S", type=seconds,
        help=f"how long the other side may take to be there (default: {CONNECT_S:g}, with --listen {ACCEPT_S:g})",
    )  # fmt: skip
    parser.add_argument("-w", "--write", metavar="FILE", type=written, help="keep what passes as a capture")
    parser.add_argument("--json", action="store_true", help="JSON lines: what passes, mismatches, sessions, a summary")
    parser.add_argument(
        "--junit", metavar="FILE", type=written, help="also write the outcome as JUnit XML, a case a session"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each message that passes")
    parser.add_argument("--device", metavar="TYPE", type=device, help="what the back-end is, where it cannot be told")


def number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no message's number")
    return int(text)


def number_or_set_up(text: str) -> int | str:
    return text if text == SET_UP else number(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def run(options: Namespace) -> int:
    # the peer waits while garbage is looked for, and there is hardly any
    gc.set_threshold(100_000)
    if options.corpus == "":
        from vhostspy.corpus import listing

        for line in listing():
            _print(sys.stdout, line)
        return 0
    _required(options)
    try:
        with _ended_in_order():
            return _run(options)
    except _Terminated:
        return 128 + signal.SIGTERM  # as a shell would report it


def _run(options: Namespace) -> int:
    people = sys.stderr if options.json else sys.stdout
    outcomes: list[Outcome] = []
    damaged = False
    scripts = [*_scripts(options)]
    for name, script in scripts:
        damaged |= script.damaged
        outcome = play(options, script, people)._replace(name=name)
        outcomes.append(outcome)
        if options.json:
            for line in report.lines(outcome):
                _print(sys.stdout, line)
        for line in outcome.lines():
            _print(people, escape(line))
        left = len(scripts) - len(outcomes)
        if left and outcome.failure and not outcome.sessions:
            _say(f"nobody is there to play to: {plural(left, 'recording')} left out")
            break
    if options.corpus:
        _print(people, "")
        for line in report.table(outcomes):
            _print(people, escape(line))
    if options.junit:
        write_file("--junit", options.junit, "\n".join([*report.junit(outcomes), ""]))
    return max(2 if damaged else 0, *(outcome.status for outcome in outcomes))


class _Terminated(BaseException):
    """SIGTERM has come."""


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM leaves through all ``finally``: no socket stays behind, and the capture is whole."""

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise _Terminated

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _required(options: Namespace) -> None:
    """argparse cannot say: all of these, unless one asks for nothing but a list."""
    if (options.file is None) == (options.corpus is None):
        raise WrongUse("say what is to be played: a capture, or --corpus NAME (--corpus alone lists the names)")
    if options.as_ is None:
        raise WrongUse("say which side is to be played: --as front-end or --as back-end")
    if options.connect is None and options.listen is None:
        raise WrongUse("say where the other side is: --connect PATH or --listen PATH")
    if options.adapt and SIDES[options.as_] != FRONT_END:
        raise WrongUse("--adapt is for --as front-end: a back-end makes its offers first")
    if options.corpus and SIDES[options.as_] != FRONT_END:
        raise WrongUse("--corpus has front-ends: --as front-end")
    if options.write is not None:
        from vhostspy.corpus import scenarios

        if options.corpus and len(scenarios(options.corpus)) > 1:
            raise WrongUse(f"-w {options.write}: one file cannot hold all of --corpus {options.corpus}; name one of it")
    inputs = [path for path in (options.file, options.edit) if path is not None]
    kept_apart({"-w": options.write, "--junit": options.junit}, inputs)


def _scripts(options: Namespace) -> Iterator[tuple[str, Script]]:
    """What is to be played, by name. Raises WrongUse."""
    from vhostspy.replay import Script

    if options.corpus is None:
        try:
            yield options.file, Script.read(options.file, options.device)
        except OSError as error:
            raise WrongUse(f"{options.file}: {error.strerror}") from None
        return
    from vhostspy.corpus import scenarios

    for scenario in scenarios(options.corpus):
        yield scenario.name, Script.read(scenario.path, options.device or scenario.device)


def play(options: Namespace, script: Script, people: TextIO | None) -> Outcome:
    """The replay that the options ask for. Raises WrongUse."""
    from vhostspy.compare import Strictness
    from vhostspy.replay import replay
    from vhostspy.replay.edit import load

    keep: Callable[[Message], bool] | None = None
    if options.filter is not None:
        from vhostspy.filter import asked_for

        keep = asked_for(options.filter).__call__

    see, edit = _see(options, people), load(options.edit) if options.edit else None
    if options.adapt or options.corpus:
        from vhostspy.replay.adapt import Adapted

        adapted = Adapted(see, edit)
        see, edit = adapted.see, adapted.edit
    return replay(
        script,
        options.as_,
        connect=options.connect,
        listen=options.listen,
        strictness=Strictness(options.match or ("shape" if options.corpus else "semantic")),
        unmatched=options.unmatched,
        timing=options.timing,
        timeout_s=options.timeout,
        connect_timeout_s=options.connect_timeout,
        from_no=options.from_no,
        until_no=options.until_no,
        keep=keep,
        edit=edit,
        see=see,
        device=options.device,
        write=options.write,
        say=_say,
    )


def _see(options: Namespace, people: TextIO | None) -> Callable[[Message], None] | None:
    """What shows each message as it passes, if somebody wants to see it."""
    if options.json:
        from vhostspy.output.json import Json

        values = Json()
        return lambda message: _write(sys.stdout, values.message(message))
    if options.verbose:
        from vhostspy.output.text import Look, Text

        text = Text(Look())
        if people is not None and people.isatty():
            _write(people, text.heading())
        return lambda message: _write(people, text.message(message))
    return None


def _say(sentence: str) -> None:
    _print(sys.stderr, f"vhostspy replay: {escape(sentence)}")


def _print(stream: TextIO | None, line: str) -> None:
    _write(stream, f"{line}\n")


def _write(stream: TextIO | None, text: str) -> None:
    """Who has closed our output has seen enough; the peer, and the exit status, have not."""
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        let_go(stream)
