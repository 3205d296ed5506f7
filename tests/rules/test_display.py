"""vhost-user-gpu: each rule in a conversation that breaks it, and in a near one that does not."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack
from typing import Any

import pytest

from vhostspy.capture.record import Descriptor
from vhostspy.message import Message
from vhostspy.output.overview import session_lines, session_values

from ..pipeline.conversation import RAM, SECOND
from .talk import Talk, broken, features, found

FRONT, BACK = 0, 1
REPLY = 4
GET_FEATURES, SET_FEATURES, MODES, CURSOR, HIDE, SHAPE, SCANOUT, UPDATE, BUFFER, SHOWN, EDID, BUFFER2 = range(1, 13)
#: 256 × 64 pixels
TEXTURE = Descriptor("scanout", "dma-buf", "rw", 9, 31, size=256 * 64 * 4, name="/dmabuf:")
XR24 = int.from_bytes(b"XR24", "little")


class Screen(Talk):
    """A gpu's back-end, and the front-end's display; messages 1 to 7 are spent when the channel begins."""

    def __init__(self, begins: bool = True, **more: Any) -> None:
        super().__init__(**more)
        features(self)
        self.socket()
        if not begins:
            self.pipeline.sessions[1] = self.state._replace(displays={})

    def socket(self, channel_no: int = 1) -> Message:
        sent = self.front_end("GPU_SET_SOCKET", fds=[Descriptor("socket", "socket", "rw", 8, 5, name="socket:[5]")])
        self.event("channel", channel="gpu", after=sent.no)
        return sent

    def draws(self, number: int, payload: bytes = b"", fds: tuple[Descriptor, ...] = (), flags: int = 0) -> Message:
        """The back-end's request."""
        return self.display(BACK, number, payload, fds, flags)

    def shows(self, number: int, payload: bytes = b"", fds: tuple[Descriptor, ...] = (), flags: int = REPLY) -> Message:
        """The front-end's answer."""
        return self.display(FRONT, number, payload, fds, flags)

    def display(self, sender: int, number: int, payload: bytes, fds: tuple[Descriptor, ...], flags: int) -> Message:
        header = pack("<III", number, flags, len(payload))
        return self.octets(header + payload, "gpu", sender, fds=fds, protocol="vhost-user-gpu")

    def asks(self, number: int, payload: bytes = b"", answer: bytes = b"") -> tuple[Message, Message]:
        return self.draws(number, payload), self.shows(number, answer)

    def wait(self, ns: int) -> int:
        self.pause(ns)
        return ns

    def agrees(self, offered: int = 3, agreed: int = 3) -> Message:
        self.asks(GET_FEATURES, b"", pack("<Q", offered))
        return self.draws(SET_FEATURES, pack("<Q", agreed))

    def ends(self, sender: int = FRONT, seconds: int = 0) -> object:
        self.pause(seconds * SECOND)
        return self.event("eof", sender=sender, channel="gpu")


def place(*, at: tuple[int, int] = (0, 0), size: tuple[int, int] = (2, 2), scanout: int = 0) -> bytes:
    return pack("<5I", scanout, *at, *size)


def update(missing: int = 0, **where: Any) -> bytes:
    """Of 2 × 2 pixels, whatever is said."""
    return place(**where) + bytes(16 - missing)


def scanout(width: int = 64, height: int = 64, number: int = 0) -> bytes:
    return pack("<III", number, width, height)


def buffer(width: int = 256, height: int = 64, *, rows: int = 64, format: int = XR24) -> bytes:
    return pack("<9Ii", 0, 0, 0, width, height, 256, rows, 1024, 0, format)


def modes(enabled: int = 1, kind: int = 0x1101) -> bytes:
    control = pack("<IIQII", kind, 0, 0, 0, 0)
    return control + b"".join(pack("<6I", 0, 0, 1280, 800, number < enabled, 0) for number in range(16))


def edid(length: int = 128, kind: int = 0x1104) -> bytes:
    return pack("<IIQIIII", kind, 0, 0, 0, 0, length, 0) + bytes(1024)


ON = (TEXTURE,)
Said = Callable[[Screen], object]
#: rule, severity, who broke it, the conversation that breaks it, and a near one that does not
CASES: list[tuple[str, str, int, Said, Said]] = [
    ("VG-01", "error", FRONT, lambda t: (t.draws(MODES), t.shows(MODES, modes(), flags=5)),
     lambda t: t.asks(MODES, b"", modes())),
    ("VG-01", "error", FRONT, lambda t: (t.draws(MODES), t.shows(MODES, modes(), flags=0)),
     lambda t: t.asks(MODES, b"", modes())),
    ("VG-01", "error", BACK, lambda t: t.draws(MODES, flags=4), lambda t: t.draws(MODES)),
    ("VG-02", "error", BACK, lambda t: t.draws(13), lambda t: t.draws(MODES)),
    ("VG-02", "error", BACK, lambda t: t.draws(0), lambda t: t.draws(GET_FEATURES)),
    ("VG-03", "error", BACK, lambda t: t.draws(CURSOR, bytes(16)), lambda t: t.draws(CURSOR, bytes(12))),
    ("VG-03", "error", BACK, lambda t: t.draws(UPDATE, update(missing=4)), lambda t: t.draws(UPDATE, update())),
    ("VG-03", "error", BACK, lambda t: t.draws(UPDATE, bytes(16)), lambda t: t.draws(UPDATE, bytes(20))),
    ("VG-03", "error", BACK, lambda t: t.draws(BUFFER2, buffer(), ON), lambda t: t.draws(BUFFER, buffer(), ON)),
    ("VG-03", "error", BACK, lambda t: t.draws(SHAPE, bytes(16403)), lambda t: t.draws(SHAPE, bytes(16404))),
    ("VG-04", "error", FRONT, lambda t: (t.draws(CURSOR, bytes(12)), t.shows(CURSOR)),
     lambda t: t.asks(SHOWN, place())),
    ("VG-04", "error", FRONT, lambda t: (t.asks(SHOWN, place()), t.shows(SHOWN)),
     lambda t: (t.asks(SHOWN, place()), t.asks(SHOWN, place()))),
    ("VG-04", "error", FRONT, lambda t: (t.draws(SHOWN, place()), t.asks(MODES, b"", modes())),
     lambda t: (t.asks(SHOWN, place()), t.asks(MODES, b"", modes()))),
    # QEMU has no answer for a scanout that there is not
    ("VG-04", "note", FRONT, lambda t: (t.draws(EDID, pack("<I", 9)), t.asks(MODES, b"", modes())),
     lambda t: (t.asks(EDID, pack("<I", 0), edid()), t.asks(MODES, b"", modes()))),
    ("VG-04", "error", FRONT, lambda t: (t.draws(MODES), t.ends(BACK, seconds=20)),
     lambda t: (t.asks(MODES, b"", modes()), t.ends(BACK, seconds=20))),
    ("VG-04", "note", FRONT, lambda t: (t.draws(SHOWN, place()), t.ends()),
     lambda t: (t.asks(SHOWN, place()), t.ends())),
    ("VG-05", "error", FRONT, lambda t: t.asks(MODES, b"", modes()[:-24]), lambda t: t.asks(MODES, b"", modes())),
    ("VG-05", "error", FRONT, lambda t: t.asks(SHOWN, place(), bytes(8)), lambda t: t.asks(SHOWN, place())),
    ("VG-06", "error", FRONT, lambda t: (t.draws(MODES), t.shows(SHOWN)), lambda t: t.asks(MODES, b"", modes())),
    ("VG-07", "error", BACK, lambda t: t.draws(CURSOR, bytes(12), ON), lambda t: t.draws(CURSOR, bytes(12))),
    ("VG-07", "error", BACK, lambda t: t.draws(BUFFER, buffer(), ON * 2), lambda t: t.draws(BUFFER, buffer(), ON)),
    ("VG-07", "error", BACK, lambda t: t.draws(BUFFER, bytes(40), ON), lambda t: t.draws(BUFFER, bytes(40))),
    ("VG-08", "warning", BACK, lambda t: t.draws(BUFFER, buffer()), lambda t: t.draws(BUFFER, bytes(40))),
    ("VG-09", "warning", BACK, lambda t: t.draws(BUFFER, buffer(), (RAM._replace(role="scanout"),)),
     lambda t: t.draws(BUFFER, buffer(), ON)),
    ("VG-09", "warning", BACK, lambda t: t.draws(BUFFER, buffer(rows=65), ON), lambda t: t.draws(BUFFER, buffer(), ON)),
    ("VG-10", "warning", BACK, lambda t: t.draws(SCANOUT, scanout(number=16)),
     lambda t: t.draws(SCANOUT, scanout(number=15))),
    ("VG-10", "warning", BACK, lambda t: (t.asks(MODES, b"", modes(2)), t.draws(SCANOUT, scanout(number=2))),
     lambda t: (t.asks(MODES, b"", modes(2)), t.draws(SCANOUT, scanout(number=1)))),
    ("VG-11", "warning", BACK, lambda t: t.draws(UPDATE, update()),
     lambda t: (t.draws(SCANOUT, scanout()), t.draws(UPDATE, update()))),
    ("VG-11", "warning", BACK,
     lambda t: (t.draws(SCANOUT, scanout()), t.draws(SCANOUT, scanout(0)), t.draws(UPDATE, update())),
     lambda t: (t.draws(SCANOUT, scanout(0)), t.draws(SCANOUT, scanout()), t.draws(UPDATE, update()))),
    ("VG-11", "warning", BACK,
     lambda t: (t.draws(BUFFER, buffer(), ON), t.draws(BUFFER, bytes(40)), t.asks(SHOWN, place())),
     lambda t: (t.draws(BUFFER, buffer(), ON), t.asks(SHOWN, place()), t.draws(BUFFER, bytes(40)))),
    ("VG-12", "warning", BACK, lambda t: (t.draws(SCANOUT, scanout()), t.draws(UPDATE, update(at=(63, 0)))),
     lambda t: (t.draws(SCANOUT, scanout()), t.draws(UPDATE, update(at=(62, 62))))),
    ("VG-13", "warning", BACK, lambda t: (t.draws(SHOWN, place()), t.draws(SHOWN, place())),
     lambda t: (t.asks(SHOWN, place()), t.draws(SHOWN, place()))),
    ("VG-14", "warning", BACK, lambda t: t.draws(EDID, pack("<I", 0)),
     lambda t: (t.agrees(), t.draws(EDID, pack("<I", 0)))),
    ("VG-15", "warning", BACK, lambda t: (t.agrees(3, 1), t.draws(BUFFER2, buffer() + bytes(8), ON)),
     lambda t: (t.agrees(3, 2), t.draws(BUFFER2, buffer() + bytes(8), ON))),
    ("VG-16", "warning", BACK, lambda t: t.agrees(1, 3), lambda t: t.agrees(3, 1)),
    ("VG-17", "note", BACK, lambda t: (t.asks(MODES, b"", modes()), t.ends()), lambda t: (t.agrees(), t.ends())),
    ("VG-18", "warning", FRONT, lambda t: t.asks(EDID, pack("<I", 0), edid(1025)),
     lambda t: t.asks(EDID, pack("<I", 0), edid(1024))),
    ("VG-18", "warning", FRONT, lambda t: t.asks(EDID, pack("<I", 0), edid(kind=0x1200)),
     lambda t: t.asks(EDID, pack("<I", 0), edid())),
    ("VG-18", "warning", FRONT, lambda t: t.asks(MODES, b"", modes(kind=0x1200)),
     lambda t: t.asks(MODES, b"", modes())),
    ("VG-19", "warning", BACK, lambda t: (t.draws(SCANOUT, scanout()), t.ends(seconds=11)),
     lambda t: (t.draws(SCANOUT, scanout()), t.draws(UPDATE, update()), t.ends(seconds=11))),
    ("VG-19", "warning", BACK, lambda t: (t.draws(SCANOUT, scanout()), t.wait(11 * SECOND), t.draws(UPDATE, update())),
     lambda t: (t.draws(SCANOUT, scanout()), t.wait(9 * SECOND), t.draws(UPDATE, update()))),
    ("VG-20", "warning", FRONT, lambda t: (t.draws(SHOWN, place()), t.wait(SECOND), t.shows(SHOWN)),
     lambda t: (t.draws(SHOWN, place()), t.wait(SECOND // 2), t.shows(SHOWN))),
    ("VG-21", "note", FRONT, lambda t: t.socket(2), lambda t: t.asks(MODES, b"", modes())),
    ("VG-22", "warning", BACK, lambda t: t.draws(MODES, flags=1), lambda t: t.draws(MODES)),
    # QEMU's own back-end: what its stack held
    ("VG-22", "warning", BACK, lambda t: t.draws(UPDATE, update(), flags=0x7F5F), lambda t: t.draws(UPDATE, update())),
    ("VG-01", "error", BACK, lambda t: t.draws(UPDATE, update(), flags=4),
     lambda t: t.draws(UPDATE, update(), flags=0x7F5F)),
    ("VG-23", "note", BACK, lambda t: t.draws(SHAPE, bytes(20 + 4 * 96 * 96)), lambda t: t.draws(SHAPE, bytes(16404))),
    ("VG-24", "warning", BACK, lambda t: t.draws(BUFFER, buffer(format=0x31313131), ON),
     lambda t: t.draws(BUFFER, buffer(), ON)),
    ("VG-24", "warning", BACK, lambda t: t.draws(BUFFER2, buffer() + pack("<Q", 99 << 56 | 1), ON),
     lambda t: t.draws(BUFFER2, buffer() + pack("<Q", 1 << 56 | 1), ON)),
    ("VG-25", "error", FRONT, lambda t: (t.draws(SHOWN, place()), t.shows(SHOWN, b"", ON)),
     lambda t: (t.draws(SHOWN, place()), t.shows(SHOWN))),
]  # fmt: skip


@pytest.mark.parametrize(
    "rule, severity, who, wrong, right", CASES, ids=[f"{case[0]}-{place}" for place, case in enumerate(CASES)]
)
def test_wrong_and_nearly_so(rule: str, severity: str, who: int, wrong: Said, right: Said) -> None:
    talk = Screen()
    wrong(talk)
    assert [(level, end) for level, end, _ in broken(talk, rule)] == [(severity, who)]
    talk = Screen()
    right(talk)
    assert broken(talk, rule) == []


def test_a_session_as_qemu_and_its_back_end_have_it() -> None:
    talk = Screen()
    talk.agrees()
    talk.asks(MODES, b"", modes())
    talk.asks(EDID, pack("<I", 0), edid())
    talk.draws(SCANOUT, scanout())
    for _ in range(3):
        talk.draws(UPDATE, update())
        talk.draws(CURSOR, bytes(12))
    talk.draws(SHAPE, bytes(16404))
    talk.draws(BUFFER2, buffer() + bytes(8), ON)
    talk.asks(SHOWN, place())
    talk.draws(BUFFER2, bytes(48))
    talk.draws(HIDE, bytes(12))
    talk.pause(3600 * SECOND)
    talk.ends()
    assert [one for one in found(talk) if one[0].startswith("VG")] == []


def test_an_answer_that_never_comes_is_told_of_once() -> None:
    talk = Screen()
    talk.agrees()
    no = talk.draws(SHOWN, place()).no
    talk.pause(7 * SECOND)
    talk.ends(BACK)
    talk.event("close")
    assert broken(talk, "VG-20") == [("warning", FRONT, no)]
    assert broken(talk, "VG-04") == [("error", FRONT, no)]


def test_what_nobody_has_seen_begin_is_not_judged() -> None:
    talk = Screen(begins=False)
    talk.draws(EDID, pack("<I", 0))
    talk.draws(BUFFER2, buffer() + bytes(8), ON)
    talk.draws(UPDATE, update(scanout=1))
    talk.shows(SHOWN)
    talk.ends()
    assert {one.rule for one in talk.findings if one.rule.startswith("VG")} == {"VG-04"}
    assert [level for level, _, _ in broken(talk, "VG-04")] == ["note"]


def test_features_are_those_of_each_channel() -> None:
    """Of a new one nothing is agreed on, and nothing is shown."""
    talk = Screen()
    talk.agrees()
    assert talk.state.displays[1].agreed == 3
    talk.draws(SCANOUT, scanout())
    assert [one.number for one in talk.state.displays[1].scanouts.values()] == [0]
    talk.ends()
    talk.socket()
    display = talk.state.displays[1]
    assert (display.whole, display.agreed, display.scanouts) == (True, 0, {})


def test_a_session_says_what_its_displays_show() -> None:
    talk = Screen()
    talk.agrees()
    talk.draws(SCANOUT, scanout(1280, 800))
    talk.draws(BUFFER, buffer(), ON)
    talk.draws(SCANOUT, scanout(640, 480, number=1))
    lines = [line.strip() for line in session_lines(talk.state)]
    assert "displays   1: EDID, DMABUF2; scanout 0: 256×64 buffer; scanout 1: 640×480 pixels" in lines
    (display,) = session_values(talk.state)["displays"]
    assert display["agreed"] == 3
    assert [(one["scanout_id"], one["shows"]) for one in display["scanouts"]] == [(0, "buffer"), (1, "pixels")]


@pytest.mark.parametrize("rule, number, payload", [("VG-14", EDID, pack("<I", 0)), ("VG-17", MODES, b"")])
def test_rust_back_ends_agree_on_nothing(rule: str, number: int, payload: bytes) -> None:
    talk = Screen(profile=(None, "rust-vmm"))
    talk.draws(number, payload)
    talk.ends()
    assert [level for level, _, _ in broken(talk, rule)] == (["note"] if rule == "VG-14" else [])
