"""Rings: size, addresses, base, descriptors, and when they may be set."""

from __future__ import annotations

from vhostspy.session.state import Region, Ring, Session

from .gates import FRONT
from .memory import GPA_ADDRESSES
from .negotiation import IOMMU, PACKED, PROTOCOL_BIT
from .replies import SECOND
from .rule import Breach, Case, Moment, Outcome, event, every, request, rule

STATES = "vhost-user, Ring states"
INDICES = "vhost-user, Vring descriptor indices for packed virtqueues"
ADDRESS = "vhost-user, Message Specification, Payload, A vring address description"
MIGRATION = "vhost-user, Migration"
MOST_DESCRIPTORS = 32768
#: the words of kick, call and err have 8 bits for a ring's number
MOST_RINGS = 256
EVENT_INDEX = 1 << 29
#: a ring that is started gets enabled within so long, if it ever is
ENABLED_WITHIN_NS = 5 * SECOND
_LINES = ("SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR")


def packed(session: Session) -> bool | None:
    """Whether its rings are packed; None while nobody has said."""
    if session.virtio_agreed is None or not session.features_set and session.whole:
        return None
    return bool(session.virtio_agreed & PACKED)


@rule("VU-VR-01", "error", "a split ring has a power of two of descriptors, any ring 1 to 32768", FRONT +
      "SET_VRING_NUM", on=request("SET_VRING_NUM"))  # fmt: skip
def size(case: Case) -> Outcome:
    num = case.fields["num"]
    if not 1 <= num <= MOST_DESCRIPTORS:
        return (
            f"SET_VRING_NUM: expected 1 to {MOST_DESCRIPTORS} descriptors for ring {case.fields['index']}, came {num}"
        )
    if num & (num - 1) and packed(case.before) is False:
        return f"SET_VRING_NUM: expected a power of two for split ring {case.fields['index']}, came {num}"
    return None


def _address_words(ring: Ring) -> str:
    return "none" if ring.addresses is None else ", ".join(f"{one:#x}" for one in ring.addresses[:3])


@rule("VU-VR-02", "error", "size, base and addresses of a started ring stay; only its log may change", MIGRATION,
      on=request("SET_VRING_NUM", "SET_VRING_BASE", "SET_VRING_ADDR", "SET_STATUS"),
      notes="The same value again, or a ring that is disabled, as after a reset that nobody announces: a warning.",
      )  # fmt: skip
def changes_started_ring(case: Case) -> Outcome:
    message, before = case.message, case.before
    reset = case.memory.of("VU-VR-02")
    if message.name == "SET_STATUS":
        if not case.fields.get("status"):
            # a reset stops rings, whatever is said of them afterwards
            reset.update({index: ring.kick.no if ring.kick else 0 for index, ring in before.rings.items()})
        return None
    index = case.fields.get("index", -1)
    ring = before.rings.get(index)
    if ring is None or not ring.started or reset.get(index) == (ring.kick.no if ring.kick else 0):
        return None
    if ring.addresses is not None and not any(ring.addresses[:3]):
        return None  # QEMU doesn't stop rings that it has nothing for
    after = case.after.rings[index]
    was_known = {"SET_VRING_ADDR": ring.addresses, "SET_VRING_NUM": ring.size}.get(message.name or "", ring.base)
    if was_known is None and not case.sure:
        return None  # what it had was not seen, so this may be the same
    if message.name == "SET_VRING_ADDR":
        same = ring.addresses is not None and after.addresses is not None and ring.addresses[:3] == after.addresses[:3]
        if same:
            return None
        came, was = _address_words(after), _address_words(ring)
    elif message.name == "SET_VRING_NUM":
        came, was = str(after.size), str(ring.size)
    else:
        came, was = f"{after.base:#x}" if after.base is not None else "", f"{ring.base or 0:#x}"
    text = (
        f"{case.name}: expected ring {index} to be stopped by GET_VRING_BASE first, it is started ({was}, now {came})"
    )
    mild = came == was or not ring.enabled
    started = ring.kick.no if ring.kick else 0
    return Breach(text, evidence=(started,), severity="warning" if mild else None)


@rule("VU-VR-03", "error", "flags of SET_VRING_ADDR have bit 0 only", ADDRESS, on=request("SET_VRING_ADDR"))
def address_flags(case: Case) -> Outcome:
    reserved = case.fields.get("reserved", 0)
    return f"SET_VRING_ADDR: expected flags of 0 or 1, came also {reserved:#x}" if reserved else None


_SPLIT_PARTS = (("descriptor", "descriptor table", 16), ("available", "available ring", 2), ("used", "used ring", 4))
_PACKED_PARTS = (
    ("descriptor", "ring", 16),
    ("available", "driver's event area", 4),
    ("used", "device's event area", 4),
)


@rule("VU-VR-04", "error", "parts of a ring are aligned", "virtio, Virtqueues; rust-vmm/vhost refuses others",
      on=request("SET_VRING_ADDR"))  # fmt: skip
def alignment(case: Case) -> Outcome:
    breaches = []
    for member, name, wanted in _PACKED_PARTS if packed(case.before) else _SPLIT_PARTS:
        address = case.fields[member]
        if address % wanted:
            text = f"SET_VRING_ADDR: expected the {name} of ring {case.fields['index']} at a multiple of {wanted}"
            breaches.append(Breach(f"{text}, came {address:#x}"))
    return breaches


@rule("VU-VR-05", "error", "memory is known before SET_VRING_ADDR", "DPDK, vhost_user_set_vring_addr",
      on=request("SET_VRING_ADDR"), malformed=True, notes=(
          "QEMU sends only memory that others can map: it needs a memory-backend-memfd or -file with share=on."
      ))  # fmt: skip
def address_without_memory(case: Case) -> Outcome:
    if case.before.regions or not case.sure or not case.first("VU-VR-05"):
        return None
    return "SET_VRING_ADDR: expected memory regions before it, there are none"


def parts(session: Session, ring: Ring) -> list[tuple[str, int, int]]:
    """Name, address and size in bytes of each part; of 1 byte where the ring's size is not known."""
    if ring.addresses is None:
        return []
    table, used, available = ring.addresses[:3]
    if ring.size is None:
        return [("descriptors", table, 1), ("available ring", available, 1), ("used ring", used, 1)]
    descriptors = ("descriptors", table, 16 * ring.size)
    if packed(session):
        return [descriptors, ("driver's event area", available, 4), ("device's event area", used, 4)]
    event = 2 if (session.virtio_agreed or 0) & EVENT_INDEX else 0
    return [
        descriptors,
        ("available ring", available, 4 + 2 * ring.size + event),
        ("used ring", used, 4 + 8 * ring.size + event),
    ]


def inside(regions: tuple[Region, ...], address: int, length: int, guest: bool = False) -> bool:
    """Whether so many bytes lie in one region; ``guest``: the address is one of the guest's."""
    for region in regions:
        start = region.guest_address if guest else region.user_address
        if start <= address and address + length <= start + region.size:
            return True
    return False


@rule(
    "VU-VR-06", "error", "each part of a ring lies in one memory region", "vhost-user, Memory access",
    on=request("SET_VRING_ADDR"), notes="Not judged with an IOMMU (bit 33): then addresses are its own.",
)  # fmt: skip
def outside_memory(case: Case) -> Outcome:
    session = case.after
    ring = session.rings.get(case.fields["index"])
    if ring is None or not case.sure or not session.regions or (session.virtio_agreed or 0) & IOMMU:
        return None
    if ring.addresses is None or not any(ring.addresses[:3]):
        return None
    guest = bool((session.protocol_agreed or 0) & GPA_ADDRESSES)
    out = [part for part in parts(session, ring) if not inside(session.regions, part[1], part[2], guest)]
    if not out:
        return None
    name, address, length = out[0]
    text = f"SET_VRING_ADDR: expected the {name} of ring {ring.number} in one memory region"
    evidence = tuple(dict.fromkeys(region.no for region in session.regions))[-4:]
    return Breach(f"{text}, {length} bytes at {address:#x} are in none", evidence=evidence)


@rule("VU-VR-07", "warning", "SET_VRING_NUM comes before SET_VRING_ADDR", "DPDK, vhost_user_set_vring_addr",
      on=request("SET_VRING_ADDR"))  # fmt: skip
def address_before_size(case: Case) -> Outcome:
    ring = case.before.rings.get(case.fields["index"])
    if not case.sure or ring is not None and ring.size is not None:
        return None
    return f"SET_VRING_ADDR: expected SET_VRING_NUM for ring {case.fields['index']} before it, there was none"


@rule("VU-VR-08", "warning", "a ring has addresses other than 0", "QEMU, hw/virtio/vhost.c: such rings are skipped",
      on=request("SET_VRING_ADDR"))  # fmt: skip
def no_addresses(case: Case) -> Outcome:
    fields = case.fields
    if fields["descriptor"] or fields["used"] or fields["available"]:
        return None
    return f"SET_VRING_ADDR: expected addresses for ring {fields['index']}, all are 0"


@rule("VU-VR-09", "error", "a ring has size and addresses before it is started", STATES, on=request("SET_VRING_KICK"))
def started_without_setup(case: Case) -> Outcome:
    index = case.fields["index"]
    ring = case.before.rings.get(index)
    if not case.sure:
        return None
    missing = [
        name
        for name, there in (
            ("SET_VRING_NUM", ring is not None and ring.size is not None),
            ("SET_VRING_ADDR", ring is not None and ring.addresses is not None),
        )
        if not there
    ]
    if not missing:
        return None
    return f"SET_VRING_KICK: expected {' and '.join(missing)} for ring {index} before it, there was none"


@rule("VU-VR-10", "warning", "the base of a packed ring is below its size", INDICES, on=request("SET_VRING_BASE"))
def base_beyond_ring(case: Case) -> Outcome:
    ring = case.before.rings.get(case.fields["index"])
    if ring is None or ring.size is None or "available_index" not in case.fields:
        return None
    came = max(case.fields["available_index"], case.fields["used_index"])
    if came < ring.size:
        return None
    return f"SET_VRING_BASE: expected positions below {ring.size} for packed ring {ring.number}, came {came}"


@rule("VU-VR-11", "error", "bits 9 to 63 of kick, call and err words are zero", FRONT + "SET_VRING_KICK",
      on=request(*_LINES), notes="A number beyond the queues: VU-VR-13.")  # fmt: skip
def line_word(case: Case) -> Outcome:
    reserved = case.fields.get("reserved", 0)
    if not reserved:
        return None
    return f"{case.name}: expected a ring's number and bit 8 only, came also {reserved:#x}"


@rule("VU-VR-12", "error", "ring numbers are below 256", FRONT + "SET_VRING_KICK: the number has 8 bits",
      on=request("SET_VRING_NUM", "SET_VRING_BASE", "SET_VRING_ADDR", "SET_VRING_ENABLE", "GET_VRING_BASE",
                 "SET_VRING_ENDIAN", "VRING_KICK"))  # fmt: skip
def ring_number(case: Case) -> Outcome:
    index = case.fields["index"]
    if index < MOST_RINGS:
        return None
    return f"{case.name}: expected a ring below {MOST_RINGS}, as a kick can name no other, came {index}"


_RINGS = ("SET_VRING_NUM", "SET_VRING_BASE", "SET_VRING_ADDR", "SET_VRING_ENABLE", "GET_VRING_BASE", *_LINES)


@rule("VU-VR-13", "warning", "rings are below the number that GET_QUEUE_NUM answered, in network devices below twice "
      "that", "vhost-user, Multiple queue support", on=request(*_RINGS))  # fmt: skip
def beyond_queues(case: Case) -> Outcome:
    session = case.before
    queues, index = session.queues, case.fields["index"]
    if not queues:
        return None
    # a pair of rings is one queue of a network device
    most = queues if session.device not in (None, "net") else 2 * queues
    if index < most or not case.first("VU-VR-13", index):
        return None
    return f"{case.name}: expected rings below {most} as GET_QUEUE_NUM said {queues}, came {index}"


@rule("VU-VR-14", "note", "call and err descriptors come after SET_FEATURES", FRONT + "SET_VRING_CALL",
      on=request("SET_VRING_CALL", "SET_VRING_ERR"), bends=("qemu", "dpdk"))  # fmt: skip
def lines_first(case: Case) -> Outcome:
    if case.before.features_set or not case.sure or not case.first("VU-VR-14"):
        return None
    return f"{case.name}: expected after SET_FEATURES, came before it"


@rule(
    "VU-VR-15", "warning", "a ring that is started is enabled", STATES,
    on=(every(lambda slot: slot.channel == "main" and slot.sender == 0 and slot.kind == "request"),
        event("eof", "reset", "close")),
    notes="Where PROTOCOL_FEATURES was acknowledged, and nobody said that the ring stays disabled.",
)  # fmt: skip
def never_enabled(case: Case | Moment) -> Outcome:
    #: ring -> (message that started it, when)
    waiting: dict[int, tuple[int, int]] = case.memory.of("VU-VR-15")
    now = case.message.monotonic_ns if isinstance(case, Case) else case.event.monotonic_ns
    found = _unenabled(case, waiting, now) if waiting else None
    if isinstance(case, Moment):
        return found
    message, index = case.message, case.fields.get("index", -1)
    if message.name == "SET_VRING_KICK":
        ring = case.after.rings.get(index)
        # what was enabled before the capture began was not seen
        spoken_of = not case.sure or index in case.memory.of("VU-VR-15 enabled")
        if ring is not None and not ring.enabled and not spoken_of and (case.before.virtio_agreed or 0) & PROTOCOL_BIT:
            waiting[index] = (message.no, message.monotonic_ns)
    elif message.name == "SET_VRING_ENABLE":
        case.memory.of("VU-VR-15 enabled")[index] = True
        waiting.pop(index, None)
    elif message.name in ("RESET_DEVICE", "RESET_OWNER"):
        waiting.clear()
    return found


def _unenabled(case: Case | Moment, waiting: dict[int, tuple[int, int]], now: int) -> list[Breach]:
    breaches = []
    for index, (no, since) in list(waiting.items()):
        if isinstance(case, Moment) or now - since >= ENABLED_WITHIN_NS:
            del waiting[index]
            text = f"SET_VRING_KICK #{no} started ring {index}: expected SET_VRING_ENABLE for it, there was none"
            breaches.append(Breach(text, who=0, no=no, evidence=(no,)))
    return breaches


@rule("VU-VR-16", "error", "SET_VRING_ENABLE says 0 or 1", FRONT + "SET_VRING_ENABLE", on=request("SET_VRING_ENABLE"))
def enable_value(case: Case) -> Outcome:
    num = case.fields["num"]
    return None if num in (0, 1) else f"SET_VRING_ENABLE: expected 0 or 1 for ring {case.fields['index']}, came {num}"


@rule("VU-VR-17", "error", "SET_VRING_ENDIAN says 0 or 1, before the ring is started", FRONT + "SET_VRING_ENDIAN",
      on=request("SET_VRING_ENDIAN"))  # fmt: skip
def endian(case: Case) -> Outcome:
    num, index = case.fields["num"], case.fields["index"]
    if num not in (0, 1):
        return f"SET_VRING_ENDIAN: expected 0 (little) or 1 (big) for ring {index}, came {num}"
    ring = case.before.rings.get(index)
    if ring is None or not ring.started or ring.big_endian == bool(num):
        return None
    return f"SET_VRING_ENDIAN: expected before ring {index} is started, came while it is"


@rule("VU-VR-18", "note", "a started ring is not started once more", STATES, on=request("SET_VRING_KICK"))
def started_again(case: Case) -> Outcome:
    ring = case.before.rings.get(case.fields["index"])
    if ring is None or not ring.started or ring.kick is None or not case.first("VU-VR-18", ring.number):
        return None
    text = f"SET_VRING_KICK: expected ring {ring.number} to be stopped, it is started since #{ring.kick.no}"
    return Breach(text, evidence=(ring.kick.no,))


@rule("VU-VR-19", "warning", "rings are no larger than their in-flight region was made for", FRONT + "GET_INFLIGHT_FD",
      on=request("SET_VRING_NUM", "SET_INFLIGHT_FD"))  # fmt: skip
def inflight_size(case: Case) -> Outcome:
    area = case.after.inflight
    if area is None or not area.queue_size:
        return None
    for index, ring in case.after.rings.items():
        mine = case.message.name == "SET_INFLIGHT_FD" or index == case.fields.get("index")
        if mine and ring.size is not None and ring.size > area.queue_size and index < area.queues:
            text = f"{case.name}: expected ring {index} to have {area.queue_size} descriptors as in #{area.no}"
            return Breach(f"{text}, it has {ring.size}", evidence=(area.no, ring.no))
    return None


@rule("VU-VR-20", "note", "kick and call descriptors are given, nobody polls", FRONT + "SET_VRING_KICK",
      on=request("SET_VRING_KICK", "SET_VRING_CALL"))  # fmt: skip
def polling(case: Case) -> Outcome:
    if not case.fields.get("nofd") or case.message.fds or not case.first("VU-VR-20", case.message.name):
        return None  # with a descriptor: VU-FD-05
    ring = case.fields["index"]
    return f"{case.name}: expected a descriptor, came bit 8 (NOFD) in its place: ring {ring} is to be polled"
