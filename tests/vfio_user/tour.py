"""What a client asks of the device, one command after the other, each once at least."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EINPROGRESS
from struct import pack, unpack, unpack_from

from .client import Client
from .device import ADDRESS, COMMAND, FETCH, IDENTITY, LENGTH, SCRATCH, STATUS, STORE, VENDOR
from .wire import (
    BAR0,
    BAR2,
    CONFIG,
    DEVICE_FEATURE,
    DEVICE_GET_INFO,
    DEVICE_GET_IRQ_INFO,
    DEVICE_GET_REGION_INFO,
    DEVICE_GET_REGION_IO_FDS,
    DEVICE_RESET,
    DEVICE_SET_IRQS,
    DMA_UNMAP,
    ERR,
    INTX,
    MIG_DATA_READ,
    MIG_DATA_WRITE,
    REGION_WRITE_MULTI,
    close_all,
)

MIB = 1 << 20
LOW, HIGH = 0x10_0000, 1 << 32


@contextmanager
def interrupt(client: Client, kind: int = INTX) -> Iterator[Callable[[], bool]]:
    """An eventfd for an interrupt; gives whether it came."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    client.ask(DEVICE_SET_IRQS, pack("=IIIII", 20, 0x24, kind, 0, 1), [fd])

    def came() -> bool:
        return bool(select.select([fd], [], [], 5)[0]) and os.eventfd_read(fd) > 0

    try:
        yield came
    finally:
        os.close(fd)


def dma(client: Client, address: int, count: int, command: int) -> int:
    """Have the device fetch or store; gives how it went."""
    client.write(BAR0, ADDRESS, pack("=Q", address))
    client.write(BAR0, LENGTH, pack("=I", count), posted=True)
    client.write(BAR0, COMMAND, pack("=I", command))
    for _ in range(1000):
        status = client.read_u32(BAR0, STATUS)
        if status != EINPROGRESS:
            return status
    raise TimeoutError("the device does not get ready")


def use_all(client: Client) -> None:
    """Every command that there is, after VERSION."""
    ask = client.ask
    assert unpack("=IIII", ask(DEVICE_GET_INFO, pack("=IIII", 16, 0, 0, 0)).payload) == (16, 3, 9, 5)
    for region, argsz in ((BAR0, 32), (CONFIG, 32), (BAR2, 32), (BAR2, 64)):
        info = ask(DEVICE_GET_REGION_INFO, pack("=IIIIQQ", argsz, 0, region, 0, 0, 0))
        assert len(info.payload) == argsz
        close_all(info.fds)
    for argsz in (16, 56):
        close_all(ask(DEVICE_GET_REGION_IO_FDS, pack("=IIII", argsz, 0, BAR0, 0)).fds)
    ask(DEVICE_GET_IRQ_INFO, pack("=IIII", 16, 0, ERR, 0))
    ram = client.map(LOW, MIB, shared=True)
    unshared = client.map(HIGH, MIB, shared=False)
    with interrupt(client, ERR) as came:
        ask(DEVICE_SET_IRQS, pack("=IIIIIB", 21, 0x22, ERR, 0, 1, 1))
        assert came()
        ask(DEVICE_SET_IRQS, pack("=IIIII", 20, 0x21, ERR, 0, 0))
    vendor, _ = unpack("<HH", client.read(CONFIG, 0, 4))
    assert vendor == VENDOR
    client.write(CONFIG, 0x10, b"\xff" * 4)
    assert client.read_u32(CONFIG, 0x10) == 0xFFFF_F000
    assert client.read_u32(BAR0, 0) == IDENTITY
    client.write(BAR0, SCRATCH, b"abcd", posted=True)
    assert client.read(BAR0, SCRATCH, 4) == b"abcd"
    assert dma(client, HIGH, 32, FETCH) == dma(client, HIGH, 32, STORE) == 0
    writes = pack("=QQII8s", 2, SCRATCH, BAR0, 4, b"efgh") + pack("=QII8s", 0, BAR2, 8, b"ijklmnop")
    assert unpack("=Q", ask(REGION_WRITE_MULTI, writes).payload) == (2,)
    client.post(REGION_WRITE_MULTI, writes)
    for feature in (
        pack("=II", 16, 1 << 16 | 1),
        pack("=II", 16, 1 << 16 | 2),
        pack("=IIII", 16, 1 << 17 | 2, 3, 0),
        pack("=IIQIIQQ", 40, 1 << 17 | 6, 4096, 1, 0, LOW, MIB),
        pack("=IIQQQ", 32, 1 << 16 | 8, LOW, MIB, 4096),
        pack("=II", 8, 1 << 17 | 7),
    ):
        assert ask(DEVICE_FEATURE, feature).payload[4:8] == feature[4:8]
    state = b""
    while len(state) % 100 == 0:
        state += ask(MIG_DATA_READ, pack("=II", 108, 100)).payload[8:]
    assert state == b"the state of the device" * 10
    ask(DEVICE_FEATURE, pack("=IIII", 16, 1 << 17 | 2, 4, 0))
    ask(MIG_DATA_WRITE, pack("=II", 11, 3) + b"abc")
    bitmap = ask(DMA_UNMAP, pack("=IIQQQQ", 72, 1, LOW, MIB, 4096, 32)).payload
    assert unpack_from("=QQ", bitmap, 24) == (4096, 32)
    client.ram.remove(ram)
    ram.memory.close()
    client.unmap(unshared)
    ask(DEVICE_RESET)
