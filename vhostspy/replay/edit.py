"""The user's hook: one function that sees each message before it is sent, and may send something else in its place.

A file of Python, given by ``--edit``, has a function ``edit(message)``. It is called with each message of the side that
is played, a ``vhostspy.message.Message`` as it was recorded, and gives what is to be sent:

- None: as it was recorded;
- a mapping: these members are changed, the others and the header stay as they are but for the size;
- octets, or anything that ``bytes`` makes octets of, such as a packet of scapy's layers: the whole message;
- False: nothing, it is left out;
- a list of these: one behind the other, each with the recorded descriptors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from vhostspy.dissectors import codec, registry
from vhostspy.errors import WrongUse
from vhostspy.message import Message

Hook = Callable[[Message], object]


def load(path: str | os.PathLike[str]) -> Hook:
    """The function ``edit`` of a file of Python. Raises WrongUse where there is none, or the file fails."""
    from runpy import run_path

    name = os.fspath(path)
    try:
        found = run_path(name, run_name="edit").get("edit")
    except OSError as error:
        raise WrongUse(f"{name}: {error.strerror}") from None
    except SyntaxError as wrong:
        raise WrongUse(f"{wrong.filename or name}, line {wrong.lineno}: {wrong.msg}") from None
    except (Exception, SystemExit) as wrong:  # somebody else's code
        raise WrongUse(f"{name}: {type(wrong).__name__}: {wrong}") from wrong
    if not callable(found):
        raise WrongUse(f"{name}: has no function edit(message)")
    hook: Hook = found
    return hook


def edited(hook: Hook | None, message: Message) -> list[bytes]:
    """What is to be sent for a recorded message: nothing, itself, or something else. Raises WrongUse for odd values."""
    if hook is None:
        return [_whole(message)]
    try:
        answer = hook(message)
        if isinstance(answer, list):
            return [data for one in answer for data in _octets(message, one)]
        return _octets(message, answer)
    except WrongUse:
        raise
    except (Exception, SystemExit) as wrong:  # somebody else's code
        raise WrongUse(f"--edit: {message.name} #{message.no}: {type(wrong).__name__}: {wrong}") from wrong


def _octets(message: Message, answer: Any) -> list[bytes]:
    if answer is None or answer is message:
        return [_whole(message)]
    if answer is False:
        return []
    if isinstance(answer, Message):
        return [answer.data]
    if isinstance(answer, Mapping):
        return [with_members(message, answer)]
    if isinstance(answer, (str, int, float)):
        raise WrongUse(f"--edit: {message.name} #{message.no}: {answer!r} is no message")
    return [bytes(answer)]


def with_members(message: Message, changes: Mapping[str, object]) -> bytes:
    """The message's octets with some of its members changed. Raises ValueError for members that it does not have."""
    row, channel = message.row, registry.channel(message.protocol, message.channel)
    if row is None or channel is None or message.kind == "raw":
        raise ValueError("what no row explains has no members; give its octets")
    header = channel.header
    fields = {**message.fields, **changes}
    unknown = [name for name in changes if name not in message.fields]
    if unknown:
        raise ValueError(f"there is no member {unknown[0]!r}; there are {', '.join(message.fields) or 'none'}")
    payload = codec.encode(row, message.is_reply, fields, message.context, message.byte_order)
    octets = bytearray(message.data[: header.length])
    size = len(payload) + (header.length if header.counts_header else 0)
    octets[header.size_at : header.size_at + 4] = size.to_bytes(4, "little" if message.byte_order == "<" else "big")
    return bytes(octets) + payload


def _whole(message: Message) -> bytes:
    """The octets; those that the capture did not keep are zeros."""
    missing = message.length - len(message.data)
    return message.data + bytes(missing) if missing > 0 and message.snapped else message.data
