"""The sessions in ``captures/``, recorded from real programs, are read as what they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from vhostspy.capture.reader import Reader
from vhostspy.commands.check import Asked, check
from vhostspy.output.printer import Printer, Show
from vhostspy.pipeline import Pipeline

from .peers.conversation import conversation

ROOT = Path(__file__).parent.parent
EXPECTED = ROOT / "tests/peers/expected"
CAPTURES = sorted((ROOT / "captures").glob("*.pcapng"))


def shown(capture: Path) -> list[dict[str, Any]]:
    """The JSON lines of a capture."""
    lines: list[str] = []
    printer = Printer(Show(json=True, summary=False), Pipeline(), lines.append)
    with Reader(str(capture)) as reader:
        for record in reader:
            printer.items(printer.pipeline.feed(record))
        assert not reader.note
    printer.end()
    return [json.loads(line) for line in "".join(lines).splitlines()]


def test_there_are_captures() -> None:
    assert CAPTURES


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_a_recorded_session_is_what_the_programs_said(capture: Path) -> None:
    """The text that the same programs are held to when they run (tests/peers)."""
    assert conversation(shown(capture)) == (EXPECTED / f"{capture.stem}.txt").read_text()


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_nothing_in_a_recorded_session_is_unexplained(capture: Path) -> None:
    """Each message has a name, each octet a member, each descriptor a role; each request that has an answer got it."""
    lines = shown(capture)
    messages = [line for line in lines if "kind" in line]
    assert all(message["message"] and message["kind"] != "raw" for message in messages)
    assert [message for message in messages if "rest" in message["fields"]] == []
    assert all(fd["role"] and fd["kind"] != "other" for message in messages for fd in message["fds"])
    assert [line for line in lines if line.get("event") in ("gap", "fault", "unread")] == []
    answered = {message["answers"] for message in messages}
    requests = [message for message in messages if message["kind"] == "request"]
    assert [request for request in requests if request["need_reply"] and request["no"] not in answered] == []


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_what_a_capture_is_warned_of_is_explained_in_its_note(capture: Path) -> None:
    """Errors and warnings, by rule; notes are remarks on what may well be so."""
    report = check(str(capture), Asked(frozenset(), (None, None), None, frozenset()))
    found = {rule for rule, severity in report.counts if severity != "note"}
    notes = (ROOT / "captures/README.md").read_text().splitlines()
    (note,) = (line for line in notes if f"`{capture.name}`" in line.partition("|")[2].partition("|")[0])
    assert {rule for rule in found if rule not in note} == set()
    # and what is explained is there
    assert set(re.findall(r"\bV[UFG]-[A-Z]+-\d+|\bVG-\d+", note)) <= found


def test_each_capture_has_a_note() -> None:
    notes = (ROOT / "captures/README.md").read_text()
    assert [capture.name for capture in CAPTURES if f"`{capture.name}`" not in notes] == []
