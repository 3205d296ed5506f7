"""Negotiation: what is offered and acknowledged, in both feature words; which bits need which; when.

Messages that need a bit are in ``gates``.
"""

from __future__ import annotations

from vhostspy.dissectors.vhost_user import PROTOCOL_FEATURES
from vhostspy.dissectors.virtio import COMMON_FEATURES
from vhostspy.session.state import Session

from .gates import FRONT, ungated
from .rule import Breach, Case, Moment, Outcome, event, reply, request, rule

PROTOCOL = "vhost-user, Protocol features"
COMMUNICATION = "vhost-user, Communication"
LOG_ALL = 1 << 26
PROTOCOL_BIT = 1 << 30
VERSION_1 = 1 << 32
IOMMU = 1 << 33
PACKED = 1 << 34

MQ, REPLY_ACK, BACKEND_REQ, BACKEND_SEND_FD, HOST_NOTIFIER = 0, 3, 5, 10, 11
INFLIGHT_SHMFD, INBAND, SHARED_OBJECT = 12, 14, 18
BASE_INFLIGHT, GPA_ADDRESSES, SHMEM, SKIP_DRAIN = 20, 21, 22, 23


def protocol_names(word: int) -> str:
    return ", ".join(PROTOCOL_FEATURES.bits(word)) or "none"


def virtio_names(word: int) -> str:
    return ", ".join(COMMON_FEATURES.bits(word)) or "none"


def _has(word: int, *bits: int) -> bool:
    return all(word >> bit & 1 for bit in bits)


@rule("VU-NEG-01", "error", "SET_FEATURES acknowledges only what was offered", FRONT + "GET_FEATURES",
      on=request("SET_FEATURES"), pure=True)  # fmt: skip
def features_not_offered(case: Case) -> Outcome:
    offered = case.before.virtio_offered
    came = case.fields["features"]
    if offered is None or not came & ~offered:
        return None
    return (
        f"SET_FEATURES: expected only bits that were offered ({offered:#x}), came also {virtio_names(came & ~offered)}"
    )


@rule("VU-NEG-02", "error", "GET_ and SET_PROTOCOL_FEATURES only if PROTOCOL_FEATURES (bit 30) was offered",
      FRONT + "GET_PROTOCOL_FEATURES", on=request("GET_PROTOCOL_FEATURES", "SET_PROTOCOL_FEATURES"),
      malformed=True, pure=True)  # fmt: skip
def protocol_features_not_offered(case: Case) -> Outcome:
    return ungated(case)


@rule("VU-NEG-03", "error", "SET_PROTOCOL_FEATURES acknowledges only what was offered", PROTOCOL,
      on=request("SET_PROTOCOL_FEATURES"), pure=True)  # fmt: skip
def protocol_bits_not_offered(case: Case) -> Outcome:
    offered = case.before.protocol_offered
    came = case.fields["protocol_features"]
    if offered is None or not came & ~offered:
        return None
    surplus = protocol_names(came & ~offered)
    return f"SET_PROTOCOL_FEATURES: expected only bits that were offered ({offered:#x}), came also {surplus}"


@rule("VU-NEG-04", "note", "SET_PROTOCOL_FEATURES after GET_PROTOCOL_FEATURES of the same connection", COMMUNICATION,
      on=request("SET_PROTOCOL_FEATURES"), bends=("cloud-hypervisor",), pure=True)  # fmt: skip
def protocol_features_not_asked_for(case: Case) -> Outcome:
    if not case.sure or case.before.protocol_offered is not None:
        return None
    return "SET_PROTOCOL_FEATURES: expected GET_PROTOCOL_FEATURES before it on this connection, there was none"


@rule("VU-NEG-06", "note", "GET_QUEUE_NUM once MQ was acknowledged", FRONT + "GET_QUEUE_NUM",
      on=request("GET_QUEUE_NUM"),
      notes="That it was offered is enough by the text; rust-vmm and crosvm want more.", pure=True)  # fmt: skip
def queue_number_before_mq(case: Case) -> Outcome:
    agreed, offered = case.before.protocol_agreed, case.before.protocol_offered
    if not case.sure or agreed is None or _has(agreed, MQ) or offered is None or not _has(offered, MQ):
        return None
    return "GET_QUEUE_NUM: expected MQ to be acknowledged before, it was only offered"


def _needs(case: Case, bit: int, *others: int) -> str | None:
    word = case.fields["protocol_features"]
    if not _has(word, bit) or _has(word, *others):
        return None
    names = PROTOCOL_FEATURES.names
    wanted = " and ".join(names[other] for other in others)
    missing = ", ".join(names[other] for other in others if not _has(word, other))
    return f"SET_PROTOCOL_FEATURES: expected {wanted} with {names[bit]}, came without {missing}"


@rule("VU-NEG-07", "error", "INBAND_NOTIFICATIONS only with REPLY_ACK and BACKEND_REQ",
      "vhost-user, In-band notifications", on=request("SET_PROTOCOL_FEATURES"), bends=("qemu",), pure=True)  # fmt: skip
def in_band_alone(case: Case) -> Outcome:
    return _needs(case, INBAND, REPLY_ACK, BACKEND_REQ)


@rule("VU-NEG-08", "error", "GET_VRING_BASE_INFLIGHT only with INFLIGHT_SHMFD", FRONT + "GET_VRING_BASE",
      on=request("SET_PROTOCOL_FEATURES"), pure=True)  # fmt: skip
def base_inflight_alone(case: Case) -> Outcome:
    return _needs(case, BASE_INFLIGHT, INFLIGHT_SHMFD)


@rule("VU-NEG-09", "warning", "GET_VRING_BASE_SKIP_DRAIN only with GET_VRING_BASE_INFLIGHT",
      "QEMU, hw/virtio/vhost-user.c", on=request("SET_PROTOCOL_FEATURES"), pure=True)  # fmt: skip
def skip_drain_alone(case: Case) -> Outcome:
    return _needs(case, SKIP_DRAIN, BASE_INFLIGHT)


@rule("VU-NEG-10", "warning", "HOST_NOTIFIER, SHARED_OBJECT and SHMEM need the back-end channel, and most its "
      "descriptors", "vhost-user, Back-end message types, VHOST_USER_BACKEND_SHMEM_MAP",
      on=request("SET_PROTOCOL_FEATURES"), bends=("qemu", "crosvm"), pure=True)  # fmt: skip
def needs_back_end_channel(case: Case) -> Outcome:
    return (
        _needs(case, HOST_NOTIFIER, BACKEND_REQ, BACKEND_SEND_FD)
        or _needs(case, SHARED_OBJECT, BACKEND_REQ)
        or _needs(case, SHMEM, BACKEND_REQ, BACKEND_SEND_FD)
    )


@rule("VU-NEG-11", "warning", "SET_PROTOCOL_FEATURES once, before any ring is started", COMMUNICATION,
      on=request("SET_PROTOCOL_FEATURES"), notes="Repeated with the same value, as QEMU does, is fine.")  # fmt: skip
def protocol_features_changed(case: Case) -> Outcome:
    session = case.before
    came, agreed = case.fields["protocol_features"], session.protocol_agreed
    notes = case.memory.of("VU-NEG-11")
    earlier, notes["no"] = notes.get("no"), case.message.no
    if not case.sure or agreed is None or came == agreed:
        return None
    started = _started(session)
    if started:
        return f"SET_PROTOCOL_FEATURES: expected before rings are started, came while ring {started[0]} is"
    if earlier is None:
        return None
    return Breach(f"SET_PROTOCOL_FEATURES: expected {agreed:#x} again as in #{earlier}, came {came:#x}",
                  evidence=(earlier,))  # fmt: skip


def _started(session: Session) -> list[int]:
    return [number for number, ring in session.rings.items() if ring.started]


@rule("VU-NEG-12", "error", "SET_FEATURES changes nothing but LOG_ALL while rings are started",
      "vhost-user, Migration; DPDK, vhost_user_set_features", on=request("SET_FEATURES"))  # fmt: skip
def features_changed_while_started(case: Case) -> Outcome:
    session = case.before
    agreed, came = session.virtio_agreed, case.fields["features"]
    started = _started(session)
    if not session.features_set or agreed is None or not started:
        return None
    changed = (agreed ^ came) & ~LOG_ALL
    if not changed:
        return None
    return (
        f"SET_FEATURES: expected no change but of LOG_ALL while ring {started[0]} is started, "
        f"came {virtio_names(changed)} changed"
    )


@rule("VU-NEG-13", "warning", "ACCESS_PLATFORM (bit 33) only with REPLY_ACK and BACKEND_REQ",
      "QEMU, hw/virtio/vhost-user.c, vhost_user_backend_init", on=request("SET_FEATURES"), pure=True)  # fmt: skip
def iommu_without_channel(case: Case) -> Outcome:
    agreed = case.before.protocol_agreed
    if not case.fields["features"] & IOMMU or agreed is None or _has(agreed, REPLY_ACK, BACKEND_REQ) or not case.sure:
        return None
    missing = [name for bit, name in ((REPLY_ACK, "REPLY_ACK"), (BACKEND_REQ, "BACKEND_REQ")) if not _has(agreed, bit)]
    return f"SET_FEATURES: expected {' and '.join(missing)} with ACCESS_PLATFORM (bit 33), came without"


@rule("VU-NEG-14", "note", "SET_FEATURES acknowledges VERSION_1", "libvhost-user, vu_set_features_exec: refuses others",
      on=request("SET_FEATURES"), pure=True)  # fmt: skip
def legacy(case: Case) -> Outcome:
    if case.fields["features"] & VERSION_1 or not case.first("VU-NEG-14"):
        return None
    return "SET_FEATURES: expected VERSION_1 (bit 32) to be acknowledged, it is not: a legacy device"


@rule("VU-NEG-15", "note", "GET_FEATURES is not repeated", "QEMU, hw/virtio/vhost-user.c: uses it as a barrier",
      on=request("GET_FEATURES"), bends=("qemu",))  # fmt: skip
def features_asked_again(case: Case) -> Outcome:
    if case.before.virtio_offered is None or not case.first("VU-NEG-15"):
        return None
    return "GET_FEATURES: expected once, came again: a front-end then waits until all before it is done"


ENABLE = FRONT + "SET_VRING_ENABLE"


@rule(
    "VU-NEG-16", "warning", "SET_VRING_ENABLE only once PROTOCOL_FEATURES (bit 30) is acknowledged", ENABLE,
    on=(request("SET_VRING_ENABLE"), event("eof", "reset")),
    bends=("qemu", "dpdk", "spdk"),
    notes="Before the first SET_FEATURES, as QEMU's network devices and SPDK do: a note. An error when the back-end "
    "closes on it.",
)  # fmt: skip
def enable_without_bit(case: Case | Moment) -> Outcome:
    session = case.before
    notes = case.memory.of("VU-NEG-16")
    if isinstance(case, Moment):
        no = notes.get("no")
        queue = session.ledger.get(("main", 1))
        if no is None or case.event.sender != 1 or case.event.channel != "main" or queue is None:
            return None
        if queue.last[0] != no:
            return None
        text = "SET_VRING_ENABLE came although PROTOCOL_FEATURES is not acknowledged, and the back-end closed on it"
        return Breach(text, who=0, no=no, severity="error", harmful=True)
    agreed = session.virtio_agreed
    if not case.sure or agreed is None or agreed & PROTOCOL_BIT:
        notes.pop("no", None)
        return None
    notes["no"] = case.message.no
    if not case.first("VU-NEG-16", session.features_set):
        return None
    if session.features_set:
        return "SET_VRING_ENABLE: expected PROTOCOL_FEATURES (bit 30) to be acknowledged, SET_FEATURES left it out"
    return Breach("SET_VRING_ENABLE: expected SET_FEATURES before it, with PROTOCOL_FEATURES", severity="note")


@rule("VU-NEG-17", "warning", "SET_FEATURES before the first SET_VRING_KICK", COMMUNICATION,
      on=request("SET_VRING_KICK"), bends=("crosvm",), malformed=True)  # fmt: skip
def started_without_features(case: Case) -> Outcome:
    if not case.sure or case.before.features_set or not case.first("VU-NEG-17"):
        return None
    return "SET_VRING_KICK: expected SET_FEATURES before any ring is started, there was none"


@rule(
    "VU-NEG-18", "warning", "a fresh packed ring begins with its wrap counters set (0x80008000)",
    "vhost-user, Vring descriptor indices for packed virtqueues; virtio, Driver and Device Ring Wrap Counters",
    on=request("SET_VRING_BASE"), notes="A front-end that restores a ring may send others.",
)  # fmt: skip
def fresh_packed_ring(case: Case) -> Outcome:
    session = case.before
    index = case.fields.get("index", 0)
    ring = session.rings.get(index)
    if not case.sure or session.previous is not None or "available_wrap" not in case.fields:
        return None
    if ring is not None and ring.base is not None or not case.first("VU-NEG-18", index):
        return None
    fields = case.fields
    if fields["available_wrap"] and fields["used_wrap"]:
        return None
    # restored: it has come along already
    if fields["available_index"] or fields["used_index"]:
        return None
    return f"SET_VRING_BASE: expected both wrap counters of fresh ring {index} to be set, came clear"


@rule("VU-NEG-19", "warning", "GET_QUEUE_NUM is answered with 1 or more", "vhost-user, Multiple queue support",
      on=reply("GET_QUEUE_NUM"), notes="Rings beyond the answer: VU-VR-13.", pure=True)  # fmt: skip
def no_queues(case: Case) -> Outcome:
    return "GET_QUEUE_NUM: expected a number of queues, came 0" if case.fields.get("queues") == 0 else None


@rule("VU-NEG-20", "note", "bit 21 means GPA_ADDRESSES, not SHMEM as in rust-vmm 0.16", "rust-vmm/vhost 0.16",
      on=reply("GET_PROTOCOL_FEATURES"), pure=True)  # fmt: skip
def shmem_at_21(case: Case) -> Outcome:
    offered = case.fields.get("protocol_features", 0)
    if not _has(offered, GPA_ADDRESSES) or _has(offered, SHMEM) or not case.memory.peers.known(1, ("rust-vmm",)):
        return None
    return "GET_PROTOCOL_FEATURES reply: bit 21 of a rust-vmm back-end may mean SHMEM (bit 22) instead of GPA_ADDRESSES"
