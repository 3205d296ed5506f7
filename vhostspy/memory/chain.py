"""Descriptor chains: the buffers of a request, in the order in which the driver linked them.

A device must not trust what it finds here, and nor do we: numbers outside the table, loops, tables in tables are told
as a chain's ``problem``. Source: VIRTIO 1.3, The Virtqueue Descriptor Table, Indirect Descriptors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from struct import Struct, unpack
from typing import Any, NamedTuple

from vhostspy.session import state

from .guest import Outside, Space, Unknown
from .packed import AVAIL, USED
from .ring import Ring, parts

NEXT, WRITE, INDIRECT = 1, 2, 4
#: descriptors that are followed for one ring; chains that begin behind so many are left out
MOST_FOLLOWED = 8_192


#: of a split ring: u64 address, u32 length, u16 flags, next; of a packed one: u16 id, flags
ENTRY = Struct("<QIHH")


class Buffer(NamedTuple):
    """``length`` bytes at a guest's address (or an I/O virtual one); ``writable``: the device writes there."""

    address: int
    length: int
    writable: bool


class Chain(NamedTuple):
    """``head``: the first descriptor's number (packed: the buffer's id)."""

    head: int
    buffers: tuple[Buffer, ...]
    indirect: bool = False
    problem: str = ""
    #: why the rest of it cannot be told, though nothing may be wrong with it
    unknown: str = ""

    @property
    def receives(self) -> bool:
        """All of it is for the device to write into."""
        return bool(self.buffers) and all(buffer.writable for buffer in self.buffers)


def chain_facts(chain: Chain) -> dict[str, Any]:
    """A chain as a JSON object."""
    facts = {**chain._asdict(), "buffers": [buffer._asdict() for buffer in chain.buffers]}
    return {name: value for name, value in facts.items() if value or name in ("head", "buffers")}


def open_heads(available: Sequence[int], used: Sequence[int], size: int) -> list[int]:
    """The chains of a split ring that were made available and not used, newest first.

    As far as the ring still names them: a request that is overtaken by as many others as the ring has entries is named
    nowhere.
    """
    made, done = available[1], used[1]
    in_flight = (made - done) & 0xFFFF
    if in_flight > size:
        return []
    # the last turns of the ring: as many heads as it has entries, and the uses of those that are finished (what was
    # never written is in both)
    heads = [available[2 + ((made - 1 - at) & 0xFFFF) % size] for at in range(size)]
    finished = Counter(used[2 + 4 * (((done - 1 - at) & 0xFFFF) % size)] for at in range(len(heads) - in_flight))
    turns = Counter(heads)
    return [head for head in turns if turns[head] > finished[head]][:in_flight]


def open_chains(known: state.Ring, ring: Ring, memory: Space, most: int = 64) -> list[Chain]:
    """The chains in flight, newest first; at most so many. None where the ring cannot be looked at."""
    if not ring.in_flight or known.addresses is None:
        return []
    try:
        if ring.layout == "packed":
            found = _packed(known.addresses[0], ring, memory)
        else:
            found = _split(known, ring, memory)
        chains: list[Chain] = []
        followed = 0
        for chain in found:
            chains.append(chain)
            followed += len(chain.buffers)
            if len(chains) >= most or followed >= MOST_FOLLOWED:
                break
        return chains
    except Outside:
        return []


def _split(known: state.Ring, ring: Ring, memory: Space) -> Iterator[Chain]:
    there = parts(known, memory)
    available, used = (
        unpack(f"{there.order}{part.length // 2}H", part.octets()) for part in (there.available, there.used)
    )
    table, entry = there.descriptors.octets(), Struct(f"{there.order}QIHH")
    for head in open_heads(available, used, ring.size):
        yield follow(table, head, memory, entry)


def follow(table: bytes, head: int, memory: Space, entry: Struct = ENTRY) -> Chain:
    """The chain that begins with descriptor ``head`` of a split ring's table."""
    count = len(table) // entry.size
    buffers: list[Buffer] = []
    at, where, indirect = head, "a table", False
    left = count
    while left:
        left -= 1
        if at >= count:
            return Chain(head, tuple(buffers), indirect, f"descriptor {at} in {where} of {count}")
        address, length, flags, following = entry.unpack_from(table, at * entry.size)
        if flags & INDIRECT:
            if indirect:
                return Chain(head, tuple(buffers), True, "an indirect table in an indirect table")
            if flags & NEXT:
                return Chain(head, tuple(buffers), True, "an indirect table is followed by others")
            try:
                table = _indirect(address, length, memory)
            except Unknown as unknown:
                return Chain(head, tuple(buffers), True, unknown=f"its indirect table: {unknown}")
            except Outside as outside:
                return Chain(head, tuple(buffers), True, str(outside))
            at, where, indirect = 0, "an indirect table", True
            left = count = len(table) // entry.size
            continue
        problem = _add(buffers, address, length, flags, memory)
        if problem or not flags & NEXT:
            return Chain(head, tuple(buffers), indirect, problem)
        at = following
    return Chain(head, tuple(buffers), indirect, f"descriptor {at}{' of ' + where if indirect else ''} again: a loop")


def _indirect(address: int, length: int, memory: Space) -> bytes:
    """An indirect table. Raises Outside, with a whole sentence, or Unknown."""
    if not length or length % ENTRY.size or length > ENTRY.size * 65_536:
        raise Outside(f"an indirect table is {length} bytes long")
    try:
        return memory.octets(address, length)
    except Unknown:
        raise
    except Outside as outside:
        raise Outside(f"its indirect table: {outside}") from None


def _add(buffers: list[Buffer], address: int, length: int, flags: int, memory: Space) -> str:
    buffer = Buffer(address, length, bool(flags & WRITE))
    if buffers and buffers[-1].writable and not buffer.writable:
        return "a buffer to read behind one to write"
    buffers.append(buffer)
    try:
        memory.buffer(address, length)
    except Unknown:
        return ""  # the device asks for a translation when it needs it
    except Outside as outside:
        return str(outside)
    return ""


def _packed(address: int, ring: Ring, memory: Space) -> Iterator[Chain]:
    """Chains of a packed ring, newest first."""
    assert ring.used is not None
    octets = memory.ring(address, ENTRY.size * ring.size).octets()
    #: of each chain
    found: list[list[tuple[int, int, int, int]]] = []
    entries: list[tuple[int, int, int, int]] = []
    for step in range(ring.in_flight or 0):
        entry = ENTRY.unpack_from(octets, (ring.used + step) % ring.size * ENTRY.size)
        flags = entry[3]
        if bool(flags & AVAIL) == bool(flags & USED):
            break  # used since
        entries.append(entry)
        if not flags & NEXT or flags & INDIRECT:
            found.append(entries)
            entries = []
    return map(partial(_follow_packed, memory=memory), reversed(found))


def _follow_packed(entries: list[tuple[int, int, int, int]], memory: Space) -> Chain:
    """A packed ring's chain, or its indirect table: there all follow each other, flags but WRITE say nothing."""
    address, length, identity, flags = entries[-1]
    indirect = bool(flags & INDIRECT)
    if indirect:
        try:
            entries = list(ENTRY.iter_unpack(_indirect(address, length, memory)))
        except Unknown as unknown:
            return Chain(identity, (), True, unknown=f"its indirect table: {unknown}")
        except Outside as outside:
            return Chain(identity, (), True, str(outside))
    buffers: list[Buffer] = []
    for address, length, _, flags in entries:
        problem = _add(buffers, address, length, flags, memory)
        if problem:
            return Chain(identity, tuple(buffers), indirect, problem)
    return Chain(identity, tuple(buffers), indirect)
