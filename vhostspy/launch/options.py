"""The relay's options, and which of them do not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhostspy.dissectors.registry import MAIN
from vhostspy.errors import WrongUse

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


#: with less of each message nothing can be told of memory: a table of eight regions has 276 bytes
SNAPLEN = 4096


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
    keep.add_argument(
        "-w", "--write", metavar="FILE",
        help="keep the session in a pcapng file, in place of what is there; - is standard output",
    )  # fmt: skip
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
    act.add_argument(
        "--protocol",
        metavar="NAME",
        type=one_of(*MAIN),
        help=f"{' or '.join(MAIN)}, if not to be told from the first message",
    )
    act.add_argument("--exact-reads", action="store_true", help="pass pieces of messages on as they come")
    act.add_argument(
        "--exact-kicks",
        action="store_true",
        help="relay kicks and calls too, to count each one; the round trip of a kick then takes about three times as "
        "long on one CPU, four times and more across CPUs",
    )
    for name, what in (("mask", "clear"), ("offer", "set")):
        for kind, such in (("features", "EVENT_IDX,34"), ("protocol-features", "CONFIG,12")):
            act.add_argument(
                f"--{name}-{kind}", metavar="NAMES", action="append", default=[],
                help=f"{what} these {'virtio' if kind == 'features' else 'protocol'} feature bits in what the back-end "
                f"offers, by names or numbers: {such}",
            )  # fmt: skip
    rules = parser.add_argument_group("rules")
    rules.add_argument("--validate", action="store_true", help="findings as they happen; with -q nothing else")
    rules.add_argument("--strict", action="store_true", help="exit status 1 if a finding was an error")
    rules.add_argument(
        "--enforce", action="store_true",
        help="end a session at its first error, before the message goes on; silences and ends of file end nothing",
    )  # fmt: skip
    add_rule_arguments(rules)


def keeps_memory(options: Namespace) -> bool:
    """Whether viewers can look at the rings: where they are is told by the capture, if that has whole messages."""
    short = options.snaplen is not None and options.snaplen < SNAPLEN
    return not (options.no_memory or options.no_capture or short)


def _size(text: str) -> int:
    import argparse

    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes")
    return int(text)


def check(options: Namespace) -> None:
    """What argparse does not see: options that do not go together. Raises WrongUse."""
    from vhostspy.arguments import kept_apart

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
    kept_apart({"-w": options.write, "--junit": options.junit})
    checks = options.validate or options.strict or options.junit
    if options.sample_data and not options.sample_rings:
        raise WrongUse("--sample-data says what --sample-rings records: it cannot go without it")
    if options.sample_rings and not keeps_memory(options):
        without = (
            "--no-capture" if options.no_capture else "--no-memory" if options.no_memory else "so short a --snaplen"
        )
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
    if options.exact_reads and options.exact_kicks:
        raise WrongUse("--exact-reads passes on pieces, and --exact-kicks changes whole messages: use one of them")
    if options.exact_reads and options.enforce:
        raise WrongUse("--exact-reads passes on pieces, and --enforce judges whole messages only: use one of them")
    if options.exact_reads and any((options.mask_features, options.mask_protocol_features,
                                    options.offer_features, options.offer_protocol_features)):  # fmt: skip
        raise WrongUse(
            "--exact-reads passes on pieces, and features can be changed in whole messages only: use one of them"
        )
