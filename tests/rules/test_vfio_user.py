"""vfio-user: each rule in a conversation that breaks it, and in one that does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from struct import pack
from typing import Any

import pytest

from vhostspy.capture.record import Descriptor
from vhostspy.message import Message

from ..pipeline.conversation import KICK, RAM, SECOND
from .talk import Talk, broken

CLIENT, SERVER = 0, 1
REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20
#: what both ends of these conversations can do
CAPABLE = {"max_msg_fds": 8, "max_data_xfer_size": 4096, "pgsizes": 4096, "max_dma_maps": 2, "write_multiple": True}


class Vfio(Talk):
    """A client and a server; ``version`` negotiates and spends messages 1 and 2."""

    msgid = 0

    def send(
        self, command: int, payload: bytes = b"", flags: int = 0, *, sender: int = CLIENT, msgid: int | None = None,
        error: int = 0, fds: tuple[Descriptor, ...] = (), channel: str = "main",
    ) -> Message:  # fmt: skip
        if msgid is None:
            self.msgid += not flags & REPLY
            msgid = self.msgid
        header = pack("<HHIII", msgid, command, 16 + len(payload), flags, error)
        return self.octets(header + payload, channel, sender, fds=fds, protocol="vfio-user")

    def answer(self, command: int, payload: bytes = b"", flags: int = 0, **more: Any) -> Message:
        return self.send(command, payload, REPLY | flags, sender=SERVER, **more)

    def ask(  # type: ignore[override]
        self, command: int, payload: bytes = b"", reply: bytes = b"", *, fds: tuple[Descriptor, ...] = ()
    ) -> tuple[Message, Message]:
        return self.send(command, payload, fds=fds), self.answer(command, reply)

    def silent(self, seconds: int) -> int:
        """Nothing passes, and whoever watches looks at the clock."""
        self.at += seconds * SECOND
        self.items += self.pipeline.tick(self.at)
        return seconds

    def wait(self, ns: int) -> int:
        self.pause(ns)
        return ns


def version_text(minor: int = 1, **capabilities: object) -> bytes:
    return pack("<HH", 0, minor) + json.dumps({"capabilities": capabilities or CAPABLE}).encode() + b"\0"


def negotiated() -> Vfio:
    """Message 3 is next, of message id 2."""
    talk = Vfio()
    talk.ask(VERSION, version_text(), version_text())
    return talk


VERSION, MAP, UNMAP, INFO, REGION, IO_FDS, IRQ, SET_IRQS, READ, WRITE = range(1, 11)
DMA_READ, DMA_WRITE, RESET, DIRTY, MULTI, FEATURE, MIG_READ, MIG_WRITE = range(11, 19)
PAGE = 4096
REGION_ASKED = pack("<IIIIQQ", 32, 0, 0, 0, 0, 0)
REGION_0 = pack("<IIIIQQ", 32, 3, 0, 0, 256, 0)


def dma_map(address: int = 0, length: int = PAGE, flags: int = 3) -> bytes:
    return pack("<IIQQQ", 32, flags, 0, address, length)


def dma_unmap(address: int = 0, length: int = PAGE, flags: int = 0) -> bytes:
    return pack("<IIQQ", 24, flags, address, length)


def access(offset: int = 0, region: int = 0, count: int = 4, data: bytes = b"") -> bytes:
    return pack("<QII", offset, region, count) + data


def irqs(flags: int = 0x24, index: int = 0, start: int = 0, count: int = 1) -> bytes:
    return pack("<IIIII", 20, flags, index, start, count)


def feature(number: int, bits: int, data: bytes = b"") -> bytes:
    return pack("<II", 8 + len(data), number | bits << 16) + data


GET, SET = 1, 2


def state(number: int) -> bytes:
    return feature(2, SET, pack("<II", number, 0))


Case = tuple[str, str, int, Callable[[Vfio], object], Callable[[Vfio], object]]


def wrong_then_right() -> list[Case]:
    """rule, severity, who broke it, the conversation that breaks it, and a near one that does not."""
    return [
        ("VF-HDR-01", "error", CLIENT, lambda t: t.send(WRITE, access(0, 0, 8192, bytes(8192))),
         lambda t: t.send(WRITE, access(0, 0, 4096, bytes(4096)))),
        ("VF-HDR-02", "error", CLIENT, lambda t: t.send(RESET, flags=2), lambda t: t.send(RESET, flags=NO_REPLY)),
        ("VF-HDR-02", "error", CLIENT, lambda t: t.send(RESET, flags=ERROR), lambda t: t.send(RESET)),
        ("VF-HDR-03", "error", SERVER, lambda t: (t.send(RESET), t.answer(INFO, bytes(16))),
         lambda t: t.ask(RESET)),
        ("VF-HDR-04", "error", SERVER, lambda t: (t.send(RESET), t.answer(RESET, bytes(4), ERROR, error=22)),
         lambda t: (t.send(RESET), t.answer(RESET, b"", ERROR, error=22))),
        ("VF-HDR-05", "warning", SERVER, lambda t: t.send(RESET, sender=SERVER),
         lambda t: t.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER)),
        ("VF-HDR-06", "error", SERVER, lambda t: (t.send(RESET, flags=NO_REPLY), t.answer(RESET)),
         lambda t: (t.send(RESET, flags=NO_REPLY), t.ask(RESET))),
        ("VF-HDR-07", "error", CLIENT, lambda t: t.send(99), lambda t: t.send(RESET)),
        ("VF-HDR-09", "note", CLIENT, lambda t: (t.send(RESET, msgid=9), t.send(RESET, msgid=9)),
         lambda t: (t.send(RESET, msgid=9), t.answer(RESET, msgid=9), t.send(RESET, msgid=9))),
        ("VF-HDR-10", "note", CLIENT, lambda t: (t.send(RESET), t.send(RESET)), lambda t: (t.ask(RESET), t.ask(RESET))),
        ("VF-FD-01", "error", CLIENT, lambda t: t.send(RESET, fds=(KICK,)),
         lambda t: t.send(MAP, dma_map(), fds=(RAM,))),
        ("VF-FD-01", "error", CLIENT, lambda t: t.send(SET_IRQS, irqs(count=9), fds=(KICK,) * 9),
         lambda t: t.send(SET_IRQS, irqs(count=8), fds=(KICK,) * 8)),
        ("VF-RTP-01", "note", SERVER, lambda t: (t.send(RESET), t.wait(6 * SECOND), t.answer(RESET)),
         lambda t: (t.send(RESET), t.wait(SECOND), t.answer(RESET))),
        ("VF-END-01", "note", CLIENT, lambda t: (t.ask(MAP, dma_map()), t.event("eof", sender=CLIENT)),
         lambda t: (t.ask(MAP, dma_map()), t.ask(UNMAP, dma_unmap(), dma_unmap()), t.event("eof", sender=CLIENT))),
        ("VF-VER-10", "note", CLIENT, lambda t: t.send(VERSION, version_text()), lambda t: t.send(RESET)),
        ("VF-DMA-01", "error", CLIENT, lambda t: t.send(MAP, dma_map() + bytes(4)), lambda t: t.send(MAP, dma_map())),
        ("VF-DMA-01", "error", CLIENT, lambda t: t.send(UNMAP, pack("<IIQQ", 8, 0, 0, PAGE)),
         lambda t: t.send(UNMAP, dma_unmap())),
        ("VF-DMA-02", "warning", CLIENT, lambda t: t.send(MAP, dma_map(flags=0)), lambda t: t.send(MAP, dma_map())),
        ("VF-DMA-03", "error", CLIENT, lambda t: t.send(MAP, dma_map(flags=7)),
         lambda t: t.send(MAP, dma_map(flags=7), fds=(RAM,))),
        ("VF-DMA-04", "error", CLIENT, lambda t: (t.ask(MAP, dma_map(0, 2 * PAGE)), t.send(MAP, dma_map(PAGE))),
         lambda t: (t.ask(MAP, dma_map(0, PAGE)), t.send(MAP, dma_map(PAGE)))),
        ("VF-DMA-05", "error", CLIENT, lambda t: (t.ask(MAP, dma_map(0, 2 * PAGE)), t.send(UNMAP, dma_unmap())),
         lambda t: (t.ask(MAP, dma_map()), t.send(UNMAP, dma_unmap()))),
        ("VF-DMA-06", "warning", CLIENT, lambda t: t.send(UNMAP, dma_unmap(0, PAGE, 2)),
         lambda t: t.send(UNMAP, dma_unmap(0, 0, 2))),
        ("VF-DMA-07", "warning", CLIENT, lambda t: [t.ask(MAP, dma_map(at * PAGE)) for at in range(3)],
         lambda t: [t.ask(MAP, dma_map(at * PAGE)) for at in range(2)]),
        ("VF-DMA-07", "warning", CLIENT, lambda t: t.send(MAP, dma_map(1)), lambda t: t.send(MAP, dma_map(PAGE))),
        ("VF-DMA-08", "error", SERVER, lambda t: t.ask(UNMAP, dma_unmap(), b""),
         lambda t: t.ask(UNMAP, dma_unmap(), dma_unmap())),
        ("VF-DMA-09", "warning", SERVER, lambda t: t.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER),
         lambda t: (t.ask(MAP, dma_map()), t.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER))),
        ("VF-DMA-10", "note", CLIENT, lambda t: (t.ask(MAP, dma_map()), t.event("eof", sender=CLIENT)),
         lambda t: (t.ask(MAP, dma_map(), fds=(RAM,)), t.event("eof", sender=CLIENT))),
        ("VF-DMA-11", "note", SERVER,
         lambda t: (t.ask(MAP, dma_map(), fds=(RAM,)), t.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER)),
         lambda t: (t.ask(MAP, dma_map()), t.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER))),
        ("VF-INF-01", "error", CLIENT, lambda t: t.send(INFO, bytes(16)),
         lambda t: t.send(INFO, pack("<4I", 16, 0, 0, 0))),
        ("VF-INF-01", "warning", CLIENT, lambda t: t.send(REGION, REGION_ASKED + bytes(32)),
         lambda t: t.send(REGION, REGION_ASKED)),
        ("VF-INF-02", "error", CLIENT,
         lambda t: (t.ask(INFO, pack("<4I", 16, 0, 0, 0), pack("<4I", 16, 1, 9, 5)), t.send(SET_IRQS, irqs(index=5))),
         lambda t: (t.ask(INFO, pack("<4I", 16, 0, 0, 0), pack("<4I", 16, 1, 9, 5)), t.send(SET_IRQS, irqs(index=2)))),
        ("VF-INF-03", "error", SERVER, lambda t: t.ask(REGION, REGION_ASKED, pack("<IIIIQQ", 32, 7, 0, 0, 256, 0)),
         lambda t: t.ask(REGION, REGION_ASKED, REGION_0)),
        ("VF-INF-04", "error", SERVER,
         lambda t: t.ask(REGION, REGION_ASKED, pack("<IIIIQQHHI", 40, 11, 0, 32, 256, 0, 3, 1, 32)),
         lambda t: t.ask(REGION, REGION_ASKED, pack("<IIIIQQHHI", 40, 11, 0, 32, 256, 0, 3, 1, 0))),
        ("VF-INF-05", "warning", SERVER,
         lambda t: t.ask(REGION, pack("<I", 64) + REGION_ASKED[4:], pack("<I", 64) + REGION_0[4:]),
         lambda t: t.ask(REGION, REGION_ASKED, pack("<I", 64) + REGION_0[4:])),
        ("VF-INF-06", "warning", CLIENT, lambda t: t.send(IO_FDS, pack("<4I", 16, 0, 0, 1)),
         lambda t: t.send(IO_FDS, pack("<4I", 16, 0, 0, 0))),
        ("VF-INF-07", "warning", SERVER, lambda t: sub_region(t, 254), lambda t: sub_region(t, 252)),
        ("VF-IRQ-01", "error", CLIENT, lambda t: t.send(SET_IRQS, irqs(0x26)), lambda t: t.send(SET_IRQS, irqs(0x21))),
        ("VF-IRQ-02", "error", CLIENT, lambda t: t.send(SET_IRQS, irqs(0x22, count=2) + bytes(1)),
         lambda t: t.send(SET_IRQS, irqs(0x22, count=2) + bytes(2))),
        ("VF-IRQ-02", "error", CLIENT, lambda t: t.send(SET_IRQS, irqs(count=2), fds=(KICK,)),
         lambda t: t.send(SET_IRQS, irqs(count=2))),
        ("VF-IRQ-03", "error", CLIENT, lambda t: irq_range(t, 3), lambda t: irq_range(t, 2)),
        ("VF-IRQ-03", "error", CLIENT, lambda t: t.send(SET_IRQS, irqs(0x21, start=1, count=0)),
         lambda t: t.send(SET_IRQS, irqs(0x21, count=0))),
        ("VF-IRQ-04", "error", CLIENT, lambda t: t.send(SET_IRQS, irqs(0x0C, index=3)),
         lambda t: t.send(SET_IRQS, irqs(0x24, index=3))),
        ("VF-IRQ-05", "warning", CLIENT, lambda t: t.send(SET_IRQS, irqs(0x21), fds=(KICK,)),
         lambda t: t.send(SET_IRQS, irqs(0x24), fds=(KICK,))),
        ("VF-REG-01", "error", CLIENT, lambda t: region_read(t, 253), lambda t: region_read(t, 252)),
        ("VF-REG-02", "error", CLIENT, lambda t: t.send(WRITE, access(count=4, data=bytes(2))),
         lambda t: t.send(WRITE, access(count=4, data=bytes(4)))),
        ("VF-REG-02", "error", CLIENT, lambda t: t.send(READ, access(count=8192)),
         lambda t: t.send(READ, access(count=4096))),
        ("VF-REG-03", "warning", CLIENT, lambda t: (t.ask(FEATURE, state(3), state(3)), t.send(READ, access())),
         lambda t: (t.ask(FEATURE, state(1), state(1)), t.send(READ, access()))),
        ("VF-REG-04", "error", CLIENT, lambda t: t.send(MULTI, pack("<QQII8x", 1, 0, 0, 9)),
         lambda t: t.send(MULTI, pack("<QQII8x", 1, 0, 0, 8))),
        ("VF-REG-05", "warning", SERVER, lambda t: t.ask(MULTI, pack("<QQII8x", 1, 0, 0, 8), pack("<Q", 0)),
         lambda t: t.ask(MULTI, pack("<QQII8x", 1, 0, 0, 8), pack("<Q", 1))),
        ("VF-REG-06", "note", CLIENT, lambda t: t.send(READ, access()),
         lambda t: (t.ask(REGION, REGION_ASKED, REGION_0), t.send(READ, access()))),
        ("VF-RST-01", "warning", CLIENT, lambda t: t.send(RESET, bytes(4)), lambda t: t.send(RESET)),
        ("VF-RST-02", "warning", CLIENT,
         lambda t: (t.ask(INFO, pack("<4I", 16, 0, 0, 0), pack("<4I", 16, 2, 9, 5)), t.send(RESET)),
         lambda t: (t.ask(INFO, pack("<4I", 16, 0, 0, 0), pack("<4I", 16, 3, 9, 5)), t.send(RESET))),
        ("VF-MIG-01", "error", CLIENT, lambda t: t.send(FEATURE, feature(1, GET | SET)),
         lambda t: t.send(FEATURE, feature(1, GET | SET | 4))),
        ("VF-MIG-02", "error", CLIENT, lambda t: (t.ask(FEATURE, state(3), state(3)), t.send(FEATURE, state(6))),
         lambda t: (t.ask(FEATURE, state(6), state(6)), t.send(FEATURE, state(3)))),
        ("VF-MIG-03", "error", CLIENT, lambda t: report(t), lambda t: (logging(t), report(t))),
        ("VF-MIG-04", "error", CLIENT, lambda t: t.send(FEATURE, logged(4097)),
         lambda t: t.send(FEATURE, logged(4096))),
        ("VF-MIG-05", "error", CLIENT,
         lambda t: (t.ask(FEATURE, state(1), state(1)), t.send(MIG_READ, pack("<II", 72, 64))),
         lambda t: (t.ask(FEATURE, state(3), state(3)), t.send(MIG_READ, pack("<II", 72, 64)))),
        ("VF-MIG-06", "warning", CLIENT, lambda t: t.send(MIG_READ, pack("<II", 9000, 8192)),
         lambda t: t.send(MIG_READ, pack("<II", 4104, 4096))),
        ("VF-DMA-12", "warning", SERVER, lambda t: pieces(t, 0, 0), lambda t: pieces(t, 0, 4096)),
        ("VF-DMA-12", "warning", SERVER, lambda t: pieces(t, 0, 0), lambda t: pieces(t, 0, 0, count=64)),
        ("VF-HDR-11", "note", CLIENT,
         lambda t: (t.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER), t.send(RESET)),
         lambda t: (t.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER),
                    t.send(DMA_READ, pack("<QQ", 0, 4) + bytes(4), 1, sender=CLIENT), t.send(RESET))),
        ("VF-STL-01", "error", 2,
         lambda t: (t.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER), t.send(RESET), t.silent(6)),
         lambda t: (t.send(RESET), t.silent(6), t.answer(RESET))),
        ("VF-MIG-08", "warning", SERVER, lambda t: copied(t, reset=True), lambda t: copied(t, reset=False)),
        ("VF-MIG-07", "warning", CLIENT, lambda t: migrated(t, 64), lambda t: migrated(t, 10)),
    ]  # fmt: skip


def pieces(talk: Vfio, *addresses: int, count: int = 4096) -> None:
    """The server reads that much, from there."""
    for address in addresses:
        talk.send(DMA_READ, pack("<QQ", address, count), sender=SERVER)


def copied(talk: Vfio, *, reset: bool) -> None:
    """A migration begins, and its next step is refused."""
    talk.ask(FEATURE, state(6), state(6))
    if reset:
        talk.ask(RESET)
    talk.send(FEATURE, state(3))
    talk.answer(FEATURE, b"", ERROR, error=22)


def sub_region(talk: Vfio, offset: int) -> None:
    talk.ask(REGION, REGION_ASKED, REGION_0)
    talk.send(IO_FDS, pack("<4I", 56, 0, 0, 0))
    talk.answer(IO_FDS, pack("<4IQQIIIIQ", 56, 0, 0, 1, offset, 4, 0, 0, 0, 0, 0), fds=(KICK,))


def irq_range(talk: Vfio, count: int) -> None:
    talk.ask(IRQ, pack("<4I", 16, 0, 2, 0), pack("<4I", 16, 1, 2, 2))
    talk.send(SET_IRQS, irqs(index=2, count=count))


def region_read(talk: Vfio, offset: int) -> None:
    talk.ask(REGION, REGION_ASKED, REGION_0)
    talk.send(READ, access(offset))


def logged(page: int = PAGE) -> bytes:
    return feature(6, SET, pack("<QIIQQ", page, 1, 0, 0, PAGE))


def logging(talk: Vfio) -> object:
    return talk.ask(FEATURE, logged(), logged())


def report(talk: Vfio) -> object:
    return talk.send(FEATURE, feature(8, GET, pack("<QQQ", 0, PAGE, PAGE)))


def migrated(talk: Vfio, came: int) -> None:
    """The state is asked for in pieces of 64 bytes, and left after one."""
    talk.ask(FEATURE, state(3), state(3))
    talk.ask(MIG_READ, pack("<II", 72, 64), pack("<II", 72, came) + bytes(came))
    talk.send(FEATURE, state(1))


CASES = wrong_then_right()
IDS = [f"{rule}-{place}" for place, (rule, *_) in enumerate(CASES)]


@pytest.mark.parametrize("rule, severity, who, wrong, right", CASES, ids=IDS)
def test_wrong_and_nearly_so(
    rule: str, severity: str, who: int, wrong: Callable[[Vfio], object], right: Callable[[Vfio], object]
) -> None:
    talk = negotiated()
    wrong(talk)
    assert {(level, end) for level, end, _ in broken(talk, rule)} == {(severity, who)}
    talk = negotiated()
    right(talk)
    assert broken(talk, rule) == []


def test_a_refused_region_is_not_there() -> None:
    talk = negotiated()
    talk.send(MAP, dma_map())
    talk.answer(MAP, b"", ERROR, error=17)
    talk.send(MAP, dma_map())
    assert broken(talk, "VF-DMA-04") == []


@pytest.mark.parametrize("how", ["hangs up", "refuses", "answers"])
def test_crossing_commands_that_an_end_does_not_cope_with(how: str) -> None:
    """libvfio-user #279: the server waited for its data, and took the client's command for it."""
    talk = negotiated()
    asked = talk.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER)
    crossing = talk.send(RESET)
    if how == "hangs up":
        talk.event("eof", sender=SERVER)
    else:
        error = ERROR if how == "refuses" else 0
        talk.answer(RESET, b"", error, error=22 if error else 0, msgid=crossing.msgid)
    harmed = [one for one in talk.findings if one.rule == "VF-HDR-11" and one.severity == "error"]
    assert [(one.who, one.no, one.evidence) for one in harmed] == [(CLIENT, crossing.no, (asked.no, crossing.no))] * (
        how != "answers"
    )


def test_the_servers_own_socket() -> None:
    talk = negotiated()
    talk.event("channel", channel="second", after=2)
    talk.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER, channel="second")
    assert broken(talk, "VF-HDR-08") == []
    talk.send(DMA_READ, pack("<QQ", 0, 4), sender=SERVER)
    assert broken(talk, "VF-HDR-08") == [("warning", SERVER, 4)]


# -- VERSION


def test_something_before_version() -> None:
    talk = Vfio()
    talk.send(RESET)
    assert broken(talk, "VF-VER-01") == [("error", CLIENT, 1)]


def test_something_before_versions_reply() -> None:
    talk = Vfio()
    talk.send(VERSION, version_text())
    talk.send(RESET)
    assert broken(talk, "VF-VER-02") == [("error", CLIENT, 2)]
    assert broken(talk, "VF-VER-01") == []


def test_what_follows_versions_reply() -> None:
    talk = negotiated()
    talk.send(RESET)
    assert broken(talk, "VF-VER-02") == []


def test_where_the_capture_began_in_the_middle_version_may_have_come() -> None:
    talk = Vfio(whole=False)
    talk.send(RESET)
    assert talk.findings == []


TWIN = {"supported": True}


def twin(index: int) -> bytes:
    return version_text(twin_socket=TWIN | {"fd_index": index})


REPLIES: list[tuple[str, str, bytes, bytes, tuple[Descriptor, ...], bool]] = [
    # rule, severity, command, reply, the reply's descriptors, wrong
    ("VF-VER-03", "error", version_text(1), version_text(2), (), True),
    ("VF-VER-03", "error", version_text(1), version_text(0), (), False),
    ("VF-VER-04", "error", version_text(), version_text()[:-1], (), True),
    ("VF-VER-04", "error", version_text(), pack("<HH", 0, 1) + b"[]\0", (), True),
    ("VF-VER-04", "error", version_text(), pack("<HH", 0, 1), (), False),
    ("VF-VER-05", "warning", version_text(), version_text(colour=1), (), True),
    ("VF-VER-05", "warning", version_text(), version_text(migration={}), (), False),
    ("VF-VER-06", "warning", version_text(), version_text(max_msg_fds="8"), (), True),
    ("VF-VER-06", "warning", version_text(), version_text(max_msg_fds=8), (), False),
    ("VF-VER-07", "error", version_text(), version_text(), (RAM,), True),
    ("VF-VER-07", "error", version_text(), version_text(), (), False),
    ("VF-VER-08", "error", version_text(), twin(0), (RAM,), True),
    ("VF-VER-08", "error", version_text(twin_socket=TWIN), twin(1), (RAM,), True),
    ("VF-VER-08", "error", version_text(twin_socket=TWIN), twin(0), (RAM,), False),
    ("VF-VER-09", "warning", version_text(max_msg_fds=8), version_text(), (), True),
    ("VF-VER-09", "warning", version_text(), version_text(max_msg_fds=8), (), False),
]  # fmt: skip


@pytest.mark.parametrize("rule, severity, command, reply, fds, wrong", REPLIES)
def test_what_comes_back(
    rule: str, severity: str, command: bytes, reply: bytes, fds: tuple[Descriptor, ...], wrong: bool
) -> None:
    talk = Vfio()
    talk.send(VERSION, command)
    talk.answer(VERSION, reply, fds=fds)
    assert broken(talk, rule) == [(severity, SERVER, 2)] * wrong


@pytest.mark.parametrize("anew", [True, False])
def test_who_connects_again_begins_anew(anew: bool) -> None:
    talk = negotiated()
    talk.event("close")
    talk.session = 2
    record = talk.records[0]._replace(session=2, previous=1)
    talk.feed(record)
    if anew:
        talk.ask(VERSION, version_text(), version_text())
    talk.send(READ, access())
    assert broken(talk, "VF-END-02") == [("warning", CLIENT, 3)] * (not anew)
