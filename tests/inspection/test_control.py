"""Finding a running relay by the name of its socket, and never by connecting to that."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.relay.harness import Relayed
from vhostspy.inspection import NoRelay, find
from vhostspy.relay.control import Control
from vhostspy.relay.control import folder as control_folder


@pytest.fixture
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relayed]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder, keep_memory=True) as relayed:
        control = relayed.call(lambda: Control(relayed.relay, str(relayed.capture)))
        yield relayed
        relayed.call(control.close)


def test_by_either_name_or_none(running: Relayed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(running.folder)
    for name in (running.front_path, running.back_path, "front", "./back", None):
        asked = find(name)
        assert asked("status")[0]["front_end"] == running.front_path
        asked.close()
    assert running.relay.count == 0, "nobody has connected"


def test_none_of_that_name(running: Relayed) -> None:
    with pytest.raises(NoRelay, match="no relay of this user runs on /nowhere"):
        find("/nowhere")


def test_none_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with pytest.raises(NoRelay, match="no relay of this user runs"):
        find()


def test_what_a_killed_relay_left_is_passed_over(running: Relayed) -> None:
    dead = os.path.join(control_folder(), "1.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(dead)
    find().close()


def test_one_that_ends_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder) as relayed:
        control = relayed.call(lambda: Control(relayed.relay, ""))
        asked = find()
        relayed.call(control.close)
        with pytest.raises(NoRelay, match="has ended|does not answer"):
            asked("status")
        asked.close()
