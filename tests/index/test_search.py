"""A search over the columns finds what the filter says of every message, read whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from vhostspy.filter import CONTENT, PLACE, SORT, compile
from vhostspy.index import Index
from vhostspy.message import Message
from vhostspy.rules.engine import Rules

from ..filter.test_filter import DOCUMENTED, PASSES
from .test_index import CAPTURES, studied


def found(index: Index, text: str) -> list[int]:
    search = index.matching(compile(text))
    while search.advance(0.001):
        pass
    assert search.searched == index.rows
    return list(search.rows)


def read_whole(index: Index, text: str) -> list[int]:
    filter = compile(text)
    rows = []
    for row in range(index.rows):
        item = index.item(row)
        if isinstance(item, Message) and filter.settled(item, index.glance(row).partner is not None):
            rows.append(row)
    return rows


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_a_search_finds_what_reading_every_message_finds(capture: Path) -> None:
    with studied(capture) as index:
        for text in [*DOCUMENTED, *PASSES, "!(message == SET_VRING_KICK)", "fds || latency > 100us", "reads == 1"]:
            assert found(index, text) == read_whole(index, text), text


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("message == SET_VRING_KICK", SORT),
        ("message == SET_VRING_* && from == back-end || fds > 1", SORT),
        ("fds", SORT),
        ("fds == kick", CONTENT),
        ("fds in {1 kick}", CONTENT),
        ("vhost_user.request == 12", SORT),
        ("vhost_user.index == 1", CONTENT),
        ("session == 2 && reply", PLACE),
        ("latency > 5ms", PLACE),
        ("pending", PLACE),
        ("finding >= warning", PLACE),
        ("", SORT),
    ],
)
def test_what_a_filter_asks_for(text: str, asks: int) -> None:
    tree = compile(text).tree
    assert tree is not None and tree.asks == asks


def test_what_the_columns_know_is_searched_before_anything_was_studied() -> None:
    with Index(CAPTURES[0], rules=Rules()) as index:
        while index.rows == 0 or index._scan(1000):
            index._scan(1000)
        assert index.studied == 0
        search = index.matching(compile("message == GET_FEATURES && request"))
        while search.advance(0.1):
            pass
        assert [index.glance(row).name for row in search.rows] == ["GET_FEATURES"]
        waiting = index.matching(compile("fields.features & 1"))
        assert not waiting.advance(0.1)
        assert waiting.searched == 0
