"""vfio-user as rows: every command, structure and descriptor.

Numbers and layouts are those of QEMU's document "vfio-user Protocol Specification" (docs/interop/vfio-user.rst, 11.1),
which the sources name by section; where libvfio-user or QEMU's client puts something else on the wire, that is an
alternative. Integers are in the hosts' native byte order. The client is the VMM, the server the device; either sends
commands, and both their commands may be on one socket. Which reply belongs to which command the message id tells.

Members are never called ``request``, ``flags``, ``size``, ``msgid`` or ``error``: those names are the header's.
"""

from __future__ import annotations

from .rows import (
    BACK_END,
    EMPTY,
    FRONT_END,
    Array,
    Bytes,
    Chain,
    Channel,
    Fds,
    Field,
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

# Where the sources point to.
COMMAND = "vfio-user, VFIO_USER_"
FEATURES = "vfio-user, VFIO_USER_DEVICE_FEATURE, "
LIBVFIO = "libvfio-user, include/vfio-user.h, "
QEMU = "QEMU, hw/vfio-user/protocol.h, "

# ---------------------------------------------------------------------------------------------------------------------
# Structures

_ARGSZ = Field("argsz", "u32", "of a command: bytes of payload that its sender has room for; of a reply: that it takes")
_DATA = Bytes("data", "count", "what is there")


def _address(name: str, text: str) -> Field:
    return Field(name, "u64", text, show="hex")


def _length(name: str, text: str) -> Field:
    return Field(name, "u64", text, show="size")


VERSION = Layout(
    "version",
    (
        Field("major", "u16", "both ends have the same"),
        Field("minor", "u16", "the reply's is not above the command's"),
        Bytes("version_data", None, "JSON text with a NUL at its end; may be left out", show="json"),
    ),
    COMMAND + "VERSION",
)


def twin_socket(payload: bytes) -> int | None:
    """Which of the descriptors of VERSION's reply is the server's own socket for its commands; None: there is none.

    Source: vfio-user, VFIO_USER_VERSION, twin_socket.
    """
    from json import loads  # here, so that what reads no such reply starts without it

    try:
        twin = loads(payload[4:].split(b"\0", 1)[0])["capabilities"]["twin_socket"]
        index = twin["fd_index"] if twin["supported"] is True else None
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return index if isinstance(index, int) and index >= 0 else None


_DMA_REGION: tuple[Member, ...] = (_address("address", "DMA address"), _length("length", "bytes"))
DMA_MAP = Layout(
    "DMA map",
    (
        _ARGSZ,
        Field(
            "dma_flags", "u32", "access, and how the descriptor serves for it",
            Names("bits", {0: "READ", 1: "WRITE", 2: "MMAP", 3: "FILE_IO"}), "hex",
        ),
        _address("offset", "where the region starts in its file"),
        *_DMA_REGION,
    ),
    COMMAND + "DMA_MAP",
)  # fmt: skip
_DMA_UNMAP: tuple[Member, ...] = (
    _ARGSZ,
    Field("dma_flags", "u32", "unused in the specification", Names("bits", {0: "GET_DIRTY_BITMAP", 1: "ALL"}), "hex"),
    *_DMA_REGION,
)
_BITMAP: tuple[Member, ...] = (
    _length("page_size", "bytes that one bit stands for"),
    _length("bitmap_length", "bytes of the bitmap"),
)
DMA_UNMAP = Layout("DMA unmap", _DMA_UNMAP, COMMAND + "DMA_UNMAP")
DMA_UNMAP_ASKED = Layout(
    "DMA unmap, bitmap asked for",
    (*_DMA_UNMAP, *_BITMAP, Bytes("bitmap", None, "room for the answer")),
    LIBVFIO + "vfio_user_dma_unmap",
)
DMA_UNMAP_BITMAP = Layout(
    "DMA unmap, dirty bitmap",
    (*_DMA_UNMAP, *_BITMAP, Bytes("bitmap", "bitmap_length", "a bit for each page that was written")),
    LIBVFIO + "vfio_user_dma_unmap",
)

DEVICE_INFO = Layout(
    "device info",
    (
        _ARGSZ,
        Field("device_flags", "u32", "", Names("bits", {0: "RESET", 1: "PCI"}), "hex"),
        Field("num_regions", "u32", "regions"),
        Field("num_irqs", "u32", "types of interrupt"),
    ),
    COMMAND + "DEVICE_GET_INFO",
)

#: of a PCI device, the only kind there is in practice
REGIONS = Names("values", {**{bar: f"BAR{bar}" for bar in range(6)}, 6: "ROM", 7: "config", 8: "VGA"})
IRQS = Names("values", {0: "INTx", 1: "MSI", 2: "MSI-X", 3: "ERR", 4: "REQ"})

_REGION_INFO: tuple[Member, ...] = (
    _ARGSZ,
    Field("region_flags", "u32", "", Names("bits", {0: "READ", 1: "WRITE", 2: "MMAP", 3: "CAPS"}), "hex"),
    Field("index", "u32", "number of the region", REGIONS),
    Field("cap_offset", "u32", "where the capabilities start in the payload; 0: there are none"),
    _length("length", "bytes of the region"),
    _address("offset", "where the region starts in its file"),
)
REGION_INFO_ASKED = Layout("region info asked for", _REGION_INFO, COMMAND + "DEVICE_GET_REGION_INFO")
REGION_INFO = REGION_INFO_ASKED._replace(name="region info", when=("cap_offset", (0,)))
REGION_INFO_ROOM = Layout(
    "region info with room",
    (*_REGION_INFO, Bytes("room", None, "no meaning; SPDK's host sends as many bytes as it has room for")),
    "SPDK, lib/vfio_user/host/vfio_user.c",
)
_CAPABILITY: tuple[Member, ...] = (
    Field("capability", "u16", "", Names("values", {1: "SPARSE_MMAP", 2: "TYPE", 3: "MSIX_MAPPABLE"})),
    Field("version", "u16"),
    Field("next", "u32", "where the next one starts in the payload; 0: this is the last"),
)
_CAPABILITY_SOURCE = COMMAND + "DEVICE_GET_REGION_INFO, capabilities"
SPARSE_AREA = Layout(
    "sparse area", (_address("offset", "in the region"), _length("length", "bytes")), _CAPABILITY_SOURCE
)
SPARSE_MMAP = Layout(
    "sparse mmap capability",
    (
        *_CAPABILITY,
        Field("count", "u32", "areas that may be mapped"),
        Padding(4),
        Array("areas", SPARSE_AREA, "count"),
    ),
    _CAPABILITY_SOURCE,
    when=("capability", (1,)),
)
REGION_TYPE = Layout(
    "type capability",
    (*_CAPABILITY, Field("type", "u32"), Field("subtype", "u32")),
    _CAPABILITY_SOURCE,
    when=("capability", (2,)),
)
MSIX_MAPPABLE = Layout("MSI-X mappable capability", _CAPABILITY, _CAPABILITY_SOURCE, when=("capability", (3,)))
ANY_CAPABILITY = Layout("capability", (*_CAPABILITY, Bytes("body", None)), _CAPABILITY_SOURCE)
REGION_INFO_CAPABILITIES = Layout(
    "region info with capabilities",
    (
        *_REGION_INFO,
        Chain("capabilities", (SPARSE_MMAP, REGION_TYPE, MSIX_MAPPABLE, ANY_CAPABILITY), "cap_offset", "next"),
    ),
    COMMAND + "DEVICE_GET_REGION_INFO",
)

_IO_FDS: tuple[Member, ...] = (
    _ARGSZ,
    Field("io_flags", "u32", "always 0"),
    Field("index", "u32", "number of the region", REGIONS),
    Field("count", "u32", "of a reply: sub-regions that follow"),
)
_SUB_REGION: tuple[Member, ...] = (
    _address("offset", "in the region; libvfio-user: guest address"),
    _length("length", "bytes"),
    Field("fd_index", "u32", "which of the message's descriptors"),
    Field("type", "u32", "", Names("values", {0: "ioeventfd", 1: "ioregionfd", 2: "ioeventfd with shadow memory"})),
    Field("io_flags", "u32", "which accesses", show="hex"),
)
_DATAMATCH = _address("datamatch", "value that must be written; of an ioregionfd: user data")
SUB_REGION = Layout("sub-region", (*_SUB_REGION, Padding(4), _DATAMATCH), COMMAND + "DEVICE_GET_REGION_IO_FDS")
SUB_REGION_SHADOW = Layout(
    "sub-region of libvfio-user",
    (
        *_SUB_REGION,
        Field("shadow_fd_index", "u32", "which descriptor the shadow memory is"),
        _address("shadow_offset", "where it starts in that file"),
        _DATAMATCH,
    ),
    LIBVFIO + "vfio_user_sub_region_ioeventfd",
)
IO_FDS_ASKED = Layout("region io descriptors, none listed", _IO_FDS, COMMAND + "DEVICE_GET_REGION_IO_FDS")
IO_FDS = Layout(
    "region io descriptors",
    (*_IO_FDS, Array("sub_regions", SUB_REGION, "count")),
    COMMAND + "DEVICE_GET_REGION_IO_FDS",
)
IO_FDS_SHADOW = Layout(
    "region io descriptors of libvfio-user",
    (*_IO_FDS, Array("sub_regions", SUB_REGION_SHADOW, "count")),
    LIBVFIO + "vfio_user_region_io_fds_reply",
)

IRQ_INFO = Layout(
    "irq info",
    (
        _ARGSZ,
        Field(
            "irq_flags", "u32", "",
            Names("bits", {0: "EVENTFD", 1: "MASKABLE", 2: "AUTOMASKED", 3: "NORESIZE"}), "hex",
        ),
        Field("index", "u32", "type of interrupt", IRQS),
        Field("count", "u32", "interrupts of this type"),
    ),
    COMMAND + "DEVICE_GET_IRQ_INFO",
)  # fmt: skip
_SET_IRQS: tuple[Member, ...] = (
    _ARGSZ,
    Field(
        "irq_flags", "u32", "one DATA_ bit and one ACTION_ bit",
        Names(
            "bits",
            {
                0: "DATA_NONE", 1: "DATA_BOOL", 2: "DATA_EVENTFD",
                3: "ACTION_MASK", 4: "ACTION_UNMASK", 5: "ACTION_TRIGGER",
            },
        ),
        "hex",
    ),
    Field("index", "u32", "type of interrupt", IRQS),
    Field("start", "u32", "the first interrupt"),
    Field("count", "u32", "how many from there on"),
)  # fmt: skip
SET_IRQS = Layout("irq set", _SET_IRQS, COMMAND + "DEVICE_SET_IRQS")
SET_IRQS_BOOL = Layout(
    "irq set with booleans",
    (*_SET_IRQS, Array("values", "u8", "count", "whether it is to be done to each")),
    COMMAND + "DEVICE_SET_IRQS",
)

_ACCESS: tuple[Member, ...] = (
    _address("offset", "in the region"),
    Field("region", "u32", "number of the region", REGIONS),
    Field("count", "u32", "bytes"),
)
REGION_ACCESS = Layout("region access", _ACCESS, COMMAND + "REGION_READ")
REGION_DATA = Layout("region data", (*_ACCESS, _DATA), COMMAND + "REGION_READ")
REGION_WRITE_DATA = REGION_DATA._replace(source=COMMAND + "REGION_WRITE")

REGION_WRITE = Layout(
    "region write", (*_ACCESS, Bytes("data", 8, "the first count bytes count")), COMMAND + "REGION_WRITE_MULTI"
)
REGION_WRITES = Layout(
    "region writes",
    (Field("count", "u64", "writes that follow"), Array("writes", REGION_WRITE, "count")),
    COMMAND + "REGION_WRITE_MULTI",
)
REGION_WRITES_DONE = Layout(
    "region writes done", (Field("count", "u64", "writes that were done"),), COMMAND + "REGION_WRITE_MULTI"
)

_DMA_ACCESS: tuple[Member, ...] = (_address("address", "DMA address"), Field("count", "u64", "bytes"))
DMA_ACCESS = Layout("DMA access", _DMA_ACCESS, COMMAND + "DMA_READ")
DMA_DATA = Layout("DMA data", (*_DMA_ACCESS, _DATA), COMMAND + "DMA_READ")
#: revisions of QEMU's client have a count of 32 bits and the data right behind it, then four bytes too much (Debian's
#: 11.1.3 sends it as it should be)
DMA_DATA_EARLY = Layout(
    "DMA data, four bytes early",
    (
        _address("address", "DMA address"),
        Field("early_count", "u32", "bytes"),
        Bytes("early_data", "early_count", "what is there, at an offset of 12 where 16 is right"),
        Padding(4),
    ),
    QEMU + "VFIOUserDMARW",
)

FEATURE_NAMES = Names(
    "values",
    {
        1: "MIGRATION",
        2: "MIG_DEVICE_STATE",
        6: "DMA_LOGGING_START",
        7: "DMA_LOGGING_STOP",
        8: "DMA_LOGGING_REPORT",
    },
)
STATES = Names(
    "values",
    {
        0: "ERROR",
        1: "STOP",
        2: "RUNNING",
        3: "STOP_COPY",
        4: "RESUMING",
        5: "RUNNING_P2P",
        6: "PRE_COPY",
        7: "PRE_COPY_P2P",
    },
)
_FEATURE: tuple[Member, ...] = (
    _ARGSZ,
    Word(
        "u32",
        (
            Part("feature", 0, 16, "which one", names=FEATURE_NAMES),
            Part("get", 16, 1, "it is asked for", flag=True),
            Part("set", 17, 1, "it is set", flag=True),
            Part("probe", 18, 1, "whether that can be done", flag=True),
        ),
    ),
)


def _feature(name: str, number: int, *members: Member) -> Layout:
    return Layout(name, (*_FEATURE, *members), FEATURES + FEATURE_NAMES.names[number], when=("feature", (number,)))


FEATURE = Layout("device feature", _FEATURE, COMMAND + "DEVICE_FEATURE")
MIGRATION = _feature(
    "migration feature",
    1,
    Field("migration_flags", "u64", "", Names("bits", {0: "STOP_COPY", 1: "P2P", 2: "PRE_COPY"}), "hex"),
)
MIG_DEVICE_STATE = _feature(
    "device state",
    2,
    Field("device_state", "u32", "the state that it has, or is to have", STATES),
    Field("data_fd", "u32", "unused"),
)
DMA_RANGE = Layout(
    "DMA range", (_address("iova", "DMA address"), _length("length", "bytes")), FEATURES + "DMA_LOGGING_START"
)
DMA_LOGGING_START = _feature(
    "DMA logging start",
    6,
    _length("page_size", "bytes that one bit stands for"),
    Field("count", "u32", "ranges that follow"),
    Padding(4),
    Array("ranges", DMA_RANGE, "count"),
)
_LOG_RANGE: tuple[Member, ...] = (
    _address("iova", "DMA address"),
    _length("length", "bytes"),
    _length("page_size", "bytes that one bit stands for"),
)
DMA_LOGGING_REPORT = _feature("DMA logging report asked for", 8, *_LOG_RANGE)
DMA_LOGGING_BITMAP = _feature(
    "DMA logging report", 8, *_LOG_RANGE, Bytes("bitmap", None, "a bit for each page, in words of 64 bits")
)
FEATURE_DATA = Layout("device feature with data", (*_FEATURE, Bytes("data", None)), COMMAND + "DEVICE_FEATURE")

_MIG_DATA: tuple[Member, ...] = (_ARGSZ, Field("length", "u32", "bytes of data", show="size"))
MIG_DATA_ASKED = Layout("migration data asked for", _MIG_DATA, COMMAND + "MIG_DATA_READ")
MIG_DATA = Layout("migration data", (*_MIG_DATA, Bytes("data", "length")), COMMAND + "MIG_DATA_READ")

OLD_DIRTY_PAGES = Layout("dirty pages of old", (Bytes("data", None),), LIBVFIO + "VFIO_USER_DIRTY_PAGES")

# ---------------------------------------------------------------------------------------------------------------------
# Commands. Each has a reply, unless it says that it wants none.

#: a message may carry as many as the kernel passes at once
_MOST_FDS = 253

COMMANDS = (
    Message(
        "VERSION", 1, FRONT_END, request=(VERSION,), reply=(VERSION,), answer="reply",
        reply_fds=Fds("socket", 0, 1, channel="second", which=twin_socket),
        source=COMMAND + "VERSION",
        text="The first message: which version is spoken, and what each end can do.",
        info="{major}.{minor} {version_data}",
        reply_info="{major}.{minor} {version_data}",
        notes="The reply carries a socket for the server's own commands, if the client asked for one.",
    ),
    Message(
        "DMA_MAP", 2, FRONT_END, request=(DMA_MAP,), reply=(), answer="reply",
        request_fds=Fds("dma", 0, 1, release=("DMA_UNMAP",)),
        source=COMMAND + "DMA_MAP",
        text="Gives the device a region of memory; without descriptor it is reached by messages.",
        info="{length} at {address}, {dma_flags:names}",
    ),
    Message(
        "DMA_UNMAP", 3, FRONT_END, answer="reply",
        request=(DMA_UNMAP, DMA_UNMAP_ASKED), reply=(DMA_UNMAP, DMA_UNMAP_BITMAP),
        source=COMMAND + "DMA_UNMAP",
        text="Takes a region of memory back; answered once the device has done with it.",
        info="{length} at {address}",
        reply_info="{length} at {address}, {bitmap_length} of dirty bitmap|{length} at {address}",
        notes="With GET_DIRTY_BITMAP, which the specification's text does not have, the answer tells which pages were "
        "written.",
    ),
    Message(
        "DEVICE_GET_INFO", 4, FRONT_END, request=(DEVICE_INFO,), reply=(DEVICE_INFO,), answer="reply",
        source=COMMAND + "DEVICE_GET_INFO",
        text="Asks what device it is.",
        reply_info="{num_regions*region}, {num_irqs*interrupt type}, {device_flags:names}",
    ),
    Message(
        "DEVICE_GET_REGION_INFO", 5, FRONT_END, answer="reply",
        request=(REGION_INFO_ASKED, REGION_INFO_ROOM), reply=(REGION_INFO, REGION_INFO_CAPABILITIES),
        reply_fds=Fds("region", 0, 1),
        source=COMMAND + "DEVICE_GET_REGION_INFO",
        text="Asks for a region's size, and for the file by which it can be mapped.",
        info="region {index}",
        reply_info="region {index}, {length}, {region_flags:names}",
        notes="The answer carries the region's file if MMAP is set. Where capabilities do not fit into argsz it has "
        "none of them, and tells in argsz how much they take; QEMU refuses it if cap_offset is 0 then.",
    ),
    Message(
        "DEVICE_GET_REGION_IO_FDS", 6, FRONT_END, answer="reply",
        request=(IO_FDS_ASKED,), reply=(IO_FDS, IO_FDS_SHADOW, IO_FDS_ASKED),
        reply_fds=Fds("region", 0, _MOST_FDS),
        source=COMMAND + "DEVICE_GET_REGION_IO_FDS",
        text="Asks for descriptors that take accesses to parts of a region in place of messages.",
        info="region {index}",
        reply_info="region {index}, {count*sub-region}",
        notes="libvfio-user's entries are 48 bytes long, the specification's 40. Where they do not fit into argsz "
        "there are none, and argsz tells how much they take.",
    ),
    Message(
        "DEVICE_GET_IRQ_INFO", 7, FRONT_END, request=(IRQ_INFO,), reply=(IRQ_INFO,), answer="reply",
        source=COMMAND + "DEVICE_GET_IRQ_INFO",
        text="Asks for the interrupts of one type.",
        info="{index}",
        reply_info="{index}, {count*interrupt}",
    ),
    Message(
        "DEVICE_SET_IRQS", 8, FRONT_END, request=(SET_IRQS, SET_IRQS_BOOL), reply=(), answer="reply",
        request_fds=Fds("irq", 0, _MOST_FDS, each="count", release=("DEVICE_SET_IRQS", "DEVICE_RESET")),
        source=COMMAND + "DEVICE_SET_IRQS",
        text="Gives interrupts their eventfds, or masks, unmasks or triggers them.",
        info="{index}, {count} from {start}: {irq_flags:names}",
        notes="Descriptors come with DATA_EVENTFD only, one for each interrupt; none: they are taken away. A count of "
        "0 with DATA_NONE and ACTION_TRIGGER turns the type off.",
    ),
    Message(
        "REGION_READ", 9, FRONT_END, request=(REGION_ACCESS,), reply=(REGION_DATA, EMPTY), answer="reply",
        source=COMMAND + "REGION_READ",
        text="Reads from a region.",
        info="{region}, {count*byte} at {offset}",
        reply_info="{region}, {count*byte} at {offset}: {data:brief}|nothing",
        notes="libvfio-user answers a count of 0 with nothing.",
    ),
    Message(
        "REGION_WRITE", 10, FRONT_END, request=(REGION_WRITE_DATA,), reply=(REGION_ACCESS, EMPTY), answer="reply",
        source=COMMAND + "REGION_WRITE",
        text="Writes to a region.",
        info="{region}, {count*byte} at {offset}: {data:brief}",
        reply_info="{region}, {count*byte} at {offset}|nothing",
        notes="A client that need not know when it is done asks for no reply.",
    ),
    Message(
        "DMA_READ", 11, BACK_END, request=(DMA_ACCESS,), reply=(DMA_DATA, DMA_DATA_EARLY), answer="reply",
        source=COMMAND + "DMA_READ",
        text="The device reads memory that it has no descriptor for.",
        info="{count*byte} at {address}",
        reply_info="{count*byte} at {address}: {data:brief}|"
        "{early_count*byte} at {address}: {early_data:brief}, four bytes early",
        notes="On the second socket if there is one. Revisions of QEMU's client put the data four bytes early. It does "
        "not serve this while it waits for a reply of its own: a device that asks before it replies is not answered.",
    ),
    Message(
        "DMA_WRITE", 12, BACK_END, request=(DMA_DATA, DMA_DATA_EARLY), reply=(DMA_ACCESS,), answer="reply",
        source=COMMAND + "DMA_WRITE",
        text="The device writes memory that it has no descriptor for.",
        info="{count*byte} at {address}: {data:brief}|"
        "{early_count*byte} at {address}: {early_data:brief}, four bytes early",
        reply_info="{count*byte} at {address}",
        notes="On the second socket if there is one.",
    ),
    Message(
        "DEVICE_RESET", 13, FRONT_END, request=(), reply=(), answer="reply",
        source=COMMAND + "DEVICE_RESET",
        text="Resets the device.",
    ),
    Message(
        "DIRTY_PAGES", 14, FRONT_END, request=(OLD_DIRTY_PAGES,), reply=(OLD_DIRTY_PAGES,), answer="reply",
        source=LIBVFIO + "VFIO_USER_DIRTY_PAGES",
        text="Removed from the protocol: tracking of pages that the device wrote.",
    ),
    Message(
        "REGION_WRITE_MULTI", 15, FRONT_END, request=(REGION_WRITES,), reply=(REGION_WRITES_DONE,), answer="reply",
        source=COMMAND + "REGION_WRITE_MULTI",
        text="Several small writes to regions at once.",
        info="{count*write}",
        reply_info="{count*write}",
        notes="Needs the capability write_multiple of both ends. QEMU asks for no reply.",
    ),
    Message(
        "DEVICE_FEATURE", 16, FRONT_END, answer="reply",
        request=(FEATURE, MIG_DEVICE_STATE, DMA_LOGGING_START, DMA_LOGGING_REPORT, FEATURE_DATA),
        reply=(FEATURE, MIGRATION, MIG_DEVICE_STATE, DMA_LOGGING_START, DMA_LOGGING_BITMAP, FEATURE_DATA),
        source=COMMAND + "DEVICE_FEATURE",
        text="Probes, gets or sets a feature of the device: migration, and the tracking of written pages.",
        info="{feature}{probe?, probe}{get?, get}{set?, set}: {device_state}|"
        "{feature}{probe?, probe}{get?, get}{set?, set}",
        reply_info="{feature}{probe?, probe}{get?, get}{set?, set}: {device_state}|"
        "{feature}{probe?, probe}{get?, get}{set?, set}: {migration_flags:names}|"
        "{feature}{probe?, probe}{get?, get}{set?, set}",
    ),
    Message(
        "MIG_DATA_READ", 17, FRONT_END, request=(MIG_DATA_ASKED,), reply=(MIG_DATA,), answer="reply",
        source=COMMAND + "MIG_DATA_READ",
        text="Reads the device's state; less than asked for is its end.",
        info="{length}",
        reply_info="{length}",
    ),
    Message(
        "MIG_DATA_WRITE", 18, FRONT_END, request=(MIG_DATA,), reply=(), answer="reply",
        source=COMMAND + "MIG_DATA_WRITE",
        text="Writes the device's state.",
        info="{length}",
    ),
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# Channels

HEADER = Header(
    Layout(
        "header",
        (
            Field("msgid", "u16", "chosen by the command's sender; its reply has the same"),
            Field("request", "u16", "number of the command"),
            Field("size", "u32", "bytes of the message with these 16"),
            Field(
                "flags", "u32", "the type in the four lowest bits",
                Names("bits", {0: "REPLY", 4: "NO_REPLY", 5: "ERROR"}), "hex",
            ),
            Field("error", "u32", "error number of a reply with ERROR"),
        ),
        "vfio-user, Header",
    ),
    length=16,
    id_at=2,
    id_type="u16",
    size_at=4,
    counts_header=True,
    flags_at=8,
    reply_mask=0xF,
    reply_value=1,
    need_reply_mask=0,
    no_reply_mask=1 << 4,
    error_mask=1 << 5,
    error_at=12,
    msgid_at=0,
)  # fmt: skip

#: Data is limited by what the ends agree on, usually 1 MiB; nobody is known to allow 64 MiB.
LIMIT = 64 << 20

VFIO_USER = Protocol(
    "vfio-user",
    ("client", "server"),
    {
        "main": Channel("main", HEADER, LIMIT, {(row.sender, row.id): row for row in COMMANDS}),
        # the server's own commands, once the client has taken the socket for them
        "second": Channel(
            "second", HEADER, LIMIT, {(row.sender, row.id): row for row in COMMANDS if row.sender == BACK_END}
        ),
    },
    None,
    "QEMU, docs/interop/vfio-user.rst",
)
