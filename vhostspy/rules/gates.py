"""Messages that need a feature bit: which, says their row; here is what it is called when the bit was not agreed on.

``VU-NEG-05`` stands for all that have no rule of their own.
"""

from __future__ import annotations

from vhostspy.dissectors.rows import Gate

from .rule import Breach, Case, Outcome, Rule, Severity, Slot, every, rule

FRONT = "vhost-user, Front-end message types, VHOST_USER_"
BACK = "vhost-user, Back-end message types, VHOST_USER_BACKEND_"
BACKEND_REQ = "BACKEND_REQ"
REPLY_ACK_SOURCE = "vhost-user, Protocol features, VHOST_USER_PROTOCOL_F_REPLY_ACK"
#: in the word of protocol features
LOG_SHMFD, REPLY_ACK, XEN_MMAP = 1 << 1, 1 << 3, 1 << 17


def lacking(case: Case) -> Gate | None:
    """The bit that this message needs and nobody agreed on; None while that is not known."""
    message = case.message
    session = case.before
    row = message.row
    if row is None or not case.sure:
        return None
    for gate in row.needs:
        if message.channel == "backend" and gate.name == BACKEND_REQ:
            continue  # VU-BE-01
        virtio = gate.word == "virtio"
        agreed = session.virtio_agreed if virtio else session.protocol_agreed
        if agreed is None or agreed >> gate.bit & 1:
            continue
        if gate.offered:
            offered = session.virtio_offered if virtio else session.protocol_offered
            if offered is None or offered >> gate.bit & 1:
                continue
        return gate
    return None


def ungated(case: Case) -> str | None:
    """The sentence for a message whose feature is missing."""
    gate = lacking(case)
    if gate is None:
        return None
    word = "protocol feature" if gate.word == "protocol" else "feature"
    how = "offered" if gate.offered else "agreed on"
    return f"{case.name}: expected {word} {gate.name} (bit {gate.bit}) to be {how} before, it was not"


#: rules of their own: id, severity, source, channel and names
_FAMILIES: tuple[tuple[str, Severity, str, tuple[tuple[str, str], ...]], ...] = (
    ("VU-OWN-05", "error", FRONT + "RESET_DEVICE", (("main", "RESET_DEVICE"),)),
    ("VU-MEM-06", "error", FRONT + "ADD_MEM_REG", (("main", "ADD_MEM_REG"), ("main", "REM_MEM_REG"))),
    (
        "VU-RUN-08", "error", "QEMU, hw/virtio/vhost-user.c, VHOST_USER_GET_VRING_BASE_SKIP_DRAIN",
        (("main", "GET_VRING_BASE_SKIP_DRAIN"),),
    ),
    ("VU-INF-01", "error", FRONT + "GET_INFLIGHT_FD", (("main", "GET_INFLIGHT_FD"), ("main", "SET_INFLIGHT_FD"))),
    (
        "VU-PC-01", "error", FRONT + "POSTCOPY_ADVISE",
        (("main", "POSTCOPY_ADVISE"), ("main", "POSTCOPY_LISTEN"), ("main", "POSTCOPY_END")),
    ),
    ("VU-CFG-01", "error", FRONT + "GET_CONFIG", (("main", "GET_CONFIG"), ("main", "SET_CONFIG"))),
    ("VU-IOT-01", "error", "vhost-user, IOMMU support", (("main", "IOTLB_MSG"), ("backend", "IOTLB_MSG"))),
    (
        "VU-SO-01", "error", FRONT + "GET_SHARED_OBJECT",
        (
            ("main", "GET_SHARED_OBJECT"), ("backend", "SHARED_OBJECT_ADD"), ("backend", "SHARED_OBJECT_REMOVE"),
            ("backend", "SHARED_OBJECT_LOOKUP"),
        ),
    ),
    (
        "VU-SHM-01", "error", FRONT + "GET_SHMEM_CONFIG",
        (("main", "GET_SHMEM_CONFIG"), ("backend", "SHMEM_MAP"), ("backend", "SHMEM_UNMAP")),
    ),
    (
        "VU-DS-01", "error", FRONT + "SET_DEVICE_STATE_FD",
        (("main", "SET_DEVICE_STATE_FD"), ("main", "CHECK_DEVICE_STATE")),
    ),
    ("VU-ST-01", "error", FRONT + "SET_STATUS", (("main", "SET_STATUS"), ("main", "GET_STATUS"))),
    ("VU-NET-02", "warning", FRONT + "SEND_RARP", (("main", "SEND_RARP"),)),
    (
        "VU-CR-01", "error", FRONT + "CREATE_CRYPTO_SESSION",
        (("main", "CREATE_CRYPTO_SESSION"), ("main", "CLOSE_CRYPTO_SESSION")),
    ),
)  # fmt: skip

#: a virtio bit that has other rules, or messages where the gate is only one of several conditions of a rule
_ELSEWHERE = {
    ("main", "GET_PROTOCOL_FEATURES"): "VU-NEG-02",
    ("main", "SET_PROTOCOL_FEATURES"): "VU-NEG-02",
    ("main", "SET_VRING_ENABLE"): "VU-NEG-16",
    ("main", "VRING_KICK"): "VU-IB-01",
    ("backend", "VRING_HOST_NOTIFIER_MSG"): "VU-BE-07",
    ("backend", "VRING_CALL"): "VU-BE-09",
    ("backend", "VRING_ERR"): "VU-BE-09",
}
#: (channel, name) -> the rule that speaks of its gate
GATED = {place: id for id, _, _, places in _FAMILIES for place in places} | _ELSEWHERE


def _requests(slot: Slot, places: frozenset[tuple[str, str]]) -> bool:
    return slot.kind == "request" and slot.row is not None and (slot.channel, slot.row.name) in places


def _gate(id: str, severity: Severity, source: str, places: tuple[tuple[str, str], ...]) -> Rule:
    names = ", ".join(dict.fromkeys(name for _, name in places))
    chosen = frozenset(places)
    on = every(lambda slot: _requests(slot, chosen), f"{names} (request)")
    return rule(id, severity, f"{names} only once the feature was agreed on", source, on=on, malformed=True, pure=True)(
        _checked
    )


def _checked(case: Case) -> Outcome:
    """A bit that drafts had for it now means something else, so it excuses, but does not make it right."""
    gate, text = lacking(case), ungated(case)
    if gate is None or text is None:
        return None
    word = (case.before.virtio_agreed if gate.word == "virtio" else case.before.protocol_agreed) or 0
    if gate.agreed(word):
        drafts = ", ".join(str(bit) for bit in gate.drafts if word >> bit & 1)
        return Breach(f"{text}; drafts had it on bit {drafts}, which is", severity="warning")
    return text


FAMILIES: tuple[Rule, ...] = tuple(_gate(*family) for family in _FAMILIES)


@rule(
    "VU-NEG-05", "error", "a message that needs a protocol feature comes only once that was agreed on",
    "vhost-user, Protocol features",
    on=every(lambda slot: slot.kind == "request" and slot.row is not None and bool(slot.row.needs)
             and (slot.channel, slot.row.name) not in GATED),
    malformed=True, pure=True,
)  # fmt: skip
def not_agreed(case: Case) -> Outcome:
    text = ungated(case)
    if text is None or case.message.name != "GET_QUEUE_NUM":
        return text
    # SPDK asks whoever it meets, and most answer; whoever hangs up on it: VU-CLS-01
    return Breach(text, severity="warning")


@rule(
    "VU-BE-01", "error", "messages on the back-end channel only with BACKEND_REQ and SET_BACKEND_REQ_FD",
    "vhost-user, Back-end communication",
    on=every(lambda slot: slot.kind == "request" and slot.channel == "backend", "requests on the back-end channel"),
    malformed=True, pure=True,
)  # fmt: skip
def back_end_channel_not_agreed(case: Case) -> Outcome:
    agreed = case.before.protocol_agreed
    if agreed is None or agreed >> 5 & 1 or not case.sure:
        return None
    return f"{case.name}: expected protocol feature {BACKEND_REQ} (bit 5) to be agreed on before, it was not"
