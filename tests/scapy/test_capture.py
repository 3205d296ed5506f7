"""Captures: what our writer wrote opens in scapy, what scapy writes opens in ours, long and broken messages too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.fields import AnyField
from scapy.packet import Packet, Raw
from scapy.sendrecv import sniff
from scapy.utils import PcapNgReader, RawPcapNgReader, rdpcap, wrpcapng

from tests.capture.support import records
from tests.output.captures import recording
from vhostspy.capture import record
from vhostspy.dissectors.scapy_layers import (
    HEADERS,
    VHOST_USER_SET_FEATURES,
    VHOST_USER_SET_OWNER,
    VHOST_USER_SET_VRING_BASE,
    VHOST_USER_SET_VRING_NUM,
    ExportedPdu,
    VhostspyDescriptor,
    VhostspyEvent,
    VhostspyRecord,
    VhostspySession,
    VhostUser,
    VhostUserBackend,
)
from vhostspy.dissectors.scapy_layers import capture as layers

RECORDED = sorted((Path(__file__).parent.parent.parent / "captures").glob("*.pcapng"))


@pytest.mark.parametrize("name", ["", *RECORDED], ids=lambda path: getattr(path, "stem", "demo"))
def test_every_message_of_a_capture_is_read_and_written_the_same(capture: Path, name: Path | str) -> None:
    """Of our own peers, and of all the real programs that were recorded."""
    path = str(name or capture)
    packets = rdpcap(path)
    with RawPcapNgReader(path) as reader:
        raw = [octets for octets, _ in reader]
    assert len(packets) == len(raw) > 20
    for packet, octets in zip(packets, raw, strict=True):
        assert isinstance(packet, ExportedPdu) and isinstance(packet.payload, VhostspyRecord)
        packet.clear_cache()
        assert bytes(packet) == octets
        assert packet.summary() and packet.show(dump=True)


def test_a_record_says_what_our_reader_says(capture: Path) -> None:
    packets = [packet[VhostspyRecord] for packet in rdpcap(str(capture))]
    for packet, expected in zip(packets, records(capture), strict=True):
        for name in ("kind", "number", "time_ns", "monotonic_ns", "session", "previous", "channel_no", "sender"):
            assert getattr(packet, name) == getattr(expected, name), name
        assert bytes(packet.payload) == expected.data
        for entry, fd in zip(packet.fds, expected.fds, strict=True):
            assert record.unpack_descriptor(bytes(entry)) == fd
            assert (
                entry.sprintf("%role% %kind% %access%") == f"{fd.role or 'unknown'} {fd.kind} {fd.access or 'unknown'}"
            )
        if packet.kind == record.MESSAGE:
            assert type(packet.payload) is HEADERS[expected.protocol, expected.channel]
            assert not packet.haslayer(Raw)
        elif packet.kind == record.EVENT:
            assert isinstance(packet.payload, VhostspyEvent)


def test_replies_answer_their_requests(capture: Path) -> None:
    packets = [packet for packet in PcapNgReaderList(capture) if packet[VhostspyRecord].kind == record.MESSAGE]
    replies = [packet for packet in packets if packet[VhostspyRecord].payload.is_reply()]
    assert len(replies) > 15
    for reply in replies:
        asked = [packet for packet in packets if reply.answers(packet)]
        assert asked
        assert {packet.hashret() for packet in asked} == {reply.hashret()}
    assert any(VhostUserBackend in packet for packet in replies)


def PcapNgReaderList(path: Path) -> list[Packet]:
    with PcapNgReader(str(path)) as reader:
        return list(reader)


def test_the_layouts_are_those_of_the_record() -> None:
    def sizes(fields: list[AnyField]) -> list[int]:
        return [
            len(field.addfield(made, b"", 0)) for field in fields if field.name not in ("magic", "path", "more", "fds")
        ]

    made: Any = VhostspyRecord()
    assert 4 + sum(sizes(made.fields_desc)) == record.HEADER.size == len(bytes(made))
    made = VhostspyDescriptor()
    assert 88 + sum(sizes(made.fields_desc)) == record.DESCRIPTOR.size == len(bytes(made))


@pytest.mark.parametrize(
    ("names", "list_"),
    [
        (layers.ROLES, record.ROLES),
        (layers.FD_KINDS, record.KINDS),
        (layers.PROTOCOLS, record.PROTOCOLS),
        (layers.CHANNELS, record.CHANNELS),
        (layers.ACCESS, record.ACCESS),
    ],
)
def test_the_names_are_those_of_the_record(names: Any, list_: tuple[str, ...]) -> None:
    assert [names.names.get(number, "") for number in range(1, len(list_))] == list(list_[1:])


def test_what_scapy_writes_opens_in_ours(tmp_path: Path) -> None:
    path = tmp_path / "made.pcapng"
    made = [
        ExportedPdu() / VhostspyRecord(number=1, time_ns=5) / VhostUser() / VHOST_USER_SET_OWNER(),
        ExportedPdu()
        / VhostspyRecord(number=2, fds=[VhostspyDescriptor(role="kick", kind="eventfd", path=b"x")])
        / VhostUser()
        / VHOST_USER_SET_VRING_NUM(num=256),
    ]
    wrpcapng(str(path), made)
    first, second = records(path)
    assert (first.number, first.protocol, first.channel, first.time_ns, first.length) == (
        1,
        "vhost-user",
        "main",
        5,
        12,
    )
    assert first.data.hex() == "030000000100000000000000"
    assert second.fds == (record.Descriptor("kick", "eventfd", name="x"),)
    assert [bytes(packet) for packet in rdpcap(str(path))] == [bytes(packet) for packet in made]


def test_a_session_tells_how_its_messages_are_laid_out(tmp_path: Path) -> None:
    path = tmp_path / "packed.pcapng"
    base = VhostUser() / VHOST_USER_SET_VRING_BASE(num=0x28003)
    packets = [VhostUser() / VHOST_USER_SET_FEATURES(features="RING_PACKED+VERSION_1"), base, base]
    with recording(path) as recorded:
        for packet in packets:
            recorded.says(0, bytes(packet))
    assert [packet.num for packet in rdpcap(str(path))[1:]] == [0x28003] * 2
    read = sniff(offline=str(path), session=VhostspySession, quiet=True)
    assert [(packet.available_index, packet.used_index) for packet in read[1:]] == [(3, 2)] * 2
    for packet in read:
        octets = bytes(packet)
        packet.clear_cache()
        assert bytes(packet) == octets


def message(octets: bytes, **fields: Any) -> Any:
    return ExportedPdu(bytes(ExportedPdu() / VhostspyRecord(**{"protocol": 1, "channel": 1, **fields}) / Raw(octets)))


def test_parts_of_a_long_message_are_raw_but_for_the_first() -> None:
    octets = bytes(VhostUser(size=1000) / Raw(b"begin"))
    assert VhostUser in message(octets, length=1012)
    later = message(b"the middle of it", length=1012, offset=17)
    assert isinstance(later[VhostspyRecord].payload, Raw)


def test_what_is_broken_or_not_ours_is_raw() -> None:
    assert isinstance(message(b"\1\2")[VhostspyRecord].payload, Raw)
    assert isinstance(message(b"\1" * 40, kind=2)[VhostspyRecord].payload, Raw)
    assert isinstance(message(b"\1" * 40, protocol=9)[VhostspyRecord].payload, Raw)
    other = ExportedPdu(bytes.fromhex("000c0004 68747470 00000000") + b"GET /")
    assert isinstance(other.payload, Raw) and other.tag(12) == b"http" and other.tag(13) is None
    for octets in (b"\0", b"\0\x0c", b"\0\x0c\xff\xff", bytes(3)):
        packet = ExportedPdu(octets)
        packet.clear_cache()
        assert bytes(packet) == octets


def test_a_newer_record_is_read_by_its_lengths() -> None:
    made = VhostspyRecord(more=b"\7" * 8, entry_size=136, fds=[VhostspyDescriptor(more=b"\1" * 8)])
    packet = message(b"", more=b"\7" * 8)
    assert packet.more == b"\7" * 8
    again = VhostspyRecord(bytes(made / VhostUser() / VHOST_USER_SET_OWNER()))
    assert (again.header_length, again.fds[0].more) == (96, b"\1" * 8)
    assert VHOST_USER_SET_OWNER in again


def test_no_member_hides_what_scapy_needs() -> None:
    for packet in (ExportedPdu, layers.ExportedPduTag, VhostspyRecord, VhostspyDescriptor, VhostspyEvent):
        assert [field.name for field in packet.fields_desc if hasattr(Packet, field.name)] == []
