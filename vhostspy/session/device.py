"""Which device a session is about. vhost-user never says; it shows by what is asked, offered and how long things are.

Strong evidence first: messages and feature bits that only one device has, then the length of the configuration space,
then feature bits that point to one. A guess is made only where one device is left, and says why.
"""

from __future__ import annotations

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


CRYPTO_SESSION = 1 << 7

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

_NET = 1 << 15  # MRG_RXBUF: no other device has that bit
_BLOCK = 1 << 2 | 1 << 6  # SEG_MAX, BLK_SIZE
#: device bits: those below 24, where the common ones begin
_DEVICE_BITS = (1 << 24) - 1


def infer(evidence: Evidence) -> Guess | None:
    """The device, if one is left; None while it cannot be told."""
    for message, device in MESSAGES.items():
        if message in evidence.messages:
            return Guess(device, f"{message} was sent")
    if evidence.protocol is not None and evidence.protocol & CRYPTO_SESSION and not _is_net(evidence.virtio):
        # DPDK offers the bit with every device it makes
        return Guess("crypto", "CRYPTO_SESSION was offered")
    if evidence.config_size is not None:
        candidates = CONFIG_SIZES.get(evidence.config_size, ())
        if len(candidates) > 1:
            candidates = tuple(device for device in candidates if _fits(device, evidence))
        if len(candidates) == 1:
            return Guess(candidates[0], f"its configuration space has {evidence.config_size} bytes")
    if _is_net(evidence.virtio):
        return Guess("net", "its feature bits are a network device's")
    if evidence.virtio is not None and evidence.virtio & _BLOCK == _BLOCK:
        return Guess("block", "its feature bits are a block device's")
    return None


def _is_net(features: int | None) -> bool:
    return features is not None and features & _NET != 0


def _fits(device: str, evidence: Evidence) -> bool:
    """Whether one of several devices with configuration spaces of this length is likely, by its other marks."""
    bits = (evidence.virtio or 0) & _DEVICE_BITS
    if device == "gpu":
        return bits & 0b11 != 0  # VIRGL, EDID; others of 16 bytes are told otherwise
    if device == "balloon":
        return bits & 0b111110 != 0 and not bits & 1
    if device == "iommu":
        return bits & 0b1111110 != 0
    if device in ("memory", "pmem", "media", "gpio", "sound"):
        # rare, or like others in all we see: taken only where nothing else remains
        return device == "gpio" and bool(bits & 1) or device == "sound" and evidence.queues == 4
    if device == "vsock":
        return not bits & 1 or bool(bits & 2)
    return True
