"""``vhostspy rings`` of a capture: each ring as it was seen last, whatever the samples say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vhostspy.capture.writer import Writer
from vhostspy.cli import main


@pytest.fixture
def capture(tmp_path: Path) -> Callable[..., str]:
    """A capture in which these samples are, each a session's number and its facts (or any text)."""

    def write(*samples: tuple[int, object]) -> str:
        path = tmp_path / "samples.pcapng"
        writer = Writer(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC))
        now = 1_000_000_000
        for session in sorted({number for number, _ in samples}):
            writer.event({"event": "open"}, now, now, session=session, protocol="vhost-user")
        for at, (session, facts) in enumerate(samples):
            facts = {"event": "sample", **facts} if isinstance(facts, dict) else facts
            data = facts.encode() if isinstance(facts, str) else json.dumps(facts).encode()
            when = now + (at + 1) * 1_000_000
            writer.sample(data[: 15 << 10], "", when, when, session=session, protocol="vhost-user")
        writer.close()
        return str(path)

    return write


def ring(number: int, **more: Any) -> dict[str, Any]:
    known = {"ring": number, "layout": "split", "size": 64, "started": True, "enabled": True}
    return {**known, "available": 5, "used": 5, "in_flight": 0, **more}


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["rings", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_many_rings_are_several_records(capture: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    parts = [[ring(number) for number in range(start, start + 40)] for start in (0, 40)]
    first = {"rings": parts[0], "requests": {"3": ["read 8 sectors at 0"]}}
    lines = shown(capsys, capture((1, first), (1, {"rings": parts[1]})))
    assert [line.split()[0] for line in lines[2:] if line.split() and line.split()[0].isdigit()] == [
        str(number) for number in range(80)
    ]
    assert "          read 8 sectors at 0" in lines


def test_more_sessions_than_are_kept(capture: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    count = 5000
    lines = shown(capsys, capture(*((number + 1, {"rings": [ring(0)]}) for number in range(count))))
    assert sum(line.startswith("session ") for line in lines) == count


def test_what_a_capture_says_moves_no_cursor(capture: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    odd = "\x1b[2J\n\x07"
    facts = {
        "rings": [ring(0, problem=odd, chain=odd)], "requests": {"0": [odd, 7], "x": [odd], odd: 3}, "text": odd,
        "inflight": [{"number": 0, "version": 1, "size": 1, "used_index": 1, "heads": [1, odd]}],
    }  # fmt: skip
    lines = shown(capsys, capture((1, facts)))
    assert "\\e[2J" in "".join(lines) and "\x1b" not in "".join(lines)
    shown(capsys, capture((1, {"why": odd})))
    assert "\x1b" not in "".join(shown(capsys, capture((1, {"why": odd})), "--json"))


@pytest.mark.parametrize("damaged", [False, True])
def test_what_was_before_a_cut_or_damage_is_shown(
    capture: Callable[..., str], capsys: pytest.CaptureFixture[str], damaged: bool
) -> None:
    whole = Path(capture(*((1, {"rings": [ring(0, used=at)]}) for at in range(5))))
    octets = whole.read_bytes()
    at = octets.rindex(b'"used": 4')
    whole.write_bytes(octets[: octets.rindex(b'"used": 3')] + (bytes(at) if damaged else b""))
    assert main(["rings", str(whole)]) == (2 if damaged else 0)
    told = capsys.readouterr()
    assert told.out.splitlines()[2].split()[4] == "2"
    assert ("what comes behind it is not shown" if damaged else "all before it was read") in told.err


@pytest.mark.parametrize(
    "facts",
    [
        "", "nonsense", "[]", "7", "null", "[" * 10_000, '{"rings": [{"ring": ' + "9" * 5000 + "}]}",
        '{"rings": [{"ring": 1e999, "layout": "split", "size": 1}]}',
        '{"rings": [{"ring": 0, "layout": "split", "size": 1, "available": -99999999999999999999, "used": 1}]}',
        '{"inflight": [{"number": true, "version": NaN, "size": 1, "used_index": 2, "heads": [1e9]}]}',
        '{"rings": [], "requests": {"0": null, "": [], "-1": {}}}', '{"why": 7}', '{"why": "", "text": 5}',
    ],
)  # fmt: skip
def test_whatever_a_sample_says(facts: str, capture: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    path = capture((1, facts), (1, facts), (1, facts))
    for command in (["rings"], ["rings", "--json"], ["show", "-v"], ["show", "--json"], ["check"]):
        assert main([*command, path]) in (0, 1, 2), command
    assert "Traceback" not in capsys.readouterr().err


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from([
    "ring", "layout", "size", "available", "used", "in_flight", "kicks", "calls", "kick_count", "started", "enabled",
    "problem", "chain", "available_event", "used_wrap", "moving", "no_notify", "number", "version", "heads",
    "used_index", "rings", "inflight", "requests", "why", "text", "0", "event", "dirty",
])  # fmt: skip
FACTS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=8), max_leaves=20
)
RING = st.fixed_dictionaries({}, optional=dict.fromkeys(ring(0, kicks=0, calls=0, kick_count=0, problem=""), VALUES))
WHOLE = st.fixed_dictionaries(
    {}, optional={"rings": st.lists(RING | FACTS, max_size=3), "inflight": st.lists(FACTS, max_size=2), "why": VALUES,
                  "requests": FACTS, "text": VALUES, "dirty": FACTS}
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(st.lists(WHOLE | FACTS, min_size=1, max_size=3))
def test_any_sample(capture: Callable[..., str], samples: list[object]) -> None:
    path = capture(*((1, facts) for facts in samples))
    for command in (["rings"], ["rings", "--json"], ["show", "-v"], ["check"]):
        assert main([*command, path]) in (0, 1, 2)
