"""The rows as a table: whole, without contradictions, usable by everything that is derived from them."""

from __future__ import annotations

import json
import keyword
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import pytest

from vhostspy.capture.record import ROLES
from vhostspy.dissectors import (
    codec,
    lua,
    registry,
    scapy_layers,
    spelling,
    vfio_user,
    vhost_user,
    vhost_user_gpu,
    virtio,
)
from vhostspy.dissectors.explain import Book, every, render
from vhostspy.dissectors.lua_fields import bit_name
from vhostspy.dissectors.plan import plan
from vhostspy.dissectors.rows import (
    ACK,
    BACK_END,
    EMPTY,
    FRONT_END,
    Array,
    Bytes,
    Chain,
    Channel,
    Fds,
    Field,
    Layout,
    Message,
    Names,
    Padding,
    Protocol,
    Word,
)
from vhostspy.dissectors.scapy_layers.payloads import field_name

WIDTHS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i32": 32, "i64": 64}

ROWS = [
    pytest.param(protocol, channel, row, id=f"{protocol.name} {channel.name} {row.name}")
    for protocol in registry.PROTOCOLS.values()
    for channel in protocol.channels.values()
    for row in channel.messages.values()
]
each_row = pytest.mark.parametrize(("protocol", "channel", "row"), ROWS)


def layouts(row: Message) -> Iterator[Layout]:
    yield from row.request
    yield from row.reply or ()


def with_nested(layout: Layout) -> Iterator[Layout]:
    yield layout
    for member in layout.members:
        if isinstance(member, Array) and isinstance(member.of, Layout):
            yield from with_nested(member.of)
        elif isinstance(member, Chain):
            for each in member.of:
                yield from with_nested(each)


def every_layout() -> Iterator[Layout]:
    for protocol in registry.PROTOCOLS.values():
        for channel in protocol.channels.values():
            yield channel.header.layout
            for row in channel.messages.values():
                for layout in layouts(row):
                    yield from with_nested(layout)
    for device in virtio.DEVICES.values():
        yield from device.config


def member_names(layout: Layout) -> list[str]:
    names: list[str] = []
    for member in layout.members:
        names += [part.name for part in member.parts] if isinstance(member, Word) else [member.name]
        names += ["reserved"] if isinstance(member, Word) else []
    return names


# ---------------------------------------------------------------------------------------------------------------------
# Every row in every output


def in_registry(protocol: Protocol, channel: Channel, row: Message) -> None:
    assert registry.row(protocol.name, channel.name, row.sender, row.id) is row
    assert registry.channel(protocol.name, channel.name) is channel


def in_decoder(protocol: Protocol, channel: Channel, row: Message) -> None:
    for reply in (False, True):
        decoded = codec.decode(row, reply, bytes(64))
        assert decoded.layout is not None
        assert codec.encode(row, reply, decoded.fields) == bytes(64)


def in_info_line(protocol: Protocol, channel: Channel, row: Message) -> None:
    """A template names members that at least one of the layouts has: it says something of each."""
    for reply, text, alternatives in ((False, row.info, row.request), (True, row.reply_info, row.reply or ())):
        if text:
            for layout in alternatives:
                size = plan(layout, "<").least
                decoded = codec.decode(row, reply, bytes(size))
                assert codec.info_line(row, reply, decoded), f"{layout.name}: no template of {text!r} fits"


@lru_cache
def lua_table(protocol: str) -> Mapping[str, Any]:
    return lua.table(registry.PROTOCOLS[protocol])


def in_lua(protocol: Protocol, channel: Channel, row: Message) -> None:
    """Wireshark's dissector has the message by its number, and a field for each of its members and named bits."""
    table = lua_table(protocol.name)
    found = table["channels"][channel.name]["messages"][row.sender][row.id]
    assert [found["name"], *(each["name"] for each in found["others"] or ())] == [
        row.name, *(other.name for other in row.others)
    ]  # fmt: skip
    fields = {name for name, *_ in table["fields"]}
    for layout in (each for one in (row, *row.others) for each in layouts(one)):
        for each in with_nested(layout):
            assert set(member_names(each)) <= fields
            named = [
                part for member in each.members for part in (member.parts if isinstance(member, Word) else [member])
            ]
            for one in named:
                names: Names | None = getattr(one, "names", None)
                if names is not None and names.kind == "bits":
                    assert {f"{one.name}.{bit_name(name)}" for name in names.names.values()} <= fields


def in_explain(protocol: Protocol, channel: Channel, row: Message) -> None:
    """Found by its names and its number, with each of its members in the text and in the table for programs."""
    names = (row.name, *row.older, f"{protocol.name} {row.id}", spelling.full_name(protocol, channel, row))
    for name in names:
        values = [subject.value() for subject in book().find(name)]
        assert any((one["kind"], one["name"], one.get("id")) == ("message", row.name, row.id) for one in values)
    (subject,) = book().find(names[-1])
    text = "\n".join(render(subject.article(), 100))
    value = json.dumps(subject.value())
    assert row.source in value
    for layout in layouts(row):
        for member in member_names(layout):
            if member != "reserved":
                assert f" {member}" in text or f"({member})" in text
                assert f'"name": "{member}"' in value


@lru_cache
def book() -> Book:
    return Book(every())


def in_scapy(protocol: Protocol, channel: Channel, row: Message) -> None:
    """A layer for each form of it, with a field for each member."""
    header = scapy_layers.HEADERS[protocol.name, channel.name]
    for reply, forms in ((False, row.request or (EMPTY,)), (True, row.reply or ())):
        for layout in forms:
            made = header.payload_classes[id(row), reply, id(layout)]
            fields = {field.name for field in made.fields_desc}
            assert {field_name(name) for name in member_names(layout)} - fields <= {"reserved"}
            assert isinstance((header() / made()).payload, made)


#: One function an output; a new output is a new line here.
OUTPUTS: list[Callable[[Protocol, Channel, Message], None]] = [
    in_registry, in_decoder, in_info_line, in_explain, in_scapy, in_lua,
]  # fmt: skip


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.__name__)
@each_row
def test_row_is_in_output(
    output: Callable[[Protocol, Channel, Message], None], protocol: Protocol, channel: Channel, row: Message
) -> None:
    output(protocol, channel, row)


# ---------------------------------------------------------------------------------------------------------------------
# Each row by itself


@each_row
def test_row_says_where_it_is_written_and_what_it_is(protocol: Protocol, channel: Channel, row: Message) -> None:
    assert row.source
    assert row.text.endswith(".")


@each_row
def test_row_names_are_usable(protocol: Protocol, channel: Channel, row: Message) -> None:
    for name in (row.name, *row.older):
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", name)


@each_row
def test_row_answer_fits_its_reply(protocol: Protocol, channel: Channel, row: Message) -> None:
    if row.answer == "reply":
        assert row.reply is not None
    if row.answer in ("ack", "never"):
        assert row.reply is None
        assert row.reply_fds.most == 0
    if row.answer in ("asked", "with-fds", "postcopy"):
        assert row.notes
    if row.answer == "with-fds":
        assert row.request_fds.needs is not None
    if row.answer == "postcopy":
        assert any(layout.postcopy for layout in row.reply or ())


@each_row
def test_row_descriptors_fit_its_members(protocol: Protocol, channel: Channel, row: Message) -> None:
    for fds, alternatives in ((row.request_fds, row.request), (row.reply_fds, row.reply or ())):
        assert fds.least <= fds.most
        if not fds.most:
            assert fds == Fds("", 0, 0)
            continue
        assert fds.role in ROLES[1:], "a role that is new has its number in capture/record.py, behind the last"
        for member in filter(None, (fds.each, fds.unless)):
            assert any(member in member_names(layout) for layout in alternatives)
        names = {other.name for each in protocol.channels.values() for other in each.messages.values()}
        assert set(fds.release) <= names


@each_row
def test_row_needs_bits_that_have_these_names(protocol: Protocol, channel: Channel, row: Message) -> None:
    gates = [*row.needs, *(gate for layout in layouts(row) for gate in layout.needs)]
    gates += [fds.needs for fds in (row.request_fds, row.reply_fds) if fds.needs is not None]
    for gate in gates:
        names = protocol.features if gate.word == "protocol" else virtio.COMMON_FEATURES
        assert names is not None
        assert names.names[gate.bit] == gate.name


@each_row
def test_rows_of_the_same_number_are_of_the_same_sender(protocol: Protocol, channel: Channel, row: Message) -> None:
    for other in row.others:
        assert (other.id, other.sender) == (row.id, row.sender)
        assert other.name != row.name
        assert not other.others


@pytest.mark.parametrize("protocol", list(registry.PROTOCOLS.values()), ids=lambda protocol: protocol.name)
def test_names_of_a_channel_are_told_apart(protocol: Protocol) -> None:
    for channel in protocol.channels.values():
        names = Counter((row.sender, row.name) for row in channel.messages.values())
        assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize(
    ("table", "protocol", "channel"),
    [
        (vhost_user.FRONT_END_MESSAGES, "vhost-user", "main"),
        (vhost_user.BACK_END_MESSAGES, "vhost-user", "backend"),
        (vhost_user_gpu.MESSAGES, "vhost-user-gpu", "gpu"),
        (vfio_user.COMMANDS, "vfio-user", "main"),
    ],
    ids=["main", "backend", "gpu", "vfio-user"],
)
def test_numbers_are_told_apart(table: tuple[Message, ...], protocol: str, channel: str) -> None:
    """A number given twice would hide a row when the channel's table is made."""
    assert len({(row.sender, row.id) for row in table}) == len(table)
    assert [row.id for row in table] == sorted(row.id for row in table)
    found = registry.channel(protocol, channel)
    assert found is not None
    assert list(found.messages.values()) == list(table)


@pytest.mark.parametrize(
    ("table", "first", "sender"),
    [
        (vhost_user.FRONT_END_MESSAGES, 0, FRONT_END),
        (vhost_user.BACK_END_MESSAGES, 0, BACK_END),
        (vhost_user_gpu.MESSAGES, 1, BACK_END),
    ],
    ids=["main", "backend", "gpu"],
)
def test_no_number_of_vhost_user_is_left_out(table: tuple[Message, ...], first: int, sender: int) -> None:
    """Drafts and vendors have theirs from 1000 on, and leave some out."""
    numbers = [row.id for row in table if row.id < 1000]
    assert numbers == list(range(first, first + len(numbers)))
    assert {row.sender for row in table} == {sender}


def test_no_bit_of_vhost_user_is_left_out() -> None:
    names = vhost_user.PROTOCOL_FEATURES.names
    assert list(names) == list(range(len(names)))


# ---------------------------------------------------------------------------------------------------------------------
# Each layout by itself

# a layout that several messages share is looked at once
LAYOUTS = list({id(layout): layout for layout in every_layout()}.values())
each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


@each_layout
def test_member_names_are_usable_and_told_apart(layout: Layout) -> None:
    names = member_names(layout)
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert not keyword.iskeyword(name)
        assert name != "rest"  # what no member explains


@each_layout
def test_layout_has_a_source(layout: Layout) -> None:
    assert layout.source or layout is EMPTY


@each_layout
def test_members_that_others_refer_to_come_before_them(layout: Layout) -> None:
    before: list[str] = []
    for member in layout.members:
        how_many = member.size if isinstance(member, Bytes) else member.times if isinstance(member, Array) else None
        how_many = member.first if isinstance(member, Chain) else how_many
        if isinstance(how_many, str):
            assert how_many in before
        before += [part.name for part in member.parts] if isinstance(member, Word) else [member.name]


@each_layout
def test_links_are_members_of_what_they_link(layout: Layout) -> None:
    for member in layout.members:
        if isinstance(member, Chain):
            assert all(member.next in member_names(each) for each in member.of)
            assert all(each.when for each in member.of[:-1])
            assert isinstance(member.of[-1].members[-1], Bytes)  # it takes whatever comes


@each_layout
def test_parts_of_a_word_do_not_overlap(layout: Layout) -> None:
    for member in layout.members:
        if isinstance(member, Word):
            bits = [bit for part in member.parts for bit in range(part.low, part.low + part.width)]
            assert len(set(bits)) == len(bits)
            assert max(bits) < WIDTHS[member.type]


@each_layout
def test_bits_and_values_fit_their_integer(layout: Layout) -> None:
    for member in layout.members:
        names: Names | None = getattr(member, "names", None)
        if isinstance(member, Field) and names is not None:
            largest = WIDTHS[member.type] if names.kind == "bits" else 1 << WIDTHS[member.type]
            assert all(0 <= key < largest for key in names.names)


def test_member_names_are_not_the_headers() -> None:
    """A filter knows ``vhost_user.size`` once."""
    for protocol in registry.PROTOCOLS.values():
        for channel in protocol.channels.values():
            header = set(member_names(channel.header.layout))
            for row in channel.messages.values():
                for layout in layouts(row):
                    for each in with_nested(layout):
                        assert not header & set(member_names(each)), row.name


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        (vhost_user.RESULT, 8),
        (ACK, 8),
        (vhost_user.VIRTIO_FEATURES, 8),
        (vhost_user.VRING_SIZE, 8),
        (vhost_user.PACKED_BASE, 8),
        (vhost_user.VRING_ADDRESS, 40),
        (vhost_user.REGION, 32),
        (vhost_user.REGION_2014, 24),
        (vhost_user.XEN_REGION, 40),
        (vhost_user.SINGLE_REGION, 40),
        (vhost_user.XEN_SINGLE_REGION, 48),
        (vhost_user.POSTCOPY_ACK, 8),
        (vhost_user.LOG, 16),
        (vhost_user.LOG_2014, 8),
        (vhost_user.IOTLB, 32),
        (vhost_user.VRING_FD, 8),
        (vhost_user.VRING_AREA, 24),
        (vhost_user.INFLIGHT, 24),
        (vhost_user.SHARED_OBJECT, 16),
        (vhost_user.DEVICE_STATE, 8),
        (vhost_user.DEVICE_STATE_FD, 8),
        (vhost_user.MMAP, 40),
        (vhost_user.SHMEM_CONFIG, 2056),
        (vhost_user.CRYPTO_SYMMETRIC, 1072),
        (vhost_user.CRYPTO_ASYMMETRIC, 1072),
        (vhost_user.CRYPTO_OLD, 632),
        (vhost_user.FS_SLICES, 256),
        (vhost_user.GPU_MAP, 64),
        (vhost_user.EXTERNAL_MAP, 32),
        (vhost_user.HEADER.layout, 12),
        (vhost_user_gpu.FEATURE_WORD, 8),
        (vhost_user_gpu.DISPLAY_INFO, 408),
        (vhost_user_gpu.EDID, 1056),
        (vhost_user_gpu.CURSOR_POS, 12),
        (vhost_user_gpu.CURSOR_UPDATE, 16404),
        (vhost_user_gpu.SCANOUT, 12),
        (vhost_user_gpu.RECTANGLE, 20),
        (vhost_user_gpu.DMABUF_SCANOUT, 40),
        (vhost_user_gpu.DMABUF_SCANOUT2, 48),
        (vhost_user_gpu.EDID_ASKED, 4),
        (vhost_user_gpu.HEADER.layout, 12),
        (vfio_user.DMA_MAP, 32),
        (vfio_user.DMA_UNMAP, 24),
        (vfio_user.DEVICE_INFO, 16),
        (vfio_user.REGION_INFO, 32),
        (vfio_user.SUB_REGION, 40),
        (vfio_user.SUB_REGION_SHADOW, 48),
        (vfio_user.IO_FDS_ASKED, 16),
        (vfio_user.IRQ_INFO, 16),
        (vfio_user.SET_IRQS, 20),
        (vfio_user.REGION_ACCESS, 16),
        (vfio_user.REGION_WRITE, 24),
        (vfio_user.DMA_ACCESS, 16),
        (vfio_user.FEATURE, 8),
        (vfio_user.MIGRATION, 16),
        (vfio_user.MIG_DEVICE_STATE, 16),
        (vfio_user.DMA_LOGGING_REPORT, 32),
        (vfio_user.MIG_DATA_ASKED, 8),
        (vfio_user.HEADER.layout, 16),
    ],
    ids=lambda value: value.name if isinstance(value, Layout) else str(value),
)
def test_structure_has_the_length_of_the_specification(layout: Layout, size: int) -> None:
    assert plan(layout, "<").size == size
    assert plan(layout, ">").size == size


@pytest.mark.parametrize(
    ("layout", "least"),
    [
        (vhost_user.MEMORY_TABLE, 8),
        (vhost_user.XEN_MEMORY_TABLE, 8),
        (vhost_user.CONFIG, 12),
        (vhost_user_gpu.UPDATE, 20),
        (vfio_user.VERSION, 4),
        (vfio_user.DMA_UNMAP_BITMAP, 40),
        (vfio_user.REGION_INFO_CAPABILITIES, 32),
        (vfio_user.SPARSE_MMAP, 16),
        (vfio_user.SET_IRQS_BOOL, 20),
        (vfio_user.REGION_WRITES, 8),
        (vfio_user.DMA_LOGGING_START, 24),
    ],
)
def test_structure_whose_length_its_contents_tell(layout: Layout, least: int) -> None:
    assert (plan(layout, "<").size, plan(layout, "<").least) == (None, least)


def test_header_offsets_are_those_of_its_layout() -> None:
    for protocol in registry.PROTOCOLS.values():
        for channel in protocol.channels.values():
            header = channel.header
            members = plan(header.layout, "<").unpack(bytes(range(header.length)), 0)
            assert header.length == plan(header.layout, "<").size
            places = [
                ("request", header.id_at, WIDTHS[header.id_type] // 8),
                ("flags", header.flags_at, 4),
                ("size", header.size_at, 4),
            ]
            if header.msgid_at is not None:
                places.append(("msgid", header.msgid_at, 2))
            if header.error_mask:
                places.append(("error", header.error_at, 4))
            for member, at, width in places:
                assert members[member] == int.from_bytes(bytes(range(at, at + width)), "little")


def test_repetitions_of_what_may_be_empty_are_refused() -> None:
    """They would fit endlessly often into no octets at all."""
    empty = Layout("nothing", (Bytes("data", None),), "here")
    with pytest.raises(ValueError, match="endless"):
        plan(Layout("many", (Array("things", empty, None),), "here"), "<")


def test_padding_is_the_only_member_that_may_hide() -> None:
    layout = Layout("padded", (Padding(4), Field("value", "u32")), "here")
    assert plan(layout, "<").unpack(bytes(8), 0) == {"value": 0}
    assert plan(layout, "<").unpack(b"\1" + bytes(7), 0) == {"padding": b"\1\0\0\0", "value": 0}
