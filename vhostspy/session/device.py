"""Which device a session is about. vhost-user never says; it shows by what is asked, offered and how long things are.

Strong evidence first: messages and feature bits that only one device has, then the length of the configuration space,
then feature bits that point to one. A guess is made only where one device is left, and says why.

All of it is tables, which our dissector for Wireshark reads as well (``vhostspy.wireshark``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Evidence(NamedTuple):
    """What was seen so far that depends on the device."""

    #: feature words as offered
    virtio: int | None = None
    protocol: int | None = None
    #: bytes of the configuration space, as the back-end answered
    config_size: int | None = None
    queues: int | None = None
    #: names of telling messages
    messages: frozenset[str] = frozenset()


class Guess(NamedTuple):
    #: a key of ``virtio.DEVICES``
    device: str
    why: str


#: the bit of the protocol features that is a crypto device's, and, with every device it makes, DPDK's: not a network's
CRYPTO_SESSION = 7

#: message -> the one device that it is sent to
MESSAGES = {
    "SEND_RARP": "net",
    "NET_SET_MTU": "net",
    "GPU_SET_SOCKET": "gpu",
    "CREATE_CRYPTO_SESSION": "crypto",
}

#: bytes of a configuration space -> the devices that have one of that length
CONFIG_SIZES: dict[int, tuple[str, ...]] = {
    8: ("vsock", "gpio"),
    12: ("console", "sound"),
    16: ("gpu", "pmem", "balloon", "sound"),
    20: ("gpu",),
    24: ("net",),
    28: ("net",),
    32: ("spi",),
    36: ("scsi",),
    40: ("fs", "iommu", "media"),
    44: ("fs",),
    56: ("crypto", "memory"),
    60: ("block",),
    96: ("block",),
    136: ("input",),
}

#: of devices whose configuration spaces have one length, those that are not it: where, of these bits, these are offered
UNLIKELY: Mapping[str, tuple[tuple[int, int], ...]] = {
    "gpu": ((0b11, 0),),  # VIRGL, EDID; others of 16 bytes are told otherwise
    "balloon": ((0b111110, 0), (1, 1)),
    "iommu": ((0b1111110, 0),),
    "gpio": ((1, 0),),
    "vsock": ((0b11, 1),),
    # rare, or like others in all we see: taken only where nothing else remains
    "memory": ((0, 0),),
    "pmem": ((0, 0),),
    "media": ((0, 0),),
}

#: the same by the number of queues
QUEUES: Mapping[str, int] = {"sound": 4}

#: feature bits that no other device has, at least not together
TELLING_BITS: tuple[tuple[str, int, str], ...] = (
    ("net", 1 << 15, "a network device's"),  # MRG_RXBUF
    ("block", 1 << 2 | 1 << 6, "a block device's"),  # SEG_MAX, BLK_SIZE
)


def infer(evidence: Evidence) -> Guess | None:
    """The device, if one is left; None while it cannot be told."""
    for message, device in MESSAGES.items():
        if message in evidence.messages:
            return Guess(device, f"{message} was sent")
    told = _told_by_bits(evidence.virtio or 0)
    is_net = told is not None and told.device == "net"
    if evidence.protocol is not None and evidence.protocol >> CRYPTO_SESSION & 1 and not is_net:
        return Guess("crypto", "CRYPTO_SESSION was offered")
    if evidence.config_size is not None:
        candidates = CONFIG_SIZES.get(evidence.config_size, ())
        if len(candidates) > 1:
            candidates = tuple(device for device in candidates if _fits(device, evidence))
        if len(candidates) == 1:
            return Guess(candidates[0], f"its configuration space has {evidence.config_size} bytes")
    return told


def _told_by_bits(offered: int) -> Guess | None:
    for device, bits, whose in TELLING_BITS:
        if offered & bits == bits:
            return Guess(device, f"its feature bits are {whose}")
    return None


def _fits(device: str, evidence: Evidence) -> bool:
    """Whether one of several devices with configuration spaces of this length is likely, by its other marks."""
    if device in QUEUES:
        return evidence.queues == QUEUES[device]
    offered = evidence.virtio or 0
    return not any(offered & bits == those for bits, those in UNLIKELY.get(device, ()))
