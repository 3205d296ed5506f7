"""Records of one kind and length are the same but for two times, a number and the message's octets.

All else is made once, by ``Frame``, and cut into the pieces between what changes; a record is then one ``pack_into``.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from . import pcapng
from .facts import COMMENTED
from .frame import Frame, block_size
from .record import DESCRIPTOR, flag_words

#: width of a descriptor in the comment
COMMENT_WIDTH: Final = 40
#: of the message number, from a record's first octet: four octets of 8 follow each other
_NUMBER_AT: Final = pcapng.PACKET_HEADER.size + pcapng.TAGS.size + 32

#: size, pack_into, front, middle, rest, options, tail: what ``Lane.plain`` needs. An exact tuple: unpacked fastest.
Plain = tuple[int, Callable[..., None], bytes, bytes, bytes, bytes, bytes]


class Template(NamedTuple):
    """Records of one kind and length, all but what changes from one to the next."""

    size: int
    #: of: front, lower half of the time, middle, number, wall, monotonic, span, rest, octets, options, number, tail
    pack: Callable[..., None]
    front: bytes
    middle: bytes
    rest: bytes
    options: bytes
    tail: bytes
    #: where in the record the descriptors' comment goes
    comment_at: int
    role: str
    #: the message's label, where somebody wants to see such messages
    heeded: str


def make(
    frame: Frame,
    kind: int,
    label: str,
    role: str,
    length: int,
    kept: int,
    reads: int,
    flags: int,
    count: int,
    fds_at: int,
    low: int,
    heeded: str,
) -> Template:
    """kept: octets of the message that are recorded. count: its descriptors. low: their times' upper half, in ns."""
    words = flag_words(flags)
    width = min(count, COMMENTED) * COMMENT_WIDTH
    if words and width:
        words += "; "
    text = words + " " * width
    front = frame.front(kind, label, count, kept, length, 0, flags, reads, 1, low, 0, 0, fds_at, len(text))
    # padding, comment, direction, header of the number's option | number | end of options, length
    tail = frame.tail(kept, 1, text, block_size(front))
    options, tail = tail[:-16], tail[-8:]
    middle, rest = front[20:_NUMBER_AT], front[_NUMBER_AT + 32 :]
    entries = count * DESCRIPTOR.size
    shape = f"<16sI{len(middle)}sQQQQ{len(rest)}s{entries}x{kept}s{len(options)}sQ8s"
    comment_at = pcapng.HEADS + entries + kept + (-kept % 4) + pcapng.OPTION.size + len(words)
    pack = Struct(shape).pack_into
    return Template(block_size(front), pack, front[:16], middle, rest, options, tail, comment_at, role, heeded)


def without_span(template: Template, length: int, count: int = 0) -> Plain:
    """The template without a span, which is 0: one argument less. count: of the descriptors' entries, left blank."""
    size, _, front, middle, rest, options, tail, *_ = template
    rest = bytes(8) + rest
    entries = f"{count * DESCRIPTOR.size}x"
    pack = Struct(f"<16sI{len(middle)}sQQQ{len(rest)}s{entries}{length}s{len(options)}sQ8s").pack_into
    return size, pack, front, middle, rest, options, tail
