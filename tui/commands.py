"""The commands behind ``:``, once: what they take, what completes them, what the help and the palette say of them.

The application's method ``do_NAME`` gets the words behind the command, and gives what is wrong, or None; without one,
the command does what the key's ``action_NAME`` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from vhostspy.nearest import nearest

from .columns import COLUMNS
from .export import FORMS


class Command(NamedTuple):
    name: str
    takes: str
    text: str
    #: words that may come first, or "file", "explain", "theme", "filter"
    choices: tuple[str, ...] | str = ()
    #: it does something without an argument: the palette offers it
    alone: bool = True


_SIGNED = tuple(f"{sign}{column.name}" for column in COLUMNS if column.name != "info" for sign in "-+")

COMMANDS = (
    Command("filter", "FILTER", "show only messages that match; without one, all", "filter"),
    Command("find", "TEXT", "the next line that has it", (), False),
    Command("goto", "NO", "the message of that number, or the first one at a time: 12, 3.5s", (), False),
    Command("mark", "", "mark the message, or take the mark away"),
    Command("comment", "TEXT", "write a comment to the message", (), False),
    Command("only", "WHAT", "fds, marked, messages, or all: what is shown beside the filter",
            ("all", "fds", "marked", "messages"), False),
    Command("fold", "", "fold messages that repeat themselves, and unfold"),
    Command("columns", "±NAME …", "columns to have or not; without one, those of the width", _SIGNED),
    Command("width", "NAME CELLS", "make a column wider or narrower",
            tuple(c.name for c in COLUMNS if c.name != "info"), False),
    Command("explain", "NAME", "a message, feature, structure, device or rule", "explain"),
    Command("session", "NUMBER", "show that session in the session pane; without one, the message's"),
    Command("rings", "", "the rings, as of the message"),
    Command("timeline", "[FILE]", "a sequence diagram of what is shown; .mmd: for Mermaid", "file"),
    Command("statistics", "", "counts, latencies, findings by rule"),
    Command("copy", "FORM [FILE]", "the message as text, json, scapy or c, into the clipboard or a file", FORMS,
            False),
    Command("write", "FILE", "the messages that are shown, as a new capture", "file", False),
    Command("wireshark", "", "open the capture in Wireshark, at this message"),
    Command("follow", "", "follow the end of a live capture"),
    Command("pause", "", "let the picture stand still, or go on"),
    Command("note", "TEXT", "have the relay write a note into the capture", (), False),
    Command("detach", "", "have the relay record no more; its traffic goes on"),
    Command("theme", "NAME", "colours: one of the themes", "theme", False),
    Command("help", "", "every key and command"),
    Command("quit", "", "leave"),
)  # fmt: skip
BY_NAME = {command.name: command for command in COMMANDS}


def find(text: str) -> tuple[Command | None, str, str]:
    """The command of a line, what is behind it, and what is wrong. A beginning that fits one command will do.

    A number alone is a message's, and ``w`` writes, as in vim.
    """
    name, _, rest = text.strip().partition(" ")
    if not name:
        return None, "", ""
    if name.isdecimal() and not rest:
        return BY_NAME["goto"], name, ""
    command = BY_NAME.get("write" if name == "w" else name)
    if command is None:
        fitting = [one for one in COMMANDS if one.name.startswith(name)]
        if len(fitting) != 1:
            which = f": {', '.join(one.name for one in fitting)}?" if fitting else nearest(name, BY_NAME)
            return None, "", f"there is no command {name!r}{which}" if not fitting else f"which one{which}"
        command = fitting[0]
    return command, rest.strip(), ""


def complete(text: str, more: Callable[[str, str], Iterable[str]]) -> list[str]:
    """Whole lines that may be meant. ``more(kind, word)`` gives the words of kinds that only the application knows."""
    name, space, rest = text.partition(" ")
    if not space:
        return [f"{one.name} " if one.takes else one.name for one in COMMANDS if one.name.startswith(name)]
    command = BY_NAME.get(name)
    if command is None:
        return []
    before, _, word = rest.rpartition(" ")
    start = f"{name} {before} " if before else f"{name} "
    if isinstance(command.choices, tuple):
        words: Iterable[str] = command.choices
    elif command.choices == "file":
        words = files(word)
    else:
        words = more(command.choices, word)
    return [f"{start}{each}" for each in words if each.casefold().startswith(word.casefold())]


def files(word: str) -> list[str]:
    """Files and folders that begin so."""
    folder, name = os.path.split(word)
    try:
        with os.scandir(folder or ".") as entries:
            found = sorted(
                (os.path.join(folder, entry.name) + ("/" if entry.is_dir() else ""))
                for entry in entries
                if entry.name.startswith(name) and (name.startswith(".") or not entry.name.startswith("."))
            )
    except OSError:
        return []
    return found[:100]
