"""The IOMMU's messages."""

from __future__ import annotations

import pytest

from vhostspy.message import Message

from .steps import BACK, FRONT, IOMMU, MODERN, PAGE, USER, with_memory
from .talk import Talk, broken

MISS, UPDATE, INVALIDATE, FAIL = 1, 2, 3, 4


def behind_iommu() -> Talk:
    return with_memory(1 << 3 | 1 << 5, MODERN | IOMMU)


def tell(talk: Talk, kind: int, iova: int = 0x10000, length: int = PAGE, user: int = USER, may: int = 3) -> Message:
    return talk.front_end(
        "IOTLB_MSG", iova=iova, length=length, user_address=user, permission=may, type=kind
    )  # fmt: skip


def ask(talk: Talk, kind: int = MISS, iova: int = 0x10000, may: int = 1, need_reply: bool = False) -> Message:
    return talk.back_end(
        "IOTLB_MSG", need_reply=need_reply, iova=iova, length=0, user_address=0, permission=may, type=kind
    )  # fmt: skip


@pytest.mark.parametrize("kind", [MISS, UPDATE, INVALIDATE, FAIL, 99])
def test_types_of_each_end(kind: int) -> None:
    talk = behind_iommu()
    no = tell(talk, kind).no
    assert broken(talk, "VU-IOT-02") == [("error", FRONT, no)] * (kind not in (UPDATE, INVALIDATE))
    talk = behind_iommu()
    no = ask(talk, kind).no
    assert broken(talk, "VU-IOT-02") == [("error", BACK, no)] * (kind not in (MISS, FAIL))


@pytest.mark.parametrize("may, wrong", [(3, False), (4, True)])
def test_permissions(may: int, wrong: bool) -> None:
    talk = behind_iommu()
    no = tell(talk, UPDATE, may=may).no
    assert broken(talk, "VU-IOT-03") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("length, user, wrong", [(PAGE, USER, False), (0, USER, True), (PAGE, 0x1000, True)])
def test_an_update_to_nowhere(length: int, user: int, wrong: bool) -> None:
    talk = behind_iommu()
    no = tell(talk, UPDATE, length=length, user=user).no
    assert broken(talk, "VU-IOT-04") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("updated", [False, True])
def test_missed_again(updated: bool) -> None:
    talk = behind_iommu()
    ask(talk)
    if updated:
        tell(talk, UPDATE)
    no = ask(talk).no
    assert broken(talk, "VU-IOT-05") == [("warning", FRONT, no)] * (not updated)


@pytest.mark.parametrize("user, invalidated, wrong", [(USER, 0, 0), (USER + PAGE, 0, 1), (USER + PAGE, 1, 0)])
def test_translated_to_something_else(user: int, invalidated: int, wrong: int) -> None:
    talk = behind_iommu()
    tell(talk, UPDATE)
    if invalidated:
        tell(talk, INVALIDATE)
    no = tell(talk, UPDATE, user=user).no
    assert broken(talk, "VU-IOT-06") == [("warning", FRONT, no)] * wrong


@pytest.mark.parametrize("missed", [False, True])
def test_an_update_that_nobody_asked_for(missed: bool) -> None:
    talk = behind_iommu()
    if missed:
        ask(talk)
    no = tell(talk, UPDATE).no
    assert broken(talk, "VU-IOT-07") == [("note", FRONT, no)] * (not missed)


@pytest.mark.parametrize("update_first", [False, True])
def test_a_miss_acknowledged_after_its_update(update_first: bool) -> None:
    talk = behind_iommu()
    ask(talk, need_reply=True)
    if update_first:
        tell(talk, UPDATE)
    no = talk.say("backend", 0, "IOTLB_MSG", True, False, (), {"value": 0}).no
    assert broken(talk, "VU-BE-11") == [("note", FRONT, no)] * update_first
