"""Postcopy: advise, listen, addresses, acknowledgement, end."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from ..pipeline.conversation import CALL
from .steps import BACK, FRONT, MIB, USER, agreed, file, kick, region, table, with_memory
from .talk import Talk, broken

PAGEFAULT = 1 << 8
UFFD = CALL._replace(role="userfault", kind="userfaultfd")


def advised() -> Talk:
    talk = agreed(PAGEFAULT)
    talk.ask("POSTCOPY_ADVISE", {"fds": [UFFD]})
    return talk


def listening() -> Talk:
    talk = advised()
    talk.front_end("POSTCOPY_LISTEN")
    return talk


def answered(talk: Talk, *regions: dict[str, Any]) -> int:
    """SET_MEM_TABLE of two regions and its answer, by default as it has to be."""
    table(talk, region(0, MIB), region(64 * MIB, MIB, USER + 64 * MIB))
    back = regions or (region(0, MIB, 0x1000), region(64 * MIB, MIB, 0x9000000))
    return talk.reply("SET_MEM_TABLE", count=len(back), regions=list(back)).no


def thank(talk: Talk, value: int = 0) -> int:
    return talk.octets(pack("<IIIQ", 5, 1, 8, value)).no


@pytest.mark.parametrize("advise, listen", [(True, True), (True, False), (False, False)])
def test_the_order(advise: bool, listen: bool) -> None:
    talk = advised() if advise else agreed(PAGEFAULT)
    if listen:
        talk.front_end("POSTCOPY_LISTEN")
    no = talk.front_end("POSTCOPY_END").no
    assert broken(talk, "VU-PC-02") == [("error", FRONT, no)] * (not listen)


def test_listening_without_advice() -> None:
    talk = agreed(PAGEFAULT)
    no = talk.front_end("POSTCOPY_LISTEN").no
    assert broken(talk, "VU-PC-02") == [("error", FRONT, no)]


@pytest.mark.parametrize("memory", [False, True])
def test_listening_with_memory(memory: bool) -> None:
    talk = with_memory(PAGEFAULT) if memory else agreed(PAGEFAULT)
    talk.ask("POSTCOPY_ADVISE", {"fds": [UFFD]})
    no = talk.front_end("POSTCOPY_LISTEN").no
    assert broken(talk, "VU-PC-03") == [("error", FRONT, no)] * memory


def test_the_whole_way_has_nothing_wrong() -> None:
    talk = listening()
    answered(talk)
    thank(talk)
    talk.front_end("POSTCOPY_END")
    talk.event("close")
    assert [one for one in talk.findings if one.rule.startswith("VU-PC")] == []


def test_an_answer_with_the_addresses() -> None:
    talk = listening()
    answered(talk)
    assert broken(talk, "VU-PC-04") == []


def test_an_acknowledgement_in_place_of_addresses() -> None:
    talk = listening()
    table(talk, region())
    no = talk.octets(pack("<IIIQ", 5, 5, 8, 0), sender=BACK).no
    assert broken(talk, "VU-PC-04") == [("error", BACK, no)]


@pytest.mark.parametrize(
    "back, wrong",
    [
        ((region(0, MIB, 1), region(64 * MIB, MIB, 2)), False),
        ((region(64 * MIB, MIB, 2), region(0, MIB, 1)), True),
        ((region(0, MIB, 1), region(65 * MIB, MIB, 2)), True),
    ],
)
def test_other_regions_in_the_answer(back: tuple[dict[str, Any], ...], wrong: bool) -> None:
    talk = listening()
    no = answered(talk, *back)
    assert broken(talk, "VU-PC-05") == [("error", BACK, no)] * wrong


@pytest.mark.parametrize("need_reply", [False, True])
def test_need_reply_for_addresses(need_reply: bool) -> None:
    talk = listening()
    no = table(talk, region(), need_reply=need_reply).no
    assert broken(talk, "VU-PC-06") == [("warning", FRONT, no)] * need_reply


@pytest.mark.parametrize("thanked", [False, True])
def test_addresses_that_nobody_acknowledges(thanked: bool) -> None:
    talk = listening()
    no = answered(talk)
    if thanked:
        thank(talk)
    talk.front_end("POSTCOPY_END")
    assert broken(talk, "VU-PC-07") == [("warning", FRONT, no)] * (not thanked)


def test_acknowledged_with_something_else() -> None:
    talk = listening()
    answered(talk)
    no = thank(talk, 1)
    assert broken(talk, "VU-PC-07") == [("warning", FRONT, no)]


@pytest.mark.parametrize("thanked", [False, True])
def test_a_ring_before_the_acknowledgement(thanked: bool) -> None:
    talk = listening()
    answered(talk)
    if thanked:
        thank(talk)
    no = kick(talk).no
    assert broken(talk, "VU-PC-08") == [("warning", FRONT, no)] * (not thanked)


def test_memory_after_the_end() -> None:
    """Ordinary changes again."""
    talk = listening()
    answered(talk)
    thank(talk)
    assert broken(talk, "VU-PC-10") == []
    talk.ask("POSTCOPY_END", {"value": 0})
    no = table(talk, region(), fds=[file(1)]).no
    assert broken(talk, "VU-PC-10") == [("note", FRONT, no)]
