"""vfio-user: what real programs sent, and what the rows alone do not show."""

from __future__ import annotations

from pathlib import Path

import pytest

from vhostspy.dissectors import codec, registry
from vhostspy.dissectors.plan import plan
from vhostspy.dissectors.rows import BACK_END, FRONT_END, Message
from vhostspy.dissectors.vfio_user import COMMANDS, REGION_INFO_CAPABILITIES, VFIO_USER, twin_socket

MAIN = VFIO_USER.channels["main"]
RECORDED = [
    line.split(" ")
    for line in Path(__file__).with_name("vfio_user_qemu.txt").read_text().splitlines()
    if not line.startswith("#")
]


def command(name: str) -> Message:
    return next(row for row in COMMANDS if row.name == name)


@pytest.mark.parametrize("line", RECORDED, ids=lambda line: f"{line[0]} {line[2]}")
def test_what_qemu_and_libvfio_user_sent_is_read_without_rest_and_written_the_same(line: list[str]) -> None:
    sender, fds, header_octets, *payload_octets = line
    header = codec.decode_header(MAIN, bytes.fromhex(header_octets))
    assert codec.encode_header(MAIN, header).hex() == header_octets
    payload = bytes.fromhex("".join(payload_octets))
    assert header["size"] == MAIN.header.length + len(payload)
    reply = header["flags"] & MAIN.header.reply_mask == MAIN.header.reply_value
    asker = FRONT_END if (sender == "client") != reply else BACK_END
    row = registry.row("vfio-user", "main", asker, header["request"])
    assert row is not None
    decoded = codec.decode(row, reply, payload)
    assert (decoded.rest, decoded.missing) == (b"", 0)
    assert codec.encode(row, reply, decoded.fields) == payload
    expected = row.reply_fds if reply else row.request_fds
    assert expected.least <= int(fds) <= expected.most


def test_no_command_is_left_out() -> None:
    assert [row.id for row in COMMANDS] == list(range(1, 1 + len(COMMANDS)))
    assert {row.name for row in COMMANDS if row.sender == BACK_END} >= {"DMA_READ", "DMA_WRITE"}
    assert {row.answer for row in COMMANDS} == {"reply"}


VERSIONS = [
    # JSON text of the reply, which of its descriptors is the socket
    ('{"capabilities":{"twin_socket":{"supported":true,"fd_index":0}}}', 0),
    ('{"capabilities":{"twin_socket":{"supported":true,"fd_index":3}}}', 3),
    ('{"capabilities":{"twin_socket":{"supported":false,"fd_index":0}}}', None),
    ('{"capabilities":{"twin_socket":{"supported":true}}}', None),
    ('{"capabilities":{"twin_socket":{"supported":true,"fd_index":-1}}}', None),
    ('{"capabilities":{"twin_socket":{"supported":true,"fd_index":"0"}}}', None),
    ('{"capabilities":{"twin_socket":[]}}', None),
    ('{"capabilities":{}}', None),
    ("[]", None),
    ("{", None),
    ("[" * 100_000, None),
    ("", None),
]


@pytest.mark.parametrize(("text", "index"), VERSIONS, ids=[text[:60] for text, _ in VERSIONS])
def test_the_second_socket_is_where_the_reply_says(text: str, index: int | None) -> None:
    assert twin_socket(bytes(4) + text.encode() + b"\0") == index


@pytest.mark.parametrize(
    "text", [b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"], ids=lambda t: t[:9]
)
def test_text_that_is_no_json_object_has_no_names(text: bytes) -> None:
    decoded = codec.decode(command("VERSION"), False, bytes(4) + text)
    assert decoded.fields["version_data"] == text
    assert decoded.names == {}


def _region_info(cap_offset: int, rest: str) -> codec.Decoded:
    payload = bytes(12) + cap_offset.to_bytes(4, "little") + bytes(16) + bytes.fromhex(rest)
    decoded = codec.decode(command("DEVICE_GET_REGION_INFO"), True, payload)
    assert codec.encode(command("DEVICE_GET_REGION_INFO"), True, decoded.fields) == payload
    return decoded


MSIX = {"capability": 3, "version": 1, "next": 0}


@pytest.mark.parametrize(
    ("cap_offset", "octets", "capabilities", "rest"),
    [
        (32, "0300 0100 00000000", [MSIX], ""),
        (32, "0300 0100 28000000 0300 0100 00000000", [MSIX | {"next": 40}, MSIX], ""),
        # to itself, backwards, behind the end: what is left belongs to the one that points there
        (32, "0300 0100 20000000", [MSIX | {"next": 32}], ""),
        (32, "0300 0100 00000001", [MSIX | {"next": 1 << 24}], ""),
        (32, "0900 0100 04000000 abcd", [{"capability": 9, "version": 1, "next": 4, "body": b"\xab\xcd"}], ""),
        # more areas than there are
        (
            32, "0100 0100 00000000 ffffffff 00000000",
            [{"capability": 1, "version": 1, "next": 0, "body": b"\xff" * 4 + bytes(4)}], "",
        ),
        # elsewhere, or cut
        (36, "00000000 0300 0100 00000000", [], "000000000300010000000000"),
        (32, "0300 01", [], "030001"),
        (32, "0300 0100 28000000 0300 01", [MSIX | {"next": 40}], "030001"),
    ],
)  # fmt: skip
def test_capabilities_are_followed_as_far_as_they_lead(
    cap_offset: int, octets: str, capabilities: list[dict[str, object]], rest: str
) -> None:
    decoded = _region_info(cap_offset, octets)
    assert decoded.fields["capabilities"] == capabilities
    assert decoded.rest.hex() == rest


def test_octets_without_an_offset_are_no_capabilities() -> None:
    decoded = _region_info(0, "0300 0100 00000000")
    assert "capabilities" not in decoded.fields
    assert decoded.rest.hex() == "0300010000000000"


def test_capabilities_that_cannot_be_written_are_refused() -> None:
    fields = dict(_region_info(32, "0300 0100 00000000").fields)
    for wrong, why in ((3, "is a list"), ([3], "whole structures"), ([{"capability": 3}], "version")):
        with pytest.raises(ValueError, match=why):
            plan(REGION_INFO_CAPABILITIES, "<").write(fields | {"capabilities": wrong})


def test_data_four_bytes_early_is_told_from_data_where_it_belongs() -> None:
    spec = codec.decode(command("DMA_READ"), True, bytes.fromhex("0000000000000000 0400000000000000 01020304"))
    assert spec.fields == {"address": 0, "count": 4, "data": b"\1\2\3\4"}
    early = codec.decode(command("DMA_READ"), True, bytes.fromhex("0000000000000000 04000000 01020304 00000000"))
    assert early.fields == {"address": 0, "early_count": 4, "early_data": b"\1\2\3\4"}
