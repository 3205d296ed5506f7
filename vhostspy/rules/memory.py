"""Guest memory: the table of regions, memory slots, and whether the files behind them are what they are said to be.

A region is three ranges at once: of guest addresses, of the front-end's own addresses, and of octets in a file. What
the files are is known from the facts that were taken when the descriptors went by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from vhostspy.session.state import Region, Ring

from .gates import FRONT, XEN_MMAP
from .rule import Breach, Case, Outcome, reply, request, rule

REGION = "vhost-user, Message Specification, Payload, Memory region description"
TABLE = "vhost-user, Message Specification, Payload, Multiple Memory regions description"
HEURISTICS = "what memory that is shared has to be, wherever it comes from"
PAGE = 4096
WRAP = 1 << 64
#: regions in one table: by the text, and what rust-vmm and crosvm take
MOST_REGIONS = 8
MOST_REGIONS_RUST = 32
GPA_ADDRESSES = 1 << 21
_CHANGES = request("SET_MEM_TABLE", "ADD_MEM_REG")


def at(region: Region) -> str:
    return f"{region.size:#x} bytes at {region.guest_address:#x}"


def _new(case: Case) -> list[Region]:
    """The regions that this message brought."""
    return [region for region in case.after.regions if region.no == case.message.no]


def _guest(region: Region) -> int:
    return region.guest_address


def _user(region: Region) -> int:
    return region.user_address


Start = Callable[[Region], int]


def _overlapping(new: Sequence[Region], old: Iterable[Region], start: Start) -> Iterator[tuple[Region, Region]]:
    """Pairs that overlap, the new one first."""
    regions = sorted((region for region in (*old, *new) if region.size), key=start)
    fresh = {id(region) for region in new}
    for below, above in zip(regions, regions[1:], strict=False):
        if start(above) < start(below) + below.size and (id(below) in fresh or id(above) in fresh):
            yield (above, below) if id(above) in fresh else (below, above)


def _overlap(case: Case, start: Start, what: str) -> list[Breach]:
    new = _new(case)
    old = () if case.message.name == "SET_MEM_TABLE" else case.before.regions
    breaches = []
    for region, other in _overlapping(new, old, start):
        text = f"{case.name}: expected {what} of regions not to overlap, {at(region)} and {at(other)} do"
        # QEMU before 8.0 adds a region once for each pair of queues
        same = region[:3] == other[:3] and region.no != other.no
        breaches.append(Breach(text, evidence=(other.no,), severity="warning" if same else None))
    return breaches


@rule("VU-MEM-01", "error", "guest addresses of regions do not overlap", REGION, on=_CHANGES,
      notes="The same region once more, as QEMU before 8.0 adds it: a warning.")  # fmt: skip
def guest_overlap(case: Case) -> Outcome:
    return _overlap(case, _guest, "guest addresses")


@rule("VU-MEM-02", "error", "the front-end's addresses of regions do not overlap", REGION, on=_CHANGES,
      notes="The same region once more: a warning.")  # fmt: skip
def user_overlap(case: Case) -> Outcome:
    new = _new(case)
    old = case.before.regions
    if case.message.name == "ADD_MEM_REG" and any(one[:3] == region[:3] for region in new for one in old):
        return None  # VU-MEM-01 has said so
    return _overlap(case, _user, "user addresses")


@rule("VU-MEM-03", "error", "a region has a size, and its ranges do not run past 2^64", "rust-vmm/vhost, is_valid",
      on=_CHANGES)  # fmt: skip
def empty_or_wrapping(case: Case) -> Outcome:
    breaches = []
    for region in _new(case):
        if not region.size:
            breaches.append(Breach(f"{case.name}: expected a region of 1 byte or more, came {at(region)}"))
            continue
        for start, what in ((region.guest_address, "guest address"), (region.user_address, "user address"),
                            (region.offset, "offset in its file")):  # fmt: skip
            if start + region.size > WRAP:
                text = f"{case.name}: expected {what} and size below 2^64, came {start:#x} with {region.size:#x} bytes"
                breaches.append(Breach(text))
    return breaches


@rule("VU-MEM-04", "error", "SET_MEM_TABLE has 1 to 8 regions", TABLE, on=request("SET_MEM_TABLE"), malformed=True,
      notes="Up to 32 where rust-vmm or crosvm is at an end: a warning. None at all while no ring is started: a note.",
      )  # fmt: skip
def region_count(case: Case) -> Outcome:
    message = case.message
    if message.size is None or message.size < 8 or message.size == 8 and message.context.postcopy:
        return None
    if len(message.payload) < 4:
        return None
    count = int.from_bytes(message.payload[:4], "little" if message.byte_order == "<" else "big")
    if 1 <= count <= MOST_REGIONS:
        return None
    text = f"{case.name}: expected 1 to {MOST_REGIONS} regions, came {count}"
    if not count:
        running = any(ring.started for ring in case.before.rings.values())
        return Breach(text, severity=None if running else "note")
    peers = case.memory.peers
    rust = any(peers.known(end, ("rust-vmm", "crosvm")) for end in (0, 1))
    return Breach(text, severity="warning" if rust and count <= MOST_REGIONS_RUST else None)


@rule("VU-MEM-05", "error", "no more regions at a time than GET_MAX_MEM_SLOTS said", FRONT + "GET_MAX_MEM_SLOTS",
      on=request("ADD_MEM_REG"))  # fmt: skip
def too_many_slots(case: Case) -> Outcome:
    slots, used = case.before.slots, len(case.after.regions)
    if slots is None or used <= slots or not _new(case):
        return None
    return f"ADD_MEM_REG: expected at most {slots} regions at a time as GET_MAX_MEM_SLOTS said, came number {used}"


@rule("VU-MEM-07", "warning", "a session has either a memory table or memory slots", FRONT + "ADD_MEM_REG",
      on=_CHANGES, notes="SET_MEM_TABLE replaces all that was added.")  # fmt: skip
def table_and_slots(case: Case) -> Outcome:
    message = case.message
    ways = case.memory.of("VU-MEM-07")
    other = "SET_MEM_TABLE" if message.name == "ADD_MEM_REG" else "ADD_MEM_REG"
    if not case.after.regions:
        ways.clear()
    if _new(case):
        ways.setdefault(message.name, message.no)
    if other not in ways or not case.first("VU-MEM-07"):
        return None
    text = f"{case.name}: expected memory to be told by {other} as in #{ways[other]}, both are used"
    return Breach(text, evidence=(ways[other],))


@rule("VU-MEM-08", "error", "REM_MEM_REG names a region that is there, by guest address, user address and size",
      FRONT + "REM_MEM_REG", on=request("REM_MEM_REG"))  # fmt: skip
def removes_unknown(case: Case) -> Outcome:
    fields = case.fields
    if not case.sure or "guest_address" not in fields:
        return None
    gone = (fields["guest_address"], fields["length"], fields["user_address"])
    if any(region[:3] == gone for region in case.before.regions):
        return None
    near = [region for region in case.before.regions if region.guest_address == gone[0]]
    there = f"; {at(near[0])} is there, at {near[0].user_address:#x} of the front-end" if near else ""
    return (
        f"REM_MEM_REG: expected a region that is there, came {gone[1]:#x} bytes at {gone[0]:#x}, "
        f"{gone[2]:#x} of the front-end{there}"
    )


def _holds(region: Region, address: int) -> bool:
    return region.user_address <= address < region.user_address + region.size


def _running(rings: Iterable[Ring]) -> Iterator[tuple[Ring, int]]:
    """Started rings with each address of their parts."""
    for ring in rings:
        if ring.started and ring.addresses is not None:
            for address in ring.addresses[:3]:
                yield ring, address


@rule("VU-MEM-09", "warning", "memory that holds a started ring stays", "libvhost-user, vu_rem_mem_reg",
      on=request("SET_MEM_TABLE", "REM_MEM_REG"), bends=("qemu",), notes="QEMU takes it away for a moment.",
      )  # fmt: skip
def pulls_ring_away(case: Case) -> Outcome:
    if (case.before.virtio_agreed or 0) >> 33 & 1:
        return None  # rings have addresses of the IOMMU then
    lost = [region for region in case.before.regions if region not in case.after.regions]
    for ring, address in _running(case.before.rings.values()):
        for region in lost:
            if _holds(region, address) and not any(_holds(one, address) for one in case.after.regions):
                text = f"{case.name}: expected ring {ring.number} to be stopped before its memory goes, it is started"
                return Breach(text, evidence=tuple(no for no in (region.no, ring.no) if no))
    return None


@rule("VU-MEM-10", "warning", "a region's file is as long as offset and size say", HEURISTICS, on=_CHANGES)
def beyond_file(case: Case) -> Outcome:
    breaches = []
    for region in _new(case):
        fd = region.fd
        if fd is None or fd.size is None or fd.kind not in ("memfd", "file"):
            continue
        if region.offset + region.size > fd.size:
            text = f"{case.name}: expected a file of {region.offset + region.size:#x} bytes or more, came {fd.size:#x}"
            breaches.append(Breach(f"{text} ({fd.name})" if fd.name else text))
    return breaches


@rule("VU-MEM-11", "note", "a region starts at a page of its file", HEURISTICS, on=_CHANGES)
def unaligned_offset(case: Case) -> Outcome:
    for region in _new(case):
        if region.offset % PAGE and case.first("VU-MEM-11"):
            return f"{case.name}: expected an offset in the file of whole pages, came {region.offset:#x}"
    return None


@rule("VU-MEM-12", "warning", "REM_MEM_REG carries no descriptor", FRONT + "REM_MEM_REG", on=request("REM_MEM_REG"),
      malformed=True, notes="QEMU before 7.1 sends one; the back-end has to close it. rust-vmm and DPDK refuse.",
      )  # fmt: skip
def removes_with_descriptor(case: Case) -> Outcome:
    if not case.message.fds or not case.first("VU-MEM-12"):
        return None
    return f"REM_MEM_REG: expected no descriptor, came {len(case.message.fds)}"


@rule("VU-MEM-13", "error", "with GPA_ADDRESSES a region's user address is its guest address", REGION, on=_CHANGES,
      bends=("rust-vmm",), notes="rust-vmm 0.16 has SHMEM at that bit.")  # fmt: skip
def user_is_guest(case: Case) -> Outcome:
    if not (case.before.protocol_agreed or 0) & GPA_ADDRESSES:
        return None
    for region in _new(case):
        if region.user_address != region.guest_address:
            return (
                f"{case.name}: expected user address {region.guest_address:#x} like the guest address, as "
                f"GPA_ADDRESSES is agreed on, came {region.user_address:#x}; is bit 21 meant as SHMEM?"
            )
    return None


@rule("VU-MEM-14", "warning", "GET_MAX_MEM_SLOTS never answers less than on an earlier connection",
      "QEMU, hw/virtio/vhost-user.c, vhost_user_backend_init", on=reply("GET_MAX_MEM_SLOTS"))  # fmt: skip
def fewer_slots(case: Case) -> Outcome:
    earlier = case.before.previous
    slots = case.fields.get("slots", 0)
    if earlier is None or earlier.slots is None or slots >= earlier.slots:
        return None
    return f"GET_MAX_MEM_SLOTS reply: expected {earlier.slots} as on the connection before, or more, came {slots}"


@rule("VU-MEM-15", "error", "regions have Xen's members with XEN_MMAP, and only then", REGION,
      on=request("SET_MEM_TABLE", "ADD_MEM_REG", "REM_MEM_REG"), bends=("qemu",), malformed=True)  # fmt: skip
def xen(case: Case) -> Outcome:
    message = case.message
    agreed = case.before.protocol_agreed
    size = message.size or 0
    if agreed is None or not case.sure or size <= 8:
        return None
    wanted = bool(agreed & XEN_MMAP)
    if message.name == "SET_MEM_TABLE":
        count = int.from_bytes(message.payload[:4], "little" if message.byte_order == "<" else "big")
        with_xen, without = 8 + 40 * count, 8 + 32 * count
    else:
        with_xen, without = 48, 40
    if size != (without if wanted else with_xen) or with_xen == without:
        return None
    came = "without" if wanted else "with"
    return f"{case.name}: expected regions {'with' if wanted else 'without'} Xen's members, came {came} ({size} bytes)"


@rule("VU-MEM-16", "note", "padding of memory messages is zero", "rust-vmm/vhost, is_valid: refuses others",
      on=request("SET_MEM_TABLE", "ADD_MEM_REG", "REM_MEM_REG"))  # fmt: skip
def padding(case: Case) -> Outcome:
    came = case.fields.get("padding")
    if not came or not any(came) or not case.first("VU-MEM-16", case.message.name):
        return None
    return f"{case.name}: expected padding of zeros, came {came.hex()}"


_NEVER_SHARED = ("directory", "other")


@rule("VU-MEM-17", "warning", "a region is a file that can be mapped shared, for reading and writing", HEURISTICS,
      on=_CHANGES, notes="Other kinds: VU-FD-14. The same octets as another region's: a note.")  # fmt: skip
def cannot_be_shared(case: Case) -> Outcome:
    breaches = []
    regions = case.after.regions
    for region in _new(case):
        fd = region.fd
        if fd is None:
            continue
        if fd.kind in _NEVER_SHARED or fd.access in ("r", "w"):
            came = f"a descriptor of kind {fd.kind}" if fd.kind in _NEVER_SHARED else f"one open for {fd.access} only"
            breaches.append(Breach(f"{case.name}: expected a file to map for reading and writing, came {came}"))
        for other in regions:
            if other is region or other.fd is None or not fd.inode or other[:3] == region[:3]:
                continue
            if (other.fd.device, other.fd.inode) != (fd.device, fd.inode) or other.no > region.no:
                continue
            if other.offset < region.offset + region.size and region.offset < other.offset + other.size:
                text = (
                    f"{case.name}: expected a part of the file for {at(region)} alone, it is also that of {at(other)}"
                )
                if case.first("VU-MEM-17", fd.inode):
                    breaches.append(Breach(text, evidence=(other.no,), severity="note"))
    return breaches
