"""vhost-user as rows: every message, structure, descriptor and feature bit of both its channels.

Numbers and layouts are those of QEMU's document "Vhost-user Protocol" (docs/interop/vhost-user.rst, 11.1), which the
sources name by section, and of QEMU's code where it is ahead of it or where the text leaves the layout open. Integers
are in the hosts' native byte order. Where peers disagree on a layout, each form is an alternative.

Members are never called ``request``, ``flags`` or ``size``: those names are the header's, and a filter knows each
name once.
"""

from __future__ import annotations

from .rows import (
    ACK,
    BACK_END,
    EMPTY,
    FRONT_END,
    Array,
    Bytes,
    Channel,
    Fds,
    Field,
    Gate,
    Header,
    Layout,
    Member,
    Message,
    Names,
    Padding,
    Part,
    Protocol,
    Word,
)
from .virtio import COMMON_FEATURES, STATUS_BITS

# Where the sources point to.
PROTOCOL = "vhost-user, Protocol features"
FRONT = "vhost-user, Front-end message types, VHOST_USER_"
BACK = "vhost-user, Back-end message types, VHOST_USER_BACKEND_"
PAYLOAD = "vhost-user, Message Specification, Payload, "
QEMU = "QEMU, hw/virtio/vhost-user.c, "
CROSVM = "crosvm, third_party/vmm_vhost, "
RUST_VMM = "rust-vmm/vhost until 2024, "
CROSVM_2023 = "crosvm of 2023, "
VIRTIO_FS = "virtio-fs, DAX branches of QEMU, "

# ---------------------------------------------------------------------------------------------------------------------
# Feature bits, and what a message or layout needs of them

PROTOCOL_FEATURES = Names(
    "bits",
    {
        0: "MQ",
        1: "LOG_SHMFD",
        2: "RARP",
        3: "REPLY_ACK",
        4: "MTU",
        5: "BACKEND_REQ",
        6: "CROSS_ENDIAN",
        7: "CRYPTO_SESSION",
        8: "PAGEFAULT",
        9: "CONFIG",
        10: "BACKEND_SEND_FD",
        11: "HOST_NOTIFIER",
        12: "INFLIGHT_SHMFD",
        13: "RESET_DEVICE",
        14: "INBAND_NOTIFICATIONS",
        15: "CONFIGURE_MEM_SLOTS",
        16: "STATUS",
        17: "XEN_MMAP",
        18: "SHARED_OBJECT",
        19: "DEVICE_STATE",
        20: "GET_VRING_BASE_INFLIGHT",
        21: "GPA_ADDRESSES",
        22: "SHMEM",
        23: "GET_VRING_BASE_SKIP_DRAIN",
    },
    texts={
        0: "There are several queues; GET_QUEUE_NUM tells how many.",
        1: "The dirty log is shared memory, whose descriptor SET_LOG_BASE carries.",
        2: "The back-end can announce the guest's address after a migration (SEND_RARP).",
        3: "A request may ask for an acknowledgement (NEED_REPLY).",
        4: "The front-end may tell the MTU (NET_SET_MTU).",
        5: "There may be a back-end channel, on which the back-end asks.",
        6: "The front-end may say which byte order a legacy device's rings have.",
        7: "Crypto sessions may be opened and closed.",
        8: "Postcopy migration: memory may be missing when it is first touched.",
        9: "The configuration space is read and written by messages.",
        10: "Messages of the back-end channel may carry descriptors.",
        11: "The back-end may offer pages that the guest writes to for a kick.",
        12: "What is under way is tracked in shared memory that outlives the back-end.",
        13: "The device can be reset (RESET_DEVICE).",
        14: "Kicks, calls and errors may be messages in place of eventfds.",
        15: "Memory regions are added and taken away one by one.",
        16: "The virtio device status is passed on.",
        17: "Memory regions tell how Xen maps them; their structure is 8 bytes longer.",
        18: "Back-ends may share objects (dma-bufs) by uuid.",
        19: "The back-end's own state can be saved and loaded.",
        20: "A ring may be stopped with requests under way, which the inflight buffer keeps.",
        21: "Addresses in the messages are the guest's, not those of the front-end's process.",
        22: "The device has shared memory regions, into which the back-end may map files.",
        23: "A ring can be stopped without waiting for requests under way.",
    },
    older={4: ("NET_MTU",), 5: ("SLAVE_REQ",), 10: ("SLAVE_SEND_FD",), 22: ("SHMEM_MAP",)},
)


def _protocol(bit: int, offered: bool = False, drafts: tuple[int, ...] = ()) -> Gate:
    return Gate("protocol", bit, PROTOCOL_FEATURES.names[bit], offered, drafts)


def _virtio(bit: int, offered: bool = False) -> Gate:
    return Gate("virtio", bit, COMMON_FEATURES.names[bit], offered)


_BACKEND_REQ = _protocol(5)
_CONFIG = _protocol(9)
_PAGEFAULT = _protocol(8)
_INFLIGHT = _protocol(12)
_IN_BAND = _protocol(14)
_MEM_SLOTS = _protocol(15)
_XEN = _protocol(17)
_SHARED_OBJECT = _protocol(18)
_DEVICE_STATE = _protocol(19)
#: the bit moved with the drafts: 31 in crosvm, 20 and 21 in rust-vmm until 0.16
_SHMEM = _protocol(22, drafts=(17, 20, 21, 31))
_IOMMU = _virtio(33)

# ---------------------------------------------------------------------------------------------------------------------
# Structures

VIRTIO_FEATURES = Layout(
    "virtio features",
    (Field("features", "u64", "virtio feature bits", COMMON_FEATURES, "hex"),),
    FRONT + "GET_FEATURES",
)
PROTOCOL_FEATURE_WORD = Layout(
    "protocol features",
    (Field("protocol_features", "u64", "vhost-user feature bits", PROTOCOL_FEATURES, "hex"),),
    PROTOCOL,
)
#: A u64 that tells how the request went.
RESULT = Layout("result", (Field("value", "u64", "0 is success", show="result"),), PAYLOAD + "A single 64-bit integer")


def _number(member: Field, name: str) -> Layout:
    return Layout(name, (member,), PAYLOAD + "A single 64-bit integer")


def _vring_state(num: str, names: Names | None = None) -> Layout:
    return Layout(
        "vring state",
        (Field("index", "u32", "number of the ring"), Field("num", "u32", num, names)),
        PAYLOAD + "A vring state description",
    )


VRING_SIZE = _vring_state("entries of the ring")
VRING_NOTIFY = _vring_state("always 0")
VRING_STOP = _vring_state("0; 1 in a draft of GET_VRING_BASE_SKIP_DRAIN", Names("values", {1: "skip drain"}))
VRING_ENABLE = _vring_state("1 enabled, 0 disabled", Names("values", {0: "off", 1: "on"}))
VRING_ENDIAN = _vring_state(
    "byte order of a legacy ring", Names("values", {0: "little-endian", 1: "big-endian"})
)
SPLIT_BASE = _vring_state("next available index, free running, 16 bits")
PACKED_BASE = Layout(
    "packed vring base",
    (
        Field("index", "u32", "number of the ring"),
        Word(
            "u32",
            (
                Part("available_index", 0, 15, "position of the next descriptor to take"),
                Part("available_wrap", 15, 1, "driver's wrap counter", flag=True),
                Part("used_index", 16, 15, "position of the next descriptor to give back"),
                Part("used_wrap", 31, 1, "device's wrap counter", flag=True),
            ),
        ),
    ),
    "vhost-user, Vring descriptor indices for packed virtqueues",
    needs=(_virtio(34),),
)
VRING_BASE = (PACKED_BASE, SPLIT_BASE)

VRING_ADDRESS = Layout(
    "vring address",
    (
        Field("index", "u32", "number of the ring"),
        Word("u32", (Part("log_used", 0, 1, "writes to the used ring go into the dirty log", flag=True),)),
        Field("descriptor", "u64", "descriptor table or ring", show="hex"),
        Field("used", "u64", "used ring; packed: the device's event area", show="hex"),
        Field("available", "u64", "available ring; packed: the driver's event area", show="hex"),
        Field("log_address", "u64", "guest address under which used-ring writes are logged", show="hex"),
    ),
    PAYLOAD + "A vring address description",
)

_VRING_WORD = Word(
    "u64",
    (
        Part("index", 0, 8, "number of the ring"),
        Part("nofd", 8, 1, "no descriptor comes with it: poll, or none", flag=True),
    ),
)
VRING_FD = Layout("vring descriptor word", (_VRING_WORD,), FRONT + "SET_VRING_KICK")
VRING_AREA = Layout(
    "vring area",
    (
        _VRING_WORD,
        Field("length", "u64", "bytes of the area", show="size"),
        Field("offset", "u64", "where it starts in the file", show="hex"),
    ),
    PAYLOAD + "Vring area description",
)

_SHORT_REGION: tuple[Member, ...] = (
    Field("guest_address", "u64", "guest physical address", show="hex"),
    Field("length", "u64", "bytes of the region", show="size"),
    Field("user_address", "u64", "address in the process that sent it", show="hex"),
)
_REGION: tuple[Member, ...] = (
    *_SHORT_REGION,
    Field("mmap_offset", "u64", "where the region starts in its file", show="hex"),
)
_XEN_REGION: tuple[Member, ...] = (
    *_REGION,
    Field(
        "xen_flags", "u32", "how Xen maps it", Names("bits", {0: "FOREIGN", 1: "GRANT", 8: "NO_ADVANCE_MAP"}), "hex"
    ),
    Field("xen_domain", "u32", "domain that owns it"),
)
_REGION_SOURCE = PAYLOAD + "Memory region description"
REGION = Layout("memory region", _REGION, _REGION_SOURCE)
XEN_REGION = Layout("Xen memory region", _XEN_REGION, _REGION_SOURCE, needs=(_XEN,))
REGION_2014 = Layout("memory region of 2014", _SHORT_REGION, "vhost-user of 2014, Memory region description")


def _table(region: Layout, name: str) -> Layout:
    return Layout(
        name,
        (
            Field("count", "u32", "regions that follow"),
            Padding(4),
            Array("regions", region, "count"),
        ),
        PAYLOAD + "Multiple Memory regions description",
        needs=region.needs,
    )


MEMORY_TABLE = _table(REGION, "memory table")
XEN_MEMORY_TABLE = _table(XEN_REGION, "Xen memory table")
#: After POSTCOPY_LISTEN the front-end confirms with it that it has all the back-end's addresses.
POSTCOPY_ACK = Layout(
    "postcopy acknowledgement",
    (Field("value", "u64", "always 0"),),
    QEMU + "vhost_user_set_mem_table_postcopy",
    "the front-end has the back-end's addresses; the text of the specification calls it empty",
    postcopy=True,
)
MEMORY_TABLES = (POSTCOPY_ACK, XEN_MEMORY_TABLE, MEMORY_TABLE, _table(REGION_2014, "memory table of 2014"))
#: The same structures with the back-end's addresses; without postcopy there is but an acknowledgement.
MEMORY_TABLE_ANSWERS = (XEN_MEMORY_TABLE._replace(postcopy=True), MEMORY_TABLE._replace(postcopy=True), ACK)

_SINGLE_REGION_SOURCE = PAYLOAD + "Single memory region description"
SINGLE_REGION = Layout("single region", (Padding(8), *_REGION), _SINGLE_REGION_SOURCE)
XEN_SINGLE_REGION = Layout("Xen single region", (Padding(8), *_XEN_REGION), _SINGLE_REGION_SOURCE, needs=(_XEN,))
SINGLE_REGIONS = (POSTCOPY_ACK, XEN_SINGLE_REGION, SINGLE_REGION)
SINGLE_REGION_ANSWERS = (XEN_SINGLE_REGION._replace(postcopy=True), SINGLE_REGION._replace(postcopy=True), ACK)

LOG = Layout(
    "log",
    (
        Field("mmap_length", "u64", "bytes of the dirty log", show="size"),
        Field("mmap_offset", "u64", "where it starts in its file", show="hex"),
    ),
    PAYLOAD + "Log description",
)
LOG_2014 = _number(Field("log_base", "u64", "address of the dirty log", show="hex"), "log address")
#: no acknowledgement: it is sent unasked, and QEMU's own back-ends repeat the log's size in it
LOG_ANSWER = _number(Field("value", "u64", "without a meaning", show="hex"), "log answer")

IOTLB = Layout(
    "IOTLB message",
    (
        Field("iova", "u64", "I/O virtual address", show="hex"),
        Field("length", "u64", "bytes", show="size"),
        Field("user_address", "u64", "what it is translated to", show="hex"),
        Field(
            "permission",
            "u8",
            "access",
            Names("values", {0: "none", 1: "read", 2: "write", 3: "read-write"}),
        ),
        Field(
            "type",
            "u8",
            "what is asked or told",
            Names(
                "values",
                {1: "miss", 2: "update", 3: "invalidate", 4: "access fail", 5: "batch begin", 6: "batch end"},
            ),
        ),
        Padding(6),
    ),
    PAYLOAD + "IOTLB message",
)

_CONFIG_PIECE: tuple[Member, ...] = (
    Field("offset", "u32", "first byte of the configuration space"),
    Field("length", "u32", "bytes of it", show="size"),
    Field(
        "config_flags",
        "u32",
        "why it is written; the specification has values, rust-vmm and crosvm have bits",
        Names("values", {0: "guest write", 1: "migration, or writable", 2: "migration (bit)"}),
    ),
)
_CONFIG_SOURCE = PAYLOAD + "Virtio device config space"
CONFIG = Layout(
    "config",
    (*_CONFIG_PIECE, Bytes("config", "length", "contents of the configuration space", show="config")),
    _CONFIG_SOURCE,
)
CONFIG_ASKED = Layout(
    "config asked for", (*_CONFIG_PIECE, Bytes("config", "length", "room for the answer")), _CONFIG_SOURCE
)

INFLIGHT = Layout(
    "inflight",
    (
        Field("mmap_length", "u64", "bytes of the buffer", show="size"),
        Field("mmap_offset", "u64", "where it starts in its file", show="hex"),
        Field("num_queues", "u16", "queues it tracks"),
        Field("queue_size", "u16", "entries of each queue"),
        Padding(4),
    ),
    PAYLOAD + "Inflight description",
)

SHARED_OBJECT = Layout(
    "shared object", (Bytes("uuid", 16, "names the object", show="uuid"),), PAYLOAD + "VhostUserShared"
)

DEVICE_STATE = Layout(
    "device state transfer",
    (
        Field("direction", "u32", "which way it goes", Names("values", {0: "save", 1: "load"})),
        Field("phase", "u32", "state of the device meanwhile", Names("values", {0: "stopped"})),
    ),
    PAYLOAD + "Device state transfer parameters",
)
DEVICE_STATE_FD = Layout(
    "device state answer",
    (
        Word(
            "u64",
            (
                Part("error", 0, 8, "0 is success"),
                Part("nofd", 8, 1, "the front-end's own descriptor is used", flag=True),
            ),
        ),
    ),
    FRONT + "SET_DEVICE_STATE_FD",
)

MMAP = Layout(
    "mmap request",
    (
        Field("shmid", "u8", "shared memory region of the device"),
        Padding(7),
        Field("fd_offset", "u64", "where it starts in the file", show="hex"),
        Field("shm_offset", "u64", "where it goes in the region", show="hex"),
        Field("length", "u64", "bytes", show="size"),
        Word("u64", (Part("writable", 0, 1, "mapped read-write, not read-only", flag=True),)),
    ),
    PAYLOAD + "MMAP request",
)
SHMEM_CONFIG = Layout(
    "shared memory configuration",
    (
        Field("count", "u32", "regions whose length is not 0"),
        Padding(4),
        Array("lengths", "u64", 256, "bytes of each region; the place in the list is its shmid"),
    ),
    PAYLOAD + "VIRTIO Shared Memory Region configuration",
)

_CRYPTO_SOURCE = QEMU + "VhostUserCryptoSession"
_OP_CODES = Names(
    "values",
    {
        0x002: "CIPHER_CREATE_SESSION",
        0x003: "CIPHER_DESTROY_SESSION",
        0x102: "HASH_CREATE_SESSION",
        0x103: "HASH_DESTROY_SESSION",
        0x202: "MAC_CREATE_SESSION",
        0x203: "MAC_DESTROY_SESSION",
        0x302: "AEAD_CREATE_SESSION",
        0x303: "AEAD_DESTROY_SESSION",
        0x404: "AKCIPHER_CREATE_SESSION",
        0x405: "AKCIPHER_DESTROY_SESSION",
    },
)
_SYMMETRIC: tuple[Member, ...] = (
    Field("cipher_algorithm", "u32"),
    Field("cipher_key_length", "u32", "bytes"),
    Field("hash_algorithm", "u32"),
    Field("digest_length", "u32", "bytes"),
    Field("auth_key_length", "u32", "bytes"),
    Field("aad_length", "u32", "bytes of additional authenticated data"),
    Field("op_type", "u8", "", Names("values", {0: "none", 1: "cipher", 2: "algorithm chaining"})),
    Field("direction", "u8", "", Names("values", {1: "encrypt", 2: "decrypt"})),
    Field("hash_mode", "u8", "", Names("values", {1: "plain", 2: "auth", 3: "nested"})),
    Field("chain_order", "u8", "", Names("values", {1: "hash then cipher", 2: "cipher then hash"})),
)
_SYMMETRIC_KEYS: tuple[Member, ...] = (
    Field("cipher_key_pointer", "u64", "the sender's own, of no meaning to others", show="hex"),
    Field("auth_key_pointer", "u64", "the sender's own, of no meaning to others", show="hex"),
    Bytes("cipher_key", 64, show="secret"),
    Bytes("auth_key", 512, show="secret"),
)
_SESSION_ID = Field("session_id", "i64", "in the answer; negative: refused")
CRYPTO_SYMMETRIC = Layout(
    "symmetric crypto session",
    (
        Field("op_code", "u64", "service and operation", _OP_CODES, "hex"),
        *_SYMMETRIC,
        Padding(4),
        *_SYMMETRIC_KEYS,
        Padding(432, "unused"),
        _SESSION_ID,
    ),
    _CRYPTO_SOURCE,
)
CRYPTO_ASYMMETRIC = Layout(
    "asymmetric crypto session",
    (
        Field("op_code", "u64", "service and operation", _OP_CODES, "hex"),
        Field("algorithm", "u32"),
        Field("key_type", "u32"),
        Field("key_length", "u32", "bytes"),
        Padding(4),
        Field("key_pointer", "u64", "the sender's own, of no meaning to others", show="hex"),
        Field("rsa_padding", "u32"),
        Field("rsa_hash", "u32"),
        Bytes("key", 1024, show="secret"),
        _SESSION_ID,
    ),
    _CRYPTO_SOURCE,
    when=("op_code", (0x404, 0x405)),
)
CRYPTO_OLD = Layout(
    "crypto session before QEMU 8.0",
    # "operation", not "op_code": by its members it could not be told from the newer one
    (_SESSION_ID, Field("operation", "u32", "service and operation", _OP_CODES, "hex"), *_SYMMETRIC, *_SYMMETRIC_KEYS),
    _CRYPTO_SOURCE,
)
CRYPTO = (CRYPTO_ASYMMETRIC, CRYPTO_SYMMETRIC, CRYPTO_OLD)

FS_SLICES = Layout(
    "file system slices",
    (
        Array("fd_offsets", "u64", 8, "where each slice starts in the file"),
        Array("cache_offsets", "u64", 8, "where it goes in the cache"),
        Array("lengths", "u64", 8, "bytes"),
        Array("slice_flags", "u64", 8, "access"),
    ),
    RUST_VMM + "VhostUserFSBackendMsg",
)
GPU_MAP = Layout(
    "gpu map",
    (
        Field("shmid", "u8", "shared memory region of the device"),
        Padding(7),
        Field("shm_offset", "u64", "where it goes in the region", show="hex"),
        Field("length", "u64", "bytes", show="size"),
        Field("memory_index", "u32"),
        Field("handle_type", "u32"),
        Bytes("device_uuid", 16, show="uuid"),
        Bytes("driver_uuid", 16, show="uuid"),
    ),
    CROSVM + "VhostUserGpuMapMsg",
)
EXTERNAL_MAP = Layout(
    "external map",
    (
        Field("shmid", "u8", "shared memory region of the device"),
        Padding(7),
        Field("shm_offset", "u64", "where it goes in the region", show="hex"),
        Field("length", "u64", "bytes", show="size"),
        Field("pointer", "u64", "address in crosvm", show="hex"),
    ),
    CROSVM + "VhostUserExternalMapMsg",
)

# ---------------------------------------------------------------------------------------------------------------------
# Descriptors

_STOPS = ("GET_VRING_BASE", "GET_VRING_BASE_SKIP_DRAIN")
_MEMORY_GONE = ("SET_MEM_TABLE", "REM_MEM_REG")
_KICK = Fds("kick", 1, 1, unless="nofd", release=("SET_VRING_KICK", *_STOPS))
_CALL = Fds("call", 1, 1, unless="nofd", release=("SET_VRING_CALL", *_STOPS))
_ERR = Fds("err", 1, 1, unless="nofd", release=("SET_VRING_ERR",))
_INFLIGHT_GONE = ("GET_INFLIGHT_FD", "SET_INFLIGHT_FD")

# ---------------------------------------------------------------------------------------------------------------------
# What else had a number: before the standard, and beside it. Sizes tell them apart, as far as that can be.

_ANY = Layout("octets", (Bytes("data", None),), "not laid out anywhere")

NET_SET_BACKEND = Message(
    "NET_SET_BACKEND", 15, FRONT_END, request=(VRING_FD,), reply=None,
    request_fds=Fds("kick", 0, 1),
    source="snabb, first drafts, NET_SET_BACKEND",
    text="Historic: the network device of a ring; laid out like the messages that carry a ring's descriptor.",
    info="ring {index}",
)
SLEEP = Message(
    "SLEEP", 42, FRONT_END, request=(), reply=(_ANY,), answer="reply",
    source=CROSVM_2023 + "SLEEP",
    text="Historic: stops the device, to take a snapshot.",
)
SKIP_DRAIN_DRAFT = Message(
    "GET_VRING_BASE_SKIP_DRAIN", 44, FRONT_END, request=(VRING_NOTIFY,), reply=VRING_BASE, answer="reply",
    source="QEMU, draft of 2026, VHOST_USER_GET_VRING_BASE_SKIP_DRAIN",
    text="Draft: stops a ring without waiting for requests under way.",
    info="ring {index}",
    reply_info="ring {index} at {num}|ring {index} at {available_index}",
)
RESTORE = Message(
    "RESTORE", 45, FRONT_END, request=(_ANY,), reply=(_ANY,), answer="reply",
    source=CROSVM_2023 + "RESTORE",
    text="Historic: gives the device the state of a snapshot.",
)


def _fs(name: str, number: int, source: str, text: str, older: tuple[str, ...] = ()) -> Message:
    return Message(
        name, number, BACK_END, request=(FS_SLICES,), reply=None, request_fds=Fds("memory", 0, 1),
        source=source, text=text, older=older,
    )


FS_MAP_OLD = _fs("FS_MAP", 6, VIRTIO_FS + "FS_MAP", "Historic: maps pieces of a file into the file system's cache.")
FS_UNMAP_OLD = _fs("FS_UNMAP", 7, VIRTIO_FS + "FS_UNMAP", "Historic: takes pieces out of the file system's cache.")
FS_SYNC_OLD = _fs(
    "FS_SYNC", 8, VIRTIO_FS + "FS_SYNC",
    "Historic: writes pieces of the file system's cache back; FS_IO in some branches.", ("FS_IO",),
)
MEM_ACCESS = _fs("MEM_ACCESS", 9, VIRTIO_FS + "MEM_ACCESS", "Historic: reads or writes a file from or to guest memory.")
SHMEM_MAP_2024 = Message(
    "SHMEM_MAP", 1000, BACK_END, request=(MMAP,), reply=None, request_fds=Fds("memory", 0, 1),
    source=CROSVM + "SHMEM_MAP, until 2025",
    text="crosvm before the standard: maps a piece of a file into the device's shared memory.",
    info="region {shmid}, {length} at {shm_offset}{writable?, writable}",
)
SHMEM_UNMAP_2024 = Message(
    "SHMEM_UNMAP", 1001, BACK_END, request=(MMAP,), reply=None,
    source=CROSVM + "SHMEM_UNMAP, until 2025",
    text="crosvm before the standard: takes a mapping out of the device's shared memory.",
    info="region {shmid}, {length} at {shm_offset}",
)

# ---------------------------------------------------------------------------------------------------------------------
# Main channel: the front-end asks

FRONT_END_MESSAGES = (
    Message(
        "NONE", 0, FRONT_END, request=(), reply=None, answer="never",
        source=QEMU + "VHOST_USER_NONE",
        text="Never legal; some back-ends exit when they see it.",
    ),
    Message(
        "GET_FEATURES", 1, FRONT_END, request=(), reply=(VIRTIO_FEATURES,), answer="reply",
        source=FRONT + "GET_FEATURES",
        text="Asks for the virtio feature bits on offer.",
        reply_info="{features}",
        notes="Front-ends also send it to wait until all before it has been done.",
    ),
    Message(
        "SET_FEATURES", 2, FRONT_END, request=(VIRTIO_FEATURES,), reply=None,
        source=FRONT + "SET_FEATURES",
        text="Settles the virtio feature bits; without PROTOCOL_FEATURES among them all rings become enabled.",
        info="{features}",
    ),
    Message(
        "SET_OWNER", 3, FRONT_END, request=(), reply=None,
        source=FRONT + "SET_OWNER",
        text="The sender takes the session for its own; once a connection.",
    ),
    Message(
        "RESET_OWNER", 4, FRONT_END, request=(), reply=None, older=("RESET_DEVICE",),
        source=FRONT + "RESET_OWNER",
        text="Deprecated: gives the session up; back-ends disagree on how much they forget.",
    ),
    Message(
        "SET_MEM_TABLE", 5, FRONT_END, request=MEMORY_TABLES,
        reply=MEMORY_TABLE_ANSWERS, answer="postcopy",
        request_fds=Fds("memory", 0, 8, each="count", release=_MEMORY_GONE),
        source=FRONT + "SET_MEM_TABLE",
        text="Replaces the table of guest memory; one descriptor a region, in their order.",
        info="{count*region}|addresses taken over",
        reply_info="{count*region}",
        notes="Acknowledged when asked for. After POSTCOPY_LISTEN it is always answered, by a table of the same length "
        "with the back-end's own addresses, and an acknowledgement from the front-end follows, which has no answer.",
    ),
    Message(
        "SET_LOG_BASE", 6, FRONT_END, request=(LOG, LOG_2014), reply=(EMPTY, LOG, LOG_ANSWER), answer="with-fds",
        request_fds=Fds("log", 1, 1, needs=_protocol(1), release=("SET_LOG_BASE",)),
        source=FRONT + "SET_LOG_BASE",
        text="Hands over the dirty page log.",
        info="{mmap_length} at {mmap_offset}|at {log_base}",
        notes="With LOG_SHMFD it carries the log's descriptor and is always answered, by nothing, a u64 or the same "
        "structure; without, there is neither.",
    ),
    Message(
        "SET_LOG_FD", 7, FRONT_END, request=(), reply=None,
        request_fds=Fds("log-event", 1, 1, release=("SET_LOG_FD",)),
        source=FRONT + "SET_LOG_FD",
        text="An eventfd that is written when the dirty log has changed.",
    ),
    Message(
        "SET_VRING_NUM", 8, FRONT_END, request=(VRING_SIZE,), reply=None,
        source=FRONT + "SET_VRING_NUM",
        text="How many entries a ring has.",
        info="ring {index}, {num*entry}",
    ),
    Message(
        "SET_VRING_ADDR", 9, FRONT_END, request=(VRING_ADDRESS,), reply=None,
        source=FRONT + "SET_VRING_ADDR",
        text="Where the parts of a ring lie, and whether writes to it are logged.",
        info="ring {index}, descriptors at {descriptor}{log_used?, logged}",
    ),
    Message(
        "SET_VRING_BASE", 10, FRONT_END, request=VRING_BASE, reply=None,
        source=FRONT + "SET_VRING_BASE",
        text="Where in a ring the back-end goes on.",
        info="ring {index} at {num}|ring {index} at {available_index}",
    ),
    Message(
        "GET_VRING_BASE", 11, FRONT_END, request=(VRING_STOP,), reply=VRING_BASE, answer="reply",
        source=FRONT + "GET_VRING_BASE",
        text="Stops a ring and asks how far it came.",
        info="ring {index}",
        reply_info="ring {index} at {num}|ring {index} at {available_index}",
    ),
    Message(
        "SET_VRING_KICK", 12, FRONT_END, request=(VRING_FD,), reply=None, request_fds=_KICK,
        source=FRONT + "SET_VRING_KICK",
        text="The eventfd by which the back-end learns of new buffers; starts the ring.",
        info="ring {index}{nofd?, polled}",
    ),
    Message(
        "SET_VRING_CALL", 13, FRONT_END, request=(VRING_FD,), reply=None, request_fds=_CALL,
        source=FRONT + "SET_VRING_CALL",
        text="The eventfd by which the front-end learns of used buffers.",
        info="ring {index}{nofd?, polled}",
    ),
    Message(
        "SET_VRING_ERR", 14, FRONT_END, request=(VRING_FD,), reply=None, request_fds=_ERR,
        source=FRONT + "SET_VRING_ERR",
        text="The eventfd by which the front-end learns that a ring is broken.",
        info="ring {index}{nofd?, none}",
    ),
    Message(
        "GET_PROTOCOL_FEATURES", 15, FRONT_END, request=(), reply=(PROTOCOL_FEATURE_WORD,), answer="reply",
        needs=(_virtio(30, offered=True),),
        source=FRONT + "GET_PROTOCOL_FEATURES",
        text="Asks for the vhost-user feature bits on offer.",
        reply_info="{protocol_features}",
        others=(NET_SET_BACKEND,),
    ),
    Message(
        "SET_PROTOCOL_FEATURES", 16, FRONT_END, request=(PROTOCOL_FEATURE_WORD,), reply=None,
        needs=(_virtio(30, offered=True),),
        source=FRONT + "SET_PROTOCOL_FEATURES",
        text="Settles the vhost-user feature bits.",
        info="{protocol_features}",
    ),
    Message(
        "GET_QUEUE_NUM", 17, FRONT_END, request=(), answer="reply",
        reply=(_number(Field("queues", "u64", "rings, or ring pairs, at most"), "queue count"),),
        needs=(_protocol(0, offered=True),),
        source=FRONT + "GET_QUEUE_NUM",
        text="Asks how many queues the back-end has.",
        reply_info="{queues*queue}",
    ),
    Message(
        "SET_VRING_ENABLE", 18, FRONT_END, request=(VRING_ENABLE,), reply=None, needs=(_virtio(30),),
        source=FRONT + "SET_VRING_ENABLE",
        text="Lets a ring do its work, or only discard.",
        info="ring {index} {num}",
    ),
    Message(
        "SEND_RARP", 19, FRONT_END, reply=None, needs=(_protocol(2),),
        request=(
            Layout(
                "RARP address",
                (Bytes("mac", 6, "address to announce", show="mac"), Padding(2)),
                FRONT + "SEND_RARP",
            ),
        ),
        source=FRONT + "SEND_RARP",
        text="Asks the back-end to announce the guest's network address after a migration.",
        info="{mac}",
    ),
    Message(
        "NET_SET_MTU", 20, FRONT_END, reply=None, needs=(_protocol(4),),
        request=(_number(Field("mtu", "u64", "bytes"), "MTU"),),
        source=FRONT + "NET_SET_MTU",
        text="Tells the network device its MTU.",
        info="{mtu}",
        notes="The text makes the acknowledgement a must with REPLY_ACK; peers send it when asked.",
    ),
    Message(
        "SET_BACKEND_REQ_FD", 21, FRONT_END, request=(), reply=None, needs=(_BACKEND_REQ,),
        request_fds=Fds("socket", 1, 1, channel="backend"),
        older=("SET_SLAVE_REQ_FD",),
        source=FRONT + "SET_BACKEND_REQ_FD",
        text="Hands over the socket of the back-end channel, in place of an earlier one.",
        notes="The text makes the acknowledgement a must with REPLY_ACK; peers send it when asked.",
    ),
    Message(
        "IOTLB_MSG", 22, FRONT_END, request=(IOTLB,), reply=(RESULT,), answer="reply", needs=(_IOMMU,),
        source=FRONT + "IOTLB_MSG",
        text="Adds or takes back a translation of I/O addresses.",
        info="{type} {length} at {iova}",
        reply_info="{value}",
        notes="DPDK answers only when an acknowledgement is asked for.",
    ),
    Message(
        "SET_VRING_ENDIAN", 23, FRONT_END, request=(VRING_ENDIAN,), reply=None, needs=(_protocol(6),),
        source=FRONT + "SET_VRING_ENDIAN",
        text="Byte order of a legacy device's ring.",
        info="ring {index}, {num}",
    ),
    Message(
        "GET_CONFIG", 24, FRONT_END, request=(CONFIG_ASKED,), reply=(CONFIG, EMPTY), answer="reply", needs=(_CONFIG,),
        source=FRONT + "GET_CONFIG",
        text="Reads the device's configuration space.",
        info="{length} at {offset}",
        reply_info="{length} at {offset}|failed",
        notes="An error is an empty payload, or one whose length member is 0. What the request carries as contents has "
        "no meaning.",
    ),
    Message(
        "SET_CONFIG", 25, FRONT_END, request=(CONFIG,), reply=None, needs=(_CONFIG,),
        source=FRONT + "SET_CONFIG",
        text="Writes the device's configuration space.",
        info="{length} at {offset}",
    ),
    Message(
        "CREATE_CRYPTO_SESSION", 26, FRONT_END, request=CRYPTO, reply=CRYPTO, answer="reply", needs=(_protocol(7),),
        older=("CRYPTO_CREATE_SESS",),
        source=FRONT + "CREATE_CRYPTO_SESSION",
        text="Opens a crypto session; keys travel in clear text.",
        info="{op_code}|{operation}",
        reply_info="session {session_id}",
    ),
    Message(
        "CLOSE_CRYPTO_SESSION", 27, FRONT_END, reply=None, needs=(_protocol(7),),
        request=(_number(Field("session_id", "u64"), "crypto session id"),),
        older=("CRYPTO_CLOSE_SESS",),
        source=FRONT + "CLOSE_CRYPTO_SESSION",
        text="Closes a crypto session.",
        info="session {session_id}",
    ),
    Message(
        "POSTCOPY_ADVISE", 28, FRONT_END, request=(), reply=(), answer="reply", needs=(_PAGEFAULT,),
        reply_fds=Fds("userfault", 1, 1, release=("POSTCOPY_END",)),
        source=FRONT + "POSTCOPY_ADVISE",
        text="A postcopy migration comes in; asks for a userfaultfd.",
    ),
    Message(
        "POSTCOPY_LISTEN", 29, FRONT_END, request=(), reply=None, answer="asked", needs=(_PAGEFAULT,),
        source=FRONT + "POSTCOPY_LISTEN",
        text="From now on memory comes by page faults; to be sent before the memory table.",
        notes="Acknowledged when asked for; libvhost-user always does.",
    ),
    Message(
        "POSTCOPY_END", 30, FRONT_END, request=(), reply=(RESULT,), answer="reply", needs=(_PAGEFAULT,),
        source=FRONT + "POSTCOPY_END",
        text="All pages have come.",
        reply_info="{value}",
    ),
    Message(
        "GET_INFLIGHT_FD", 31, FRONT_END, request=(INFLIGHT,), reply=(INFLIGHT,), answer="reply", needs=(_INFLIGHT,),
        reply_fds=Fds("inflight", 0, 1, release=_INFLIGHT_GONE),
        source=FRONT + "GET_INFLIGHT_FD",
        text="Asks the back-end for a buffer that outlives it and tells which requests are under way.",
        info="{num_queues*queue} of {queue_size}",
        reply_info="{mmap_length} at {mmap_offset}",
        notes="The answer carries the buffer's descriptor unless mmap_length is 0.",
    ),
    Message(
        "SET_INFLIGHT_FD", 32, FRONT_END, request=(INFLIGHT,), reply=None, needs=(_INFLIGHT,),
        request_fds=Fds("inflight", 1, 1, release=_INFLIGHT_GONE),
        source=FRONT + "SET_INFLIGHT_FD",
        text="Gives the inflight buffer (back) to the back-end.",
        info="{num_queues*queue} of {queue_size}, {mmap_length} at {mmap_offset}",
    ),
    Message(
        "GPU_SET_SOCKET", 33, FRONT_END, request=(), reply=None,
        request_fds=Fds("socket", 1, 1, channel="gpu"),
        source=FRONT + "GPU_SET_SOCKET",
        text="Hands over the socket on which the back-end draws.",
    ),
    Message(
        "RESET_DEVICE", 34, FRONT_END, request=(), reply=None, needs=(_protocol(13),),
        source=FRONT + "RESET_DEVICE",
        text="Resets the device: all rings stop; ownership and memory stay.",
    ),
    Message(
        "VRING_KICK", 35, FRONT_END, request=(VRING_NOTIFY,), reply=None, needs=(_IN_BAND,),
        source=FRONT + "VRING_KICK",
        text="A kick as a message: there are new buffers.",
        info="ring {index}",
    ),
    Message(
        "GET_MAX_MEM_SLOTS", 36, FRONT_END, request=(), answer="reply", needs=(_MEM_SLOTS,),
        reply=(_number(Field("slots", "u64", "memory regions at most"), "slot count"),),
        source=FRONT + "GET_MAX_MEM_SLOTS",
        text="Asks how many memory regions the back-end can hold.",
        reply_info="{slots*slot}",
    ),
    Message(
        "ADD_MEM_REG", 37, FRONT_END, request=SINGLE_REGIONS,
        reply=SINGLE_REGION_ANSWERS, answer="postcopy", needs=(_MEM_SLOTS,),
        request_fds=Fds("memory", 1, 1, release=_MEMORY_GONE),
        source=FRONT + "ADD_MEM_REG",
        text="Adds a region to the guest memory.",
        info="{length} at {guest_address}|addresses taken over",
        reply_info="{length} at {guest_address}",
        notes="Acknowledged when asked for. After POSTCOPY_LISTEN it is always answered, by a region with the "
        "back-end's own address; a last one of 8 bytes, without descriptor, is the front-end's acknowledgement and has "
        "no answer.",
    ),
    Message(
        "REM_MEM_REG", 38, FRONT_END, request=SINGLE_REGIONS, reply=None, needs=(_MEM_SLOTS,),
        request_fds=Fds("memory", 0, 1, release=("REM_MEM_REG",)),
        source=FRONT + "REM_MEM_REG",
        text="Takes a region out of the guest memory.",
        info="{length} at {guest_address}|addresses taken over",
        notes="No descriptor; older front-ends send one, which the back-end closes.",
    ),
    Message(
        "SET_STATUS", 39, FRONT_END, reply=None, needs=(_protocol(16),),
        request=(_number(Field("status", "u64", "virtio device status", STATUS_BITS, "hex"), "device status"),),
        source=FRONT + "SET_STATUS",
        text="Tells the back-end the virtio device status.",
        info="{status:names}",
    ),
    Message(
        "GET_STATUS", 40, FRONT_END, request=(), answer="reply", needs=(_protocol(16),),
        reply=(_number(Field("status", "u64", "virtio device status", STATUS_BITS, "hex"), "device status"),),
        source=FRONT + "GET_STATUS",
        text="Asks the back-end for the virtio device status.",
        reply_info="{status:names}",
    ),
    Message(
        "GET_SHARED_OBJECT", 41, FRONT_END, request=(SHARED_OBJECT,), reply=(EMPTY, SHARED_OBJECT), answer="reply",
        needs=(_SHARED_OBJECT,),
        reply_fds=Fds("object", 0, 1),
        source=FRONT + "GET_SHARED_OBJECT",
        text="Asks the back-end for a dma-buf that it shares.",
        info="{uuid}",
        notes="No descriptor in the answer: not found. libvhost-user repeats the uuid; QEMU's request lacks it. crosvm "
        "of 2023 and drafts of virtio-fs gave 41 to messages that QEMU's cannot be told from.",
        also=("GET_SHARED_MEMORY_REGIONS", "MEM_DATA"),
    ),
    Message(
        "SET_DEVICE_STATE_FD", 42, FRONT_END, request=(DEVICE_STATE,), reply=(DEVICE_STATE_FD,), answer="reply",
        needs=(_DEVICE_STATE,),
        request_fds=Fds("device-state", 1, 1, release=("CHECK_DEVICE_STATE",)),
        reply_fds=Fds("device-state", 1, 1, unless="nofd", release=("CHECK_DEVICE_STATE",)),
        source=FRONT + "SET_DEVICE_STATE_FD",
        text="Begins to save or load the back-end's internal state over a pipe.",
        info="{direction}",
        reply_info="{error:result}{nofd?, front-end's descriptor}",
        others=(SLEEP,),
    ),
    Message(
        "CHECK_DEVICE_STATE", 43, FRONT_END, request=(), reply=(RESULT,), answer="reply", needs=(_DEVICE_STATE,),
        source=FRONT + "CHECK_DEVICE_STATE",
        text="Asks whether the state came over whole.",
        reply_info="{value}",
        notes="crosvm of 2023 gave this number to WAKE, which has no payload either.",
        also=("WAKE",),
    ),
    Message(
        "GET_SHMEM_CONFIG", 44, FRONT_END, request=(), reply=(SHMEM_CONFIG,), answer="reply", needs=(_SHMEM,),
        source=FRONT + "GET_SHMEM_CONFIG",
        text="Asks for the device's shared memory regions.",
        reply_info="{count*region}",
        notes="crosvm of 2023 gave this number to SNAPSHOT, which has no payload either.",
        also=("SNAPSHOT",),
        others=(SKIP_DRAIN_DRAFT,),
    ),
    Message(
        "GET_VRING_BASE_SKIP_DRAIN", 45, FRONT_END, request=(VRING_NOTIFY,), reply=VRING_BASE, answer="reply",
        needs=(_protocol(23),),
        source=QEMU + "VHOST_USER_GET_VRING_BASE_SKIP_DRAIN",
        text="Stops a ring without waiting for requests under way.",
        info="ring {index}",
        reply_info="ring {index} at {num}|ring {index} at {available_index}",
        notes="After the text of 11.1: in QEMU's code only.",
        others=(RESTORE,),
    ),
    Message(
        "GET_SHARED_MEMORY_REGIONS", 1004, FRONT_END, request=(), answer="reply",
        reply=(Layout("shared memory regions", (Bytes("regions", None),), CROSVM + "GetSharedMemoryRegions"),),
        source=CROSVM + "GetSharedMemoryRegions",
        text="crosvm of 2024: asks for the device's shared memory regions.",
    ),
)

# ---------------------------------------------------------------------------------------------------------------------
# Back-end channel: the back-end asks

BACK_END_MESSAGES = (
    Message(
        "NONE", 0, BACK_END, request=(), reply=None, answer="never",
        source=QEMU + "VHOST_USER_BACKEND_NONE",
        text="Never legal.",
    ),
    Message(
        "IOTLB_MSG", 1, BACK_END, request=(IOTLB,), reply=None, needs=(_IOMMU, _BACKEND_REQ),
        older=("SLAVE_IOTLB_MSG",),
        source=BACK + "IOTLB_MSG",
        text="An I/O address that could not be translated, or not be accessed.",
        info="{type} {permission} at {iova}",
    ),
    Message(
        "CONFIG_CHANGE_MSG", 2, BACK_END, request=(), reply=None, needs=(_CONFIG, _BACKEND_REQ),
        older=("SLAVE_CONFIG_CHANGE_MSG",),
        source=BACK + "CONFIG_CHANGE_MSG",
        text="The configuration space has changed; to be read again.",
    ),
    Message(
        "VRING_HOST_NOTIFIER_MSG", 3, BACK_END, request=(VRING_AREA,), reply=None,
        needs=(_protocol(11), _BACKEND_REQ),
        request_fds=Fds("notifier", 1, 1, unless="nofd", needs=_protocol(10)),
        older=("SLAVE_VRING_HOST_NOTIFIER_MSG",),
        source=BACK + "VRING_HOST_NOTIFIER_MSG",
        text="A page of hardware that the guest may write to for a kick.",
        info="ring {index}, {length} at {offset}{nofd?, none}",
    ),
    Message(
        "VRING_CALL", 4, BACK_END, request=(VRING_NOTIFY,), reply=None, needs=(_IN_BAND,),
        older=("SLAVE_VRING_CALL",),
        source=BACK + "VRING_CALL",
        text="A call as a message: buffers have been used.",
        info="ring {index}",
    ),
    Message(
        "VRING_ERR", 5, BACK_END, request=(VRING_NOTIFY,), reply=None, needs=(_IN_BAND,),
        older=("SLAVE_VRING_ERR",),
        source=BACK + "VRING_ERR",
        text="An error as a message: the ring is broken.",
        info="ring {index}",
    ),
    Message(
        "SHARED_OBJECT_ADD", 6, BACK_END, request=(SHARED_OBJECT,), reply=None, needs=(_SHARED_OBJECT,),
        source=BACK + "SHARED_OBJECT_ADD",
        text="The back-end shares an object under this uuid.",
        info="{uuid}",
        others=(FS_MAP_OLD,),
    ),
    Message(
        "SHARED_OBJECT_REMOVE", 7, BACK_END, request=(SHARED_OBJECT,), reply=None,
        needs=(_SHARED_OBJECT,),
        source=BACK + "SHARED_OBJECT_REMOVE",
        text="The back-end no longer shares its object.",
        info="{uuid}",
        others=(FS_UNMAP_OLD,),
    ),
    Message(
        "SHARED_OBJECT_LOOKUP", 8, BACK_END, request=(SHARED_OBJECT,), reply=(RESULT,), answer="reply",
        needs=(_SHARED_OBJECT,),
        reply_fds=Fds("object", 0, 1),
        source=BACK + "SHARED_OBJECT_LOOKUP",
        text="Asks for an object that another back-end shares.",
        info="{uuid}",
        reply_info="{value}",
        notes="The answer carries the dma-buf if its value is 0. QEMU of today answers only when asked for an "
        "acknowledgement, and without the descriptor; rust-vmm sends one in the request.",
        others=(FS_SYNC_OLD,),
    ),
    Message(
        "SHMEM_MAP", 9, BACK_END, request=(MMAP,), reply=None, needs=(_SHMEM,),
        request_fds=Fds("memory", 1, 1, release=("SHMEM_UNMAP",)),
        source=BACK + "SHMEM_MAP",
        text="Maps a piece of a file into the device's shared memory.",
        info="region {shmid}, {length} at {shm_offset}{writable?, writable}",
        others=(MEM_ACCESS,),
    ),
    Message(
        "SHMEM_UNMAP", 10, BACK_END, request=(MMAP,), reply=None, needs=(_SHMEM,),
        source=BACK + "SHMEM_UNMAP",
        text="Takes one mapping, whole, out of the device's shared memory.",
        info="region {shmid}, {length} at {shm_offset}",
    ),
    Message(
        "FS_MAP", 1000, BACK_END, request=(FS_SLICES,), reply=None,
        request_fds=Fds("memory", 0, 1),
        source=RUST_VMM + "BackendReq::FS_MAP",
        text="Historic: maps pieces of a file into the file system's cache.",
        others=(SHMEM_MAP_2024,),
    ),
    Message(
        "FS_UNMAP", 1001, BACK_END, request=(FS_SLICES,), reply=None,
        source=RUST_VMM + "BackendReq::FS_UNMAP",
        text="Historic: takes pieces out of the file system's cache.",
        others=(SHMEM_UNMAP_2024,),
    ),
    Message(
        "FS_SYNC", 1002, BACK_END, request=(FS_SLICES,), reply=None,
        source=RUST_VMM + "BackendReq::FS_SYNC",
        text="Historic: writes pieces of the file system's cache back.",
    ),
    Message(
        "FS_IO", 1003, BACK_END, request=(FS_SLICES,), reply=None,
        request_fds=Fds("memory", 0, 1),
        source=RUST_VMM + "BackendReq::FS_IO",
        text="Historic: reads or writes a file from or to guest memory.",
    ),
    Message(
        "GPU_MAP", 1006, BACK_END, request=(GPU_MAP,), reply=(RESULT,), answer="reply",
        request_fds=Fds("memory", 1, 1, release=("SHMEM_UNMAP",)),
        source=CROSVM + "BackendReq::GPU_MAP",
        text="crosvm: maps memory of the graphics device into its shared memory.",
        info="region {shmid}, {length} at {shm_offset}",
        reply_info="{value}",
    ),
    Message(
        "EXTERNAL_MAP", 1007, BACK_END, request=(EXTERNAL_MAP,), reply=(RESULT,), answer="reply",
        source=CROSVM + "BackendReq::EXTERNAL_MAP",
        text="crosvm: maps memory of its own process into the device's shared memory.",
        info="region {shmid}, {length} at {shm_offset}",
        reply_info="{value}",
    ),
)

# ---------------------------------------------------------------------------------------------------------------------
# Channels

HEADER = Header(
    Layout(
        "header",
        (
            Field("request", "u32", "number of the message"),
            Field(
                "flags",
                "u32",
                "version in the two lowest bits",
                Names("bits", {0: "version 1", 2: "REPLY", 3: "NEED_REPLY"}),
                "hex",
            ),
            Field("size", "u32", "bytes of payload that follow"),
        ),
        "vhost-user, Message Specification, Header",
    ),
    length=12,
    id_at=0,
    id_type="u32",
    size_at=8,
    counts_header=False,
    flags_at=4,
    reply_mask=4,
    reply_value=4,
    need_reply_mask=8,
    plain_flags=1,
)

#: No peer takes more than 4096 bytes of payload; what claims more than 16 times that is no message.
LIMIT = HEADER.length + 65536

VHOST_USER = Protocol(
    "vhost-user",
    ("front-end", "back-end"),
    {
        "main": Channel("main", HEADER, LIMIT, {(row.sender, row.id): row for row in FRONT_END_MESSAGES}),
        "backend": Channel("backend", HEADER, LIMIT, {(row.sender, row.id): row for row in BACK_END_MESSAGES}),
    },
    PROTOCOL_FEATURES,
    "QEMU, docs/interop/vhost-user.rst",
)
