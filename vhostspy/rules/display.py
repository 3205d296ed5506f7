"""vhost-user-gpu: headers, payloads and descriptors of the display channel."""

from __future__ import annotations

from vhostspy.capture.record import INCOMPLETE, UNSURE_FDS
from vhostspy.dissectors import registry
from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.session.display import rectangle

from .descriptors import counted
from .rule import Case, Outcome, Slot, Topic, rule
from .sizes import wrong_size

PROTOCOL = "vhost-user-gpu"
WIRE = "vhost-user-gpu, Wire format, "
TYPE = "vhost-user-gpu, Communication, VHOST_USER_GPU_"
QEMU = "QEMU, hw/display/vhost-user-gpu.c"
REPLY = 4
#: what a rectangle takes before its pixels, and a cursor with its 64 rows of 64
_RECTANGLE_BYTES, _CURSOR_BYTES = 20, 16404
_BUFFERS = ("DMABUF_SCANOUT", "DMABUF_SCANOUT2")


def display(*names: str, reply: bool | None = False, text: str = "") -> Topic:
    """Messages of a display channel: requests (or replies, or with None both) of these names, or of all."""

    def listens(slot: Slot) -> bool:
        return (
            slot.protocol == PROTOCOL
            and slot.kind != "raw"
            and (reply is None or reply == (slot.kind != "request"))
            and (not names or slot.row is not None and slot.row.name in names)
        )

    what = {False: "request", True: "reply", None: "both"}[reply]
    return Topic(listens, text=text or (f"{', '.join(names)} ({what})" if names else f"display channel ({what})"))


def called(case: Case) -> str:
    return case.name if case.message.row is not None else f"display message {case.message.id}"


def _known(slot: Slot) -> bool:
    """A number that the back-end's requests have."""
    return registry.row(PROTOCOL, "gpu", BACK_END, slot.id or 0) is not None


@rule("VG-01", "error", "the back-end's requests have no REPLY bit, the front-end's answers have flags of 4",
      WIRE + "Header", on=display(reply=None), malformed=True, pure=True,
      notes="Other bits in a request: VG-22.")  # fmt: skip
def flags(case: Case) -> Outcome:
    message = case.message
    came = message.flags or 0
    if message.sender == FRONT_END:
        return None if came == REPLY else f"{called(case)}: expected flags 0x4 of an answer, came {came:#x}"
    return f"{called(case)}: expected a request without the REPLY bit, came flags {came:#x}" if came == REPLY else None


@rule("VG-22", "warning", "the flags of a request are 0", WIRE + "Header", on=display(reply=None), malformed=True,
      notes="QEMU does not look at them; its own back-end leaves in UPDATE what was in that memory.")  # fmt: skip
def request_flags(case: Case) -> Outcome:
    message = case.message
    # whatever was in that memory may have the REPLY bit too
    if message.sender != BACK_END or message.flags in (0, REPLY) or not case.first("VG-22", message.id):
        return None
    return f"{called(case)}: expected flags 0 in a request, came {message.flags:#x}"


@rule("VG-02", "error", "numbers are 1 to 12", "vhost-user-gpu, Communication, Message types",
      on=Topic(lambda slot: slot.protocol == PROTOCOL and slot.kind != "raw" and not _known(slot),
               text="display channel, other numbers"), malformed=True, pure=True)  # fmt: skip
def unknown_number(case: Case) -> Outcome:
    return f"expected a number of 1 to 12 on the display channel, came {case.message.id}"


@rule("VG-03", "error", "a payload has the size of its structure, and 4 bytes a pixel", WIRE[:-2], on=display(),
      malformed=True, pure=True, notes="A larger cursor: VG-23.")  # fmt: skip
def payload_size(case: Case) -> Outcome:
    message = case.message
    size = message.size or 0
    if message.marks & INCOMPLETE or message.row is None:
        return None
    if message.name == "CURSOR_UPDATE" and size > _CURSOR_BYTES:
        return None
    if message.name != "UPDATE":
        return wrong_size(case)
    place = rectangle(message)
    if place is None:
        return f"{case.name}: expected at least {_RECTANGLE_BYTES} bytes of payload, came {size}"
    _, _, _, width, height = place
    wanted = _RECTANGLE_BYTES + 4 * width * height
    if size == wanted:
        return None
    return f"{case.name}: expected {wanted} bytes of payload for {width}×{height} pixels, came {size}"


@rule("VG-23", "note", "a cursor has 64 rows of 64 pixels", TYPE + "CURSOR_UPDATE", on=display("CURSOR_UPDATE"),
      malformed=True)  # fmt: skip
def large_cursor(case: Case) -> Outcome:
    size = case.message.size or 0
    if size <= _CURSOR_BYTES or not case.first("VG-23"):
        return None
    return f"CURSOR_UPDATE: expected {_CURSOR_BYTES} bytes of payload, came {size}"


@rule("VG-05", "error", "answers have 8 bytes (GET_PROTOCOL_FEATURES), 408 (GET_DISPLAY_INFO), none (DMABUF_UPDATE), "
      "1056 (GET_EDID)", "vhost-user-gpu, Communication, Message types", on=display(reply=True), malformed=True,
      pure=True)  # fmt: skip
def reply_size(case: Case) -> Outcome:
    message = case.message
    if message.row is None or message.row.answer != "reply" or message.sender != FRONT_END:
        return None
    return wrong_size(case)


@rule("VG-25", "error", "answers carry no descriptors", "vhost-user-gpu, Communication", on=display(reply=True),
      malformed=True, pure=True)  # fmt: skip
def reply_descriptors(case: Case) -> Outcome:
    return counted(case, 0)


# -- buffers of the graphics device


def _turns_off(case: Case) -> bool:
    fields = case.fields
    return not fields.get("width") and not fields.get("height")


@rule("VG-07", "error", "one descriptor with a buffer that is shown, none with others and when it is turned off",
      WIRE + "VhostUserGpuDMABUFScanout", on=display(), malformed=True, pure=True,
      notes="None, although it has a width and a height: VG-08.")  # fmt: skip
def descriptors(case: Case) -> Outcome:
    if case.message.name not in _BUFFERS or case.message.decoded.layout is None:
        return counted(case, 0)
    return counted(case, 0, why="as width and height are 0") if _turns_off(case) else counted(case, 0, 1)


@rule("VG-08", "warning", "a buffer that is shown comes with its descriptor", QEMU + ": turns the scanout off",
      on=display(*_BUFFERS), pure=True)  # fmt: skip
def buffer_missing(case: Case) -> Outcome:
    message = case.message
    if message.fds or _turns_off(case) or message.marks & UNSURE_FDS:
        return None
    width, height = case.fields["width"], case.fields["height"]
    return f"{case.name}: expected a descriptor with {width}×{height} pixels (or none of both), came none"


@rule("VG-09", "warning", "the descriptor is a DMA buffer, and large enough", WIRE + "VhostUserGpuDMABUFScanout",
      on=display(*_BUFFERS))  # fmt: skip
def no_buffer(case: Case) -> Outcome:
    message, fields = case.message, case.fields
    if not message.fds or not case.first("VG-09", message.fds[0].kind, message.fds[0].inode, fields["fd_height"]):
        return None
    fd = message.fds[0]
    if fd.kind not in ("", "dma-buf"):
        return f"{case.name}: expected a DMA buffer, came a descriptor of kind {fd.kind}"
    needed = fields["fd_stride"] * fields["fd_height"]
    if not fd.size or needed <= fd.size:
        return None
    return f"{case.name}: expected a buffer of {needed} bytes for {fields['fd_height']} rows, it has {fd.size}"


def _fourcc(code: str) -> int:
    return int.from_bytes(code.encode(), "little")


#: formats of a pixel that graphics back-ends show
FORMATS = frozenset(
    _fourcc(order + bits)
    for bits, orders in (
        ("24", ("XR", "AR", "XB", "AB", "RX", "RA", "BX", "BA", "RG", "BG")),
        ("30", ("XR", "AR", "XB", "AB", "RX", "RA", "BX", "BA")),
        ("16", ("RG", "BG")),
        ("15", ("XR", "AR", "XB", "AB", "RX", "RA", "BX", "BA")),
        ("12", ("XR", "AR", "XB", "AB", "RX", "RA", "BX", "BA", "NV")),
        ("4H", ("XR", "AR", "XB", "AB")),
        ("48", ("XR", "AR", "XB", "AB")),
    )
    for order in orders
) | {_fourcc(code) for code in ("C8  ", "R8  ", "NV21", "NV16", "YU12", "YV12", "YUYV", "UYVY", "P010")}
#: who arranges pixels: NONE, INTEL, AMD, NVIDIA, SAMSUNG, QCOM, VIVANTE, BROADCOM, ARM, ALLWINNER, AMLOGIC, MTK, APPLE
VENDORS = range(13)
_INVALID = (1 << 56) - 1


@rule("VG-24", "warning", "format and modifier of the pixels are known ones", "Linux, include/uapi/drm/drm_fourcc.h",
      on=display(*_BUFFERS))  # fmt: skip
def unknown_format(case: Case) -> Outcome:
    message, fields = case.message, case.fields
    code, modifier = fields["fourcc"] & 0xFFFF_FFFF, fields.get("modifier", 0)
    if not message.fds or not case.first("VG-24", code, modifier):
        return None
    if code not in FORMATS:
        return f"{case.name}: expected a format that is known, came {code:#010x} ({_text(code)})"
    vendor = modifier >> 56
    if vendor not in VENDORS or vendor == 0 and modifier not in (0, _INVALID):
        return f"{case.name}: expected a modifier of a known vendor, came {modifier:#x}"
    return None


def _text(code: int) -> str:
    return code.to_bytes(4, "little").decode("ascii", "replace")


@rule("VG-18", "warning", "answers that virtio defines have their type, and an EDID of at most 1024 bytes",
      "virtio, GPU Device, Device Operation", on=display("GET_DISPLAY_INFO", "GET_EDID", reply=True),
      pure=True)  # fmt: skip
def odd_answer(case: Case) -> Outcome:
    fields = case.fields
    wanted = 0x1101 if case.message.name == "GET_DISPLAY_INFO" else 0x1104
    if fields["type"] != wanted:
        return f"{case.name}: expected type {wanted:#x}, came {fields['type']:#x}"
    length = fields.get("edid_length", 0)
    return f"{case.name}: expected at most 1024 bytes of EDID, came {length}" if length > 1024 else None
