"""A vhost-user back-end that serves a virtio block device from memory.

One process, one thread, one poll over the front-end's socket, the back-end channel and the kicks. Nothing here waits
for an answer, so the front-end may do what it likes between a request of ours and its acknowledgement.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .block import CONFIG_SIZE, WRITEBACK_AT, Disk
from .inflight import InflightRegion
from .memory import REGION, GuestMemory, Place, Region, RingError
from .numbers import NEED_REPLY, NOFD, REPLY, VERSION, BackendRequest, Feature, ProtocolFeature, Request, bits, has
from .numbers import request_name as name_of
from .payloads import ADDRESS, CONFIG, INFLIGHT, STATE
from .vring import Addresses, Chain, DeviceRing
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
MEM_SLOTS = 32
#: a page of the dirty log, in bytes
_LOG_PAGE = 4096
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


class Refused(Exception):
    """A request that is not carried out; the text says why. Acknowledged as failed, or else the session ends."""


class Answer(NamedTuple):
    """A body for the answer; ``fds`` are lent."""

    payload: bytes
    fds: tuple[int, ...] = ()


class Vring:
    """What the front-end has told about one ring. Owns the ring's descriptors."""

    def __init__(self) -> None:
        self.size = 0
        self.base = 0
        self.addresses: Addresses | None = None
        self.log_address: int | None = None
        self.started = False
        self.enabled = False
        self.polled = False
        self.fds: dict[str, OwnedFd] = {}
        #: made when the ring starts; None while it does not run
        self.ring: DeviceRing | None = None

    def keep(self, role: str, fd: OwnedFd | None) -> None:
        """Put a descriptor (or none) in place of the one kept for ``role``."""
        old = self.fds.pop(role, None)
        if old is not None:
            old.close()
        if fd is not None:
            self.fds[role] = OwnedFd(fd.take())

    def stop(self) -> int:
        """Where the ring is; it needs its kick and call again afterwards."""
        if self.ring is not None:
            self.base = self.ring.next_available
            self.ring = None
        self.started = self.polled = False
        self.keep("kick", None)
        self.keep("call", None)
        return self.base

    def close(self) -> None:
        self.stop()
        self.keep("err", None)


class BackEnd:
    """A device that outlives its connections: ``serve`` takes one connection after the other, the disk stays.

    Only ``stop``, ``resize`` and ``wait_idle`` may be called from another thread than ``serve``.
    """

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
        self._handlers: dict[int, Callable[[Message], Answer | None]] = {
            request: getattr(self, f"_{request.name.lower()}") for request in Request
        }
        self.main: Connection | None = None
        self.backend_channel: Connection | None = None
        self.memory = GuestMemory()
        self.rings: list[Vring] = []
        self.inflight: InflightRegion | None = None
        self.log_map: mmap.mmap | None = None
        self.features = self.protocol_features = self.status = 0

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
        self.rings = [Vring() for _ in range(self.queues)]
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
        kicks = {}
        for index, vring in enumerate(self.rings):
            if vring.ring is not None and "kick" in vring.fds:
                kicks[vring.fds["kick"].fileno()] = index
                poll.register(vring.fds["kick"].fileno(), select.POLLIN)
        polled = [index for index, vring in enumerate(self.rings) if vring.polled and vring.ring is not None]
        if polled:
            timeout_s = 0.001  # a ring without a kick has to be looked at again and again
        ready = dict(poll.poll(None if timeout_s is None else timeout_s * 1000))
        # kicks first: a request before GET_VRING_BASE is carried out before it, as the front-end expects
        for index in polled:
            self._process(index)
        for fd, index in kicks.items():
            if fd in ready:
                self._kicked(index, ready[fd])
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

    def _end_session(self) -> None:
        for vring in self.rings:
            vring.close()
        self.rings = []
        self.memory.clear()
        self._set_inflight(None)
        self._set_log(None)
        for connection in (self.main, self.backend_channel):
            if connection is not None:
                connection.close()
        self.main = self.backend_channel = None
        self.features = self.protocol_features = self.status = 0

    def _report(self, sentence: str) -> None:
        self.trouble.append(sentence)
        if self._log is not None:
            self._log(sentence)

    # -- messages --------------------------------------------------------------------------------------------------

    def _agreed(self, bit: int) -> bool:
        return has(self.protocol_features, bit)

    def _dispatch(self, main: Connection, message: Message) -> None:
        name = name_of(message.id)
        acknowledge = message.needs_reply and self._agreed(ProtocolFeature.REPLY_ACK)
        answer: Answer | None = None
        failed = 0
        try:
            if message.flags & ~NEED_REPLY != VERSION:
                raise Refused(f"flags are 0x{message.flags:x}")
            if message.id not in self._handlers:
                raise Refused("this back-end does not know it")
            answer = self._handlers[message.id](message)
        except (Refused, ValueError, RingError) as error:
            self._report(f"{name}: {error}")
            if not acknowledge or message.id in _ANSWERED:
                raise PeerError(f"{name}: {error}") from None
            failed = 1
        if answer is not None:
            main.send(message.id, answer.payload, answer.fds, VERSION | REPLY)
        elif acknowledge:
            main.send(message.id, U64.pack(failed), flags=VERSION | REPLY)

    def _get_features(self, message: Message) -> Answer:
        _expect(message, 0)
        return Answer(U64.pack(self.offered))

    def _set_features(self, message: Message) -> None:
        word = _u64(message)
        if word & ~self.offered:
            raise Refused(f"bits 0x{word & ~self.offered:x} were not offered")
        self.features = word
        if not has(word, Feature.PROTOCOL_FEATURES):
            for vring in self.rings:
                vring.enabled = True

    def _set_owner(self, message: Message) -> None:
        _expect(message, 0)

    def _reset_owner(self, message: Message) -> None:
        self._reset_device(message)

    def _reset_device(self, message: Message) -> None:
        _expect(message, 0)
        self._reset_rings()

    def _reset_rings(self) -> None:
        for vring in self.rings:
            vring.stop()
            vring.enabled = False
            vring.base = 0
        self.status = 0

    def _get_protocol_features(self, message: Message) -> Answer:
        _expect(message, 0)
        return Answer(U64.pack(self.offered_protocol))

    def _set_protocol_features(self, message: Message) -> None:
        word = _u64(message)
        if word & ~self.offered_protocol:
            raise Refused(f"protocol bits 0x{word & ~self.offered_protocol:x} were not offered")
        self.protocol_features = word

    def _get_queue_num(self, message: Message) -> Answer:
        _expect(message, 0)
        return Answer(U64.pack(self.queues))

    def _get_max_mem_slots(self, message: Message) -> Answer:
        _expect(message, 0)
        return Answer(U64.pack(MEM_SLOTS))

    def _get_status(self, message: Message) -> Answer:
        _expect(message, 0)
        return Answer(U64.pack(self.status))

    def _set_status(self, message: Message) -> None:
        status = _u64(message)
        if status > 0xFF:
            raise Refused(f"0x{status:x} is no virtio status")
        if status == 0:
            self._reset_rings()
        self.status = status

    def _set_backend_req_fd(self, message: Message) -> None:
        _expect(message, 0, fds=1)
        if self.backend_channel is not None:
            self.backend_channel.close()
        self.backend_channel = Connection(socket.socket(fileno=message.fds[0].take()), self.timeout_s)

    # -- configuration ---------------------------------------------------------------------------------------------

    def _get_config(self, message: Message) -> Answer:
        offset, length = _config_range(message)
        space = self.disk.config(self.queues)
        if offset + length > CONFIG_SIZE:
            self._report(f"GET_CONFIG: bytes {offset} to {offset + length} of {CONFIG_SIZE}")
            return Answer(b"")  # how the specification says no
        return Answer(message.payload[: CONFIG.size] + space[offset : offset + length])

    def _set_config(self, message: Message) -> None:
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
        if self.backend_channel is not None and self._agreed(ProtocolFeature.CONFIG):
            wanted = NEED_REPLY if self._agreed(ProtocolFeature.REPLY_ACK) else 0
            self.backend_channel.send(BackendRequest.CONFIG_CHANGE_MSG, flags=VERSION | wanted)

    def _backend_reply(self, channel: Connection) -> None:
        """The front-end answers a request of ours, or closes the channel."""
        reply = channel.receive()
        if reply is None:
            channel.close()
            self.backend_channel = None
            return
        reply.close()
        if reply.id != BackendRequest.CONFIG_CHANGE_MSG or not reply.is_reply or len(reply.payload) != U64.size:
            raise PeerError(f"back-end channel: message {reply.id} with flags 0x{reply.flags:x} answers nothing")
        value = U64.unpack(reply.payload)[0]
        self.config_acks.append(value)
        if value:
            self._report(f"CONFIG_CHANGE_MSG: the front-end refused it ({value})")

    # -- memory ----------------------------------------------------------------------------------------------------

    def _set_mem_table(self, message: Message) -> None:
        if len(message.payload) < 8:
            raise Refused(f"the payload has {len(message.payload)} bytes")
        count = struct.unpack_from("=I", message.payload)[0]
        if not 0 < count <= 8 or len(message.payload) < 8 + count * REGION.size or len(message.fds) != count:
            raise Refused(f"{count} regions in {len(message.payload)} bytes with {len(message.fds)} descriptors")
        self.memory.clear()
        for number in range(count):
            place = Place(*REGION.unpack_from(message.payload, 8 + number * REGION.size))
            self.memory.add(Region(message.fds[number].fileno(), place))

    def _add_mem_reg(self, message: Message) -> None:
        _expect(message, 8 + REGION.size, fds=1)
        if len(self.memory.regions) >= MEM_SLOTS:
            raise Refused(f"all {MEM_SLOTS} memory slots are taken")
        place = Place(*REGION.unpack_from(message.payload, 8))
        self.memory.add(Region(message.fds[0].fileno(), place))

    def _rem_mem_reg(self, message: Message) -> None:
        _expect(message, 8 + REGION.size)
        self.memory.remove(Place(*REGION.unpack_from(message.payload, 8)))

    def _set_log_base(self, message: Message) -> Answer | None:
        if not self._agreed(ProtocolFeature.LOG_SHMFD):
            return None
        _expect(message, 16, fds=1)
        size, offset = struct.unpack("=QQ", message.payload)
        fd = message.fds[0].fileno()
        if not size or offset % mmap.ALLOCATIONGRANULARITY or offset + size > os.fstat(fd).st_size:
            raise Refused(f"a log of {size} bytes at {offset} of its file can't be mapped")
        self._set_log(mmap.mmap(fd, size, offset=offset))
        return Answer(U64.pack(0))

    def _set_log_fd(self, message: Message) -> None:
        _expect(message, 0, fds=1)  # not used: the log is looked at, nobody waits for a signal

    def _set_log(self, log: mmap.mmap | None) -> None:
        if self.log_map is not None:
            self.log_map.close()
        self.log_map = log

    def _mark_dirty(self, guest_address: int, length: int) -> None:
        if self.log_map is None or not length or not has(self.features, Feature.LOG_ALL):
            return
        for page in range(guest_address // _LOG_PAGE, (guest_address + length - 1) // _LOG_PAGE + 1):
            if page // 8 < len(self.log_map):
                self.log_map[page // 8] |= 1 << page % 8

    def _get_inflight_fd(self, message: Message) -> Answer:
        _expect(message, INFLIGHT.size)
        queues, size = INFLIGHT.unpack(message.payload)[2:]
        if not 0 < queues <= self.queues or not 0 < size <= 32768:
            raise Refused(f"{queues} queues of {size} entries")
        self._set_inflight(InflightRegion.make(queues, size))
        region = self.inflight
        if region is None:
            raise Refused("no in-flight region")
        return Answer(INFLIGHT.pack(region.size_bytes, 0, queues, size), (region.fileno(),))

    def _set_inflight_fd(self, message: Message) -> None:
        _expect(message, INFLIGHT.size, fds=1)
        size_bytes, offset, queues, size = INFLIGHT.unpack(message.payload)
        self._set_inflight(InflightRegion(OwnedFd(message.fds[0].take()), size_bytes, offset, queues, size))

    def _set_inflight(self, region: InflightRegion | None) -> None:
        if self.inflight is not None:
            self.inflight.close()
        self.inflight = region

    # -- rings -----------------------------------------------------------------------------------------------------

    def _vring(self, index: int) -> Vring:
        if index >= len(self.rings):
            raise Refused(f"there is no ring {index}, only {len(self.rings)}")
        return self.rings[index]

    def _state(self, message: Message) -> tuple[Vring, int]:
        _expect(message, STATE.size)
        index, value = STATE.unpack(message.payload)
        return self._vring(index), value

    def _stopped(self, vring: Vring) -> None:
        if vring.started:
            raise Refused("the ring is running")

    def _set_vring_num(self, message: Message) -> None:
        vring, size = self._state(message)
        self._stopped(vring)
        if not 0 < size <= 32768 or size & (size - 1):
            raise Refused(f"a split ring can't have {size} entries")
        vring.size = size

    def _set_vring_base(self, message: Message) -> None:
        vring, base = self._state(message)
        self._stopped(vring)
        if base > 0xFFFF:
            raise Refused(f"a split ring's base can't be {base}")
        vring.base = base

    def _set_vring_addr(self, message: Message) -> None:
        _expect(message, ADDRESS.size)
        index, flags, descriptors, used, available, log = ADDRESS.unpack(message.payload)
        vring = self._vring(index)
        addresses = Addresses(descriptors, available, used)
        if vring.ring is not None and addresses != vring.addresses:
            raise Refused("the ring is running; only its log flag may change")
        vring.addresses = addresses
        vring.log_address = log if flags & 1 else None

    def _get_vring_base(self, message: Message) -> Answer:
        vring, _ = self._state(message)
        index = self.rings.index(vring)
        if vring.enabled:
            self._process(index)  # what was offered before is still carried out
        return Answer(STATE.pack(index, vring.stop()))

    def _vring_fd(self, message: Message, role: str) -> Vring:
        """Keep the descriptor of KICK, CALL or ERR, or its absence."""
        word = _u64(message, fds=None)
        vring = self._vring(word & 0xFF)
        if len(message.fds) != (0 if word & NOFD else 1):
            raise Refused(f"it came with {len(message.fds)} descriptors")
        vring.keep(role, message.fds[0] if message.fds else None)
        return vring

    def _set_vring_kick(self, message: Message) -> None:
        vring = self._vring_fd(message, "kick")
        vring.polled = "kick" not in vring.fds
        if not vring.started:
            if not vring.size or vring.addresses is None:
                vring.keep("kick", None)
                raise Refused("the ring has no size or no addresses yet")
            vring.ring = DeviceRing(self.memory, vring.size, vring.addresses, vring.base)
            vring.started = True
            self._resubmit(self.rings.index(vring))
        self._process(self.rings.index(vring))

    def _set_vring_call(self, message: Message) -> None:
        self._vring_fd(message, "call")

    def _set_vring_err(self, message: Message) -> None:
        self._vring_fd(message, "err")

    def _set_vring_enable(self, message: Message) -> None:
        vring, on = self._state(message)
        if on > 1:
            raise Refused(f"{on} is neither 0 nor 1")
        vring.enabled = bool(on)
        self._process(self.rings.index(vring))

    def _kicked(self, index: int, events: int) -> None:
        kick = self.rings[index].fds["kick"]
        if events & select.POLLIN:
            with contextlib.suppress(BlockingIOError):
                os.read(kick.fileno(), 8)
        else:  # its other end is gone, and poll would report that for ever
            self.rings[index].keep("kick", None)
        self._process(index)

    def _process(self, index: int) -> None:
        """Carry out all that is available in a running ring, then signal once."""
        vring = self.rings[index]
        ring = vring.ring
        if ring is None or not vring.enabled:
            return
        served = False
        try:
            while (chain := ring.fetch()) is not None:
                self._serve_chain(index, ring, chain)
                served = True
        except RingError as error:
            self._report(f"ring {index}: {error}; it stands still now")
            vring.ring = None
            _signal(vring.fds.get("err"))
        if served:
            _signal(vring.fds.get("call"))

    def _resubmit(self, index: int) -> None:
        """Carry out what a predecessor had fetched but not given back, as the in-flight region says."""
        vring = self.rings[index]
        ring = vring.ring
        if ring is None or self.inflight is None:
            return
        heads = self.inflight.unfinished(index, ring.used_index())
        try:
            for head in heads:
                self._serve_chain(index, ring, ring.chain(head))
        except RingError as error:
            raise Refused(f"in-flight chain: {error}") from None
        if heads:
            # the front-end gave the used index as base; what was in flight comes before what is available now
            ring.next_available = (ring.next_available + len(heads)) & 0xFFFF
            _signal(vring.fds.get("call"))

    def _serve_chain(self, index: int, ring: DeviceRing, chain: Chain) -> None:
        if self.inflight is not None:
            self.inflight.fetched(index, chain.head)
        written = self.disk.serve(self.memory, chain)
        for address, length in chain.writable:
            self._mark_dirty(address, length)
        used = ring.complete(chain.head, written)
        log_address = self.rings[index].log_address
        if log_address is not None:
            self._mark_dirty(log_address, 6 + 8 * ring.size)
        if self.inflight is not None:
            self.inflight.finished(index, chain.head, used)


def _expect(message: Message, size: int, fds: int | None = 0) -> None:
    if len(message.payload) != size:
        raise Refused(f"the payload has {len(message.payload)} bytes, the message has {size}")
    if fds is not None and len(message.fds) != fds:
        raise Refused(f"it came with {len(message.fds)} descriptors instead of {fds}")


def _u64(message: Message, fds: int | None = 0) -> int:
    _expect(message, U64.size, fds)
    return int(U64.unpack(message.payload)[0])


def _config_range(message: Message) -> tuple[int, int]:
    if len(message.payload) < CONFIG.size:
        raise Refused(f"the payload has {len(message.payload)} bytes")
    offset, length, _ = CONFIG.unpack_from(message.payload)
    _expect(message, CONFIG.size + length)
    return offset, length


def _signal(fd: OwnedFd | None) -> None:
    """Write to a call or err descriptor unless that would block."""
    if fd is None:
        return
    poll = select.poll()
    poll.register(fd.fileno(), select.POLLOUT)
    if any(events & select.POLLOUT for _, events in poll.poll(0)):
        with contextlib.suppress(OSError):  # whatever the front-end gave us: it is its loss
            os.write(fd.fileno(), struct.pack("=Q", 1))


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
