"""The blocks of a pcapng file that a capture is made of, and how our records lie in them.

Only shapes and numbers, for the writer and the reader. All of ours is little-endian but the tags of the exported PDU,
which are big-endian by their definition. A block is: type u32, total length u32, body, total length u32 again.
"""

from __future__ import annotations

from struct import Struct, pack
from typing import Final

from .record import HEADER, MAX_PACKET

SECTION: Final = 0x0A0D0D0A
#: the same as octets, in either byte order: a file begins with it
BEGINS: Final = b"\n\r\r\n"
INTERFACE: Final = 1
NAMES: Final = 4
PACKET: Final = 6

BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
#: the longest block that can be one: more is damage
MOST_BLOCK: Final = 1 << 28
#: Exported PDU: tags that name a dissector, then the data
LINK_TYPE: Final = 252

#: type, total length, interface, upper and lower half of the time, octets here, octets of the packet
PACKET_HEADER: Final = Struct("<IIIIIII")
OPTION: Final = Struct("<HH")

OPT_COMMENT: Final = 1
EPB_FLAGS: Final = 2
EPB_PACKETID: Final = 5
SHB_USERAPPL: Final = 4
IF_NAME: Final = 2
IF_DESCRIPTION: Final = 3
IF_TSRESOL: Final = 9

TAG_END: Final = 0
TAG_DISSECTOR: Final = 12
TAG_IPV4_SOURCE: Final = 20
TAG_IPV4_DESTINATION: Final = 21
TAG_PORT_TYPE: Final = 24
TAG_SOURCE_PORT: Final = 25
TAG_DESTINATION_PORT: Final = 26
TAG_PROTOCOL: Final = 33
TAG_DIRECTION: Final = 35
TAG_INFO: Final = 36

#: every tag a record begins with; a fixed length, so that the rest has a fixed place: ``tags()`` fills it
TAGS: Final = Struct(">HH8s HH4s HH4s HHI HHI HHI HH16s HHI HH32s HH")
#: from a record's first octet to its descriptors, or its message
HEADS: Final = PACKET_HEADER.size + TAGS.size + HEADER.size
#: of TAG_INFO
LABEL_SIZE: Final = 32

DISSECTOR: Final = b"vhostspy"
#: made-up addresses of the ends; the name-resolution block gives them names
ADDRESSES: Final = (
    (b"\x7f\x00\x00\x01", b"front-end"),
    (b"\x7f\x00\x00\x02", b"back-end"),
    (b"\x7f\x00\x00\x03", b"client"),
    (b"\x7f\x00\x00\x04", b"server"),
)
_PORT_TYPE_TCP: Final = 2

#: one interface a channel kind, all of them described before the first packet: reordercap 4.0 stops at a later one
INTERFACES: Final = ("main", "backend", "gpu", "second")
_DESCRIPTIONS: Final = {
    "main": "front-end's requests and their replies",
    "backend": "back-end's requests and their replies",
    "gpu": "display requests of a vhost-user-gpu back-end",
    "second": "twin socket of vfio-user: the server's commands",
}


def block(kind: int, body: bytes) -> bytes:
    """A whole block; ``body`` is padded to four octets."""
    body += bytes(-len(body) % 4)
    length = pack("<I", len(body) + 12)
    return pack("<I", kind) + length + body + length


def option(code: int, value: bytes) -> bytes:
    """An option, padded to four octets."""
    return OPTION.pack(code, len(value)) + value + bytes(-len(value) % 4)


END_OF_OPTIONS: Final = OPTION.pack(0, 0)


def section_header(application: str) -> bytes:
    """The block that a file begins with; the section's length is left open."""
    body = pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    return block(SECTION, body + option(SHB_USERAPPL, application.encode()) + END_OF_OPTIONS)


def interface(name: str) -> bytes:
    """The description of a channel kind; times of its packets are nanoseconds."""
    body = pack("<HHI", LINK_TYPE, 0, MAX_PACKET)
    body += option(IF_NAME, name.encode()) + option(IF_DESCRIPTION, _DESCRIPTIONS.get(name, "").encode())
    return block(INTERFACE, body + option(IF_TSRESOL, b"\x09") + END_OF_OPTIONS)


def name_resolution() -> bytes:
    """The names of the made-up addresses."""
    records = b"".join(option(1, address + name + b"\0") for address, name in ADDRESSES)
    return block(NAMES, records + END_OF_OPTIONS)


def ends_of(protocol: str) -> int:
    """Index into ADDRESSES of the protocol's first end."""
    return 2 if protocol == "vfio-user" else 0


def tags(protocol: str, label: str, sender: int, session: int, channel_no: int) -> bytes:
    """What other programs show of a record: 120 octets, whatever is in them.

    sender: 0 or 1; anything else (vhostspy itself) is shown as coming from the first end. The port of the first end is
    the session's number, that of the second end the channel's, so that both directions are one conversation.
    """
    first = ends_of(protocol)
    one, other = ADDRESSES[first][0], ADDRESSES[first + 1][0]
    here, there = session, channel_no
    if sender == 1:
        one, other, here, there = other, one, there, here
    text = label.encode()[:LABEL_SIZE]
    return TAGS.pack(
        TAG_DISSECTOR, 8, DISSECTOR,
        TAG_IPV4_SOURCE, 4, one,
        TAG_IPV4_DESTINATION, 4, other,
        TAG_PORT_TYPE, 4, _PORT_TYPE_TCP,
        TAG_SOURCE_PORT, 4, here & 0xFFFFFFFF,
        TAG_DESTINATION_PORT, 4, there & 0xFFFFFFFF,
        TAG_PROTOCOL, 16, protocol.encode()[:16] or DISSECTOR,
        TAG_DIRECTION, 4, int(sender == 1),
        TAG_INFO, LABEL_SIZE, text,
        TAG_END, 0,
    )  # fmt: skip
