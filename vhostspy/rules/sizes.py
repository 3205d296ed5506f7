"""Payload sizes: a payload is as long as the structure its row names, by what was agreed on."""

from __future__ import annotations

from vhostspy.capture.record import INCOMPLETE, SNAPPED
from vhostspy.dissectors import registry
from vhostspy.dissectors.context import Context, doubt
from vhostspy.dissectors.plan import plan
from vhostspy.dissectors.rows import ACK, EMPTY, Gate, Layout, Message

from .descriptors import counted
from .gates import FRONT, LOG_SHMFD, XEN_MMAP
from .header import asker
from .rule import Case, Outcome, Slot, every, reply, request, rule

PAYLOAD = "vhost-user, Message Specification, Payload, "
#: contents of the configuration space in one message; rust-vmm takes more
MOST_CONFIG = 256
MOST_CONFIG_RUST = 4096


def mistaken(case: Case) -> bool:
    """Whether octets are left over, or missing. What did not come whole, or was not kept whole, is not judged."""
    message = case.message
    if message.marks & (INCOMPLETE | SNAPPED):
        return False
    decoded = message.decoded
    return decoded.layout is None or decoded.missing > 0 or bool(decoded.rest)


def _lengths(layouts: tuple[Layout, ...], context: Context) -> str:
    """The sizes that the payload may have, for people."""
    least = min((doubt(layout, context) for layout in layouts), default=0)
    likely = [layout for layout in layouts if doubt(layout, context) == least]
    sizes = {size: None for layout in likely if (size := plan(layout, "<").size) is not None}
    text = " or ".join(map(str, sizes)) + " bytes" if sizes else ""
    if any(plan(layout, "<").size is None for layout in likely):
        text += f"{text and ', or '}as many bytes as its counts say"
    return text or "0 bytes"


def _expected(message: Message, reply: bool, context: Context) -> str:
    layouts = message.request if not reply else (ACK,) if message.reply is None else message.reply
    return _lengths(layouts or (EMPTY,), context)


def wrong_size(case: Case) -> str | None:
    """The sentence if the payload is not as long as its structure."""
    message = case.message
    if message.row is None or not mistaken(case):
        return None
    return f"{case.name}: expected a payload of {sizes_of(case)}, came {message.size}"


def sizes_of(case: Case) -> str:
    """The sizes that the message's payload may have, for people."""
    message = case.message
    return "any" if message.row is None else _expected(message.row, message.is_reply, message.context)


#: (channel, name, whether a reply) -> the rule of its size, where it is not VU-SZ-01
_ELSEWHERE = {
    ("main", "SET_MEM_TABLE", False),
    ("main", "ADD_MEM_REG", False),
    ("main", "REM_MEM_REG", False),
    ("main", "IOTLB_MSG", False),
    ("backend", "IOTLB_MSG", False),
    ("main", "GET_INFLIGHT_FD", False),
    ("main", "GET_INFLIGHT_FD", True),
    ("main", "SET_INFLIGHT_FD", False),
    ("main", "GET_CONFIG", False),
    ("main", "GET_CONFIG", True),
    ("main", "SET_CONFIG", False),
    ("main", "GET_SHARED_OBJECT", False),
    ("main", "SET_LOG_BASE", False),
    ("main", "CREATE_CRYPTO_SESSION", False),
    ("main", "CREATE_CRYPTO_SESSION", True),
    ("main", "GET_SHMEM_CONFIG", True),
}


def _has_size(slot: Slot) -> bool:
    if slot.row is None or slot.kind not in ("request", "reply") or slot.id == 0:
        return False
    return (slot.channel, slot.row.name, slot.kind == "reply") not in _ELSEWHERE


@rule("VU-SZ-01", "error", "the payload is as long as the message's structure", PAYLOAD[:-2], on=every(_has_size),
      malformed=True, pure=True)  # fmt: skip
def as_long_as_its_structure(case: Case) -> Outcome:
    message = case.message
    today = registry.row(message.protocol, message.channel, asker(message.channel), message.id or 0)
    if today is None or today is message.row or message.is_reply:
        return wrong_size(case)
    # it only fits a meaning of long ago (VU-HDR-11); where that of today was agreed on, it is just wrong
    if not today.needs or not all(_agreed(case, gate) for gate in today.needs):
        return None
    wanted = _expected(today, False, message.context)
    return f"{today.name}: expected a payload of {wanted}, came {message.size}"


def _agreed(case: Case, gate: Gate) -> bool:
    word = case.before.virtio_agreed if gate.word == "virtio" else case.before.protocol_agreed
    return bool((word or 0) >> gate.bit & 1)


def _table_size(case: Case) -> tuple[int, int, int]:
    """Of SET_MEM_TABLE: regions it says it has, bytes of each, bytes of the payload they make."""
    count = case.fields.get("count", 0)
    region = 40 if (case.before.protocol_agreed or 0) & XEN_MMAP else 32
    return count, region, 8 + region * count


def _is_old(case: Case) -> bool:
    layout = case.message.decoded.layout
    return layout is not None and layout.name == "memory table of 2014" and case.fields.get("count", 0) > 0


@rule("VU-SZ-02", "error", "SET_MEM_TABLE has room for all its regions", PAYLOAD + "Multiple Memory regions",
      on=request("SET_MEM_TABLE"), malformed=True, pure=True)  # fmt: skip
def table_too_short(case: Case) -> Outcome:
    message = case.message
    if not mistaken(case) or (message.size or 0) < 8:
        return wrong_size(case)
    count, region, wanted = _table_size(case)
    if (message.size or 0) >= wanted:
        return None
    return f"{case.name}: expected {wanted} bytes of payload for {count} regions of {region} bytes, came {message.size}"


@rule("VU-SZ-03", "note", "SET_MEM_TABLE is no longer than its regions", PAYLOAD + "Multiple Memory regions",
      on=request("SET_MEM_TABLE"),
      malformed=True, pure=True, notes="Senders of always eight regions exist.")  # fmt: skip
def table_too_long(case: Case) -> Outcome:
    count, region, wanted = _table_size(case)
    size = case.message.size or 0
    if not mistaken(case) or size <= wanted:
        return None
    return f"{case.name}: expected {wanted} bytes of payload for {count} regions of {region} bytes, came {size}"


@rule("VU-SZ-04", "error", "regions have an mmap offset (32 bytes, not the 24 of 2014)",
      PAYLOAD + "Memory region description", on=request("SET_MEM_TABLE"), pure=True)  # fmt: skip
def table_of_2014(case: Case) -> Outcome:
    if not _is_old(case):
        return None
    return f"{case.name}: expected regions of 32 bytes, came {case.fields['count']} of 24, as in 2014"


@rule("VU-SZ-05", "error", "ADD_MEM_REG and REM_MEM_REG: 40 bytes (48 with XEN_MMAP); 8 only to confirm addresses in "
      "postcopy", PAYLOAD + "Single memory region description", on=request("ADD_MEM_REG", "REM_MEM_REG"),
      malformed=True, pure=True)  # fmt: skip
def single_region(case: Case) -> Outcome:
    message = case.message
    if message.size == 8 and not message.context.postcopy and case.sure:
        return f"{case.name}: expected 40 bytes of payload outside of postcopy, came 8"
    if message.size == 36 and mistaken(case):
        return (
            f"{case.name}: expected 40 bytes of payload, came 36, as of QEMU 5.0 (3009edff81): the upper half of "
            "mmap_offset is missing"
        )
    return wrong_size(case)


@rule("VU-SZ-06", "error", "an IOTLB message has 32 bytes", "Linux, include/uapi/linux/vhost_types.h, vhost_iotlb_msg",
      on=(request("IOTLB_MSG"), request("IOTLB_MSG", channel="backend")), malformed=True, pure=True)  # fmt: skip
def iotlb(case: Case) -> Outcome:
    return wrong_size(case)


@rule("VU-SZ-07", "error", "an inflight description has 24 bytes", PAYLOAD + "Inflight description",
      on=(request("GET_INFLIGHT_FD", "SET_INFLIGHT_FD"), reply("GET_INFLIGHT_FD")),
      malformed=True, pure=True)  # fmt: skip
def inflight(case: Case) -> Outcome:
    return wrong_size(case)


@rule(
    "VU-SZ-08", "error", "a config message has 12 bytes and as many as its length says, which is 1 to 256",
    FRONT + "GET_CONFIG", on=(request("GET_CONFIG", "SET_CONFIG"), reply("GET_CONFIG")), malformed=True, pure=True,
    notes="A reply that says no is empty, or has length 0. rust-vmm takes up to 4096 bytes.",
)  # fmt: skip
def config(case: Case) -> Outcome:
    message = case.message
    if mistaken(case):
        length = case.fields.get("length")
        if length is None or length > 1 << 16:
            return f"{case.name}: expected 12 bytes and the contents, came {message.size}"
        return f"{case.name}: expected {12 + length} bytes of payload as its length is {length}, came {message.size}"
    length = case.fields.get("length", 0)
    most = MOST_CONFIG
    if case.memory.peers.known(0, ("rust-vmm", "crosvm")) or case.memory.peers.known(1, ("rust-vmm", "crosvm")):
        most = MOST_CONFIG_RUST
    if length > most or (length == 0 and not message.is_reply):
        return f"{case.name}: expected a length of 1 to {most}, came {length}"
    return None


@rule("VU-SZ-09", "error", "GET_SHARED_OBJECT has 16 bytes", FRONT + "GET_SHARED_OBJECT",
      on=request("GET_SHARED_OBJECT"),
      malformed=True, pure=True, notes="Of size 0, as QEMU sends it: VU-SO-05.")  # fmt: skip
def shared_object(case: Case) -> Outcome:
    return wrong_size(case) if case.message.size else None


@rule("VU-SZ-10", "warning", "SET_LOG_BASE has 16 bytes, of 2014 8", PAYLOAD + "Log description",
      on=request("SET_LOG_BASE"), malformed=True, pure=True)  # fmt: skip
def log(case: Case) -> Outcome:
    message = case.message
    if message.size == 8 and (case.before.protocol_agreed or 0) & LOG_SHMFD:
        return f"{case.name}: expected 16 bytes of payload as LOG_SHMFD is agreed on, came 8, the form of 2014"
    return wrong_size(case)


@rule("VU-SZ-11", "error", "a crypto session has 1072 bytes, before QEMU 8.0 632", "QEMU, VhostUserCryptoSession",
      on=(request("CREATE_CRYPTO_SESSION"), reply("CREATE_CRYPTO_SESSION")), malformed=True, pure=True)  # fmt: skip
def crypto(case: Case) -> Outcome:
    return wrong_size(case)


@rule("VU-SZ-12", "error", "the reply of GET_SHMEM_CONFIG has 2056 bytes",
      PAYLOAD + "VIRTIO Shared Memory Region configuration", on=reply("GET_SHMEM_CONFIG"),
      malformed=True, pure=True)  # fmt: skip
def shmem_config(case: Case) -> Outcome:
    return wrong_size(case)


@rule("VU-SZ-13", "error", "an acknowledgement has 8 bytes and no descriptor",
      "vhost-user, Protocol features, VHOST_USER_PROTOCOL_F_REPLY_ACK",
      on=every(lambda slot: slot.kind == "ack" and slot.id != 0), malformed=True, pure=True)  # fmt: skip
def acknowledgement(case: Case) -> Outcome:
    message = case.message
    if message.marks & INCOMPLETE:
        return None
    if message.size != 8:
        return f"{case.name}: expected 8 bytes of payload, came {message.size}"
    return counted(case, 0)
