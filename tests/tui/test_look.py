"""The screen's look into a live session's memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.inspection.driver import IOTLB_MSG, SIZE, USER, Pair
from tests.relay.conftest import folder
from tests.relay.harness import Relayed
from vhostspy.inspection import Asked, attachment
from vhostspy.rules.engine import Rules
from vhostspy.tui import look

__all__ = ["folder"]


@pytest.fixture
def pair(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder, keep_memory=True) as relayed, Pair(relayed) as made:
        yield made


def test_rings_behind_an_iommu_are_translated_as_the_messages_say(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen's own feed does not follow translations; whoever looks into memory has to."""
    monkeypatch.setattr(look, "EVERY_S", 0)
    pair.set_up()
    pair.say(2, struct.pack("=Q", 1 << 33 | 1 << 30 | 1 << 32 | 1 << 29))
    pair.say(IOTLB_MSG, struct.pack("=QQQBB6x", USER, SIZE, USER, 3, 2))
    pair.make_available(0)
    (session,) = pair.attach().sessions
    looking = look.Looking(Asked(pair.control.path))
    try:
        _, _, ring = looking.lines(session, 80)
    finally:
        looking.close()
    assert ring.text.split()[:5] == ["0", "runs", "64", "1", "0"]


def test_a_ring_that_stands_still_is_told_once_below_the_rings(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A back-end that hangs while nothing is said: the list has no line of it, the rings are the only place."""
    looks = count(1)
    monkeypatch.setattr(look, "EVERY_S", 0)
    monkeypatch.setattr(attachment, "monotonic_ns", lambda: next(looks) * 600_000_000)
    pair.set_up()
    pair.make_available(0)
    (session,) = pair.attach().sessions
    looking = look.Looking(Asked(pair.control.path), Rules())
    try:
        before = looking.lines(session, 80)
        *_, lines = (looking.lines(session, 80) for _ in range(4))
    finally:
        looking.close()
    assert not any("VU-MEMR-01" in one.subject for one in before)
    told = [one for one in lines if one.subject == "VU-MEMR-01"]
    assert "▲ warning: back-end: ring 0: expected the back-end to use what is" in told[0].text
    assert len({one.key for one in told}) == 1
    assert max(len(one.text) for one in told) <= 80
