"""A back-end that draws: the socket which it got by GPU_SET_SOCKET, and all twelve messages over it."""

from __future__ import annotations

import os
import socket
import threading
from struct import pack

from tests.relay.harness import message, rights, unpacked

from .screen import EDID, Screen
from .wire import (
    CURSOR_POS,
    CURSOR_POS_HIDE,
    CURSOR_UPDATE,
    DMABUF_SCANOUT,
    DMABUF_SCANOUT2,
    DMABUF_UPDATE,
    GET_DISPLAY_INFO,
    GET_EDID,
    GET_PROTOCOL_FEATURES,
    REPLY,
    SCANOUT,
    SET_PROTOCOL_FEATURES,
    UPDATE,
    Packet,
    Wire,
)

GPU_SET_SOCKET = 33


class Display:
    """The back-end's socket for drawing, and the screen, in a thread, that it leads to."""

    def __init__(self, front: socket.socket, back: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        front.sendmsg([message(GPU_SET_SOCKET)], rights([theirs.fileno()]))
        theirs.close()
        _, ancillary, _, _ = back.recvmsg(12, 100)
        (fd,) = unpacked(ancillary)
        self.wire = Wire(socket.socket(fileno=fd))
        self.screen = Screen(Wire(ours))
        self._thread = threading.Thread(target=self.screen.serve, daemon=True)
        self._thread.start()

    def ask(self, number: int, payload: bytes = b"") -> Packet:
        self.wire.send(number, payload)
        reply = self.wire.receive_in_one_call()
        assert (reply.number, reply.flags) == (number, REPLY)
        return reply

    def close(self) -> None:
        """The back-end goes; the screen has seen all of it then."""
        self.wire.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


def draw(display: Display) -> None:
    """Each message once at least, as a back-end without and then one with a graphics card sends them."""
    wire = display.wire
    assert display.ask(GET_PROTOCOL_FEATURES).payload == pack("=Q", 3)
    wire.send(SET_PROTOCOL_FEATURES, pack("=Q", 3))
    assert len(display.ask(GET_DISPLAY_INFO).payload) == 408
    assert EDID in display.ask(GET_EDID, pack("=I", 0)).payload
    wire.send(SCANOUT, pack("=III", 0, 64, 48))
    wire.send(UPDATE, pack("=IIIII", 0, 8, 4, 2, 2) + b"\1\2\3\0" * 4)
    wire.send(CURSOR_UPDATE, pack("=IIIII", 0, 5, 6, 1, 1) + b"\xff" * 16384)
    wire.send(CURSOR_POS, pack("=III", 0, 7, 8))
    buffer = os.memfd_create("buffer")
    try:
        scanout = pack("=IIIIIIIIII", 0, 0, 0, 64, 48, 64, 48, 256, 0, 0x34325258)
        wire.send(DMABUF_SCANOUT, scanout, [buffer])
        assert display.ask(DMABUF_UPDATE, pack("=IIIII", 0, 0, 0, 64, 48)).payload == b""
        assert display.screen.buffer is not None
        wire.send(DMABUF_SCANOUT2, scanout + pack("=Q", 1 << 56 | 1), [buffer])
        display.ask(DMABUF_UPDATE, pack("=IIIII", 0, 0, 0, 64, 48))
        wire.send(DMABUF_SCANOUT, bytes(40))
    finally:
        os.close(buffer)
    wire.send(CURSOR_POS_HIDE, pack("=III", 0, 7, 8))
