"""What the demo does with its disk: write, read back, compare, flush, ask its name, see it grow."""

from __future__ import annotations

from typing import NamedTuple

from . import block
from .driver import MOST_SECTORS
from .front_end import FrontEnd
from .numbers import Feature, ProtocolFeature, has
from .wire import PeerError


class Outcome(NamedTuple):
    """What was done, for people and for other programs."""

    sectors: int
    disk_id: str
    capacity_before: int
    #: after the back-end announced a change; as before where none was waited for
    capacity_after: int
    #: messages sent and received, by channel
    messages: dict[str, int]
    bases: list[int]


def exercise(front_end: FrontEnd, sectors: int = 64, expect_growth: bool = False) -> Outcome:
    """A whole session, from the first message to the last ring's stop. PeerError: it went wrong."""
    front_end.negotiate()
    before = front_end.capacity
    if front_end.config and sectors > before:
        raise PeerError(f"the disk has {before} sectors, {sectors} are to be written")
    front_end.start()
    write_and_compare(front_end, sectors)
    if has(front_end.features, Feature.BLK_FLUSH):
        front_end.flush()
    disk_id = front_end.get_id()
    if expect_growth:
        if not front_end.agreed(ProtocolFeature.BACKEND_REQ):
            raise PeerError("the back-end has no channel for its own requests, so its disk can't grow unasked")
        front_end.wait_config_change()
        if front_end.capacity <= before:
            raise PeerError(f"the disk was to grow, it went from {before} to {front_end.capacity} sectors")
        # the new sectors are there only if the device means it
        front_end.write(front_end.capacity - 1, pattern(front_end.capacity - 1, 1))
    after = front_end.capacity
    bases = front_end.stop()
    return Outcome(sectors, disk_id, before, after, front_end.messages, bases)


def write_and_compare(front_end: FrontEnd, sectors: int) -> None:
    """Write sectors, several requests at a time over all rings in turn, and read them back. PeerError: they differ."""
    pieces = [(first, min(MOST_SECTORS // 2, sectors - first)) for first in range(0, sectors, MOST_SECTORS // 2)]
    for kind in (block.OUT, block.IN):
        left = list(reversed(pieces))
        while left:
            offered = [0] * len(front_end.rings)
            for index, ring in enumerate(front_end.rings):
                while left and ring.queue.room and offered[index] < 4:
                    first, count = left.pop()
                    if kind == block.OUT:
                        ring.queue.write(first, pattern(first, count))
                    else:
                        ring.queue.read(first, count)
                    offered[index] += 1
                if offered[index]:
                    front_end.kick(index)
            for index, count in enumerate(offered):
                for done in front_end.take_done(count, index):
                    if done.status != block.OK:
                        raise PeerError(f"the disk answered sector {done.sector} with status {done.status}")
                    if kind == block.IN and done.data != pattern(done.sector, len(done.data) // block.SECTOR):
                        raise PeerError(f"sector {done.sector} does not hold what was written there")


def pattern(first: int, sectors: int) -> bytes:
    """Octets that are different in each sector and easy to know again."""
    return b"".join(f"sector {number:08d} ".encode() * 32 for number in range(first, first + sectors))
