"""``vhostspy diff A B``: two recordings side by side, session by session: QEMU and crosvm, yesterday and today."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from vhostspy.arguments import kept_apart, write_file
from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.compare import Pair, Strictness, align
from vhostspy.compare.negotiation import negotiation
from vhostspy.errors import WrongUse
from vhostspy.message import Message
from vhostspy.output import comparison
from vhostspy.output.comparison import Compared
from vhostspy.output.naming import with_device
from vhostspy.output.stream import Output
from vhostspy.output.units import escape, plural
from vhostspy.pipeline import Pipeline
from vhostspy.session.state import Session

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

MORE = """\
signs:
  ~  changed, with the members that are   >  the same, in another place
  -  only in A                            +  only in B
  →  the front-end sent it                ←  the back-end did

exit status:
  0  the same        1  different        2  wrong use, or a capture that is damaged
"""


class Recorded(NamedTuple):
    """A session of a recording: as it ended, and what was said in it."""

    session: Session
    messages: list[Message]


class Recording(NamedTuple):
    """The sessions of a capture in their order. damaged: as far as it can be read."""

    sessions: list[Recorded]
    damaged: bool = False


def add_arguments(parser: ArgumentParser) -> None:
    from vhostspy.arguments import device, one_of, written

    parser.epilog = MORE
    parser.add_argument("a", metavar="A", help="a capture")
    parser.add_argument("b", metavar="B", help="the capture that is held against it; - is standard input")
    parser.add_argument(
        "--match", metavar="HOW", type=one_of(*(each.value for each in Strictness)), default="semantic",
        help="how much counts: exact, semantic (the meaning: no addresses; default), shape (who says what)",
    )  # fmt: skip
    parser.add_argument("-Y", "--filter", metavar="FILTER", help="only messages that match (docs/filters.md)")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line also for each message that is the same")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--junit", metavar="FILE", type=written, help="write the differences as JUnit XML as well")
    parser.add_argument("--device", metavar="TYPE", type=device, help="what the back-end is, where it cannot be told")


def run(options: Namespace) -> int:
    """0: the same; 1: different."""
    gc.set_threshold(100_000)
    if options.a == options.b == "-":
        raise WrongUse("standard input can be one of the two, not both")
    kept_apart({"--junit": options.junit}, [options.a, options.b])
    wanted = None
    if options.filter is not None:
        from vhostspy.filter import asked_for

        wanted = asked_for(options.filter).test
    a, b = (recorded(file, options.device, wanted) for file in (options.a, options.b))
    strictness = Strictness(options.match)
    compared: list[Compared] = []
    output = Output(sys.stdout, needed=False)
    write = output.write
    if not options.json:
        write(f"A  {escape(options.a)}\nB  {escape(options.b)}\n\n")
    for one, other in zip_longest(a.sessions, b.sessions):
        each = compare(one, other, strictness)
        compared.append(each)
        if options.json:
            for value in comparison.values(each, options.verbose):
                write(json.dumps(value, ensure_ascii=False) + "\n")
        else:
            write("\n".join([*comparison.lines(each, output.colour, options.verbose), "", ""]))
    same = all(each.same for each in compared)
    if options.json:
        write(json.dumps(comparison.summary(compared)) + "\n")
    else:
        about = plural(len(compared), "session")
        write(f"{about}, {'the same' if same else 'different'}: {comparison.sentence(comparison.count(compared))}\n")
    output.flush()
    if options.junit:
        write_file("--junit", options.junit, "\n".join([*comparison.junit(compared), ""]))
    return 2 if a.damaged or b.damaged else 0 if same else 1


def compare(one: Recorded | None, other: Recorded | None, strictness: Strictness) -> Compared:
    """Two sessions, or one that has no other."""
    if one is None or other is None:
        pairs = [Pair(message, None) for message in one.messages] if one else []
        pairs += [Pair(None, message) for message in other.messages] if other else []
        return Compared(one.session if one else None, other.session if other else None, [], pairs)
    topics = negotiation(one.session, other.session, one.messages, other.messages)
    return Compared(one.session, other.session, topics, align(one.messages, other.messages, strictness))


def recorded(file: str, device: str | None, wanted: Callable[[Message], bool] | None) -> Recording:
    """A capture's sessions; WrongUse when it is none."""
    name = "standard input" if file == "-" else file
    sessions: dict[int, Session] = {}
    messages: dict[int, list[Message]] = {}
    pipeline = Pipeline(device)
    damaged = False
    try:
        with Reader(0 if file == "-" else file) as reader:
            try:
                for record in reader:
                    for item in pipeline.feed(record):
                        if isinstance(item, Message):
                            kept = messages.setdefault(item.session, [])
                            if wanted is None or wanted(item):
                                kept.append(item)
                    if record.session in pipeline.sessions:
                        sessions[record.session] = pipeline.sessions[record.session]
            except CaptureError as error:
                if not reader.offset:
                    raise
                damaged = True
                sys.stderr.write(f"vhostspy diff: {name}: {error}; compared up to there\n")
            if reader.note:
                sys.stderr.write(f"vhostspy diff: {name}: {reader.note}\n")
    except CaptureError as error:
        raise WrongUse(f"{name}: {error}") from None
    return Recording(
        [Recorded(sessions[number], [*named(sessions[number].device, said)]) for number, said in messages.items()],
        damaged,
    )


def named(device: str | None, messages: list[Message]) -> Iterator[Message]:
    """What kind of device it is shows late; features that were named before that get their names now."""
    for message in messages:
        if device is not None and message.context.device is None and "FEATURES" in (message.name or ""):
            yield with_device(message, device)
        else:
            yield message
