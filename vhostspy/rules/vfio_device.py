"""vfio-user: what a device says of itself, its interrupts, and the accesses to its regions."""

from __future__ import annotations

from typing import Any

from .rule import Breach, Case, Outcome, rule
from .vfio_header import called
from .vfio_state import answer, asked, command, state

INFO = "vfio-user, VFIO_USER_DEVICE_GET_INFO"
REGION_INFO = "vfio-user, VFIO_USER_DEVICE_GET_REGION_INFO"
IO_FDS = "vfio-user, VFIO_USER_DEVICE_GET_REGION_IO_FDS"
SET_IRQS = "vfio-user, VFIO_USER_DEVICE_SET_IRQS"
LIBVFIO = "libvfio-user, lib/irq.c"
SIZES = "vfio-user, Message sizes"
MMAP, CAPS = 4, 8
#: fixed parts of payloads
_FIXED = {
    "DEVICE_GET_INFO": 16,
    "DEVICE_GET_REGION_INFO": 32,
    "DEVICE_GET_IRQ_INFO": 16,
    "DEVICE_GET_REGION_IO_FDS": 16,
}
_ASK_INFO = tuple(_FIXED)


@rule("VF-INF-01", "error", "questions about the device have their fixed part, and room for its answer", INFO,
      on=command(*_ASK_INFO), malformed=True, pure=True,
      notes="More than the fixed part, as SPDK sends: a warning.")  # fmt: skip
def questions(case: Case) -> Outcome:
    message = case.message
    wanted = _FIXED[message.name or ""]
    came = len(message.payload)
    if message.incomplete:
        return None
    if came < wanted:
        return f"{called(case)}: expected {wanted} bytes of payload, came {came}"
    argsz = case.fields.get("argsz", wanted)
    if argsz < wanted:
        return f"{called(case)}: expected an argsz of at least {wanted}, came {argsz}"
    if came == wanted:
        return None
    return Breach(f"{called(case)}: expected {wanted} bytes of payload, came {came}", severity="warning")


@rule("VF-INF-02", "error", "regions and types of interrupt are below the numbers that the device has told",
      REGION_INFO, on=command("DEVICE_GET_REGION_INFO", "DEVICE_GET_IRQ_INFO", "DEVICE_GET_REGION_IO_FDS",
                              "DEVICE_SET_IRQS"))  # fmt: skip
def index(case: Case) -> Outcome:
    info = state(case.memory).info
    if info is None:
        return None
    irqs = "IRQ" in (case.message.name or "")
    count = info.get("num_irqs" if irqs else "num_regions", 0)
    came = case.fields.get("index", 0)
    what = "type of interrupt" if irqs else "region"
    return f"{called(case)}: expected a {what} below {count}, came {came}" if came >= count else None


@rule("VF-INF-03", "error", "a region's reply carries its file if MMAP is set, and only then", REGION_INFO,
      on=answer("DEVICE_GET_REGION_INFO"))  # fmt: skip
def file_of_region(case: Case) -> Outcome:
    if case.message.refused:
        return None
    mmap, came = bool(case.fields.get("region_flags", 0) & MMAP), len(case.message.fds)
    if mmap == bool(came):
        return None
    wanted = "a descriptor as MMAP is set" if mmap else "no descriptor as MMAP is clear"
    return f"{called(case)}: expected {wanted}, came {came}"


def _chain(payload: bytes, first: int, order: Any) -> str | None:
    """What is wrong with the capabilities of a payload, which lead to each other."""
    seen: set[int] = set()
    at = first
    while at:
        if at in seen:
            return f"capabilities that end, the one at {at} comes again"
        if at + 8 > len(payload):
            return f"capabilities inside the payload of {len(payload)} bytes, one is at {at}"
        seen.add(at)
        version = int.from_bytes(payload[at + 2 : at + 4], order)
        if version != 1:
            return f"version 1 of a capability, the one at {at} has {version}"
        at = int.from_bytes(payload[at + 4 : at + 8], order)
    return None


@rule("VF-INF-04", "error", "a region's capabilities lie in the payload, are of version 1, and end", REGION_INFO,
      on=answer("DEVICE_GET_REGION_INFO"), malformed=True, pure=True)  # fmt: skip
def capabilities(case: Case) -> Outcome:
    message = case.message
    fields = case.fields
    if message.refused or message.incomplete or not fields.get("region_flags", 0) & CAPS:
        return None
    if fields.get("argsz", 0) > len(message.payload):
        return None  # they did not fit: the client asks again with more room
    wrong = _chain(message.payload, fields.get("cap_offset", 0), "little" if message.byte_order == "<" else "big")
    return f"{called(case)}: expected {wrong}" if wrong else None


@rule("VF-INF-05", "warning", "a reply that fits into argsz is whole", SIZES,
      on=answer("DEVICE_GET_REGION_INFO", "DEVICE_GET_REGION_IO_FDS"), malformed=True)  # fmt: skip
def truncated(case: Case) -> Outcome:
    message = case.message
    request = asked(case)
    needs = case.fields.get("argsz", 0)
    if request is None or message.refused or message.incomplete or needs <= len(message.payload):
        return None
    room = request.fields.get("argsz", 0)
    if room < needs:
        return None
    text = f"{called(case)}: expected {needs} bytes of payload, for which there was room ({room}), came "
    return Breach(f"{text}{len(message.payload)}", evidence=(request.no,))


@rule("VF-INF-06", "warning", "io descriptors: asked for without count and flags, told with known types and places",
      f"{IO_FDS}; libvfio-user",
      on=(command("DEVICE_GET_REGION_IO_FDS"), answer("DEVICE_GET_REGION_IO_FDS")))  # fmt: skip
def io_descriptors(case: Case) -> Outcome:
    fields = case.fields
    if case.message.kind == "request":
        if not (fields["count"] or fields["io_flags"]):
            return None
        return f"{called(case)}: expected count and flags of 0, came {fields['count']} and {fields['io_flags']:#x}"
    for one in fields.get("sub_regions", ()):
        if one["type"] > 2:
            return f"{called(case)}: expected a type of 0 to 2, came {one['type']}"
        place, count = one["fd_index"], len(case.message.fds)
        if place >= count:
            return f"{called(case)}: expected the place of one of {count} descriptors, came {place}"
    return None


@rule("VF-INF-07", "warning", "sub-regions lie in their region", IO_FDS, on=answer("DEVICE_GET_REGION_IO_FDS"),
      notes="libvfio-user puts guest addresses there: its entries of 48 bytes are not looked at.")  # fmt: skip
def sub_regions(case: Case) -> Outcome:
    region = state(case.memory).regions.get(case.fields.get("index", -1))
    if region is None:
        return None
    for one in case.fields.get("sub_regions", ()):
        end, length = one["offset"] + one["length"], region.get("length", 0)
        if "shadow_offset" not in one and end > length:
            return f"{called(case)}: expected sub-regions in {length} bytes, one ends at {end}"
    return None


# -- interrupts

DATA_NONE, DATA_BOOL, DATA_EVENTFD = 1, 2, 4
MASK, UNMASK, TRIGGER = 8, 16, 32
ERR, REQ = 3, 4


@rule("VF-IRQ-01", "error", "one sort of data and one action", SET_IRQS, on=command("DEVICE_SET_IRQS"), malformed=True,
      pure=True)  # fmt: skip
def irq_flags(case: Case) -> Outcome:
    flags = case.fields.get("irq_flags")
    if flags is None:
        return None
    data, action = (flags & 7).bit_count(), (flags >> 3 & 7).bit_count()
    if data == 1 and action == 1 and not flags >> 6:
        return None
    return f"{called(case)}: expected one DATA_ and one ACTION_ flag, came {flags:#x}"


@rule("VF-IRQ-02", "error", "a boolean for each interrupt, or a descriptor for each or none", LIBVFIO,
      on=command("DEVICE_SET_IRQS"), malformed=True, pure=True)  # fmt: skip
def irq_data(case: Case) -> Outcome:
    message, fields = case.message, case.fields
    if message.incomplete:
        return None
    flags, count = fields.get("irq_flags", 0), fields.get("count")
    if count is None:
        return f"{called(case)}: expected 20 bytes of payload, came {len(message.payload)}"
    octets = len(message.payload) - 20
    wanted = count if flags & DATA_BOOL else 0
    if octets != wanted:
        return f"{called(case)}: expected {wanted} bytes of data, came {octets}"
    if flags & DATA_EVENTFD and len(message.fds) not in (0, count):
        return f"{called(case)}: expected {count} descriptors or none, came {len(message.fds)}"
    return None


@rule("VF-IRQ-03", "error", "interrupts that the type has", LIBVFIO, on=command("DEVICE_SET_IRQS"))
def irq_range(case: Case) -> Outcome:
    fields = case.fields
    start, count = fields["start"], fields["count"]
    if not count and start:
        return f"{called(case)}: expected a start of 0 with a count of 0, came {start}"
    known = state(case.memory).irqs.get(fields["index"])
    if known is None or start + count <= known:
        return None
    return f"{called(case)}: expected interrupts below {known}, came {start} to {start + count - 1}"


@rule("VF-IRQ-04", "error", "ERR and REQ are only triggered, one interrupt at most", LIBVFIO,
      on=command("DEVICE_SET_IRQS"), pure=True)  # fmt: skip
def irq_err(case: Case) -> Outcome:
    fields = case.fields
    if fields["index"] not in (ERR, REQ):
        return None
    if fields["irq_flags"] & (MASK | UNMASK):
        return f"{called(case)}: expected ACTION_TRIGGER of ERR and REQ, came flags {fields['irq_flags']:#x}"
    return f"{called(case)}: expected a count of 1 at most, came {fields['count']}" if fields["count"] > 1 else None


@rule("VF-IRQ-05", "warning", "descriptors come with DATA_EVENTFD only", LIBVFIO, on=command("DEVICE_SET_IRQS"),
      malformed=True, pure=True)  # fmt: skip
def irq_descriptors(case: Case) -> Outcome:
    flags = case.fields.get("irq_flags", 0)
    if not case.message.fds or flags & DATA_EVENTFD:
        return None
    return f"{called(case)}: expected no descriptor with flags {flags:#x}, came {len(case.message.fds)}"


# -- regions

REGION_READ = "vfio-user, VFIO_USER_REGION_READ"
WRITE_MULTI = "vfio-user, VFIO_USER_REGION_WRITE_MULTI"
_READABLE, _WRITABLE = 1, 2
STOP_COPY = 3


@rule("VF-REG-01", "error", "accesses lie in their region, which allows them", REGION_READ,
      on=command("REGION_READ", "REGION_WRITE"))  # fmt: skip
def access(case: Case) -> Outcome:
    fields = case.fields
    region = state(case.memory).regions.get(fields["region"])
    if region is None:
        return None
    offset, count, length = fields["offset"], fields["count"], region.get("length", 0)
    if offset + count > length:
        where = f"the {length} bytes of region {fields['region']}"
        return f"{called(case)}: expected an access in {where}, came {count} at {offset:#x}"
    needed = _READABLE if case.message.name == "REGION_READ" else _WRITABLE
    if region.get("region_flags", 0) & needed:
        return None
    word = "readable" if needed == _READABLE else "writable"
    return f"{called(case)}: expected region {fields['region']} to be {word}, it is not"


@rule("VF-REG-02", "error", "as much data as count says, and no more than the receiver takes", SIZES,
      on=(command("REGION_READ", "REGION_WRITE", "DMA_READ", "DMA_WRITE"), answer("REGION_READ", "DMA_READ")),
      malformed=True)  # fmt: skip
def data(case: Case) -> Outcome:
    message, fields = case.message, case.fields
    if message.refused or message.incomplete:
        return None
    count = fields.get("count", fields.get("early_count"))
    carries = (message.name in ("REGION_WRITE", "DMA_WRITE")) != message.is_reply
    if message.is_reply and not message.payload:
        return None  # a count of 0, by libvfio-user
    if count is None:
        return f"{called(case)}: expected 16 bytes and the data, came {len(message.payload)}"
    octets = len(message.payload) - 16
    wanted = count if carries or message.is_reply else 0
    if octets != wanted:
        return f"{called(case)}: expected {wanted} bytes of data, came {octets}"
    # the one who gets the data: of a write its receiver, of a read the one who asks
    taker = message.sender if not carries and not message.is_reply else 1 - message.sender
    most = state(case.memory).limit(taker, "max_data_xfer_size")
    if not case.sure or count <= most:
        return None
    return f"{called(case)}: expected at most {most} bytes by max_data_xfer_size, came {count}"


@rule("VF-REG-03", "warning", "regions are left alone while the device's state is copied", LIBVFIO,
      on=command("REGION_READ", "REGION_WRITE"))  # fmt: skip
def while_copied(case: Case) -> Outcome:
    if state(case.memory).migration != STOP_COPY or not case.first("VF-REG-03"):
        return None
    return f"{called(case)}: expected no access in the state STOP_COPY, one came"


@rule("VF-REG-04", "error", "REGION_WRITE_MULTI has its writes, of 8 bytes at most, and both ends know it",
      WRITE_MULTI, on=command("REGION_WRITE_MULTI"), malformed=True)  # fmt: skip
def writes(case: Case) -> Outcome:
    message = case.message
    kept = state(case.memory)
    if case.sure and not all((one or {}).get("write_multiple") is True for one in kept.capabilities):
        return f"{called(case)}: expected the capability write_multiple of both ends, one has not told it"
    if message.incomplete:
        return None
    count = case.fields.get("count", 0)
    wanted, came = 8 + 24 * count, len(message.payload)
    if came != wanted:
        return f"{called(case)}: expected {wanted} bytes of payload for {count} writes, came {came}"
    for one in case.fields.get("writes", ()):
        if one.get("count", 0) > 8:
            return f"{called(case)}: expected writes of 8 bytes at most, came {one['count']}"
    return None


@rule("VF-REG-05", "warning", "all writes of REGION_WRITE_MULTI are done", WRITE_MULTI,
      on=answer("REGION_WRITE_MULTI"))  # fmt: skip
def writes_done(case: Case) -> Outcome:
    request = asked(case)
    if request is None or case.message.refused:
        return None
    wanted, came = request.fields.get("count", 0), case.fields.get("count", 0)
    if came >= wanted:
        return None
    return Breach(f"{called(case)}: expected {wanted} writes to be done, came {came}", evidence=(request.no,))


@rule("VF-REG-06", "note", "a client asks for a region before it reads and writes there", REGION_INFO,
      on=command("REGION_READ", "REGION_WRITE"))  # fmt: skip
def not_asked_for(case: Case) -> Outcome:
    kept = state(case.memory)
    region = case.fields["region"]
    if not case.sure or region in kept.regions or not case.first("VF-REG-06", region):
        return None
    return f"{called(case)}: expected DEVICE_GET_REGION_INFO of region {region} before, there was none"


# -- reset

RESET = "vfio-user, VFIO_USER_DEVICE_RESET"


@rule("VF-RST-01", "warning", "DEVICE_RESET has no payload", RESET, on=command("DEVICE_RESET"), malformed=True,
      pure=True)  # fmt: skip
def reset_payload(case: Case) -> Outcome:
    came = len(case.message.payload)
    return f"{called(case)}: expected no payload, came {came} bytes" if came else None


@rule("VF-RST-02", "warning", "only a device that can be reset is", INFO, on=command("DEVICE_RESET"), malformed=True)
def not_resettable(case: Case) -> Outcome:
    info = state(case.memory).info
    if info is None or info.get("device_flags", 0) & 1:
        return None
    return f"{called(case)}: expected a device with the RESET flag, it has told that it cannot be reset"
