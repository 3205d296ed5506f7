"""A vhost-user back-end that serves a virtio block device from memory.

One process, one thread, one poll over the front-end's socket, the back-end channel and the kicks. Nothing here waits
for an answer, so the front-end may do what it likes between a request of ours and its acknowledgement.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator

from .block import CONFIG_SIZE, WRITEBACK_AT, Disk
from .memory import RingError
from .numbers import NEED_REPLY, REPLY, VERSION, BackendRequest, Feature, ProtocolFeature, Request, bits, has
from .numbers import request_name as name_of
from .payloads import CONFIG
from .requests import Agreed, Answer, Refused, expect, u64
from .rings import Rings
from .sharing import MEM_SLOTS, Sharing
from .wire import TIMEOUT_S, U64, Connection, Message, OwnedFd, PeerError

FEATURES = bits(
    Feature.BLK_SEG_MAX,
    Feature.BLK_BLK_SIZE,
    Feature.BLK_FLUSH,
    Feature.BLK_CONFIG_WCE,
    Feature.BLK_MQ,
    Feature.LOG_ALL,
    Feature.INDIRECT_DESC,
    Feature.PROTOCOL_FEATURES,
    Feature.VERSION_1,
)
PROTOCOL_FEATURES = bits(*ProtocolFeature)
#: requests that are answered with a body, so that no acknowledgement is due besides
_ANSWERED = frozenset(
    {
        Request.GET_FEATURES,
        Request.GET_PROTOCOL_FEATURES,
        Request.GET_QUEUE_NUM,
        Request.GET_VRING_BASE,
        Request.GET_CONFIG,
        Request.GET_INFLIGHT_FD,
        Request.GET_MAX_MEM_SLOTS,
        Request.GET_STATUS,
    }
)


class BackEnd:
    """A device that outlives its connections: ``serve`` takes one connection after the other, the disk stays.

    Only ``stop`` and ``resize`` may be called from another thread than ``serve``.
    """

    #: what looks after the rings; a test may have it do so badly
    RINGS = Rings

    def __init__(
        self,
        disk: Disk | None = None,
        *,
        queues: int = 4,
        features: int = FEATURES,
        protocol_features: int = PROTOCOL_FEATURES,
        grow_after: int | None = None,
        log: Callable[[str], None] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """``grow_after``: after so many requests the disk doubles, once, and the front-end is told."""
        self.disk = disk if disk is not None else Disk()
        self.queues = queues
        self.offered = features
        self.offered_protocol = protocol_features
        self.grow_after = grow_after
        self.timeout_s = timeout_s
        #: sentences about what went wrong, newest last; ``log`` gets each as it comes
        self.trouble: list[str] = []
        self._log = log
        self._wake = OwnedFd(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        self._stopping = False
        self._resize_to: int | None = None
        #: acknowledgements of CONFIG_CHANGE so far: the values
        self.config_acks: list[int] = []
        self.main: Connection | None = None
        self.backend_channel: Connection | None = None
        self._begin_session()

    # -- life ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """After ``serve`` has returned. May be called twice."""
        self._end_session()
        self._wake.close()

    def __enter__(self) -> BackEnd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wake_fd(self) -> int:
        """Readable once ``stop`` or ``resize`` was called."""
        return self._wake.fileno()

    @property
    def stopping(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """End ``serve`` soon. Safe in a signal handler and from another thread."""
        self._stopping = True
        os.eventfd_write(self._wake.fileno(), 1)

    def resize(self, sectors: int) -> None:
        """Give the disk another size and tell the front-end. Safe from another thread."""
        self._resize_to = sectors
        os.eventfd_write(self._wake.fileno(), 1)

    def serve(self, sock: socket.socket) -> None:
        """Serve one connection until the front-end closes it or ``stop`` is called; the socket is closed then.

        PeerError: the front-end broke off in the middle, or asked for what we refuse without wanting to hear it.
        """
        self.main = Connection(sock, self.timeout_s)
        self._begin_session()
        try:
            while not self._stopping and self.step(None):
                pass
        finally:
            self._end_session()

    def step(self, timeout_s: float | None) -> bool:
        """Wait for whatever comes next and deal with it; False once the front-end has closed."""
        main = self.main
        if main is None:
            raise ValueError("there is no connection")
        poll = select.poll()
        poll.register(main.fileno(), select.POLLIN)
        poll.register(self._wake.fileno(), select.POLLIN)
        if self.backend_channel is not None:
            poll.register(self.backend_channel.fileno(), select.POLLIN)
        kicks, polled = self.rings.kicks(), self.rings.polled()
        for fd in kicks:
            poll.register(fd, select.POLLIN)
        if polled:
            timeout_s = 0.001  # a ring without a kick has to be looked at again and again
        ready = dict(poll.poll(None if timeout_s is None else timeout_s * 1000))
        # kicks first: a request before GET_VRING_BASE is carried out before it, as the front-end expects
        for index in polled:
            self.rings.process(index)
        for fd, index in kicks.items():
            if fd in ready:
                self.rings.kicked(index, ready[fd])
        if self.backend_channel is not None and self.backend_channel.fileno() in ready:
            self._backend_reply(self.backend_channel)
        if self._wake.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake.fileno())
        self._resize_if_wanted()
        if main.fileno() in ready:
            message = main.receive()
            if message is None:
                return False
            try:
                self._dispatch(main, message)
            finally:
                message.close()
        return True

    def _begin_session(self) -> None:
        self.status = 0
        self.agreed = Agreed()
        self.sharing = Sharing(self.agreed, self.queues)
        self.rings = self.RINGS(self.queues, self.disk, self.sharing, self._report)
        handlers: dict[int, Callable[[Message], Answer | None]] = {}
        for request in Request:
            name = request.name.lower()
            for home in (self, self.rings, self.sharing):
                handler = getattr(home, name, None)
                if handler is not None:
                    handlers[request] = handler
        self._handlers = handlers

    def _end_session(self) -> None:
        self.rings.close()
        self.sharing.close()
        for connection in (self.main, self.backend_channel):
            if connection is not None:
                connection.close()
        self.main = self.backend_channel = None

    def _report(self, sentence: str) -> None:
        self.trouble.append(sentence)
        if self._log is not None:
            self._log(sentence)

    # -- messages --------------------------------------------------------------------------------------------------

    def _dispatch(self, main: Connection, message: Message) -> None:
        name = name_of(message.id)
        acknowledge = message.needs_reply and self.agreed.protocol(ProtocolFeature.REPLY_ACK)
        answer: Answer | None = None
        failed = 0
        try:
            if message.flags & ~NEED_REPLY != VERSION:
                raise Refused(f"flags are 0x{message.flags:x}")
            if message.id not in self._handlers:
                raise Refused("this back-end does not know it")
            answer = self._handlers[message.id](message)
        except (Refused, ValueError, RingError, OSError) as error:
            self._report(f"{name}: {error}")
            if not acknowledge or message.id in _ANSWERED:
                raise PeerError(f"{name}: {error}") from None
            failed = 1
        if answer is not None:
            main.send(message.id, answer.payload, answer.fds, VERSION | REPLY)
        elif acknowledge:
            main.send(message.id, U64.pack(failed), flags=VERSION | REPLY)

    def get_features(self, message: Message) -> Answer:
        expect(message, 0)
        return Answer(U64.pack(self.offered))

    def set_features(self, message: Message) -> None:
        word = u64(message)
        if word & ~self.offered:
            raise Refused(f"bits 0x{word & ~self.offered:x} were not offered")
        self.agreed.features = word
        if not has(word, Feature.PROTOCOL_FEATURES):
            self.rings.enable_all()

    def set_owner(self, message: Message) -> None:
        expect(message, 0)

    def reset_owner(self, message: Message) -> None:
        self.reset_device(message)

    def reset_device(self, message: Message) -> None:
        expect(message, 0)
        self.rings.reset()
        self.status = 0

    def get_protocol_features(self, message: Message) -> Answer:
        expect(message, 0)
        return Answer(U64.pack(self.offered_protocol))

    def set_protocol_features(self, message: Message) -> None:
        word = u64(message)
        if word & ~self.offered_protocol:
            raise Refused(f"protocol bits 0x{word & ~self.offered_protocol:x} were not offered")
        self.agreed.protocol_features = word

    def get_queue_num(self, message: Message) -> Answer:
        expect(message, 0)
        return Answer(U64.pack(self.queues))

    def get_max_mem_slots(self, message: Message) -> Answer:
        expect(message, 0)
        return Answer(U64.pack(MEM_SLOTS))

    def get_status(self, message: Message) -> Answer:
        expect(message, 0)
        return Answer(U64.pack(self.status))

    def set_status(self, message: Message) -> None:
        status = u64(message)
        if status > 0xFF:
            raise Refused(f"0x{status:x} is no virtio status")
        if status == 0:
            self.rings.reset()
        self.status = status

    def set_backend_req_fd(self, message: Message) -> None:
        expect(message, 0, fds=1)
        sock = socket.socket(fileno=message.fds[0].fileno())  # OSError if it is none: still ours to close then
        message.fds[0].take()
        self._drop_channel()
        self.backend_channel = Connection(sock, self.timeout_s)

    # -- configuration ---------------------------------------------------------------------------------------------

    def get_config(self, message: Message) -> Answer:
        offset, length = _config_range(message)
        space = self.disk.config(self.queues)
        if offset + length > CONFIG_SIZE:
            self._report(f"GET_CONFIG: bytes {offset} to {offset + length} of {CONFIG_SIZE}")
            return Answer(b"")  # how the specification says no
        return Answer(message.payload[: CONFIG.size] + space[offset : offset + length])

    def set_config(self, message: Message) -> None:
        offset, length = _config_range(message)
        if (offset, length) != (WRITEBACK_AT, 1):
            raise Refused(f"bytes {offset} to {offset + length} can't be written")
        self.disk.writeback = bool(message.payload[CONFIG.size])

    def _resize_if_wanted(self) -> None:
        if self.grow_after is not None and self.disk.requests >= self.grow_after:
            self.grow_after = None
            self._resize_to = self.disk.sectors * 2
        sectors, self._resize_to = self._resize_to, None
        if sectors is None:
            return
        self.disk.resize(sectors)
        channel = self.backend_channel
        if channel is not None and self.agreed.protocol(ProtocolFeature.CONFIG):
            wanted = NEED_REPLY if self.agreed.protocol(ProtocolFeature.REPLY_ACK) else 0
            try:
                channel.send(BackendRequest.CONFIG_CHANGE_MSG, flags=VERSION | wanted)
            except PeerError as error:
                self._report(f"back-end channel: {error}")
                self._drop_channel()

    def _backend_reply(self, channel: Connection) -> None:
        """The front-end answers a request of ours, or closes the channel."""
        try:
            reply = channel.receive()
        except PeerError as error:
            self._report(f"back-end channel: {error}")
            reply = None
        if reply is None:
            self._drop_channel()
            return
        reply.close()
        if reply.id != BackendRequest.CONFIG_CHANGE_MSG or not reply.is_reply or len(reply.payload) != U64.size:
            self._report(f"back-end channel: message {reply.id} with flags 0x{reply.flags:x} answers nothing")
            self._drop_channel()
            return
        value = U64.unpack(reply.payload)[0]
        self.config_acks.append(value)
        if value:
            self._report(f"CONFIG_CHANGE_MSG: the front-end refused it ({value})")

    def _drop_channel(self) -> None:
        if self.backend_channel is not None:
            self.backend_channel.close()
            self.backend_channel = None


def _config_range(message: Message) -> tuple[int, int]:
    if len(message.payload) < CONFIG.size:
        raise Refused(f"the payload has {len(message.payload)} bytes")
    offset, length, _ = CONFIG.unpack_from(message.payload)
    expect(message, CONFIG.size + length)
    return offset, length


@contextlib.contextmanager
def serving(back_end: BackEnd, sock: socket.socket) -> Iterator[BackEnd]:
    """Serve one connection in a thread while the block runs; ends and closes the back-end behind it.

    What made the back-end give up the session is in ``back_end.trouble``.
    """

    def run() -> None:
        try:
            back_end.serve(sock)
        except PeerError as error:
            back_end.trouble.append(str(error))

    thread = threading.Thread(target=run, name="back-end")
    thread.start()
    try:
        yield back_end
    finally:
        back_end.stop()
        thread.join(back_end.timeout_s)
        if thread.is_alive():
            raise PeerError("the back-end does not end")
        back_end.close()


def main(argv: list[str] | None = None) -> int:
    """``python3 -m vhostspy.demo.back_end``; exit status 0, or 3 if a session went wrong."""
    from .processes import back_end_main

    return back_end_main(argv)


if __name__ == "__main__":
    sys.exit(main())
