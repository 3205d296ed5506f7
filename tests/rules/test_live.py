"""``--validate``, ``--strict`` and ``--enforce``: through a real relay, its view, and its status."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from struct import pack
from unittest import mock

import pytest

from vhostspy.capture.record import DROPPED
from vhostspy.enforcer import Enforcer
from vhostspy.relay.policy import END, PASS, Intercepted
from vhostspy.rules.engine import Rules

from ..relay.harness import at_end, events, messages, receive, send
from ..relay.test_processes import Spy, spying

OWNER = bytes.fromhex("03000000 01000000 00000000")
ZERO = bytes.fromhex("00000000 01000000 00000000")
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


def accepted(folder: Path) -> str:
    """A baseline that has a second SET_OWNER."""
    text = "SET_OWNER: expected once on a connection, came again after …"
    findings = [{"rule": "VU-OWN-02", "who": "front-end", "text": text}]
    baseline = folder / "accepted.json"
    baseline.write_text(json.dumps({"vhostspy-baseline": 1, "findings": findings}), "utf-8")
    return str(baseline)


def test_what_is_accepted_is_no_error(folder: Path) -> None:
    with spying(folder, "--once", "--strict", "--baseline", accepted(folder)) as spy:
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


@pytest.mark.parametrize("option", ["--disable", "--baseline"])
def test_enforce_lets_go_on_what_is_left_out_or_accepted(folder: Path, option: str) -> None:
    value = "VU-OWN-02" if option == "--disable" else accepted(folder)
    with spying(folder, "--once", "--enforce", "--strict", option, value) as spy:
        talk(spy, OWNER, OWNER, NUM)
        assert spy.process.wait(30) == 0


def test_enforce_with_a_baseline_ends_at_what_is_new(folder: Path) -> None:
    with spying(folder, "--once", "--enforce", "-q", "--baseline", accepted(folder)) as spy:
        front, back = spy.open()
        with front, back:
            for one in (OWNER, OWNER):
                send(front, one)
                receive(back)
            send(front, ZERO)
            assert at_end(back)
        assert spy.process.wait(30) == 0


def test_enforce_judges_messages_and_no_silences() -> None:
    """Both wait on one channel each: an error, but not of the answer that ends it."""
    enforcer = Enforcer(Rules(), None)
    clock = 0

    def said(number: int, sender: int, flags: int, payload: bytes = b"", channel: str = "main") -> str:
        data = pack("<III", number, flags, len(payload)) + payload
        message = Intercepted("vhost-user", channel, 1, sender, number, bool(flags & 4), data, ())
        return enforcer.decide(message).action

    with mock.patch("vhostspy.enforcer.time.monotonic_ns", lambda: clock):
        for number, sender, flags, payload in (
            (1, 0, 1, b""), (1, 1, 5, pack("<Q", 0x140000000)), (15, 0, 1, b""), (15, 1, 5, pack("<Q", 0x2A8)),
            (16, 0, 1, pack("<Q", 0x2A8)), (3, 0, 1, b""),
            (2, 0, 1, pack("<Q", 0x140000000)), (24, 0, 1, pack("<III4x", 0, 4, 0)),
        ):  # fmt: skip
            assert said(number, sender, flags, payload) == PASS
        assert said(2, 1, 9, channel="backend") == PASS
        clock = 30_000_000_000
        assert said(2, 0, 5, bytes(8), channel="backend") == PASS
        assert said(0, 0, 1) == END


def test_what_is_enforced_is_no_less_an_error(folder: Path) -> None:
    with spying(folder, "--once", "--enforce", "--strict") as spy:
        front, back = spy.open()
        with front, back:
            send(front, OWNER)
            receive(back)
            send(front, OWNER)
            assert at_end(back)
        assert spy.process.wait(30) == 1
