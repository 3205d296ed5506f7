"""A front-end's side, for tests of back-ends: requests by name, their answers, and the usual beginning in one call."""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from vhostspy.dissectors import virtio
from vhostspy.dissectors.rows import BACK_END, FRONT_END

from .talk import Heard, Talk

#: what is agreed on unless the test says otherwise, as far as it is offered
FEATURES = ("VERSION_1", "PROTOCOL_FEATURES")
PROTOCOL_FEATURES = ("MQ", "REPLY_ACK", "CONFIG", "CONFIGURE_MEM_SLOTS")
#: how requests are answered that NEED_REPLY makes no difference to
NOT_ASKED = ("reply", "never")
#: where guest memory is in this front-end, as it tells the back-end; nothing is read or written there
USER_ADDRESS = 0x7F00_0000_0000


class FrontEnd(Talk):
    """While an answer is waited for, requests on the back-end channel are taken and acknowledged (``on_request``)."""

    side = FRONT_END

    def __init__(self, sock: socket.socket, **options: Any) -> None:
        super().__init__(sock, **options)
        #: called with each request of the back-end; gives the acknowledgement's value, 0 where all is well
        self.on_request: Callable[[Heard], int] = lambda heard: 0
        #: the back-end's own requests so far
        self.requests: list[Heard] = []
        self._memory: list[mmap.mmap] = []

    def __enter__(self) -> FrontEnd:
        return self

    def close(self) -> None:
        super().close()
        for each in self._memory:
            each.close()
        self._memory.clear()

    def ask(self, name: str, *, fds: Sequence[int] = (), timeout_s: float | None = None, **members: Any) -> Heard:
        """Send a request and wait for its answer; one without a body of its own is asked to acknowledge.

        TalkError when something else comes, or nothing.
        """
        __tracebackhide__ = True
        row = self.row(name)
        need_reply = bool(members.pop("need_reply", row.answer not in NOT_ASKED))
        request = self._say(row, False, dict(members), fds, need_reply, None, "main")
        heard = self._next(f"an answer to {name}", timeout_s)
        if heard.message.answers != request.no:
            raise self._trouble(f"expected an answer to {name}, and {heard!r} came")
        return heard

    def tell(self, name: str, *, fds: Sequence[int] = (), **members: Any) -> None:
        """Send a request; with REPLY_ACK agreed, wait for its acknowledgement. TalkError when it is refused."""
        __tracebackhide__ = True
        if self.row(name).answer in NOT_ASKED or not self.agreed("REPLY_ACK"):
            self.send(name, fds=fds, **members)
            return
        heard = self.ask(name, fds=fds, **members)
        if not heard.ok:
            raise self._trouble(f"it refused {name}: {heard.message.info}")

    # -- the usual beginning

    def negotiate(
        self, features: Iterable[str] = FEATURES, protocol_features: Iterable[str] = PROTOCOL_FEATURES
    ) -> None:
        """Agree on these features, as far as they are offered. ``session`` says which."""
        __tracebackhide__ = True
        offered = self.ask("GET_FEATURES")["features"]
        if offered >> 30 & 1:
            ours = self.ask("GET_PROTOCOL_FEATURES")["protocol_features"]
            wanted = sum(1 << self._feature(name) for name in protocol_features)
            self.send("SET_PROTOCOL_FEATURES", protocol_features=ours & wanted)
        self.tell("SET_OWNER")
        names = virtio.features(self.device or self.session.device).names
        wanted = sum(1 << bit for bit, name in names.items() if name in frozenset(features))
        self.tell("SET_FEATURES", features=offered & wanted)

    def share_memory(self, size: int = 1 << 20, guest_address: int = 0) -> mmap.mmap:
        """Share so many bytes as guest memory at an address; the memory itself, to be looked at and written to."""
        __tracebackhide__ = True
        fd = self.memfd(size)
        memory = mmap.mmap(fd, size)
        self._memory.append(memory)
        region: dict[str, Any] = {
            "guest_address": guest_address,
            "length": size,
            "user_address": USER_ADDRESS + guest_address,
            "mmap_offset": 0,
        }
        if self.agreed("CONFIGURE_MEM_SLOTS"):
            self.tell("ADD_MEM_REG", fds=[fd], **region)
        else:
            self.tell("SET_MEM_TABLE", fds=[fd], regions=[region])
        return memory

    def start_ring(self, index: int = 0, size: int = 64, guest_address: int | None = None) -> tuple[int, int]:
        """Set up and enable an empty ring in shared memory; its kick and call descriptors.

        guest_address: where its three parts lie, one page each; default: three pages a ring from the beginning on.
        """
        __tracebackhide__ = True
        at = USER_ADDRESS + (3 * index * mmap.PAGESIZE if guest_address is None else guest_address)
        kick, call = self.eventfd(), self.eventfd()
        self.tell("SET_VRING_NUM", index=index, num=size)
        self.tell("SET_VRING_BASE", index=index, num=0)
        page = mmap.PAGESIZE
        where: dict[str, Any] = {"descriptor": at, "available": at + page, "used": at + 2 * page, "log_address": 0}
        self.tell("SET_VRING_ADDR", index=index, **where)
        self.tell("SET_VRING_CALL", index=index, fds=[call])
        self.tell("SET_VRING_KICK", index=index, fds=[kick])
        if (self.session.virtio_agreed or 0) >> 30 & 1:
            self.tell("SET_VRING_ENABLE", index=index, num=1)
        return kick, call

    def stop_ring(self, index: int = 0) -> int:
        """Disable and stop a ring; where the back-end would go on."""
        __tracebackhide__ = True
        if (self.session.virtio_agreed or 0) >> 30 & 1:
            self.tell("SET_VRING_ENABLE", index=index, num=0)
        base: int = self.ask("GET_VRING_BASE", index=index, num=0)["num"]
        return base

    def open_back_end_channel(self) -> None:
        """Give the back-end a channel of its own (needs BACKEND_REQ)."""
        __tracebackhide__ = True
        ours, theirs = socket.socketpair()
        try:
            self._open("backend", ours)
            self.tell("SET_BACKEND_REQ_FD", fds=[theirs.fileno()])
        finally:
            theirs.close()

    def expect_request(self, name: str, timeout_s: float | None = None) -> Heard:
        """Wait for a request of the back-end on its own channel; those that came before count."""
        __tracebackhide__ = True
        deadline = monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        seen = 0
        while True:
            for heard in self.requests[seen:]:
                if heard.name == name:
                    self.requests.remove(heard)
                    return heard
            seen = len(self.requests)
            if self._wires["main"].ended or not self._hear(deadline):
                raise self._trouble(f"expected its request {name}, and it did not come")

    def _heard(self, heard: Heard) -> None:
        message = heard.message
        if message.channel != "backend" or message.kind != "request" or message.sender != BACK_END:
            super()._heard(heard)
            return
        self.requests.append(heard)
        value = self.on_request(heard)
        if message.need_reply and message.row is not None:
            self._answer(heard, value)

    def _answer(self, heard: Heard, value: int) -> None:
        row = heard.message.row
        if row is not None and row.reply is None:
            self._say(row, True, {"value": value}, (), False, None, heard.channel, heard.message.msgid)

    def kick(self, fd: int) -> None:
        """Tell the back-end that there is something in a ring."""
        os.eventfd_write(fd, 1)
