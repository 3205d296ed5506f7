"""The back-end's rings: what the front-end told about each, and carrying out what it makes available."""

from __future__ import annotations

import contextlib
import os
import select
import struct
from collections.abc import Callable

from .block import Disk
from .memory import RingError
from .numbers import NOFD
from .payloads import ADDRESS, STATE
from .requests import Answer, Refused, expect, u64
from .sharing import Sharing
from .vring import Addresses, Chain, DeviceRing
from .wire import Message, OwnedFd


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


class Rings:
    """All rings of a session. The handlers take a request each and raise Refused, ValueError or RingError."""

    def __init__(self, count: int, disk: Disk, sharing: Sharing, report: Callable[[str], None]) -> None:
        """``report`` is told when a ring has to stand still because of what its driver put there."""
        self.rings = [Vring() for _ in range(count)]
        self._disk = disk
        self._sharing = sharing
        self._report = report

    def close(self) -> None:
        for vring in self.rings:
            vring.close()

    def reset(self) -> None:
        for vring in self.rings:
            vring.stop()
            vring.enabled = False
            vring.base = 0

    def enable_all(self) -> None:
        for vring in self.rings:
            vring.enabled = True

    def kicks(self) -> dict[int, int]:
        """The kick descriptors to wait for -> their rings."""
        return {
            vring.fds["kick"].fileno(): index
            for index, vring in enumerate(self.rings)
            if vring.ring is not None and "kick" in vring.fds
        }

    def polled(self) -> list[int]:
        """The running rings without a kick, which have to be looked at again and again."""
        return [index for index, vring in enumerate(self.rings) if vring.polled and vring.ring is not None]

    def _vring(self, index: int) -> Vring:
        if index >= len(self.rings):
            raise Refused(f"there is no ring {index}, only {len(self.rings)}")
        return self.rings[index]

    def _state(self, message: Message) -> tuple[Vring, int]:
        expect(message, STATE.size)
        index, value = STATE.unpack(message.payload)
        return self._vring(index), value

    def _stopped(self, vring: Vring) -> None:
        if vring.started:
            raise Refused("the ring is running")

    def set_vring_num(self, message: Message) -> None:
        vring, size = self._state(message)
        self._stopped(vring)
        if not 0 < size <= 32768 or size & (size - 1):
            raise Refused(f"a split ring can't have {size} entries")
        vring.size = size

    def set_vring_base(self, message: Message) -> None:
        vring, base = self._state(message)
        self._stopped(vring)
        if base > 0xFFFF:
            raise Refused(f"a split ring's base can't be {base}")
        vring.base = base

    def set_vring_addr(self, message: Message) -> None:
        expect(message, ADDRESS.size)
        index, flags, descriptors, used, available, log = ADDRESS.unpack(message.payload)
        vring = self._vring(index)
        addresses = Addresses(descriptors, available, used)
        if vring.ring is not None and addresses != vring.addresses:
            raise Refused("the ring is running; only its log flag may change")
        vring.addresses = addresses
        vring.log_address = log if flags & 1 else None

    def get_vring_base(self, message: Message) -> Answer:
        vring, _ = self._state(message)
        index = self.rings.index(vring)
        if vring.enabled:
            self.process(index)  # what was offered before is still carried out
        return Answer(STATE.pack(index, vring.stop()))

    def _vring_fd(self, message: Message, role: str) -> Vring:
        """Keep the descriptor of KICK, CALL or ERR, or its absence."""
        word = u64(message, fds=None)
        vring = self._vring(word & 0xFF)
        if len(message.fds) != (0 if word & NOFD else 1):
            raise Refused(f"it came with {len(message.fds)} descriptors")
        vring.keep(role, message.fds[0] if message.fds else None)
        return vring

    def set_vring_kick(self, message: Message) -> None:
        vring = self._vring_fd(message, "kick")
        vring.polled = "kick" not in vring.fds
        if not vring.started:
            if not vring.size or vring.addresses is None:
                vring.keep("kick", None)
                raise Refused("the ring has no size or no addresses yet")
            vring.ring = DeviceRing(self._sharing.memory, vring.size, vring.addresses, vring.base)
            vring.started = True
            self._resubmit(self.rings.index(vring))
        self.process(self.rings.index(vring))

    def set_vring_call(self, message: Message) -> None:
        self._vring_fd(message, "call")

    def set_vring_err(self, message: Message) -> None:
        self._vring_fd(message, "err")

    def set_vring_enable(self, message: Message) -> None:
        vring, on = self._state(message)
        if on > 1:
            raise Refused(f"{on} is neither 0 nor 1")
        vring.enabled = bool(on)
        self.process(self.rings.index(vring))

    def kicked(self, index: int, events: int) -> None:
        """The kick of a ring is ready: take it, then look at the ring."""
        alive = bool(events & select.POLLIN)
        try:
            alive = alive and bool(os.read(self.rings[index].fds["kick"].fileno(), 8))
        except BlockingIOError:
            pass  # somebody else took it
        except OSError:
            alive = False
        if not alive:  # it was no eventfd, its other end is gone, and poll would report that for ever
            self.rings[index].keep("kick", None)
        self.process(index)

    def process(self, index: int) -> None:
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
            vring.base, vring.ring = ring.next_available, None
            _signal(vring.fds.get("err"))
        if served:
            _signal(vring.fds.get("call"))

    def _resubmit(self, index: int) -> None:
        """Carry out what a predecessor had fetched but not given back, as the in-flight region says."""
        vring = self.rings[index]
        ring = vring.ring
        if ring is None or self._sharing.inflight is None:
            return
        heads = self._sharing.inflight.unfinished(index, ring.used_index())
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
        if self._sharing.inflight is not None:
            self._sharing.inflight.fetched(index, chain.head)
        written = self._disk.serve(self._sharing.memory, chain)
        for address, length in chain.writable:
            self._sharing.mark_dirty(address, length)
        used = ring.complete(chain.head, written)
        log_address = self.rings[index].log_address
        if log_address is not None:
            self._sharing.mark_dirty(log_address, 6 + 8 * ring.size)
        if self._sharing.inflight is not None:
            self._sharing.inflight.finished(index, chain.head, used)


def _signal(fd: OwnedFd | None) -> None:
    """Write to a call or err descriptor unless that would block."""
    if fd is None:
        return
    poll = select.poll()
    poll.register(fd.fileno(), select.POLLOUT)
    if any(events & select.POLLOUT for _, events in poll.poll(0)):
        with contextlib.suppress(OSError):  # whatever the front-end gave us: it is its loss
            os.write(fd.fileno(), struct.pack("=Q", 1))
