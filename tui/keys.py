"""Every key of the screen, once: the bindings, the line at the bottom and the help are made of this table."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    #: as Textual calls them, with commas
    keys: str
    #: as people read it
    shown: str
    #: what of the application it calls; "" where a part of the screen has it
    action: str
    text: str
    group: str
    #: a word for the bottom line; "" keeps it out of there
    label: str = ""
    #: it is in the bottom line however narrow the screen is
    always: bool = False


KEYS = (
    Key("", "j k ↓ ↑", "", "one line down, up", "moving"),
    Key("", "space ^F ^B", "", "a page down, down, up (also PageDown, PageUp)", "moving"),
    Key("", "^D ^U", "", "half a page down, up", "moving"),
    Key("", "g G", "", "first, last line (also Home, End); the last one of a live list follows it", "moving"),
    Key("", "5j 50G", "", "a number before a movement: five lines down; to message 50", "moving"),
    Key("tab", "Tab", "next_pane", "the next part of the screen (Shift+Tab: the one before)", "moving"),
    Key("shift+tab", "", "next_pane(-1)", "", "moving"),
    Key("z", "z", "zoom", "the part in focus alone, and all of them again", "moving"),
    Key("percent_sign", "%", "other", "from a request to its answer, and back", "moving"),
    Key("backspace,ctrl+o", "⌫", "return", "back to where the last jump began", "moving"),
    Key(
        "",
        "Enter",
        "",
        "from the list into the message; in a part: open, close, or follow a #number",
        "moving",
    ),
    Key("", "h l ← →", "", "in the message: close, open; in the list: a narrower or wider column of names", "moving"),
    Key("f", "f", "filter", "show only messages that match", "choosing", "filter"),
    Key("slash", "/", "find", "find a text in the lines", "choosing", "find"),
    Key("n", "n N", "find_next(1)", "the next, the previous place of that text", "choosing"),
    Key("N", "", "find_next(-1)", "", "choosing"),
    Key("d", "d", "only_fds", "only messages that carry descriptors", "choosing"),
    Key("v", "v", "events", "without events, and with them", "choosing"),
    Key("o", "o", "fold", "fold messages that repeat themselves into one line", "choosing"),
    Key("exclamation_mark", "! @", "finding(1)", "the next, the previous finding", "choosing", "next finding"),
    Key("at,@", "", "finding(-1)", "", "choosing"),
    Key("m", "m", "mark", "mark a message, or take the mark away", "choosing", "mark"),
    Key("apostrophe", "' \"", "mark_next(1)", "the next, the previous mark", "choosing"),
    Key("quotation_mark", "", "mark_next(-1)", "", "choosing"),
    Key("M", "M", "only_marked", "only marked messages", "choosing"),
    Key("c", "c", "comment", "write a comment to a message", "choosing"),
    Key("escape", "Esc", "escape", "stop a search; leave a part; show all again", "choosing"),
    Key("e", "e", "explain", "what the specification says about it", "looking", "explain"),
    Key("r", "r", "rings", "the rings, as of the message in focus", "looking", "rings"),
    Key("t", "t", "timeline", "the session as a sequence diagram, around the message", "looking", "timeline"),
    Key("s", "s", "statistics", "counts, latencies, findings by rule", "looking", "statistics"),
    Key("F", "F", "follow", "follow the end of a live capture", "live", "follow"),
    Key("p", "p", "pause", "let the picture stand still; the traffic goes on", "live", "pause"),
    Key("x", "x", "export", "write the messages that are shown to a new capture", "giving away", "export"),
    Key("y", "y", "copy", "copy the message: text, JSON, scapy or C", "giving away"),
    Key("w", "w", "wireshark", "open the capture in Wireshark, at this message", "giving away"),
    Key("colon", ":", "command", "a command; Tab completes it", "the screen", "command"),
    Key("question_mark", "?", "help", "this list", "the screen", "help", True),
    Key("plus", "+ -", "grow(1)", "a larger, a smaller list", "the screen"),
    Key("minus", "", "grow(-1)", "", "the screen"),
    Key("T", "T", "theme", "the next theme", "the screen"),
    Key("q", "q", "quit_or_back", "back; from the list: quit", "the screen", "quit", True),
)
GROUPS = ("moving", "choosing", "looking", "live", "giving away", "the screen")
