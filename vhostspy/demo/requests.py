"""What every request's handler in the back-end needs: a way to refuse, a way to answer, and what was agreed on."""

from __future__ import annotations

from typing import NamedTuple

from .numbers import has
from .wire import U64, Message


class Refused(Exception):
    """A request that is not carried out; the text says why. Acknowledged as failed, or else the session ends."""


class Answer(NamedTuple):
    """A body for the answer; ``fds`` are lent."""

    payload: bytes
    fds: tuple[int, ...] = ()


class Agreed:
    """The feature words of a session; zero until they are set."""

    def __init__(self) -> None:
        self.features = 0
        self.protocol_features = 0

    def virtio(self, bit: int) -> bool:
        return has(self.features, bit)

    def protocol(self, bit: int) -> bool:
        return has(self.protocol_features, bit)


def expect(message: Message, size: int, fds: int | None = 0) -> None:
    """Refused unless payload and descriptors are as many; ``fds`` None: any number."""
    if len(message.payload) != size:
        raise Refused(f"the payload has {len(message.payload)} bytes, the message has {size}")
    if fds is not None and len(message.fds) != fds:
        raise Refused(f"it came with {len(message.fds)} descriptors instead of {fds}")


def u64(message: Message, fds: int | None = 0) -> int:
    expect(message, U64.size, fds)
    return int(U64.unpack(message.payload)[0])
