"""The command line: which command was meant, and what its outcome means to the shell.

Each command is a module of ``vhostspy.commands`` with ``add_arguments(parser)`` and ``run(arguments) -> exit status``,
imported only when it is called: the relay is started by scripts that wait for its socket, and what it does not need
(even argparse, for ``--version``) is not loaded.
"""

from __future__ import annotations

import sys

# checkers know the name; importing it would cost more than all that --version does
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhostspy.arguments import Parser

#: every command there is, with its line in the help; the relay is what options without a command mean
COMMANDS = {
    "relay": "stand between two peers, show and keep what passes (what options alone mean)",
    "show": "print a capture, message by message",
    "check": "the rules over captures: which end broke what, when, and where it is written",
    "diff": "two recordings side by side: what was agreed on, then message by message",
    "tui": "look at a capture, or into a running relay, on the screen",
    "replay": "play a recorded front-end or back-end to a real peer, and compare",
    "rings": "how far the rings of a running session are, or were in a capture",
    "explain": "what a message, feature bit, structure, device or rule is, with its source",
    "wireshark": "print or install the Wireshark dissector",
    "demo": "a front-end and a back-end of our own talk through the relay",
}

#: what vhostspy calls itself, in processes of its own; in no help
OWN_COMMANDS = {
    "_view": "follow a growing capture for the relay that writes it",
    "_live": "a relay, and the screen on it: what --tui means",
    "_sample": "look at the rings for a relay that records samples",
}

RELAY_HELP = """\
Stands between a vhost-user front-end and its back-end, or a vfio-user client and its server, passes everything on
unchanged, and shows each message by name with its members, descriptors and reply. Wireshark opens what --write keeps.
"""

RELAY_MORE = """\
commands:
{commands}
  vhostspy COMMAND --help tells more about each.

{lines}
examples:
  vhostspy --listen a.sock --connect b.sock
        the back-end listens on b.sock; give a.sock to the front-end (QEMU: -chardev socket,id=c,path=a.sock)
  vhostspy --listen a.sock --connect b.sock -w session.pcapng -v
        keep the session in a file, and print all members of each message
  vhostspy --listen a.sock --connect b.sock -w - | wireshark -k -i -
        watch in Wireshark
  vhostspy show session.pcapng -Y 'message == SET_VRING_*'
        the messages about rings, from the file

exit status:
  0  done, nothing wrong         1  what was checked does not hold
  2  wrong use                   3  a peer or the system failed
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` are its arguments, without the program's name (default: this process's)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    stand_in_for_closed_streams()
    if arguments[:1] in (["--version"], ["-V"]):
        from vhostspy import __version__

        return ended(0, f"vhostspy {__version__}\n")
    from vhostspy.support import unsupported

    if unsupported():
        return complain(unsupported())
    try:
        return ended(dispatch(arguments))
    except SystemExit as end:  # argparse's way out: its --help and its errors
        return ended(end.code if isinstance(end.code, int) else 0)
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as a shell would report it


def ended(status: int, text: str = "") -> int:
    """``status``, once ``text`` and what was printed before have left; who closed our output early has seen enough."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        let_go_of_output()
    except OSError as error:
        let_go_of_output()
        return status if status == 3 else complain(f"vhostspy: standard output: {error.strerror}", 3)
    except ValueError:  # it was closed meanwhile
        pass
    return status


def let_go_of_output() -> None:
    from vhostspy.output.stream import let_go

    let_go(sys.stdout)


def stand_in_for_closed_streams() -> None:
    """A stream that was closed before we began is None here: what is written to it is lost, and that is no failure."""
    if sys.stdout is not None and sys.stderr is not None:
        return
    from io import TextIOBase

    class Nowhere(TextIOBase):
        def write(self, text: str) -> int:
            return len(text)

    sys.stdout = sys.stdout or Nowhere()
    sys.stderr = sys.stderr or Nowhere()


def complain(sentence: str, status: int = 2) -> int:
    sys.stderr.write(f"{sentence}\n")
    return status


def dispatch(arguments: list[str]) -> int:
    """Find the command, read its arguments, run it. Wrong use leaves by SystemExit(2), as argparse does."""
    if not arguments:
        return complain(
            "vhostspy: say what to do: --listen PATH --connect PATH to stand between two peers, or a command "
            f"({', '.join(COMMANDS)}); vhostspy --help tells more"
        )
    name = "relay" if arguments[0].startswith("-") else arguments.pop(0)
    if name == "relay" and "--tui" in arguments:
        name = "_live"
    if name not in COMMANDS and name not in OWN_COMMANDS:
        import os

        from vhostspy.nearest import nearest

        if os.path.isfile(name):
            return complain(
                f"vhostspy: {name!r} is a file, no command; captures are read by show, tui, check and others"
            )
        return complain(f"vhostspy: there is no command {name!r}{nearest(name, COMMANDS)}; vhostspy --help lists them")

    from importlib import import_module

    from vhostspy.arguments import add_dissector_argument, load_dissectors
    from vhostspy.errors import Failure, WrongUse

    make_output_total()
    command = import_module(f"vhostspy.commands.{name.lstrip('_')}")
    parser = new_parser(name)
    command.add_arguments(parser)
    add_dissector_argument(parser)
    options = parser.parse_args(arguments)
    try:
        if options.dissector:
            load_dissectors(options.dissector)
        return int(command.run(options))
    except WrongUse as wrong:
        return complain(f"{parser.prog}: {wrong}")
    except Failure as failure:
        return complain(f"{parser.prog}: {failure}", 3)
    except BrokenPipeError:
        let_go_of_output()
        return 0
    except OSError as error:
        if error.filename is None:
            return complain(f"{parser.prog}: {error.strerror or error}", 3)
        return complain(f"{parser.prog}: {error.filename}: {error.strerror}")


def make_output_total() -> None:
    """Names that peers and file systems chose may not fit the terminal's encoding: write them escaped, never fail."""
    from io import TextIOWrapper

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def new_parser(name: str) -> Parser:
    from vhostspy.arguments import LINES, Parser

    if name not in ("relay", "_live"):
        line = COMMANDS.get(name) or OWN_COMMANDS[name]
        prog = f"vhostspy {name}" if name in COMMANDS else "vhostspy"
        return Parser(prog=prog, description=f"vhostspy {name}: {line}.", commands=COMMANDS)
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {command:{width}}{line}" for command, line in COMMANDS.items() if command != "relay")
    return Parser(
        prog="vhostspy",
        usage="vhostspy --listen PATH --connect PATH [options]\n       vhostspy COMMAND ...",
        description=RELAY_HELP,
        epilog=RELAY_MORE.format(commands=commands, lines=LINES),
        commands=COMMANDS,
    )
