"""scapy's layers say the same as our decoder, and give back what they read."""

from __future__ import annotations

import io
import pickle
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.config import conf
from scapy.fields import RawVal
from scapy.packet import Packet, Raw, explore, fuzz, ls

from tests.dissectors.samples import SAMPLES, Sample
from tests.dissectors.test_samples import octets, row
from vhostspy.dissectors import codec, registry, scapy_layers
from vhostspy.dissectors.codec import Context
from vhostspy.dissectors.rows import ACK, EMPTY, Channel, Message, Protocol
from vhostspy.dissectors.scapy_layers import (
    VHOST_USER_GET_FEATURES,
    VHOST_USER_GET_FEATURES_REPLY,
    VHOST_USER_SEND_RARP,
    VHOST_USER_SET_DEVICE_STATE_FD,
    VHOST_USER_SET_FEATURES,
    VHOST_USER_SET_MEM_TABLE,
    VHOST_USER_SET_PROTOCOL_FEATURES,
    VHOST_USER_SET_VRING_ADDR,
    VHOST_USER_SET_VRING_KICK,
    VHOST_USER_SET_VRING_NUM,
    VHOST_USER_SET_VRING_NUM_ACK,
    VfioUser,
    VhostspyRecord,
    VhostUser,
    VhostUserBackend,
    VhostUserMemoryRegion,
)
from vhostspy.dissectors.scapy_layers.payloads import field_name

each_sample = pytest.mark.parametrize(
    "sample", SAMPLES, ids=lambda sample: f"{sample.protocol} {sample.message} {sample.kind} {len(octets(sample))}"
)
ROWS = [
    pytest.param(protocol, channel, row, id=f"{protocol.name} {channel.name} {row.name}")
    for protocol in registry.PROTOCOLS.values()
    for channel in protocol.channels.values()
    for main in channel.messages.values()
    for row in (main, *main.others)
]
each_row = pytest.mark.parametrize(("protocol", "channel", "row"), ROWS)


def agreed(context: Context) -> None:
    conf.contribs["vhostspy"].update(context._asdict())


def read(sample: Sample, payload: bytes) -> Any:
    """The message in a record of its byte order, as from a capture; and the header's layer in it."""
    channel = registry.channel(sample.protocol, sample.channel)
    assert channel is not None
    header = channel.header
    reply = sample.kind == "reply"
    fields = {
        "request": row(sample).id,
        "flags": header.plain_flags & ~header.reply_mask | (header.reply_value if reply else 0),
        "size": len(payload) + (header.length if header.counts_header else 0),
    }
    if header.msgid_at is not None:
        fields |= {"msgid": 7, "error": 0}
    message = codec.encode_header(channel, fields, sample.byte_order) + payload
    record = VhostspyRecord(
        bytes(
            VhostspyRecord(protocol=sample.protocol, channel=sample.channel, byte_order=sample.byte_order == ">")
            / Raw(message)
        )
    )
    agreed(sample.context)
    again = VhostspyRecord(bytes(record))
    assert bytes(again[scapy_layers.HEADERS[sample.protocol, sample.channel]]) == message
    return again


def plainly(value: Any) -> Any:
    """What a scapy field holds, as our decoder gives it."""
    if isinstance(value, list):
        return [plainly(one) for one in value]
    if isinstance(value, Packet):
        return members(value)
    return value if isinstance(value, bytes) else int(value)


def members(packet: Packet) -> dict[str, Any]:
    """The members of a layer under our decoder's names, without zero padding and reserved bits."""
    found = {}
    layout = getattr(packet, "layout")  # noqa: B009
    hidden = {field_name(member.name) for member in layout.members if type(member).__name__ == "Padding"} | {"reserved"}
    for name, value in packet.fields.items():
        value = plainly(value)
        if name not in hidden or (value.strip(b"\0") if isinstance(value, bytes) else value):
            found[name.rstrip("_")] = value
    return found


@each_sample
def test_octets_are_read_as_members(sample: Sample) -> None:
    record = read(sample, octets(sample))
    payload = record[scapy_layers.HEADERS[sample.protocol, sample.channel]].payload
    assert getattr(payload, "row").name == sample.message  # noqa: B009
    assert members(payload) == {name: value for name, value in sample.fields.items() if name != "rest"}
    assert not payload.payload


@each_sample
def test_what_was_read_is_written_the_same(sample: Sample) -> None:
    """Also when scapy may not simply give back the octets that it has kept."""
    for payload in (octets(sample), octets(sample) + b"\1\2\3", octets(sample)[:-1]):
        record = read(sample, payload)
        whole = bytes(record)
        record.clear_cache()
        assert bytes(record) == whole


@each_sample
def test_members_that_were_set_are_written_as_octets(sample: Sample) -> None:
    record = read(sample, octets(sample))
    header = scapy_layers.HEADERS[sample.protocol, sample.channel]
    payload = record[header].payload
    made = VhostspyRecord(byte_order=sample.byte_order == ">") / header() / type(payload)(**payload.fields)
    if "msgid" in made[header].fieldtype:
        made[header].msgid = 7
    assert bytes(made[header]).hex() == bytes(record[header]).hex()


@each_sample
def test_it_can_be_shown_and_summed_up(sample: Sample) -> None:
    record = read(sample, octets(sample))
    assert sample.message in record.summary()
    assert record.show(dump=True)
    assert (
        eval(record[scapy_layers.HEADERS[sample.protocol, sample.channel]].command(), dict(vars(scapy_layers)))
        is not None
    )


# ---------------------------------------------------------------------------------------------------------------------
# Every row


def classes(protocol: Protocol, channel: Channel, row: Message) -> list[type[Packet]]:
    header = scapy_layers.HEADERS[protocol.name, channel.name]
    return [made for (number, _, _), made in header.payload_classes.items() if number == id(row)]


@each_row
def test_defaults_give_a_valid_message(protocol: Protocol, channel: Channel, row: Message) -> None:
    """Whose size is right, and which is read as what it was made as."""
    header = scapy_layers.HEADERS[protocol.name, channel.name]
    made = classes(protocol, channel, row)
    assert made
    for payload in made:
        packet = header() / payload()
        agreed_on(getattr(payload, "layout"))  # noqa: B009
        octets = bytes(packet)
        fields = codec.decode_header(channel, octets)
        assert fields["request"] == row.id
        assert fields["size"] == len(octets) - (0 if channel.header.counts_header else channel.header.length)
        again = header(octets)
        # with nothing in their lists several forms are the same; so are acknowledgements of one number
        if channel.messages[row.sender, row.id] is row and len((row.request, row.reply or ())[payload.is_reply]) < 2:
            assert type(again.payload) is payload
        assert not again.haslayer(Raw)
        again.clear_cache()
        assert bytes(again) == octets


def agreed_on(layout: Any) -> None:
    virtio = sum(1 << gate.bit for gate in layout.needs if gate.word == "virtio")
    protocol = sum(1 << gate.bit for gate in layout.needs if gate.word == "protocol")
    agreed(Context(virtio, protocol, None, layout.postcopy))


@each_row
def test_names_are_the_specifications(protocol: Protocol, channel: Channel, row: Message) -> None:
    names = {made.__name__ for made in classes(protocol, channel, row)}
    start = f"{protocol.name}_".upper().replace("-", "_") + ("BACKEND_" if channel.name == "backend" else "")
    number = "" if channel.messages[row.sender, row.id] is row else f"_{row.id}"
    assert start + row.name + number in names
    if row.reply is not None:
        assert start + row.name + number + "_REPLY" in names
    for name in names:
        assert getattr(scapy_layers, name).__name__ == name
        assert name in scapy_layers.__all__


@each_row
def test_every_form_has_a_class(protocol: Protocol, channel: Channel, row: Message) -> None:
    found = {id(getattr(made, "layout")) for made in classes(protocol, channel, row)}  # noqa: B009
    expected = {id(layout) for layout in (*(row.request or (EMPTY,)), *(row.reply or ()))}
    if row.reply is None and row.answer != "never":
        expected.add(id(ACK))
    assert expected <= found


@each_row
def test_fuzzed_messages_keep_their_number_and_size(protocol: Protocol, channel: Channel, row: Message) -> None:
    header = scapy_layers.HEADERS[protocol.name, channel.name]
    for payload in classes(protocol, channel, row):
        packet = fuzz(header() / payload())
        octets = bytes(packet)
        fields = codec.decode_header(channel, octets)
        assert fields["request"] == row.id
        again = header(octets)
        again.clear_cache()
        assert bytes(again) == octets


def test_fuzzed_members_differ() -> None:
    packet = fuzz(VhostUser() / VHOST_USER_SET_VRING_ADDR())
    assert len({bytes(packet) for _ in range(5)}) == 5


# ---------------------------------------------------------------------------------------------------------------------
# As a person uses them


def test_a_message_by_hand() -> None:
    packet = VhostUser() / VHOST_USER_SET_MEM_TABLE(
        regions=[VhostUserMemoryRegion(guest_address=0, length=4096, user_address=0x7F0000000000)]
    )
    assert bytes(packet).hex(" ", 4) == (
        "05000000 01000000 28000000 01000000 00000000 00000000 00000000 00100000 00000000 00000000 007f0000 "
        "00000000 00000000"
    )


def test_counts_and_sizes_may_be_wrong() -> None:
    packet = VhostUser(size=9) / VHOST_USER_SET_MEM_TABLE(count=3, regions=[VhostUserMemoryRegion()])
    octets = bytes(packet)
    assert octets[8:16].hex() == "0900000003000000"
    assert len(octets) == 12 + 8 + 32


def test_names_stand_for_values() -> None:
    assert bytes(VhostUser(request="SET_OWNER")).hex() == "030000000100000000000000"
    assert bytes(VhostUser(flags="VERSION_1+NEED_REPLY") / VHOST_USER_SET_VRING_NUM(index=1, num=256)).hex() == (
        "08000000090000000800000001000000" + "00010000"
    )
    packet = VHOST_USER_SET_FEATURES(features="VERSION_1+PROTOCOL_FEATURES")
    assert bytes(packet) == (1 << 32 | 1 << 30).to_bytes(8, "little")
    packet.features |= "RING_PACKED"
    assert packet.features.RING_PACKED and packet.features == 1 << 34 | 1 << 32 | 1 << 30
    assert "VERSION_1" in packet.show(dump=True)
    assert bytes(VHOST_USER_SEND_RARP(mac="52:54:00:12:34:56")).hex() == "5254001234560000"
    with pytest.raises(ValueError, match="no value called 'SAVE'"):
        VHOST_USER_SET_DEVICE_STATE_FD(phase="SAVE")


def test_a_member_that_scapy_has_another_use_for_has_a_stroke_behind_it() -> None:
    packet = VHOST_USER_SET_DEVICE_STATE_FD(direction_="load")
    assert bytes(packet).hex() == "0100000000000000"


def test_any_octets_may_stand_for_a_member() -> None:
    packet = VhostUser() / VHOST_USER_SET_VRING_NUM(index=RawVal(b"\xff"), num=1)
    assert bytes(packet)[8:].hex() == "05000000ff01000000"


def test_a_value_that_does_not_fit_is_told() -> None:
    with pytest.raises(ValueError, match="num: 4294967296 does not fit"):
        bytes(VHOST_USER_SET_VRING_NUM(num=1 << 32))


def test_a_message_without_payload_is_told_by_its_layer() -> None:
    packet = VhostUser(bytes(VhostUser() / VHOST_USER_GET_FEATURES()))
    assert VHOST_USER_GET_FEATURES in packet
    assert bytes(packet).hex() == "010000000100000000000000"


def test_answers() -> None:
    asked = VhostUser() / VHOST_USER_GET_FEATURES()
    answer = VhostUser(bytes(VhostUser() / VHOST_USER_GET_FEATURES_REPLY(features="VERSION_1")))
    other = VhostUser() / VHOST_USER_SET_VRING_NUM_ACK()
    assert answer.answers(asked) and answer.hashret() == asked.hashret()
    assert not asked.answers(answer) and not asked.answers(asked) and not answer.answers(answer)
    assert not other.answers(asked) and other.hashret() != asked.hashret()
    assert not answer.answers(VhostUserBackend(request=1)) and not answer.answers(Raw(b""))


def test_answers_by_message_number() -> None:
    asked = VfioUser(msgid=5) / scapy_layers.VFIO_USER_DEVICE_GET_INFO()
    answer = VfioUser(msgid=5) / scapy_layers.VFIO_USER_DEVICE_GET_INFO_REPLY(num_regions=9)
    assert answer.answers(asked) and answer.hashret() == asked.hashret()
    answer.msgid = 6
    assert not answer.answers(asked) and answer.hashret() != asked.hashret()
    refused = VfioUser(bytes(VfioUser(request="DEVICE_GET_INFO", flags="REPLY+ERROR", error=22)))
    assert (refused.size, refused.error, bool(refused.payload)) == (16, 22, False)


def test_messages_of_one_read_are_parted() -> None:
    first, second = VhostUser() / VHOST_USER_GET_FEATURES(), VhostUser() / VHOST_USER_SET_VRING_NUM()
    packet = VhostUser(bytes(first) + bytes(second))
    assert packet[conf.padding_layer].load == bytes(second)


def test_a_stream_gives_whole_messages() -> None:
    octets = bytes(VhostUser() / VHOST_USER_SET_VRING_NUM(index=1, num=256))
    for length in range(len(octets)):
        assert VhostUser.tcp_reassemble(octets[:length], {}, {}) is None
    assert bytes(VhostUser.tcp_reassemble(octets, {}, {})) == octets
    octets = bytes(VfioUser() / scapy_layers.VFIO_USER_DEVICE_RESET())
    assert VfioUser.tcp_reassemble(octets[:15], {}, {}) is None
    assert bytes(VfioUser.tcp_reassemble(octets, {}, {})) == octets


def test_which_form_it_is_may_be_said() -> None:
    octets = bytes(VhostUser() / scapy_layers.VHOST_USER_SET_VRING_BASE(index=1, num=0x28003))
    assert VhostUser(octets).num == 0x28003
    agreed(Context(virtio_features=1 << 34))
    packed = VhostUser(octets)
    assert (packed.available_index, packed.available_wrap, packed.used_index) == (3, 1, 2)
    assert type(packed.payload).__name__ == "VHOST_USER_SET_VRING_BASE_PACKED_VRING_BASE"


def test_features_have_the_names_of_the_device() -> None:
    assert str(VHOST_USER_SET_FEATURES(features=1 << 15 | 1 << 32).features) == "bit_15+VERSION_1"
    agreed(Context(device="net"))
    assert str(VHOST_USER_SET_FEATURES(features=1 << 15 | 1 << 32).features) == "MRG_RXBUF+VERSION_1"
    assert bytes(VHOST_USER_SET_FEATURES(features="MQ")).hex() == "0000400000000000"


def test_what_is_too_short_or_unknown_is_raw() -> None:
    short = VhostUser(bytes.fromhex("08000000 01000000 04000000 01000000"))
    assert isinstance(short.payload, Raw)
    unknown = VhostUser(bytes.fromhex("e7030000 01000000 04000000 01000000"))
    assert isinstance(unknown.payload, Raw) and unknown.summary() == "VhostUser 999 / Raw"
    longer = VhostUser(bytes.fromhex("12000000 01000000 0a000000 01000000 01000000 beef"))
    assert (longer.index, longer[Raw].load) == (1, b"\xbe\xef")


def test_packets_may_be_pickled_and_copied() -> None:
    packet = VhostUser() / VHOST_USER_SET_MEM_TABLE(regions=[VhostUserMemoryRegion(length=4096)])
    again = pickle.loads(pickle.dumps(packet))
    assert bytes(again) == bytes(packet) and type(again.payload) is VHOST_USER_SET_MEM_TABLE
    copied = packet.copy()
    copied.regions[0].length = 8192
    assert packet.regions[0].length == 4096


def test_they_are_listed_where_people_look() -> None:
    with redirect_stdout(io.StringIO()) as out:
        explore("vhostspy")
        ls(VHOST_USER_SET_VRING_KICK)
    assert "VHOST_USER_SET_VRING_KICK" in out.getvalue()
    assert "nofd" in out.getvalue()
    assert conf.layers.layers()


@given(st.binary(min_size=16, max_size=80), st.sampled_from(sorted(scapy_layers.HEADERS)))
@settings(max_examples=200)
def test_any_octets_are_read_and_written_the_same(data: bytes, channel: tuple[str, str]) -> None:
    packet = scapy_layers.HEADERS[channel](data)
    assert bytes(packet) == data
    packet.clear_cache()
    assert bytes(packet) == data


@given(st.integers(0, 20), st.booleans(), st.binary(max_size=120), st.sampled_from(sorted(scapy_layers.HEADERS)))
@settings(max_examples=300)
def test_any_payload_is_read_and_written_the_same(
    number: int, reply: bool, payload: bytes, channel: tuple[str, str]
) -> None:
    layer = scapy_layers.HEADERS[channel]
    header = layer.channel.header
    flags = header.plain_flags & ~header.reply_mask | (header.reply_value if reply else 0)
    octets = bytes(layer(request=number, flags=flags) / Raw(payload))
    packet = layer(octets)
    packet.clear_cache()
    assert bytes(packet) == octets
    assert packet.summary() and packet.show(dump=True)


def test_pages_link_to_what_exists() -> None:
    assert (Path(__file__).parent.parent.parent / "docs" / "scapy.md").exists()


def test_a_setting_survives_features_of_it() -> None:
    packet = VhostUser() / VHOST_USER_SET_PROTOCOL_FEATURES(protocol_features="MQ+REPLY_ACK")
    assert packet.protocol_features.MQ and not packet.protocol_features.CONFIG
