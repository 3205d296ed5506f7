"""A relay without a capture: descriptors that it is handed are closed, in each way that they can come."""

from __future__ import annotations

import os
from pathlib import Path
from struct import pack
from threading import Thread

import pytest

from vhostspy.relay.direction import HOLD
from vhostspy.relay.endpoint import Connector, Listener

from .harness import connected, listening, read, running, send, sized, until

SET_MEM_TABLE, DMA_MAP = 5, 2


def vfio(length: int) -> bytes:
    return pack("=HHIII", 1, DMA_MAP, length, 0, 0) + bytes(length - 16)


def open_here(name: str) -> int:
    """How many of this process's descriptors are such a memory file."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{fd}").startswith(f"/memfd:{name} ")
        except FileNotFoundError:
            pass  # the listing's own
    return found


@pytest.mark.parametrize("first", [8, 40, 1 << 20], ids=["half a header", "a piece", "all at once"])
@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        ("vhost-user", sized(300, SET_MEM_TABLE)), ("vhost-user", sized(300, 999)), ("vhost-user", b"\xff" * 300),
        ("vfio-user", vfio(300)), ("vfio-user", vfio(2 * HOLD)),
    ],
    ids=["a message", "an unknown one", "garbage", "vfio-user", "a long one"],
)  # fmt: skip
def test_descriptors_go_on_and_none_stays(folder: Path, protocol: str, data: bytes, first: int) -> None:
    paths = str(folder / "front"), str(folder / "back")
    with (
        listening(paths[1]) as listener,
        running(Listener(paths[0]), Connector(paths[1]), protocol=protocol),
        connected(paths[0]) as front,
        listener.accept()[0] as back,
    ):
        send(front, data[:first], [7])
        sender = Thread(target=send, args=(front, data[first:]))
        sender.start()
        got = b""
        tags: tuple[int, ...] = ()
        while len(got) < len(data):
            piece, more = read(back, len(data) - len(got))
            got, tags = got + piece, tags + more
        sender.join()
        assert (got, tags) == (data, (7,))
        until(lambda: not open_here("tag 7"), "the relay lets go of it")
