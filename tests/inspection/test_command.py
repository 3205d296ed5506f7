"""``vhostspy rings`` and the relay's options for it, as called."""

from __future__ import annotations

import json
import os
import struct
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.relay.harness import Relayed, until
from vhostspy.cli import main
from vhostspy.commands.rings import MOST_FOUND, Live
from vhostspy.inspection.sampling import put
from vhostspy.rules.engine import Rules

from .driver import GET_VRING_BASE, GUEST, SET_MEM_TABLE, SET_VRING_CALL, USED, Pair


@pytest.fixture
def pair(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder, keep_memory=True) as relayed, Pair(relayed) as made:
        yield made


def rings(pair: Pair, *options: str) -> int:
    pair.relayed.call(lambda: pair.relayed.relay.writer.flush())
    return main(["rings", *options])


def test_a_table(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.set_up()
    pair.make_available(5)
    assert rings(pair, pair.relayed.front_path, "--requests", "--device", "block") == 0
    session, head, ring, request, *_ = capsys.readouterr().out.splitlines()
    assert session.startswith("session 1") and session.endswith("block")
    assert head.split()[:4] == ["ring", "state", "size", "available"]
    assert ring.split()[:6] == ["0", "runs", "64", "1", "0", "1"]
    assert request.strip() == "read 0 sectors at 0"


def test_chains(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.set_up()
    pair.make_available(5, 48)
    assert rings(pair, "--chains") == 0
    assert capsys.readouterr().out.splitlines()[3].strip() == f"chain 5: reads 48 at {GUEST + 0x8000:#x}"
    assert rings(pair, "--chains", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["chains"] == {
        "0": [{"head": 5, "buffers": [{"address": GUEST + 0x8000, "length": 48, "writable": False}]}]
    }
    assert "requests" not in told


def test_json(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.set_up()
    assert rings(pair, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["event"], told["session"]) == ("sample", 1)
    assert told["rings"][0]["available"] == 0
    assert "kind" not in told and told["text"]


@pytest.mark.parametrize("long_ns, shown", [(1, True), (1 << 62, False)])
def test_who_waits_for_an_answer_is_said(
    pair: Pair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, long_ns: int, shown: bool
) -> None:
    """The front-end hangs, though nothing is in flight."""
    monkeypatch.setattr("vhostspy.commands.rings.LONG_NS", long_ns)
    pair.set_up()
    pair.say(GET_VRING_BASE, struct.pack("=II", 0, 0))
    assert rings(pair) == 0
    told = capsys.readouterr().out
    assert ("  waiting    front-end for GET_VRING_BASE #10, since " in told) == shown


def test_a_session_without_rings(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    assert rings(pair) == 0
    assert "no ring has been given a place yet" in capsys.readouterr().out


def test_in_flight_requests_of_a_region(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    """What a back-end had taken when it was killed: by its own books."""
    pair.set_up()
    region = os.memfd_create("inflight")
    os.ftruncate(region, 4096)
    entries = b"".join(struct.pack("=B5xHQ", at in (2, 5), 0, 100 - at) for at in range(64))
    os.pwrite(region, struct.pack("=QHHHH", 0, 1, 64, 0, 0) + entries, 0)
    pair.say(32, struct.pack("=QQHH", 4096, 0, 1, 64), [region])
    os.close(region)
    assert rings(pair) == 0
    assert "queue 0: 2 requests to do again (5 2), used index 0" in capsys.readouterr().out


def test_of_a_capture(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.set_up()
    attachment = pair.attach()
    for index in range(3):
        pair.make_available(index)
        (seen,) = attachment.look()
        put(attachment, seen)
    capture = str(pair.relayed.capture)
    assert rings(pair, capture) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:6] == ["0", "runs", "64", "3", "0", "3"]
    assert rings(pair, capture, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["rings"][0]["available"] for line in lines] == [1, 2, 3]
    assert main(["show", capture]) == 0
    assert "available" not in capsys.readouterr().out, "they are many, and not what passed"
    assert main(["show", "-v", capture]) == 0
    assert "ring 0: 3 available, 0 used" in capsys.readouterr().out


def test_samples_come_back_from_a_relay_that_counts_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder, keep_memory=True, exact_kicks=True) as relayed, Pair(relayed) as pair:
        pair.set_up()
        attachment = pair.attach()
        for head in range(3):
            pair.make_available(head)
        ring = attachment.look()[0].rings[0]
        assert (ring.exact, ring.kicks, ring.kick_count, ring.calls) == (True, 3, 3, 0)
        pair.say(SET_VRING_CALL, struct.pack("=Q", 1 << 8))  # polling from now on
        pair.say(SET_MEM_TABLE, struct.pack("=II", 0, 0))


def test_each_session_has_its_own_exact_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with (
        Relayed(folder, keep_memory=True, exact_kicks=True) as relayed,
        Pair(relayed) as one,
        Pair(relayed, control=one.control) as other,
    ):
        one.set_up()
        other.set_up()
        attachment = one.attach()
        other.make_available(0)
        for head in range(3):
            one.make_available(head)
        assert [seen.rings[0].kicks for seen in attachment.look()] == [3, 1]
        one.front.close()
        assert one.back.recv(1) == b""
        (left,) = until(lambda: one.passed().endings)
        assert left.rings[0].kicks == 3, "as they were when they were asked for last"


def test_who_watches_is_told_that_the_relay_has_ended(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.set_up()
    show = Live._show

    def show_and_end(live: Live, *words: Any) -> None:
        show(live, *words)
        pair.relayed.call(pair.control.close)

    monkeypatch.setattr(Live, "_show", show_and_end)
    assert rings(pair, "--watch", "5") == 0
    told = capsys.readouterr()
    assert told.out.startswith("session 1")
    assert told.err == "the relay has ended\n"


def test_what_was_found_is_said_below_every_look(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is painted anew, as in a pipe: who begins to read after it must hear of it."""
    pair.set_up()
    attachment = pair.attach(Rules())
    live = Live(Namespace(json=False, chains=False, requests=False, watch=1.0), attachment)
    lines = []
    for used in (1, 1, 1, 0):  # without having been available, then all is well again
        pair.word(USED + 2, used)
        live._show(attachment.look())
        lines.append(capsys.readouterr().out.splitlines()[-2].strip())
    assert "VU-MEMR-04" not in lines[0] and lines[1].startswith("error VU-MEMR-04 (back-end): ring 0: ")
    assert lines[2] == lines[3]
    assert lines[2].startswith("found before: ") and lines[2].endswith(lines[1])


def test_the_screen_keeps_no_more_than_it_shows(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings and paces of sessions that come and go, for days."""
    pair.set_up()
    attachment = pair.attach(Rules())
    live = Live(Namespace(json=False, chains=False, requests=False, watch=1.0), attachment)
    for seen in attachment.look():
        live._paces(seen)
    live.found = [f"finding {number}" for number in range(100)]
    live._show(attachment.look())
    assert len(live.found) == MOST_FOUND and live.progress._last
    pair.leave()
    pair.relayed.call(lambda: pair.relayed.relay.writer.flush())
    live._follow()
    assert live.progress._last == {} and live.last == {}


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["rings", "/nowhere.sock"], "there is no /nowhere.sock, and no relay of this user runs on it"),
        (["rings", "README.md"], "not a capture"),
        (["rings", "captures/s.pcapng"], "record with --sample-rings"),
        (["rings", "captures/s.pcapng", "--watch"], "a capture does not change"),
        (["rings", "captures/s.pcapng", "--chains"], "no buffers' addresses"),
        (["--listen", "a", "--connect", "b", "--sample-data"], "cannot go without"),
        (["--listen", "a", "--connect", "b", "--sample-rings", "1", "--no-memory"], "cannot go with --no-memory"),
        (["--listen", "a", "--connect", "b", "--sample-rings", "1", "--no-capture"], "cannot go with --no-capture"),
        (["--listen", "a", "--connect", "b", "--sample-rings", "often"], "no number of seconds"),
        (["--listen", "a", "--connect", "b", "--sample-rings", "1", "--snaplen", "64"], "so short a --snaplen"),
        (["--listen", "a", "--connect", "b", "--exact-kicks", "--exact-reads"], "use one of them"),
    ],
)
def test_what_cannot_be(
    words: list[str], sentence: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.chdir(Path(__file__).parents[2])
    try:
        status = main(words)
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == (3 if "/nowhere.sock" in words else 2)
    assert sentence in " ".join(capsys.readouterr().err.split())
