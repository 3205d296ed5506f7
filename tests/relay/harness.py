"""A relay in a thread between real sockets, tagged descriptors, and receivers that read as real programs do.

Nothing sleeps: ``until`` waits for a condition, and every socket has a timeout, so a test that hangs fails instead.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import pytest

from vhostspy.capture.reader import Reader
from vhostspy.capture.record import EVENT, MESSAGE, RAW, Record
from vhostspy.capture.writer import Writer
from vhostspy.relay.control import Control
from vhostspy.relay.endpoint import Connector, Listener
from vhostspy.relay.nowhere import Nowhere
from vhostspy.relay.pairing import Relay, Settings
from vhostspy.relay.session import Session

FRONT, BACK = 0, 1
SIDES = {"the front-end": FRONT, "the back-end": BACK}
by_side = pytest.mark.parametrize("side", SIDES.values(), ids=SIDES)

DEADLINE_S = 10.0
HEADER = struct.Struct("=III")
_SIOCOUTQ = 0x5411

T = TypeVar("T")


def until(condition: Callable[[], T], what: str = "", deadline_s: float = DEADLINE_S) -> T:
    """Wait for the condition to be true, and give its value; fail after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what or condition}")
        time.sleep(0.0005)


# -- messages ---------------------------------------------------------------------------------------------------------


def message(
    number: int, payload: bytes = b"", *, reply: bool = False, need_reply: bool = False, size: int | None = None
) -> bytes:
    """A vhost-user message's octets; ``size`` lies about the payload's."""
    flags = 1 | (4 if reply else 0) | (8 if need_reply else 0)
    return HEADER.pack(number, flags, len(payload) if size is None else size) + payload


def sized(length: int, number: int = 40, fill: int = 0) -> bytes:
    """A message of that many bytes in all."""
    payload = bytes((fill + at) & 0xFF for at in range(256)) * (length // 256 + 1)
    return message(number, payload[: length - HEADER.size])


class Got(NamedTuple):
    """A message as its receiver saw it; ``tags`` are what its descriptors hold."""

    data: bytes
    tags: tuple[int, ...] = ()
    #: bytes that each call gave
    reads: tuple[int, ...] = ()

    @property
    def number(self) -> int:
        return int(HEADER.unpack_from(self.data)[0])


# -- descriptors that say which they are ------------------------------------------------------------------------------


def tagged(*tags: int) -> list[int]:
    """Memory files, each holding its tag; the caller owns them."""
    made = []
    for tag in tags:
        fd = os.memfd_create(f"tag {tag}")
        os.pwrite(fd, tag.to_bytes(8, "little"), 0)
        made.append(fd)
    return made


def tag_of(fd: int) -> int:
    return int.from_bytes(os.pread(fd, 8, 0), "little")


def rights(fds: Sequence[int]) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds).tobytes())] if fds else []


def unpacked(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors of one read; the caller owns them."""
    fds = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def send(sock: socket.socket, data: bytes, tags: Sequence[int] = ()) -> None:
    """One sendmsg with new tagged descriptors, which stay open nowhere but on their way."""
    fds = tagged(*tags)
    try:
        sent = sock.sendmsg([data], rights(fds))
    finally:
        close_all(fds)
    if sent < len(data):
        sock.sendall(data[sent:])


def read(sock: socket.socket, most: int) -> tuple[bytes, tuple[int, ...]]:
    """One recvmsg: its bytes, and the tags of its descriptors, which are closed."""
    data, ancillary, flags, _ = sock.recvmsg(most, socket.CMSG_SPACE(253 * 4), socket.MSG_CMSG_CLOEXEC)
    fds = unpacked(ancillary)
    tags = tuple(map(tag_of, fds))
    close_all(fds)
    assert not flags & socket.MSG_CTRUNC
    return data, tags


def receive(sock: socket.socket) -> Got:
    """Read one message as a careful receiver does: header exactly, then the payload until it is whole."""
    data = b""
    tags: tuple[int, ...] = ()
    reads: tuple[int, ...] = ()
    wanted = HEADER.size
    while len(data) < wanted:
        piece, more = read(sock, wanted - len(data))
        if not piece:
            raise EOFError(f"the stream ended {len(data)} bytes into a message")
        data, tags, reads = data + piece, tags + more, (*reads, len(piece))
        if len(data) == HEADER.size:
            wanted += HEADER.unpack(data)[2]
    return Got(data, tags, reads)


def exchange(front: socket.socket, back: socket.socket, tag: int = 1) -> None:
    """A message each way, each with a descriptor."""
    send(front, sized(20, fill=tag), [tag])
    assert receive(back).tags == (tag,)
    send(back, sized(24, fill=tag), [tag + 1])
    assert receive(front).tags == (tag + 1,)


def receive_bytes(sock: socket.socket, count: int) -> bytes:
    """So many bytes, however they come."""
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError(f"the stream ended after {len(data)} bytes of {count}")
        data += piece
    return bytes(data)


def receive_in_two_calls(sock: socket.socket) -> Got:
    """As most real back-ends do: one call for the header, one for the payload, and a short one is an error."""
    got = receive(sock)
    payload = len(got.data) - HEADER.size
    assert got.reads == ((HEADER.size, payload) if payload else (HEADER.size,)), f"in pieces: {got.reads}"
    return got


def at_end(sock: socket.socket) -> bool:
    """Whether nothing but the end comes."""
    return sock.recv(1) == b""


def quiet(sock: socket.socket) -> bool:
    """Whether nothing is there now, not even an end."""
    return not select.select([sock], [], [], 0)[0]


def unread(sock: socket.socket) -> int:
    """Memory of what was sent here and not read yet, in bytes of the kernel's counting; 0: all was read."""
    return int.from_bytes(fcntl.ioctl(sock, _SIOCOUTQ, bytes(4)), "little")


def taken(sock: socket.socket) -> None:
    """Wait until the other side has read all that was sent."""
    until(lambda: unread(sock) == 0, "what was sent is read")


# -- a relay in a thread ----------------------------------------------------------------------------------------------


class Relayed:
    """A relay with a capture, run by a thread. The front-end connects to it, it connects to the back-end.

    Sockets that ``open`` gives are the test's, but closed here at the end too.
    """

    def __init__(self, folder: Path, capture: bool = True, start: bool = True, **settings: Any) -> None:
        self.folder = folder
        self.capture = folder / "capture.pcapng"
        self.said: list[str] = []
        self.front_path, self.back_path = str(folder / "front"), str(folder / "back")
        self._opened: list[socket.socket] = []
        self.back_listener = listening(self.back_path)
        settings.setdefault("say", self.said.append)
        self.writer: Writer | Nowhere = Nowhere()
        if capture:
            self.writer = Writer(os.open(self.capture, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC))
        sides = (Listener(self.front_path), Connector(self.back_path))
        self.relay = Relay(sides, self.writer, Settings(**settings))
        self.thread: RelayThread | None = None
        if start:
            self.thread = RelayThread(self.relay)

    def open(self) -> tuple[socket.socket, socket.socket]:
        """A session: the front-end's socket and the back-end's."""
        front = connected(self.front_path)
        back, _ = self.back_listener.accept()
        back.settimeout(DEADLINE_S)
        self._opened += front, back
        return front, back

    def forget(self) -> None:
        """The sockets opened so far are the test's alone."""
        self._opened.clear()

    def call(self, function: Callable[[], T]) -> T:
        """Run something in the relay's thread."""
        assert self.thread is not None
        return self.thread.call(function)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The relay does nothing meanwhile: what is sent then, it finds all at once."""
        assert self.thread is not None
        stopped, go = threading.Event(), threading.Event()

        def stand_still() -> None:
            stopped.set()
            go.wait(DEADLINE_S)

        self.thread.post(stand_still)
        assert stopped.wait(DEADLINE_S)
        try:
            yield
        finally:
            go.set()

    def session(self) -> Session:
        """The only session."""
        (session,) = self.relay.sessions
        return session

    def descriptors_in_hand(self) -> int:
        """How many descriptors the relay keeps for messages on their way, of those that it has received."""

        def count() -> int:
            self.relay.writer.settle()
            found = 0
            for session in self.relay.sessions:
                for channel in session.channels:
                    for direction in channel.directions:
                        found += len(direction.held.fds) + sum(len(fds) for _, fds in direction.outlet.backlog)
                        found += sum(len(one.fds) for one in direction.judge.waiting) if direction.judge else 0
            return found

        return self.call(count)

    def no_session(self) -> None:
        """Wait until every session is over."""
        until(lambda: not self.relay.sessions, "the session is over")

    def stop(self) -> list[Record]:
        """End the relay, and read what was captured."""
        try:
            if self.thread is not None:
                self.thread.stop()
        finally:
            self.back_listener.close()
            for sock in self._opened:
                sock.close()
            self.writer.close()
        if not self.capture.exists():
            return []
        with Reader(self.capture) as reader:
            records = list(reader)
            assert not reader.note
        return records

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def waiting(relayed: Relayed, side: int) -> int:
    """Octets of that end that have no room at the other; in the first of the sessions."""
    outlet = relayed.relay.sessions[0].main.directions[side].outlet
    return relayed.call(lambda: sum(len(data) for data, _ in outlet.backlog))


class Filled(NamedTuple):
    """What was sent, and what of the last message found no room."""

    octets: bytes
    rest: bytes


def fill(relayed: Relayed, side: int, sock: socket.socket, lengths: Sequence[int], tags: Sequence[int] = ()) -> Filled:
    """Send messages in the first session, of these lengths in turn, until the relay has no room and reads no more.

    With ``tags`` each brings descriptors, and should be short enough to be sent whole or not at all.
    """
    sock.settimeout(0.1)
    sent, rest, at = bytearray(), b"", 0
    while True:
        if not rest:
            rest = sized(lengths[at % len(lengths)], 12 if tags else 40, fill=at)
            at += 1
        try:
            if tags:
                send(sock, rest, tags)
                done = len(rest)
            else:
                done = sock.send(rest)
        except TimeoutError:
            if waiting(relayed, side):
                break
            continue  # it was only slow
        sent += rest[:done]
        rest = rest[done:]
    sock.settimeout(DEADLINE_S)
    return Filled(bytes(sent), rest)


@contextmanager
def running(*sides: Listener | Connector, capture: Path | None = None, **settings: Any) -> Iterator[RelayThread]:
    """A relay between any two sides, run by a thread."""
    writer: Writer | Nowhere = Nowhere()
    if capture is not None:
        writer = Writer(os.open(capture, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC))
    front, back = sides
    relay = RelayThread(Relay((front, back), writer, Settings(**settings)))
    try:
        yield relay
    finally:
        try:
            relay.stop()
        finally:
            writer.close()


class RelayThread:
    """Runs a relay; what it raised fails the test at ``stop``."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.failed: BaseException | None = None
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._reader, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        relay.loop.watch(self._reader, relay.loop.IN, self._woken, lambda fd, events: None)
        relay.start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.relay.run()
        except BaseException as error:
            self.failed = error

    def _woken(self) -> None:
        # one at a time: what is posted while the relay is frozen comes in one round with what the sockets have then
        os.read(self._reader, 1)
        self._calls.get_nowait()()

    def post(self, function: Callable[[], None]) -> None:
        """Have it called soon."""
        self._calls.put(function)
        os.write(self._wake, b"!")

    def call(self, function: Callable[[], T]) -> T:
        """Have it called, and give what it gives, or raise what it raises."""
        done: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

        def called() -> None:
            try:
                done.put((function(), None))
            except BaseException as error:
                done.put((None, error))

        self.post(called)
        value, error = done.get(timeout=DEADLINE_S)
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """End it, unless it has ended by itself."""
        if self._wake < 0:
            return
        if self._thread.is_alive():
            self.post(self.relay.stop)
        self.join()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(DEADLINE_S)
        alive = self._thread.is_alive()
        if self._wake >= 0:
            os.close(self._reader)
            os.close(self._wake)
            self._wake = -1
        if self.failed is not None:
            raise self.failed
        assert not alive, "the relay does not end"


def listening(path: str, backlog: int = 128) -> socket.socket:
    """A listening socket; ``@name`` is abstract."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind("\0" + path[1:] if path.startswith("@") else path)
    made.listen(backlog)
    made.settimeout(DEADLINE_S)
    return made


def reached(path: str, deadline_s: float = DEADLINE_S) -> socket.socket:
    """A connection to what listens there in a moment: a path is there before it can be connected to."""

    def attempt() -> socket.socket | None:
        try:
            return connected(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    made = until(attempt, f"somebody listens on {path}", deadline_s)
    assert made is not None
    return made


def connected(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(DEADLINE_S)
    try:
        made.connect("\0" + path[1:] if path.startswith("@") else path)
    except OSError:
        made.close()
        raise
    return made


def pair() -> tuple[socket.socket, socket.socket]:
    first, second = socket.socketpair()
    first.settimeout(DEADLINE_S)
    second.settimeout(DEADLINE_S)
    return first, second


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """With a path short enough for any socket's name."""
    return tempfile.TemporaryDirectory(prefix="relay-")


# -- what a capture says ----------------------------------------------------------------------------------------------


def messages(records: Sequence[Record], sender: int | None = None, channel: str = "main") -> list[Record]:
    """The messages and raw pieces of a channel."""
    return [
        one
        for one in records
        if one.kind in (MESSAGE, RAW) and one.channel == channel and (sender is None or one.sender == sender)
    ]


def events(records: Sequence[Record], name: str = "") -> list[dict[str, Any]]:
    """The events, or those of one kind: their members, with ``sender`` and ``session`` of their record."""
    import json

    found = []
    for one in records:
        if one.kind == EVENT:
            members = json.loads(one.data)
            if not name or members["event"] == name:
                found.append({"sender": one.sender, "session": one.session, "channel": one.channel, **members})
    return found


@contextmanager
def open_to_viewers(relayed: Relayed) -> Iterator[Control]:
    """A relay with its control socket, in the folder that XDG_RUNTIME_DIR names."""
    control = relayed.call(lambda: Control(relayed.relay, str(relayed.capture)))
    try:
        yield control
    finally:
        if relayed.thread is not None and relayed.thread.running:
            relayed.call(control.close)
        else:
            control.close()
