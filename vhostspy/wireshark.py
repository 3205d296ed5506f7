"""Captures in Wireshark: the text of our dissector, colour rules, and pyshark with both ends known.

``docs/wireshark.md`` is about the first two, and about this::

    from vhostspy.wireshark import open_capture
    packets = open_capture("session.pcapng")
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable
from errno import errorcode
from importlib import import_module
from pathlib import Path
from typing import Any

from vhostspy.capture import record
from vhostspy.dissectors import lua
from vhostspy.dissectors.rows import Protocol
from vhostspy.session import device

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


def dissector(protocols: Iterable[Protocol] | None = None) -> str:
    """The Lua file of these protocols; None: of every one that is registered."""
    tables = {
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
        "telling": {
            "messages": device.MESSAGES,
            "config_sizes": device.CONFIG_SIZES,
            "crypto": device.CRYPTO_SESSION,
            "bits": [{"device": name, "set": _places(bits)} for name, bits, _ in device.TELLING_BITS],
            "queues": device.QUEUES,
            "unlikely": {
                name: [{"set": _places(those), "clear": _places(bits & ~those)} for bits, those in unlikely]
                for name, unlikely in device.UNLIKELY.items()
            },
        },
    }
    return lua.generate(tables, protocols)


def _places(bits: int) -> list[int]:
    """The numbers of the bits that are set."""
    return [place for place in range(bits.bit_length()) if bits >> place & 1]


#: name, filter, background and letters (16 bits a colour); the first that fits is used
_COLOURS = (
    ("vhostspy: damaged", '_ws.expert.severity >= "Error" && vhostspy', (0xA400, 0, 0), (0xFFFF, 0xFFFC, 0x9C9C)),
    ("vhostspy: refused", "vhostspy.failed", (0xFFFF, 0xC7C7, 0xC7C7), (0x6666, 0, 0)),
    (
        "vhostspy: unread, or not known",
        'vhostspy.kind == "raw" || vhostspy.expert.unknown',
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
    ("vhostspy: answer", 'vhostspy.kind in {"reply", "ack"}', (0xE7E7, 0xF5F5, 0xE7E7), (0, 0, 0)),
    ("vhostspy: with descriptors", "vhostspy.fds > 0", (0xDADA, 0xEEEE, 0xFFFF), (0, 0, 0)),
    ("vhostspy: from the back-end", "vhostspy.from == 1", (0xFCFC, 0xF3F3, 0xE1E1), (0, 0, 0)),
)


def colours() -> str:
    """Colour rules as Wireshark's own file has them."""
    lines = ["# colour rules for captures of vhostspy: View > Coloring Rules > Import"]
    for name, test, back, letters in _COLOURS:
        lines.append(f"@{name}@{test}@[{','.join(map(str, back))}][{','.join(map(str, letters))}]")
    return "\n".join(lines) + "\n"


def open_capture(path: str | os.PathLike[str], **options: Any) -> Any:
    """pyshark's FileCapture of a capture, with our dissector.

    options: those of FileCapture. The dissector is a temporary file, which is gone when the FileCapture is.

    Raises ImportError without pyshark (``pip install vhostspy[pyshark]``).
    """
    # without types, and not everybody's
    pyshark = import_module("pyshark")
    descriptor, name = tempfile.mkstemp(prefix="vhostspy-", suffix=".lua")
    with open(descriptor, "w", encoding="utf-8") as script:
        script.write(dissector())
    # no secret, and tshark may run as somebody else
    Path(name).chmod(0o644)
    given = options.pop("custom_parameters", None) or []
    more = [word for pair in given.items() for word in pair] if isinstance(given, dict) else list(given)
    try:
        parameters = ["-X", f"lua_script:{name}", *map(str, more)]
        capture = pyshark.FileCapture(os.fspath(path), custom_parameters=parameters, **options)
    except BaseException:
        os.unlink(name)
        raise
    weakref.finalize(capture, Path(name).unlink, missing_ok=True)
    return capture
