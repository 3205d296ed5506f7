"""Shared objects and shared memory regions."""

from __future__ import annotations

from typing import Any

import pytest

from vhostspy.message import Message

from .steps import BACK, FRONT, PAGE, file, running
from .talk import Talk, broken

OBJECTS, SHMEM = 1 << 3 | 1 << 5 | 1 << 10 | 1 << 18, 1 << 3 | 1 << 5 | 1 << 10 | 1 << 13 | 1 << 22
ONE, OTHER = b"\x01" * 16, b"\x02" * 16


@pytest.mark.parametrize("uuid", [ONE, bytes(16), b"\xff" * 16])
def test_an_object_without_a_name(uuid: bytes) -> None:
    talk = running(OBJECTS)
    no = talk.back_end("SHARED_OBJECT_ADD", uuid=uuid).no
    assert broken(talk, "VU-SO-02") == [("warning", BACK, no)] * (uuid != ONE)


@pytest.mark.parametrize("uuid", [ONE, OTHER])
def test_an_object_that_was_never_added_is_removed(uuid: bytes) -> None:
    talk = running(OBJECTS)
    talk.back_end("SHARED_OBJECT_ADD", uuid=ONE)
    no = talk.back_end("SHARED_OBJECT_REMOVE", uuid=uuid).no
    assert broken(talk, "VU-SO-03") == [("warning", BACK, no)] * (uuid != ONE)


@pytest.mark.parametrize("removed", [False, True])
def test_an_object_added_again(removed: bool) -> None:
    talk = running(OBJECTS)
    talk.back_end("SHARED_OBJECT_ADD", uuid=ONE)
    if removed:
        talk.back_end("SHARED_OBJECT_REMOVE", uuid=ONE)
    no = talk.back_end("SHARED_OBJECT_ADD", uuid=ONE).no
    assert broken(talk, "VU-SO-06") == [("warning", BACK, no)] * (not removed)


@pytest.mark.parametrize("who, severity", [(None, "error"), ("qemu", "warning")])
def test_an_object_is_asked_for_without_a_name(who: str | None, severity: str) -> None:
    """QEMU leaves the size 0."""
    talk = running(OBJECTS, profile=(who, None))
    no = talk.octets(bytes([41, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])).no
    assert broken(talk, "VU-SO-05") == [(severity, FRONT, no)]


def test_an_object_is_asked_for_by_name() -> None:
    talk = running(OBJECTS)
    talk.front_end("GET_SHARED_OBJECT", uuid=ONE)
    assert broken(talk, "VU-SO-05") == []


def configuration(talk: Talk, *lengths: int, count: int | None = None) -> Message:
    there = sum(1 for one in lengths if one)
    padded = [*lengths, *[0] * (256 - len(lengths))]
    return talk.ask("GET_SHMEM_CONFIG", {"count": there if count is None else count, "lengths": padded})[1]


def asked(start: int = 0, length: int = PAGE, shmid: int = 0, fd_offset: int = 0) -> dict[str, Any]:
    return {"shmid": shmid, "fd_offset": fd_offset, "shm_offset": start, "length": length, "writable": True}


def mapped(talk: Talk, value: int = 0, **more: int) -> int:
    no = talk.back_end("SHMEM_MAP", need_reply=True, fds=[file(5)], **asked(**more)).no
    talk.say("backend", 0, "SHMEM_MAP", True, False, (), {"value": value})
    return no


def unmapped(talk: Talk, **more: int) -> int:
    return talk.back_end("SHMEM_UNMAP", need_reply=True, **asked(**more)).no


def of_one_region() -> Talk:
    talk = running(SHMEM)
    configuration(talk, 16 * PAGE)
    return talk


@pytest.mark.parametrize("again, wrong", [(16 * PAGE, False), (8 * PAGE, True)])
def test_another_answer(again: int, wrong: bool) -> None:
    talk = of_one_region()
    no = configuration(talk, again).no
    assert broken(talk, "VU-SHM-02") == [("error", BACK, no)] * wrong


@pytest.mark.parametrize("length, wrong", [(PAGE, False), (PAGE + 1, True)])
def test_regions_of_whole_pages(length: int, wrong: bool) -> None:
    talk = running(SHMEM)
    no = configuration(talk, length).no
    assert broken(talk, "VU-SHM-03") == [("error", BACK, no)] * wrong


@pytest.mark.parametrize("count, wrong", [(1, False), (2, True)])
def test_how_many_regions(count: int, wrong: bool) -> None:
    """crosvm reads only as many as are counted."""
    talk = running(SHMEM)
    no = configuration(talk, 0, PAGE, count=count).no
    assert broken(talk, "VU-SHM-04") == [("warning", BACK, no)] * wrong


@pytest.mark.parametrize(
    "more, wrong",
    [({"start": 15 * PAGE}, 0), ({"start": 16 * PAGE}, 1), ({"length": 17 * PAGE}, 1), ({"shmid": 1}, 1)],
)
def test_mapped_outside(more: dict[str, int], wrong: int) -> None:
    talk = of_one_region()
    no = mapped(talk, **more)
    assert broken(talk, "VU-SHM-05") == [("error", BACK, no)] * wrong


@pytest.mark.parametrize("start, refused, wrong", [(0, 0, 1), (PAGE, 0, 0), (0, 1, 0)])
def test_mapped_over_another(start: int, refused: int, wrong: int) -> None:
    """What the front-end refused is not there."""
    talk = of_one_region()
    mapped(talk, value=refused)
    no = mapped(talk, start=start)
    assert broken(talk, "VU-SHM-06") == [("error", BACK, no)] * wrong


@pytest.mark.parametrize("more, wrong", [({"length": 2 * PAGE}, 0), ({"length": PAGE}, 1), ({"start": PAGE}, 1)])
def test_unmapped_in_part(more: dict[str, int], wrong: int) -> None:
    talk = of_one_region()
    mapped(talk, length=2 * PAGE)
    no = unmapped(talk, **more)
    assert broken(talk, "VU-SHM-07") == [("error", BACK, no)] * wrong


@pytest.mark.parametrize("need_reply", [False, True])
def test_a_mapping_that_is_not_waited_for(need_reply: bool) -> None:
    """crosvm ea45ab7bf: used before it exists."""
    talk = of_one_region()
    no = talk.back_end("SHMEM_MAP", need_reply=need_reply, fds=[file(5)], **asked()).no
    assert broken(talk, "VU-SHM-08") == [("warning", BACK, no)] * (not need_reply)


@pytest.mark.parametrize("more, wrong", [({}, 0), ({"start": 512}, 1), ({"length": 100}, 1), ({"fd_offset": 8}, 1)])
def test_mappings_of_whole_pages(more: dict[str, int], wrong: int) -> None:
    talk = of_one_region()
    no = mapped(talk, **more)
    assert broken(talk, "VU-SHM-09") == [("warning", BACK, no)] * wrong


@pytest.mark.parametrize("reset", [False, True])
def test_a_mapping_from_before_a_reset(reset: bool) -> None:
    talk = of_one_region()
    mapped(talk)
    if reset:
        talk.front_end("RESET_DEVICE")
    no = unmapped(talk)
    assert broken(talk, "VU-SHM-10") == [("warning", BACK, no)] * reset
    assert broken(talk, "VU-SHM-07") == []


@pytest.mark.parametrize("flags, wrong", [(0, 0), (1, 0), (2, 1)])
def test_flags_of_a_mapping(flags: int, wrong: int) -> None:
    talk = of_one_region()
    payload = bytes(8) + bytes(8) + bytes(8) + PAGE.to_bytes(8, "little") + flags.to_bytes(8, "little")
    header = (9).to_bytes(4, "little") + (9).to_bytes(4, "little") + (40).to_bytes(4, "little")
    no = talk.octets(header + payload, "backend", BACK, fds=(file(5),)).no
    assert broken(talk, "VU-SHM-11") == [("warning", BACK, no)] * wrong
