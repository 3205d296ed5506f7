"""vfio-user: messages and their octets, by hand from the layouts of the specification, some as QEMU sent them."""

from __future__ import annotations

from .sample import Sample

# A table: broken as it reads best.
# fmt: off

TEXT = '{"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true,"fd_index":0}}}'
JSON_OCTETS = TEXT.encode().hex() + "00"
JSON = {"capabilities": {"max_msg_fds": 8, "twin_socket": {"supported": True, "fd_index": 0}}}

REGION_OCTETS = "02000000 00000000 0010000000000000 0000000000010000"
CAPS_OCTETS = (
    "70000000 0f000000 02000000 20000000 0010000000000000 0000000000010000"
    # sparse mmap, next at 0x50: two areas
    "0100 0100 50000000 02000000 00000000 0000000000000000 0004000000000000 0008000000000000 0002000000000000"
    # type, next at 0x60
    "0200 0100 60000000 07000000 01000000"
    # MSI-X mappable, next at 0x68
    "0300 0100 68000000"
    # one that nobody knows, the last
    "2a00 0200 00000000"
)
REGION = {"index": 2, "cap_offset": 32, "length": 0x1000, "offset": 1 << 40}
CAPABILITIES = [
    {
        "capability": 1, "version": 1, "next": 0x50, "count": 2,
        "areas": [{"offset": 0, "length": 0x400}, {"offset": 0x800, "length": 0x200}],
    },
    {"capability": 2, "version": 1, "next": 0x60, "type": 7, "subtype": 1},
    {"capability": 3, "version": 1, "next": 0x68},
    {"capability": 42, "version": 2, "next": 0, "body": b""},
]
UNMAP_OCTETS = "01000000 0000100000000000 0000200000000000 0010000000000000 0200000000000000"
UNMAP = {"dma_flags": 1, "address": 1 << 20, "length": 2 << 20, "page_size": 4096, "bitmap_length": 2}
SET_OCTETS = "00000000 01000000 02000000"
SET = {"index": 0, "start": 1, "count": 2}
FLAGS = {"get": False, "set": False, "probe": False}

VFIO_USER = [
    Sample(
        "VERSION", "request", {"major": 0, "minor": 1, "version_data": b""}, "0000 0100", info="0.1 ",
    ),
    Sample(
        "VERSION", "reply", {"major": 0, "minor": 1, "version_data": TEXT.encode() + b"\0"},
        "0000 0100" + JSON_OCTETS, {"version_data": JSON}, "0.1 " + TEXT,
    ),
    # QEMU 11.1.3
    Sample(
        "DMA_MAP", "request",
        {"argsz": 32, "dma_flags": 3, "offset": 0, "address": 0, "length": 256 << 20},
        "2000000003000000000000000000000000000000000000000000001000000000",
        {"dma_flags": ["READ", "WRITE"]}, "256 MiB at 0x0, READ, WRITE",
    ),
    Sample("DMA_MAP", "reply", {}, ""),
    Sample(
        "DMA_UNMAP", "request", {"argsz": 24, "dma_flags": 0, "address": 0xC0000, "length": 0x20000},
        "18000000 00000000 00000c0000000000 0000020000000000", info="128 KiB at 0xc0000",
    ),
    Sample(
        "DMA_UNMAP", "request", {"argsz": 42, **UNMAP, "bitmap": b""}, "2a000000" + UNMAP_OCTETS,
        {"dma_flags": ["GET_DIRTY_BITMAP"]}, "2 MiB at 0x100000",
    ),
    Sample(
        "DMA_UNMAP", "reply", {"argsz": 24, "dma_flags": 2, "address": 0, "length": 0},
        "18000000 02000000 0000000000000000 0000000000000000", {"dma_flags": ["ALL"]}, "0 bytes at 0x0",
    ),
    Sample(
        "DMA_UNMAP", "reply", {"argsz": 42, **UNMAP, "bitmap": b"\x05\x80"}, "2a000000" + UNMAP_OCTETS + "0580",
        {"dma_flags": ["GET_DIRTY_BITMAP"]}, "2 MiB at 0x100000, 2 bytes of dirty bitmap",
    ),
    Sample(
        "DEVICE_GET_INFO", "request", {"argsz": 16, "device_flags": 0, "num_regions": 0, "num_irqs": 0},
        "10000000 00000000 00000000 00000000",
    ),
    # libvfio-user
    Sample(
        "DEVICE_GET_INFO", "reply", {"argsz": 16, "device_flags": 3, "num_regions": 9, "num_irqs": 5},
        "10000000030000000900000005000000", {"device_flags": ["RESET", "PCI"]},
        "9 regions, 5 interrupt types, RESET, PCI",
    ),
    Sample(
        "DEVICE_GET_REGION_INFO", "request",
        {"argsz": 32, "region_flags": 0, "index": 7, "cap_offset": 0, "length": 0, "offset": 0},
        "20000000 00000000 07000000 00000000 0000000000000000 0000000000000000", {"index": "config"}, "region config",
    ),
    Sample(
        "DEVICE_GET_REGION_INFO", "request",
        {"argsz": 40, "region_flags": 0, "index": 9, "cap_offset": 0, "length": 0, "offset": 0, "room": bytes(8)},
        "28000000 00000000 09000000 00000000 0000000000000000 0000000000000000" + "00" * 8, info="region 9",
    ),
    Sample(
        "DEVICE_GET_REGION_INFO", "reply", {"argsz": 32, "region_flags": 7, **REGION, "cap_offset": 0},
        "20000000 07000000" + REGION_OCTETS, {"region_flags": ["READ", "WRITE", "MMAP"], "index": "BAR2"},
        "region BAR2, 4 KiB, READ, WRITE, MMAP",
    ),
    Sample(
        "DEVICE_GET_REGION_INFO", "reply",
        {"argsz": 112, "region_flags": 15, **REGION, "capabilities": CAPABILITIES}, CAPS_OCTETS,
        {
            "region_flags": ["READ", "WRITE", "MMAP", "CAPS"], "index": "BAR2",
            "capabilities": [
                {"capability": "SPARSE_MMAP"}, {"capability": "TYPE"}, {"capability": "MSIX_MAPPABLE"}, {},
            ],
        },
        "region BAR2, 4 KiB, READ, WRITE, MMAP, CAPS",
    ),
    # the capabilities did not fit into what was asked for
    Sample(
        "DEVICE_GET_REGION_INFO", "reply",
        {"argsz": 64, "region_flags": 8, **REGION, "capabilities": []},
        "40000000 08000000 02000000 20000000 0010000000000000 0000000000010000",
        {"region_flags": ["CAPS"], "index": "BAR2"}, "region BAR2, 4 KiB, CAPS",
    ),
    # a capability that leads into its own first members: all that is left is its own
    Sample(
        "DEVICE_GET_REGION_INFO", "reply",
        {
            "argsz": 44, "region_flags": 8, **REGION,
            "capabilities": [{"capability": 99, "version": 1, "next": 36, "body": bytes.fromhex("aabbccdd")}],
        },
        "2c000000 08000000 02000000 20000000 0010000000000000 0000000000010000" "63000100 24000000 aabbccdd",
        {"region_flags": ["CAPS"], "index": "BAR2"}, "region BAR2, 4 KiB, CAPS",
    ),
    Sample(
        "DEVICE_GET_REGION_IO_FDS", "request", {"argsz": 56, "io_flags": 0, "index": 0, "count": 0},
        "38000000 00000000 00000000 00000000", {"index": "BAR0"}, "region BAR0",
    ),
    Sample(
        "DEVICE_GET_REGION_IO_FDS", "reply",
        {
            "argsz": 56, "io_flags": 0, "index": 0, "count": 1,
            "sub_regions": [
                {"offset": 0x100, "length": 4, "fd_index": 0, "type": 1, "io_flags": 2, "datamatch": 0xABCD},
            ],
        },
        "38000000 00000000 00000000 01000000"
        "0001000000000000 0400000000000000 00000000 01000000 02000000 00000000 cdab000000000000",
        {"index": "BAR0", "sub_regions": [{"type": "ioregionfd"}]}, "region BAR0, 1 sub-region",
    ),
    Sample(
        "DEVICE_GET_REGION_IO_FDS", "reply",
        {
            "argsz": 64, "io_flags": 0, "index": 0, "count": 1,
            "sub_regions": [{
                "offset": 0xFEB0_0100, "length": 4, "fd_index": 0, "type": 2, "io_flags": 0, "shadow_fd_index": 1,
                "shadow_offset": 64, "datamatch": 0,
            }],
        },
        "40000000 00000000 00000000 01000000"
        "0001b0fe00000000 0400000000000000 00000000 02000000 00000000 01000000 4000000000000000 0000000000000000",
        {"index": "BAR0", "sub_regions": [{"type": "ioeventfd with shadow memory"}]}, "region BAR0, 1 sub-region",
    ),
    # the list did not fit into what was asked for
    Sample(
        "DEVICE_GET_REGION_IO_FDS", "reply", {"argsz": 64, "io_flags": 0, "index": 0, "count": 1},
        "40000000 00000000 00000000 01000000", {"index": "BAR0"}, "region BAR0, 1 sub-region",
    ),
    Sample(
        "DEVICE_GET_IRQ_INFO", "request", {"argsz": 16, "irq_flags": 0, "index": 3, "count": 0},
        "10000000000000000300000000000000", {"index": "ERR"}, "ERR",
    ),
    Sample(
        "DEVICE_GET_IRQ_INFO", "reply", {"argsz": 16, "irq_flags": 9, "index": 2, "count": 33},
        "10000000 09000000 02000000 21000000", {"irq_flags": ["EVENTFD", "NORESIZE"], "index": "MSI-X"},
        "MSI-X, 33 interrupts",
    ),
    # QEMU 11.1.3; the descriptor comes beside it
    Sample(
        "DEVICE_SET_IRQS", "request", {"argsz": 20, "irq_flags": 0x24, "index": 0, "start": 0, "count": 1},
        "1400000024000000000000000000000001000000",
        {"irq_flags": ["DATA_EVENTFD", "ACTION_TRIGGER"], "index": "INTx"},
        "INTx, 1 from 0: DATA_EVENTFD, ACTION_TRIGGER",
    ),
    Sample(
        "DEVICE_SET_IRQS", "request", {"argsz": 22, "irq_flags": 0x12, **SET, "values": [1, 0]},
        "16000000 12000000" + SET_OCTETS + "01 00", {"irq_flags": ["DATA_BOOL", "ACTION_UNMASK"], "index": "INTx"},
        "INTx, 2 from 1: DATA_BOOL, ACTION_UNMASK",
    ),
    Sample("DEVICE_SET_IRQS", "reply", {}, ""),
    Sample(
        "REGION_READ", "request", {"offset": 0x30, "region": 7, "count": 4}, "3000000000000000 07000000 04000000",
        {"region": "config"}, "config, 4 bytes at 0x30",
    ),
    # libvfio-user
    Sample(
        "REGION_READ", "reply", {"offset": 0x3D, "region": 7, "count": 1, "data": b"\x01"},
        "3d00000000000000070000000100000001", {"region": "config"}, "config, 1 byte at 0x3d: 01",
    ),
    Sample(
        "REGION_READ", "reply", {"offset": 0, "region": 0, "count": 12, "data": bytes(range(12))},
        "0000000000000000 00000000 0c000000 000102030405060708090a0b", {"region": "BAR0"},
        "BAR0, 12 bytes at 0x0: 0001020304050607…",
    ),
    Sample("REGION_READ", "reply", {}, "", info="nothing"),
    # QEMU 11.1.3
    Sample(
        "REGION_WRITE", "request", {"offset": 0x30, "region": 7, "count": 4, "data": bytes.fromhex("00f8ffff")},
        "3000000000000000070000000400000000f8ffff", {"region": "config"}, "config, 4 bytes at 0x30: 00f8ffff",
    ),
    Sample(
        "REGION_WRITE", "reply", {"offset": 0x30, "region": 7, "count": 4}, "30000000000000000700000004000000",
        {"region": "config"}, "config, 4 bytes at 0x30",
    ),
    Sample("REGION_WRITE", "reply", {}, "", info="nothing"),
    Sample(
        "DMA_READ", "request", {"address": 0x10_0000, "count": 4}, "0000100000000000 0400000000000000",
        info="4 bytes at 0x100000",
    ),
    Sample(
        "DMA_READ", "reply", {"address": 0x10_0000, "count": 4, "data": b"\1\2\3\4"},
        "0000100000000000 0400000000000000 01020304", info="4 bytes at 0x100000: 01020304",
    ),
    # as QEMU's code has it
    Sample(
        "DMA_READ", "reply", {"address": 0x10_0000, "early_count": 4, "early_data": b"\1\2\3\4"},
        "0000100000000000 04000000 01020304 00000000", info="4 bytes at 0x100000: 01020304, four bytes early",
    ),
    Sample(
        "DMA_WRITE", "request", {"address": 0x10_0000, "count": 2, "data": b"\1\2"},
        "0000100000000000 0200000000000000 0102", info="2 bytes at 0x100000: 0102",
    ),
    Sample(
        "DMA_WRITE", "request", {"address": 0x10_0000, "early_count": 2, "early_data": b"\1\2"},
        "0000100000000000 02000000 0102 00000000", info="2 bytes at 0x100000: 0102, four bytes early",
    ),
    Sample(
        "DMA_WRITE", "reply", {"address": 0x10_0000, "count": 2}, "0000100000000000 0200000000000000",
        info="2 bytes at 0x100000",
    ),
    Sample("DEVICE_RESET", "request", {}, ""),
    Sample("DEVICE_RESET", "reply", {}, ""),
    Sample("DIRTY_PAGES", "request", {"data": b"\1\2"}, "0102"),
    Sample("DIRTY_PAGES", "reply", {"data": b""}, ""),
    Sample(
        "REGION_WRITE_MULTI", "request",
        {
            "count": 2,
            "writes": [
                {"offset": 16, "region": 0, "count": 4, "data": bytes.fromhex("efbeadde00000000")},
                {"offset": 0x20, "region": 2, "count": 8, "data": bytes.fromhex("0102030405060708")},
            ],
        },
        "0200000000000000 1000000000000000 00000000 04000000 efbeadde00000000"
        "2000000000000000 02000000 08000000 0102030405060708",
        {"writes": [{"region": "BAR0"}, {"region": "BAR2"}]}, "2 writes",
    ),
    Sample("REGION_WRITE_MULTI", "reply", {"count": 2}, "0200000000000000", info="2 writes"),
    Sample(
        "DEVICE_FEATURE", "request", {"argsz": 16, "feature": 1, **FLAGS, "get": True}, "10000000 01000100",
        {"feature": "MIGRATION"}, "MIGRATION, get",
    ),
    Sample(
        "DEVICE_FEATURE", "request",
        {"argsz": 16, "feature": 2, **FLAGS, "set": True, "device_state": 3, "data_fd": 0},
        "10000000 02000200 03000000 00000000", {"feature": "MIG_DEVICE_STATE", "device_state": "STOP_COPY"},
        "MIG_DEVICE_STATE, set: STOP_COPY",
    ),
    Sample(
        "DEVICE_FEATURE", "request",
        {
            "argsz": 40, "feature": 6, **FLAGS, "set": True, "page_size": 4096, "count": 1,
            "ranges": [{"iova": 0x10_0000, "length": 0x20_0000}],
        },
        "28000000 06000200 0010000000000000 01000000 00000000 0000100000000000 0000200000000000",
        {"feature": "DMA_LOGGING_START"}, "DMA_LOGGING_START, set",
    ),
    Sample(
        "DEVICE_FEATURE", "request",
        {"argsz": 40, "feature": 8, **FLAGS, "get": True, "iova": 0x10_0000, "length": 0x20_0000, "page_size": 4096},
        "28000000 08000100 0000100000000000 0000200000000000 0010000000000000",
        {"feature": "DMA_LOGGING_REPORT"}, "DMA_LOGGING_REPORT, get",
    ),
    Sample(
        "DEVICE_FEATURE", "request",
        {"argsz": 9, "feature": 5, **FLAGS, "probe": True, "reserved": 1 << 31, "data": b"\7"},
        "09000000 05000480 07", info="5, probe",
    ),
    Sample(
        "DEVICE_FEATURE", "reply", {"argsz": 8, "feature": 7, **FLAGS, "set": True}, "08000000 07000200",
        {"feature": "DMA_LOGGING_STOP"}, "DMA_LOGGING_STOP, set",
    ),
    Sample(
        "DEVICE_FEATURE", "reply", {"argsz": 16, "feature": 1, **FLAGS, "get": True, "migration_flags": 5},
        "10000000 01000100 0500000000000000", {"feature": "MIGRATION", "migration_flags": ["STOP_COPY", "PRE_COPY"]},
        "MIGRATION, get: STOP_COPY, PRE_COPY",
    ),
    Sample(
        "DEVICE_FEATURE", "reply", {"argsz": 16, "feature": 2, **FLAGS, "get": True, "device_state": 2, "data_fd": 0},
        "10000000 02000100 02000000 00000000", {"feature": "MIG_DEVICE_STATE", "device_state": "RUNNING"},
        "MIG_DEVICE_STATE, get: RUNNING",
    ),
    Sample(
        "DEVICE_FEATURE", "reply",
        {"argsz": 24, "feature": 6, **FLAGS, "set": True, "page_size": 4096, "count": 0, "ranges": []},
        "18000000 06000200 0010000000000000 00000000 00000000", {"feature": "DMA_LOGGING_START"},
        "DMA_LOGGING_START, set",
    ),
    Sample(
        "DEVICE_FEATURE", "reply",
        {
            "argsz": 40, "feature": 8, **FLAGS, "get": True, "iova": 0, "length": 0x2000, "page_size": 4096,
            "bitmap": b"\2" + bytes(7),
        },
        "28000000 08000100 0000000000000000 0020000000000000 0010000000000000 0200000000000000",
        {"feature": "DMA_LOGGING_REPORT"}, "DMA_LOGGING_REPORT, get",
    ),
    Sample(
        "DEVICE_FEATURE", "reply", {"argsz": 9, "feature": 9, **FLAGS, "get": True, "data": b"\1"},
        "09000000 09000100 01", info="9, get",
    ),
    Sample("MIG_DATA_READ", "request", {"argsz": 4104, "length": 4096}, "08100000 00100000", info="4 KiB"),
    Sample(
        "MIG_DATA_READ", "reply", {"argsz": 11, "length": 3, "data": b"abc"}, "0b000000 03000000 616263",
        info="3 bytes",
    ),
    Sample(
        "MIG_DATA_WRITE", "request", {"argsz": 11, "length": 3, "data": b"abc"}, "0b000000 03000000 616263",
        info="3 bytes",
    ),
    Sample("MIG_DATA_WRITE", "reply", {}, ""),
    Sample(
        "REGION_WRITE", "reply", {"offset": 0x30, "region": 7, "count": 4}, "0000000000000030 00000007 00000004",
        {"region": "config"}, "config, 4 bytes at 0x30", byte_order=">",
    ),
]
