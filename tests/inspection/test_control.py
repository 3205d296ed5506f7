"""Finding a running relay by the name of its socket, and never by connecting to that."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.relay.harness import Relayed, open_to_viewers
from vhostspy.errors import WrongUse
from vhostspy.inspection import NoRelay, find
from vhostspy.relay.control import Control
from vhostspy.relay.control import folder as control_folder


@pytest.fixture
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relayed]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder, keep_memory=True) as relayed, open_to_viewers(relayed):
        yield relayed


def test_by_either_name_or_none(running: Relayed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(running.folder)
    for name in (running.front_path, running.back_path, "front", "./back", None):
        asked = find(name)
        assert asked("status")[0]["front_end"] == running.front_path
        asked.close()
    assert running.relay.count == 0, "nobody has connected"


def test_none_of_that_name(running: Relayed) -> None:
    with pytest.raises(NoRelay, match="there is no /nowhere, and no relay of this user runs on it "):
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


def test_what_a_killed_relay_left_is_removed(running: Relayed) -> None:
    """Its number is nobody's now."""
    process = subprocess.Popen(["true"])
    process.wait()
    dead = os.path.join(control_folder(), f"{process.pid}.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(dead)
    find().close()
    assert os.listdir(control_folder()) == [f"{os.getpid()}.sock"]


@contextmanager
def answering(name: str, status: dict[str, object] | None) -> Iterator[None]:
    """A control socket that gives this status, or no answer at all."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(control_folder(), name))
        listener.listen()

        def answer() -> None:
            caller, _ = listener.accept()
            with caller:
                caller.recv(100)
                if status is not None:
                    caller.sendall(json.dumps({"ok": True, **status}).encode() + b"\n")
                caller.recv(1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield
        thread.join(10)


def test_two_that_listen_on_the_same_name(running: Relayed) -> None:
    """One has lost its path to the other: their processes tell them apart."""
    same = {"pid": 1, "front_end": running.front_path, "back_end": "/elsewhere"}
    with answering("1.sock", same), pytest.raises(NoRelay) as told:
        find(running.front_path)
    assert str(told.value) == (
        f"2 relays run on {running.front_path}: {running.front_path} (process 1), "
        f"{running.front_path} (process {os.getpid()})"
    )
    with answering("2.sock", same), pytest.raises(WrongUse, match="2 relays run; say which by the name of its socket"):
        find()


def test_where_one_connects_the_other_listens(running: Relayed) -> None:
    """Two in a row: the socket between them is the second one's name."""
    with answering("1.sock", {"pid": 1, "front_end": "/elsewhere", "back_end": running.front_path}):
        asked = find(running.front_path)
    assert asked("status")[0]["pid"] == os.getpid()
    asked.close()


def test_one_that_does_not_answer_is_named(running: Relayed, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped, or hangs."""
    monkeypatch.setattr("vhostspy.inspection.control.PATIENCE_S", 1.0)
    with answering("1.sock", None), pytest.raises(NoRelay, match="1.sock: the relay does not answer: timed out"):
        find("/nowhere")


def test_many_that_want_to_be_let_in_at_once_wait_for_their_turn(running: Relayed) -> None:
    with running.frozen():
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(100)]
        for sock in waiting:
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(os.path.join(control_folder(), f"{os.getpid()}.sock"))
        last = threading.Thread(target=lambda: find().close())
        last.start()
    last.join(10)
    assert not last.is_alive()
    for sock in waiting:
        sock.close()


def test_where_else_there_are_some(running: Relayed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that was started by a service has no XDG_RUNTIME_DIR, its user has."""
    other = control_folder()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("vhostspy.inspection.control._elsewhere", lambda: [other])
    with pytest.raises(NoRelay, match=f"there are some in {other}, for another XDG_RUNTIME_DIR or TMPDIR"):
        find()


@pytest.mark.needs_root
def test_root_is_told_whose_relays_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may ask them, and does not go into others' folders by itself."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    runtime, temporary = tmp_path / "run/vhostspy", tmp_path / "vhostspy-65534"
    for other in (runtime, temporary):
        other.mkdir(parents=True)
        (other / "1.sock").touch()
        os.chown(other, 65534, 65534)
    monkeypatch.setattr("vhostspy.inspection.control._elsewhere", lambda: [str(runtime), str(temporary)])
    with pytest.raises(NoRelay) as told:
        find()
    user = "of user 65534: sudo -u '#65534'"
    assert f"some in {runtime}, {user} XDG_RUNTIME_DIR={tmp_path}/run vhostspy …" in str(told.value)
    assert f"some in {temporary}, {user} vhostspy …" in str(told.value)


def test_a_folder_that_is_too_long_for_a_socket(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The relay works without, and says why where that matters."""
    place = folder / ("x" * 100)
    place.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    with Relayed(folder) as relayed:
        control = relayed.call(lambda: Control(relayed.relay, ""))
        assert control.problem == f"no control socket: {control.path}: AF_UNIX path too long"
        assert capsys.readouterr().err == ""
