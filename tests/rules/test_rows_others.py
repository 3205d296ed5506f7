"""What follows from the rows of displays and of vfio-user: each right, and near ones in which it is not."""

from __future__ import annotations

from struct import pack

import pytest

from vhostspy.capture.record import Descriptor
from vhostspy.dissectors.plan import plan
from vhostspy.dissectors.registry import PROTOCOLS
from vhostspy.dissectors.rows import BACK_END, Layout, Message
from vhostspy.rules.vfio_sizes import ELSEWHERE

from ..pipeline.conversation import KICK, RAM
from .talk import Talk, broken, found
from .test_display import TEXTURE, Screen
from .test_rows import right
from .test_vfio_user import Vfio, negotiated, version_text

FORM = ("VG-01", "VG-02", "VG-03", "VG-04", "VG-05", "VG-06", "VG-07", "VG-22", "VG-25")
DRAWN = list(PROTOCOLS["vhost-user-gpu"].channels["gpu"].messages.values())
COMMANDS = [row for row in PROTOCOLS["vfio-user"].channels["main"].messages.values() if row.name != "DIRTY_PAGES"]


def named(rows: list[Message]) -> list[str]:
    return [row.name for row in rows]


def least(layouts: tuple[Layout, ...] | None) -> int:
    return plan(layouts[0], "<").least if layouts else 0


def wrong(talk: Talk, *families: str) -> set[tuple[str, int | None]]:
    return {(rule, who) for rule, _, who, _ in found(talk) if rule.startswith(families)}


# -- displays


def screen() -> Screen:
    talk = Screen()
    talk.agrees()
    talk.items.clear()
    talk.asked.clear()
    return talk


def drawn(row: Message, more: int = 0, fds: tuple[Descriptor, ...] = (), **other: int) -> Screen:
    """The back-end's request, with so many octets more than it has."""
    talk = screen()
    talk.draws(row.id, bytes(least(row.request) + more), fds, **other)
    return talk


@pytest.mark.parametrize("row", DRAWN, ids=named(DRAWN))
def test_what_is_drawn_as_its_row_has_it_is_fine(row: Message) -> None:
    talk = drawn(row)
    right(talk, *FORM, "VG-14", "VG-15")
    assert wrong(talk, *FORM, "VG-14", "VG-15") == set()


@pytest.mark.parametrize("row", DRAWN, ids=named(DRAWN))
@pytest.mark.parametrize("more", [1, -1])
def test_a_drawing_of_another_size_is_found(row: Message, more: int) -> None:
    if least(row.request) + more >= 0:
        rule = "VG-23" if row.name == "CURSOR_UPDATE" and more > 0 else "VG-03"
        assert wrong(drawn(row, more), "VG-03", "VG-23") == {(rule, BACK_END)}


@pytest.mark.parametrize("row", DRAWN, ids=named(DRAWN))
def test_a_drawing_with_a_descriptor_more_is_found(row: Message) -> None:
    """Of a buffer the size says 0 × 0 here: it is turned off."""
    assert wrong(drawn(row, 0, (TEXTURE,)), *FORM) == {("VG-07", BACK_END)}


@pytest.mark.parametrize("row", DRAWN, ids=named(DRAWN))
def test_flags_of_a_drawing(row: Message) -> None:
    assert wrong(drawn(row, flags=1), *FORM) == {("VG-22", BACK_END)}
    assert ("VG-01", BACK_END) in wrong(drawn(row, flags=4), *FORM)


@pytest.mark.parametrize("row", DRAWN, ids=named(DRAWN))
def test_answers_to_what_is_drawn(row: Message) -> None:
    size = least(row.reply)
    talk = drawn(row)
    talk.shows(row.id, bytes(size))
    if row.reply is None:
        assert wrong(talk, *FORM) == {("VG-04", 0)}
        return
    right(talk, *FORM)
    assert wrong(talk, *FORM) == set()
    for octets, fds, rule in ((size + 1, (), "VG-05"), (size - 1, (), "VG-05"), (size, (RAM,), "VG-25")):
        if octets >= 0:
            talk = drawn(row)
            talk.shows(row.id, bytes(octets), fds)
            assert wrong(talk, *FORM) == {(rule, 0)}
    talk = drawn(row)
    talk.shows(row.id, bytes(size))
    talk.shows(row.id, bytes(size))
    assert broken(talk, "VG-04") == [("error", 0, talk.no)]


GATES = [row for row in DRAWN if row.needs]


@pytest.mark.parametrize("row", GATES, ids=named(GATES))
def test_what_is_drawn_without_its_feature_is_found(row: Message) -> None:
    talk = Screen()
    talk.agrees(3, 3 & ~(1 << row.needs[0].bit))
    talk.items.clear()
    talk.draws(row.id, bytes(least(row.request)))
    assert wrong(talk, "VG-14", "VG-15") == {({0: "VG-14", 1: "VG-15"}[row.needs[0].bit], BACK_END)}


# -- vfio-user


#: rules of the form; what else is said of zeros in every member is not the question here
VFIO_FORM = ("VF-HDR", "VF-FD", "VF-SZ")
SIZES = (
    "VF-SZ",
    "VF-VER-04",
    "VF-DMA-01",
    "VF-DMA-08",
    "VF-INF-01",
    "VF-IRQ-02",
    "VF-REG-02",
    "VF-REG-04",
    "VF-RST-01",
)


def fresh() -> Vfio:
    talk = negotiated()
    talk.items.clear()
    talk.asked.clear()
    return talk


def body(row: Message, more: int = 0) -> bytes:
    """The command's fixed part, with argsz as it should be."""
    size = least(row.request)
    if row.name == "VERSION":
        return version_text() + bytes(more) if more > 0 else version_text()[: more or None]
    if row.name.startswith(("DEVICE_GET", "DMA_MAP", "DMA_UNMAP", "DEVICE_FEATURE", "DEVICE_SET")):
        return (pack("<I", size) + bytes(size))[: size + more]
    return bytes(size + more)


def commanded(row: Message, more: int = 0, fds: tuple[Descriptor, ...] = ()) -> Vfio:
    talk = fresh()
    talk.send(row.id, body(row, more), sender=row.sender, fds=fds)
    return talk


@pytest.mark.parametrize("row", COMMANDS, ids=named(COMMANDS))
def test_a_command_as_its_row_has_it_is_fine(row: Message) -> None:
    talk = commanded(row)
    right(talk, *VFIO_FORM)
    assert wrong(talk, *VFIO_FORM, *SIZES) == set()


@pytest.mark.parametrize("row", COMMANDS, ids=named(COMMANDS))
@pytest.mark.parametrize("more", [1, -1])
def test_a_command_of_another_size_is_found(row: Message, more: int) -> None:
    if least(row.request) + more < 0 or (row.name, more) == ("DEVICE_FEATURE", 1):
        return  # a feature of a number that no row knows has any size
    rule = ELSEWHERE.get((row.name, False), "VF-SZ-01")
    assert (rule, row.sender) in wrong(commanded(row, more), *SIZES)


@pytest.mark.parametrize("row", COMMANDS, ids=named(COMMANDS))
def test_a_command_with_a_descriptor_more_is_found(row: Message) -> None:
    """Of those that carry some it is one more than the receiver takes; DMA_MAP takes one at most."""
    many = (KICK,) * (9 if row.request_fds.most else 1)
    rule = "VF-VER-07" if row.name == "VERSION" else "VF-FD-01"
    assert (rule, row.sender) in wrong(commanded(row, 0, many), "VF-FD", "VF-VER-07")


@pytest.mark.parametrize("row", COMMANDS, ids=named(COMMANDS))
def test_a_command_of_the_wrong_end_is_found(row: Message) -> None:
    talk = fresh()
    talk.send(row.id, body(row), sender=1 - row.sender)
    assert broken(talk, "VF-HDR-05") == [("warning", 1 - row.sender, 3)]


@pytest.mark.parametrize("row", COMMANDS, ids=named(COMMANDS))
def test_replies_of_vfio_user(row: Message) -> None:
    size = len(version_text()) if row.name == "VERSION" else least(row.reply)
    answer = version_text() if row.name == "VERSION" else bytes(size)
    talk = commanded(row)
    talk.send(row.id, answer, 1, sender=1 - row.sender)
    right(talk, *VFIO_FORM)
    assert wrong(talk, *VFIO_FORM) == set()
    rule = ELSEWHERE.get((row.name, True), "VF-SZ-01")
    for octets in (answer + b"\1", answer[:-1]):
        if len(octets) == size or (row.name, len(octets)) == ("DEVICE_FEATURE", size + 1):
            continue
        talk = commanded(row)
        talk.send(row.id, octets, 1, sender=1 - row.sender)
        assert (rule, 1 - row.sender) in wrong(talk, *SIZES)
    if not row.reply_fds.most:
        talk = commanded(row)
        talk.send(row.id, answer, 1, sender=1 - row.sender, fds=(RAM,))
        assert broken(talk, "VF-FD-01") == [("error", 1 - row.sender, 4)]


@pytest.mark.parametrize("row", COMMANDS, ids=named(COMMANDS))
def test_replies_that_nobody_waits_for(row: Message) -> None:
    talk = commanded(row)
    answer = version_text() if row.name == "VERSION" else bytes(least(row.reply))
    for _ in range(2):
        talk.send(row.id, answer, 1, sender=1 - row.sender)
    assert broken(talk, "VF-HDR-03") == [("error", 1 - row.sender, 5)]
    talk = fresh()
    talk.send(row.id, body(row), 0x10, sender=row.sender)
    talk.send(row.id, answer, 1, sender=1 - row.sender)
    assert broken(talk, "VF-HDR-06") == [("error", 1 - row.sender, 4)]
