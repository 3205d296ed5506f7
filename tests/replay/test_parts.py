"""What a replay is made of: the wire, the descriptors, guest memory, cues; each by itself."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.conversation import CALL, KICK, RAM, Conversation, features
from vhostspy.capture.record import Descriptor
from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.errors import Failure
from vhostspy.relay.descriptors import close_all
from vhostspy.replay.cues import Armed, Cues
from vhostspy.replay.guest import Guest
from vhostspy.replay.log import rows_of
from vhostspy.replay.script import Part, Script
from vhostspy.replay.store import Store
from vhostspy.replay.wire import Whole, Wire

PIPE = Descriptor("device-state", "pipe", "w", 12, 5, name="pipe:[5]")


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.close()


def part(conversation: Conversation) -> Part:
    (only,) = Script.of(conversation.items).parts
    return only


# -- the wire


@contextmanager
def wires() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    wire = Wire(ours, "main", 1, "vhost-user", rows_of("vhost-user", "main"))
    try:
        yield wire, theirs
    finally:
        wire.close()
        theirs.close()


def message(number: int, payload: bytes = b"") -> bytes:
    return struct.pack("=III", number, 1, len(payload)) + payload


STREAM = [message(2, bytes(8)), message(3), message(5, bytes(40)), message(1)]


@given(st.lists(st.integers(1, sum(map(len, STREAM)) - 1), max_size=6))
def test_any_cut_of_the_stream_gives_the_same_messages(cuts: list[int]) -> None:
    octets = b"".join(STREAM)
    with wires() as (wire, theirs):
        got: list[Whole] = []
        places = [0, *sorted(set(cuts)), len(octets)]
        for start, end in zip(places, places[1:], strict=False):
            theirs.sendall(octets[start:end])
            got += wire.receive()
        assert got == [Whole(one, []) for one in STREAM]


def test_descriptors_are_on_the_message_that_they_came_with() -> None:
    """A message without, and one with, in one read: the kernel ends a read behind what carries some."""
    with wires() as (wire, theirs):
        event = os.eventfd(0)
        theirs.sendall(message(3))
        socket.send_fds(theirs, [message(12, bytes(8))], [event])
        theirs.sendall(message(1))
        got = wire.receive() + wire.receive()
        os.close(event)
        try:
            assert [len(one.fds) for one in got] == [0, 1, 0]
        finally:
            for one in got:
                close_all(one.fds)


def test_descriptors_of_a_message_in_pieces() -> None:
    with wires() as (wire, theirs):
        event = os.eventfd(0)
        octets = message(12, bytes(8))
        socket.send_fds(theirs, [octets[:5]], [event])
        os.close(event)
        assert wire.receive() == []
        theirs.sendall(octets[5:])
        (whole,) = wire.receive()
        assert whole.data == octets and len(whole.fds) == 1
        close_all(whole.fds)


def test_what_a_slow_peer_does_not_take_is_sent_later_in_order() -> None:
    with wires() as (wire, theirs):
        large = bytes(range(256)) * 4096
        event = os.eventfd(0)
        assert wire.send(large, []) and wire.send(message(12, bytes(8)), [event])
        os.close(event)
        assert wire.wants_room
        got = bytearray()
        fds: list[int] = []
        while wire.wants_room or select.select([theirs], [], [], 0)[0]:
            wire.drain()
            data, more, _, _ = socket.recv_fds(theirs, 1 << 20, 4)
            got += data
            fds += more
        assert got == large + message(12, bytes(8)) and len(fds) == 1
        close_all(fds)


def test_a_peer_that_went_takes_nothing() -> None:
    with wires() as (wire, theirs):
        theirs.close()
        assert not wire.send(message(3), [])
        assert wire.broken


def test_half_a_message_at_the_end_is_no_message() -> None:
    with wires() as (wire, theirs):
        theirs.sendall(message(3)[:7])
        theirs.close()
        assert wire.receive() == []
        assert wire.receive() == [Whole(message(3)[:7], [], False)]
        assert wire.ended


def unconnected() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def listening() -> socket.socket:
    made = unconnected()
    made.bind(f"\0vhostspy-test-{os.getpid()}")
    made.listen()
    return made


def datagrams() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def internet() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


@pytest.mark.parametrize("make", [unconnected, listening, internet])
def test_a_socket_with_nobody_at_its_other_end_has_ended(make: Callable[[], socket.socket]) -> None:
    """A peer may give any socket for a channel; that is no failure of ours."""
    wire = Wire(make(), "backend", 1, "vhost-user", rows_of("vhost-user", "backend"))
    assert wire.receive() == []
    assert (wire.ended, wire.how) == (True, "gave a socket without a peer")
    wire.close()


@pytest.mark.parametrize("make", [unconnected, listening, datagrams, internet])
def test_a_socket_with_nobody_at_its_other_end_takes_nothing(make: Callable[[], socket.socket]) -> None:
    wire = Wire(make(), "backend", 1, "vhost-user", rows_of("vhost-user", "backend"))
    assert not wire.send(message(1), [])
    assert wire.broken and not wire.wants_room
    wire.close()


# -- descriptors


def test_one_recorded_descriptor_is_one_live_one(store: Store) -> None:
    talk = Conversation()
    one = talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    again = talk.front_end("SET_VRING_KICK", index=1, fds=[KICK])
    call = talk.front_end("SET_VRING_CALL", index=0, fds=[CALL])
    assert store.lend(one.fds[0], one) == store.lend(again.fds[0], again) != store.lend(call.fds[0], call)
    assert store.made == 2


def test_memory_has_size_name_and_seals_of_the_recorded(store: Store) -> None:
    talk = Conversation()
    region: dict[str, Any] = {"guest_address": 0, "length": 1 << 20, "user_address": 1 << 40, "mmap_offset": 0}
    added = talk.front_end("ADD_MEM_REG", fds=[RAM], **region)
    fd = store.lend(RAM, added)
    assert os.fstat(fd).st_size == 512 << 20
    assert os.readlink(f"/proc/self/fd/{fd}") == "/memfd:pc.ram (deleted)"
    assert fcntl.fcntl(fd, 1034) & 0b110 == 0b110


@pytest.mark.parametrize("name", ["/memfd:a\0b (deleted)", "é" * 300, "/memfd:\udcff", "", "/"])
def test_memory_of_any_name(store: Store, name: str) -> None:
    """What a damaged capture says of a file."""
    talk = Conversation()
    odd = RAM._replace(name=name)
    region: dict[str, Any] = {"guest_address": 0, "length": 1 << 20, "user_address": 1 << 40, "mmap_offset": 0}
    assert os.fstat(store.lend(odd, talk.front_end("ADD_MEM_REG", fds=[odd], **region))).st_size == 512 << 20


def test_memory_of_unknown_size_is_as_large_as_its_region(store: Store) -> None:
    talk = Conversation()
    region: dict[str, Any] = {"guest_address": 0, "length": 1 << 20, "user_address": 1 << 40, "mmap_offset": 1 << 16}
    unknown = RAM._replace(size=None)
    added = talk.front_end("ADD_MEM_REG", fds=[unknown], **region)
    assert os.fstat(store.lend(unknown, added)).st_size == (1 << 20) + (1 << 16)


def test_what_came_back_is_lent_where_the_recorded_was(store: Store) -> None:
    talk = Conversation()
    region = RAM._replace(role="inflight", inode=78)
    asked = talk.front_end(
        "SET_INFLIGHT_FD", mmap_length=4096, mmap_offset=0, num_queues=1, queue_size=64, fds=[region]
    )
    live = os.memfd_create("live")
    store.keep(region, live)
    assert store.lend(asked.fds[0], asked) == live
    assert store.made == 0


def test_a_device_s_state_is_read_and_written_again(store: Store) -> None:
    talk = Conversation()
    save = talk.front_end("SET_DEVICE_STATE_FD", direction=0, phase=0, fds=[PIPE])
    theirs = os.dup(store.lend(PIPE, save))
    store.passed_on(save)
    os.write(theirs, b"state")
    os.close(theirs)
    (reading,), _ = store.watched()
    store.readable(reading)
    store.readable(reading)
    assert store.states == [b"state"]
    back = PIPE._replace(access="r", inode=6)
    load = talk.front_end("SET_DEVICE_STATE_FD", direction=1, phase=0, fds=[back])
    theirs = os.dup(store.lend(back, load))
    store.passed_on(load)
    _, (writing,) = store.watched()
    store.writable(writing)
    assert os.read(theirs, 100) == b"state" and os.read(theirs, 100) == b""
    os.close(theirs)
    assert not store.busy


def test_a_directory_is_not_made_up(store: Store) -> None:
    talk = Conversation()
    odd = Descriptor("memory", "directory", "r", 1, 2)
    with pytest.raises(Failure, match="a directory"):
        store.lend(odd, talk.front_end("SET_LOG_FD", fds=[odd]))


# -- guest memory


def rings(talk: Conversation, base: int) -> None:
    features(talk)
    talk.front_end(
        "ADD_MEM_REG", guest_address=0, length=1 << 20, user_address=0x7F0000000000, mmap_offset=4096, fds=[RAM]
    )
    talk.front_end("SET_VRING_NUM", index=1, num=64)
    talk.front_end("SET_VRING_BASE", index=1, num=base)
    talk.front_end(
        "SET_VRING_ADDR", index=1, descriptor=0x7F0000001000, available=0x7F0000002000, used=0x7F0000003000,
        log_address=0,
    )  # fmt: skip


def test_a_ring_begins_at_its_base_and_is_empty(store: Store) -> None:
    talk = Conversation()
    rings(talk, 513)
    fd = store.lend(RAM, part(talk).messages[-4])
    guest = Guest(store, part(talk).messages)
    assert guest.has_bases
    guest.prepare(talk.state)
    for at in (0x2000, 0x3000):
        assert struct.unpack("<HH", os.pread(fd, 4, 4096 + at)) == (0, 513)


def test_a_running_ring_is_left_alone(store: Store) -> None:
    talk = Conversation()
    rings(talk, 5)
    fd = store.lend(RAM, part(talk).messages[-4])
    guest = Guest(store, part(talk).messages)
    guest.prepare(talk.state)
    talk.front_end("SET_VRING_KICK", index=1, fds=[KICK])
    os.pwrite(fd, b"\1\0\7\0", 4096 + 0x2000)
    guest.prepare(talk.state)
    assert os.pread(fd, 4, 4096 + 0x2000) == b"\1\0\7\0"


def test_an_address_outside_of_memory_is_the_back_end_s_to_refuse(store: Store) -> None:
    talk = Conversation()
    rings(talk, 5)
    talk.front_end("SET_VRING_ADDR", index=1, descriptor=1, available=2, used=(1 << 64) - 1, log_address=0)
    fd = store.lend(RAM, part(talk).messages[-5])
    Guest(store, part(talk).messages).prepare(talk.state)
    assert os.fstat(fd).st_blocks == 0, "nothing was written, wherever it would have been"


@pytest.mark.parametrize("offset", [(1 << 64) - 1, 1 << 62, 1 << 40])
@pytest.mark.parametrize("base", [0, 5])
def test_a_region_outside_of_its_file_is_the_back_end_s_to_refuse(store: Store, offset: int, base: int) -> None:
    talk = Conversation()
    rings(talk, base)
    fd = store.lend(RAM, part(talk).messages[-4])
    (region,) = talk.state.regions
    Guest(store, part(talk).messages).prepare(talk.state._replace(regions=(region._replace(offset=offset),)))
    assert os.fstat(fd).st_size == 512 << 20


def test_rings_behind_an_iommu(store: Store) -> None:
    talk = Conversation()
    rings(talk, 9)
    talk.front_end("SET_FEATURES", features=1 << 33 | 1 << 30)
    talk.front_end("SET_VRING_ADDR", index=1, descriptor=0x1000, available=0x2000, used=0x3000, log_address=0)
    talk.front_end("IOTLB_MSG", iova=0x2000, length=0x2000, user_address=0x7F0000008000, permission=3, type=2)
    fd = store.lend(RAM, part(talk).messages[-7])
    Guest(store, part(talk).messages).prepare(talk.state)
    assert [struct.unpack("<HH", os.pread(fd, 4, 4096 + at))[1] for at in (0x8000, 0x9000)] == [9, 9]


# -- cues


def test_a_front_end_waits_for_answers_before_it(store: Store) -> None:
    talk = Conversation()
    talk.front_end("SET_OWNER")
    talk.front_end("GET_FEATURES")
    talk.reply("GET_FEATURES", features=1 << 30)
    talk.front_end("GET_PROTOCOL_FEATURES")
    cues = Cues(part(talk), FRONT_END)
    assert cues.next_request() == 0
    cues.request_sent(0)
    assert cues.next_request() == 1
    cues.request_sent(1)
    assert cues.next_request() is None
    assert cues.outstanding() == [2]
    assert cues.answer_came(("main", 1), 1) == 2
    assert cues.next_request() == 3
    cues.request_sent(3)
    assert cues.at_rest


def test_a_back_end_answers_what_has_come() -> None:
    talk = Conversation()
    talk.ask("GET_FEATURES", {"features": 0})
    cues = Cues(part(talk), BACK_END)
    assert cues.next_answer() is None and cues.next_request() is None
    armed = Armed(cues.our_answer[0], 0, None, ("main", 1))
    cues.armed.append(armed)
    assert cues.next_answer() == armed


def test_a_back_end_asks_first_where_it_did() -> None:
    """The record: a request, a question of the back-end's with its answer, and only then the reply."""
    talk = Conversation()
    features(talk, protocol=1 << 3 | 1 << 5 | 1 << 9)
    first = len(part(talk).messages)
    talk.front_end("GET_CONFIG", offset=0, config_flags=0, config=bytes(8))
    talk.back_end("CONFIG_CHANGE_MSG", need_reply=True)
    talk.say("backend", 0, "CONFIG_CHANGE_MSG", True, False, (), {"value": 0})
    talk.reply("GET_CONFIG", offset=0, config_flags=0, config=bytes(8))
    cues = Cues(part(talk), BACK_END)
    for place in (0, 2):
        cues.request_came(place)
    assert cues.next_request() is None
    cues.request_came(first)
    cues.armed.append(Armed(first + 3, first, None, ("main", 1)))
    assert cues.next_answer() == first + 1
    cues.request_sent(first + 1)
    assert cues.next_answer() is None
    cues.answer_came(("backend", 1), first + 1)
    assert cues.next_answer() == cues.armed[0]


def test_what_was_left_out_is_waited_for_by_nobody() -> None:
    talk = Conversation()
    talk.ask("GET_FEATURES", {"features": 0})
    talk.front_end("SET_OWNER")
    cues = Cues(part(talk), FRONT_END)
    cues.not_to_be_answered(0)
    assert cues.next_request() == 2


# -- scripts


def test_a_session_of_no_protocol_is_not_played() -> None:
    talk = Conversation()
    talk.octets(b"GET / HTTP/1.1", kind=2, protocol="")
    script = Script.of(talk.items)
    assert script.parts == ()
    assert script.notes == ("session 1 is of no protocol that vhostspy knows, and is not played",)


def test_where_the_set_up_ends() -> None:
    talk = Conversation()
    rings(talk, 0)
    talk.front_end("SET_VRING_KICK", index=1, fds=[KICK])
    enabled = talk.front_end("SET_VRING_ENABLE", index=1, num=1)
    talk.front_end("SET_VRING_ENABLE", index=1, num=0)
    talk.front_end("SET_VRING_ENABLE", index=1, num=1)
    assert part(talk).set_up == enabled.no


def test_a_cut_keeps_answers_with_their_requests() -> None:
    talk = Conversation()
    features(talk)
    script = Script.of(talk.items).cut(from_no=3, until_no=3)
    assert [(one.no, one.kind) for one in script.parts[0].messages] == [(3, "request"), (4, "reply")]
    assert script.parts[0].closed_by is None
