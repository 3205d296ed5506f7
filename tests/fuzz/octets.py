"""What peers send and guests hold: messages, streams, and memory, each of any octets."""

from __future__ import annotations

from collections.abc import Iterator

from tests.dissectors.samples import SAMPLES
from tests.memory.guest import EVENT_IDX, IN_ORDER, PACKED, VERSION_1, Guest
from vhostspy.dissectors import codec, registry, virtio
from vhostspy.dissectors.codec import ByteOrder, Context, WireError
from vhostspy.dissectors.names import json_namer, read_piece
from vhostspy.dissectors.rows import FRONT_END
from vhostspy.dissectors.vfio_user import twin_socket
from vhostspy.memory.chain import open_chains
from vhostspy.memory.dirty_log import dirty
from vhostspy.memory.inflight import queues
from vhostspy.memory.requests import describe
from vhostspy.memory.ring import look
from vhostspy.memory.scan import scan
from vhostspy.output.rings import dirty_lines, inflight_lines, table
from vhostspy.relay.framer import LOST, Framer, detect
from vhostspy.session.state import Inflight, Log

from .source import Source

CHANNELS = [(protocol, channel) for protocol in registry.PROTOCOLS.values() for channel in protocol.channels.values()]
ROWS = [each for _, channel in CHANNELS for row in channel.messages.values() for each in (row, *row.others)]
ORDERS: tuple[ByteOrder, ...] = ("<", ">")


# -- messages ------------------------------------------------------------------------------------------------------


def _context(source: Source) -> Context:
    which = source.number()
    return Context(
        source.number(8) if which & 1 else None,
        source.number(8) if which & 2 else None,
        source.one_of([*virtio.DEVICES, "toaster"]) if which & 4 else None,
        bool(which & 8),
    )


def payload(octets: bytes) -> None:
    """Any payload of any row gives members, which give the payload; the line is one."""
    source = Source(octets)
    row, flags, context = source.one_of(ROWS), source.number(), _context(source)
    reply, order = bool(flags & 1), ORDERS[flags >> 1 & 1]
    came = source.rest()
    decoded = codec.decode(row, reply, came, context, order)
    assert codec.encode(row, reply, decoded.fields, context, order) == came
    assert decoded.names.keys() <= decoded.fields.keys()
    assert codec.info_line(row, reply, decoded).isprintable()


def payload_seeds() -> Iterator[bytes]:
    numbers = {id(row): number for number, row in enumerate(ROWS)}
    width = 1 if len(ROWS) <= 256 else 2
    for sample in SAMPLES:
        row = next((each for each in ROWS if each.name == sample.message and sample.id in (None, each.id)), None)
        if row is not None:
            head = numbers[id(row)].to_bytes(width, "little") + bytes([sample.kind == "reply", 0])
            yield head + bytes.fromhex(sample.octets)


def header(octets: bytes) -> None:
    """A header is read and written the same, or is a WireError that has the octets."""
    source = Source(octets)
    _, channel = source.one_of(CHANNELS)
    order = source.one_of(ORDERS)
    came = source.rest()
    try:
        fields = codec.decode_header(channel, came, order)
    except WireError as wrong:
        assert wrong.octets == came
        assert len(came) < channel.header.length
        return
    assert codec.encode_header(channel, fields, order) == came[: channel.header.length]


def header_seeds() -> Iterator[bytes]:
    for number in range(len(CHANNELS)):
        yield bytes([number, 0]) + bytes.fromhex("0c000000 09000000 08000000 00000000 00000000")


def configuration(octets: bytes) -> None:
    """Any piece of any device's configuration space."""
    source = Source(octets)
    layout = virtio.config_layout(source.one_of([*virtio.DEVICES]), source.number(8) if source.number() & 1 else None)
    offset, order = source.number(2), source.one_of(ORDERS)
    if layout is not None:
        read_piece(layout, source.rest(), offset, order)


def configuration_seeds() -> Iterator[bytes]:
    for number in range(len(virtio.DEVICES)):
        yield bytes([number, 0, 0, 0, 0]) + bytes(range(64))


def version_data(octets: bytes) -> None:
    """The JSON of vfio-user's VERSION: the socket that it promises, and what is shown of it."""
    assert twin_socket(bytes(4) + octets) is None or b"twin_socket" in octets or b"\\u" in octets
    found = json_namer(octets, {}, Context())
    assert found is None or isinstance(found, dict)
    row = registry.row("vfio-user", "main", FRONT_END, 1)
    assert row is not None
    decoded = codec.decode(row, True, bytes(4) + octets)
    assert codec.info_line(row, True, decoded).isprintable()


def version_seeds() -> Iterator[bytes]:
    yield b'{"capabilities": {"max_msg_fds": 8, "twin_socket": {"supported": true, "fd_index": 0}}}\0'
    yield b'{"capabilities": {"migration": {"pgsize": 4096}, "write_multiple": true}}\0{}'
    yield b"[" * 100


# -- streams -------------------------------------------------------------------------------------------------------


def stream(octets: bytes) -> None:
    """Wherever a stream is cut into reads, its messages are the same."""
    source = Source(octets)
    _, channel = source.one_of(CHANNELS)
    framer = Framer(channel)
    sizes = [source.number() + 1 for _ in range(source.number() % 8)]
    came = source.rest()
    if len(came) >= 12:
        assert detect(came[:12]) in ("", "vhost-user", "vfio-user")
    whole, following = framer.walk(came, len(came))
    assert whole == sorted(set(whole)) and all(0 < cut <= len(came) for cut in whole)
    assert following in (0, LOST) or following > len(came) - (whole[-1] if whole else 0)
    cuts: list[int] = []
    start = end = 0
    while end < len(came):
        end = min(end + (sizes.pop() if sizes else len(came)), len(came))
        found, state = framer.walk(came[start:end], end - start)
        cuts += [start + cut for cut in found]
        start = cuts[-1] if cuts else 0
        if state == LOST:
            break
        assert framer.bytes_wanted(came[start:end]) > 0
    assert cuts == whole


def stream_seeds() -> Iterator[bytes]:
    for number in range(len(CHANNELS)):
        yield bytes([number, 2, 5, 30]) + bytes.fromhex("01000000 01000000 00000000" * 3)
        yield bytes([number, 1, 5]) + bytes.fromhex("0100 0100 14000000 00000000 00000000 00000000" * 3)


# -- memory of a guest -------------------------------------------------------------------------------------------------


def rings(octets: bytes) -> None:
    """Whatever a guest has in its memory, its rings, its requests, in-flight buffer and dirty log are read."""
    source = Source(octets)
    how, size = source.number(), source.number(2)
    features = sum(bit for place, bit in enumerate((VERSION_1, EVENT_IDX, PACKED, IN_ORDER)) if how >> place & 1)
    guest = Guest(features, size, source.one_of([None, *virtio.DEVICES]))
    guest.big_endian = (None, False, True)[how >> 4 & 3] if how >> 4 & 3 < 3 else None
    places = (guest.table, guest.available, guest.used, 0x5000)
    while source:
        place, offset, count = source.one_of(places), source.number(), source.number()
        guest.put(place + offset, source.take(count))
    seen = look(guest.session, 0, guest.memory)
    assert table([seen], {}, {}, guest.device)
    for chain in open_chains(guest.ring, seen, guest.memory):
        assert describe(guest.device, 0, chain, guest.memory).isprintable()
    scan(guest.session, guest.memory)

    def file(offset: int, length: int) -> bytes:
        return octets[offset : offset + length]

    inflight_lines(queues(Inflight(1, size, how & 7, how >> 4, source.number() or size, None), bool(how & 4), file))
    dirty_lines(dirty(Log(1, size, how & 7, None), guest.regions, file))


def rings_seeds() -> Iterator[bytes]:
    # a descriptor that names a request of 16 octets in the same memory, and its index in the available ring
    one = (0x4000_5000).to_bytes(8, "little") + (16).to_bytes(4, "little") + bytes(4)
    split = bytes([0, 0, len(one)]) + one + bytes([1, 0, 6]) + bytes([0, 0, 1, 0, 0, 0]) + bytes([3, 0, 16]) + bytes(16)
    for how in (1, 3):
        for device in range(len(virtio.DEVICES) + 1):
            yield bytes([how, 8, 0, device]) + split
    packed = one[:12] + bytes([0, 0, 0x80, 0])
    yield bytes([5, 8, 0, 2, 0, 0, len(packed)]) + packed
