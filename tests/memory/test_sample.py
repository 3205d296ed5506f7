"""Samples as facts and back, translations, and how rings move from one to the next."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.conversation import Conversation, features
from vhostspy.memory.iotlb import Translation, Translations
from vhostspy.memory.progress import Pace, Progress
from vhostspy.memory.ring import Ring
from vhostspy.memory.sample import line, ring_facts, ring_of, rings_of, sample
from vhostspy.output.rings import table

SPLIT = Ring(0, "split", 256, True, True, available=10, used=7, in_flight=3, kicks=4, kick_count=1, base=0)
PACKED = Ring(1, "packed", 256, True, False, available=4, used=1, in_flight=3, available_wrap=True, used_wrap=False)


@pytest.mark.parametrize("ring", [SPLIT, PACKED, Ring(2, "split", 0, False, False, problem="it has no size yet")])
def test_a_ring_to_json_and_back(ring: Ring) -> None:
    assert ring_of(json.loads(json.dumps(ring_facts(ring)))) == ring


def test_what_is_not_known_is_left_out() -> None:
    assert ring_facts(PACKED) == {
        "ring": 1, "layout": "packed", "size": 256, "started": True, "enabled": False, "available": 4, "used": 1,
        "in_flight": 3, "available_wrap": True, "used_wrap": False,
    }  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(Ring._fields + ("ring",)), inner),
    max_leaves=12,
)


@given(JSON)
def test_whatever_a_capture_says_is_rings_or_none(facts: object) -> None:
    found = rings_of({"rings": [facts]})
    assert all(isinstance(one, Ring) for one in found)
    table(found)


def test_a_sample_has_a_line_for_people() -> None:
    facts = sample([SPLIT, PACKED])
    assert facts["text"] == "ring 0: 10 available, 7 used; ring 1: 4 available, 1 used"
    assert "inflight" not in facts
    assert line([SPLIT] * 9).endswith("; 5 more")
    assert sample([], why="postcopy")["why"] == sample([], why="postcopy")["text"] == "postcopy"


def test_pace() -> None:
    progress = Progress()
    second = 1_000_000_000
    assert progress.feed(1, SPLIT, 0) == Pace(None, None)
    assert progress.feed(1, SPLIT, second) == Pace(second, 0.0)
    assert progress.feed(2, SPLIT, second) == Pace(None, None)
    assert progress.feed(1, SPLIT._replace(used=9), 3 * second) == Pace(0, 1.0)
    assert progress.feed(1, SPLIT._replace(used=9), 4 * second) == Pace(second, 0.0)
    assert progress.feed(1, SPLIT._replace(used=1), 5 * second).per_second == 65_528.0
    progress.glance(1, 0, 3, 5 * second + 700_000_000)
    assert progress.feed(1, SPLIT._replace(used=3), 6 * second) == Pace(300_000_000, 2.0)


def test_the_table() -> None:
    lines = table([SPLIT, PACKED], {0: Pace(2_000_000_000, 0.0)}, {0: ["read 8 sectors at 2048"]}, "block")
    assert [one.split()[:5] for one in lines] == [
        ["ring", "state", "size", "available", "used"],
        ["0", "runs", "256", "10", "7"],
        ["read", "8", "sectors", "at", "2048"],
        ["and", "2", "more"],
        ["1", "disabled", "256", "4/1", "1/0"],
    ]
    assert "≥ 4 (1 untaken)" in lines[1] and "2.0 s ago" in lines[1] and "≤ 3" in lines[4]


def test_of_a_ring_that_cannot_be_looked_at_nothing_is_said_to_last() -> None:
    (_, line) = table([Ring(2, "split", 8, True, True, problem="gone")], {2: Pace(2_000_000_000, 0.0)})
    assert line.split() == ["2", "runs", "8", "?", "?", "?", "?", "?", "?", "gone"]


def told(*messages: dict[str, Any]) -> Translations:
    talk = Conversation()
    features(talk, 1 << 33 | 1 << 32 | 1 << 30)
    known = Translations()
    for fields in messages:
        known.feed(talk.front_end("IOTLB_MSG", permission=3, **fields))
    return known


def update(iova: int, length: int, to: int) -> dict[str, Any]:
    return {"iova": iova, "length": length, "user_address": to, "type": 2}


def test_translations() -> None:
    known = told(update(0x1000, 0x1000, 0xA000), update(0x3000, 0x1000, 0xC000))
    assert list(known) == [Translation(0x1000, 0x1000, 0xA000), Translation(0x3000, 0x1000, 0xC000)]
    assert known.translate(0x1800) == (0xA800, 0x800)
    assert known.translate(0x2000) is None
    again = told(update(0x1000, 0x1000, 0xA000), update(0x1800, 0x1000, 0xE000))
    assert again.translate(0x1800) == (0xE000, 0x1000)
    assert again.translate(0x1000) is None, "what is in part replaced is not told as it was"
    gone = {"iova": 0x1000, "length": 0x1000, "user_address": 0, "type": 3}
    assert list(told(update(0x1000, 0x1000, 0xA000), gone)) == []
    miss = {"iova": 0x1000, "length": 0, "user_address": 0, "type": 1}
    assert list(told(miss)) == []
