"""Descriptor chains: the buffers of a request, in the order in which the driver linked them.

A device must not trust what it finds here, and nor do we: numbers outside the table, loops, tables in tables are told
as a chain's ``problem``. Source: VIRTIO 1.3, The Virtqueue Descriptor Table, Indirect Descriptors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple

from vhostspy.session import state

from .guest import Outside, Space
from .packed import AVAIL, USED
from .ring import Ring, parts

NEXT, WRITE, INDIRECT = 1, 2, 4
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
            return _packed(known.addresses[0], ring, memory)[:most]
        there = parts(known, memory, ring.used_event is not None)
        heads = open_heads(there.available, there.used, ring.size)[:most]
        table = there.descriptors.octets()
        return [follow(table, head, memory) for head in heads]
    except Outside:
        return []


def follow(table: bytes, head: int, memory: Space) -> Chain:
    """The chain that begins with descriptor ``head`` of a split ring's table."""
    count = len(table) // ENTRY.size
    buffers: list[Buffer] = []
    at, indirect = head, False
    for _ in range(count):
        if at >= count:
            return Chain(head, tuple(buffers), indirect, f"descriptor {at} in a table of {count}")
        address, length, flags, following = ENTRY.unpack_from(table, at * ENTRY.size)
        if flags & INDIRECT:
            return _indirect(head, buffers, address, length, flags, memory)
        problem = _add(buffers, address, length, flags, memory)
        if problem:
            return Chain(head, tuple(buffers), indirect, problem)
        if not flags & NEXT:
            return Chain(head, tuple(buffers), indirect)
        at = following
    return Chain(head, tuple(buffers), indirect, f"descriptor {at} again: a loop")


def _indirect(head: int, buffers: list[Buffer], address: int, length: int, flags: int, memory: Space) -> Chain:
    if not length or length % ENTRY.size or length > ENTRY.size * 65_536 or flags & NEXT:
        what = "is followed by others" if flags & NEXT else f"is {length} bytes long"
        return Chain(head, tuple(buffers), True, f"an indirect table {what}")
    try:
        table = memory.octets(address, length)
    except Outside as outside:
        return Chain(head, tuple(buffers), True, f"its indirect table: {outside}")
    count = len(table) // ENTRY.size
    at = 0
    for _ in range(count):
        if at >= count:
            return Chain(head, tuple(buffers), True, f"descriptor {at} in an indirect table of {count}")
        address, length, flags, following = ENTRY.unpack_from(table, at * ENTRY.size)
        if flags & INDIRECT:
            return Chain(head, tuple(buffers), True, "an indirect table in an indirect table")
        problem = _add(buffers, address, length, flags, memory)
        if problem:
            return Chain(head, tuple(buffers), True, problem)
        if not flags & NEXT:
            return Chain(head, tuple(buffers), True)
        at = following
    return Chain(head, tuple(buffers), True, f"descriptor {at} of an indirect table again: a loop")


def _add(buffers: list[Buffer], address: int, length: int, flags: int, memory: Space) -> str:
    buffer = Buffer(address, length, bool(flags & WRITE))
    if buffers and buffers[-1].writable and not buffer.writable:
        return "a buffer to read behind one to write"
    buffers.append(buffer)
    try:
        memory.buffer(address, length)
    except Outside as outside:
        return str(outside)
    return ""


def _packed(address: int, ring: Ring, memory: Space) -> list[Chain]:
    """Chains of a packed ring, newest first."""
    assert ring.used is not None
    octets = memory.ring(address, ENTRY.size * ring.size).octets()
    chains: list[Chain] = []
    buffers: list[Buffer] = []
    problem = ""
    for step in range(ring.in_flight or 0):
        place, length, identity, flags = ENTRY.unpack_from(octets, (ring.used + step) % ring.size * ENTRY.size)
        if bool(flags & AVAIL) == bool(flags & USED):
            break  # used since
        if flags & INDIRECT:
            chains.append(_table(identity, place, length, memory))
            continue
        problem = problem or _add(buffers, place, length, flags, memory)
        if not flags & NEXT:
            chains.append(Chain(identity, tuple(buffers), problem=problem))
            buffers, problem = [], ""
    return chains[::-1]


def _table(identity: int, address: int, length: int, memory: Space) -> Chain:
    """A packed ring's indirect table: its descriptors follow each other, flags other than WRITE say nothing."""
    if not length or length % ENTRY.size:
        return Chain(identity, (), True, f"an indirect table is {length} bytes long")
    buffers: list[Buffer] = []
    try:
        for place, size, _, flags in ENTRY.iter_unpack(memory.octets(address, length)):
            problem = _add(buffers, place, size, flags, memory)
            if problem:
                return Chain(identity, tuple(buffers), True, problem)
    except Outside as outside:
        return Chain(identity, (), True, f"its indirect table: {outside}")
    return Chain(identity, tuple(buffers), True)
