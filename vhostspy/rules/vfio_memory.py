"""vfio-user: DMA regions, and the accesses to them by messages."""

from __future__ import annotations

from vhostspy.session import ledger as ledgers

from .rule import Breach, Case, Moment, Outcome, event, rule
from .vfio_header import called
from .vfio_state import CLIENT, PROTOCOL, SERVER, Dma, answer, asked, command, state

MAP = "vfio-user, VFIO_USER_DMA_MAP"
UNMAP = "vfio-user, VFIO_USER_DMA_UNMAP"
LIBVFIO = "libvfio-user, lib/libvfio-user.c"
ACCESS = "vfio-user, Client memory access"
READ, WRITE, MMAP, FILE_IO = 1, 2, 4, 8
BITMAP, ALL = 1, 2


def overlapping(case: Case, address: int, length: int) -> Dma | None:
    for one in state(case.memory).dma.values():
        if address < one.address + one.length and one.address < address + length:
            return one
    return None


def range_of(address: int, length: int) -> str:
    return f"{length:#x} bytes at {address:#x}"


@rule("VF-DMA-01", "error", "DMA_MAP has 32 bytes, DMA_UNMAP 24 (and a bitmap); argsz is at least that", MAP,
      on=command("DMA_MAP", "DMA_UNMAP"), malformed=True, pure=True)  # fmt: skip
def sizes(case: Case) -> Outcome:
    message = case.message
    wanted = 32 if message.name == "DMA_MAP" else 24
    came = len(message.payload)
    if message.incomplete:
        return None
    bitmap = message.name == "DMA_UNMAP" and case.fields.get("dma_flags", 0) & BITMAP
    if came < wanted or came > wanted and not bitmap:
        return f"{called(case)}: expected {wanted} bytes of payload, came {came}"
    argsz = case.fields.get("argsz", 0)
    return f"{called(case)}: expected an argsz of at least {wanted}, came {argsz}" if argsz < wanted else None


@rule("VF-DMA-02", "warning", "DMA_MAP allows reading or writing, and has no unknown flags", LIBVFIO,
      on=command("DMA_MAP"), pure=True)  # fmt: skip
def access(case: Case) -> Outcome:
    flags = case.fields["dma_flags"]
    if flags & ~0xF:
        return f"{called(case)}: expected flags of 4 bits, came {flags:#x}"
    return None if flags & (READ | WRITE) else f"{called(case)}: expected READ or WRITE, came flags {flags:#x}"


@rule("VF-DMA-03", "error", "a DMA_MAP that says how its descriptor serves has one", MAP, on=command("DMA_MAP"),
      pure=True)  # fmt: skip
def no_descriptor(case: Case) -> Outcome:
    flags = case.fields["dma_flags"]
    if not flags & (MMAP | FILE_IO) or case.message.fds:
        return None
    return f"{called(case)}: expected a descriptor with {'MMAP' if flags & MMAP else 'FILE_IO'}, came none"


@rule("VF-DMA-04", "error", "DMA regions do not overlap", MAP, on=command("DMA_MAP"))
def overlap(case: Case) -> Outcome:
    address, length = case.fields["address"], case.fields["length"]
    other = overlapping(case, address, length)
    if other is None:
        return None
    text = f"{called(case)}: expected a range that is free, came {range_of(address, length)}"
    return Breach(f"{text}, and #{other.no} has {range_of(other.address, other.length)}", evidence=(other.no,))


@rule("VF-DMA-05", "error", "DMA_UNMAP takes back one region, whole", UNMAP, on=command("DMA_UNMAP"))
def no_region(case: Case) -> Outcome:
    fields = case.fields
    if not case.sure or fields["dma_flags"] & ALL:
        return None
    found = state(case.memory).dma.get(fields["address"])
    if found is not None and found.length == fields["length"]:
        return None
    text = f"{called(case)}: expected a region as it was mapped, came {range_of(fields['address'], fields['length'])}"
    return Breach(text, evidence=(found.no,)) if found is not None else text


@rule("VF-DMA-06", "warning", "DMA_UNMAP of all has no address and no length", LIBVFIO, on=command("DMA_UNMAP"),
      pure=True)  # fmt: skip
def all_of_them(case: Case) -> Outcome:
    fields = case.fields
    if not fields["dma_flags"] & ALL or not (fields["address"] or fields["length"]):
        return None
    return f"{called(case)}: expected 0 and 0 with ALL, came {range_of(fields['address'], fields['length'])}"


@rule("VF-DMA-07", "warning", "no more DMA regions than max_dma_maps, in pages of pgsizes",
      "vfio-user, VFIO_USER_VERSION", on=command("DMA_MAP"))  # fmt: skip
def limits(case: Case) -> Outcome:
    kept = state(case.memory)
    most = kept.limit(SERVER, "max_dma_maps")
    if case.sure and len(kept.dma) >= most and case.first("VF-DMA-07"):
        return f"{called(case)}: expected at most {most} regions, this is one more"
    pages = [(one or {}).get("pgsizes") for one in kept.capabilities]
    smallest = max((value & -value for value in pages if isinstance(value, int) and value > 0), default=0)
    address, length = case.fields["address"], case.fields["length"]
    if not smallest or not (address | length) % smallest:
        return None
    return f"{called(case)}: expected whole pages of {smallest} bytes, came {range_of(address, length)}"


@rule("VF-DMA-08", "error", "the reply of DMA_UNMAP repeats the command (and has the bitmap)", UNMAP,
      on=answer("DMA_UNMAP"), malformed=True)  # fmt: skip
def unmap_reply(case: Case) -> Outcome:
    message = case.message
    if message.refused or message.incomplete:
        return None
    came = len(message.payload)
    request = asked(case)
    # of a command that was not seen
    bitmap = request.fields.get("dma_flags", 0) & BITMAP if request is not None else not case.sure
    if came == 24 or came > 24 and bitmap:
        return None
    return f"{called(case)}: expected 24 bytes of payload{' and a bitmap' if bitmap else ''}, came {came}"


@rule("VF-DMA-09", "warning", "a device reads and writes what is mapped", ACCESS,
      on=command("DMA_READ", "DMA_WRITE"))  # fmt: skip
def outside(case: Case) -> Outcome:
    address, count = case.fields.get("address", 0), case.fields.get("count", case.fields.get("early_count", 0))
    if not case.sure:
        return None
    regions = state(case.memory).dma.values()
    if any(one.address <= address and address + count <= one.address + one.length for one in regions):
        return None
    text = f"{called(case)}: expected a range inside one region, came {range_of(address, count)}"
    taking = _taking_back(case, address)
    if taking is None:
        return text
    return Breach(f"{text}, which DMA_UNMAP #{taking} is taking back", evidence=(taking,))


def _taking_back(case: Case, address: int) -> int | None:
    """The number of a DMA_UNMAP of that address that is not answered yet."""
    for one in ledgers.outstanding(case.before.ledger):
        fields = one.fields if one.name == "DMA_UNMAP" else {}
        if fields.get("address", 0) <= address < fields.get("address", 0) + fields.get("length", 0):
            return one.no
    return None


@rule("VF-DMA-10", "note", "a DMA region is reached by its descriptor or by messages", ACCESS,
      on=event("eof", "reset"))  # fmt: skip
def unreached(moment: Moment) -> Outcome:
    if PROTOCOL not in moment.memory.kept or moment.event.channel not in ("main", "") or not moment.sure:
        return None
    kept = state(moment.memory)
    idle = [one for one in kept.dma.values() if not one.mapped and one.address not in kept.used]
    if not idle or not moment.first("VF-DMA-10"):
        return None
    where = range_of(idle[0].address, idle[0].length)
    more = f" (and {len(idle) - 1} more)" if idle[1:] else ""
    return Breach(f"{where}{more}: expected a descriptor, or messages that reach it, there were none", who=CLIENT,
                  no=idle[0].no)  # fmt: skip


@rule("VF-DMA-11", "note", "a device reads and writes by messages only what it has no descriptor for", ACCESS,
      on=command("DMA_READ", "DMA_WRITE"))  # fmt: skip
def by_message(case: Case) -> Outcome:
    address = case.fields.get("address", 0)
    for one in state(case.memory).dma.values():
        if one.address <= address < one.address + one.length and one.mapped and case.first("VF-DMA-11"):
            text = f"{called(case)}: expected the server to use the descriptor that #{one.no} gave it for this memory"
            return Breach(text, evidence=(one.no,))
    return None


@rule("VF-DMA-12", "warning", "a transfer in pieces goes on where the last piece ended", "libvfio-user bb308a2",
      on=command("DMA_READ", "DMA_WRITE"),
      notes="Judged of pieces as large as the receiver takes: the same address twice.")  # fmt: skip
def same_piece(case: Case) -> Outcome:
    message, fields = case.message, case.fields
    address, count = fields.get("address", 0), fields.get("count", fields.get("early_count", 0))
    latest = case.memory.of("VF-DMA-12")
    key = message.sender, message.channel
    before, latest[key] = latest.get(key), (message.name, address, count, message.no)
    if count < state(case.memory).limit(1 - message.sender, "max_data_xfer_size") or before is None:
        return None
    if before[:3] != (message.name, address, count) or not case.first("VF-DMA-12"):
        return None
    text = (
        f"{called(case)}: expected the piece behind the one of #{before[3]}, came the same, {range_of(address, count)}"
    )
    return Breach(text, evidence=(before[3],))
