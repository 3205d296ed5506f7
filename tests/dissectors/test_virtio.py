"""The virtio devices: names of bits, lengths and members of configuration spaces."""

from __future__ import annotations

import pytest

from vhostspy.dissectors import virtio
from vhostspy.dissectors.names import read_piece
from vhostspy.dissectors.plan import plan
from vhostspy.dissectors.rows import Layout


def layout(device: str, features: int | None = None) -> Layout:
    found = virtio.config_layout(device, features)
    assert found is not None
    return found


def test_numbers_names_and_other_names_are_told_apart() -> None:
    devices = list(virtio.DEVICES.values())
    names = [name for device in devices for name in (device.name, *device.aliases)]
    assert len(set(names)) == len(names)
    assert len({device.id for device in devices}) == len(devices)


def test_other_names_find_the_device() -> None:
    assert virtio.find("blk") is virtio.DEVICES["block"]
    assert virtio.find("block") is virtio.DEVICES["block"]
    assert virtio.find("toaster") is None


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("disk", "block"), ("network", "net"), ("NET", "net"), ("filesystem", "fs"), ("virtiofs", "fs"),
        ("vhost-user-blk", "block"), ("virtio_net", "net"), ("virtio-blk", "block"), ("9p", "9p"),
        ("", None), ("virtio-", None), ("ide", None),
    ],
)  # fmt: skip
def test_names_that_people_and_programs_use(name: str, device: str | None) -> None:
    found = virtio.find(name)
    assert (found.name if found else None) == device


@pytest.mark.parametrize("device", list(virtio.DEVICES.values()), ids=lambda device: device.name)
def test_own_feature_bits_are_where_devices_may_have_some(device: virtio.Device) -> None:
    assert all(bit <= 23 or bit in (41, 42) or 50 <= bit <= 127 for bit in device.features)


def test_features_of_a_known_device() -> None:
    bits = 1 << 0 | 1 << 9 | 1 << 30 | 1 << 32 | 1 << 34
    assert virtio.feature_names(bits, "block") == ["BARRIER", "FLUSH", "PROTOCOL_FEATURES", "VERSION_1", "RING_PACKED"]
    assert virtio.feature_names(bits, "blk") == virtio.feature_names(bits, "block")


@pytest.mark.parametrize("device", [None, "toaster"])
def test_features_without_a_known_device(device: str | None) -> None:
    assert virtio.feature_names(1 << 9 | 1 << 26 | 1 << 63, device) == ["bit 9", "LOG_ALL", "bit 63"]


def test_an_old_network_card_means_something_else_by_bit_41() -> None:
    assert virtio.feature_names(1 << 41, "net") == ["GUEST_RSC4"]
    assert virtio.feature_names(1 << 41, "block") == ["ADMIN_VQ"]


def test_device_status_bits() -> None:
    assert virtio.STATUS_BITS.bits(0x8F) == ["ACKNOWLEDGE", "DRIVER", "DRIVER_OK", "FEATURES_OK", "FAILED"]


#: device -> octets of its configuration space, counted in the specification; None: its end is of any length
CONFIG_SIZES = {
    "net": 28, "block": 96, "console": 12, "balloon": 16, "scsi": 36, "9p": None, "gpu": 20, "input": 136, "vsock": 8,
    "crypto": 56, "iommu": 40, "memory": 56, "sound": 16, "fs": 44, "pmem": 16, "gpio": 8, "can": 2, "bluetooth": 5,
    "spi": 32, "media": 40,
}  # fmt: skip


@pytest.mark.parametrize("device", [name for name, device in virtio.DEVICES.items() if device.config])
def test_configuration_space_has_the_length_of_the_specification(device: str) -> None:
    assert device in CONFIG_SIZES, f"the length of a {device}'s configuration space is missing here"
    assert plan(layout(device), "<").size == CONFIG_SIZES[device]


@pytest.mark.parametrize("device", ["rng", "rtc", "i2c", "scmi", "watchdog"])
def test_devices_without_a_configuration_space(device: str) -> None:
    assert virtio.config_layout(device) is None


def test_a_feature_changes_the_configuration_space_of_bluetooth() -> None:
    octets = bytes.fromhex("01 02 3412 7856")
    assert read_piece(layout("bluetooth", 1 << 3), octets) == {
        "type": 1, "alignment": 2, "vendor": 0x1234, "msft_opcode": 0x5678,
    }  # fmt: skip
    assert read_piece(layout("bluetooth", 0), octets[:5]) == {"type": 1, "vendor": 0x3402, "msft_opcode": 0x7812}


def test_a_block_device_of_an_older_peer_has_fewer_members() -> None:
    octets = bytes.fromhex("0000100000000000 00000000 7e000000 0000 00 00 00020000".replace(" ", "")) + bytes(36)
    members = read_piece(layout("block"), octets)
    assert members["capacity"] == 1 << 20
    assert (members["seg_max"], members["blk_size"]) == (126, 512)
    assert list(members)[-1] == "write_zeroes_may_unmap"


def test_a_piece_from_the_middle_has_only_whole_members() -> None:
    # from octet 9: the last three of size_max, then seg_max, and the first of cylinders
    assert read_piece(layout("block"), bytes.fromhex("000000 7e000000 01"), 9) == {"seg_max": 126}


def test_a_tag_is_text_and_cannot_upset_a_terminal() -> None:
    octets = b"my\x1b[31mfs" + bytes(36 - 9) + bytes.fromhex("01000000")
    assert read_piece(layout("fs"), octets) == {"tag": "my\\x1b[31mfs", "num_request_queues": 1}


def test_a_tag_whose_length_is_told() -> None:
    assert read_piece(layout("9p"), b"\4\0root") == {"tag_len": 4, "tag": "root"}
    assert read_piece(layout("9p"), b"\xff\xffroot") == {"tag_len": 0xFFFF}
    assert read_piece(layout("9p"), b"root", 2) == {}
