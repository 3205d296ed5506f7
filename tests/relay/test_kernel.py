"""What this kernel does with descriptors on stream sockets: the ground that the relay stands on.

Each case is what was sent and what each read then gives, ``+`` the descriptors that came with it. The relay's rule
that descriptors belong to the message with the last byte of a read holds only while these do.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from vhostspy.relay.outlet import PORTION

from .harness import close_all, rights, tagged, unpacked

Pair = tuple[socket.socket, socket.socket]
MIB = 1 << 20
ROOM = socket.CMSG_SPACE(300 * 4)


@pytest.fixture
def ends() -> Iterator[Pair]:
    sender, receiver = socket.socketpair()
    receiver.setblocking(False)
    with sender, receiver:
        yield sender, receiver


def buffer_size() -> int:
    """The longest send that goes into one buffer: what the first read of a longer one gives, with its descriptor."""
    sender, receiver = socket.socketpair()
    (fd,) = tagged(1)
    with sender, receiver:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
        sender.sendmsg([bytes(65536)], rights([fd]))
        data, fds = take(receiver, 65536)
    os.close(fd)
    assert fds == 1
    return len(data)


def take(receiver: socket.socket, most: int, flags: int = 0) -> tuple[bytes, int]:
    """One read: its bytes, and how many descriptors came with it."""
    data, ancillary, _, _ = receiver.recvmsg(most, ROOM, flags)
    fds = unpacked(ancillary)
    close_all(fds)
    return data, len(fds)


def put(sender: socket.socket, length: int, letter: str, descriptors: int) -> None:
    fds = tagged(*range(descriptors))
    assert sender.sendmsg([letter.encode() * length], rights(fds)) == length
    close_all(fds)


def sends(text: str) -> list[tuple[str, int, int]]:
    """``A20 B20+1``: (letter, bytes, descriptors) of each send."""
    found = re.findall(r"([A-Z])(\d+)(?:\+(\d+))?", text)
    return [(letter, int(length), int(descriptors or 0)) for letter, length, descriptors in found]


def came(receiver: socket.socket, sizes: list[int]) -> str:
    """What reads of these sizes give, the last size again and again, until nothing is left."""
    found: list[str] = []
    while True:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        try:
            data, fds = take(receiver, size)
        except BlockingIOError:
            return " ".join(found)
        runs = [f"{match[0][0]}{len(match[0])}" for match in re.finditer(r"(.)\1*", data.decode())]
        found.append("[" + " ".join(runs) + (f" +{fds}" if fds else "") + "]")


CASES = [
    # number, sent, reads of, comes
    (1, "A20 B20", [4096], "[A20 B20]"),
    (2, "A20 B20+1", [4096], "[A20 B20 +1]"),
    (3, "A20+1 B20", [4096], "[A20 +1] [B20]"),
    (4, "A20+1 B20+2", [4096], "[A20 +1] [B20 +2]"),
    (5, "N20 B20 D52 K20+1 C20+1 E20 F20", [4096], "[N20 B20 D52 K20 +1] [C20 +1] [E20 F20]"),
    (6, "A20 B20+1", [12, 8, 12, 8], "[A12] [A8] [B12 +1] [B8]"),
    (7, "A20+1 B20", [12, 4096], "[A12 +1] [A8 B20]"),
    (8, "A20 B20+1 C20", [25, 4096], "[A20 B5 +1] [B15 C20]"),
    (9, "A20 H12+1 P8 Z20", [4096], "[A20 H12 +1] [P8 Z20]"),
    (10, "H12 P8+1 Z20", [4096], "[H12 P8 +1] [Z20]"),
]


@pytest.mark.parametrize(("sent", "reads", "expected"), [case[1:] for case in CASES], ids=[f"{c[0]}" for c in CASES])
def test_what_merges_and_what_never_does(ends: Pair, sent: str, reads: list[int], expected: str) -> None:
    sender, receiver = ends
    for letter, length, descriptors in sends(sent):
        put(sender, length, letter, descriptors)
    assert came(receiver, list(reads)) == expected


def test_one_buffer_is_what_the_relay_takes_it_for() -> None:
    assert buffer_size() == PORTION


def test_11_a_big_send_is_cut_and_descriptors_ride_on_its_first_buffer(ends: Pair) -> None:
    sender, receiver = ends
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
    for letter, length, descriptors in sends("A20 M150000+2 Z20"):
        put(sender, length, letter, descriptors)
    first = buffer_size()
    assert came(receiver, [MIB]) == f"[A20 M{first} +2] [M{150000 - first} Z20]"


def test_12_the_same_with_the_default_buffer(ends: Pair) -> None:
    sender, receiver = ends
    put(sender, 150000, "M", 2)
    first = buffer_size()
    assert came(receiver, [MIB]) == f"[M{first} +2] [M{150000 - first}]"


def test_13_descriptors_with_no_bytes_are_lost_silently(ends: Pair) -> None:
    sender, receiver = ends
    put(sender, 0, "A", 1)
    put(sender, 20, "B", 0)
    assert came(receiver, [4096]) == "[B20]"


def test_14_credentials_come_once(ends: Pair) -> None:
    sender, receiver = ends
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    put(sender, 20, "A", 0)
    put(sender, 20, "B", 1)
    data, ancillary, _, _ = receiver.recvmsg(4096, ROOM)
    close_all(unpacked(ancillary))
    assert len(data) == 40
    assert sorted(kind for _, kind, _ in ancillary) == [socket.SCM_RIGHTS, socket.SCM_CREDENTIALS]


@pytest.mark.parametrize(("credentials", "expected"), [(0, "[A20 B20 C20]"), (1, "[A20] [B20] [C20]")])
def test_15_only_credentials_part_the_senders(ends: Pair, credentials: int, expected: str) -> None:
    sender, receiver = ends
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, credentials)
    put(sender, 20, "A", 0)
    program = f"import socket; socket.socket(fileno={sender.fileno()}).send(b'B' * 20)"
    subprocess.run([sys.executable, "-c", program], pass_fds=[sender.fileno()], check=True, timeout=30)
    put(sender, 20, "C", 0)
    assert came(receiver, [4096]) == expected


def test_16_a_peek_takes_a_duplicate_of_its_own(ends: Pair) -> None:
    sender, receiver = ends
    put(sender, 20, "A", 1)
    assert take(receiver, 4096, socket.MSG_PEEK)[1] == 1
    assert take(receiver, 4096)[1] == 1


def test_17_peeking_finds_no_boundaries(ends: Pair) -> None:
    sender, receiver = ends
    for letter, length, descriptors in sends("A20 B20+1 C20"):
        put(sender, length, letter, descriptors)
    seen = [take(receiver, size, socket.MSG_PEEK) for size in (1, 20, 21, 4096)]
    assert [fds for _, fds in seen] == [1, 1, 1, 1]
    assert seen[-1][0] == b"A" * 20 + b"B" * 20
    take(receiver, 4096)


def test_18_without_control_room_the_others_are_closed(ends: Pair) -> None:
    sender, receiver = ends
    put(sender, 20, "A", 8)
    data, ancillary, flags, _ = receiver.recvmsg(4096, socket.CMSG_SPACE(4))
    fds = unpacked(ancillary)
    close_all(fds)
    assert (len(data), len(fds)) == (20, 2)  # the space for one, aligned, is that for two
    assert flags & socket.MSG_CTRUNC


def test_19_plain_recv_loses_descriptors(ends: Pair) -> None:
    sender, receiver = ends
    before = len(os.listdir("/proc/self/fd"))
    put(sender, 20, "A", 8)
    assert receiver.recv(4096) == b"A" * 20
    assert len(os.listdir("/proc/self/fd")) == before


def test_20_most_descriptors_of_one_send(ends: Pair) -> None:
    sender, receiver = ends
    (fd,) = tagged(1)
    sender.sendmsg([b"A"], rights([fd] * 253))
    assert take(receiver, 4096) == (b"A", 253)
    with pytest.raises(OSError) as refused:
        sender.sendmsg([b"A"], rights([fd] * 254))
    assert refused.value.errno == errno.EINVAL
    os.close(fd)


def test_21_two_sets_of_rights_become_one(ends: Pair) -> None:
    sender, receiver = ends
    fds = tagged(1, 2, 3)
    sender.sendmsg([b"A" * 20], rights(fds[:1]) + rights(fds[1:]))
    close_all(fds)
    _, ancillary, _, _ = receiver.recvmsg(4096, ROOM)
    close_all(unpacked(ancillary))
    assert [len(data) // 4 for _, _, data in ancillary] == [3]


def test_22_a_small_send_buffer_takes_two_buffers(ends: Pair) -> None:
    sender, receiver = ends
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    (fd,) = tagged(1)
    sent = sender.sendmsg([bytes(300_000)], rights([fd]), socket.MSG_DONTWAIT)
    os.close(fd)
    reads: list[tuple[int, int]] = []
    while sum(length for length, _ in reads) < sent:
        data, fds = take(receiver, MIB)
        reads.append((len(data), fds))
    assert sent == 9088
    assert reads == [(4544, 1), (4544, 0)]


IN_FLIGHT = """
import array, os, resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
if sys.argv[1] != "root":
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
ends = []
fd = os.memfd_create("x")
sent = 0
while sent < 1000:
    a, b = socket.socketpair()
    ends += a, b
    a.setblocking(False)
    try:
        for _ in range(250):
            a.sendmsg([b"A"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd] * 8).tobytes())])
            sent += 8
    except BlockingIOError:
        continue
    except OSError as error:
        print(sent, error.errno)
        sys.exit()
print(sent, 0)
"""


def in_flight(who: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", IN_FLIGHT, who], capture_output=True, text=True, check=True, timeout=30
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.needs_root
def test_23_an_ordinary_user_has_few_descriptors_in_flight() -> None:
    sent, error = in_flight("user")
    assert error == errno.ETOOMANYREFS
    assert 256 <= sent <= 256 + 2 * 8
    assert in_flight("root") == [2000, 0]


def test_24_near_the_limit_bytes_come_and_descriptors_are_lost(ends: Pair) -> None:
    sender, receiver = ends
    put(sender, 20, "A", 8)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    filler = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 50, hard))
    try:
        try:
            while True:
                filler.append(os.dup(0))
        except OSError:
            pass
        close_all(filler[-4:])
        del filler[-4:]
        data, ancillary, flags, _ = receiver.recvmsg(4096, ROOM)
    finally:
        close_all(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    fds = unpacked(ancillary)
    close_all(fds)
    assert (len(data), len(fds)) == (20, 4)
    assert flags & socket.MSG_CTRUNC
