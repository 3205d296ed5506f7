"""A front-end's side of the talk: requests on the main channel, and answers on the back-end's own."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Literal

from .numbers import NEED_REPLY, REPLY, VERSION, BackendRequest, ProtocolFeature, Request, has
from .numbers import request_name as name_of
from .wire import U64, Connection, Message, PeerError

#: "qemu": where QEMU asks for an acknowledgement; "always": as rust-vmm's front-ends; "never": as crosvm and libkrun
NeedReply = Literal["qemu", "always", "never"]
QEMU_NEEDS_REPLY = frozenset(
    {
        Request.SET_MEM_TABLE,
        Request.ADD_MEM_REG,
        Request.REM_MEM_REG,
        Request.SET_VRING_KICK,
        Request.SET_VRING_CALL,
        Request.SET_VRING_ERR,
        Request.SET_VRING_ENABLE,
        Request.SET_BACKEND_REQ_FD,
        Request.SET_CONFIG,
    }
)


class Conversation:
    """Owns the main connection and the front-end's end of the back-end channel.

    Every wait ends after ``timeout_s`` with PeerError, and while one lasts the back-end's requests are answered.
    """

    def __init__(self, sock: socket.socket, need_reply: NeedReply, timeout_s: float) -> None:
        self.main = Connection(sock, timeout_s)
        self.backend_channel: Connection | None = None
        self.need_reply = need_reply
        self.timeout_s = timeout_s
        #: the agreed protocol features
        self.protocol_features = 0
        #: how often the back-end said that its configuration changed
        self.config_changes = 0
        #: called with each request of the back-end channel; its answer is the acknowledgement's value (0: well)
        self.on_backend_request: Callable[[Message], int] = self._backend_request
        #: messages on connections that are closed by now
        self._earlier_messages = self._backend_messages = 0

    def close(self) -> None:
        self.main.close()
        self.close_backend_channel()

    @property
    def messages(self) -> dict[str, int]:
        """Messages sent and received so far, by channel."""
        channel = self.backend_channel
        backend = self._backend_messages + (channel.sent + channel.received if channel else 0)
        return {"main": self._earlier_messages + self.main.sent + self.main.received, "backend": backend}

    def agreed(self, bit: int) -> bool:
        """Is this protocol feature on?"""
        return has(self.protocol_features, bit)

    def tell(self, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send a request without a body in its answer; where an acknowledgement is asked for, wait for it.

        PeerError if it says that the back-end failed.
        """
        wanted = self.agreed(ProtocolFeature.REPLY_ACK) and (
            self.need_reply == "always" or (self.need_reply == "qemu" and request in QEMU_NEEDS_REPLY)
        )
        self.main.send(request, payload, fds, VERSION | (NEED_REPLY if wanted else 0))
        if wanted:
            value = self._u64(request, self.answer(request))
            if value:
                raise PeerError(f"{name_of(request)}: the back-end refused it ({value})")

    def ask(self, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> bytes:
        """Send a request that is always answered; the answer's payload."""
        reply = self.ask_message(request, payload, fds)
        reply.close()
        return reply.payload

    def ask_u64(self, request: int) -> int:
        return self._u64(request, self.ask_message(request))

    def ask_message(self, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> Message:
        """As ``ask``; the whole answer, which the caller closes."""
        always = self.need_reply == "always" and self.agreed(ProtocolFeature.REPLY_ACK)
        self.main.send(request, payload, fds, VERSION | (NEED_REPLY if always else 0))
        return self.answer(request)

    def answer(self, request: int) -> Message:
        """Wait for the answer to ``request``, serving the back-end channel meanwhile. The caller closes it."""
        self.wait_readable(self.main.fileno(), name_of(request))
        reply = self.main.receive()
        if reply is None:
            raise PeerError(f"{name_of(request)}: the back-end closed instead of answering")
        if reply.id != request or reply.flags & ~NEED_REPLY != VERSION | REPLY:
            reply.close()
            raise PeerError(f"{name_of(request)}: the answer was {name_of(reply.id)} with flags 0x{reply.flags:x}")
        return reply

    def wait_readable(self, fd: int, what: str) -> None:
        """Until ``fd`` is readable; PeerError, which begins with ``what``, if that takes too long.

        The back-end's requests are answered meanwhile, or both sides could wait for ever.
        """
        deadline = time.monotonic() + self.timeout_s
        while True:
            left_ms = (deadline - time.monotonic()) * 1000
            if left_ms <= 0:
                raise PeerError(f"{what}: the back-end did nothing for {self.timeout_s:g} s")
            if fd in self.poll_once([fd], left_ms):
                return

    def poll_once(self, fds: Sequence[int], timeout_ms: float) -> set[int]:
        """One round: which of ``fds`` are readable; serves the back-end channel, notices a main channel that closes."""
        poll = select.poll()
        for fd in {*fds, self.main.fileno()}:
            poll.register(fd, select.POLLIN)
        channel = self.backend_channel
        if channel is not None:
            poll.register(channel.fileno(), select.POLLIN)
        ready = {fd for fd, _ in poll.poll(max(timeout_ms, 0))}
        if channel is not None and channel.fileno() in ready:
            self.serve_backend_channel()
        if self.main.fileno() in ready and self.main.fileno() not in fds:
            message = self.main.receive()
            if message is None:
                raise PeerError("the back-end closed the connection")
            message.close()
            raise PeerError(f"the back-end sent {name_of(message.id)} unasked")
        return ready & set(fds)

    def serve_backend_channel(self) -> None:
        """Take one request of the back-end and answer it if it asks for that."""
        channel = self.backend_channel
        message = channel.receive() if channel is not None else None
        if channel is None or message is None:
            self.close_backend_channel()
            return
        try:
            value = self.on_backend_request(message)
        finally:
            message.close()
        if message.needs_reply and self.agreed(ProtocolFeature.REPLY_ACK):
            channel.send(message.id, U64.pack(value), flags=VERSION | REPLY)

    def close_backend_channel(self) -> None:
        if self.backend_channel is not None:
            self._backend_messages += self.backend_channel.sent + self.backend_channel.received
            self.backend_channel.close()
            self.backend_channel = None

    def _backend_request(self, message: Message) -> int:
        # only noted here: the answer must not wait for a GET_CONFIG, which the back-end may not answer before it
        if message.id == BackendRequest.CONFIG_CHANGE_MSG and not message.payload:
            self.config_changes += 1
            return 0
        return 1

    @staticmethod
    def _u64(request: int, reply: Message) -> int:
        reply.close()
        if len(reply.payload) != U64.size:
            raise PeerError(f"{name_of(request)}: the answer has {len(reply.payload)} bytes, not 8")
        return int(U64.unpack(reply.payload)[0])
