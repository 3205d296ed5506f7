"""The server of that device: answers a client until it goes. ``python -m tests.vfio_user.server PATH`` for QEMU."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Callable
from struct import error as too_short
from struct import pack, unpack, unpack_from

from .device import REGIONS, Device
from .wire import (
    BAR0,
    BAR2,
    DEVICE_FEATURE,
    DEVICE_GET_INFO,
    DEVICE_GET_IRQ_INFO,
    DEVICE_GET_REGION_INFO,
    DEVICE_GET_REGION_IO_FDS,
    DEVICE_RESET,
    DEVICE_SET_IRQS,
    DMA_MAP,
    DMA_READ,
    DMA_UNMAP,
    DMA_WRITE,
    ERR,
    INTX,
    MIG_DATA_READ,
    MIG_DATA_WRITE,
    REGION_READ,
    REGION_WRITE,
    REGION_WRITE_MULTI,
    REQ,
    VERSION,
    Gone,
    Packet,
    Wire,
    close_all,
)

# what it has of features and states (section VFIO_USER_DEVICE_FEATURE)
MIGRATION, DEVICE_STATE, LOGGING_START, LOGGING_STOP, LOGGING_REPORT = 1, 2, 6, 7, 8
GET, SET = 1 << 16, 1 << 17
RUNNING = 2
Answer = tuple[bytes, list[int]]


class Server:
    """One client. Owns the sockets and the device; descriptors of an answer are closed once they are sent."""

    def __init__(self, sock: socket.socket) -> None:
        self.wire = Wire(sock)
        #: where its own commands go: the second socket if the client asked for one
        self.own = self.wire
        self.device = Device(self._read_by_message, self._write_by_message)
        self.state = RUNNING
        self.saved = bytearray(b"the state of the device" * 10)
        self._commands: dict[int, Callable[[Packet], Answer]] = {
            VERSION: self._version, DMA_MAP: self._map, DMA_UNMAP: self._unmap, DEVICE_GET_INFO: self._info,
            DEVICE_GET_REGION_INFO: self._region_info, DEVICE_GET_REGION_IO_FDS: self._io_fds,
            DEVICE_GET_IRQ_INFO: self._irq_info, DEVICE_SET_IRQS: self._set_irqs, REGION_READ: self._read,
            REGION_WRITE: self._write, REGION_WRITE_MULTI: self._write_multi, DEVICE_RESET: self._reset,
            DEVICE_FEATURE: self._feature, MIG_DATA_READ: self._save, MIG_DATA_WRITE: self._load,
        }  # fmt: skip

    def serve(self) -> None:
        """Until the client closes."""
        try:
            while True:
                self._answer(self.wire.receive())
                while self.device.pending:
                    self.device.run()
        except (Gone, ConnectionError):
            pass
        finally:
            self.device.close()
            if self.own is not self.wire:
                self.own.close()
            self.wire.close()

    def _answer(self, asked: Packet) -> None:
        try:
            command = self._commands.get(asked.command)
            if command is None:
                raise OSError(errno.EINVAL, "no such command")
            payload, fds = command(asked)
        except (OSError, too_short) as error:
            close_all(asked.fds)
            self.wire.answer(asked, error=error.errno if isinstance(error, OSError) else errno.EINVAL)
            return
        self.wire.answer(asked, payload, fds)
        close_all(fds)

    # -- the client's commands

    def _version(self, asked: Packet) -> Answer:
        theirs = json.loads(asked.payload[4:].split(b"\0")[0] or b"{}").get("capabilities", {})
        ours: dict[str, object] = {"max_msg_fds": 8, "max_data_xfer_size": 1 << 20}
        fds = []
        if theirs.get("write_multiple"):
            ours["write_multiple"] = True
        if theirs.get("twin_socket", {}).get("supported"):
            mine, given = socket.socketpair()
            mine.settimeout(10)
            self.own = Wire(mine)
            fds = [given.detach()]
            ours["twin_socket"] = {"supported": True, "fd_index": 0}
        return asked.payload[:4] + json.dumps({"capabilities": ours}).encode() + b"\0", fds

    def _map(self, asked: Packet) -> Answer:
        _, _, offset, address, length = unpack("=IIQQQ", asked.payload)
        self.device.map(address, length, asked.fds[0] if asked.fds else None, offset)
        close_all(asked.fds)
        return b"", []

    def _unmap(self, asked: Packet) -> Answer:
        argsz, flags, address, length = unpack_from("=IIQQ", asked.payload)
        self.device.unmap(address, length)
        if flags & 1:
            page, size = unpack_from("=QQ", asked.payload, 24)
            return pack("=IIQQQQ", argsz, flags, address, length, page, size) + b"\1" * size, []
        return asked.payload, []

    def _info(self, asked: Packet) -> Answer:
        return pack("=IIII", 16, 3, 9, 5), []

    def _region_info(self, asked: Packet) -> Answer:
        argsz, _, index = unpack_from("=III", asked.payload)
        if index > 8:
            raise OSError(errno.EINVAL, "no such region")
        length = REGIONS.get(index, 0)
        if index != BAR2:
            return pack("=IIIIQQ", 32, 3 if length else 0, index, 0, length, 0), []
        # the buffer may be mapped, and its capability tells that only the first page of it may
        capability = pack("=HHIIIQQ", 1, 1, 0, 1, 0, 0, 4096)
        size = 32 + len(capability)
        # where it does not fit it is left out, and told all the same: QEMU refuses an offset of 0 then
        told = pack("=IIIIQQ", size, 15, index, 32, length, 0)
        return told if argsz < size else told + capability, [os.dup(self.device.buffer_fd)]

    def _io_fds(self, asked: Packet) -> Answer:
        argsz, _, index = unpack_from("=III", asked.payload)
        if index != BAR0:
            return pack("=IIII", 16, 0, index, 0), []
        if argsz < 56:
            return pack("=IIII", 56, 0, index, 1), []
        fd = os.eventfd(0)
        return pack("=IIIIQQIIIIQ", 56, 0, index, 1, 0x14, 4, 0, 0, 0, 0, 3), [fd]

    def _irq_info(self, asked: Packet) -> Answer:
        (index,) = unpack_from("=I", asked.payload, 8)
        return pack("=IIII", 16, 1, index, 1 if index in (INTX, ERR, REQ) else 0), []

    def _set_irqs(self, asked: Packet) -> Answer:
        _, flags, index, start, count = unpack_from("=IIIII", asked.payload)
        if flags & 4:
            for number in range(count):
                self.device.set_eventfd(index, start + number, asked.fds[number] if asked.fds else None)
        elif flags == 0x21 and not count:
            self.device.set_eventfd(index, 0, None)
        elif flags & 0x20:
            wanted = asked.payload[20:] if flags & 2 else b"\1" * count
            for number, value in enumerate(wanted):
                if value:
                    self.device.interrupt(index, start + number)
        return b"", []

    def _read(self, asked: Packet) -> Answer:
        offset, region, count = unpack("=QII", asked.payload)
        return asked.payload + self.device.read_region(region, offset, count), []

    def _write(self, asked: Packet) -> Answer:
        offset, region, count = unpack_from("=QII", asked.payload)
        self.device.write_region(region, offset, asked.payload[16 : 16 + count])
        return asked.payload[:16], []

    def _write_multi(self, asked: Packet) -> Answer:
        (times,) = unpack_from("=Q", asked.payload)
        for at in range(times):
            offset, region, count, data = unpack_from("=QII8s", asked.payload, 8 + 24 * at)
            self.device.write_region(region, offset, data[:count])
        return pack("=Q", times), []

    def _reset(self, asked: Packet) -> Answer:
        self.device.reset()
        return b"", []

    def _feature(self, asked: Packet) -> Answer:
        _, flags = unpack_from("=II", asked.payload)
        feature = flags & 0xFFFF
        if feature == MIGRATION and flags & GET:
            return pack("=IIQ", 16, flags, 5), []
        if feature == DEVICE_STATE and flags & GET:
            return pack("=IIII", 16, flags, self.state, 0), []
        if feature == DEVICE_STATE:
            (self.state,) = unpack_from("=I", asked.payload, 8)
            return asked.payload, []
        if feature in (LOGGING_START, LOGGING_STOP):
            return asked.payload, []
        if feature == LOGGING_REPORT:
            _, length, page = unpack_from("=QQQ", asked.payload, 8)
            words = -(-length // page // 64)
            return pack("=II", 32 + 8 * words, flags) + asked.payload[8:32] + pack("=Q", 1) * words, []
        raise OSError(errno.EOPNOTSUPP, "no such feature")

    def _save(self, asked: Packet) -> Answer:
        _, wanted = unpack("=II", asked.payload)
        data = bytes(self.saved[:wanted])
        del self.saved[:wanted]
        return pack("=II", 8 + len(data), len(data)) + data, []

    def _load(self, asked: Packet) -> Answer:
        (length,) = unpack_from("=I", asked.payload, 4)
        self.saved += asked.payload[8 : 8 + length]
        return b"", []

    # -- its own

    def _read_by_message(self, address: int, count: int) -> bytes:
        return self._ask(DMA_READ, pack("=QQ", address, count)).payload[16:]

    def _write_by_message(self, address: int, data: bytes) -> None:
        self._ask(DMA_WRITE, pack("=QQ", address, len(data)) + data)

    def _ask(self, command: int, payload: bytes) -> Packet:
        """Until the reply comes; on the same socket the client may go on with its own commands meanwhile."""
        msgid = self.own.send(command, payload)
        while True:
            came = self.own.receive()
            if came.is_reply and came.msgid == msgid:
                break
            self._answer(came)
        if came.error:
            raise OSError(came.error, "the client refuses")
        return came


def main(path: str) -> None:
    """Serve one client after the other."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        client, _ = listener.accept()
        Server(client).serve()


if __name__ == "__main__":
    main(sys.argv[1])
