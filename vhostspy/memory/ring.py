"""A ring at one moment: how far the driver made buffers available, and the device used them.

Memory changes while it is read, so indices are read twice; where the two differ the ring is ``moving``, and the later
ones count. What is here is a sample: what happened between two is not seen. Sources: VIRTIO 1.3, Split Virtqueues and
Packed Virtqueues.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from vhostspy.dissectors import virtio
from vhostspy.session import state
from vhostspy.session.state import Session

from . import packed
from .guest import Outside, Space, Span

_BITS = {name: 1 << bit for bit, name in virtio.COMMON_FEATURES.names.items()}
EVENT_IDX, VERSION_1, RING_PACKED, IN_ORDER = (
    _BITS[name] for name in ("EVENT_IDX", "VERSION_1", "RING_PACKED", "IN_ORDER")
)

NO_INTERRUPT = NO_NOTIFY = 1
#: no ring is larger
LARGEST = 32_768
#: a packed ring's event suppression area
_EVENT = Struct("<HH")


class Ring(NamedTuple):
    """What was seen of a ring; None: not known. ``problem`` says why something cannot be told, or be right."""

    number: int
    layout: str
    size: int
    started: bool
    enabled: bool
    #: split: next index, modulo 65536; packed: next position in the ring
    available: int | None = None
    used: int | None = None
    #: buffers made available and not used yet; descriptors, where the ring is packed, and at most
    in_flight: int | None = None
    #: the driver wants no interrupts, the device no notifications
    no_interrupt: bool = False
    no_notify: bool = False
    #: the index at which the driver wants an interrupt, the device a notification
    used_event: int | None = None
    available_event: int | None = None
    #: packed: the wrap counters with which the next descriptors are written
    available_wrap: bool | None = None
    used_wrap: bool | None = None
    #: where it was begun
    base: int | None = None
    #: it changed while it was read
    moving: bool = False
    problem: str = ""
    #: what is wrong with a chain in flight, where chains were looked at
    chain: str = ""
    #: whether they are all for the device to write into; None: none was looked at
    receives: bool | None = None
    #: notifications seen, at least, and what the eventfd counts now; None: not watched
    kicks: int | None = None
    kick_count: int | None = None
    calls: int | None = None
    call_count: int | None = None
    #: each was counted: the relay passes them on
    exact: bool = False

    @property
    def full(self) -> bool:
        """The driver has no descriptor left."""
        return self.in_flight is not None and 0 < self.size <= self.in_flight


def look(session: Session, number: int, memory: Space) -> Ring:
    """A ring of the session, as it is in memory now."""
    known = session.rings[number]
    layout = "packed" if memory.features & RING_PACKED else "split"
    ring = Ring(number, layout, known.size or 0, known.started, known.enabled, base=known.base)
    if known.addresses is None or not known.size:
        return ring._replace(problem="it has no size yet" if known.addresses else "it has no addresses yet")
    if not 0 < known.size <= LARGEST:
        return ring._replace(problem=f"a ring of {known.size} descriptors can't be")
    try:
        if layout == "packed":
            return _packed(ring, known, memory)
        return _split(ring, known, memory)
    except Outside as outside:
        return ring._replace(problem=str(outside))


def all_rings(session: Session, memory: Space) -> tuple[Ring, ...]:
    """Those that have been told a place, in the order of their numbers."""
    return tuple(look(session, number, memory) for number in sorted(session.rings) if session.rings[number].addresses)


# -- split rings


class Parts(NamedTuple):
    """Where the parts of a split ring are, and in which byte order, as ``struct`` has it."""

    descriptors: Span
    available: Span
    used: Span
    order: str


def parts(known: state.Ring, memory: Space) -> Parts:
    """The parts of a split ring. Raises Outside."""
    assert known.addresses is not None
    assert known.size is not None
    size, (descriptors, used, available, _) = known.size, known.addresses
    events = bool(memory.features & EVENT_IDX)
    there = []
    for address, words in ((available, 2 + size + events), (used, 2 + 4 * size + events)):
        if address % 2:
            raise Outside(f"a ring at {address:#x}, which is no even address")
        there.append(memory.ring(address, 2 * words))
    return Parts(memory.ring(descriptors, 16 * size), there[0], there[1], order(known, memory.features))


def order(known: state.Ring, features: int) -> str:
    """The byte order of a ring: a driver from before VERSION_1 has its own, which the front-end may have told."""
    if features & VERSION_1:
        return "<"
    return "=" if known.big_endian is None else ">" if known.big_endian else "<"


def _split(ring: Ring, known: state.Ring, memory: Space) -> Ring:
    events = bool(memory.features & EVENT_IDX)
    _, available, used, byte_order = parts(known, memory)
    word, head = Struct(f"{byte_order}H"), Struct(f"{byte_order}HH")

    def read() -> tuple[int, ...]:
        # used first: what is made available meanwhile makes the difference larger, never negative
        device, driver = used.octets(), available.octets()
        words = head.unpack_from(device) + head.unpack_from(driver)
        if events:
            words += word.unpack_from(driver, len(driver) - 2) + word.unpack_from(device, len(device) - 2)
        return words

    first, again = read(), read()
    device_flags, done, driver_flags, made = again[:4]
    size = ring.size
    in_flight = (made - done) & 0xFFFF
    problem = ""
    if in_flight > size and in_flight >= 0x8000:
        problem = f"used index {done} is {0x10000 - in_flight} ahead of available index {made}"
    elif in_flight > size:
        problem = f"available index {made} is {in_flight} ahead of used index {done} in a ring of {size}"
    return ring._replace(
        available=made,
        used=done,
        in_flight=in_flight if not problem else None,
        no_interrupt=not events and bool(driver_flags & NO_INTERRUPT),
        no_notify=not events and bool(device_flags & NO_NOTIFY),
        used_event=again[4] if events else None,
        available_event=again[5] if events else None,
        moving=first != again,
        problem=problem,
    )


# -- packed rings


def _packed(ring: Ring, known: state.Ring, memory: Space) -> Ring:
    assert known.addresses is not None
    descriptors, device, driver, _ = known.addresses
    there = memory.ring(descriptors, 16 * ring.size)
    events = [memory.ring(address, 4) for address in (driver, device)]
    in_order = bool(memory.features & IN_ORDER)
    first = packed.read(there.octets(), ring.size, in_order)
    seen = packed.read(there.octets(), ring.size, in_order)
    suppression = [packed.event(*_EVENT.unpack(piece.octets())) for piece in events]
    return ring._replace(
        available=seen.available,
        used=seen.used,
        in_flight=seen.in_flight,
        available_wrap=seen.available_wrap,
        used_wrap=seen.used_wrap,
        no_interrupt=suppression[0].disabled,
        no_notify=suppression[1].disabled,
        used_event=suppression[0].position,
        available_event=suppression[1].position,
        moving=first != seen,
    )
