"""What holds for any octets, whoever sent them."""

from __future__ import annotations

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from vhostspy.dissectors import codec, registry, virtio
from vhostspy.dissectors.codec import Context
from vhostspy.dissectors.names import read_piece
from vhostspy.dissectors.rows import Channel, Message

from .samples import SAMPLES, Sample

CHANNELS = [channel for protocol in registry.PROTOCOLS.values() for channel in protocol.channels.values()]
ROWS = [each for channel in CHANNELS for row in channel.messages.values() for each in (row, *row.others)]

words = st.none() | st.integers(0, (1 << 64) - 1)
contexts = st.builds(Context, words, words, st.none() | st.sampled_from([*virtio.DEVICES, "toaster"]), st.booleans())
byte_orders: st.SearchStrategy[Literal["<", ">"]] = st.sampled_from(["<", ">"])
#: octets as they come by chance, and such as rows expect, whole or not, with others behind them
near_samples = st.builds(
    lambda sample, end, more: bytes.fromhex(sample.octets)[:end] + more,
    st.sampled_from(SAMPLES),
    st.integers(0, 2100),
    st.binary(max_size=50),
)
payloads = st.binary(max_size=120) | near_samples


@given(st.sampled_from(ROWS), st.booleans(), payloads, contexts, byte_orders)
def test_what_was_read_is_written_the_same(
    row: Message, reply: bool, payload: bytes, context: Context, byte_order: Literal["<", ">"]
) -> None:
    decoded = codec.decode(row, reply, payload, context, byte_order)
    assert codec.encode(row, reply, decoded.fields, context, byte_order) == payload
    assert decoded.rest == decoded.fields.get("rest", b"")
    assert ("rest" in decoded.fields) == bool(decoded.rest or decoded.missing or decoded.layout is None)


@given(st.sampled_from(SAMPLES), st.data(), contexts)
def test_octets_that_went_wrong_are_written_the_same(sample: Sample, data: st.DataObject, context: Context) -> None:
    """Counts, lengths, and offsets of what follows, that lead anywhere."""
    payload = bytearray.fromhex(sample.octets)
    for _ in range(data.draw(st.integers(1, 3))):
        if payload:
            at = data.draw(st.integers(0, min(len(payload), 128) - 1))
            payload[at] = data.draw(st.sampled_from([0, 1, 8, 16, 32, 40, 128, 255]))
    known = registry.channel(sample.protocol, sample.channel)
    assert known is not None
    rows = [*known.messages.values(), *(other for row in known.messages.values() for other in row.others)]
    row = next(each for each in rows if each.name == sample.message and sample.id in (None, each.id))
    decoded = codec.decode(row, sample.kind == "reply", bytes(payload), context, sample.byte_order)
    assert codec.encode(row, sample.kind == "reply", decoded.fields, context, sample.byte_order) == payload
    assert codec.info_line(row, sample.kind == "reply", decoded).isprintable()


@given(st.sampled_from(ROWS), st.booleans(), payloads, contexts)
def test_names_are_of_members_and_the_line_is_a_line(
    row: Message, reply: bool, payload: bytes, context: Context
) -> None:
    decoded = codec.decode(row, reply, payload, context)
    assert decoded.names.keys() <= decoded.fields.keys()
    assert codec.info_line(row, reply, decoded).isprintable()


@given(st.sampled_from(ROWS), st.booleans(), payloads, contexts)
def test_reading_the_same_again_gives_the_same(row: Message, reply: bool, payload: bytes, context: Context) -> None:
    """Nothing that is remembered between messages shows."""
    first = codec.decode(row, reply, payload, context)
    codec.decode(row, reply, payload[::-1], Context(0, 0))
    assert codec.decode(row, reply, payload, context) == first


@given(st.sampled_from(CHANNELS), st.binary(max_size=40), byte_orders)
def test_a_header_is_read_or_refused(channel: Channel, octets: bytes, byte_order: Literal["<", ">"]) -> None:
    try:
        fields = codec.decode_header(channel, octets, byte_order)
    except codec.WireError as wrong:
        assert wrong.octets == octets
        assert len(octets) < channel.header.length
    else:
        assert codec.encode_header(channel, fields, byte_order) == octets[: channel.header.length]


@given(st.sampled_from([*virtio.DEVICES]), st.binary(max_size=150), st.integers(0, 150), st.none() | st.integers(0, 15))
def test_any_piece_of_any_configuration_space_is_read(
    device: str, octets: bytes, offset: int, features: int | None
) -> None:
    layout = virtio.config_layout(device, features)
    if layout is not None:
        read_piece(layout, octets, offset)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_members_of_any_kind_are_written_or_refused(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(ROWS))
    names = [name for each in SAMPLES if each.message == row.name for name in each.fields]
    keys = st.sampled_from([*names, "rest"])
    fields = data.draw(st.dictionaries(keys, json_like, max_size=6))
    try:
        payload = codec.encode(row, False, fields)
    except ValueError:
        return
    assert isinstance(payload, bytes)
