"""The screen's look into a live session's memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inspection.driver import IOTLB_MSG, SIZE, USER, Pair
from tests.relay.conftest import folder
from tests.relay.harness import Relayed
from vhostspy.inspection import Asked
from vhostspy.tui import look

__all__ = ["folder"]


@pytest.fixture
def pair(folder: Path) -> Iterator[Pair]:
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
        _, _, ring = looking.lines(session)
    finally:
        looking.close()
    assert ring.text.split()[:5] == ["0", "runs", "64", "1", "0"]
