"""The same relay with vfio-user: another header, messages of a mebibyte, and a second socket in a reply."""

from __future__ import annotations

import json
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhostspy.dissectors import registry
from vhostspy.relay.framer import LOST, Framer, detect

from .harness import (
    Relayed,
    close_all,
    events,
    messages,
    read,
    receive_bytes,
    rights,
    send,
    tag_of,
    tagged,
    taken,
    unpacked,
)
from .test_streams import in_threads

HEAD = struct.Struct("=HHIII")
VERSION, DMA_MAP, DMA_WRITE, REGION_READ = 1, 2, 12, 9
CLIENT, SERVER = 0, 1


def vfio(number: int, payload: bytes = b"", *, msgid: int = 7, reply: bool = False) -> bytes:
    return HEAD.pack(msgid, number, HEAD.size + len(payload), 1 if reply else 0, 0) + payload


def version(capabilities: object = None, *, reply: bool = False) -> bytes:
    text = json.dumps({"capabilities": capabilities or {}}).encode() + b"\0"
    return vfio(VERSION, struct.pack("=HH", 0, 1) + text, reply=reply)


def receive(sock: socket.socket) -> tuple[bytes, tuple[int, ...]]:
    """One message, header first."""
    data = b""
    tags: tuple[int, ...] = ()
    wanted = HEAD.size
    while len(data) < wanted:
        piece, more = read(sock, wanted - len(data))
        assert piece
        data, tags = data + piece, tags + more
        if len(data) == HEAD.size:
            wanted = HEAD.unpack(data)[2]
    return data, tags


def begin(relayed: Relayed) -> tuple[socket.socket, socket.socket]:
    client, server = relayed.open()
    send(client, version())
    assert receive(server)[0] == version()
    return client, server


def test_messages_with_descriptors_both_ways(relayed: Relayed) -> None:
    client, server = begin(relayed)
    for at in range(5):
        send(client, vfio(DMA_MAP, bytes(32), msgid=at), [at])
        assert receive(server) == (vfio(DMA_MAP, bytes(32), msgid=at), (at,))
        send(server, vfio(DMA_MAP, msgid=at, reply=True))
        assert receive(client) == (vfio(DMA_MAP, msgid=at, reply=True), ())
    with relayed.frozen():
        send(client, vfio(REGION_READ, bytes(16)) * 3)
        send(client, vfio(DMA_MAP, bytes(32)), [9])
        send(client, vfio(REGION_READ, bytes(16)))
    assert [receive(server)[1] for _ in range(5)] == [(), (), (), (9,), ()]
    records = relayed.stop()
    assert {one.protocol for one in messages(records)} == {"vfio-user"}
    assert len(messages(records)) == 16


def test_header_and_payload_in_two_sends(relayed: Relayed) -> None:
    client, server = begin(relayed)
    data = vfio(REGION_READ, bytes(16))
    for _ in range(10):
        send(client, data[:16], [3])
        taken(client)
        send(client, data[16:])
        got, tags = receive(server)
        assert (got, tags) == (data, (3,))


@pytest.mark.parametrize("length", [131_000, 131_100, 1 << 20])
def test_long_messages_on_either_side_of_what_is_held(relayed: Relayed, length: int) -> None:
    client, server = begin(relayed)
    data = vfio(DMA_WRITE, bytes(range(256)) * (length // 256))

    def say() -> None:
        for at in range(5):
            send(server, data, [at])
            send(server, vfio(REGION_READ, bytes(16)), [at + 10])

    got = in_threads(say, lambda: [receive(client) for _ in range(10)])[1]
    assert got == [one for at in range(5) for one in ((data, (at,)), (vfio(REGION_READ, bytes(16)), (at + 10,)))]
    recorded = messages(relayed.stop(), SERVER)
    assert [(one.data, len(one.fds)) for one in recorded] == [(data, 1), (vfio(REGION_READ, bytes(16)), 1)] * 5


def twin_of(relayed: Relayed, capability: object, *tags: int, at: int = 0) -> tuple[list[int], socket.socket, int]:
    """A VERSION reply with a socket among tagged descriptors: what comes, the server's end, the socket's inode."""
    client, server = begin(relayed)
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    given = os.fstat(theirs.fileno()).st_ino
    fds = tagged(*tags)
    sent = list(fds)
    sent.insert(at, theirs.fileno())
    server.sendmsg([version({"twin_socket": capability}, reply=True)], rights(sent))
    close_all(fds)
    theirs.close()
    _, ancillary, _, _ = client.recvmsg(4096, 4096)
    return unpacked(ancillary), ours, given


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_second_socket_is_relayed(relayed: Relayed, at: int) -> None:
    """It is the descriptor that the reply names; those beside it are untouched."""
    fds, ours, given = twin_of(relayed, {"supported": True, "fd_index": at}, 5, 6, at=at)
    twin = socket.socket(fileno=fds.pop(at))
    assert [tag_of(fd) for fd in fds] == [5, 6]
    close_all(fds)
    with ours, twin:
        twin.settimeout(10)
        assert os.fstat(twin.fileno()).st_ino != given
        send(ours, vfio(DMA_WRITE, bytes(24)), [8])
        assert receive(twin) == (vfio(DMA_WRITE, bytes(24)), (8,))
        send(twin, vfio(DMA_WRITE, reply=True))
        receive(ours)
    records = relayed.stop()
    assert [(one.sender, one.channel_no) for one in messages(records, channel="second")] == [(SERVER, 1), (CLIENT, 1)]


@pytest.mark.parametrize(
    "capability",
    [
        {"supported": False, "fd_index": 0},
        {"supported": True, "fd_index": 1},
        {"supported": True, "fd_index": -1},
        {"supported": True},
        "nonsense",
    ],
    ids=str,
)
def test_a_socket_that_the_reply_does_not_name_passes_untouched(relayed: Relayed, capability: object) -> None:
    fds, ours, given = twin_of(relayed, capability)
    assert [os.fstat(fd).st_ino for fd in fds] == [given]
    close_all(fds)
    ours.close()
    assert not events(relayed.stop(), "channel")


def test_a_size_below_the_header_ends_framing(relayed: Relayed) -> None:
    client, server = begin(relayed)
    bad = HEAD.pack(1, REGION_READ, 15, 0, 0) + b"rest"
    send(client, bad, [1])
    assert receive_bytes(server, len(bad)) == bad
    assert events(relayed.stop(), "unread")[0]["offset"] == len(version())


# -- the framer by itself ---------------------------------------------------------------------------------------------

FRAMERS = {name: Framer(row) for name in ("vhost-user", "vfio-user") if (row := registry.channel(name, "main"))}


def built(name: str, lengths: list[int]) -> bytes:
    """Messages with so many bytes of payload."""
    if name == "vhost-user":
        return b"".join(struct.pack("=III", 40, 1, length) + bytes(length) for length in lengths)
    return b"".join(vfio(REGION_READ, bytes(length)) for length in lengths)


@pytest.mark.parametrize("name", FRAMERS)
@given(lengths=st.lists(st.integers(0, 300), max_size=8), data=st.data())
def test_the_cuts_are_where_messages_end(name: str, lengths: list[int], data: st.DataObject) -> None:
    framer = FRAMERS[name]
    octets = built(name, lengths)
    ends = [sum(lengths[: at + 1]) + framer.header * (at + 1) for at in range(len(lengths))]
    end = data.draw(st.integers(0, len(octets)))
    cuts, following = framer.walk(octets, end)
    assert cuts == [one for one in ends if one <= end]
    behind = end - (cuts[-1] if cuts else 0)
    if behind < framer.header:
        assert following == 0
    else:
        assert following == framer.header + lengths[len(cuts)]
        assert following > behind


@pytest.mark.parametrize("name", FRAMERS)
@given(lengths=st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_exact_wants_lead_from_message_to_message(name: str, lengths: list[int]) -> None:
    framer = FRAMERS[name]
    octets = built(name, lengths)
    at, held, whole = 0, b"", []
    while at < len(octets):
        wanted = framer.bytes_wanted(held)
        assert wanted >= 1
        held, at = held + octets[at : at + wanted], at + wanted
        cuts, _ = framer.walk(held, len(held))
        if cuts:
            assert cuts == [len(held)], "never past the end of a message"
            whole.append(len(held) - framer.header)
            held = b""
    assert whole == lengths


@pytest.mark.parametrize("name", FRAMERS)
@given(octets=st.binary(max_size=200))
def test_any_bytes_give_cuts_or_lost(name: str, octets: bytes) -> None:
    cuts, following = FRAMERS[name].walk(octets, len(octets))
    assert cuts == sorted(cuts)
    assert all(0 < cut <= len(octets) for cut in cuts)
    assert following == LOST or following == 0 or following > len(octets) - (cuts[-1] if cuts else 0)


@given(octets=st.binary(min_size=12, max_size=40))
def test_any_first_bytes_are_told_apart_without_an_error(octets: bytes) -> None:
    assert detect(octets) in ("", "vhost-user", "vfio-user")


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (struct.pack("=III", 1, 1, 0), "vhost-user"),
        (struct.pack("=III", 41, 9, 8), "vhost-user"),
        (struct.pack("=III", 15, 1, 65536), "vhost-user"),
        (struct.pack("=III", 1, 2, 0), "vhost-user"),  # a wrong version is for others to say
        (version()[:12], "vfio-user"),
        (vfio(VERSION, b"\0\0\1\0", msgid=0)[:12], "vfio-user"),
        (vfio(VERSION, b"\0\0\1\0", msgid=0xFFFF)[:12], "vfio-user"),
        (vfio(REGION_READ, bytes(16))[:12], ""),
        (vfio(VERSION, reply=True)[:12], ""),
        (b"GET / HTTP/1", ""),
        (b"\xff" * 12, ""),
    ],
)
def test_which_protocol_the_first_bytes_are(octets: bytes, name: str) -> None:
    assert detect(octets) == name
