"""vhost-user-gpu: messages and their octets, by hand from the layouts of the specification."""

from __future__ import annotations

from .sample import Sample

# A table: broken as it reads best.
# fmt: off

CONTROL = {"control_flags": 0, "fence_id": 0, "ctx_id": 0, "ring_idx": 0}
OFF = {"x": 0, "y": 0, "width": 0, "height": 0, "enabled": 0, "mode_flags": 0}
PIXELS = "0000ff00 00ff0000 ff000000 ffffff00 00000000 80808000"
RECTANGLE_OCTETS = "01000000 10000000 20000000 03000000 02000000"
RECTANGLE = {"scanout_id": 1, "x": 16, "y": 32, "width": 3, "height": 2}
BUFFER_OCTETS = (
    "00000000 00000000 00000000 00040000 00030000 00040000 00030000 00100000 01000000 58523234"
)
BUFFER = {
    "scanout_id": 0, "x": 0, "y": 0, "width": 1024, "height": 768, "fd_width": 1024, "fd_height": 768,
    "fd_stride": 4096, "fd_flags": 1, "fourcc": 0x34325258,
}
BUFFER_INFO = "scanout 0, 1024×768 at 0,0 of 1024×768 XR24"

VHOST_USER_GPU = [
    Sample("GET_PROTOCOL_FEATURES", "request", {}, ""),
    Sample(
        "GET_PROTOCOL_FEATURES", "reply", {"protocol_features": 3}, "0300000000000000",
        {"protocol_features": ["EDID", "DMABUF2"]}, "EDID, DMABUF2",
    ),
    Sample(
        "SET_PROTOCOL_FEATURES", "request", {"protocol_features": 5}, "0500000000000000",
        {"protocol_features": ["EDID", "bit 2"]}, "EDID, bit 2",
    ),
    Sample("GET_DISPLAY_INFO", "request", {}, ""),
    Sample(
        "GET_DISPLAY_INFO", "reply",
        {
            "type": 0x1101, **CONTROL,
            "modes": [
                {"x": 0, "y": 0, "width": 1280, "height": 800, "enabled": 1, "mode_flags": 0}, *[OFF] * 15,
            ],
        },
        "01110000 00000000 0000000000000000 00000000 00 000000"
        "00000000 00000000 00050000 20030000 01000000 00000000" + "00" * 24 * 15,
        {"type": "OK_DISPLAY_INFO"}, "OK_DISPLAY_INFO",
    ),
    Sample(
        "CURSOR_POS", "request", {"scanout_id": 1, "x": 100, "y": 200}, "01000000 64000000 c8000000",
        info="scanout 1 at 100,200",
    ),
    Sample(
        "CURSOR_POS_HIDE", "request", {"scanout_id": 0, "x": 0, "y": 0}, "00000000 00000000 00000000",
        info="scanout 0 at 0,0",
    ),
    Sample(
        "CURSOR_UPDATE", "request",
        {"scanout_id": 0, "x": 5, "y": 6, "hot_x": 1, "hot_y": 2, "pixels": b"\xff\0\0\x80" * 4096},
        "00000000 05000000 06000000 01000000 02000000" + "ff000080" * 4096,
        info="scanout 0 at 5,6, points at 1,2",
    ),
    Sample(
        "SCANOUT", "request", {"scanout_id": 0, "width": 1920, "height": 1080}, "00000000 80070000 38040000",
        info="scanout 0, 1920×1080",
    ),
    Sample(
        "UPDATE", "request", {**RECTANGLE, "pixels": bytes.fromhex(PIXELS)}, RECTANGLE_OCTETS + PIXELS,
        info="scanout 1, 3×2 at 16,32, 6 pixels x8r8g8b8",
    ),
    Sample("DMABUF_SCANOUT", "request", BUFFER, BUFFER_OCTETS, {"fd_flags": ["Y_0_TOP"]}, BUFFER_INFO),
    Sample(
        "DMABUF_UPDATE", "request", RECTANGLE, RECTANGLE_OCTETS, info="scanout 1, 3×2 at 16,32",
    ),
    Sample("DMABUF_UPDATE", "reply", {}, ""),
    Sample("GET_EDID", "request", {"scanout_id": 2}, "02000000", info="scanout 2"),
    Sample(
        "GET_EDID", "reply",
        {"type": 0x1104, **CONTROL, "edid_length": 128, "edid": bytes.fromhex("00ffffffffffff00") + bytes(1016)},
        "04110000 00000000 0000000000000000 00000000 00 000000 80000000 00000000 00ffffffffffff00" + "00" * 1016,
        {"type": "OK_EDID"}, "128 bytes",
    ),
    Sample(
        "DMABUF_SCANOUT2", "request", {**BUFFER, "modifier": 0x0100000000000002}, BUFFER_OCTETS + "0200000000000001",
        {"fd_flags": ["Y_0_TOP"]}, BUFFER_INFO + ", modifier 0x100000000000002",
    ),
    # numbers of the machine, but virtio's are little-endian everywhere
    Sample(
        "SCANOUT", "request", {"scanout_id": 0, "width": 1920, "height": 1080}, "00000000 00000780 00000438",
        info="scanout 0, 1920×1080", byte_order=">",
    ),
    Sample(
        "GET_DISPLAY_INFO", "reply", {"type": 0x1101, **CONTROL, "modes": [OFF] * 16},
        "01110000" + "00" * 404, {"type": "OK_DISPLAY_INFO"}, "OK_DISPLAY_INFO", byte_order=">",
    ),
]
