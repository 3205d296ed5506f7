"""Messages and their octets, written down by hand from the layouts of the specification.

Octets are those of a little-endian machine unless ``byte_order`` says otherwise; blanks part the members.
"""

from __future__ import annotations

from vhostspy.dissectors.codec import Context

from .sample import Sample

# A table: broken as it reads best.
# fmt: off

PACKED = Context(virtio_features=1 << 34 | 1 << 32, protocol_features=0)
XEN = Context(virtio_features=0, protocol_features=1 << 17)
POSTCOPY = Context(virtio_features=0, protocol_features=1 << 15 | 1 << 8, postcopy=True)
NET = Context(virtio_features=1 << 32, protocol_features=1 << 9, device="net")
BLOCK = Context(virtio_features=1 << 32, protocol_features=1 << 9, device="block")

UUID = "123e4567 e89b 12d3 a456 426614174000"
UUID_TEXT = "123e4567-e89b-12d3-a456-426614174000"
UUID_OCTETS = bytes.fromhex(UUID)

# guest address, length, user address, offset in the file (both regions lie in one)
LOW_OCTETS = "0000000000000000 0000002000000000 000000c07f7f0000 0000000000000000"
LOW = {"guest_address": 0, "length": 512 << 20, "user_address": 0x7F7F_C000_0000, "mmap_offset": 0}
HIGH_OCTETS = "0000000001000000 0000001000000000 000000e07f7f0000 0000002000000000"
HIGH = {"guest_address": 1 << 32, "length": 256 << 20, "user_address": 0x7F7F_E000_0000, "mmap_offset": 512 << 20}
XEN_OCTETS = LOW_OCTETS + " 02010000 07000000"
XEN_FIELDS = {**LOW, "xen_flags": 0x102, "xen_domain": 7}
XEN_NAMES = {"xen_flags": ["GRANT", "NO_ADVANCE_MAP"]}
OLD_OCTETS = "0000000000000000 0000002000000000 000000c07f7f0000"
OLD = {"guest_address": 0, "length": 512 << 20, "user_address": 0x7F7F_C000_0000}

SYMMETRIC_OCTETS = (
    "03000000 10000000 00000000 00000000 00000000 00000000 01 01 00 00"  # algorithms and lengths, kinds
)
SYMMETRIC = {
    "cipher_algorithm": 3, "cipher_key_length": 16, "hash_algorithm": 0, "digest_length": 0, "auth_key_length": 0,
    "aad_length": 0, "op_type": 1, "direction": 1, "hash_mode": 0, "chain_order": 0,
}
SYMMETRIC_NAMES = {"op_type": "cipher", "direction": "encrypt"}
KEYS_OCTETS = "e0ffffffff7f0000 0000000000000000" + "a5" * 16 + "00" * 48 + "00" * 512
KEYS = {
    "cipher_key_pointer": 0x7FFF_FFFF_FFE0, "auth_key_pointer": 0, "cipher_key": b"\xa5" * 16 + bytes(48),
    "auth_key": bytes(512),
}

NET_CONFIG_OCTETS = "525400123456 0100 0200 dc05 10270000 01 28 8000 ff010000"
NET_CONFIG = {
    "mac": "52:54:00:12:34:56", "status": 1, "max_virtqueue_pairs": 2, "mtu": 1500, "speed": 10000, "duplex": 1,
    "rss_max_key_size": 40, "rss_max_indirection_table_length": 128, "supported_hash_types": 0x1FF,
}

MAIN = [
    Sample("NONE", "request", {}, ""),
    Sample("GET_FEATURES", "request", {}, ""),
    Sample(
        "GET_FEATURES", "reply", {"features": 0x0080_0001_4000_8000}, "0080004001008000",
        {"features": ["bit 15", "PROTOCOL_FEATURES", "VERSION_1", "bit 55"]}, "0x80000140008000",
    ),
    Sample(
        "SET_FEATURES", "request", {"features": 0x0080_0001_4400_8000}, "0080004401008000",
        {"features": ["MRG_RXBUF", "LOG_ALL", "PROTOCOL_FEATURES", "VERSION_1", "GUEST_USO6"]},
        "0x80000144008000", context=NET,
    ),
    Sample("SET_OWNER", "request", {}, ""),
    Sample("RESET_OWNER", "request", {}, ""),
    Sample(
        "SET_MEM_TABLE", "request", {"count": 2, "regions": [LOW, HIGH]},
        f"02000000 00000000 {LOW_OCTETS} {HIGH_OCTETS}", info="2 regions",
    ),
    Sample("SET_MEM_TABLE", "request", {"count": 0, "regions": []}, "00000000 00000000", info="0 regions"),
    Sample(
        "SET_MEM_TABLE", "request", {"count": 1, "padding": b"\1\0\0\0", "regions": [LOW]},
        f"01000000 01000000 {LOW_OCTETS}", info="1 region",
    ),
    Sample(
        "SET_MEM_TABLE", "request", {"count": 1, "regions": [XEN_FIELDS]}, f"01000000 00000000 {XEN_OCTETS}",
        {"regions": [XEN_NAMES]}, "1 region", context=XEN,
    ),
    Sample(
        "SET_MEM_TABLE", "request", {"count": 1, "regions": [OLD]}, f"01000000 00000000 {OLD_OCTETS}", info="1 region"
    ),
    Sample("SET_MEM_TABLE", "request", {"value": 0}, "0000000000000000", info="addresses taken over", context=POSTCOPY),
    Sample("SET_MEM_TABLE", "reply", {"value": 0}, "0000000000000000", info="ok"),
    Sample(
        "SET_MEM_TABLE", "reply", {"count": 1, "regions": [LOW]}, f"01000000 00000000 {LOW_OCTETS}",
        info="1 region", context=POSTCOPY,
    ),
    Sample(
        "SET_MEM_TABLE", "reply", {"count": 1, "regions": [XEN_FIELDS]}, f"01000000 00000000 {XEN_OCTETS}",
        {"regions": [XEN_NAMES]}, "1 region", context=XEN._replace(postcopy=True),
    ),
    Sample(
        "SET_LOG_BASE", "request", {"mmap_length": 65536, "mmap_offset": 4096}, "0000010000000000 0010000000000000",
        info="64 KiB at 0x1000",
    ),
    Sample("SET_LOG_BASE", "request", {"log_base": 0x7F00_1234_5000}, "00503412007f0000", info="at 0x7f0012345000"),
    Sample("SET_LOG_BASE", "reply", {}, ""),
    Sample("SET_LOG_BASE", "reply", {"value": 0x2000}, "0020000000000000"),
    Sample("SET_LOG_BASE", "reply", {"mmap_length": 65536, "mmap_offset": 0}, "0000010000000000 0000000000000000"),
    Sample("SET_LOG_FD", "request", {}, ""),
    Sample("SET_VRING_NUM", "request", {"index": 1, "num": 256}, "01000000 00010000", info="ring 1, 256 entries"),
    Sample(
        "SET_VRING_ADDR", "request",
        {
            "index": 1, "log_used": True, "descriptor": 0x7F7F_C010_0000, "used": 0x7F7F_C010_2000,
            "available": 0x7F7F_C010_1000, "log_address": 0x10_2000,
        },
        "01000000 01000000 000010c07f7f0000 002010c07f7f0000 001010c07f7f0000 0020100000000000",
        info="ring 1, descriptors at 0x7f7fc0100000, logged",
    ),
    Sample(
        "SET_VRING_ADDR", "request",
        {
            "index": 0, "log_used": False, "reserved": 2, "descriptor": 0x10_0000, "used": 0x10_2000,
            "available": 0x10_1000, "log_address": 0,
        },
        "00000000 02000000 0000100000000000 0020100000000000 0010100000000000 0000000000000000",
        info="ring 0, descriptors at 0x100000",
    ),
    Sample("SET_VRING_BASE", "request", {"index": 1, "num": 513}, "01000000 01020000", info="ring 1 at 513"),
    Sample(
        "SET_VRING_BASE", "request",
        {"index": 1, "available_index": 3, "available_wrap": True, "used_index": 2, "used_wrap": False},
        "01000000 03800200", info="ring 1 at 3", context=PACKED,
    ),
    Sample("GET_VRING_BASE", "request", {"index": 1, "num": 0}, "01000000 00000000", info="ring 1"),
    Sample("GET_VRING_BASE", "reply", {"index": 1, "num": 513}, "01000000 01020000", info="ring 1 at 513"),
    Sample(
        "GET_VRING_BASE", "reply",
        {"index": 0, "available_index": 0, "available_wrap": True, "used_index": 0, "used_wrap": True},
        "00000000 00800080", info="ring 0 at 0", context=PACKED,
    ),
    Sample("SET_VRING_KICK", "request", {"index": 3, "nofd": False}, "0300000000000000", info="ring 3"),
    Sample("SET_VRING_CALL", "request", {"index": 3, "nofd": True}, "0301000000000000", info="ring 3, polled"),
    Sample(
        "SET_VRING_ERR", "request", {"index": 255, "nofd": True, "reserved": 1 << 63 | 1 << 9}, "ff03000000000080",
        info="ring 255, none",
    ),
    Sample("GET_PROTOCOL_FEATURES", "request", {}, ""),
    Sample(
        "GET_PROTOCOL_FEATURES", "reply", {"protocol_features": 0x0100_0000_0080_8609}, "0986800000000001",
        {
            "protocol_features": [
                "MQ", "REPLY_ACK", "CONFIG", "BACKEND_SEND_FD", "CONFIGURE_MEM_SLOTS", "GET_VRING_BASE_SKIP_DRAIN",
                "bit 56",
            ]
        },
        "0x100000000808609",
    ),
    Sample(
        "SET_PROTOCOL_FEATURES", "request", {"protocol_features": 9}, "0900000000000000",
        {"protocol_features": ["MQ", "REPLY_ACK"]}, "0x9",
    ),
    Sample("GET_QUEUE_NUM", "request", {}, ""),
    Sample("GET_QUEUE_NUM", "reply", {"queues": 8}, "0800000000000000", info="8 queues"),
    Sample(
        "SET_VRING_ENABLE", "request", {"index": 0, "num": 1}, "00000000 01000000", {"num": "on"}, "ring 0 on"
    ),
    Sample("SET_VRING_ENABLE", "request", {"index": 0, "num": 2}, "00000000 02000000", info="ring 0 2"),
    Sample(
        "SEND_RARP", "request", {"mac": bytes.fromhex("525400123456")}, "525400123456 0000", info="52:54:00:12:34:56"
    ),
    Sample("NET_SET_MTU", "request", {"mtu": 1500}, "dc05000000000000", info="1500"),
    Sample("SET_BACKEND_REQ_FD", "request", {}, ""),
    Sample(
        "IOTLB_MSG", "request",
        {"iova": 0x1_0000_0000, "length": 4096, "user_address": 0x7F7F_C010_0000, "permission": 3, "type": 2},
        "0000000001000000 0010000000000000 000010c07f7f0000 03 02 000000000000",
        {"permission": "read-write", "type": "update"}, "update 4 KiB at 0x100000000",
    ),
    Sample("IOTLB_MSG", "reply", {"value": 0}, "0000000000000000", info="ok"),
    Sample(
        "SET_VRING_ENDIAN", "request", {"index": 1, "num": 1}, "01000000 01000000", {"num": "big-endian"},
        "ring 1, big-endian",
    ),
    Sample(
        "GET_CONFIG", "request", {"offset": 0, "length": 8, "config_flags": 0, "config": bytes(8)},
        "00000000 08000000 00000000 0000000000000000", {"config_flags": "guest write"}, "8 bytes at 0", context=BLOCK,
    ),
    Sample(
        "GET_CONFIG", "reply",
        {"offset": 0, "length": 24, "config_flags": 0, "config": bytes.fromhex(NET_CONFIG_OCTETS)},
        f"00000000 18000000 00000000 {NET_CONFIG_OCTETS}",
        {"config_flags": "guest write", "config": NET_CONFIG}, "24 bytes at 0", context=NET,
    ),
    Sample(
        "GET_CONFIG", "reply", {"offset": 0, "length": 0, "config_flags": 0, "config": b""},
        "00000000 00000000 00000000", {"config_flags": "guest write"}, "0 bytes at 0",
    ),
    Sample("GET_CONFIG", "reply", {}, "", info="failed"),
    Sample(
        "SET_CONFIG", "request", {"offset": 32, "length": 1, "config_flags": 1, "config": b"\1"},
        "20000000 01000000 01000000 01",
        {"config_flags": "migration, or writable", "config": {"writeback": 1}}, "1 byte at 32", context=BLOCK,
    ),
    Sample(
        "CREATE_CRYPTO_SESSION", "request", {"op_code": 2, **SYMMETRIC, **KEYS, "session_id": 0},
        f"0200000000000000 {SYMMETRIC_OCTETS} 00000000 {KEYS_OCTETS}" + "00" * 432 + "0000000000000000",
        {"op_code": "CIPHER_CREATE_SESSION", **SYMMETRIC_NAMES}, "CIPHER_CREATE_SESSION",
    ),
    Sample(
        "CREATE_CRYPTO_SESSION", "reply", {"op_code": 2, **SYMMETRIC, **KEYS, "session_id": 5},
        f"0200000000000000 {SYMMETRIC_OCTETS} 00000000 {KEYS_OCTETS}" + "00" * 432 + "0500000000000000",
        {"op_code": "CIPHER_CREATE_SESSION", **SYMMETRIC_NAMES}, "session 5",
    ),
    *(
        Sample(
            "CREATE_CRYPTO_SESSION", kind,
            {
                "op_code": 0x404, "algorithm": 1, "key_type": 2, "key_length": 4, "key_pointer": 0x7000_0000,
                "rsa_padding": 1, "rsa_hash": 3, "key": b"\x30\x82\x01\x02" + bytes(1020), "session_id": session,
            },
            "0404000000000000 01000000 02000000 04000000 00000000 0000007000000000 01000000 03000000"
            + "30820102" + "00" * 1020 + octets,
            {"op_code": "AKCIPHER_CREATE_SESSION"}, info,
        )
        for kind, session, octets, info in (
            ("request", 0, "0000000000000000", "AKCIPHER_CREATE_SESSION"),
            ("reply", -1, "ffffffffffffffff", "session -1"),
        )
    ),
    *(
        Sample(
            "CREATE_CRYPTO_SESSION", kind, {"session_id": 9, "operation": 2, **SYMMETRIC, **KEYS},
            f"0900000000000000 02000000 {SYMMETRIC_OCTETS} {KEYS_OCTETS}",
            {"operation": "CIPHER_CREATE_SESSION", **SYMMETRIC_NAMES}, info,
        )
        for kind, info in (("request", "CIPHER_CREATE_SESSION"), ("reply", "session 9"))
    ),
    Sample("CLOSE_CRYPTO_SESSION", "request", {"session_id": 5}, "0500000000000000", info="session 5"),
    Sample("POSTCOPY_ADVISE", "request", {}, ""),
    Sample("POSTCOPY_ADVISE", "reply", {}, ""),
    Sample("POSTCOPY_LISTEN", "request", {}, ""),
    Sample("POSTCOPY_END", "request", {}, ""),
    Sample("POSTCOPY_END", "reply", {"value": 0}, "0000000000000000", info="ok"),
    Sample(
        "GET_INFLIGHT_FD", "request", {"mmap_length": 0, "mmap_offset": 0, "num_queues": 4, "queue_size": 128},
        "0000000000000000 0000000000000000 0400 8000 00000000", info="4 queues of 128",
    ),
    Sample(
        "GET_INFLIGHT_FD", "reply", {"mmap_length": 8448, "mmap_offset": 0, "num_queues": 4, "queue_size": 128},
        "0021000000000000 0000000000000000 0400 8000 00000000", info="8448 bytes at 0x0",
    ),
    Sample(
        "SET_INFLIGHT_FD", "request",
        {"mmap_length": 8192, "mmap_offset": 4096, "num_queues": 4, "queue_size": 128, "padding": b"\xde\xad\xbe\xef"},
        "0020000000000000 0010000000000000 0400 8000 deadbeef", info="4 queues of 128, 8 KiB at 0x1000",
    ),
    Sample("GPU_SET_SOCKET", "request", {}, ""),
    Sample("RESET_DEVICE", "request", {}, ""),
    Sample("VRING_KICK", "request", {"index": 2, "num": 0}, "02000000 00000000", info="ring 2"),
    Sample("GET_MAX_MEM_SLOTS", "request", {}, ""),
    Sample("GET_MAX_MEM_SLOTS", "reply", {"slots": 509}, "fd01000000000000", info="509 slots"),
    Sample("ADD_MEM_REG", "request", LOW, f"0000000000000000 {LOW_OCTETS}", info="512 MiB at 0x0"),
    Sample(
        "ADD_MEM_REG", "request", XEN_FIELDS, f"0000000000000000 {XEN_OCTETS}", XEN_NAMES, "512 MiB at 0x0", context=XEN
    ),
    # by its length alone, where the capture began in the middle of a migration
    Sample("ADD_MEM_REG", "request", {"value": 0}, "0000000000000000", info="addresses taken over"),
    Sample("ADD_MEM_REG", "reply", {"value": 1}, "0100000000000000", info="failed (1)"),
    Sample(
        "ADD_MEM_REG", "reply", LOW, f"0000000000000000 {LOW_OCTETS}", info="512 MiB at 0x0", context=POSTCOPY
    ),
    Sample(
        "ADD_MEM_REG", "reply", XEN_FIELDS, f"0000000000000000 {XEN_OCTETS}", XEN_NAMES, "512 MiB at 0x0",
        context=XEN._replace(postcopy=True),
    ),
    Sample("REM_MEM_REG", "request", HIGH, f"0000000000000000 {HIGH_OCTETS}", info="256 MiB at 0x100000000"),
    Sample(
        "REM_MEM_REG", "request", XEN_FIELDS, f"0000000000000000 {XEN_OCTETS}", XEN_NAMES, "512 MiB at 0x0", context=XEN
    ),
    Sample("REM_MEM_REG", "request", {"value": 0}, "0000000000000000", info="addresses taken over", context=POSTCOPY),
    Sample(
        "SET_STATUS", "request", {"status": 0x2F}, "2f00000000000000",
        {"status": ["ACKNOWLEDGE", "DRIVER", "DRIVER_OK", "FEATURES_OK", "bit 5"]},
        "ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, bit 5",
    ),
    Sample("GET_STATUS", "request", {}, ""),
    Sample("GET_STATUS", "reply", {"status": 0}, "0000000000000000", info="0"),
    Sample("GET_SHARED_OBJECT", "request", {"uuid": UUID_OCTETS}, UUID, info=UUID_TEXT),
    Sample("GET_SHARED_OBJECT", "reply", {}, ""),
    Sample("GET_SHARED_OBJECT", "reply", {"uuid": UUID_OCTETS}, UUID),
    Sample(
        "SET_DEVICE_STATE_FD", "request", {"direction": 1, "phase": 0}, "01000000 00000000",
        {"direction": "load", "phase": "stopped"}, "load",
    ),
    Sample(
        "SET_DEVICE_STATE_FD", "reply", {"error": 0, "nofd": True}, "0001000000000000",
        info="ok, front-end's descriptor",
    ),
    Sample("CHECK_DEVICE_STATE", "request", {}, ""),
    Sample("CHECK_DEVICE_STATE", "reply", {"value": 1}, "0100000000000000", info="failed (1)"),
    Sample("GET_SHMEM_CONFIG", "request", {}, ""),
    Sample(
        "GET_SHMEM_CONFIG", "reply", {"count": 1, "lengths": [0, 256 << 20] + [0] * 254},
        "01000000 00000000 0000000000000000 0000001000000000" + "00" * 8 * 254, info="1 region",
    ),
    Sample("GET_VRING_BASE_SKIP_DRAIN", "request", {"index": 1, "num": 0}, "01000000 00000000", info="ring 1"),
    Sample("GET_VRING_BASE_SKIP_DRAIN", "reply", {"index": 1, "num": 7}, "01000000 07000000", info="ring 1 at 7"),
    Sample(
        "GET_VRING_BASE_SKIP_DRAIN", "reply",
        {"index": 1, "available_index": 7, "available_wrap": False, "used_index": 6, "used_wrap": True},
        "01000000 07000680", info="ring 1 at 7", context=PACKED,
    ),
    Sample("GET_SHARED_MEMORY_REGIONS", "request", {}, ""),
    Sample("GET_SHARED_MEMORY_REGIONS", "reply", {"regions": b"\1\2\3"}, "010203"),
]

FS_OCTETS = "0010000000000000" + "00" * 56 + "0020000000000000" + "00" * 56 + "0000200000000000" + "00" * 56
FS = {
    "fd_offsets": [4096] + [0] * 7, "cache_offsets": [8192] + [0] * 7, "lengths": [2 << 20] + [0] * 7,
    "slice_flags": [3] + [0] * 7,
}

MMAP_OCTETS = "01 00000000000000 0010000000000000 0000200000000000 0000010000000000"
MMAP = {"shmid": 1, "fd_offset": 4096, "shm_offset": 2 << 20, "length": 65536}

BACKEND = [
    Sample("NONE", "request", {}, ""),
    Sample(
        "IOTLB_MSG", "request", {"iova": 0x1000, "length": 0, "user_address": 0, "permission": 1, "type": 1},
        "0010000000000000 0000000000000000 0000000000000000 01 01 000000000000",
        {"permission": "read", "type": "miss"}, "miss read at 0x1000",
    ),
    Sample(
        "IOTLB_MSG", "request",
        {"iova": 0x1000, "length": 0, "user_address": 0, "permission": 7, "type": 9, "padding": b"\0\0\0\0\0\1"},
        "0010000000000000 0000000000000000 0000000000000000 07 09 000000000001", info="9 7 at 0x1000",
    ),
    Sample("CONFIG_CHANGE_MSG", "request", {}, ""),
    Sample(
        "VRING_HOST_NOTIFIER_MSG", "request", {"index": 1, "nofd": False, "length": 4096, "offset": 8192},
        "0100000000000000 0010000000000000 0020000000000000", info="ring 1, 4 KiB at 0x2000",
    ),
    Sample("VRING_CALL", "request", {"index": 1, "num": 0}, "01000000 00000000", info="ring 1"),
    Sample("VRING_ERR", "request", {"index": 1, "num": 0}, "01000000 00000000", info="ring 1"),
    Sample("SHARED_OBJECT_ADD", "request", {"uuid": UUID_OCTETS}, UUID, info=UUID_TEXT),
    Sample("SHARED_OBJECT_REMOVE", "request", {"uuid": UUID_OCTETS}, UUID, info=UUID_TEXT),
    Sample("SHARED_OBJECT_LOOKUP", "request", {"uuid": UUID_OCTETS}, UUID, info=UUID_TEXT),
    Sample("SHARED_OBJECT_LOOKUP", "reply", {"value": 0}, "0000000000000000", info="ok"),
    Sample(
        "SHMEM_MAP", "request", {**MMAP, "writable": True}, f"{MMAP_OCTETS} 0100000000000000",
        info="region 1, 64 KiB at 0x200000, writable",
    ),
    Sample(
        "SHMEM_UNMAP", "request", {**MMAP, "writable": False, "reserved": 4}, f"{MMAP_OCTETS} 0400000000000000",
        info="region 1, 64 KiB at 0x200000",
    ),
    *(
        Sample(message, "request", FS, FS_OCTETS + "0300000000000000" + "00" * 56)
        for message in ("FS_MAP", "FS_UNMAP", "FS_SYNC", "FS_IO")
    ),
    Sample(
        "GPU_MAP", "request",
        {
            "shmid": 1, "shm_offset": 2 << 20, "length": 65536, "memory_index": 3, "handle_type": 2,
            "device_uuid": UUID_OCTETS, "driver_uuid": bytes(16),
        },
        f"01 00000000000000 0000200000000000 0000010000000000 03000000 02000000 {UUID} " + "00" * 16,
        info="region 1, 64 KiB at 0x200000",
    ),
    Sample("GPU_MAP", "reply", {"value": 0}, "0000000000000000", info="ok"),
    Sample(
        "EXTERNAL_MAP", "request",
        {"shmid": 1, "padding": b"\0\0\0\0\0\0\7", "shm_offset": 0, "length": 4096, "pointer": 0x7F00_0000_0000},
        "01 00000000000007 0000000000000000 0010000000000000 00000000007f0000",
        info="region 1, 4 KiB at 0x0",
    ),
    Sample("EXTERNAL_MAP", "reply", {"value": (1 << 64) - 22}, "eaffffffffffffff", info="failed (-22)"),
]

#: The same on a big-endian machine; what is no integer stays as it is.
BIG_ENDIAN = [
    Sample("SET_VRING_NUM", "request", {"index": 1, "num": 256}, "00000001 00000100", info="ring 1, 256 entries"),
    Sample("SET_VRING_KICK", "request", {"index": 3, "nofd": True}, "0000000000000103", info="ring 3, polled"),
    Sample(
        "SET_MEM_TABLE", "request", {"count": 1, "regions": [HIGH]},
        "00000001 00000000 0000000100000000 0000000010000000 00007f7fe0000000 0000000020000000", info="1 region",
    ),
    Sample(
        "SET_VRING_BASE", "request",
        {"index": 1, "available_index": 3, "available_wrap": True, "used_index": 2, "used_wrap": False},
        "00000001 00028003", info="ring 1 at 3", context=PACKED,
    ),
    Sample(
        "SEND_RARP", "request", {"mac": bytes.fromhex("525400123456")}, "525400123456 0000", info="52:54:00:12:34:56"
    ),
    Sample("SHARED_OBJECT_ADD", "request", {"uuid": UUID_OCTETS}, UUID, info=UUID_TEXT, channel="backend"),
    # the configuration space of a modern device is little-endian everywhere
    Sample(
        "GET_CONFIG", "reply",
        {"offset": 10, "length": 2, "config_flags": 1, "config": b"\xdc\x05"}, "0000000a 00000002 00000001 dc05",
        {"config_flags": "migration, or writable", "config": {"mtu": 1500}}, "2 bytes at 10", context=NET,
    ),
    Sample("SET_OWNER", "reply", {"value": 1}, "0000000000000001", info="failed (1)"),
]

SLICES_OCTETS = "".join(f"{value:016x}" for value in range(32))
SLICES = {
    "fd_offsets": [value << 56 for value in range(8)],
    "cache_offsets": [value << 56 for value in range(8, 16)],
    "lengths": [value << 56 for value in range(16, 24)],
    "slice_flags": [value << 56 for value in range(24, 32)],
}
MMAP_OCTETS = "01 00000000000000 0010000000000000 0020000000000000 0030000000000000 0100000000000000"
MMAP = {"shmid": 1, "fd_offset": 0x1000, "shm_offset": 0x2000, "length": 0x3000, "writable": True}

#: messages that drafts and vendors gave a number of others
OTHERS = [
    Sample("NET_SET_BACKEND", "request", {"index": 1, "nofd": False}, "0100000000000000", info="ring 1"),
    Sample(
        "GET_VRING_BASE", "request", {"index": 1, "num": 1}, "01000000 01000000", {"num": "skip drain"}, "ring 1",
    ),
    Sample("SLEEP", "request", {}, ""),
    Sample("SLEEP", "reply", {"data": b"\1"}, "01"),
    Sample("GET_VRING_BASE_SKIP_DRAIN", "request", {"index": 1, "num": 0}, "01000000 00000000", info="ring 1", id=44),
    Sample(
        "GET_VRING_BASE_SKIP_DRAIN", "reply", {"index": 1, "num": 9}, "01000000 09000000", info="ring 1 at 9", id=44,
    ),
    Sample(
        "GET_VRING_BASE_SKIP_DRAIN", "reply",
        {"index": 1, "available_index": 3, "available_wrap": True, "used_index": 2, "used_wrap": False},
        "01000000 03800200", info="ring 1 at 3", context=PACKED, id=44,
    ),
    Sample("RESTORE", "request", {"data": b"{}"}, "7b7d"),
    Sample("RESTORE", "reply", {"data": b""}, ""),
    *(
        Sample(name, "request", SLICES, SLICES_OCTETS, channel="backend", id=id)
        for name, id in (("FS_MAP", 6), ("FS_UNMAP", 7), ("FS_SYNC", 8), ("MEM_ACCESS", 9))
    ),
    Sample(
        "SHMEM_MAP", "request", MMAP, MMAP_OCTETS, info="region 1, 12 KiB at 0x2000, writable", channel="backend",
        id=1000,
    ),
    Sample(
        "SHMEM_UNMAP", "request", MMAP, MMAP_OCTETS, info="region 1, 12 KiB at 0x2000", channel="backend", id=1001,
    ),
]

VHOST_USER: list[Sample] = [
    *OTHERS,
    *MAIN,
    *(sample._replace(channel="backend") for sample in BACKEND),
    *(sample._replace(byte_order=">") for sample in BIG_ENDIAN),
]
