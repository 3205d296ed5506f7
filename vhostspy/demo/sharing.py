"""What a front-end shares with the back-end: guest memory, the dirty log, and the in-flight region."""

from __future__ import annotations

import mmap
import os
import struct

from .inflight import InflightRegion
from .memory import REGION, GuestMemory, Place, Region
from .numbers import Feature, ProtocolFeature
from .payloads import INFLIGHT
from .requests import Agreed, Answer, Refused, expect
from .wire import U64, Message, OwnedFd

MEM_SLOTS = 32
#: a page of the dirty log, in bytes
_LOG_PAGE = 4096


class Sharing:
    """Owns the mappings; ``close`` forgets all. The handlers take a request each and raise Refused or ValueError."""

    def __init__(self, agreed: Agreed, queues: int) -> None:
        self._agreed = agreed
        self._queues = queues
        self.memory = GuestMemory()
        self.inflight: InflightRegion | None = None
        self._log: mmap.mmap | None = None

    def close(self) -> None:
        self.memory.clear()
        self._keep_inflight(None)
        self._keep_log(None)

    def set_mem_table(self, message: Message) -> None:
        if len(message.payload) < 8:
            raise Refused(f"the payload has {len(message.payload)} bytes")
        count = struct.unpack_from("=I", message.payload)[0]
        if not 0 < count <= 8 or len(message.payload) < 8 + count * REGION.size or len(message.fds) != count:
            raise Refused(f"{count} regions in {len(message.payload)} bytes with {len(message.fds)} descriptors")
        self.memory.clear()
        for number in range(count):
            place = Place(*REGION.unpack_from(message.payload, 8 + number * REGION.size))
            self.memory.add(Region(message.fds[number].fileno(), place))

    def add_mem_reg(self, message: Message) -> None:
        expect(message, 8 + REGION.size, fds=1)
        if len(self.memory.regions) >= MEM_SLOTS:
            raise Refused(f"all {MEM_SLOTS} memory slots are taken")
        place = Place(*REGION.unpack_from(message.payload, 8))
        self.memory.add(Region(message.fds[0].fileno(), place))

    def rem_mem_reg(self, message: Message) -> None:
        expect(message, 8 + REGION.size)
        self.memory.remove(Place(*REGION.unpack_from(message.payload, 8)))

    def set_log_base(self, message: Message) -> Answer | None:
        if not self._agreed.protocol(ProtocolFeature.LOG_SHMFD):
            return None
        expect(message, 16, fds=1)
        size, offset = struct.unpack("=QQ", message.payload)
        fd = message.fds[0].fileno()
        if not size or offset % mmap.ALLOCATIONGRANULARITY or offset + size > os.fstat(fd).st_size:
            raise Refused(f"a log of {size} bytes at {offset} of its file can't be mapped")
        self._keep_log(mmap.mmap(fd, size, offset=offset))
        return Answer(U64.pack(0))

    def set_log_fd(self, message: Message) -> None:
        expect(message, 0, fds=1)  # not used: the log is looked at, nobody waits for a signal

    def _keep_log(self, log: mmap.mmap | None) -> None:
        if self._log is not None:
            self._log.close()
        self._log = log

    def mark_dirty(self, guest_address: int, length: int) -> None:
        """Note in the log, if one is kept, that these bytes of the guest were written."""
        if self._log is None or not length or not self._agreed.virtio(Feature.LOG_ALL):
            return
        end = min((guest_address + length - 1) // _LOG_PAGE + 1, len(self._log) * 8)
        for page in range(guest_address // _LOG_PAGE, end):
            self._log[page // 8] |= 1 << page % 8

    def get_inflight_fd(self, message: Message) -> Answer:
        expect(message, INFLIGHT.size)
        queues, size = INFLIGHT.unpack(message.payload)[2:]
        if not 0 < queues <= self._queues or not 0 < size <= 32768:
            raise Refused(f"{queues} queues of {size} entries")
        region = InflightRegion.make(queues, size)
        self._keep_inflight(region)
        return Answer(INFLIGHT.pack(region.size_bytes, 0, queues, size), (region.fileno(),))

    def set_inflight_fd(self, message: Message) -> None:
        expect(message, INFLIGHT.size, fds=1)
        size_bytes, offset, queues, size = INFLIGHT.unpack(message.payload)
        self._keep_inflight(InflightRegion(OwnedFd(message.fds[0].take()), size_bytes, offset, queues, size))

    def _keep_inflight(self, region: InflightRegion | None) -> None:
        if self.inflight is not None:
            self.inflight.close()
        self.inflight = region
