"""A front-end with a ring in shared memory, and a back-end that does nothing, with a relay between them."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.relay.harness import Relayed, close_all, message, receive, rights, unpacked
from vhostspy.inspection import Asked, Attachment
from vhostspy.relay.control import Control
from vhostspy.rules.engine import Rules

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_LOG_BASE, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = 6, 8, 9, 10
GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ENABLE = 11, 12, 13, 18
IOTLB_MSG, GET_CONFIG, POSTCOPY_LISTEN, POSTCOPY_END = 22, 24, 29, 30
SET_INFLIGHT_FD, ADD_MEM_REG, REM_MEM_REG = 32, 37, 38

EVENT_IDX, PROTOCOL_FEATURES, VERSION_1 = 1 << 29, 1 << 30, 1 << 32
USER, GUEST, SIZE = 0x7F00_0000_0000, 0x10_0000, 1 << 20
RING = 64
TABLE, AVAILABLE, USED = 0, 0x4000, 0x5000


class Pair:
    """Both peers' sockets, the guest's memory, and an attachment of a viewer. Owns all of it.

    ``control``: the relay has a control socket already, which is another pair's.
    """

    def __init__(
        self,
        relayed: Relayed,
        features: int = VERSION_1 | PROTOCOL_FEATURES | EVENT_IDX,
        control: Control | None = None,
    ) -> None:
        self.relayed = relayed
        self.control = control or relayed.call(lambda: Control(relayed.relay, str(relayed.capture)))
        self.front, self.back = relayed.open()
        self.file = os.memfd_create("guest")
        os.ftruncate(self.file, SIZE)
        self.kick, self.call = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
        self.available = self.used = 0
        self.say(SET_OWNER)
        self.say(SET_FEATURES, struct.pack("=Q", features))
        self.attachment: Attachment | None = None

    def say(self, number: int, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        """The front-end sends; duplicates of these descriptors go along."""
        self.front.sendmsg([message(number, payload)], rights(fds))
        wanted = 12 + len(payload)
        data, ancillary, _, _ = self.back.recvmsg(4096, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC)
        assert len(data) == wanted
        close_all(unpacked(ancillary))

    def answer(self, number: int, payload: bytes) -> None:
        self.back.sendall(message(number, payload, reply=True))
        receive(self.front)

    def set_up(self, ring: int = 0) -> None:
        """Memory, and a ring that runs."""
        self.memory()
        self.say(SET_VRING_NUM, struct.pack("=II", ring, RING))
        self.say(SET_VRING_BASE, struct.pack("=II", ring, 0))
        self.say(SET_VRING_ADDR, struct.pack("=II4Q", ring, 0, USER + TABLE, USER + USED, USER + AVAILABLE, 0))
        self.say(SET_VRING_KICK, struct.pack("=Q", ring), [self.kick])
        self.say(SET_VRING_CALL, struct.pack("=Q", ring), [self.call])
        self.say(SET_VRING_ENABLE, struct.pack("=II", ring, 1))

    def memory(self) -> None:
        self.say(SET_MEM_TABLE, struct.pack("=II4Q", 1, 0, GUEST, SIZE, USER, 0), [self.file])

    def stop(self, base: int, ring: int = 0) -> None:
        self.say(GET_VRING_BASE, struct.pack("=II", ring, 0))
        self.answer(GET_VRING_BASE, struct.pack("=II", ring, base))

    # what driver and device write

    def word(self, offset: int, value: int) -> None:
        os.pwrite(self.file, struct.pack("<H", value & 0xFFFF), offset)

    def make_available(self, head: int, length: int = 16, flags: int = 0) -> None:
        """A request of one descriptor; the back-end is kicked. ``flags`` 2: for the device to write into."""
        os.pwrite(self.file, struct.pack("<QIHH", GUEST + 0x8000, length, flags, 0), TABLE + 16 * head)
        self.word(AVAILABLE + 4 + 2 * (self.available % RING), head)
        self.available += 1
        self.word(AVAILABLE + 2, self.available)
        os.eventfd_write(self.kick, 1)

    def use(self, head: int) -> None:
        os.pwrite(self.file, struct.pack("<II", head, 0), USED + 4 + 8 * (self.used % RING))
        self.used += 1
        self.word(USED + 2, self.used)

    def wants_kicks_behind(self, index: int) -> None:
        """The device's available event."""
        self.word(USED + 4 + 8 * RING, index)

    # who looks

    def attach(self, rules: Rules | None = None) -> Attachment:
        self.relayed.call(lambda: self.relayed.relay.writer.flush())
        self.attachment = Attachment(Asked(self.control.path), "block", rules)
        self.attachment.follow()
        return self.attachment

    def passed(self) -> Attachment:
        """All that has passed is in the capture, and followed."""
        assert self.attachment is not None
        self.relayed.call(lambda: self.relayed.relay.writer.flush())
        self.attachment.follow()
        return self.attachment

    def leave(self) -> None:
        """The front-end goes, and with it the back-end's connection."""
        self.relayed.forget()
        self.front.close()
        assert self.back.recv(1) == b""
        self.back.close()
        self.relayed.no_session()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.attachment is not None:
            self.attachment.close()
        if self.relayed.thread is not None and self.relayed.thread.running:
            self.relayed.call(self.control.close)
        for fd in (self.file, self.kick, self.call):
            os.close(fd)
