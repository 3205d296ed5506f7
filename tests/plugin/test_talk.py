"""``vhostspy.testing``: messages by name over a socket pair, with the demo's peers on the other end."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from vhostspy.demo.back_end import BackEnd as DemoBackEnd
from vhostspy.demo.back_end import serving
from vhostspy.demo.block import Disk
from vhostspy.demo.front_end import FrontEnd as DemoFrontEnd
from vhostspy.testing import BackEnd, FrontEnd, TalkError
from vhostspy.testing.members import by_number

VERSION_1, PROTOCOL_FEATURES = 1 << 32, 1 << 30


@pytest.fixture
def front_end() -> Iterator[FrontEnd]:
    """Connected to a back-end that has a disk."""
    ours, theirs = socket.socketpair()
    with serving(DemoBackEnd(Disk(2048)), theirs), FrontEnd(ours, device="block", timeout_s=5) as talk:
        yield talk


def test_a_member_by_its_name_and_its_bits_by_theirs(front_end: FrontEnd) -> None:
    offered = front_end.ask("GET_FEATURES")
    assert offered["features"] & VERSION_1
    assert {"VERSION_1", "BLK_SIZE"} <= set(offered.names("features"))
    with pytest.raises(KeyError, match=r"GET_FEATURES has no member 'feature' \(did you mean features\?\)"):
        offered["feature"]
    assert repr(offered).startswith("<GET_FEATURES reply 0x")


def test_the_usual_beginning(front_end: FrontEnd) -> None:
    front_end.negotiate()
    assert front_end.session.virtio_agreed == VERSION_1 | PROTOCOL_FEATURES
    assert front_end.agreed("REPLY_ACK") and not front_end.agreed("INFLIGHT_SHMFD")
    front_end.share_memory(1 << 20)
    kick, _ = front_end.start_ring(0, size=128)
    front_end.kick(kick)
    assert front_end.session.rings[0].enabled
    assert front_end.stop_ring(0) == 0
    assert [one.rule for one in front_end.findings if one.severity != "note"] == []


def test_members_may_be_given_by_name(front_end: FrontEnd) -> None:
    front_end.send("SET_FEATURES", features=["VERSION_1", "FLUSH", "bit 30"])
    assert front_end.messages[-1].fields == {"features": VERSION_1 | PROTOCOL_FEATURES | 1 << 9}
    with pytest.raises(ValueError, match=r"features: nothing is called 'VERSION_2' \(did you mean VERSION_1\?\)"):
        front_end.send("SET_FEATURES", features=["VERSION_2"])


def test_a_message_that_there_is_not(front_end: FrontEnd) -> None:
    with pytest.raises(ValueError, match=r"sends no 'GET_FEATURE' on the main channel \(did you mean GET_FEATURES\?\)"):
        front_end.ask("GET_FEATURE")
    with pytest.raises(ValueError, match="member 'num' is missing"):
        front_end.send("SET_VRING_NUM", index=0)


def test_a_refusal_is_told_with_what_was_said(front_end: FrontEnd) -> None:
    front_end.negotiate()
    assert not front_end.ask("SET_VRING_NUM", index=99, num=64).ok
    with pytest.raises(TalkError, match="the back-end: it refused SET_VRING_NUM: failed") as trouble:
        front_end.tell("SET_VRING_NUM", index=99, num=64)
    assert "→ SET_VRING_NUM  ring 99, 64 entries" in str(trouble.value)


@pytest.mark.parametrize("slots", [True, False], ids=["ADD_MEM_REG", "SET_MEM_TABLE"])
def test_memory_that_is_refused_is_told(front_end: FrontEnd, slots: bool) -> None:
    """Its row has an answer of its own, in postcopy; otherwise it is acknowledged as others are."""
    front_end.negotiate(protocol_features=["REPLY_ACK", *(["CONFIGURE_MEM_SLOTS"] if slots else [])])
    region = {"guest_address": 0, "length": 1 << 20, "user_address": 0, "mmap_offset": 1 << 30}
    with pytest.raises(TalkError, match=f"it refused {'ADD_MEM_REG' if slots else 'SET_MEM_TABLE'}: failed"):
        if slots:
            front_end.tell("ADD_MEM_REG", fds=[front_end.memfd(4096)], **region)
        else:
            front_end.tell("SET_MEM_TABLE", fds=[front_end.memfd(4096)], regions=[region])


def test_descriptors_come_with_their_facts(front_end: FrontEnd) -> None:
    front_end.negotiate(protocol_features=["REPLY_ACK", "INFLIGHT_SHMFD"])
    answer = front_end.ask("GET_INFLIGHT_FD", mmap_length=0, mmap_offset=0, num_queues=1, queue_size=64)
    (fact,) = answer.message.fds
    assert (fact.role, fact.kind) == ("inflight", "memfd")
    fd = answer.take()
    assert os.fstat(fd).st_size >= answer["mmap_length"] > 0
    os.close(fd)


def test_requests_of_the_back_end_are_acknowledged_meanwhile() -> None:
    ours, theirs = socket.socketpair()
    with serving(DemoBackEnd(Disk(2048)), theirs) as back_end, FrontEnd(ours, timeout_s=5) as front_end:
        front_end.negotiate(protocol_features=["REPLY_ACK", "BACKEND_REQ", "BACKEND_SEND_FD", "CONFIG"])
        front_end.open_back_end_channel()
        back_end.resize(4096)
        assert front_end.expect_request("CONFIG_CHANGE_MSG").channel == "backend"
        # the answer to this comes behind the acknowledgement
        front_end.ask("GET_FEATURES")
        assert back_end.config_acks == [0]
        with pytest.raises(TalkError, match="expected its request CONFIG_CHANGE_MSG, and it did not come"):
            front_end.expect_request("CONFIG_CHANGE_MSG", timeout_s=0.05)


def test_silence_has_an_end() -> None:
    ours, theirs = socket.socketpair()
    with theirs, FrontEnd(ours, timeout_s=0.05) as front_end:
        with pytest.raises(TalkError, match=r"expected an answer to GET_FEATURES, and nothing came for 0\.05 s"):
            front_end.ask("GET_FEATURES")
        with pytest.raises(TalkError, match="expected it to close, and it did not"):
            front_end.expect_close()
        theirs.close()
        with pytest.raises(TalkError, match="it has closed the main channel"):
            front_end.ask("GET_FEATURES")


def test_octets_that_no_row_would_make(front_end: FrontEnd) -> None:
    front_end.send_octets(bytes.fromhex("63000000 01000000 00000000"))
    front_end.expect_close()


def test_an_answer_to_something_else_is_told() -> None:
    ours, theirs = socket.socketpair()
    with theirs, FrontEnd(ours, timeout_s=1) as front_end:
        # GET_QUEUE_NUM, where GET_FEATURES was asked
        theirs.sendall(bytes.fromhex("11000000 05000000 08000000  0200000000000000"))
        with pytest.raises(TalkError, match="expected an answer to GET_FEATURES, and <GET_QUEUE_NUM reply"):
            front_end.ask("GET_FEATURES")


def test_to_speak_for_a_back_end() -> None:
    ours, theirs = socket.socketpair()
    trouble: list[Exception] = []

    def front_end() -> None:
        try:
            with DemoFrontEnd(theirs, timeout_s=5) as demo:
                demo.negotiate()
                demo.start()
        except Exception as error:
            trouble.append(error)

    thread = threading.Thread(target=front_end)
    thread.start()
    with BackEnd(ours, timeout_s=5) as back_end:
        taken = back_end.serve("SET_FEATURES", {"GET_PROTOCOL_FEATURES": {"protocol_features": ["REPLY_ACK"]}})
        assert set(taken.names("features")) == {"VERSION_1", "PROTOCOL_FEATURES"}
        assert back_end.agreed("REPLY_ACK")
    thread.join(5)
    assert not thread.is_alive()


def test_a_vfio_user_client() -> None:
    """Its message ids and sizes, which count the header, are as the protocol wants."""
    ours, theirs = socket.socketpair()
    with theirs, FrontEnd(ours, protocol="vfio-user", timeout_s=1) as client:
        client.send("DEVICE_GET_INFO", argsz=16, device_flags=0, num_regions=0, num_irqs=0)
        octets = theirs.recv(100)
        assert octets.hex(" ", 4) == "00000400 20000000 00000000 00000000 10000000 00000000 00000000 00000000"
        theirs.sendall(bytes.fromhex("0000 0400 20000000 01000000 00000000  10000000 02000000 09000000 05000000"))
        heard = client.receive()
        assert (heard.name, heard["num_regions"], heard.message.answers) == ("DEVICE_GET_INFO", 9, 1)


def test_a_vfio_user_server_answers_the_number_that_it_was_asked_with() -> None:
    ours, theirs = socket.socketpair()
    with theirs, BackEnd(ours, protocol="vfio-user", timeout_s=1) as server:
        # DEVICE_GET_INFO, message 7, and DEVICE_RESET, message 8
        theirs.sendall(bytes.fromhex("0700 0400 20000000 00000000 00000000  10000000 00000000 00000000 00000000"))
        theirs.sendall(bytes.fromhex("0800 0d00 10000000 00000000 00000000"))
        info, reset = server.expect("DEVICE_GET_INFO"), server.expect("DEVICE_RESET")
        server.reply(info, argsz=16, device_flags=2, num_regions=9, num_irqs=5)
        server.refuse(reset)
        assert theirs.recv(32).hex(" ", 4) == "07000400 20000000 01000000 00000000 10000000 02000000 09000000 05000000"
        # a reply (1) with an error (1 << 5), EINVAL
        assert theirs.recv(32).hex(" ", 4) == "08000d00 10000000 21000000 16000000"


def test_a_back_end_refuses() -> None:
    ours, theirs = socket.socketpair()
    with theirs, BackEnd(ours, timeout_s=1) as back_end:
        # SET_OWNER with NEED_REPLY
        theirs.sendall(bytes.fromhex("03000000 09000000 00000000"))
        back_end.refuse(back_end.expect("SET_OWNER"), 1)
        assert theirs.recv(32).hex(" ", 4) == "03000000 05000000 08000000 01000000 00000000"


def test_values_by_name(front_end: FrontEnd) -> None:
    row = front_end.row("SET_DEVICE_STATE_FD")
    assert by_number(row, False, {"direction": "load", "phase": 0}, None) == {"direction": 1, "phase": 0}
    with pytest.raises(ValueError, match=r"direction: nothing is called 'loads' \(did you mean load\?\)"):
        by_number(row, False, {"direction": "loads"}, None)


def test_what_cannot_be_read_is_told() -> None:
    ours, theirs = socket.socketpair()
    with theirs, FrontEnd(ours, timeout_s=5) as talk:
        theirs.sendall(b"\xff" * 100)
        with pytest.raises(TalkError, match=r"<unread octets 100 bytes> came\n.*\n *#2 +← unread octets  100 bytes"):
            talk.ask("GET_FEATURES")
