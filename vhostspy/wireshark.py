"""Captures in Wireshark: the text of our dissector, and pyshark with it.

import vhostspy.wireshark

with vhostspy.wireshark.open_capture("session.pcapng") as packets:
    for packet in packets: ...
"""

from __future__ import annotations

from errno import errorcode

from vhostspy.capture import record
from vhostspy.dissectors import lua
from vhostspy.dissectors.registry import PROTOCOLS

__all__ = ["FIRST_LINE", "PROTOCOLS", "colours", "dissector"]

#: by it a file is known to be ours
FIRST_LINE = lua.FIRST_LINE

#: bit of a record's flags, its name, and what it says
_MARKS = (
    (record.CHANGED, "changed", "went on like this; the record before holds what came"),
    (record.ORIGINAL, "original", "came like this, and went on in another form"),
    (record.INJECTED, "injected", "no peer sent it"),
    (record.DROPPED, "dropped", "came, and did not go on"),
    (record.SNAPPED, "snapped", "only its first octets were kept"),
    (record.LATE_FDS, "late_fds", "descriptors came behind its first octet"),
    (record.UNSURE_FDS, "unsure_fds", "its descriptors may be an earlier message's"),
    (record.INCOMPLETE, "incomplete", "the stream ended in it"),
)


def dissector() -> str:
    """The Lua file, of every protocol that is registered."""
    return lua.generate({
        "version": record.VERSION,
        "records": ("", "message", "raw", "event", "sample", "note"),
        "protocols": record.PROTOCOLS,
        "channels": record.CHANNELS,
        "roles": record.ROLES,
        "kinds": record.KINDS,
        "access": record.ACCESS,
        "by": record.BY,
        "marks": _MARKS,
        "errors": dict(errorcode),
    })  # fmt: skip


#: name, filter, background and letters (16 bits a colour); the first that fits is used
_COLOURS = (
    ("vhostspy: damaged", '_ws.expert.severity >= "Error" && vhostspy', (0xA400, 0, 0), (0xFFFF, 0xFFFC, 0x9C9C)),
    ("vhostspy: refused", "vhostspy.failed", (0xFFFF, 0xC7C7, 0xC7C7), (0x6666, 0, 0)),
    (
        "vhostspy: unread, or not known",
        "vhostspy.kind == raw || vhostspy.expert.unknown",
        (0xFFFF, 0xD7D7, 0x8787),
        (0, 0, 0),
    ),
    (
        "vhostspy: changed on its way",
        "vhostspy.changed || vhostspy.dropped || vhostspy.injected",
        (0xE4E4, 0xD0D0, 0xFFFF),
        (0, 0, 0),
    ),
    ("vhostspy: event", "vhostspy.event", (0xEEEE, 0xEEEE, 0xEEEE), (0x5555, 0x5555, 0x5555)),
    ("vhostspy: answer", "vhostspy.kind in {reply, ack}", (0xE7E7, 0xF5F5, 0xE7E7), (0, 0, 0)),
    ("vhostspy: with descriptors", "vhostspy.fds > 0", (0xDADA, 0xEEEE, 0xFFFF), (0, 0, 0)),
    ("vhostspy: from the back-end", "vhostspy.from == 1", (0xFCFC, 0xF3F3, 0xE1E1), (0, 0, 0)),
)


def colours() -> str:
    """Colour rules as Wireshark's own file has them."""
    lines = ["# colour rules for captures of vhostspy: View > Coloring Rules > Import"]
    for name, test, back, letters in _COLOURS:
        lines.append(f"@{name}@{test}@[{','.join(map(str, back))}][{','.join(map(str, letters))}]")
    return "\n".join(lines) + "\n"
