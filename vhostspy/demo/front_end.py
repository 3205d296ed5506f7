"""A vhost-user front-end with a block driver, in QEMU's order of messages.

Each message has a method that does that one step, so a test can leave the usual order, leave a step out, or put octets
of its own on the wire (``front_end.main.send_octets``). ``negotiate``, ``start`` and ``stop`` are the usual orders.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Sequence

from . import block
from .conversation import Conversation, NeedReply
from .driver import Done
from .guest import Guest, Ring
from .memory import GuestMemory, Place
from .numbers import NOFD, Feature, ProtocolFeature, Request, bits, has
from .payloads import ADDRESS, CONFIG, INFLIGHT, STATE
from .wire import TIMEOUT_S, U64, Connection, OwnedFd, PeerError

#: all virtio and protocol features this front-end can use
FEATURES = bits(
    Feature.BLK_SEG_MAX,
    Feature.BLK_BLK_SIZE,
    Feature.BLK_FLUSH,
    Feature.BLK_CONFIG_WCE,
    Feature.BLK_MQ,
    Feature.INDIRECT_DESC,
    Feature.PROTOCOL_FEATURES,
    Feature.VERSION_1,
)
PROTOCOL_FEATURES = bits(*ProtocolFeature)

# virtio status bits
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8


class FrontEnd(Conversation):
    """Owns the socket, the guest memory and all descriptors it makes; ``close`` (or ``with``) gives all back.

    ``features``, ``protocol_features`` and ``config`` say what was agreed on and read. Every wait ends after
    ``timeout_s`` with PeerError.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        queues: int = 1,
        queue_size: int = 64,
        region_sizes: Sequence[int] = (1 << 20, 1 << 20),
        features: int = FEATURES,
        protocol_features: int = PROTOCOL_FEATURES,
        need_reply: NeedReply = "qemu",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        super().__init__(sock, need_reply, timeout_s)
        self.wanted_features = features
        self.wanted_protocol_features = protocol_features
        self.queue_size = queue_size
        #: what the back-end offered, and what of it was set
        self.offered = self.features = 0
        self.config = b""
        #: the back-end's in-flight region with its description, to be given back after a reconnect
        self.inflight: tuple[OwnedFd, bytes] | None = None
        try:
            self.guest = Guest(queues, queue_size, region_sizes)
        except BaseException:
            super().close()
            raise

    @property
    def memory(self) -> GuestMemory:
        return self.guest.memory

    @property
    def rings(self) -> list[Ring]:
        return self.guest.rings

    def __enter__(self) -> FrontEnd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the session from this side. May be called twice."""
        super().close()
        self.guest.close()
        if self.inflight is not None:
            self.inflight[0].close()
            self.inflight = None

    def reconnect(self, sock: socket.socket) -> None:
        """Go on over a new connection with the same memory, rings and in-flight region; negotiate again after it."""
        self._earlier_messages += self.main.sent + self.main.received
        self.main.close()
        self.close_backend_channel()
        self.main = Connection(sock, self.timeout_s)
        self.features = self.protocol_features = 0

    # -- the usual orders ------------------------------------------------------------------------------------------

    def negotiate(self) -> None:
        """Everything before memory and rings: features, back-end channel, ownership, configuration."""
        self.get_features()
        if has(self.offered, Feature.PROTOCOL_FEATURES):
            self.set_protocol_features(self.get_protocol_features() & self.wanted_protocol_features)
        if self.agreed(ProtocolFeature.MQ):
            most = self.get_queue_num()
            if most < len(self.rings):
                raise PeerError(f"the back-end has {most} queues, {len(self.rings)} are needed")
        if self.agreed(ProtocolFeature.CONFIGURE_MEM_SLOTS):
            self.get_max_mem_slots()
        if self.agreed(ProtocolFeature.BACKEND_REQ):
            self.set_backend_req_fd()
        self.set_owner()
        self.get_features()
        for index in range(len(self.rings)):
            self.set_vring_call(index)
            self.set_vring_err(index)
        if self.agreed(ProtocolFeature.CONFIG):
            self.read_config()

    def start(self) -> None:
        """Hand over memory and rings and let them run."""
        if self.agreed(ProtocolFeature.INFLIGHT_SHMFD):
            if self.inflight is None:
                self.get_inflight_fd()
            self.set_inflight_fd()
        self.set_features(self.offered & self.wanted_features)
        if self.agreed(ProtocolFeature.STATUS):
            self.set_status(self.get_status() | FEATURES_OK)
        self.share_memory()
        for index in range(len(self.rings)):
            self.start_ring(index)
        for index in range(len(self.rings)):
            if has(self.features, Feature.PROTOCOL_FEATURES):
                self.set_vring_enable(index, True)
        if self.agreed(ProtocolFeature.STATUS):
            self.set_status(self.get_status() | ACKNOWLEDGE | DRIVER | DRIVER_OK)

    def share_memory(self) -> None:
        """ADD_MEM_REG for each region where slots were agreed on, else SET_MEM_TABLE."""
        if self.agreed(ProtocolFeature.CONFIGURE_MEM_SLOTS):
            for region in self.memory.regions:
                self.add_mem_reg(region.place)
        else:
            self.set_mem_table()

    def start_ring(self, index: int) -> None:
        self.set_vring_num(index)
        self.set_vring_base(index)
        self.set_vring_addr(index)
        self.set_vring_kick(index)
        self.kick(index)  # as QEMU does, for back-ends that start a ring at its first kick
        self.set_vring_call(index)

    def stop(self) -> list[int]:
        """Stop the rings; where each one was, as GET_VRING_BASE told."""
        if has(self.features, Feature.PROTOCOL_FEATURES):
            for index in range(len(self.rings)):
                self.set_vring_enable(index, False)
        bases = [self.get_vring_base(index) for index in range(len(self.rings))]
        if self.agreed(ProtocolFeature.STATUS):
            self.set_status(0)
        return bases

    # -- one message each ------------------------------------------------------------------------------------------

    def get_features(self) -> int:
        self.offered = self.ask_u64(Request.GET_FEATURES)
        return self.offered

    def set_features(self, word: int) -> None:
        self.tell(Request.SET_FEATURES, U64.pack(word))
        self.features = word
        for ring in self.rings:
            ring.queue.indirect = has(word, Feature.INDIRECT_DESC)

    def get_protocol_features(self) -> int:
        return self.ask_u64(Request.GET_PROTOCOL_FEATURES)

    def set_protocol_features(self, word: int) -> None:
        self.tell(Request.SET_PROTOCOL_FEATURES, U64.pack(word))
        self.protocol_features = word

    def get_queue_num(self) -> int:
        return self.ask_u64(Request.GET_QUEUE_NUM)

    def get_max_mem_slots(self) -> int:
        return self.ask_u64(Request.GET_MAX_MEM_SLOTS)

    def set_owner(self) -> None:
        self.tell(Request.SET_OWNER)

    def reset_owner(self) -> None:
        self.tell(Request.RESET_OWNER)

    def reset_device(self) -> None:
        self.tell(Request.RESET_DEVICE)

    def get_status(self) -> int:
        return self.ask_u64(Request.GET_STATUS)

    def set_status(self, status: int) -> None:
        self.tell(Request.SET_STATUS, U64.pack(status))

    def set_backend_req_fd(self) -> None:
        """Give the back-end one end of a new socket for its own requests; an older one is closed."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self.close_backend_channel()
            self.backend_channel = Connection(ours, self.timeout_s)
            self.tell(Request.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])

    def get_config(self, offset: int = 0, length: int = block.CONFIG_SIZE) -> bytes | None:
        """Bytes of the configuration space, or None if the back-end refuses (empty payload, or length 0)."""
        request = CONFIG.pack(offset, length, 0) + bytes(length)
        reply = self.ask(Request.GET_CONFIG, request)
        return reply[CONFIG.size :] if len(reply) == len(request) else None

    def read_config(self) -> None:
        """Read the whole configuration space into ``config``."""
        config = self.get_config()
        if config is None:
            raise PeerError("the back-end gives no configuration")
        self.config = config

    @property
    def capacity(self) -> int:
        """Sectors of the disk, as the configuration read last says."""
        return int.from_bytes(self.config[:8], "little")

    def set_config(self, offset: int, data: bytes, flags: int = 0) -> None:
        self.tell(Request.SET_CONFIG, CONFIG.pack(offset, len(data), flags) + data)

    def get_inflight_fd(self) -> None:
        """Let the back-end make an in-flight region; kept in ``inflight``."""
        with_fds = self.ask_message(Request.GET_INFLIGHT_FD, INFLIGHT.pack(0, 0, len(self.rings), self.queue_size))
        if len(with_fds.fds) != 1 or len(with_fds.payload) != INFLIGHT.size:
            with_fds.close()
            raise PeerError(f"GET_INFLIGHT_FD was answered with {len(with_fds.fds)} descriptors")
        if self.inflight is not None:
            self.inflight[0].close()
        self.inflight = with_fds.fds[0], with_fds.payload

    def set_inflight_fd(self) -> None:
        if self.inflight is None:
            raise ValueError("there is no in-flight region yet")
        self.tell(Request.SET_INFLIGHT_FD, self.inflight[1], [self.inflight[0].fileno()])

    def set_mem_table(self) -> None:
        places = [region.place for region in self.memory.regions]
        payload = struct.pack("=II", len(places), 0) + b"".join(place.packed() for place in places)
        self.tell(Request.SET_MEM_TABLE, payload, [self.guest.memory_fd.fileno()] * len(places))

    def add_mem_reg(self, place: Place) -> None:
        self.tell(Request.ADD_MEM_REG, bytes(8) + place.packed(), [self.guest.memory_fd.fileno()])

    def rem_mem_reg(self, place: Place) -> None:
        self.tell(Request.REM_MEM_REG, bytes(8) + place._replace(mmap_offset=0).packed())

    def set_log_base(self, fd: int, size: int, offset: int = 0) -> None:
        """Share a dirty log. ``fd`` is lent."""
        payload = struct.pack("=QQ", size, offset)
        if self.agreed(ProtocolFeature.LOG_SHMFD):
            self.ask(Request.SET_LOG_BASE, payload, [fd])
        else:
            self.tell(Request.SET_LOG_BASE, payload)

    def set_vring_num(self, index: int) -> None:
        self.tell(Request.SET_VRING_NUM, STATE.pack(index, self.queue_size))

    def set_vring_base(self, index: int, base: int | None = None) -> None:
        """``base`` None: where the driver's ring is."""
        if base is None:
            base = self.rings[index].queue.ring.used_index()
        self.tell(Request.SET_VRING_BASE, STATE.pack(index, base))

    def get_vring_base(self, index: int) -> int:
        reply = self.ask(Request.GET_VRING_BASE, STATE.pack(index, 0))
        if len(reply) != STATE.size or STATE.unpack(reply)[0] != index:
            raise PeerError(f"GET_VRING_BASE of ring {index} was answered with {reply.hex() or 'nothing'}")
        return int(STATE.unpack(reply)[1])

    def set_vring_addr(self, index: int, flags: int = 0, log: int = 0) -> None:
        at = self.rings[index].queue.ring.addresses
        # the wire has used before available
        self.tell(Request.SET_VRING_ADDR, ADDRESS.pack(index, flags, at.descriptors, at.used, at.available, log))

    def set_vring_kick(self, index: int, nofd: bool = False) -> None:
        self._set_vring_fd(Request.SET_VRING_KICK, index, self.rings[index].kick, nofd)

    def set_vring_call(self, index: int, nofd: bool = False) -> None:
        self._set_vring_fd(Request.SET_VRING_CALL, index, self.rings[index].call, nofd)

    def set_vring_err(self, index: int, nofd: bool = False) -> None:
        self._set_vring_fd(Request.SET_VRING_ERR, index, self.rings[index].err, nofd)

    def _set_vring_fd(self, request: Request, index: int, fd: OwnedFd, nofd: bool) -> None:
        self.tell(request, U64.pack(index | (NOFD if nofd else 0)), [] if nofd else [fd.fileno()])

    def set_vring_enable(self, index: int, on: bool) -> None:
        self.tell(Request.SET_VRING_ENABLE, STATE.pack(index, on))

    def wait_config_change(self, seen: int = 0) -> None:
        """Until the back-end has announced more than ``seen`` changes in all; then ``config`` is read again."""
        deadline = time.monotonic() + self.timeout_s
        while self.config_changes <= seen:
            if self.backend_channel is None or time.monotonic() > deadline:
                raise PeerError("the back-end announced no change of its configuration")
            self.poll_once([], (deadline - time.monotonic()) * 1000)
        self.read_config()

    # -- the disk --------------------------------------------------------------------------------------------------

    def kick(self, index: int = 0) -> None:
        os.eventfd_write(self.rings[index].kick.fileno(), 1)

    def wait_call(self, index: int = 0) -> None:
        """Until the device has signalled this ring; the signal is taken."""
        call = self.rings[index].call.fileno()
        self.wait_readable(call, f"ring {index}")
        os.eventfd_read(call)

    def take_done(self, count: int, index: int = 0) -> list[Done]:
        """Wait until ``count`` requests have come back."""
        queue = self.rings[index].queue
        done: list[Done] = []
        while len(done) < count:
            one = queue.take()
            if one is None:
                self.wait_call(index)
            else:
                done.append(one)
        return done

    def request(self, kind: int, sector: int = 0, data: bytes = b"", length: int = 0, index: int = 0) -> Done:
        """One request, kicked and waited for."""
        self.rings[index].queue.offer(kind, sector, data, length)
        self.kick(index)
        return self.take_done(1, index)[0]

    def write(self, sector: int, data: bytes, index: int = 0) -> None:
        self._well(self.request(block.OUT, sector, data, index=index))

    def read(self, sector: int, sectors: int, index: int = 0) -> bytes:
        return self._well(self.request(block.IN, sector, length=sectors * block.SECTOR, index=index)).data

    def flush(self, index: int = 0) -> None:
        self._well(self.request(block.FLUSH, index=index))

    def get_id(self, index: int = 0) -> str:
        done = self._well(self.request(block.GET_ID, length=block.ID_SIZE, index=index))
        return done.data.split(b"\0")[0].decode("ascii", "backslashreplace")

    @staticmethod
    def _well(done: Done) -> Done:
        if done.status != block.OK:
            raise PeerError(f"the disk answered request {done.kind} at sector {done.sector} with status {done.status}")
        return done


def main(argv: list[str] | None = None) -> int:
    """``python3 -m vhostspy.demo.front_end``; exit status 0, or 3 if the session went wrong."""
    from .processes import front_end_main

    return front_end_main(argv)


if __name__ == "__main__":
    sys.exit(main())
