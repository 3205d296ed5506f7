"""What a capture holds: the record between an exported PDU's tags and a message's own octets.

The layout is described for other programs in ``docs/capture-format.md``. It is little-endian whatever the machine, so
that a file can be read elsewhere; the byte order of the message itself is a member.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

MAGIC = b"vspy"
VERSION = 1

#: kinds of record; a reader skips those it does not know
MESSAGE, RAW, EVENT, SAMPLE, NOTE = 1, 2, 3, 4, 5

#: protocols; 0 is not known (yet)
PROTOCOLS = ("", "vhost-user", "vhost-user-gpu", "vfio-user")
#: channel kinds; 0 belongs to no channel (events of the whole capture)
CHANNELS = ("", "main", "backend", "gpu", "second")

#: who sent it: front-end or client, back-end or server, or vhostspy itself (events)
FROM_FRONT_END, FROM_BACK_END, FROM_SPY = 0, 1, 2

# fmt: off
# flags
CHANGED = 1 << 0        # went on like this, changed by a policy; the record before it holds what came
ORIGINAL = 1 << 1       # came like this, did not go on like this
INJECTED = 1 << 2       # nobody sent it but a policy
DROPPED = 1 << 3        # came, did not go on
SNAPPED = 1 << 4        # the octets were cut to the snap length
LATE_FDS = 1 << 5       # descriptors came behind the first octet (``fds_at`` says where)
UNSURE_FDS = 1 << 6     # several messages came with these descriptors in one read; given to the last (wire rules)
INCOMPLETE = 1 << 7     # the stream ended, or stood still, in the middle of it
# fmt: on

# what changed, made or dropped the message: an index into BY, in the uppermost eight bits of the flags
BY_SHIFT = 24
BY = ("", "mask", "offer", "edit", "drop", "hold", "enforce", "replay")

#: magic, version, record kind, header length (to the message's first octet), protocol, byte order (0 little, 1 big),
#: channel kind, sender, flags, session, previous session of the same sockets, channel number, reads it came in,
#: number, wall clock ns and monotonic ns of its first octet, ns to its last octet, its whole length, this part's offset
#: in it, offset at which descriptors came, descriptor count, size of a descriptor entry
HEADER = Struct("<4sBBHBBBBIIIIIQQQQQQIHH")

#: role, kind, access, what is known, seals, device, inode, size, eventfd-id, name (UTF-8, NUL-padded; or its end)
DESCRIPTOR = Struct("<BBBBIQQQQ88s")

# fmt: off
#: octets of a descriptor's name
NAME_SIZE = 88
_U64 = (1 << 64) - 1

#: what a descriptor is for
ROLES = (
    "", "memory", "kick", "call", "err", "log", "log-event", "inflight", "socket", "userfault", "object",
    "device-state", "notifier", "dma", "irq", "region", "scanout",
)
# fmt: on
#: what a descriptor is
KINDS = ("", "memfd", "eventfd", "socket", "pipe", "userfaultfd", "file", "dma-buf", "device", "directory", "other")
ACCESS = ("", "r", "w", "rw")
# what is known
HAS_SIZE, HAS_SEALS, HAS_EVENTFD_ID, NAME_CUT = 1, 2, 4, 8

#: the longest record Wireshark takes: tags, header and octets together
MAX_PACKET = 262_144


class Descriptor(NamedTuple):
    """The kernel's facts about a descriptor that went by; None: does not apply, or could not be found out."""

    role: str = ""
    kind: str = ""
    access: str = ""
    device: int = 0
    inode: int = 0
    #: of files, in bytes
    size: int | None = None
    #: F_SEAL_* bits of a memfd
    seals: int | None = None
    eventfd_id: int | None = None
    name: str = ""


class Record(NamedTuple):
    """One entry of a capture as the reader gives it: the parts of a long message are joined.

    Times are nanoseconds; ``data`` is the message's octets (events: JSON text in UTF-8). ``length`` is how long the
    message was; ``data`` is shorter when the capture kept only a part.
    """

    kind: int
    number: int
    time_ns: int
    monotonic_ns: int
    span_ns: int
    session: int
    previous: int
    protocol: str
    channel: str
    channel_no: int
    sender: int
    flags: int
    reads: int
    byte_order: str
    length: int
    data: bytes
    fds_at: int = 0
    fds: tuple[Descriptor, ...] = ()


_FLAG_WORDS = (
    (CHANGED, "went on like this"),
    (ORIGINAL, "came like this"),
    (INJECTED, "sent by nobody"),
    (DROPPED, "did not go on"),
    (SNAPPED, "octets cut to the snap length"),
    (LATE_FDS, "descriptors came late"),
    (UNSURE_FDS, "descriptors may be of an earlier message"),
    (INCOMPLETE, "the stream ended in it"),
)


def flag_words(flags: int) -> str:
    """What is remarkable about a message, for people; empty if nothing is."""
    words = [text for bit, text in _FLAG_WORDS if flags & bit]
    by = flags >> BY_SHIFT
    if words and 0 < by < len(BY):
        words[0] += f" ({BY[by]})"
    return ", ".join(words)


def pack_descriptor(one: Descriptor) -> bytes:
    """The 128 octets of a descriptor entry; of a name that is too long its end is kept."""
    known = 0
    size = seals = number = 0
    if one.size is not None:
        known, size = known | HAS_SIZE, one.size
    if one.seals is not None:
        known, seals = known | HAS_SEALS, one.seals
    if one.eventfd_id is not None:
        known, number = known | HAS_EVENTFD_ID, one.eventfd_id
    name = one.name.encode(errors="surrogateescape")
    if len(name) > NAME_SIZE:
        known, name = known | NAME_CUT, name[-NAME_SIZE:]
    role = ROLES.index(one.role) if one.role in ROLES else 0
    kind = KINDS.index(one.kind) if one.kind in KINDS else KINDS.index("other")
    access = ACCESS.index(one.access)
    return DESCRIPTOR.pack(
        role, kind, access, known, seals & 0xFFFFFFFF, one.device, one.inode, size & _U64, number, name
    )


def unpack_descriptor(entry: bytes | memoryview) -> Descriptor:
    """A descriptor entry; what a newer writer knows and we don't is an empty role or an ``other``."""
    role, kind, access, known, seals, device, inode, size, number, name = DESCRIPTOR.unpack_from(entry)
    return Descriptor(
        ROLES[role] if role < len(ROLES) else "",
        KINDS[kind] if kind < len(KINDS) else "other",
        ACCESS[access] if access < len(ACCESS) else "",
        device,
        inode,
        size if known & HAS_SIZE else None,
        seals if known & HAS_SEALS else None,
        number if known & HAS_EVENTFD_ID else None,
        name.rstrip(b"\0").decode(errors="surrogateescape" if not known & NAME_CUT else "replace"),
    )
