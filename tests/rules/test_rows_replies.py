"""What follows from a row's answer: a conversation for each in which it is right, and near ones in which it is not."""

from __future__ import annotations

from struct import pack

import pytest

from vhostspy.capture.record import Descriptor
from vhostspy.dissectors.plan import plan
from vhostspy.dissectors.rows import Message

from ..pipeline.conversation import RAM
from .talk import Talk, broken, found
from .test_rows import ROWS, agreed, descriptors, payload, right, send

UFFD = Descriptor("userfault", "userfaultfd", "rw", 8, 7, name="anon_inode:[userfaultfd]")
FAMILIES = "VU-HDR", "VU-FD", "VU-SZ", "VU-RPL"
#: requests that are answered with a body of their own
REPLIED = [
    (channel, row)
    for channel, row in ROWS
    if row.answer == "reply" or (channel, row.name) in (("main", "SET_LOG_BASE"), ("main", "IOTLB_MSG"))
]
NAMES = [f"{channel}:{row.name}" for channel, row in REPLIED]
SIZE_RULES = {
    "GET_CONFIG": "VU-SZ-08", "GET_INFLIGHT_FD": "VU-SZ-07", "CREATE_CRYPTO_SESSION": "VU-SZ-11",
    "GET_SHMEM_CONFIG": "VU-SZ-12",
}  # fmt: skip
COUNT_RULES = {
    "POSTCOPY_ADVISE": "VU-FD-08", "GET_INFLIGHT_FD": "VU-FD-07", "SET_DEVICE_STATE_FD": "VU-FD-09",
    "GET_SHARED_OBJECT": "VU-FD-10", "SHARED_OBJECT_LOOKUP": "VU-FD-13",
}  # fmt: skip
#: a missing answer of its own
MISSING_RULES = {"SET_LOG_BASE": "VU-RPL-11", "IOTLB_MSG": "VU-RPL-13"}


def sizes(row: Message) -> list[int]:
    """Those that its answer may have, as far as the layouts' fixed parts go."""
    return [plan(layout, "<").least for layout in row.reply] if row.reply else [0]


def fds(row: Message) -> tuple[Descriptor, ...]:
    """As many as an answer of zeros carries."""
    if row.reply_fds.role == "userfault":
        return (UFFD,)
    count = 1 if row.name == "SHARED_OBJECT_LOOKUP" else row.reply_fds.least
    return (RAM._replace(role=row.reply_fds.role),) * count


def asked(channel: str, row: Message) -> Talk:
    """Messages 1 to 8 are spent; the request is the eighth."""
    talk = agreed()
    send(talk, channel, row, payload(row), descriptors(row))
    talk.items.clear()
    talk.asked.clear()
    return talk


def answer(talk: Talk, channel: str, row: Message, size: int, came: tuple[Descriptor, ...]) -> set[str]:
    """The rules of form that its answer breaks; all of them blame the one that answers."""
    talk.octets(pack("<III", row.id, 5, size) + bytes(size), channel, 1 - row.sender, fds=came)
    wrong = [one for one in found(talk) if one[0].startswith(FAMILIES)]
    assert all((who, no) == (1 - row.sender, 9) for _, _, who, no in wrong)
    return {rule for rule, *_ in wrong}


@pytest.mark.parametrize("channel, row", REPLIED, ids=NAMES)
def test_an_answer_as_its_row_has_it_is_fine(channel: str, row: Message) -> None:
    for size in sizes(row):
        talk = asked(channel, row)
        assert answer(talk, channel, row, size, fds(row)) == set()
        right(talk, *FAMILIES)


@pytest.mark.parametrize("channel, row", REPLIED, ids=NAMES)
@pytest.mark.parametrize("more", [1, -1])
def test_an_answer_of_another_size_is_found(channel: str, row: Message, more: int) -> None:
    size = (max if more > 0 else min)(sizes(row)) + more
    if size < 0:
        size = max(sizes(row)) - 1
    if size < 0:
        return  # it has none
    wrong = answer(asked(channel, row), channel, row, size, fds(row))
    assert wrong - {"VU-HDR-07"} == {SIZE_RULES.get(row.name, "VU-SZ-01")}


@pytest.mark.parametrize("channel, row", REPLIED, ids=NAMES)
def test_an_answer_with_a_descriptor_more_is_found(channel: str, row: Message) -> None:
    came = (*fds(row), *(RAM._replace(role=row.reply_fds.role),) * (1 + row.reply_fds.most - row.reply_fds.least))
    wrong = answer(asked(channel, row), channel, row, sizes(row)[0], came)
    assert wrong == {COUNT_RULES.get(row.name, "VU-FD-02")}


@pytest.mark.parametrize("channel, row", REPLIED, ids=NAMES)
def test_an_answer_that_does_not_come_is_found_and_one_that_comes_twice(channel: str, row: Message) -> None:
    rule = MISSING_RULES.get(row.name, "VU-RPL-01")
    talk = asked(channel, row)
    talk.event("eof", sender=1 - row.sender, channel=channel)
    assert [(who, no) for _, who, no in broken(talk, rule)] == [(1 - row.sender, 8)]
    talk = asked(channel, row)
    answer(talk, channel, row, sizes(row)[0], fds(row))
    talk.octets(pack("<III", row.id, 5, sizes(row)[0]) + bytes(sizes(row)[0]), channel, 1 - row.sender, fds=fds(row))
    talk.event("eof", sender=1 - row.sender, channel=channel)
    assert broken(talk, rule) == []
    twice = "VU-RPL-07" if channel == "main" else "VU-RPL-16"
    assert broken(talk, twice) == [("error", 1 - row.sender, 10)]


def test_every_answer_with_a_body_is_here() -> None:
    left_out = {row.name for _, row in ROWS if row.reply} - {row.name for _, row in REPLIED}
    # of two sorts of answer, which the postcopy tests have
    assert left_out == {"SET_MEM_TABLE", "ADD_MEM_REG"}
