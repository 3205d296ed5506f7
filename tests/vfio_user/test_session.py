"""A client and a device of our own through the relay: every command, both kinds of DMA, both sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pytest

from tests.relay.harness import Relayed, events, temporary_folder
from vhostspy.capture.record import Record
from vhostspy.dissectors.vfio_user import COMMANDS
from vhostspy.message import Message
from vhostspy.pipeline import Pipeline

from .client import Client, Refused
from .device import FETCH, INTERRUPT, STORE
from .server import Server
from .tour import HIGH, LOW, MIB, dma, interrupt, use_all
from .wire import (
    BAR0,
    BAR2,
    DMA_MAP,
    REGION_WRITE,
)


class Talk:
    """A client, and a server in a thread, with a relay between."""

    def __init__(self, relayed: Relayed) -> None:
        self.relayed = relayed
        front, back = relayed.open()
        relayed.forget()
        self.client = Client(front)
        back.settimeout(10)
        self._thread = threading.Thread(target=Server(back).serve, daemon=True)
        self._thread.start()

    def end(self) -> list[Record]:
        """The client goes; gives what was recorded."""
        self.client.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.relayed.no_session()
        return self.relayed.stop()


@pytest.fixture
def relayed() -> Iterator[Relayed]:
    with temporary_folder() as folder, Relayed(Path(folder)) as relay:
        yield relay


@pytest.fixture
def talk(relayed: Relayed) -> Talk:
    return Talk(relayed)


def read(records: list[Record]) -> list[Message]:
    """What the pipeline makes of them; each is explained by its row, to the last octet."""
    pipeline = Pipeline()
    items = [item for record in records for item in pipeline.feed(record)]
    messages = [item for item in items if isinstance(item, Message)]
    for message in messages:
        assert message.kind != "raw"
        if message.row is not None:
            assert not message.decoded.rest, message
            assert not message.decoded.missing, message
        if message.is_reply:
            assert message.answers is not None, message
    assert not any(pipeline.finish())
    return messages


@pytest.mark.parametrize("twin", [False, True], ids=["one socket", "two sockets"])
@pytest.mark.parametrize("shared", [True, False], ids=["by descriptor", "by message"])
def test_the_device_reaches_memory(talk: Talk, twin: bool, shared: bool) -> None:
    client = talk.client
    client.negotiate(**({"twin_socket": {"supported": True}} if twin else {}))
    assert (client.second is not None) == twin
    ram = client.map(LOW, MIB, shared)
    ram.memory[100:111] = b"from memory"
    with interrupt(client) as came:
        assert dma(client, LOW + 100, 11, FETCH) == 0
        assert came()
        assert client.read(BAR2, 0, 11) == b"from memory"
        client.write(BAR2, 0, b"from device")
        assert dma(client, LOW + 5000, 11, STORE) == 0
        assert came()
    assert ram.memory[5000:5011] == b"from device"
    messages = read(talk.end())
    accesses = [message for message in messages if message.name in ("DMA_READ", "DMA_WRITE")]
    assert len(accesses) == (0 if shared else 4)
    assert {message.channel for message in accesses} <= {"second" if twin else "main"}
    roles = [(fd.role, fd.kind) for message in messages for fd in message.fds]
    assert roles == [("socket", "socket")] * twin + [("dma", "memfd")] * shared + [("irq", "eventfd")]


def test_the_second_socket_is_a_channel(relayed: Relayed) -> None:
    talk = Talk(relayed)
    talk.client.negotiate(twin_socket={"supported": True})
    talk.client.map(LOW, MIB, shared=False)
    assert dma(talk.client, LOW, 64, FETCH) == 0
    records = talk.end()
    (opened,) = events(records, "channel")
    assert opened["channel"] == "second"
    messages = read(records)
    assert next(one for one in messages if one.no == opened["after"]).name == "VERSION"
    assert [(one.sender, one.name, one.kind) for one in messages if one.channel == "second"] == [
        (1, "DMA_READ", "request"),
        (0, "DMA_READ", "reply"),
    ]


def test_every_command(talk: Talk) -> None:
    """One after the other, so that each is seen once at least, with what may come in its reply."""
    client = talk.client
    client.negotiate(write_multiple=True)
    use_all(client)
    messages = read(talk.end())
    seen = {message.name for message in messages}
    assert seen == {row.name for row in COMMANDS} - {"DIRTY_PAGES"}


def test_refusals(talk: Talk) -> None:
    client = talk.client
    client.negotiate()
    client.map(LOW, MIB, shared=True)
    with pytest.raises(Refused, match="17"):  # EEXIST
        client.map(LOW + 4096, MIB, shared=True)
    with pytest.raises(Refused, match="22"):
        client.read(BAR0, 4096, 1)
    with pytest.raises(Refused, match="22"):
        client.ask(99)
    assert dma(client, HIGH, 1, FETCH) == 14  # EFAULT
    messages = read(talk.end())
    refused = [(message.name, message.info) for message in messages if message.refused]
    assert refused == [
        ("DMA_MAP", "failed: EEXIST (17)"),
        ("REGION_READ", "failed: EINVAL (22)"),
        (None, "failed: EINVAL (22)"),
    ]


def test_replies_find_their_commands_when_several_are_under_way(talk: Talk) -> None:
    """As QEMU does with memory: sent without waiting, collected afterwards, in any order."""
    client = talk.client
    client.negotiate()
    sent = [client.wire.send(DMA_MAP, pack("=IIQQQ", 32, 3, 0, HIGH + at * MIB, MIB)) for at in range(8)]
    for msgid in reversed(sent):
        client.wait(msgid)
    requests = [message for message in read(talk.end()) if message.name == "DMA_MAP"]
    answered = {message.msgid: message.no for message in requests if not message.is_reply}
    assert [message.answers for message in requests if message.is_reply] == [
        answered[message.msgid] for message in requests if message.is_reply
    ]


def test_a_mebibyte_each_way(talk: Talk) -> None:
    """Longer than what a socket holds: it passes in pieces, and is one message again in the capture."""
    client = talk.client
    client.negotiate()
    data = bytes(range(256)) * 4096
    with pytest.raises(Refused):  # the device's buffer is shorter, and says so after all of it has come
        client.ask(REGION_WRITE, pack("=QII", 0, BAR2, len(data)) + data)
    ram = client.map(LOW, MIB, shared=False)
    ram.memory[:] = data
    assert dma(client, LOW, 8192, FETCH) == 0
    assert client.read(BAR2, 0, 8192) == data[:8192]
    messages = read(talk.end())
    assert data in [message.fields.get("data") for message in messages if message.name == "REGION_WRITE"]


def test_an_interrupt_alone(talk: Talk) -> None:
    client = talk.client
    client.negotiate()
    with interrupt(client) as came:
        assert dma(client, 0, 0, INTERRUPT) == 0
        assert came()
    talk.end()
