"""The vocabulary a protocol is written in: members, layouts, messages, channels.

Nothing here knows a protocol. ``vhost_user.py`` and its neighbours are tables made of these rows, and framing, decoder,
encoder, help texts and the dissectors for other programs are derived from them. All are named tuples: cheap to import
(the relay reads them at start), immutable, and seen by editors and type checkers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

#: An end of a session. The front-end (vfio-user: the client) is 0, the back-end (server) is 1.
FRONT_END = 0
BACK_END = 1

IntType = Literal["u8", "u16", "u32", "u64", "i32", "i64"]


class Names(NamedTuple):
    """What the values of an integer are called."""

    kind: Literal["bits", "values"]
    #: bit number or value -> name, without the common prefix
    names: Mapping[int, str]
    #: the bits that ``names`` leaves out belong to the type of device, if that is known
    device: bool = False
    #: what some of them mean, in a sentence; by the same keys
    texts: Mapping[int, str] = {}
    #: what some were called before, or are elsewhere; by the same keys
    older: Mapping[int, tuple[str, ...]] = {}

    def bits(self, value: int) -> list[str]:
        """The bits that are set, by name; those without one by number."""
        return [self.names.get(bit) or f"bit {bit}" for bit in range(value.bit_length()) if value >> bit & 1]


class Gate(NamedTuple):
    """A feature bit that must have been agreed on."""

    word: Literal["virtio", "protocol"]
    bit: int
    name: str
    #: it is enough that the back-end offered it
    offered: bool = False
    #: bits that drafts and early releases had for it
    drafts: tuple[int, ...] = ()

    def agreed(self, word: int) -> bool:
        """Whether the bit, or one that drafts had for it, is among those that were agreed on."""
        return any(word >> bit & 1 for bit in (self.bit, *self.drafts))


class Field(NamedTuple):
    """One integer."""

    name: str
    type: IntType
    text: str = ""
    names: Names | None = None
    #: how text output writes it: "" decimal, "hex", "size" (bytes, with a unit), "result" (0 is ok), "fourcc"
    show: str = ""


class Part(NamedTuple):
    """Some bits of a word; one bit wide and ``flag``: shown as true or false."""

    name: str
    low: int
    width: int
    text: str = ""
    flag: bool = False
    names: Names | None = None


class Word(NamedTuple):
    """An integer whose bits are members of their own. Bits that no part covers appear as ``reserved`` when set."""

    type: IntType
    parts: tuple[Part, ...]
    text: str = ""


class Bytes(NamedTuple):
    """Octets; ``size`` is a number, the name of an earlier member that holds it, or None for all that is left."""

    name: str
    size: int | str | None
    text: str = ""
    #: "" hex, "uuid", "mac", "text" (NUL-padded), "json" (such text), "secret" (never written out by people's views),
    #: "config" (the device's config space, or the piece of it that starts at an earlier member called ``offset``),
    #: "x8r8g8b8" and "a8r8g8b8" (pixels of 32 bits)
    show: str = ""


class Padding(NamedTuple):
    """Octets without a meaning; they appear in a decoded message only when they are not zero."""

    size: int
    name: str = "padding"


class Array(NamedTuple):
    """Repetitions of a layout or of an integer; ``times`` as in ``Bytes.size``."""

    name: str
    of: Layout | IntType
    times: int | str | None
    text: str = ""


class Chain(NamedTuple):
    """Structures that lead to each other, as capabilities do.

    ``first`` is the earlier member that holds the offset of the first one, from the payload's beginning; ``next`` the
    member of each that holds its successor's (0: none follows). Each ends where the next begins. They are read as long
    as they follow each other in the payload; ``of`` are the alternatives, the last of which takes whatever comes.
    """

    name: str
    of: tuple[Layout, ...]
    first: str
    next: str
    text: str = ""


Member = Field | Word | Bytes | Padding | Array | Chain


class Layout(NamedTuple):
    """A structure on the wire: its members in order, without holes (padding is a member)."""

    name: str
    members: tuple[Member, ...]
    source: str
    text: str = ""
    #: chosen only when these have been agreed on (Xen regions, packed ring bases)
    needs: tuple[Gate, ...] = ()
    #: chosen only when this member of it has one of these values
    when: tuple[str, tuple[int, ...]] | None = None
    #: chosen only after the back-end was told to listen for page faults (postcopy migration)
    postcopy: bool = False
    #: its integers are little-endian whatever the hosts are, as virtio's are
    little_endian: bool = False


def nested(member: Member) -> tuple[Layout, ...]:
    """The structures that a member repeats; of a chain, its alternatives. Most members have none."""
    if isinstance(member, Chain):
        return member.of
    return (member.of,) if isinstance(member, Array) and isinstance(member.of, Layout) else ()


def with_nested(layout: Layout) -> Iterator[Layout]:
    """A layout and all the structures in it, each before those that are in it in turn."""
    yield layout
    for member in layout.members:
        for each in nested(member):
            yield from with_nested(each)


def member_names(layout: Layout) -> list[str]:
    """What a decoded message calls the members, in order: a word is there by its parts, nested structures are not."""
    names: list[str] = []
    for member in layout.members:
        names += [part.name for part in member.parts] if isinstance(member, Word) else [member.name]
    return names


#: An empty payload, where others are possible.
EMPTY = Layout("empty", (), "")

#: What answers a message that has no reply of its own, when its sender asks for one.
ACK = Layout(
    "acknowledgement",
    (Field("value", "u64", "0 is success", show="result"),),
    "vhost-user, Protocol features, VHOST_USER_PROTOCOL_F_REPLY_ACK",
)


class Fds(NamedTuple):
    """Descriptors that a message carries.

    ``role`` says what they are for: memory, kick, call, err, log, log-event, inflight, socket, userfault, object,
    device-state, notifier; scanout; dma, irq, region. With ``each`` (a member's name) there is one for each; with
    ``unless`` (a flag's name) none when it is set. ``channel`` names the nested channel that a socket becomes.
    ``release`` names the messages after which whoever kept a copy has no further use for it.
    """

    role: str
    least: int
    most: int
    each: str = ""
    unless: str = ""
    channel: str = ""
    release: tuple[str, ...] = ()
    #: passing them needs this feature (SET_LOG_BASE: LOG_SHMFD)
    needs: Gate | None = None
    #: of a payload: which of them is the channel's socket, None if none is; without it the first one is
    which: Callable[[bytes], int | None] | None = None


NO_FDS = Fds("", 0, 0)


#: When a request is answered. "reply": always. "ack": when it asks for that, and acknowledgements were agreed on.
#: "asked": whenever it asks. "with-fds": as "ack", and always once what its descriptors need was agreed on. "postcopy":
#: as "ack", and always while the back-end listens for page faults, but for the acknowledgement (8 bytes) at its end.
Answer = Literal["reply", "ack", "never", "asked", "with-fds", "postcopy"]


class Message(NamedTuple):
    """One message: the only place that knows its number, sender, members, descriptors, answer and source.

    ``request`` and ``reply`` are alternatives: the first layout whose features are agreed on and whose size fits is
    the one; ``()`` is an empty payload. ``reply`` None: no body of its own, only an acknowledgement where the
    protocol has one.
    """

    name: str
    id: int
    sender: int
    request: tuple[Layout, ...]
    reply: tuple[Layout, ...] | None
    source: str
    text: str
    needs: tuple[Gate, ...] = ()
    #: when its sender waits for an answer, see ``Answer``
    answer: Answer = "ack"
    request_fds: Fds = NO_FDS
    reply_fds: Fds = NO_FDS
    #: the line of the list, with the members' names in braces: "ring {index}, {num} entries"
    info: str = ""
    reply_info: str = ""
    older: tuple[str, ...] = ()
    notes: str = ""
    #: what else had this number, in drafts and among vendors: meant when the payload's size fits it, and not this row
    others: tuple[Message, ...] = ()
    #: names of what had this number too, and cannot be told from it: nothing in the octets differs
    also: tuple[str, ...] = ()


class Header(NamedTuple):
    """How messages of a channel are told apart; offsets and sizes in bytes, native byte order."""

    layout: Layout
    length: int
    id_at: int
    id_type: IntType
    size_at: int
    #: the size member counts the header as well (vfio-user)
    counts_header: bool
    flags_at: int
    #: the flag bits that make a message a reply, and the value they then have
    reply_mask: int
    reply_value: int
    #: the flag bit by which a request asks for an answer, 0: there is none; and the one by which it wants none
    need_reply_mask: int
    no_reply_mask: int = 0
    #: the flag bit of a reply that says no, and where its error number (u32) then is; such a reply has no payload
    error_mask: int = 0
    error_at: int = 0
    #: where the number (u16) is that a reply has in common with its request; None: replies come in order
    msgid_at: int | None = None
    #: the flags of a request without any (vhost-user: its version)
    plain_flags: int = 0


class Channel(NamedTuple):
    """One kind of socket of a session."""

    name: Literal["main", "backend", "gpu", "second"]
    header: Header
    #: the longest message that is taken for one, in bytes with its header; beyond it framing is given up
    limit: int
    #: (who sends the request, id) -> row
    messages: Mapping[tuple[int, int], Message]


class Protocol(NamedTuple):
    name: str
    #: names of end 0 and end 1
    ends: tuple[str, str]
    channels: Mapping[str, Channel]
    #: the protocol's own feature bits, and where negotiated
    features: Names | None
    source: str
