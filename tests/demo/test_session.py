"""Whole sessions between the two peers: what was written is there, and each message does what it says."""

from __future__ import annotations

import mmap
import os
import socket

import pytest

from vhostspy.demo import block
from vhostspy.demo.back_end import BackEnd, serving
from vhostspy.demo.block import SECTOR, Disk
from vhostspy.demo.conversation import NeedReply
from vhostspy.demo.exercise import exercise, pattern, write_and_compare
from vhostspy.demo.front_end import FEATURES, PROTOCOL_FEATURES, FrontEnd
from vhostspy.demo.inflight import InflightRegion
from vhostspy.demo.memory import Place
from vhostspy.demo.numbers import Feature, ProtocolFeature, Request, bits
from vhostspy.demo.payloads import STATE
from vhostspy.demo.wire import U64, OwnedFd, PeerError

from .conftest import Connect, Pair

MIB = 1 << 20


def test_data_survives(running: Pair) -> None:
    front_end, back_end = running
    front_end.write(5, pattern(5, 3))
    front_end.flush()
    assert front_end.read(5, 3) == pattern(5, 3)
    assert front_end.read(8, 1) == bytes(SECTOR)
    assert bytes(back_end.disk.octets[5 * SECTOR : 8 * SECTOR]) == pattern(5, 3)


def test_the_disk_tells_its_name_and_size(running: Pair) -> None:
    assert running.front_end.get_id() == "vhostspy-demo"
    assert running.front_end.capacity == 2048


@pytest.mark.parametrize("need_reply", ["qemu", "always", "never"])
@pytest.mark.parametrize(
    "without",
    [
        pytest.param((), id="everything"),
        pytest.param((ProtocolFeature.CONFIGURE_MEM_SLOTS,), id="memory table"),
        pytest.param((ProtocolFeature.INFLIGHT_SHMFD, ProtocolFeature.STATUS), id="no in-flight region, no status"),
        pytest.param((ProtocolFeature.REPLY_ACK,), id="no acknowledgements"),
        pytest.param(tuple(ProtocolFeature), id="no protocol feature"),
    ],
)
def test_every_way_of_negotiating_moves_data(
    connect: Connect, need_reply: NeedReply, without: tuple[ProtocolFeature, ...]
) -> None:
    front_end, back_end = connect(protocol_features=PROTOCOL_FEATURES & ~bits(*without), need_reply=need_reply)
    front_end.negotiate()
    front_end.start()
    write_and_compare(front_end, 40)
    front_end.stop()
    assert back_end.trouble == []


@pytest.mark.parametrize("bit", [Feature.PROTOCOL_FEATURES, Feature.INDIRECT_DESC])
def test_a_session_without_this_feature_moves_data(connect: Connect, bit: int) -> None:
    features = FEATURES & ~bits(bit)
    front_end, _ = connect(BackEnd(features=features), features=features)
    front_end.negotiate()
    front_end.start()
    write_and_compare(front_end, 40)


@pytest.mark.parametrize("region_sizes", [(2 * MIB,), (MIB, MIB), (MIB, 4096, 4096, MIB)])
def test_any_number_of_regions_will_do(connect: Connect, region_sizes: tuple[int, ...]) -> None:
    front_end, _ = connect(region_sizes=region_sizes)
    front_end.negotiate()
    front_end.start()
    write_and_compare(front_end, 40)


def test_indexes_advance_by_one_a_request(connect: Connect) -> None:
    front_end, back_end = connect(queues=2, queue_size=4)
    front_end.negotiate()
    front_end.start()
    for number in range(10):
        front_end.write(number, pattern(number, 1), index=number % 2)
    front_end.flush(index=1)
    assert front_end.stop() == [5, 6]
    assert [ring.queue.ring.used_index() for ring in front_end.rings] == [5, 6]
    assert back_end.disk.requests == 11


def test_a_stopped_session_starts_again_where_it_was(running: Pair) -> None:
    front_end, _ = running
    front_end.write(1, pattern(1, 1))
    assert front_end.stop() == [1]
    for region in reversed(front_end.memory.regions):
        front_end.rem_mem_reg(region.place)
    front_end.start()
    assert front_end.read(1, 1) == pattern(1, 1)
    assert front_end.stop() == [2]


def test_a_disabled_ring_waits(running: Pair) -> None:
    front_end, back_end = running
    front_end.set_vring_enable(0, False)
    front_end.rings[0].queue.write(3, pattern(3, 1))
    front_end.kick()
    front_end.get_features()  # behind this the kick has been seen
    assert back_end.disk.requests == 0
    front_end.set_vring_enable(0, True)
    assert front_end.take_done(1)[0].status == block.OK


def test_a_ring_without_kick_and_call_is_polled(connect: Connect) -> None:
    front_end, _ = connect()
    front_end.negotiate()
    front_end.set_features(front_end.offered & FEATURES)
    front_end.share_memory()
    front_end.set_vring_num(0)
    front_end.set_vring_base(0)
    front_end.set_vring_addr(0)
    front_end.set_vring_call(0)
    front_end.set_vring_kick(0, nofd=True)
    front_end.set_vring_enable(0, True)
    front_end.rings[0].queue.write(3, pattern(3, 1))
    assert front_end.take_done(1)[0].status == block.OK


def test_a_grown_disk_is_announced_and_acknowledged(running: Pair) -> None:
    front_end, back_end = running
    back_end.resize(4096)
    front_end.wait_config_change()
    assert (front_end.config_changes, front_end.capacity) == (1, 4096)
    front_end.write(4095, pattern(4095, 1))
    back_end.resize(1024)
    front_end.wait_config_change(seen=1)
    assert front_end.capacity == 1024
    assert front_end.request(block.IN, 1024, length=SECTOR).status == block.IOERR
    assert back_end.config_acks == [0, 0]
    assert front_end.messages["backend"] == 4


def test_an_announcement_is_answered_while_the_front_end_waits_for_something_else(connect: Connect) -> None:
    front_end, back_end = connect(BackEnd(grow_after=3))
    outcome = exercise(front_end, sectors=256, expect_growth=True)
    assert (outcome.capacity_before, outcome.capacity_after) == (2048, 4096)
    assert back_end.config_acks == [0]


def test_a_refused_announcement_is_reported(running: Pair) -> None:
    front_end, back_end = running
    front_end.on_backend_request = lambda message: 1
    back_end.resize(4096)
    while not back_end.trouble:
        front_end.read_config()  # answers the back-end channel meanwhile
    assert back_end.trouble == ["CONFIG_CHANGE_MSG: the front-end refused it (1)"]


def test_a_new_back_end_channel_replaces_the_old_one(running: Pair) -> None:
    front_end, back_end = running
    front_end.set_backend_req_fd()
    back_end.resize(4096)
    front_end.wait_config_change()
    assert front_end.capacity == 4096


def test_the_configuration_is_read_in_parts_and_written_where_allowed(running: Pair) -> None:
    front_end, back_end = running
    assert front_end.get_config(0, 8) == (2048).to_bytes(8, "little")
    assert front_end.get_config(20, 4) == SECTOR.to_bytes(4, "little")
    assert front_end.get_config(block.CONFIG_SIZE, 1) is None
    front_end.set_config(block.WRITEBACK_AT, b"\0")
    assert back_end.disk.writeback is False
    with pytest.raises(PeerError, match="SET_CONFIG: the back-end refused it"):
        front_end.set_config(0, b"\0")


def test_the_status_is_kept_until_a_reset(running: Pair) -> None:
    front_end, _ = running
    assert front_end.get_status() == 15
    front_end.reset_device()
    assert front_end.get_status() == 0


BAD_REQUESTS = [
    (block.IN, 2048, 0, SECTOR, block.IOERR),
    (block.IN, 2**64 - 1, 0, SECTOR, block.IOERR),
    (block.IN, 0, 0, SECTOR - 1, block.IOERR),
    (block.OUT, 2047, 2 * SECTOR, 0, block.IOERR),
    (block.GET_ID, 0, 0, 19, block.IOERR),
    (99, 0, 0, 0, block.UNSUPP),
]


@pytest.mark.parametrize(("kind", "sector", "out", "into", "status"), BAD_REQUESTS)
def test_a_bad_request_gets_a_status(running: Pair, kind: int, sector: int, out: int, into: int, status: int) -> None:
    assert running.front_end.request(kind, sector, bytes(out), into).status == status
    running.front_end.write(0, pattern(0, 1))


def test_a_hostile_chain_stops_its_ring_alone(connect: Connect) -> None:
    front_end, back_end = connect(queues=2)
    front_end.negotiate()
    front_end.start()
    ring = front_end.rings[0].queue.ring
    ring.write_descriptor(9, 0xDEAD_0000, 16, 1, 9)
    ring.announce(9)
    front_end.kick(0)
    front_end.wait_readable(front_end.rings[0].err.fileno(), "err")
    assert "loop" in back_end.trouble[0]
    front_end.write(1, pattern(1, 1), index=1)


def test_a_buffer_outside_all_memory_stops_the_ring(running: Pair) -> None:
    front_end, back_end = running
    ring = front_end.rings[0].queue.ring
    ring.write_descriptor(0, 0xDEAD_0000, 16, 1, 1)
    ring.write_descriptor(1, 0, 1, 2, 0)
    ring.announce(0)
    front_end.kick()
    front_end.wait_readable(front_end.rings[0].err.fileno(), "err")
    assert back_end.trouble == ["ring 0: guest address 0xdead0000 is in no region; it stands still now"]


REFUSED = [
    # what, and what the back-end says about it
    (lambda f: f.set_features(1 << 63), "SET_FEATURES: bits 0x8000000000000000 were not offered"),
    (lambda f: f.tell(18, STATE.pack(0, 2)), "SET_VRING_ENABLE: 2 is neither 0 nor 1"),
    (lambda f: f.tell(18, STATE.pack(9, 1)), "SET_VRING_ENABLE: there is no ring 9, only 4"),
    (lambda f: f.tell(18, bytes(7)), "SET_VRING_ENABLE: the payload has 7 bytes, the message has 8"),
    (lambda f: f.tell(8, STATE.pack(3, 5)), "SET_VRING_NUM: a split ring can't have 5 entries"),
    (lambda f: f.tell(12, U64.pack(0)), "SET_VRING_KICK: it came with 0 descriptors"),
    (lambda f: f.tell(21), "SET_BACKEND_REQ_FD: it came with 0 descriptors instead of 1"),
    (lambda f: f.set_status(256), "SET_STATUS: 0x100 is no virtio status"),
    (lambda f: f.rem_mem_reg(Place(1, 2, 3, 0)), "REM_MEM_REG: no region of 2 bytes at 0x1"),
    (lambda f: f.add_mem_reg(f.memory.regions[0].place), "ADD_MEM_REG: the region at 0x0 overlaps the one at 0x0"),
    (lambda f: f.add_mem_reg(Place(1 << 40, 1 << 40, 0, 0)), "ADD_MEM_REG: the region ends at 1099511627776"),
    (lambda f: f.tell(77), "message 77: this back-end does not know it"),
    (lambda f: f.tell(3, b"", [0, 1, 2]), "SET_OWNER: it came with 3 descriptors instead of 0"),
]


@pytest.mark.parametrize(("step", "sentence"), REFUSED)
def test_what_cannot_be_done_is_acknowledged_as_failed(connect: Connect, step: object, sentence: str) -> None:
    front_end, back_end = connect(need_reply="always")
    front_end.negotiate()
    front_end.start()
    assert callable(step)
    with pytest.raises(PeerError, match=r"refused it \(1\)"):
        step(front_end)
    assert back_end.trouble[0].startswith(sentence)
    front_end.write(0, pattern(0, 1))  # and the session goes on


def test_a_descriptor_of_the_wrong_kind_is_refused(connect: Connect) -> None:
    front_end, back_end = connect(need_reply="always")
    front_end.negotiate()
    reading = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    with OwnedFd(reading):
        with pytest.raises(PeerError, match="SET_BACKEND_REQ_FD: the back-end refused it"):
            front_end.tell(Request.SET_BACKEND_REQ_FD, b"", [reading])
        with pytest.raises(PeerError, match="ADD_MEM_REG: the back-end refused it"):
            front_end.tell(Request.ADD_MEM_REG, bytes(8) + Place(0, 4096, 0, 0).packed(), [reading])
    assert "not a socket" in back_end.trouble[0].lower() or "non-socket" in back_end.trouble[0].lower()
    front_end.start()
    write_and_compare(front_end, 8)


def test_a_kick_whose_other_end_is_gone_does_not_matter(running: Pair) -> None:
    """A pipe instead of an eventfd, as on other systems, and its writer goes away."""
    front_end, back_end = running
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with OwnedFd(reading):
        front_end.tell(Request.SET_VRING_KICK, U64.pack(0), [reading])
    front_end.rings[0].queue.write(3, pattern(3, 1))
    os.write(writing, b"\1")
    assert front_end.take_done(1)[0].status == block.OK
    os.close(writing)
    front_end.get_features()
    front_end.set_vring_kick(0)
    front_end.write(4, pattern(4, 1))
    assert back_end.trouble == []


def test_without_an_acknowledgement_a_refusal_ends_the_session(connect: Connect) -> None:
    front_end, back_end = connect(need_reply="never")
    front_end.negotiate()
    front_end.tell(77)
    with pytest.raises(PeerError, match=r"closed|reset"):
        front_end.get_features()
    assert "message 77: this back-end does not know it" in back_end.trouble


def test_written_pages_are_marked_in_the_log(connect: Connect) -> None:
    front_end, _ = connect()
    front_end.wanted_features |= bits(Feature.LOG_ALL)
    front_end.negotiate()
    front_end.start()
    size = (1 << 32) // 4096 // 8 + 4096
    with OwnedFd(os.memfd_create("log")) as fd:
        os.ftruncate(fd.fileno(), size)
        front_end.set_log_base(fd.fileno(), size)
        with mmap.mmap(fd.fileno(), size) as log:
            front_end.flush()
            place = front_end.memory.regions[1].place.guest_address
            assert [at for at, octet in enumerate(log[:]) if octet] == [place // 4096 // 8]


def test_an_in_flight_request_is_done_again_by_the_next_back_end() -> None:
    """The first back-end dies holding a request; a second one, over a new connection, carries it out."""
    ours, theirs = socket.socketpair()
    disk = Disk(2048)
    with FrontEnd(ours) as front_end:
        with serving(BackEnd(disk), theirs):
            front_end.negotiate()
            front_end.start()
            front_end.write(1, pattern(1, 1))
            front_end.set_vring_enable(0, False)
            front_end.rings[0].queue.write(7, pattern(7, 1))
        assert front_end.inflight is not None
        region = InflightRegion(OwnedFd(os.dup(front_end.inflight[0].fileno())), *_description(front_end))
        region.fetched(0, 0)  # as if it had been fetched just before the end
        region.close()
        again, theirs = socket.socketpair()
        front_end.reconnect(again)
        with serving(BackEnd(disk), theirs):
            front_end.negotiate()
            front_end.start()
            assert [done.sector for done in front_end.take_done(1)] == [7]
            assert front_end.stop() == [2]
    assert bytes(disk.octets[7 * SECTOR : 8 * SECTOR]) == pattern(7, 1)


def _description(front_end: FrontEnd) -> tuple[int, int, int, int]:
    assert front_end.inflight is not None
    payload = front_end.inflight[1]
    size, offset = int.from_bytes(payload[:8], "little"), int.from_bytes(payload[8:16], "little")
    return size, offset, int.from_bytes(payload[16:18], "little"), int.from_bytes(payload[18:20], "little")


def test_an_in_flight_region_longer_than_its_file_is_refused(running: Pair) -> None:
    front_end, _ = running
    with OwnedFd(os.memfd_create("short")) as fd, pytest.raises(PeerError, match=r"closed|reset"):
        front_end.tell(
            Request.SET_INFLIGHT_FD, bytes.fromhex("00100000000000000000000000000000 0100 4000 00000000"), [fd.fileno()]
        )
        front_end.get_features()


def test_a_back_end_serves_one_connection_after_the_other(connect: Connect) -> None:
    disk = Disk(64)
    for number in range(3):
        ours, theirs = socket.socketpair()
        with serving(BackEnd(disk), theirs), FrontEnd(ours) as front_end:
            front_end.negotiate()
            front_end.start()
            front_end.write(number, pattern(number, 1))
    assert disk.requests == 3


def test_both_sides_give_back_all_descriptors() -> None:
    before = os.listdir("/proc/self/fd")
    ours, theirs = socket.socketpair()
    with FrontEnd(ours, queues=4) as front_end, serving(BackEnd(grow_after=2), theirs):
        exercise(front_end, expect_growth=True)
        assert len(os.listdir("/proc/self/fd")) > len(before)
    assert os.listdir("/proc/self/fd") == before
