"""The virtio devices: ids, virtqueues, feature bits, status bits and configuration spaces.

vhost-user carries them, but does not say which device it is about: whoever decodes must be told, or guess.
"""

from __future__ import annotations

from .rows import Names

#: Feature bits that mean the same with every device; 26 and 30 are vhost-user's own use of legacy bits.
COMMON_FEATURES = Names(
    "bits",
    {
        24: "NOTIFY_ON_EMPTY",
        26: "LOG_ALL",
        27: "ANY_LAYOUT",
        28: "INDIRECT_DESC",
        29: "EVENT_IDX",
        30: "PROTOCOL_FEATURES",
        32: "VERSION_1",
        33: "ACCESS_PLATFORM",
        34: "RING_PACKED",
        35: "IN_ORDER",
        36: "ORDER_PLATFORM",
        37: "SR_IOV",
        38: "NOTIFICATION_DATA",
        39: "NOTIF_CONFIG_DATA",
        40: "RING_RESET",
        41: "ADMIN_VQ",
        43: "SUSPEND",
    },
    device=True,
)

#: What the driver and the device tell each other in the status byte.
STATUS_BITS = Names(
    "bits",
    {
        0: "ACKNOWLEDGE",
        1: "DRIVER",
        2: "DRIVER_OK",
        3: "FEATURES_OK",
        4: "SUSPEND",
        6: "DEVICE_NEEDS_RESET",
        7: "FAILED",
    },
)
