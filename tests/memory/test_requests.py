"""Requests by their first octets, by hand as the device types' sections have them."""

from __future__ import annotations

from struct import pack

import pytest

from vhostspy.dissectors import virtio
from vhostspy.memory import habits
from vhostspy.memory.chain import Buffer, Chain
from vhostspy.memory.requests import describe

from .guest import GUEST, Guest


def told(device: str | None, queue: int, header: bytes, *more: tuple[int, bool]) -> str:
    """What is said of a request: ``header`` in a buffer of its own, then buffers (length, writable)."""
    guest = Guest()
    guest.put(0x5000, header)
    buffers = [Buffer(GUEST + 0x5000, len(header), False)]
    buffers += [Buffer(GUEST + 0x6000, length, writable) for length, writable in more]
    return describe(device, queue, Chain(0, tuple(buffers)), guest.memory)


@pytest.mark.parametrize(
    "device, queue, octets, more, text",
    [
        ("block", 0, "00000000 00000000 0008000000000000", [(4096, True), (1, True)], "read 8 sectors at 2048"),
        ("block", 0, "01000000 00000000 0100000000000000", [(512, False), (1, True)], "write 1 sector at 1"),
        ("block", 0, "04000000 00000000 0000000000000000", [(1, True)], "flush"),
        ("block", 0, "63000000 00000000 0000000000000000", [(1, True)], "type 99"),
        ("fs", 1, "28000000 1a000000 0200000000000000 0100000000000000", [(80, True)], "INIT node 1, unique 2"),
        ("net", 1, "00" * 12, [(98, False)], "a frame of 98 bytes"),
        ("scsi", 2, "0100000000000000 2a00000000000000 00 00 00 28", [(108, True)], "command 0x28, tag 42"),
        ("vsock", 1, "0400000000000000 0200000000000000 d2040000 d2040000 00000000 0100 0100", [],
         "REQUEST 4:1234 to 2:1234, 0 bytes"),
        ("gpu", 0, "04010000", [(24, True)], "RESOURCE_FLUSH"),
        ("console", 3, "01000000 0300 0100", [], "port 1, event 3, value 1"),
        ("crypto", 0, "00010000 03000000 0700000000000000", [], "opcode 0x100, algorithm 3, session 7"),
        ("sound", 0, "04010000", [(4, True)], "PCM_START"),
        ("i2c", 0, "a400 0000 02000000", [(1, True)], "read at 0x52"),
        ("gpio", 0, "0500 0300 01000000", [(2, True)], "type 5, line 3"),
        ("input", 1, "1100 0100 01000000", [], "type 17, code 1, value 1"),
        ("rng", 0, "", [(64, True)], "64 to write"),
        (None, 0, "0011", [(3, True)], "2 bytes to read and 3 to write"),
        ("block", 0, "0000", [(1, True)], "2 bytes to read and 1 to write"),
    ],
)  # fmt: skip
def test_what_is_said(device: str | None, queue: int, octets: str, more: list[tuple[int, bool]], text: str) -> None:
    assert told(device, queue, bytes.fromhex(octets), *more) == text


def test_a_header_may_be_in_several_buffers() -> None:
    guest = Guest()
    header = pack("<IIQ", 1, 0, 7)
    guest.put(0x5000, header[:5])
    guest.put(0x7000, header[5:])
    buffers = (Buffer(GUEST + 0x5000, 5, False), Buffer(GUEST + 0x7000, 11 + 512, False))
    assert describe("block", 0, Chain(0, buffers), guest.memory) == "write 1 sector at 7"


def test_what_is_wrong_with_a_chain_comes_first() -> None:
    guest = Guest()
    assert describe("block", 0, Chain(0, (), problem="a loop"), guest.memory) == "a loop"
    assert describe("block", 0, Chain(0, (Buffer(0x10, 16, False),)), guest.memory) == "16 bytes to read"


def test_devices_are_ours() -> None:
    from vhostspy.memory.requests import _DEVICES

    known = {*habits._WAITING, *habits._SERVED, *_DEVICES}
    assert known <= set(virtio.DEVICES)
