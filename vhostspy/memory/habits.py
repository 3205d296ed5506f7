"""Which rings of a device are filled in advance, for what may come some day: there buffers wait, and all is well.

Source: VIRTIO 1.3, Virtqueues of each device type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

#: device -> whether a ring of that number holds buffers for the device to fill when it has something
_WAITING: Mapping[str, Callable[[int], bool]] = {
    "net": lambda queue: queue % 2 == 0,
    "vsock": lambda queue: queue in (0, 2),
    "console": lambda queue: queue % 2 == 0,
    "input": lambda queue: queue == 0,
    "scsi": lambda queue: queue == 1,
    "sound": lambda queue: queue in (1, 2, 3),  # what is to be played waits for its time, or for a start
    "gpio": lambda queue: queue == 1,
    "balloon": lambda queue: queue == 2,
    "bluetooth": lambda queue: queue == 1,
    "can": lambda queue: queue in (1, 2),
    "iommu": lambda queue: queue == 1,
    "media": lambda queue: queue == 1,
    "rtc": lambda queue: queue == 1,
    "scmi": lambda queue: queue == 1,
    "video-encoder": lambda queue: queue == 1,
    "video-decoder": lambda queue: queue == 1,
}
#: these answer what they are asked; of an rng nobody knows when it will
_SERVED = frozenset({"block", "fs", "gpu", "crypto", "i2c", "pmem", "spi", "rpmb"})


def waits(device: str | None, queue: int) -> bool | None:
    """Whether buffers may lie in this ring for ever; None: that is not known of the device."""
    habit = _WAITING.get(device or "")
    if habit is not None:
        return habit(queue)
    return False if device in _SERVED else None
