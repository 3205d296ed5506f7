"""vhost-user-gpu as rows: the display channel, on which the back-end draws on the front-end's screen.

Numbers and layouts are those of QEMU's document "Vhost-user-gpu Protocol" (docs/interop/vhost-user-gpu.rst, 11.1),
which the sources name by section. Integers are in the hosts' native byte order, but for the answers that virtio
defines. The back-end asks here; the socket comes from the front-end's GPU_SET_SOCKET.

Members are never called ``request``, ``flags`` or ``size``: those names are the header's.
"""

from __future__ import annotations

from .rows import (
    BACK_END,
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
    Protocol,
)

# Where the sources point to.
WIRE = "vhost-user-gpu, Wire format, "
TYPE = "vhost-user-gpu, Communication, VHOST_USER_GPU_"
VIRTIO = "virtio, GPU Device, Device Operation, "

FEATURES = Names(
    "bits",
    {0: "EDID", 1: "DMABUF2"},
    texts={0: "The display can be asked for a monitor's EDID.", 1: "Buffers may come with a modifier."},
)

# ---------------------------------------------------------------------------------------------------------------------
# Structures

FEATURE_WORD = Layout(
    "display features",
    (Field("protocol_features", "u64", "feature bits of this channel", FEATURES, "hex"),),
    "vhost-user-gpu, Protocol features",
)

_CONTROL: tuple[Member, ...] = (
    Field(
        "type", "u32", "", Names("values", {0x1101: "OK_DISPLAY_INFO", 0x1104: "OK_EDID", 0x1200: "ERR_UNSPEC"}), "hex"
    ),
    Field("control_flags", "u32", "", Names("bits", {0: "FENCE", 1: "INFO_RING_IDX"}), "hex"),
    Field("fence_id", "u64"),
    Field("ctx_id", "u32"),
    Field("ring_idx", "u8"),
    Padding(3),
)
MODE = Layout(
    "display mode",
    (
        Field("x", "u32"),
        Field("y", "u32"),
        Field("width", "u32", "pixels"),
        Field("height", "u32", "pixels"),
        Field("enabled", "u32", "1 if the scanout is to be used"),
        Field("mode_flags", "u32"),
    ),
    VIRTIO + "struct virtio_gpu_display_one",
    little_endian=True,
)
DISPLAY_INFO = Layout(
    "display info",
    (*_CONTROL, Array("modes", MODE, 16, "one for each scanout")),
    VIRTIO + "struct virtio_gpu_resp_display_info",
    little_endian=True,
)
EDID = Layout(
    "EDID",
    (
        *_CONTROL,
        Field("edid_length", "u32", "bytes of it", show="size"),
        Padding(4, "edid_padding"),
        Bytes("edid", 1024, "what the monitor says of itself"),
    ),
    VIRTIO + "struct virtio_gpu_resp_edid",
    little_endian=True,
)

_SCANOUT = Field("scanout_id", "u32", "number of the scanout, 0 to 15")
_PLACE: tuple[Member, ...] = (_SCANOUT, Field("x", "u32"), Field("y", "u32"))
_RECTANGLE: tuple[Member, ...] = (*_PLACE, Field("width", "u32", "pixels"), Field("height", "u32", "pixels"))

CURSOR_POS = Layout("cursor position", _PLACE, WIRE + "VhostUserGpuCursorPos")
CURSOR_UPDATE = Layout(
    "cursor update",
    (
        *_PLACE,
        Field("hot_x", "u32", "the point that points"),
        Field("hot_y", "u32", "the point that points"),
        Bytes("pixels", 64 * 64 * 4, "64 rows of 64", show="a8r8g8b8"),
    ),
    WIRE + "VhostUserGpuCursorUpdate",
)
SCANOUT = Layout(
    "scanout",
    (_SCANOUT, Field("width", "u32", "pixels; 0 turns it off"), Field("height", "u32", "pixels")),
    WIRE + "VhostUserGpuScanout",
)
UPDATE = Layout(
    "update",
    (*_RECTANGLE, Bytes("pixels", None, "the rectangle's rows, nothing between them", show="x8r8g8b8")),
    WIRE + "VhostUserGpuUpdate",
)
RECTANGLE = Layout("update without pixels", _RECTANGLE, WIRE + "VhostUserGpuUpdate")
_DMABUF: tuple[Member, ...] = (
    *_RECTANGLE,
    Field("fd_width", "u32", "pixels of the whole buffer"),
    Field("fd_height", "u32", "pixels of the whole buffer"),
    Field("fd_stride", "u32", "bytes of a row"),
    Field("fd_flags", "u32", "", Names("bits", {0: "Y_0_TOP"}), "hex"),
    Field("fourcc", "i32", "format of a pixel", show="fourcc"),
)
DMABUF_SCANOUT = Layout("dma-buf scanout", _DMABUF, WIRE + "VhostUserGpuDMABUFScanout")
DMABUF_SCANOUT2 = Layout(
    "dma-buf scanout with modifier",
    (*_DMABUF, Field("modifier", "u64", "how the pixels are arranged", show="hex")),
    WIRE + "VhostUserGpuDMABUFScanout2",
)
EDID_ASKED = Layout("EDID request", (_SCANOUT,), WIRE + "VhostUserGpuEdidRequest")

# ---------------------------------------------------------------------------------------------------------------------
# Messages

_SCANOUT_FD = Fds("scanout", 0, 1, release=("DMABUF_SCANOUT", "DMABUF_SCANOUT2"))

MESSAGES = (
    Message(
        "GET_PROTOCOL_FEATURES", 1, BACK_END, request=(), reply=(FEATURE_WORD,), answer="reply",
        source=TYPE + "GET_PROTOCOL_FEATURES",
        text="Asks for the feature bits of this channel.",
        reply_info="{protocol_features:names}",
        notes="Rust's back-ends never send it.",
    ),
    Message(
        "SET_PROTOCOL_FEATURES", 2, BACK_END, request=(FEATURE_WORD,), reply=None, answer="never",
        source=TYPE + "SET_PROTOCOL_FEATURES",
        text="Settles the feature bits of this channel; QEMU ignores them.",
        info="{protocol_features:names}",
    ),
    Message(
        "GET_DISPLAY_INFO", 3, BACK_END, request=(), reply=(DISPLAY_INFO,), answer="reply",
        source=TYPE + "GET_DISPLAY_INFO",
        text="Asks which scanouts there are, and how large.",
        reply_info="{type}",
    ),
    Message(
        "CURSOR_POS", 4, BACK_END, request=(CURSOR_POS,), reply=None, answer="never",
        source=TYPE + "CURSOR_POS",
        text="Shows the cursor, here.",
        info="scanout {scanout_id} at {x},{y}",
    ),
    Message(
        "CURSOR_POS_HIDE", 5, BACK_END, request=(CURSOR_POS,), reply=None, answer="never",
        source=TYPE + "CURSOR_POS_HIDE",
        text="Hides the cursor.",
        info="scanout {scanout_id} at {x},{y}",
    ),
    Message(
        "CURSOR_UPDATE", 6, BACK_END, request=(CURSOR_UPDATE,), reply=None, answer="never",
        source=TYPE + "CURSOR_UPDATE",
        text="The cursor's shape and place.",
        info="scanout {scanout_id} at {x},{y}, points at {hot_x},{hot_y}",
    ),
    Message(
        "SCANOUT", 7, BACK_END, request=(SCANOUT,), reply=None, answer="never",
        source=TYPE + "SCANOUT",
        text="How large a scanout is; its pixels come by UPDATE.",
        info="scanout {scanout_id}, {width}×{height}",
        notes="A width and height of 0 turn it off.",
    ),
    Message(
        "UPDATE", 8, BACK_END, request=(UPDATE,), reply=None, answer="never",
        source=TYPE + "UPDATE",
        text="The pixels of a part of a scanout.",
        info="scanout {scanout_id}, {width}×{height} at {x},{y}, {pixels}",
    ),
    Message(
        "DMABUF_SCANOUT", 9, BACK_END, request=(DMABUF_SCANOUT,), reply=None, answer="never",
        request_fds=_SCANOUT_FD,
        source=TYPE + "DMABUF_SCANOUT",
        text="A buffer on the graphics device whose pixels a scanout shows.",
        info="scanout {scanout_id}, {width}×{height} at {x},{y} of {fd_width}×{fd_height} {fourcc}",
        notes="Without a descriptor it turns the scanout off.",
    ),
    Message(
        "DMABUF_UPDATE", 10, BACK_END, request=(RECTANGLE,), reply=(), answer="reply",
        source=TYPE + "DMABUF_UPDATE",
        text="A part of the buffer has changed; the empty answer says that it was shown.",
        info="scanout {scanout_id}, {width}×{height} at {x},{y}",
    ),
    Message(
        "GET_EDID", 11, BACK_END, request=(EDID_ASKED,), reply=(EDID,), answer="reply",
        needs=(Gate("protocol", 0, "EDID"),),
        source=TYPE + "GET_EDID",
        text="Asks what the monitor of a scanout says of itself.",
        info="scanout {scanout_id}",
        reply_info="{edid_length}",
        notes="QEMU does not answer for a scanout that there is not.",
    ),
    Message(
        "DMABUF_SCANOUT2", 12, BACK_END, request=(DMABUF_SCANOUT2,), reply=None, answer="never",
        needs=(Gate("protocol", 1, "DMABUF2"),),
        request_fds=_SCANOUT_FD,
        source=TYPE + "DMABUF_SCANOUT2",
        text="The same as DMABUF_SCANOUT, and how the pixels are arranged.",
        info="scanout {scanout_id}, {width}×{height} at {x},{y} of {fd_width}×{fd_height} {fourcc}, "
        "modifier {modifier}",
        notes="Without a descriptor it turns the scanout off.",
    ),
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# The channel

HEADER = Header(
    Layout(
        "header",
        (
            Field("request", "u32", "number of the message"),
            Field("flags", "u32", "", Names("bits", {2: "REPLY"}), "hex"),
            Field("size", "u32", "bytes of payload that follow"),
        ),
        "vhost-user-gpu, Wire format, Header",
    ),
    length=12,
    id_at=0,
    id_type="u32",
    size_at=8,
    counts_header=False,
    flags_at=4,
    reply_mask=4,
    reply_value=4,
    need_reply_mask=0,
)

#: Pixels are not limited by the protocol; this is a frame of 8192 × 8192.
LIMIT = 256 << 20

VHOST_USER_GPU = Protocol(
    "vhost-user-gpu",
    ("front-end", "back-end"),
    {"gpu": Channel("gpu", HEADER, HEADER.length + LIMIT, {(row.sender, row.id): row for row in MESSAGES})},
    FEATURES,
    "QEMU, docs/interop/vhost-user-gpu.rst",
)
