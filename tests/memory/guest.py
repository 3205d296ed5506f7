"""A guest's memory for tests: octets laid out by hand, found as those of a session are."""

from __future__ import annotations

from struct import pack

from vhostspy.capture.record import Descriptor
from vhostspy.dissectors.codec import Context
from vhostspy.memory.guest import Mapped, Space, space
from vhostspy.memory.iotlb import Translations
from vhostspy.session import state
from vhostspy.session.state import Region, Session

EVENT_IDX, VERSION_1, PLATFORM, PACKED, IN_ORDER = 1 << 29, 1 << 32, 1 << 33, 1 << 34, 1 << 35
#: where the guest and the front-end have the only region, which begins a page into its file
GUEST, USER, OFFSET = 0x4000_0000, 0x7F00_0000_0000, 0x1000
SIZE = 0x10000
FILE = Descriptor("memory", "memfd", "rw", 1, 77, SIZE + OFFSET)


class Guest:
    """``ram`` is the region's octets; addresses that are given to it are offsets in it."""

    def __init__(self, features: int = VERSION_1, size: int = 8, device: str | None = "block") -> None:
        self.file = bytearray(OFFSET + SIZE)
        self.features = features
        self.size = size
        self.device = device
        self.started = True
        self.protocol = 0
        self.big_endian: bool | None = None
        #: descriptor table, available (driver's area), used (device's area), by offset
        self.table, self.available, self.used = 0x0000, 0x2000, 0x3000
        self.translations = Translations()
        self.regions: tuple[Region, ...] = (Region(GUEST, SIZE, USER, OFFSET, 1, FILE),)

    def put(self, offset: int, octets: bytes) -> None:
        self.file[OFFSET + offset : OFFSET + offset + len(octets)] = octets

    def words(self, offset: int, *words: int) -> None:
        self.put(offset, pack(f"<{len(words)}H", *words))

    def descriptor(self, at: int, address: int, length: int, third: int, fourth: int, table: int | None = None) -> None:
        """u64, u32, u16, u16: split flags and next, packed id and flags."""
        start = self.table if table is None else table
        self.put(start + 16 * at, pack("<QIHH", address, length, third, fourth))

    @property
    def ring(self) -> state.Ring:
        addresses = (USER + self.table, USER + self.used, USER + self.available, 0)
        return state.Ring(0, self.size, 0, addresses, started=self.started, enabled=True, big_endian=self.big_endian)

    @property
    def session(self) -> Session:
        context = Context(self.features, self.protocol, self.device)
        return Session(1, "vhost-user", context=context, regions=self.regions, rings={0: self.ring})

    @property
    def memory(self) -> Space:
        def read(offset: int, length: int) -> bytes:
            return bytes(self.file[offset : offset + length])

        def words(offset: int, count: int) -> memoryview:
            return memoryview(self.file)[offset : offset + 2 * count].cast("H")

        mapped = tuple(Mapped(region, read, words) for region in self.regions)
        return space(self.session, mapped, self.translations)
