"""What the peers put on the wire, compared with octets written by hand; and what they make of broken messages."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator

import pytest

from vhostspy.demo.front_end import FrontEnd
from vhostspy.demo.numbers import bits
from vhostspy.demo.wire import Connection, OwnedFd, PeerError

from .conftest import Connect

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the octets are those of a little-endian machine")

GET_FEATURES = "01000000 01000000 00000000"

SENT = [
    # step                                        octets, and how many descriptors
    (FrontEnd.set_owner, "03000000 01000000 00000000", 0),
    (lambda f: f.set_features(0x1_4000_0000), "02000000 01000000 08000000  00000040 01000000", 0),
    (lambda f: f.set_vring_enable(0, True), "12000000 01000000 08000000  00000000 01000000", 0),
    (lambda f: f.set_vring_num(0), "08000000 01000000 08000000  00000000 40000000", 0),
    (lambda f: f.set_vring_base(0, 300), "0a000000 01000000 08000000  00000000 2c010000", 0),
    (
        lambda f: f.set_vring_addr(0),
        "09000000 01000000 28000000  00000000 00000000"
        "0000000010 7f0000 0020000010 7f0000 0010000010 7f0000 0000000000000000",
        0,
    ),
    (lambda f: f.set_vring_kick(0), "0c000000 01000000 08000000  0000000000000000", 1),
    (lambda f: f.set_vring_call(0, nofd=True), "0d000000 01000000 08000000  0001000000000000", 0),
    (
        lambda f: f.set_mem_table(),
        "05000000 01000000 48000000  02000000 00000000"
        "0000000000000000 0000100000000000 00000000107f0000 0000000000000000"
        "0000000001000000 0000100000000000 00001000107f0000 0000100000000000",
        2,
    ),
    (
        lambda f: f.rem_mem_reg(f.memory.regions[1].place),
        "26000000 01000000 28000000  0000000000000000"
        "0000000001000000 0000100000000000 00001000107f0000 0000000000000000",
        0,
    ),
    (FrontEnd.set_backend_req_fd, "15000000 01000000 00000000", 1),
    (lambda f: f.set_config(32, b"\x01"), "19000000 01000000 0d000000  20000000 01000000 00000000 01", 0),
]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        yield ours, theirs


@pytest.mark.parametrize(("step", "octets", "fds"), SENT)
def test_a_front_end_sends_these_octets(
    ends: tuple[socket.socket, socket.socket], step: Callable[[FrontEnd], None], octets: str, fds: int
) -> None:
    with FrontEnd(ends[0]) as front_end:
        step(front_end)
        data, descriptors, flags, _ = socket.recv_fds(ends[1], 4096, 16)
        for descriptor in descriptors:
            os.close(descriptor)
        assert (data, len(descriptors)) == (bytes.fromhex(octets), fds)
        assert not flags & socket.MSG_CTRUNC


def test_a_front_end_asks_for_an_acknowledgement_where_qemu_does(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    with FrontEnd(ends[0]) as front_end:
        front_end.protocol_features = bits(3)
        ends[1].sendall(bytes.fromhex("12000000 05000000 08000000  0000000000000000"))
        front_end.set_vring_enable(0, False)
        assert ends[1].recv(4096) == bytes.fromhex("12000000 09000000 08000000  00000000 00000000")


ANSWERED = [
    # request                                                        answer
    (GET_FEATURES, "01000000 05000000 08000000  441a005401000000"),
    ("0f000000 01000000 00000000", "0f000000 05000000 08000000  2bb6010000000000"),
    ("11000000 01000000 00000000", "11000000 05000000 08000000  0400000000000000"),
    ("24000000 01000000 00000000", "24000000 05000000 08000000  2000000000000000"),
    ("0b000000 01000000 08000000 02000000 00000000", "0b000000 05000000 08000000  02000000 00000000"),
    # the capacity of the disk, 2048 sectors
    (
        "18000000 01000000 14000000 00000000 08000000 00000000 0000000000000000",
        "18000000 05000000 14000000 00000000 08000000 00000000 0008000000000000",
    ),
    # outside the configuration space: an empty payload says no
    ("18000000 01000000 0d000000 3c000000 01000000 00000000 00", "18000000 05000000 00000000"),
]


@pytest.mark.parametrize(("request_octets", "answer"), ANSWERED)
def test_a_back_end_answers_with_these_octets(connect: Connect, request_octets: str, answer: str) -> None:
    front_end, _ = connect()
    front_end.main.send_octets(bytes.fromhex(request_octets))
    expected = bytes.fromhex(answer)
    front_end.main.socket.settimeout(10)
    assert front_end.main.socket.recv(len(expected), socket.MSG_WAITALL) == expected


def test_a_request_may_come_byte_by_byte(connect: Connect) -> None:
    front_end, _ = connect()
    for octet in bytes.fromhex(GET_FEATURES):
        front_end.main.send_octets(bytes([octet]))
    front_end.answer(1).close()


def test_requests_may_come_all_at_once(connect: Connect) -> None:
    front_end, _ = connect()
    front_end.main.send_octets(bytes.fromhex(GET_FEATURES) * 50)
    for _ in range(50):
        front_end.answer(1).close()


def test_a_message_keeps_its_descriptors(ends: tuple[socket.socket, socket.socket]) -> None:
    """Two messages in one go, the second one with a descriptor: the first one gets none."""
    sender, receiver = Connection(ends[0]), Connection(ends[1])
    sender.send(7, b"one")
    with OwnedFd(os.memfd_create("passed")) as memory:
        sender.send(8, b"two", [memory.fileno()])
        expected = os.fstat(memory.fileno()).st_ino
    one, two = receiver.receive(), receiver.receive()
    assert one is not None
    assert two is not None
    try:
        assert (one.payload, len(one.fds)) == (b"one", 0)
        assert (two.payload, [os.fstat(fd.fileno()).st_ino for fd in two.fds]) == (b"two", [expected])
        assert os.get_inheritable(two.fds[0].fileno()) is False
    finally:
        two.close()


BROKEN = [
    # octets before the end                             what the sentence says
    ("01000000 0100", "6 bytes into a header"),
    ("02000000 01000000 08000000 0000", "2 bytes into 8 of payload"),
    ("01000000 01000000 ffffffff", "a payload of 4294967295 bytes is not believed"),
]


@pytest.mark.parametrize(("octets", "sentence"), BROKEN)
def test_a_broken_message_is_an_error(ends: tuple[socket.socket, socket.socket], octets: str, sentence: str) -> None:
    ends[0].sendall(bytes.fromhex(octets))
    ends[0].shutdown(socket.SHUT_WR)
    with pytest.raises(PeerError, match=sentence):
        Connection(ends[1]).receive()


def test_descriptors_of_a_broken_message_are_closed(ends: tuple[socket.socket, socket.socket]) -> None:
    with OwnedFd(os.memfd_create("passed")) as memory:
        socket.send_fds(ends[0], [b"\x01\0\0\0"], [memory.fileno()] * 3)
    ends[0].shutdown(socket.SHUT_WR)
    with pytest.raises(PeerError):
        Connection(ends[1]).receive()  # the balance is counted after each test


def test_the_end_between_two_messages_is_none(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].shutdown(socket.SHUT_WR)
    assert Connection(ends[1]).receive() is None


def test_silence_has_an_end(ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(PeerError, match="nothing came"):
        Connection(ends[1], timeout_s=0.01).receive()
    with FrontEnd(ends[0], timeout_s=0.01) as front_end, pytest.raises(PeerError, match="GET_FEATURES: .* did nothing"):
        front_end.get_features()


def test_a_descriptor_is_closed_once_or_handed_on_once() -> None:
    fd = OwnedFd(os.memfd_create("owned"))
    number = fd.take()
    fd.close()
    os.close(number)
    with pytest.raises(ValueError, match="handed on already"):
        fd.fileno()
