"""argparse as vhostspy speaks it: one sentence for a mistake, with the nearest right word; values that commands share.

The command line imports this when it reads a command's options; a command imports it inside ``add_arguments``.
"""

from __future__ import annotations

import argparse
import errno
import os
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from vhostspy.errors import Failure, WrongUse
from vhostspy.nearest import nearest

#: behind a name that is none, and near no other: of these there are too many for --help
_LISTED = "; vhostspy explain lists them"

#: how the lines of show and of the relay are to be read
LINES = """\
lines:
  number, time since the first message, time since the line before, channel, who sent it (→ front-end: the front-end
  did, to the back-end; ← back-end: the back-end did), message, what matters in it, [descriptors], ↩ what it answers
"""


class _Help(argparse.RawDescriptionHelpFormatter):
    """argparse makes one for each argument, and would load shutil to ask how wide the screen is (7 % of the start)."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def one_of(*values: str) -> Callable[[str], str]:
    """An argument's type: one of ``values``, and a sentence with the nearest of them for anything else."""

    def read(text: str) -> str:
        if text not in values:
            raise argparse.ArgumentTypeError(_not_one_of(text, values))
        return text

    return read


def end(text: str) -> int:
    """An argument's type: one end of a session, as a number. ``client`` and ``server`` are understood as well."""
    from vhostspy.dissectors.rows import BACK_END, FRONT_END

    ends = {"front-end": FRONT_END, "back-end": BACK_END, "client": FRONT_END, "server": BACK_END}
    if text not in ends:
        raise argparse.ArgumentTypeError(_not_one_of(text, tuple(ends)))
    return ends[text]


def device(text: str) -> str:
    """An argument's type: a type of device by any of its names, as the name that is used inside."""
    from vhostspy.dissectors import virtio

    found = virtio.find(text)
    if found is None:
        names = [name for device in virtio.DEVICES.values() for name in (device.name, *device.aliases)]
        raise argparse.ArgumentTypeError(f"there is no device {text!r}{nearest(text, names) or _LISTED}")
    return found.name


def seconds(text: str) -> float:
    """An argument's type: a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def written(text: str) -> str:
    """An argument's type: a file that is written when the work is done. What would be in its way is told before."""
    if text in ("", "-"):
        raise argparse.ArgumentTypeError(f"expected a file's name, not {text!r}")
    try:
        _writable(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    return text


def _writable(path: str) -> None:
    """Raises the OSError that writing there would. Nothing is created: the work may still come to nothing."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            raise
        folder = os.path.dirname(path) or "."
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        if not os.access(folder, os.W_OK | os.X_OK):
            number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(number, os.strerror(number)) from None
        return
    if not stat.S_ISFIFO(mode):  # which waits for its reader
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))


def kept_apart(outputs: Mapping[str, str | None], inputs: Iterable[str] = ()) -> None:
    """Files by the options that have them written: none may be another, or one that is read. Raises WrongUse."""
    others = dict.fromkeys(inputs, "is what is read")
    for option, path in outputs.items():
        if path is not None:
            for other, what in others.items():
                if _same(path, other):
                    raise WrongUse(f"{option} {path}: {what}, and would be lost")
            others[path] = f"is the file of {option} as well"


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other) and stat.S_ISREG(os.stat(one).st_mode)
    except OSError:  # there is none yet
        return os.path.abspath(one) == os.path.abspath(other)


def write_file(option: str, path: str, text: str) -> None:
    """Write what an option asks for. Raises Failure: that it can be written was seen before (``written``)."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Failure(f"{option} {path}: {error.strerror}") from None


def add_output_arguments(parser: argparse._ActionsContainer) -> None:
    """How messages are to be shown; the same words wherever they are."""
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("-v", "--verbose", action="store_true", help="all members of each message")
    parser.add_argument("-x", "--hex", action="store_true", help="its bytes as well")
    parser.add_argument("-Y", "--filter", metavar="FILTER", help="only messages that match (docs/filters.md)")
    parser.add_argument(
        "--device",
        metavar="TYPE",
        type=device,
        help="what the back-end is (net, block, fs, …), where it cannot be told from the session",
    )
    parser.add_argument("--no-summary", action="store_true", help="end with the last message, without a summary")


def add_dissector_argument(parser: argparse.ArgumentParser) -> None:
    """Rows of the user's own; of every command."""
    parser.add_argument(
        "--dissector", metavar="FILE", action="append", default=[],
        help="also know the messages that this file of Python adds (docs/dissectors.md)",
    )  # fmt: skip


def load_dissectors(paths: Sequence[str]) -> None:
    """Have the rows of these files known from now on. Raises WrongUse for what cannot be used, OSError for no file."""
    from os.path import abspath
    from traceback import extract_tb

    from vhostspy.dissectors.additions import load

    for path in paths:
        try:
            load(path)
        except SyntaxError as wrong:
            where = f", line {wrong.lineno}" if wrong.lineno else ""
            raise WrongUse(f"{wrong.filename or path}{where}: {wrong.msg}") from None
        except Exception as wrong:
            if isinstance(wrong, OSError) and wrong.filename == abspath(path):
                raise WrongUse(f"{path}: {wrong.strerror}") from None
            lines = [frame.lineno for frame in extract_tb(wrong.__traceback__) if frame.filename == path]
            where = f", line {lines[-1]}" if lines else ""
            what = "" if isinstance(wrong, ValueError) else f"{type(wrong).__name__}: "
            raise WrongUse(f"{path}{where}: {what}{wrong}") from None


def add_rule_arguments(parser: argparse._ActionsContainer) -> None:
    """What the rules are asked, and what becomes of their findings; the same words wherever there are findings."""
    add_choice_of_rules(parser)
    parser.add_argument("--baseline", metavar="FILE", help="say nothing of the findings that this file accepts")
    parser.add_argument("--junit", metavar="FILE", type=written, help="also write the findings as JUnit XML")


def add_choice_of_rules(parser: argparse._ActionsContainer) -> None:
    """What the rules are asked."""
    parser.add_argument(
        "--disable", metavar="RULE", action="append", type=rules, default=[],
        help="leave these rules out, by id, with commas or * (vhostspy explain RULE)",
    )  # fmt: skip
    parser.add_argument(
        "--peer-profile", metavar="END=NAME", action="append", type=peer, default=[],
        help="who an end is, such as front-end=qemu, where it is not to be told from what it sends; unknown: nobody "
        "whose habits are excused",
    )  # fmt: skip


def rules(text: str) -> frozenset[str]:
    """An argument's type: ids of rules, with commas; ``VU-NEG-*`` is all that begin so."""
    from fnmatch import fnmatchcase

    from vhostspy.rules.catalogue import BY_ID

    chosen: set[str] = set()
    for word in filter(None, (word.strip().upper() for word in text.split(","))):
        found = [id for id in BY_ID if fnmatchcase(id, word)]
        if not found:
            raise argparse.ArgumentTypeError(f"there is no rule {word!r}{nearest(word, BY_ID) or _LISTED}")
        chosen.update(found)
    return frozenset(chosen)


def peer(text: str) -> tuple[int, str]:
    """An argument's type: an end and a dialect, ``back-end=dpdk``."""
    from vhostspy.rules.peers import DIALECTS

    side, equals, name = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an end and a name, such as front-end=qemu")
    if name not in DIALECTS:
        raise argparse.ArgumentTypeError(_not_one_of(name, DIALECTS))
    return end(side), name


def disabled(options: argparse.Namespace) -> frozenset[str]:
    """The rules that the options leave out."""
    return frozenset[str]().union(*options.disable)


def profile(options: argparse.Namespace) -> tuple[str | None, str | None]:
    """Who the ends are, as far as the options say."""
    from vhostspy.dissectors.rows import BACK_END, FRONT_END

    given = dict(options.peer_profile)
    return given.get(FRONT_END), given.get(BACK_END)


def _not_one_of(text: str, values: Sequence[str]) -> str:
    return f"{text!r} is none of {', '.join(values)}{nearest(text, values)}"


class Parser(argparse.ArgumentParser):
    """No abbreviations (a script that uses one breaks when the next option comes), paragraphs kept, errors of one line.

    ``commands``: words that are no argument but a command put in the wrong place.
    """

    def __init__(self, *, commands: Collection[str] = (), **settings: Any) -> None:
        settings.setdefault("formatter_class", _Help)
        super().__init__(allow_abbrev=False, **settings)
        self._commands = commands

    # argparse's own signature is an overload over the kinds of namespace; nobody here passes one
    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        words = list(sys.argv[1:] if args is None else args)
        # a mistyped option comes before the option that is missing because of it
        for word in words[: words.index("--")] if "--" in words else words:
            name = word.split("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                self.error(f"there is no option {name}{nearest(name, self._option_string_actions)}")
        options, unread = self.parse_known_args(words, namespace)
        if not unread:
            return options
        word = unread[0]
        if word.startswith("-"):
            self.error(f"there is no option {word}")
        if word in self._commands:
            self.error(f"{word} is a command, and a command comes first: vhostspy {word} …")
        self.error(f"{word!r} is a word too many")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = tuple(str(choice) for choice in action.choices)
            raise argparse.ArgumentError(action, _not_one_of(str(value), choices))

    def print_help(self, file: Any = None) -> None:
        """Whoever closed our output needs no help any more; older argparses (Debian 12's) would end with an error."""
        try:
            super().print_help(file)
        except OSError:
            pass

    def error(self, message: str) -> NoReturn:
        sentence = message.removeprefix("argument ").replace("the following arguments are required:", "missing:")
        more = "" if sentence.endswith(_LISTED) else f"; {self.prog} --help tells more"
        self.exit(2, f"{self.prog}: {sentence}{more}\n")
