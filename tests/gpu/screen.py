"""The front-end's side: what QEMU does with each message, on a screen that is an array of pixels."""

from __future__ import annotations

import os
from struct import pack, unpack_from

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
    Gone,
    Packet,
    Wire,
)

EDID = bytes.fromhex("00ffffffffffff00") + bytes(range(120))


class Screen:
    """One output. Owns its socket, and the buffer that the back-end shows."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.width = self.height = 0
        self.pixels = bytearray()
        self.cursor: tuple[int, int] | None = None
        self.shape = b""
        self.buffer: int | None = None
        self.modifier = 0
        self.features = 0
        self.seen: list[int] = []

    def serve(self) -> None:
        """Until the back-end closes."""
        try:
            while True:
                self._take(self.wire.receive())
        except (Gone, ConnectionError):
            pass
        finally:
            self._show(None)
            self.wire.close()

    def _take(self, asked: Packet) -> None:
        number, _, payload, fds = asked
        self.seen.append(number)
        if number == GET_PROTOCOL_FEATURES:
            self._answer(number, pack("=Q", 3))
        elif number == SET_PROTOCOL_FEATURES:
            (self.features,) = unpack_from("=Q", payload)
        elif number == GET_DISPLAY_INFO:
            mode = pack("<IIIIII", 0, 0, 1280, 800, 1, 0)
            self._answer(number, pack("<IIQII", 0x1101, 0, 0, 0, 0) + mode + bytes(15 * 24))
        elif number == GET_EDID:
            (scanout,) = unpack_from("=I", payload)
            if scanout == 0:  # for one that there is not QEMU has no answer
                head = pack("<IIQII", 0x1104, 0, 0, 0, 0)
                self._answer(number, head + pack("<II", len(EDID), 0) + EDID.ljust(1024, b"\0"))
        elif number in (CURSOR_POS, CURSOR_POS_HIDE, CURSOR_UPDATE):
            _, x, y = unpack_from("=III", payload)
            self.cursor = None if number == CURSOR_POS_HIDE else (x, y)
            if number == CURSOR_UPDATE:
                self.shape = payload[20:]
        elif number == SCANOUT:
            _, self.width, self.height = unpack_from("=III", payload)
            self.pixels = bytearray(4 * self.width * self.height)
        elif number == UPDATE:
            self._draw(payload)
        elif number in (DMABUF_SCANOUT, DMABUF_SCANOUT2):
            self._show(fds[0] if fds else None)
            if number == DMABUF_SCANOUT2:
                (self.modifier,) = unpack_from("=Q", payload, 40)
        elif number == DMABUF_UPDATE:
            self._answer(number)

    def _answer(self, number: int, payload: bytes = b"") -> None:
        self.wire.send(number, payload, flags=REPLY)

    def _draw(self, payload: bytes) -> None:
        _, x, y, width, height = unpack_from("=IIIII", payload)
        pixels = payload[20:]
        for row in range(height):
            at = 4 * ((y + row) * self.width + x)
            self.pixels[at : at + 4 * width] = pixels[4 * row * width : 4 * (row + 1) * width]

    def _show(self, buffer: int | None) -> None:
        if self.buffer is not None:
            os.close(self.buffer)
        self.buffer = buffer
