"""What leaves the screen: a message as text, JSON, scapy or C; messages as a new capture; a capture in Wireshark."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from shutil import which
from subprocess import DEVNULL, Popen
from typing import Literal

from vhostspy.capture.pcapng import BEGINS, MOST_BLOCK, PACKET
from vhostspy.errors import WrongUse
from vhostspy.message import Event, Message, end_name
from vhostspy.output.json import Json
from vhostspy.output.text import Look, Text, descriptor, title
from vhostspy.output.units import escape

FORMS = ("text", "json", "scapy", "c")


def as_text(item: Message | Event) -> str:
    text = Text(Look(verbose=True))
    if isinstance(item, Event):
        return text.event(item)
    return text.message(item)


def as_json(item: Message | Event) -> str:
    json = Json(octets=True)
    return json.event(item) if isinstance(item, Event) else json.message(item)


def as_scapy(message: Message) -> str:
    """The message as our scapy layers write it. Raises WrongUse where there is none, or no scapy."""
    try:
        from vhostspy.dissectors import scapy_layers
    except ImportError:
        raise WrongUse("scapy is not installed here; pip install scapy installs it") from None
    layer = scapy_layers.HEADERS.get((message.protocol, message.channel))
    if layer is None or message.kind == "raw":
        raise WrongUse("octets that could not be framed have no layer")
    return f"{layer(message.data).command()}\n"


def as_c(message: Message) -> str:
    """The octets as an array, with a line that says what they are."""
    receiver = end_name(message.protocol, 1 - message.sender) if message.sender < 2 else "a peer"
    about = (
        f"#{message.no} {escape(title(message))}, {end_name(message.protocol, min(message.sender, 2))} to {receiver}"
    )
    if message.info:
        about += f": {escape(message.info)}"
    lines = [f"/* {_comment(about)} */"]
    lines += [f"/* with a descriptor: {_comment(descriptor(fd))} */" for fd in message.fds]
    lines.append(f"static const unsigned char message_{message.no}[{len(message.data)}] = {{")
    for at in range(0, len(message.data), 12):
        lines.append("    " + " ".join(f"0x{octet:02x}," for octet in message.data[at : at + 12]))
    return "\n".join([*lines, "};", ""])


def _comment(text: str) -> str:
    return text.replace("*/", "* /")


def copied(item: Message | Event, form: str) -> str:
    """Raises WrongUse for what cannot be written in that form."""
    if form == "text":
        return as_text(item)
    if form == "json":
        return as_json(item)
    if isinstance(item, Event):
        raise WrongUse(f"an event is not written as {form}; text and json are")
    return as_scapy(item) if form == "scapy" else as_c(item)


# -- captures


def write_capture(source: str | int, target: str, wanted: Iterable[int]) -> int:
    """Copy the records at these file offsets, as they are, into a new capture; gives how many. What is no record of
    ours (the file's heads) is copied too.

    Raises OSError; WrongUse if the target exists, for it may be the capture itself.
    """
    offsets = set(wanted)
    fd = source if isinstance(source, int) else os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    count = 0
    try:
        try:
            out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise WrongUse(f"{target} is there already; choose another name") from None
        with os.fdopen(out, "wb") as file:
            for offset, kind, total in blocks(fd):
                if kind == PACKET and offset not in offsets:
                    continue
                count += kind == PACKET
                file.write(os.pread(fd, total, offset))
    finally:
        if not isinstance(source, int):
            os.close(fd)
    return count


def blocks(fd: int) -> Iterator[tuple[int, int, int]]:
    """Offset, type and length of each block of a pcapng file, up to its end or its first damage."""
    at, window, start = 0, b"", 0
    order: Literal["little", "big"] = "little"
    while True:
        place = at - start
        if place + 12 > len(window):
            start, window, place = at, os.pread(fd, 1 << 20, at), 0
            if len(window) < 12:
                return
        if window[place : place + 4] == BEGINS:
            order = "little" if window[place + 8] == 0x4D else "big"
        kind = int.from_bytes(window[place : place + 4], order)
        total = int.from_bytes(window[place + 4 : place + 8], order)
        if total < 12 or total & 3 or total > MOST_BLOCK:
            return
        yield at, kind, total
        at += total


def frame_number(fd: int, offset: int) -> int:
    """The number that Wireshark gives the packet at that offset."""
    number = 0
    for at, kind, _ in blocks(fd):
        number += kind == PACKET
        if at >= offset:
            break
    return number


def wireshark(path: str, offset: int) -> Sequence[str]:
    """Open a capture in Wireshark, at the packet there. Raises WrongUse where that cannot be."""
    program = which("wireshark")
    if program is None:
        raise WrongUse("wireshark is not installed here, or not on the search path")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise WrongUse("Wireshark needs a window system, and this terminal has none (DISPLAY is not set)")
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        number = frame_number(fd, offset)
    finally:
        os.close(fd)
    command = [program, "-r", path, "-g", str(number)]
    Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True)
    return command
