"""The help page: every key, every command, and what the signs of the list mean. Made of the tables that do the work."""

from __future__ import annotations

from .commands import COMMANDS
from .keys import GROUPS, KEYS
from .line import BLANK, Line, line, wrapped

SIGNS = (
    ("→ ←", "who sends: the front-end (client), the back-end (server)"),
    ("↩ #12 690 µs", "this answers #12, so long after it"),
    ("… waits", "its sender still waits for an answer"),
    ("● ▲ ·", "an error, a warning, a note: a rule was broken, see the message pane"),
    ("◆", "marked"),
    ("⇅", "the other half of the message in focus"),
    ("×3", "three of the kind, folded into one line"),
    ("▌", "in the session pane: changed by the message in focus"),
)


def help_lines(width: int) -> list[Line]:
    lines: list[Line] = []
    for group in GROUPS:
        lines += [line((group, "title")), *_keys(group, width), BLANK]
    lines.append(line(("commands, after :", "title")))
    for command in COMMANDS:
        shown = f"{command.name} {command.takes}".rstrip()
        lines += wrapped(command.text, "plain", width, first=[(f"  {shown:<26}  ", "name")])
    lines += [BLANK, line(("signs", "title"))]
    for sign, text in SIGNS:
        lines += wrapped(text, "plain", width, first=[(f"  {sign:<14}  ", "name")])
    lines += [
        BLANK,
        line(("filters are those of -Y: message == SET_VRING_*, from == back-end, fds, latency > 5ms", "dim")),
    ]
    return lines


def _keys(group: str, width: int) -> list[Line]:
    lines: list[Line] = []
    for key in KEYS:
        if key.group == group and key.shown:
            lines += wrapped(key.text, "plain", width, first=[(f"  {key.shown:<14}  ", "name")])
    return lines
