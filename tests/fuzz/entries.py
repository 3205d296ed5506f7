"""Each place where octets or text come in from outside, as a function that fails when something is wrong there.

What is allowed to come out is written in each: a value, ``WireError``, or the error which says that this is no such
thing. Everything else is found. ``seeds`` are examples to begin with.
"""

from __future__ import annotations

import ast
import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tests.dissectors.samples import SAMPLES
from tests.memory.guest import EVENT_IDX, IN_ORDER, PACKED, VERSION_1, Guest
from tests.wireshark.synthetic import said, write
from vhostspy.arguments import load_dissectors
from vhostspy.baseline import read_baseline
from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import EVENT, KINDS, MESSAGE, RAW, ROLES, Descriptor, Record
from vhostspy.dissectors import additions, codec, explain, registry, virtio
from vhostspy.dissectors.codec import ByteOrder, Context, WireError
from vhostspy.dissectors.names import json_namer, read_piece
from vhostspy.dissectors.rows import (
    BACK_END,
    FRONT_END,
    Array,
    Bytes,
    Chain,
    Fds,
    Field,
    IntType,
    Layout,
    Member,
    Message,
    Names,
    Padding,
    Part,
    Word,
)
from vhostspy.dissectors.vfio_user import twin_socket
from vhostspy.errors import WrongUse
from vhostspy.filter import FilterError, compile
from vhostspy.index import Index
from vhostspy.memory.chain import open_chains
from vhostspy.memory.dirty_log import dirty
from vhostspy.memory.inflight import queues
from vhostspy.memory.requests import describe
from vhostspy.memory.ring import look
from vhostspy.memory.scan import scan
from vhostspy.message import Message as Shown
from vhostspy.output.printer import Printer, Show
from vhostspy.output.rings import dirty_lines, inflight_lines, table
from vhostspy.output.text import Look
from vhostspy.pipeline import Pipeline
from vhostspy.relay.framer import LOST, Framer, detect
from vhostspy.rules.engine import Rules
from vhostspy.rules.subjects import with_rules
from vhostspy.session.state import Inflight, Log

from .source import Source

CHANNELS = [(protocol, channel) for protocol in registry.PROTOCOLS.values() for channel in protocol.channels.values()]
ROWS = [each for _, channel in CHANNELS for row in channel.messages.values() for each in (row, *row.others)]
ORDERS: tuple[ByteOrder, ...] = ("<", ">")
MS = 1_000_000


class Entry(NamedTuple):
    """A way in. ``longest``: examples of more octets show nothing new."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    longest: int


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
    assert codec.info_line(row, reply, decoded, context).isprintable()


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


# -- sessions ------------------------------------------------------------------------------------------------------

SPOKEN = {"vhost-user": ("main", "backend", "gpu"), "vfio-user": ("main", "second")}


def conversation(octets: bytes) -> list[Record]:
    """Records of one session: messages of any octets on its channels, in any order, with any descriptors."""
    source = Source(octets)
    protocol = source.one_of([*SPOKEN])
    records: list[Record] = []

    def record(kind: int, channel: str, sender: int, data: bytes, flags: int = 0, fds: int = 0) -> None:
        spoken = "vhost-user-gpu" if channel == "gpu" else protocol
        at = (len(records) + 1) * MS
        number = sum(each.kind in (MESSAGE, RAW) for each in records) + (kind != EVENT)
        some = tuple(
            Descriptor(ROLES[source.number() % len(ROLES)], KINDS[source.number() % len(KINDS)], "rw", 1, each, 4096)
            for each in range(fds)
        )
        length = len(data) + (source.number() if flags & 16 else 0)
        records.append(
            Record(
                kind, number, at, at, 0, 1, 0, spoken, channel, 1, sender, flags, 1, "<", length, data, 0, some,
            )
        )  # fmt: skip

    def event(name: str, **facts: object) -> None:
        record(EVENT, "main", 2, json.dumps({"event": name, **facts}).encode())

    if source.number() & 1:
        event("open", text="session 1 begins", front_end={"path": "a.sock"}, back_end={"path": "b.sock"})
    while source and len(records) < 40:
        how, number, flags, size = source.number(), source.number(), source.number(), source.number()
        channel, sender, fds = source.one_of(SPOKEN[protocol]), how & 1, how >> 6
        if how & 0x3E == 0x3E:
            name = ("eof", "reset", "channel", "gap", "close", "unread", "undelivered")[number % 7]
            record(
                EVENT,
                channel,
                sender,
                json.dumps({"event": name, "text": name, "after": size, "first": flags}).encode(),
            )
            continue
        body = source.take(size)
        if protocol == "vfio-user":
            head = b"".join(
                value.to_bytes(width, "little")
                for value, width in ((number >> 5, 2), (number & 31, 2), (16 + len(body), 4), (flags, 4), (0, 4))
            )
        else:
            head = b"".join(value.to_bytes(4, "little") for value in (number, flags, len(body)))
        # now and then a size that is not so
        data = (head if how & 0x30 != 0x30 else head[:8] + bytes([how]) + head[9:]) + body
        record(
            RAW if how & 0x0E == 0x0E else MESSAGE, channel, sender, data, source.number() & 0xFF if how & 2 else 0, fds
        )
    return records


def session(octets: bytes) -> None:
    """Whatever peers say, it is followed, judged, and shown in each form."""
    in_json = len(octets) & 1 == 1
    lines: list[str] = []
    pipeline = Pipeline(rules=Rules())
    printer = Printer(Show(json=in_json, look=Look(verbose=True, octets=True)), pipeline, lines.append)
    for record in conversation(octets):
        printer.items(pipeline.feed(record))
    printer.end()
    text = "".join(lines)
    if in_json:
        for line in text.splitlines():
            json.loads(line)
    else:
        assert all(line.isprintable() for line in text.split("\n"))


def session_seeds() -> Iterator[bytes]:
    # a negotiation, memory, a ring; then two channels. See ``conversation`` for what each octet says
    asked = [(1, b""), (15, b""), (3, b""), (17, b""), (36, b""), (40, b"")]
    told = [(16, b"\xff\xff\0\0\0\0\0\0"), (2, b"\0\0\0\x40\1\0\0\0"), (8, bytes(8)), (10, bytes(8)), (18, bytes(8))]
    says = b"".join(bytes([0, number, 1, len(body), 0]) + body for number, body in (*asked, *told))
    answers = b"".join(bytes([1, number, 5, 8, 0]) + b"\xff" * 8 for number, _ in asked)
    yield b"\0\1" + says
    yield b"\0\1" + says + answers
    for protocol, number in (("vhost-user", 0), ("vhost-user-gpu", 0), ("vfio-user", 1)):
        for sample in SAMPLES:
            if sample.protocol == protocol and len(sample.octets) < 500:
                body = said(sample).octets
                channel = SPOKEN["vfio-user" if number else "vhost-user"].index(sample.channel)
                size = len(bytes.fromhex(sample.octets))
                reply = (4 if not number else 1) if sample.kind == "reply" else 0
                ident = body[0] if not number else 1 << 5 | body[2]
                yield bytes([number, 1, 0, ident & 0xFF, reply | (not number), size, channel]) + body[-size:]


def capture(octets: bytes) -> None:
    """Octets as a file give records, a note, or a CaptureError; what was read can be shown."""
    pipeline = Pipeline()
    lines: list[str] = []
    printer = Printer(Show(json=True), pipeline, lines.append)
    with suppress(CaptureError), Reader(octets) as reader:
        for record in reader:
            printer.items(pipeline.feed(record))
    printer.end()
    for line in "".join(lines).splitlines():
        json.loads(line)


def capture_seeds() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        few = [sample for sample in SAMPLES if len(sample.octets) < 200][::12]
        for sample in few:
            yield write(Path(folder, "seed.pcapng"), [said(sample)]).read_bytes()
        yield write(Path(folder, "seed.pcapng"), [said(sample) for sample in few[:4]]).read_bytes()


def indexed(octets: bytes) -> None:
    """The same octets as columns: each row can be glanced at, and made whole again."""
    with Index(octets) as index:
        with suppress(CaptureError):
            while index.advance(1.0):
                pass
        for row in range(index.rows):
            glance = index.glance(row)
            assert glance.row == row
            index.item(row)
            index.sessions(row)


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


# -- what people write ---------------------------------------------------------------------------------------------


@lru_cache
def messages() -> tuple[Shown, ...]:
    """Some to be asked."""
    pipeline = Pipeline()
    seeds = [*session_seeds()]
    items = [item for seed in seeds[1::9] for record in conversation(seed) for item in pipeline.feed(record)]
    return tuple(item for item in items if isinstance(item, Shown))[:12]


def filter_text(octets: bytes) -> None:
    """A text is a filter, which every message answers; or a FilterError with its place."""
    text = octets.decode("utf-8", "replace")
    try:
        wanted = compile(text)
    except FilterError as mistake:
        assert 0 <= mistake.at <= len(text)
        assert mistake.pointing()
        return
    for message in messages():
        assert wanted(message) in (True, False)


FILTERS = (
    "vhost_user.request == 12 && vhost_user.index == 0", "message == SET_VRING_*", "from == back-end",
    "fds && !reply || pending", "finding >= warning", "latency > 5ms", "fields.index in {1 2..4}",
    "vhost_user.features & 0x40000000", 'message matches "^SET" or not (session == 2)', "fields.rest",
    "vhost_user.size >= 4kib", "fds == kick and channel contains back", "vfio_user.error",
)  # fmt: skip


def filter_seeds() -> Iterator[bytes]:
    yield from (text.encode() for text in FILTERS)


@lru_cache
def book() -> explain.Book:
    return explain.Book(with_rules(explain.every()))


def explained(octets: bytes) -> None:
    """Any words name things, or have near ones, or neither."""
    text = octets.decode("utf-8", "replace")
    found = book().find(text)
    for subject in found[:3]:
        assert explain.render(subject.article(), 80)
    # near names take a thousand times as long
    if not found and octets[-1:] in (b"e", b"0", b"_"):
        assert all(isinstance(name, str) for name in book().near(text))


def explained_seeds() -> Iterator[bytes]:
    yield from (subject.name.encode() for subject in book().subjects[::17])
    yield from (b"front-end 12", b"virtio bit 33", b"SET_VRING_*", b"net config", b"VU-RPL-02", b"12", b"memory region")


@lru_cache
def _file() -> str:
    """A file to be written anew for each example; as long as the process lives."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="vhostspy-fuzz-", dir=memory)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return os.path.join(folder, "file")


def baseline(octets: bytes) -> None:
    """A file of accepted findings is read, or refused in a sentence."""
    Path(_file()).write_bytes(octets)
    try:
        known = read_baseline(_file())
    except WrongUse as wrong:
        assert str(wrong)
        return
    assert all(len(one) == 3 for one in known)


def baseline_seeds() -> Iterator[bytes]:
    yield b'{"vhostspy-baseline": 1, "findings": [{"rule": "VU-OWN-02", "who": "front-end", "text": "twice"}]}'
    yield b'{"vhostspy-baseline": 1, "findings": {}}'
    yield b"[" * 200


_CALLS = frozenset(("add", "add_features", "Message", "Layout", "Field", "Bytes", "Padding", "Names", "Fds", "Gate"))
_HARMLESS = (
    ast.Module, ast.Expr, ast.Assign, ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Name, ast.Load, ast.Store,
    ast.Call, ast.keyword, ast.UnaryOp, ast.USub, ast.Set,
)  # fmt: skip
PREFACE = "from vhostspy.dissectors.additions import *\nfrom vhostspy.dissectors.rows import *\n"


def dissector_file(octets: bytes) -> None:
    """A file for --dissector adds rows, or is refused in a sentence. Only files that call nothing else are run."""
    try:
        parts = [*ast.walk(ast.parse(octets))]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        parts = []
    for part in parts:
        harmless = isinstance(part, _HARMLESS)
        if not harmless or isinstance(part, ast.Call) and getattr(part.func, "id", "") not in _CALLS:
            return
    # what Python itself refuses goes in as it is
    text = PREFACE.encode() + octets if parts else octets
    Path(_file()).write_bytes(text)
    with _rows_as_they_were():
        try:
            load_dissectors([_file()])
        except WrongUse as wrong:
            assert str(wrong)


def dissector_seeds() -> Iterator[bytes]:
    yield (
        b'add("vhost-user", "main", Message("SHARE", 46, FRONT_END, request=(Layout("s", (Field("index", "u32"), '
        b'Bytes("b", "index")), "x"),), reply=None, source="x", text="y."))'
    )
    yield b'add_features("vhost-user", {24: "VRING_SHARE"})'
    yield b"("
    yield b"\0"


@lru_cache
def _tables() -> list[tuple[dict[tuple[int, int], Message], dict[tuple[int, int], Message]]]:
    return [(channel.messages, dict(channel.messages)) for _, channel in CHANNELS]  # type: ignore[misc]


class _rows_as_they_were:
    """Takes back what was added meanwhile."""

    def __enter__(self) -> None:
        _tables()
        self._features = [dict(protocol.features.names) if protocol.features else {} for protocol, _ in CHANNELS]

    def __exit__(self, *_: object) -> None:
        for now, before in _tables():
            if now != before:
                now.clear()
                now.update(before)
        for (protocol, _), features in zip(CHANNELS, self._features, strict=True):
            if protocol.features is not None and len(protocol.features.names) != len(features):
                names = protocol.features.names
                assert isinstance(names, dict)
                names.clear()
                names.update(features)


def added_row(octets: bytes) -> None:
    """A row made of anything is refused with ValueError, or reads and writes any payload."""
    source = Source(octets)
    protocol, channel = source.one_of(CHANNELS)
    kinds: tuple[IntType, ...] = ("u8", "u16", "u32", "u64", "i32", "i64")

    def name() -> str:
        return ("a", "b", "c", "count", "data", "size", "flags", "rest", "index", "Ab", "")[source.number() % 11]

    def member(depth: int) -> Member:
        how, called = source.number(), name()
        if how % 7 == 0:
            return Bytes(called, (None, source.number() % 40, name())[how // 7 % 3])
        if how % 7 == 1:
            of: Layout | IntType = layout(depth + 1) if depth < 2 else kinds[how % 6]
            return Array(called, of, (None, source.number() % 10, name())[how // 7 % 3])
        if how % 7 == 2:
            width = source.number() % 40
            parts = (Part(called, source.number() % 40, width, flag=bool(how & 64)), Part(name(), 3, 2))
            return Word(kinds[how // 7 % 6], parts)
        if how % 7 == 3:
            return Padding(source.number() % 9, called or "padding")
        if how % 7 == 4 and depth < 2:
            return Chain(called, (layout(depth + 1), layout(depth + 1)), name(), name())
        names = Names(("bits", "values")[how & 1], {source.number(): "X"}) if how & 64 else None
        return Field(called, kinds[how // 7 % 6], "", names, ("", "hex", "size", "result", "fourcc")[how % 5])

    def layout(depth: int = 0) -> Layout:
        when = (name(), (source.number(), 1)) if source.number() % 5 == 0 else None
        members = tuple(member(depth) for _ in range(source.number() % 5))
        return Layout("made", members, "fuzz", when=when, little_endian=bool(source.number() & 1))

    how = source.number()
    row = Message(
        "MADE" if how else "made", source.number(2), source.one_of((FRONT_END, BACK_END)),
        request=tuple(layout() for _ in range(how % 3)), reply=(layout(),) if how & 8 else None,
        answer=("ack", "reply", "never")[how % 3], source="fuzz", text="Made.",
        info="{a} {b:hex}|{count*thing}|", request_fds=Fds("memory", 0, 1),
    )  # fmt: skip
    with _rows_as_they_were():
        try:
            additions.add(protocol.name, channel.name, row)
        except ValueError:
            return
        for reply in (False, True):
            came = source.take(source.number())
            decoded = codec.decode(row, reply, came)
            again = codec.encode(row, reply, decoded.fields)
            # of several forms, some may have the same members: an empty one, and one of padding
            assert again == came or len(row.reply or () if reply else row.request) > 1
            assert codec.info_line(row, reply, decoded).isprintable()


def added_seeds() -> Iterator[bytes]:
    yield bytes([0, 1, 46, 0, 0, 1, 2, 5, 0, 70, 1, 1, 5, 9]) + bytes(40)
    yield bytes(range(1, 120))


# -- scapy ---------------------------------------------------------------------------------------------------------


def scapy_message(octets: bytes) -> None:
    """Any octets are a packet of a channel; written anew it is the same octets, and it can be shown."""
    from vhostspy.dissectors import scapy_layers

    source = Source(octets)
    protocol, channel = source.one_of(CHANNELS)
    came = source.rest()
    if len(came) < channel.header.length:
        return  # scapy makes a packet of nothing, and says struct.error of half a header
    packet = scapy_layers.HEADERS[protocol.name, channel.name](came)
    packet.clear_cache()
    assert bytes(packet) == came
    assert packet.summary() and packet.hashret() is not None
    assert packet.answers(packet) in (0, 1)


def scapy_seeds() -> Iterator[bytes]:
    numbers: dict[tuple[str, str], int] = {
        (protocol.name, channel.name): at for at, (protocol, channel) in enumerate(CHANNELS)
    }
    for sample in SAMPLES:
        if sample.byte_order == "<":
            yield bytes([numbers[sample.protocol, sample.channel]]) + said(sample).octets


def scapy_record(octets: bytes) -> None:
    """The same of a packet of our captures."""
    from vhostspy.dissectors import scapy_layers

    if not octets:
        return  # what scapy makes of nothing has the usual tags
    packet = scapy_layers.ExportedPdu(octets)
    packet.clear_cache()
    assert bytes(packet) == octets
    assert packet.summary()


def scapy_record_seeds() -> Iterator[bytes]:
    from scapy.utils import rdpcap

    with tempfile.TemporaryDirectory() as folder:
        few = [sample for sample in SAMPLES if len(sample.octets) < 400][::9]
        path = write(Path(folder, "seed.pcapng"), [said(sample) for sample in few])
        yield from (bytes(packet) for packet in rdpcap(str(path)))


ENTRIES = (
    Entry("payload", payload, payload_seeds, 2200),
    Entry("header", header, header_seeds, 40),
    Entry("configuration", configuration, configuration_seeds, 200),
    Entry("version_data", version_data, version_seeds, 300),
    Entry("stream", stream, stream_seeds, 400),
    Entry("session", session, session_seeds, 600),
    Entry("capture", capture, capture_seeds, 6000),
    Entry("index", indexed, capture_seeds, 6000),
    Entry("rings", rings, rings_seeds, 400),
    Entry("filter", filter_text, filter_seeds, 120),
    Entry("explain", explained, explained_seeds, 60),
    Entry("baseline", baseline, baseline_seeds, 300),
    Entry("dissector_file", dissector_file, dissector_seeds, 400),
    Entry("added_row", added_row, added_seeds, 300),
    Entry("scapy_message", scapy_message, scapy_seeds, 300),
    Entry("scapy_record", scapy_record, scapy_record_seeds, 800),
)
