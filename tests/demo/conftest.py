"""A front-end and a back-end over one socket pair; the back-end runs in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import pytest

from vhostspy.demo.back_end import BackEnd, serving
from vhostspy.demo.block import Disk
from vhostspy.demo.conversation import NeedReply
from vhostspy.demo.front_end import FEATURES, PROTOCOL_FEATURES, FrontEnd


class Pair(NamedTuple):
    front_end: FrontEnd
    back_end: BackEnd


class Connect(Protocol):
    def __call__(
        self,
        back_end: BackEnd | None = None,
        *,
        queues: int = 1,
        queue_size: int = 64,
        region_sizes: tuple[int, ...] = (1 << 20, 1 << 20),
        features: int = FEATURES,
        protocol_features: int = PROTOCOL_FEATURES,
        need_reply: NeedReply = "qemu",
    ) -> Pair: ...


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make connected pairs; all of it is closed at the end of the test, the front-ends first."""
    with contextlib.ExitStack() as stack:

        def make(
            back_end: BackEnd | None = None,
            *,
            queues: int = 1,
            queue_size: int = 64,
            region_sizes: tuple[int, ...] = (1 << 20, 1 << 20),
            features: int = FEATURES,
            protocol_features: int = PROTOCOL_FEATURES,
            need_reply: NeedReply = "qemu",
        ) -> Pair:
            ours, theirs = socket.socketpair()
            served = stack.enter_context(serving(back_end if back_end is not None else BackEnd(Disk(2048)), theirs))
            front_end = FrontEnd(
                ours,
                queues=queues,
                queue_size=queue_size,
                region_sizes=region_sizes,
                features=features,
                protocol_features=protocol_features,
                need_reply=need_reply,
            )
            return Pair(stack.enter_context(front_end), served)

        yield make


@pytest.fixture
def running(connect: Connect) -> Pair:
    """A pair that has negotiated and whose rings run."""
    pair = connect()
    pair.front_end.negotiate()
    pair.front_end.start()
    return pair
