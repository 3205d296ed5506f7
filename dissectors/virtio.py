"""The virtio devices: ids, virtqueues, feature bits, status bits and configuration spaces.

Numbers are those of Linux's headers and of the virtio specification 1.4. vhost-user carries them, but does not say
which device it is about: whoever decodes must be told, or guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .rows import Bytes, Field, Gate, Layout, Member, Names, Padding

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
    texts={
        24: "Legacy: a call also when the device has run out of buffers.",
        26: "vhost-user: writes to memory are to be logged, for a migration.",
        27: "Legacy: the parts of a request may be cut anywhere.",
        28: "A descriptor may lead to a table of further descriptors.",
        29: "Driver and device tell by index from when on they want kicks and calls.",
        30: "vhost-user: the back-end knows protocol features, and rings are enabled one by one.",
        32: "The device is a modern one, of virtio 1.0 and later.",
        33: "The device's accesses go through an IOMMU, or are restricted otherwise.",
        34: "Rings may have the packed form.",
        35: "Buffers are used in the order in which they were made available.",
        36: "Memory accesses are ordered as on the platform's real devices.",
        37: "The device has virtual functions.",
        38: "A kick says how far the driver has come.",
        39: "A kick carries data that the device chose.",
        40: "A ring can be reset alone.",
        41: "There is an administration queue.",
        43: "The device can be suspended.",
    },
    older={27: ("VHOST_NET_F_VIRTIO_NET_HDR",), 30: ("BAD_FEATURE",), 33: ("IOMMU_PLATFORM", "DEVICE_IOTLB")},
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
    texts={
        0: "The guest has seen the device.",
        1: "The guest has a driver for it.",
        2: "The driver is ready: rings may be used.",
        3: "The features are settled; the device clears the bit if it cannot do with them.",
        4: "The device is, or is to be, suspended.",
        6: "The device is beyond help until it is reset.",
        7: "The driver has given up.",
    },
)


class Device(NamedTuple):
    """A type of device."""

    name: str
    id: int
    title: str
    #: its virtqueues, in the order of their numbers; empty: not known
    queues: str = ""
    #: its own feature bits
    features: Mapping[int, str] = {}
    #: its configuration space; of several the first whose feature was agreed on
    config: tuple[Layout, ...] = ()
    aliases: tuple[str, ...] = ()
    #: what some of its features were called before
    older: Mapping[int, tuple[str, ...]] = {}


def _config(device: str, *members: Member, needs: tuple[Gate, ...] = ()) -> Layout:
    source = f"virtio, {device} device, Device configuration layout"
    return Layout(f"{device} configuration", members, source, needs=needs)


def _u8(name: str, text: str = "", names: Mapping[int, str] | None = None) -> Field:
    return Field(name, "u8", text, Names("values", names) if names else None)


def _u16(name: str, text: str = "", bits: Mapping[int, str] | None = None) -> Field:
    return Field(name, "u16", text, Names("bits", bits) if bits else None)


def _u32(name: str, text: str = "", bits: Mapping[int, str] | None = None) -> Field:
    return Field(name, "u32", text, Names("bits", bits) if bits else None)


def _u64(name: str, text: str = "", show: str = "") -> Field:
    return Field(name, "u64", text, show=show)


_ROWS = (
    Device(
        "net", 1, "network card",
        "rx 0, tx 0, rx 1, tx 1, …; control last, with CTRL_VQ (mostly kept by the front-end)",
        {
            0: "CSUM", 1: "GUEST_CSUM", 2: "CTRL_GUEST_OFFLOADS", 3: "MTU", 5: "MAC", 6: "GSO", 7: "GUEST_TSO4",
            8: "GUEST_TSO6", 9: "GUEST_ECN", 10: "GUEST_UFO", 11: "HOST_TSO4", 12: "HOST_TSO6", 13: "HOST_ECN",
            14: "HOST_UFO", 15: "MRG_RXBUF", 16: "STATUS", 17: "CTRL_VQ", 18: "CTRL_RX", 19: "CTRL_VLAN",
            20: "CTRL_RX_EXTRA", 21: "GUEST_ANNOUNCE", 22: "MQ", 23: "CTRL_MAC_ADDR", 41: "GUEST_RSC4",
            42: "GUEST_RSC6", 50: "DEVICE_STATS", 51: "HASH_TUNNEL", 52: "VQ_NOTF_COAL", 53: "NOTF_COAL",
            54: "GUEST_USO4", 55: "GUEST_USO6", 56: "HOST_USO", 57: "HASH_REPORT", 59: "GUEST_HDRLEN", 60: "RSS",
            61: "RSC_EXT", 62: "STANDBY", 63: "SPEED_DUPLEX", 64: "RSS_CONTEXT", 65: "GUEST_UDP_TUNNEL_GSO",
            66: "GUEST_UDP_TUNNEL_GSO_CSUM", 67: "HOST_UDP_TUNNEL_GSO", 68: "HOST_UDP_TUNNEL_GSO_CSUM",
            69: "OUT_NET_HEADER", 70: "IPSEC",
        },
        (
            _config(
                "Network",
                Bytes("mac", 6, "with MAC", show="mac"),
                _u16("status", "with STATUS", {0: "LINK_UP", 1: "ANNOUNCE"}),
                _u16("max_virtqueue_pairs", "with MQ or RSS"),
                _u16("mtu", "bytes, with MTU"),
                _u32("speed", "Mbit/s, with SPEED_DUPLEX"),
                _u8("duplex", "with SPEED_DUPLEX", {0: "half", 1: "full", 0xFF: "unknown"}),
                _u8("rss_max_key_size", "bytes, with RSS or HASH_REPORT"),
                _u16("rss_max_indirection_table_length", "with RSS"),
                _u32("supported_hash_types", "with RSS or HASH_REPORT"),
                _u32("supported_tunnel_types", "with HASH_TUNNEL"),
            ),
        ),
        ("network", "nic"),
    ),
    Device(
        "block", 2, "disk", "request 0, request 1, …",
        {
            0: "BARRIER", 1: "SIZE_MAX", 2: "SEG_MAX", 4: "GEOMETRY", 5: "RO", 6: "BLK_SIZE", 7: "SCSI", 9: "FLUSH",
            10: "TOPOLOGY", 11: "CONFIG_WCE", 12: "MQ", 13: "DISCARD", 14: "WRITE_ZEROES", 15: "LIFETIME",
            16: "SECURE_ERASE", 17: "ZONED",
        },
        (
            _config(
                "Block",
                _u64("capacity", "sectors of 512 bytes"),
                _u32("size_max", "bytes, with SIZE_MAX"),
                _u32("seg_max", "with SEG_MAX"),
                _u16("cylinders", "with GEOMETRY"),
                _u8("heads", "with GEOMETRY"),
                _u8("sectors", "with GEOMETRY"),
                _u32("blk_size", "bytes, with BLK_SIZE"),
                _u8("physical_block_exp", "with TOPOLOGY"),
                _u8("alignment_offset", "with TOPOLOGY"),
                _u16("min_io_size", "with TOPOLOGY"),
                _u32("opt_io_size", "with TOPOLOGY"),
                _u8("writeback", "with CONFIG_WCE"),
                Padding(1, "unused"),
                _u16("num_queues", "with MQ"),
                _u32("max_discard_sectors", "with DISCARD"),
                _u32("max_discard_seg", "with DISCARD"),
                _u32("discard_sector_alignment", "with DISCARD"),
                _u32("max_write_zeroes_sectors", "with WRITE_ZEROES"),
                _u32("max_write_zeroes_seg", "with WRITE_ZEROES"),
                _u8("write_zeroes_may_unmap", "with WRITE_ZEROES"),
                Padding(3, "unused1"),
                _u32("max_secure_erase_sectors", "with SECURE_ERASE"),
                _u32("max_secure_erase_seg", "with SECURE_ERASE"),
                _u32("secure_erase_sector_alignment", "with SECURE_ERASE"),
                _u32("zone_sectors", "with ZONED"),
                _u32("max_open_zones", "with ZONED"),
                _u32("max_active_zones", "with ZONED"),
                _u32("max_append_sectors", "with ZONED"),
                _u32("write_granularity", "bytes, with ZONED"),
                _u8("zone_model", "with ZONED", {0: "none", 1: "host-managed", 2: "host-aware"}),
                Padding(3, "unused2"),
            ),
        ),
        ("blk", "disk"),
        {9: ("WCE",)},
    ),
    Device(
        "console", 3, "console", "rx 0, tx 0, control rx, control tx (with MULTIPORT), rx 1, tx 1, …",
        {0: "SIZE", 1: "MULTIPORT", 2: "EMERG_WRITE"},
        (
            _config(
                "Console",
                _u16("cols", "with SIZE"),
                _u16("rows", "with SIZE"),
                _u32("max_nr_ports", "with MULTIPORT"),
                _u32("emerg_wr", "with EMERG_WRITE"),
            ),
        ),
    ),
    Device("rng", 4, "entropy source", "request", aliases=("entropy",)),
    Device(
        "balloon", 5, "memory balloon",
        "inflate, deflate, statistics (with STATS_VQ), free page hint (FREE_PAGE_HINT), reporting (REPORTING)",
        {
            0: "MUST_TELL_HOST", 1: "STATS_VQ", 2: "DEFLATE_ON_OOM", 3: "FREE_PAGE_HINT", 4: "PAGE_POISON",
            5: "REPORTING",
        },
        (
            _config(
                "Memory balloon",
                _u32("num_pages"),
                _u32("actual"),
                _u32("free_page_hint_cmd_id", "0 stop, 1 done, else the command"),
                _u32("poison_val"),
            ),
        ),
    ),
    Device("iomem", 6, "I/O memory"),
    Device("rpmsg", 7, "remote processor messages"),
    Device(
        "scsi", 8, "SCSI host", "control, event, request 0, request 1, …",
        {0: "INOUT", 1: "HOTPLUG", 2: "CHANGE", 3: "T10_PI"},
        (
            _config(
                "SCSI host",
                _u32("num_queues"),
                _u32("seg_max"),
                _u32("max_sectors"),
                _u32("cmd_per_lun"),
                _u32("event_info_size", "bytes"),
                _u32("sense_size", "bytes"),
                _u32("cdb_size", "bytes"),
                _u16("max_channel"),
                _u16("max_target"),
                _u32("max_lun"),
            ),
        ),
    ),
    Device(
        "9p", 9, "9P transport", "request", {0: "MOUNT_TAG"},
        (_config("9P", _u16("tag_len", "bytes"), Bytes("tag", "tag_len", show="text")),),
    ),
    Device("wlan", 10, "mac80211 wireless network card"),
    Device("rproc-serial", 11, "remote processor serial line"),
    Device("caif", 12, "CAIF"),
    Device("new-balloon", 13, "memory balloon, second kind"),
    Device(
        "gpu", 16, "graphics card", "control, cursor",
        {0: "VIRGL", 1: "EDID", 2: "RESOURCE_UUID", 3: "RESOURCE_BLOB", 4: "CONTEXT_INIT", 5: "BLOB_ALIGNMENT"},
        (
            _config(
                "GPU",
                _u32("events_read", "", {0: "DISPLAY"}),
                _u32("events_clear", "", {0: "DISPLAY"}),
                _u32("num_scanouts"),
                _u32("num_capsets"),
                _u32("blob_alignment", "bytes, with BLOB_ALIGNMENT"),
            ),
        ),
        ("graphics",),
    ),
    Device("rtc", 17, "clock", "request, alarm (with ALARM)", {0: "ALARM"}, aliases=("clock",)),
    Device(
        "input", 18, "input device", "event, status",
        config=(
            _config(
                "Input",
                _u8(
                    "select", "what is asked for",
                    {0: "unset", 1: "name", 2: "serial", 3: "ids", 0x10: "properties", 0x11: "events", 0x12: "axis"},
                ),
                _u8("subsel", "of which event type or axis"),
                _u8("answer_length", "bytes of the answer that count"),
                Padding(5, "reserved"),
                Bytes("answer", 128, "as select tells"),
            ),
        ),
    ),
    Device(
        "vsock", 19, "socket", "rx, tx, event", {0: "STREAM", 1: "SEQPACKET", 2: "NO_IMPLIED_STREAM"},
        (_config("Socket", _u64("guest_cid")),),
        ("socket",),
    ),
    Device(
        "crypto", 20, "crypto accelerator", "data 0, data 1, …; control last",
        {
            0: "REVISION_1", 1: "CIPHER_STATELESS_MODE", 2: "HASH_STATELESS_MODE", 3: "MAC_STATELESS_MODE",
            4: "AEAD_STATELESS_MODE", 5: "AKCIPHER_STATELESS_MODE",
        },
        (
            _config(
                "Crypto",
                _u32("status", "", {0: "HW_READY"}),
                _u32("max_dataqueues"),
                _u32("crypto_services", "", {0: "CIPHER", 1: "HASH", 2: "MAC", 3: "AEAD", 4: "AKCIPHER"}),
                _u32("cipher_algo_l"),
                _u32("cipher_algo_h"),
                _u32("hash_algo"),
                _u32("mac_algo_l"),
                _u32("mac_algo_h"),
                _u32("aead_algo"),
                _u32("max_cipher_key_len", "bytes"),
                _u32("max_auth_key_len", "bytes"),
                _u32("akcipher_algo"),
                _u64("max_size", "bytes"),
            ),
        ),
    ),
    Device("signal", 21, "signal distribution"),
    Device("pstore", 22, "persistent storage of logs"),
    Device(
        "iommu", 23, "IOMMU", "request, event",
        {
            0: "INPUT_RANGE", 1: "DOMAIN_RANGE", 2: "MAP_UNMAP", 3: "BYPASS", 4: "PROBE", 5: "MMIO", 6: "BYPASS_CONFIG",
        },
        (
            _config(
                "IOMMU",
                _u64("page_size_mask", show="hex"),
                _u64("input_start", "with INPUT_RANGE", "hex"),
                _u64("input_end", "included, with INPUT_RANGE", "hex"),
                _u32("domain_start", "with DOMAIN_RANGE"),
                _u32("domain_end", "included, with DOMAIN_RANGE"),
                _u32("probe_size", "bytes, with PROBE"),
                _u8("bypass", "with BYPASS_CONFIG"),
                Padding(3, "reserved"),
            ),
        ),
    ),
    Device(
        "memory", 24, "hot-pluggable memory", "guest request",
        {0: "ACPI_PXM", 1: "UNPLUGGED_INACCESSIBLE", 2: "PERSISTENT_SUSPEND"},
        (
            _config(
                "Memory",
                _u64("block_size", "bytes", "size"),
                _u16("node_id", "with ACPI_PXM"),
                Padding(6),
                _u64("addr", "of the guest", "hex"),
                _u64("region_size", "bytes", "size"),
                _u64("usable_region_size", "bytes", "size"),
                _u64("plugged_size", "bytes", "size"),
                _u64("requested_size", "bytes", "size"),
            ),
        ),
        ("mem",),
    ),
    Device(
        "sound", 25, "sound card", "control, event, tx, rx", {0: "CTLS"},
        (_config("Sound", _u32("jacks"), _u32("streams"), _u32("chmaps"), _u32("controls", "with CTLS")),),
        ("snd", "audio"),
    ),
    Device(
        "fs", 26, "file system", "high priority, notification (with NOTIFICATION), request 0, request 1, …",
        {0: "NOTIFICATION"},
        (
            _config(
                "File system",
                Bytes("tag", 36, "name of the file system", show="text"),
                _u32("num_request_queues"),
                _u32("notify_buf_size", "bytes, with NOTIFICATION"),
            ),
        ),
        ("file-system", "virtiofs"),
    ),
    Device(
        "pmem", 27, "persistent memory", "request", {0: "SHMEM_REGION"},
        (_config("Persistent memory", _u64("start", "guest address", "hex"), _u64("length", "bytes", "size")),),
    ),
    Device("rpmb", 28, "replay protected memory block", "request"),
    Device("hwsim", 29, "mac80211 simulated radio"),
    Device("video-encoder", 30, "video encoder", "command, event"),
    Device("video-decoder", 31, "video decoder", "command, event"),
    Device("scmi", 32, "system control", "command, event", {0: "P2A_CHANNELS", 1: "SHARED_MEMORY"}),
    Device("nsm", 33, "Nitro secure module"),
    Device("i2c", 34, "I2C adapter", "request", {0: "ZERO_LENGTH_REQUEST"}),
    Device("watchdog", 35, "watchdog"),
    Device(
        "can", 36, "CAN bus controller", "tx, rx, control",
        {0: "CAN_CLASSIC", 1: "CAN_FD", 2: "RTR_FRAMES", 3: "LATE_TX_ACK"},
        (_config("CAN", _u16("status", "", {0: "BUS_OFF"})),),
    ),
    Device("dmabuf", 37, "shared dma-bufs"),
    Device("parameter-server", 38, "parameter server"),
    Device("audio-policy", 39, "audio policy"),
    Device(
        "bluetooth", 40, "Bluetooth controller", "tx, rx",
        {0: "VND_HCI", 1: "MSFT_EXT", 2: "AOSP_EXT", 3: "CONFIG_V2"},
        (
            _config(
                "Bluetooth",
                _u8("type"),
                _u8("alignment"),
                _u16("vendor", "with VND_HCI"),
                _u16("msft_opcode", "with MSFT_EXT"),
                needs=(Gate("virtio", 3, "CONFIG_V2"),),
            ),
            _config(
                "Bluetooth",
                _u8("type"),
                _u16("vendor", "with VND_HCI"),
                _u16("msft_opcode", "with MSFT_EXT"),
            ),
        ),
        ("bt",),
    ),
    Device(
        "gpio", 41, "GPIO", "request, event (with IRQ)", {0: "IRQ"},
        (_config("GPIO", _u16("ngpio"), Padding(2), _u32("gpio_names_size", "bytes")),),
    ),
    Device("rdma", 42, "RDMA adapter"),
    Device("camera", 43, "camera"),
    Device("ism", 44, "internal shared memory"),
    Device(
        "spi", 45, "SPI controller", "request",
        config=(
            _config(
                "SPI controller",
                _u8("cs_max_number"),
                _u8("cs_change_supported"),
                _u8("tx_nbits_supported"),
                _u8("rx_nbits_supported"),
                _u32("bits_per_word_mask"),
                _u32("mode_func_supported"),
                _u32("max_freq_hz"),
                _u32("max_word_delay_ns"),
                _u32("max_cs_setup_ns"),
                _u32("max_cs_hold_ns"),
                _u32("max_cs_inactive_ns"),
            ),
        ),
    ),
    Device("tee", 46, "trusted execution environment"),
    Device("cpu-balloon", 47, "CPU balloon"),
    Device(
        "media", 48, "media", "command, event",
        config=(_config("Media", _u32("device_caps"), _u32("device_type"), Bytes("card", 32, show="text")),),
    ),
    Device("usb", 49, "USB controller"),
)

#: name -> device; ``find`` knows other names too
DEVICES: Mapping[str, Device] = {device.name: device for device in _ROWS}

_ALIASES = {alias: device for device in _ROWS for alias in device.aliases}
_SQUASHED = {alias.replace("-", ""): device for alias, device in _ALIASES.items()}

_all_features: dict[str | None, Names] = {}


def find(name: str) -> Device | None:
    """A device by any of its names, as programs' own names have them, too: ``vhost-user-blk``, ``virtio_fs``."""
    known = DEVICES.get(name) or _ALIASES.get(name)
    if known is None:
        word = name.lower().replace("_", "-").removeprefix("vhost-user-").removeprefix("virtio-")
        known = DEVICES.get(word) or _ALIASES.get(word) or _SQUASHED.get(word.replace("-", ""))
    return known


def features(device: str | None) -> Names:
    """The feature bits of a type of device (None, or not known: those of every device), the common ones too."""
    names = _all_features.get(device)
    if names is None:
        known = find(device) if device is not None else None
        # the device's own come first: older network cards use two of the bits that later became common
        names = Names("bits", {**COMMON_FEATURES.names, **known.features} if known else COMMON_FEATURES.names)
        _all_features[device if known else None] = names
    return names


def feature_names(bits: int, device: str | None = None) -> list[str]:
    """What the virtio features are called that are set; those that nobody named are ``bit N``."""
    return features(device).bits(bits)


def config_layout(device: str, virtio_features: int | None = None) -> Layout | None:
    """The configuration space of a device, by what was agreed on (None: not known)."""
    known = find(device)
    for layout in known.config if known is not None else ():
        if all((virtio_features or 0) >> gate.bit & 1 for gate in layout.needs):
            return layout
    return None
