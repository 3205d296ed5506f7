"""The steps that most sessions take, in few words: memory, rings."""

from __future__ import annotations

from typing import Any

from vhostspy.capture.record import Descriptor
from vhostspy.message import Message

from ..pipeline.conversation import CALL, KICK
from .talk import Talk, features

FRONT, BACK, BOTH = 0, 1, 2
MIB = 1 << 20
PAGE = 4096
#: where the front-end has the guest's memory
USER = 0x7F00_0000_0000
VERSION_1, PROTOCOL, LOG_ALL, IOMMU, PACKED = 1 << 32, 1 << 30, 1 << 26, 1 << 33, 1 << 34
MODERN = VERSION_1 | PROTOCOL
ACK = 1 << 3

RAM = Descriptor("memory", "memfd", "rw", 1, 77, size=64 * MIB, seals=0, name="/memfd:ram (deleted)")


def region(guest: int = 0, size: int = 16 * MIB, user: int = USER, offset: int = 0) -> dict[str, Any]:
    return {"guest_address": guest, "length": size, "user_address": user, "mmap_offset": offset}


def file(inode: int, size: int = 64 * MIB, **more: Any) -> Descriptor:
    """A memory file of its own."""
    return RAM._replace(inode=inode, size=size, **more)


def table(talk: Talk, *regions: dict[str, Any], fds: list[Descriptor] | None = None, **more: Any) -> Message:
    """SET_MEM_TABLE; each region in its own file unless said otherwise."""
    if fds is None:
        fds = [file(100 + number) for number in range(len(regions))]
    return talk.front_end("SET_MEM_TABLE", count=len(regions), regions=list(regions), fds=fds, **more)


def addresses(index: int = 0, base: int = USER, **more: int) -> dict[str, Any]:
    """Where a ring of up to 256 descriptors has its parts."""
    start = base + index * 0x10000
    return {"index": index, "descriptor": start, "available": start + 0x1000, "used": start + 0x2000,
            "log_address": 0, **more}  # fmt: skip


def set_up(talk: Talk, index: int = 0, num: int = 256, base: int = 0) -> None:
    talk.front_end("SET_VRING_NUM", index=index, num=num)
    talk.front_end("SET_VRING_BASE", index=index, num=base)
    talk.front_end("SET_VRING_ADDR", **addresses(index))


def kick(talk: Talk, index: int = 0) -> Message:
    return talk.front_end("SET_VRING_KICK", index=index, fds=[KICK._replace(eventfd_id=200 + index)])


def start(talk: Talk, index: int = 0, base: int = 0) -> None:
    """A ring from nothing to running."""
    set_up(talk, index, base=base)
    kick(talk, index)
    talk.front_end("SET_VRING_CALL", index=index, fds=[CALL._replace(eventfd_id=300 + index)])
    talk.front_end("SET_VRING_ENABLE", index=index, num=1)


def stop(talk: Talk, index: int = 0, at: int = 0) -> None:
    talk.front_end("SET_VRING_ENABLE", index=index, num=0)
    talk.ask("GET_VRING_BASE", {"index": index, "num": at}, index=index, num=0)


def agreed(protocol: int = 0, virtio: int = MODERN, **more: Any) -> Talk:
    """Peers that have negotiated, and have memory if they want it."""
    talk = Talk(**more)
    features(talk, virtio, protocol)
    return talk


def with_memory(protocol: int = 0, virtio: int = MODERN, **more: Any) -> Talk:
    talk = agreed(protocol, virtio, **more)
    table(talk, region())
    return talk


def running(protocol: int = 0, virtio: int = MODERN, **more: Any) -> Talk:
    """Peers with a ring under way."""
    talk = with_memory(protocol, virtio, **more)
    start(talk)
    return talk
