"""A back-end draws through the relay on a screen of our own: all twelve messages, frames of 8 MiB, buffers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pytest

from tests.relay.harness import Relayed, events, message, receive, send, temporary_folder
from vhostspy.capture.record import Record
from vhostspy.message import Message
from vhostspy.pipeline import Pipeline

from .display import Display, draw
from .wire import (
    GET_DISPLAY_INFO,
    GET_EDID,
    SCANOUT,
    UPDATE,
)

GET_FEATURES, GPU_SET_SOCKET = 1, 33
WIDTH, HEIGHT = 1920, 1080


@pytest.fixture
def relayed() -> Iterator[Relayed]:
    with temporary_folder() as folder, Relayed(Path(folder)) as relay:
        yield relay


@pytest.fixture
def ends(relayed: Relayed) -> tuple[socket.socket, socket.socket]:
    front, back = relayed.open()
    send(front, message(GET_FEATURES))
    receive(back)
    return front, back


def read(records: list[Record]) -> list[Message]:
    """The channel's messages, each explained by its row to the last octet, each reply with its request."""
    pipeline = Pipeline()
    items = [item for record in records for item in pipeline.feed(record)]
    messages = [item for item in items if isinstance(item, Message) and item.channel == "gpu"]
    for one in messages:
        assert one.row is not None, one
        assert not one.decoded.rest and not one.decoded.missing, one
        assert not one.is_reply or one.answers is not None, one
    return messages


def test_all_twelve_messages(relayed: Relayed, ends: tuple[socket.socket, socket.socket]) -> None:
    display = Display(*ends)
    screen = display.screen
    draw(display)
    display.close()
    assert set(screen.seen) == set(range(1, 13))
    assert (screen.features, screen.modifier, screen.cursor) == (3, 1 << 56 | 1, None)
    assert screen.shape == b"\xff" * 16384
    assert screen.pixels[4 * (4 * 64 + 8) : 4 * (4 * 64 + 10)] == b"\1\2\3\0" * 2
    messages = read(relayed.stop())
    assert {one.id for one in messages} == set(range(1, 13))
    assert [(fd.role, fd.kind) for one in messages for fd in one.fds] == [("scanout", "memfd")] * 2
    assert {one.name for one in messages if one.is_reply} == {
        "GET_PROTOCOL_FEATURES", "GET_DISPLAY_INFO", "GET_EDID", "DMABUF_UPDATE",
    }  # fmt: skip
    assert [one.kind for one in messages if one.awaited] == ["request"] * 5


def test_frames_of_eight_mebibytes(relayed: Relayed, ends: tuple[socket.socket, socket.socket]) -> None:
    """As a screen without acceleration sends: each arrives whole, and is one message in the capture."""
    display = Display(*ends)
    frame = bytes(range(256)) * (4 * WIDTH * HEIGHT // 256)
    display.wire.send(SCANOUT, pack("=III", 0, WIDTH, HEIGHT))
    for _ in range(3):
        display.wire.send(UPDATE, pack("=IIIII", 0, 0, 0, WIDTH, HEIGHT) + frame)
    display.ask(GET_DISPLAY_INFO)
    display.close()
    assert display.screen.pixels == frame
    updates = [one for one in read(relayed.stop()) if one.name == "UPDATE"]
    assert [one.length for one in updates] == [12 + 8_294_420] * 3
    assert updates[0].info == "scanout 0, 1920×1080 at 0,0, 2073600 pixels x8r8g8b8"
    assert updates[0].fields["pixels"] == frame


def test_an_edid_that_is_never_sent(relayed: Relayed, ends: tuple[socket.socket, socket.socket]) -> None:
    """QEMU has no answer for a scanout that there is not: the request stays open, the next answer is not its."""
    display = Display(*ends)
    display.wire.send(GET_EDID, pack("=I", 9))
    display.ask(GET_DISPLAY_INFO)
    display.close()
    asked, *others = read(relayed.stop())
    assert asked.awaited
    assert asked.no not in [one.answers for one in others]


def test_a_new_socket_is_a_new_channel(relayed: Relayed, ends: tuple[socket.socket, socket.socket]) -> None:
    """QEMU makes one each time the guest's driver starts."""
    for _ in range(2):
        display = Display(*ends)
        display.ask(GET_DISPLAY_INFO)
        display.close()
    records = relayed.stop()
    assert [(event["channel"], event["text"]) for event in events(records, "channel")] == [
        ("gpu", "gpu channel 1 is relayed"),
        ("gpu", "gpu channel 2 is relayed"),
    ]
    assert [(one.channel_no, one.sender) for one in read(records)] == [(1, 1), (1, 0), (2, 1), (2, 0)]
