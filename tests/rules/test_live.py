"""``--validate``, ``--strict`` and ``--enforce``: through a real relay, its view, and its status."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from vhostspy.capture.record import DROPPED

from ..relay.harness import at_end, events, messages, receive, send
from ..relay.test_processes import Spy, spying

OWNER = bytes.fromhex("03000000 01000000 00000000")
NUM = bytes.fromhex("08000000 01000000 08000000  00000000 00010000")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def talk(spy: Spy, *octets: bytes) -> None:
    """One session in which the front-end says this, and then leaves."""
    front, back = spy.open()
    with back:
        for one in octets:
            send(front, one)
            receive(back)
        front.close()
        assert at_end(back)


@pytest.mark.parametrize("said, status", [((OWNER, NUM), 0), ((OWNER, OWNER), 1)])
@pytest.mark.parametrize("options", [("--strict",), ("--strict", "-q")])
def test_strict(folder: Path, said: tuple[bytes, ...], status: int, options: tuple[str, ...]) -> None:
    with spying(folder, "--once", *options) as spy:
        talk(spy, *said)
        assert spy.process.wait(30) == status
        assert "view ended" not in spy.said


def test_validate_shows_findings_and_changes_no_status(folder: Path) -> None:
    with spying(folder, "--once", "--validate", "--json", "--no-summary", stdout=subprocess.PIPE) as spy:
        talk(spy, OWNER, OWNER)
        out, _ = spy.process.communicate(timeout=30)
        assert spy.process.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [[one["rule"] for one in line["findings"]] for line in lines if "kind" in line] == [[], ["VU-OWN-02"]]


def test_with_quiet_only_findings_are_printed(folder: Path) -> None:
    with spying(folder, "--once", "--validate", "-q", stdout=subprocess.PIPE) as spy:
        talk(spy, OWNER, OWNER)
        out, _ = spy.process.communicate(timeout=30)
    lines = out.decode().splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["2", "●"]


def test_what_is_accepted_is_no_error(folder: Path) -> None:
    text = "SET_OWNER: expected once on a connection, came again after …"
    accepted = folder / "accepted.json"
    findings = [{"rule": "VU-OWN-02", "who": "front-end", "text": text}]
    accepted.write_text(json.dumps({"vhostspy-baseline": 1, "findings": findings}), "utf-8")
    with spying(folder, "--once", "--strict", "--baseline", str(accepted)) as spy:
        talk(spy, OWNER, OWNER)
        assert spy.process.wait(30) == 0


def test_enforce_ends_the_session_before_the_message_goes_on(folder: Path) -> None:
    capture = folder / "capture.pcapng"
    with spying(folder, "--once", "--enforce", "-q", "-w", str(capture)) as spy:
        front, back = spy.open()
        with front, back:
            send(front, OWNER)
            assert receive(back).data == OWNER
            send(front, OWNER)
            assert at_end(back)
            assert at_end(front)
        assert spy.process.wait(30) == 0
        records = spy.records()
    assert [bool(one.flags & DROPPED) for one in messages(records)] == [False, True]
    (fault,) = [event["text"] for event in events(records) if event["event"] == "fault"]
    assert fault.startswith("front-end broke VU-OWN-02: SET_OWNER: expected once")


def test_enforce_lets_what_is_right_go_on(folder: Path) -> None:
    with spying(folder, "--once", "--enforce", "--strict") as spy:
        talk(spy, OWNER, NUM)
        assert spy.process.wait(30) == 0


def test_what_is_enforced_is_no_less_an_error(folder: Path) -> None:
    with spying(folder, "--once", "--enforce", "--strict") as spy:
        front, back = spy.open()
        with front, back:
            send(front, OWNER)
            receive(back)
            send(front, OWNER)
            assert at_end(back)
        assert spy.process.wait(30) == 1
