"""The dirty log: a bit a page of 4 KiB, the lowest page in the lowest bit of the first octet."""

from __future__ import annotations

from vhostspy.memory.dirty_log import Dirty, dirty
from vhostspy.memory.progress import Progress
from vhostspy.output.rings import dirty_lines
from vhostspy.session.state import Log, Region

PAGE = 4096


def read(octets: bytes, log: Log, *regions: Region, width: int = 4) -> tuple[Dirty, ...]:
    return dirty(log, regions, lambda offset, length: octets[offset : offset + length], width)


def test_pages_by_region() -> None:
    octets = bytes(8) + bytes([0b0000_0101, 0b1000_0000])
    first, second = Region(0, 8 * PAGE, 0, 0, 1), Region(12 * PAGE, 4 * PAGE, 0, 0, 1)
    found = read(octets, Log(1, 2, 8, None), first, second)
    assert [(one.guest_address, one.pages, one.dirty) for one in found] == [(0, 8, 2), (12 * PAGE, 4, 1)]
    assert found[0].shares == (0.5, 0.5, 0.0, 0.0)
    assert found[1].shares == (0.0, 0.0, 0.0, 1.0)


def test_the_map_shows_the_least_bit() -> None:
    octets = bytes(16) + b"\x01" + bytes(15)
    (found,) = read(octets, Log(1, 32, 0, None), Region(0, 256 * PAGE, 0, 0, 1), width=2)
    assert found.map() == " ▁"
    (line,) = dirty_lines([found])
    assert line == "dirty log: 1 of 256 pages of 1 MiB at 0x0 ▕ ▁▏"


def test_how_fast_pages_become_dirty() -> None:
    log, region, second = Log(1, 8, 0, None), Region(0, 64 * PAGE, 0, 0, 1), 1_000_000_000
    progress = Progress()
    (before,) = read(b"\x01" + bytes(7), log, region)
    (after,) = read(b"\xff" + bytes(7), log, region)
    assert progress.dirtied(1, before, 0) is None
    assert progress.dirtied(1, after, 2 * second) == 3.5
    assert progress.dirtied(1, before, 3 * second) == 0, "somebody has cleared it"
    (line,) = dirty_lines([after], [3.5])
    assert line.startswith("dirty log: 8 of 64 pages, ≥ 4/s of 256 KiB at 0x0")


def test_a_log_that_is_too_small_tells_what_it_holds() -> None:
    (found,) = read(b"\xff", Log(1, 1, 0, None), Region(0, 64 * PAGE, 0, 0, 1))
    assert (found.pages, found.dirty) == (64, 8)
    (outside,) = read(b"\xff", Log(1, 1, 0, None), Region(1 << 40, 64 * PAGE, 0, 0, 1))
    assert outside.dirty == 0
    (page,) = read(b"\xff", Log(1, 1, 0, None), Region(0, PAGE, 0, 0, 1))
    assert (page.dirty, page.shares) == (1, (1.0,))
