"""Bugs that no rule over one session's messages can find: how they are seen."""

from __future__ import annotations

import socket
from pathlib import Path

from vhostspy.capture.record import MESSAGE, Record
from vhostspy.compare import Strictness, align
from vhostspy.message import Message
from vhostspy.pipeline import Pipeline
from vhostspy.relay.endpoint import Connector, Listener
from vhostspy.rules.engine import Rules

from ...relay.harness import Relayed, connected, listening, receive, running, send, taken, until
from .notation import FRONT, steps
from .player import play

USUAL = """
    HELLO(0)
    > 5 mt(1;0/0x1000000/0x7f0000000000/0)+1fd
    RING(0)
    > 18 st(0,1)
"""
OWNER = bytes.fromhex("03000000 01000000 00000000")


def test_a_ring_that_is_disabled_before_it_is_stopped(tmp_path: Path) -> None:
    """V19: right by the specification, and another order than a back-end was written against. Comparing shows it."""
    stops = ("> 11 st(0,0)\n< 11{R} st(0,7)\n> 18 st(0,0)\n", "> 18 st(0,0)\n> 11 st(0,0)\n< 11{R} st(0,7)\n")
    with Relayed(tmp_path) as relayed:
        for stop in stops:
            play(relayed, steps(f"{USUAL}{stop}> EOF"))
        records = relayed.stop()
    pipeline = Pipeline()
    items = [item for record in records for item in pipeline.feed(record)]
    first, second = ([one for one in items if isinstance(one, Message) and one.session == number] for number in (1, 2))
    others = [pair for pair in align(first, second, Strictness.SEMANTIC) if pair.how != "same"]
    assert [pair.how for pair in others] == ["moved"]
    assert {one.name for pair in others for one in (pair.expected, pair.came) if one} <= {
        "SET_VRING_ENABLE", "GET_VRING_BASE",
    }  # fmt: skip


def test_a_front_end_that_never_connects_again(tmp_path: Path) -> None:
    """C1: the back-end dies in the second handshake; QEMU had unregistered what would have made it try again.

    A live proxy cannot know what does not come; its capture can, once the relay ends.
    """
    with Relayed(tmp_path) as relayed:
        relayed.call(lambda: relayed.relay.event("start", text="", listen=[relayed.front_path]))
        play(relayed, steps("HELLO(0)\n< EOF\nagain\n> 1\n< EOF"))
        relayed.call(lambda: relayed.relay.event("end", text=""))
        records = relayed.stop()
    pipeline = Pipeline(rules=Rules())
    later = 60_000_000_000
    found = [
        one
        for record in records
        for item in pipeline.feed(record if record.session else record._replace(time_ns=record.time_ns + later))
        for one in item.findings
        if one.rule == "VU-SES-05"
    ]
    assert [(one.severity, one.who, one.no) for one in found] == [("note", FRONT, records_sent(records))]
    assert "session 2, which ended in the handshake" in found[0].text


def records_sent(records: list[Record]) -> int:
    return sum(one.kind == MESSAGE for one in records)


def test_a_back_end_that_accepts_nobody(tmp_path: Path) -> None:
    """C5: OVS stood in connect() for 512 s. The relay waits for nobody and says so, and goes on once it is let in."""
    front_path, back_path = str(tmp_path / "front"), str(tmp_path / "back")
    said: list[str] = []
    waiting = []
    with listening(back_path, backlog=0) as listener:
        while True:
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                one.connect(back_path)
            except BlockingIOError:
                one.close()
                break
            waiting.append(one)
        with running(Listener(front_path), Connector(back_path), say=said.append), connected(front_path) as front:
            send(front, OWNER)
            until(lambda: said, "it is said")
            assert said == [
                f"{back_path}: somebody listens there and accepts nobody, the queue is full; trying again for 10 s"
            ]
            for one in waiting:
                one.close()
                listener.accept()[0].close()
            back, _ = listener.accept()
            with back:
                assert receive(back).data == OWNER


def test_what_came_in_pieces_goes_on_in_one(tmp_path: Path) -> None:
    """P1: split messages are legal, and fatal for most receivers: the relay's are whole, whatever came."""
    payload = bytes.fromhex("09000000 01000000 28000000") + bytes(40)
    with Relayed(tmp_path) as relayed:
        front, back = relayed.open()
        for cut in (5, 12, 20):
            front.sendall(payload[:cut])
            taken(front)
            front.sendall(payload[cut:])
            assert back.recv(4096) == payload
        records = [one for one in relayed.stop() if one.kind == MESSAGE]
    assert [one.reads for one in records] == [2, 2, 2]
