"""A PCI device: configuration space, registers in BAR 0, a buffer in BAR 2, one interrupt, and DMA.

Registers (32 bits, native): 0x00 identity, 0x04 scratch, 0x08 and 0x0c DMA address, 0x10 bytes, 0x14 command: 1 fetches
so many bytes from memory into the buffer, 2 stores them from there, 3 only interrupts; each interrupts when it is done.
0x18 tells how it went: 0, or an error number; EINPROGRESS while it runs. That begins after the write was answered: a
client may wait for the answer before it does anything else, and then could not serve the DMA (QEMU's does so).
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable
from struct import pack, pack_into, unpack_from

IDENTITY = 0x59505356  # VSPY
SCRATCH, ADDRESS, LENGTH, COMMAND, STATUS = 0x04, 0x08, 0x10, 0x14, 0x18
FETCH, STORE, INTERRUPT = 1, 2, 3
PAGE = 4096
VENDOR, DEVICE = 0x1234, 0x7673  # nobody's

#: region -> bytes
REGIONS = {0: PAGE, 2: 2 * PAGE, 7: 256}


class Mapping:
    """A piece of the client's memory: mapped, or (without a descriptor) reached by messages."""

    def __init__(self, address: int, length: int, memory: mmap.mmap | None) -> None:
        self.address = address
        self.length = length
        self.memory = memory


class Device:
    """``read`` and ``write`` reach memory that there is no descriptor for. Owns its eventfd, buffer and mappings."""

    def __init__(self, read: Callable[[int, int], bytes], write: Callable[[int, bytes], None]) -> None:
        self._read = read
        self._write = write
        #: a command was written, and is to be run
        self.pending = False
        self.mappings: list[Mapping] = []
        #: (type of interrupt, number) -> eventfd
        self.eventfds: dict[tuple[int, int], int] = {}
        self.buffer_fd = os.memfd_create("bar2")
        os.ftruncate(self.buffer_fd, REGIONS[2])
        self.buffer = mmap.mmap(self.buffer_fd, REGIONS[2])
        self.config = bytearray(REGIONS[7])
        self.registers = bytearray(REGIONS[0])
        self.reset()

    def reset(self) -> None:
        self.registers[:] = bytes(REGIONS[0])
        pack_into("=I", self.registers, 0, IDENTITY)
        self.config[:] = bytes(REGIONS[7])
        # class 0x088000: some other system peripheral; subsystem as the device; interrupt pin A
        pack_into("<HH4xI", self.config, 0, VENDOR, DEVICE, 0x08800001)
        pack_into("<HH", self.config, 0x2C, VENDOR, DEVICE)
        self.config[0x3D] = 1

    def close(self) -> None:
        self.buffer.close()
        os.close(self.buffer_fd)
        for mapping in self.mappings:
            if mapping.memory is not None:
                mapping.memory.close()
        for fd in self.eventfds.values():
            os.close(fd)

    # -- regions

    def read_region(self, region: int, offset: int, count: int) -> bytes:
        """Raises OSError for what lies outside."""
        self._inside(region, offset, count)
        spaces: dict[int, bytearray | mmap.mmap] = {0: self.registers, 2: self.buffer, 7: self.config}
        space = spaces[region]
        return bytes(space[offset : offset + count])

    def write_region(self, region: int, offset: int, data: bytes) -> None:
        self._inside(region, offset, len(data))
        if region == 2:
            self.buffer[offset : offset + len(data)] = data
        elif region == 7:
            self._write_config(offset, data)
        else:
            if offset >= 4 and offset != STATUS:
                self.registers[offset : offset + len(data)] = data
            if offset == COMMAND:
                pack_into("=I", self.registers, STATUS, errno.EINPROGRESS)
                self.pending = True

    def _inside(self, region: int, offset: int, count: int) -> None:
        if region not in REGIONS or offset + count > REGIONS[region]:
            raise OSError(errno.EINVAL, "outside the region")

    def _write_config(self, offset: int, data: bytes) -> None:
        for at, value in enumerate(data, offset):
            if at in (0x04, 0x05, 0x0C, 0x0D, 0x3C):
                self.config[at] = value
            for bar, length in ((0x10, REGIONS[0]), (0x18, REGIONS[2])):
                if bar <= at < bar + 4:
                    # the low bits of a base are not there: that tells its size
                    mask = ~(length - 1) >> 8 * (at - bar) & 0xFF
                    self.config[at] = value & mask

    # -- memory

    def map(self, address: int, length: int, fd: int | None, offset: int) -> None:
        if any(one.address < address + length and address < one.address + one.length for one in self.mappings):
            raise OSError(errno.EEXIST, "overlaps")
        memory = None if fd is None else mmap.mmap(fd, length, offset=offset)
        self.mappings.append(Mapping(address, length, memory))

    def unmap(self, address: int, length: int) -> None:
        for mapping in self.mappings:
            if (mapping.address, mapping.length) == (address, length):
                if mapping.memory is not None:
                    mapping.memory.close()
                self.mappings.remove(mapping)
                return
        raise OSError(errno.ENOENT, "not mapped")

    def run(self) -> None:
        """What the registers say."""
        self.pending = False
        address, count, command = unpack_from("=QII", self.registers, ADDRESS)
        status = 0
        try:
            if command == FETCH:
                self.buffer[:count] = self._fetch(address, count)
            elif command == STORE:
                self._store(address, bytes(self.buffer[:count]))
        except OSError as error:
            status = error.errno or errno.EIO
        pack_into("=I", self.registers, STATUS, status)
        self.interrupt(0, 0)

    def _mapping(self, address: int, count: int) -> Mapping:
        for mapping in self.mappings:
            if mapping.address <= address and address + count <= mapping.address + mapping.length:
                return mapping
        raise OSError(errno.EFAULT, "not mapped")

    def _fetch(self, address: int, count: int) -> bytes:
        mapping = self._mapping(address, count)
        at = address - mapping.address
        return self._read(address, count) if mapping.memory is None else mapping.memory[at : at + count]

    def _store(self, address: int, data: bytes) -> None:
        mapping = self._mapping(address, len(data))
        at = address - mapping.address
        if mapping.memory is None:
            self._write(address, data)
        else:
            mapping.memory[at : at + len(data)] = data

    # -- interrupts

    def set_eventfd(self, kind: int, number: int, fd: int | None) -> None:
        """Takes over the descriptor."""
        old = self.eventfds.pop((kind, number), None)
        if old is not None:
            os.close(old)
        if fd is not None:
            self.eventfds[kind, number] = fd

    def interrupt(self, kind: int, number: int) -> None:
        fd = self.eventfds.get((kind, number))
        if fd is not None:
            os.write(fd, pack("=Q", 1))
