"""The indices of many rings at once."""

from __future__ import annotations

from vhostspy.memory.ring import look
from vhostspy.memory.scan import scan
from vhostspy.session.state import Ring

from .guest import PACKED, SIZE, USER, VERSION_1, Guest


def rings(count: int, start: int = USER) -> dict[int, Ring]:
    """Each with a KiB of its own: table, used, available."""
    return {
        at: Ring(at, 8, 0, (start + at * 1024, start + at * 1024 + 0x200, start + at * 1024 + 0x300, 0), started=True)
        for at in range(count)
    }


def test_used_and_available_of_each() -> None:
    guest = Guest()
    session = guest.session._replace(rings=rings(16))
    found = scan(session, guest.memory)
    assert found.rings == tuple(range(16))
    for at in range(16):
        guest.words(at * 1024 + 0x202, 100 + at)
        guest.words(at * 1024 + 0x302, 200 + at)
    assert found.read() == tuple(value for at in range(16) for value in (100 + at, 200 + at))
    guest.words(0x202, 7)
    assert found.read()[0] == 7, "it is live"
    assert found.read()[::2] == tuple(look(session, at, guest.memory).used for at in range(16))


def test_rings_in_several_regions() -> None:
    guest = Guest()
    first = guest.regions[0]
    half = SIZE // 2
    guest.regions = (
        first._replace(size=half),
        first._replace(guest_address=1 << 40, size=half, user_address=USER + (1 << 32), offset=first.offset + half),
    )
    other = Ring(1, 8, 0, (USER, USER + 0x200, USER + (1 << 32) + 0x300, 0), started=True)
    session = guest.session._replace(rings={0: rings(1)[0], 1: other})
    guest.words(0x202, 5)
    guest.words(0x302, 6)
    guest.words(half + 0x302, 9)
    assert scan(session, guest.memory).read() == (5, 6, 5, 9)


def test_what_cannot_be_scanned_is_left_out() -> None:
    guest = Guest()
    odd = {1: Ring(1, 8), 2: Ring(2, 8, 0, (USER, 0x10, USER, 0)), 3: Ring(3, 8, 0, (USER, USER + 1, USER, 0))}
    session = guest.session._replace(rings=odd)
    assert scan(session, guest.memory).rings == ()
    assert scan(session, guest.memory).read() == ()
    stopped = Guest()
    assert scan(stopped.session, stopped.memory).rings == (0,)
    stopped.started = False
    assert scan(stopped.session, stopped.memory).rings == (), "nobody may have made its pages yet"
    packed = Guest(VERSION_1 | PACKED)
    assert scan(packed.session, packed.memory).rings == ()
