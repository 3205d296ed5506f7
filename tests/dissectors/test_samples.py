"""Every message and structure: read, written, cut short, and with octets behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vhostspy.dissectors import codec, registry
from vhostspy.dissectors.codec import Context, Decoded
from vhostspy.dissectors.rows import ACK, EMPTY, Channel, Layout, Message

from .samples import SAMPLES, Sample

CHANNELS = [
    (protocol.name, channel) for protocol in registry.PROTOCOLS.values() for channel in protocol.channels.values()
]


def channel(name: str, protocol: str = "vhost-user") -> Channel:
    found = registry.channel(protocol, name)
    assert found is not None
    return found


def rows(where: Channel) -> Iterator[Message]:
    """Every message, at last those that have the number of another."""
    yield from where.messages.values()
    for each in where.messages.values():
        yield from each.others


def row(sample: Sample) -> Message:
    known = [each for each in rows(channel(sample.channel, sample.protocol)) if each.name == sample.message]
    return next(each for each in known if sample.id in (None, each.id))


def octets(sample: Sample) -> bytes:
    return bytes.fromhex(sample.octets)


def decode(sample: Sample, payload: bytes) -> Decoded:
    return codec.decode(row(sample), sample.kind == "reply", payload, sample.context, sample.byte_order)


def encode(sample: Sample, fields: dict[str, object]) -> bytes:
    return codec.encode(row(sample), sample.kind == "reply", fields, sample.context, sample.byte_order)


def title(sample: Sample) -> str:
    return f"{sample.message} {sample.kind} {len(octets(sample))}"


each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=title)


@each_sample
def test_octets_are_read_as_members(sample: Sample) -> None:
    decoded = decode(sample, octets(sample))
    assert (decoded.fields, decoded.rest, decoded.missing) == (sample.fields, b"", 0)
    assert decoded.names == sample.names


@each_sample
def test_members_are_read_in_the_order_of_the_sample(sample: Sample) -> None:
    assert list(decode(sample, octets(sample)).fields) == list(sample.fields)


@each_sample
def test_members_are_written_as_octets(sample: Sample) -> None:
    assert encode(sample, dict(sample.fields)).hex() == octets(sample).hex()


@each_sample
def test_the_line_says_what_matters(sample: Sample) -> None:
    decoded = decode(sample, octets(sample))
    assert codec.info_line(row(sample), sample.kind == "reply", decoded) == sample.info


@each_sample
def test_octets_behind_it_are_kept(sample: Sample) -> None:
    payload = octets(sample) + b"\x01\x02\x03"
    decoded = decode(sample, payload)
    assert encode(sample, decoded.fields) == payload
    assert decoded.rest == decoded.fields.get("rest", b"")


@each_sample
def test_cut_short_it_shows_what_is_there(sample: Sample) -> None:
    whole = octets(sample)
    for length in range(min(len(whole), 200)):
        decoded = decode(sample, whole[:length])
        assert encode(sample, decoded.fields) == whole[:length]
        if decoded.missing:
            assert decoded.missing >= 1
            assert "rest" in decoded.fields


def layouts() -> Iterator[tuple[str, str, str, int, str, Layout]]:
    """Each form that a payload may have: protocol, channel, message, its number, request or reply, layout."""
    for protocol, where in CHANNELS:
        for each in rows(where):
            for layout in each.request or (EMPTY,):
                yield protocol, where.name, each.name, each.id, "request", layout
            for layout in (EMPTY,) if each.reply == () else each.reply or ():
                yield protocol, where.name, each.name, each.id, "reply", layout


def test_every_form_of_every_message_has_a_sample() -> None:
    seen = {
        (each.protocol, each.channel, each.message, row(each).id, each.kind, id(decode(each, octets(each)).layout))
        for each in SAMPLES
    }
    missing = [(*place, layout.name) for *place, layout in layouts() if (*place, id(layout)) not in seen]
    assert missing == [], "a sample is missing in tests/dissectors/samples_*.py"


@each_sample
def test_a_request_is_told_from_others_of_its_number_by_its_size(sample: Sample) -> None:
    if sample.kind == "request":
        message = row(sample)
        size = len(octets(sample))
        assert registry.row(sample.protocol, sample.channel, message.sender, message.id, size) is message


@pytest.mark.parametrize(
    "message",
    [each for name in ("main", "backend") for each in channel(name).messages.values() if each.reply is None],
    ids=lambda message: message.name,
)
def test_a_message_without_a_reply_of_its_own_is_acknowledged(message: Message) -> None:
    decoded = codec.decode(message, True, bytes.fromhex("eaffffffffffffff"))
    assert decoded.layout is ACK
    assert decoded.fields == {"value": 0xFFFF_FFFF_FFFF_FFEA}
    assert codec.info_line(message, True, decoded) == "failed (-22)"
    assert codec.info_line(message, True, codec.decode(message, True, bytes(8))) == "ok"


def main(name: str) -> Message:
    return next(row for row in channel("main").messages.values() if row.name == name)


def test_more_octets_than_members() -> None:
    decoded = codec.decode(main("SET_VRING_NUM"), False, bytes.fromhex("01000000 00010000 aabb"))
    assert decoded.fields == {"index": 1, "num": 256, "rest": b"\xaa\xbb"}
    assert (decoded.rest, decoded.missing) == (b"\xaa\xbb", 0)
    line = codec.info_line(main("SET_VRING_NUM"), False, decoded)
    assert line == "ring 1, 256 entries, 2 bytes more than expected"


def test_fewer_octets_than_members() -> None:
    decoded = codec.decode(main("SET_VRING_NUM"), False, bytes.fromhex("01000000 0001"))
    assert decoded.fields == {"index": 1, "rest": b"\x00\x01"}
    assert (decoded.rest, decoded.missing) == (b"\x00\x01", 2)
    assert codec.info_line(main("SET_VRING_NUM"), False, decoded) == "2 bytes missing"


def test_octets_where_none_are_expected() -> None:
    decoded = codec.decode(main("SET_OWNER"), False, b"\x07")
    assert decoded.fields == {"rest": b"\x07"}
    assert codec.info_line(main("SET_OWNER"), False, decoded) == "1 byte more than expected"


def test_a_table_of_eight_slots_with_one_in_use_keeps_the_others_as_they_are() -> None:
    payload = bytes.fromhex("01000000 00000000") + bytes(8 * 32)
    decoded = codec.decode(main("SET_MEM_TABLE"), False, payload)
    assert decoded.fields["count"] == 1
    assert decoded.rest == bytes(7 * 32)


def test_a_table_cut_in_its_second_region_shows_the_first() -> None:
    payload = bytes.fromhex("02000000 00000000") + bytes(32 + 20)
    decoded = codec.decode(main("SET_MEM_TABLE"), False, payload)
    regions = decoded.fields["regions"]
    assert isinstance(regions, list)
    assert len(regions) == 1
    assert (len(decoded.rest), decoded.missing) == (20, 12)


def test_a_count_of_four_milliards_takes_no_memory() -> None:
    decoded = codec.decode(main("SET_MEM_TABLE"), False, bytes.fromhex("ffffffff 00000000") + bytes(40))
    regions = decoded.fields["regions"]
    assert isinstance(regions, list)
    assert len(regions) == 1
    assert decoded.missing == 32 * 0xFFFF_FFFF - 40


def test_a_configuration_longer_than_its_message() -> None:
    decoded = codec.decode(main("SET_CONFIG"), False, bytes.fromhex("00000000 ffffffff 00000000 aabb"))
    assert decoded.fields == {"offset": 0, "length": 0xFFFF_FFFF, "config_flags": 0, "rest": b"\xaa\xbb"}
    assert decoded.missing == 0xFFFF_FFFD


def test_regions_with_xen_members_are_shown_though_nobody_agreed_on_xen() -> None:
    decoded = codec.decode(main("ADD_MEM_REG"), False, bytes(48), Context(0, 0))
    assert decoded.layout is not None
    assert decoded.layout.name == "Xen single region"


def test_a_base_of_eight_octets_is_split_unless_packed_rings_were_agreed_on() -> None:
    for context in (Context(), Context(0, 0)):
        decoded = codec.decode(main("SET_VRING_BASE"), False, bytes(8), context)
        assert decoded.fields == {"index": 0, "num": 0}


def test_count_and_length_are_told_by_what_is_there() -> None:
    region = {"guest_address": 0, "length": 4096, "user_address": 0, "mmap_offset": 0}
    assert codec.encode(main("SET_MEM_TABLE"), False, {"regions": [region]})[:8] == bytes.fromhex("01000000 00000000")
    config = codec.encode(main("SET_CONFIG"), False, {"offset": 0, "config_flags": 0, "config": b"\1\2"})
    assert config == bytes.fromhex("00000000 02000000 00000000 0102")


def test_a_count_that_is_wrong_on_purpose_is_written() -> None:
    payload = codec.encode(main("SET_MEM_TABLE"), False, {"count": 3, "regions": []})
    assert payload == bytes.fromhex("03000000 00000000")


@pytest.mark.parametrize(
    ("message", "fields", "why"),
    [
        ("SET_VRING_NUM", {"index": 1}, "SET_VRING_NUM: member 'num' is missing"),
        ("SET_VRING_NUM", {"index": 1, "num": 1 << 32}, "does not fit"),
        ("SET_VRING_NUM", {"index": 1, "num": -1}, "does not fit"),
        ("SET_VRING_NUM", {"index": 1, "num": "many"}, "does not fit"),
        ("SET_VRING_NUM", {"index": 1, "num": 1, "size": 8}, "vring state has no member 'size'"),
        ("SET_VRING_KICK", {"nofd": True}, "member 'index' is missing"),
        ("SET_VRING_KICK", {"index": 256}, "index 256 does not fit into 8 bits"),
        ("SET_VRING_KICK", {"index": -1}, "index is a number, not -1"),
        ("SET_VRING_KICK", {"index": 0, "reserved": 1}, "reserved 0x1 has bits that are not reserved"),
        ("SET_VRING_KICK", {"index": 0, "reserved": 1 << 64}, "has bits that are not reserved"),
        ("SEND_RARP", {"mac": b"\0\0"}, "mac is 6 bytes, not 2"),
        ("SEND_RARP", {"mac": "52:54:00:12:34:56"}, "mac is octets, not '52:54:00:12:34:56'"),
        ("SET_MEM_TABLE", {"count": 1, "regions": 3}, "regions is a list, not 3"),
        ("SET_MEM_TABLE", {"regions": [3]}, "regions is a list of whole structures"),
        ("SET_OWNER", {"index": 0}, "empty has no member 'index'"),
    ],
)
def test_members_that_cannot_be_written_are_refused(message: str, fields: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        codec.encode(main(message), False, fields)


def test_the_header_is_read_and_written() -> None:
    octets = bytes.fromhex("0c000000 09000000 08000000")
    fields = {"request": 12, "flags": 9, "size": 8}
    assert codec.decode_header(channel("main"), octets + b"more") == fields
    assert codec.encode_header(channel("main"), fields) == octets
    big = bytes.fromhex("0000000c 00000009 00000008")
    assert codec.decode_header(channel("main"), big, ">") == fields
    assert codec.encode_header(channel("main"), fields, ">") == big


def test_half_a_header_is_told_with_what_came() -> None:
    with pytest.raises(codec.WireError, match="a header is 12 bytes, here are 3") as caught:
        codec.decode_header(channel("backend"), b"\1\2\3")
    assert (caught.value.channel, caught.value.offset, caught.value.octets) == ("backend", 0, b"\1\2\3")
