"""A client: what a virtual machine monitor does with a device, command by command."""

from __future__ import annotations

import errno
import json
import mmap
import os
import select
import socket
from collections.abc import Sequence
from struct import pack, unpack, unpack_from
from typing import NamedTuple

from .wire import (
    DMA_MAP,
    DMA_READ,
    DMA_UNMAP,
    DMA_WRITE,
    NO_REPLY,
    REGION_READ,
    REGION_WRITE,
    VERSION,
    Gone,
    Packet,
    Wire,
)


class Refused(Exception):
    """An error reply; ``args`` is its number."""


class Ram(NamedTuple):
    """Memory of the guest; ``shared``: the device has it by a descriptor."""

    address: int
    memory: mmap.mmap
    shared: bool


class Client:
    """Owns its sockets and the guest's memory. Serves the device's DMA while it waits for replies."""

    def __init__(self, sock: socket.socket) -> None:
        self.wire = Wire(sock)
        self.second: Wire | None = None
        self.capabilities: dict[str, object] = {}
        self.ram: list[Ram] = []
        #: replies that came while another was waited for
        self._early: dict[int, Packet] = {}

    def close(self) -> None:
        for ram in self.ram:
            ram.memory.close()
        if self.second is not None:
            self.second.close()
        self.wire.close()

    def ask(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> Packet:
        """A command, and its reply; raises Refused. Descriptors of the reply are the caller's."""
        return self.wait(self.wire.send(command, payload, fds))

    def post(self, command: int, payload: bytes = b"") -> None:
        """A command that wants no reply."""
        self.wire.send(command, payload, flags=NO_REPLY)

    def wait(self, msgid: int) -> Packet:
        while msgid not in self._early:
            wires = [self.wire] if self.second is None else [self.wire, self.second]
            ready, _, _ = select.select([wire.sock for wire in wires], [], [], 10)
            if not ready:
                raise TimeoutError(f"no reply to message {msgid}")
            for wire in wires:
                if wire.sock in ready:
                    self._take(wire)
        reply = self._early.pop(msgid)
        if reply.error:
            raise Refused(reply.error)
        return reply

    def _take(self, wire: Wire) -> None:
        try:
            came = wire.receive()
        except Gone:
            raise EOFError("the server closed") from None
        if came.is_reply:
            self._early[came.msgid] = came
        else:
            self._serve(wire, came)

    def _serve(self, wire: Wire, asked: Packet) -> None:
        """The device wants memory that it has no descriptor for."""
        address, count = unpack_from("=QQ", asked.payload)
        for ram in self.ram:
            at = address - ram.address
            if 0 <= at <= len(ram.memory) - count:
                if asked.command == DMA_READ:
                    wire.answer(asked, asked.payload + ram.memory[at : at + count])
                elif asked.command == DMA_WRITE:
                    ram.memory[at : at + count] = asked.payload[16:]
                    wire.answer(asked, asked.payload[:16])
                return
        wire.answer(asked, error=errno.EFAULT)

    # -- what a client does

    def negotiate(self, **capabilities: object) -> None:
        """``twin_socket`` asks for a second socket."""
        text = json.dumps({"capabilities": {"max_msg_fds": 8, "max_data_xfer_size": 1 << 20, **capabilities}})
        reply = self.ask(VERSION, pack("=HH", 0, 1) + text.encode() + b"\0")
        self.capabilities = json.loads(reply.payload[4:-1])["capabilities"]
        for fd in reply.fds:
            sock = socket.socket(fileno=fd)
            sock.settimeout(10)
            self.second = Wire(sock)

    def map(self, address: int, length: int, shared: bool) -> Ram:
        """New memory of the guest, given to the device with a descriptor or without."""
        fd = os.memfd_create("ram")
        os.ftruncate(fd, length)
        ram = Ram(address, mmap.mmap(fd, length), shared)
        try:
            self.ask(DMA_MAP, pack("=IIQQQ", 32, 3, 0, address, length), [fd] if shared else [])
        except BaseException:
            ram.memory.close()
            raise
        finally:
            os.close(fd)
        self.ram.append(ram)
        return ram

    def unmap(self, ram: Ram) -> None:
        self.ask(DMA_UNMAP, pack("=IIQQ", 24, 0, ram.address, len(ram.memory)))
        self.ram.remove(ram)
        ram.memory.close()

    def read(self, region: int, offset: int, count: int) -> bytes:
        return self.ask(REGION_READ, pack("=QII", offset, region, count)).payload[16:]

    def read_u32(self, region: int, offset: int) -> int:
        (value,) = unpack("=I", self.read(region, offset, 4))
        return int(value)

    def write(self, region: int, offset: int, data: bytes, posted: bool = False) -> None:
        payload = pack("=QII", offset, region, len(data)) + data
        if posted:
            self.post(REGION_WRITE, payload)
        else:
            self.ask(REGION_WRITE, payload)
