"""The control socket: what can be asked of a running relay, and that nobody who asks can disturb it."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from vhostspy.relay.control import LONGEST, Control
from vhostspy.relay.control import folder as control_folder

from .harness import Relayed, connected, events, exchange, messages, open_to_viewers, receive, send, sized, until


@pytest.fixture
def controlled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Relayed, Control]]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with Relayed(folder) as relayed, open_to_viewers(relayed) as control:
        yield relayed, control


class Caller:
    """Asks, one line at a time."""

    def __init__(self, path: str) -> None:
        self.sock = connected(path)
        self._text = b""

    def ask(self, request: object) -> dict[str, Any]:
        return self.ask_raw(json.dumps(request).encode())

    def ask_raw(self, line: bytes) -> dict[str, Any]:
        self.sock.sendall(line + b"\n")
        return self.answer()

    def answer(self) -> dict[str, Any]:
        while b"\n" not in self._text:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *about: object) -> None:
        self.sock.close()


def test_status(controlled: tuple[Relayed, Control]) -> None:
    relayed, control = controlled
    with Caller(control.path) as caller:
        told = caller.ask({"do": "status"})
        assert told == {
            "ok": True,
            "pid": os.getpid(),
            "front_end": relayed.front_path,
            "back_end": relayed.back_path,
            "capture": str(relayed.capture),
            "capture_fd": relayed.writer.fd,
            "sessions": [],
            "sessions_so_far": 0,
            "messages": 0,
            "memory": False,
            "exact_kicks": False,
        }
        front, back = relayed.open()
        exchange(front, back)
        told = caller.ask({"do": "status"})
        assert (told["sessions"], told["sessions_so_far"], told["messages"]) == ([1], 1, 2)


def test_annotate_puts_a_note_between_the_messages(controlled: tuple[Relayed, Control]) -> None:
    relayed, control = controlled
    front, back = relayed.open()
    exchange(front, back)
    with Caller(control.path) as caller:
        assert caller.ask({"do": "annotate", "text": 'here "it" begins: ü \u0007 \ud800'})["after"] == 2
    exchange(front, back)
    records = relayed.stop()
    (note,) = events(records, "note")
    assert note["text"] == 'here "it" begins: ü \u0007 \ud800'
    assert note["session"] == 1
    order = [one.number for one in records if one.kind != 3 or b'"note"' in one.data]
    assert order == [1, 2, 0, 3, 4]


def test_detach_leaves_the_traffic_and_completes_the_capture(controlled: tuple[Relayed, Control]) -> None:
    relayed, control = controlled
    front, back = relayed.open()
    exchange(front, back)
    send(front, sized(20)[:15], [7])
    with Caller(control.path) as caller:
        assert caller.ask({"do": "detach"})["ok"]
        until(lambda: not os.path.exists(f"/proc/self/fd/{relayed.writer.fd}") or relayed.writer.fd < 0)
        send(front, sized(20)[15:])
        assert receive(back).tags == (7,)
        exchange(front, back)
        other_front, other_back = relayed.open()
        exchange(other_front, other_back)
        told = caller.ask({"do": "status"})
        assert (told["messages"], told["sessions"], told["capture_fd"]) == (7, [1, 2], -1)
        assert caller.ask({"do": "annotate", "text": "to nobody"})["ok"] is False
        assert caller.ask({"do": "detach"})["ok"]
    assert relayed.descriptors_in_hand() == 0
    records = relayed.stop()
    assert len(messages(records)) == 2
    assert events(records)[-1]["event"] == "end"


GARBAGE = [
    b"",
    b"hello",
    b"{}",
    b"[]",
    b"null",
    b"3",
    b'"do"',
    b'{"do": null}',
    b'{"do": ["status"]}',
    b'{"do": {"a": 1}}',
    b'{"do": "stop"}',
    b'{"do": "' + b"x" * 10_000 + b'"}',
    b'{"do": "annotate"}',
    b'{"do": "annotate", "text": ""}',
    b'{"do": "annotate", "text": 7}',
    b'{"do": "annotate", "text": "' + b"x" * 60_000 + b'"}',
    b'{"do": "annotate", "text": "' + rb"\u0007" * 9_000 + b'"}',
    b"[" * 60_000,
    b'{"do":' * 10_000,
    b"\xff\xfe\x00",
    b"1" * 10_000,
    b"NaN",
]


@pytest.mark.parametrize("line", GARBAGE, ids=[repr(line[:30]) for line in GARBAGE])
def test_garbage_is_answered_with_a_sentence(controlled: tuple[Relayed, Control], line: bytes) -> None:
    relayed, control = controlled
    with Caller(control.path) as caller:
        answer = caller.ask_raw(line)
        assert answer["ok"] is False
        assert isinstance(answer["text"], str)
        assert len(answer["text"]) < 200
        assert caller.ask({"do": "status"})["ok"]
    front, back = relayed.open()
    exchange(front, back)


def test_a_line_without_an_end_is_cut_off(controlled: tuple[Relayed, Control]) -> None:
    relayed, control = controlled
    with Caller(control.path) as caller, pytest.raises((EOFError, ConnectionResetError, BrokenPipeError)):
        caller.sock.sendall(b"x" * (LONGEST * 3))
        caller.answer()
    front, back = relayed.open()
    exchange(front, back)


def test_a_request_in_pieces(controlled: tuple[Relayed, Control]) -> None:
    _, control = controlled
    with Caller(control.path) as caller:
        for byte in b'{"do": "status"}\n{"do": "status"}\n':
            caller.sock.sendall(bytes([byte]))
        assert caller.answer()["ok"]
        assert caller.answer()["ok"]


def test_a_caller_that_reads_no_answers_is_dropped(controlled: tuple[Relayed, Control]) -> None:
    """And the relay never waits for it."""
    relayed, control = controlled
    front, back = relayed.open()
    with Caller(control.path) as caller, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(1000):
            caller.sock.sendall(b'{"do":"status"}\n' * 1000)
            exchange(front, back)
    with Caller(control.path) as caller:
        assert caller.ask({"do": "status"})["ok"]


def test_callers_that_leave_in_the_middle(controlled: tuple[Relayed, Control]) -> None:
    relayed, control = controlled
    for text in (b"", b'{"do": "sta', b'{"do": "status"}\n'):
        for _ in range(5):
            with connected(control.path) as caller:
                caller.sendall(text)
    front, back = relayed.open()
    exchange(front, back)
    until(lambda: relayed.call(lambda: not control._callers))


def test_many_callers(controlled: tuple[Relayed, Control]) -> None:
    _, control = controlled
    callers = [Caller(control.path) for _ in range(10)]
    for caller in callers:
        assert caller.ask({"do": "status"})["ok"]
    for caller in callers:
        caller.sock.close()


def test_its_folder_and_itself_are_their_owners_alone(controlled: tuple[Relayed, Control]) -> None:
    _, control = controlled
    assert stat.S_IMODE(os.stat(control.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(control.path)).st_mode) == 0o700
    assert control.path == os.path.join(control_folder(), f"{os.getpid()}.sock")


def test_it_goes_with_the_relay(controlled: tuple[Relayed, Control]) -> None:
    relayed, control = controlled
    with Caller(control.path) as caller:
        relayed.call(control.close)
        with pytest.raises((EOFError, ConnectionResetError)):
            caller.answer()
    assert not os.path.exists(control.path)


@pytest.mark.parametrize("what", ["open to others", "a file", "a link", "somebody else's"])
def test_a_folder_that_is_not_ones_own_is_not_used(
    relayed: Relayed, folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The relay works without; others could put their own socket there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    place = folder / "vhostspy"
    match what:
        case "open to others":
            place.mkdir()
            place.chmod(0o777)
        case "a file":
            place.write_text("")
        case "a link":
            (folder / "elsewhere").mkdir(mode=0o700)
            place.symlink_to(folder / "elsewhere")
        case _:
            if os.getuid() != 0:
                missing("only root can give a folder away")
            place.mkdir(mode=0o700)
            os.chown(place, 65534, 65534)
    control = relayed.call(lambda: Control(relayed.relay, ""))
    assert control.problem
    assert "\n" not in control.problem
    assert str(place) in control.problem
    front, back = relayed.open()
    exchange(front, back)
    relayed.call(control.close)
    if place.is_dir():
        assert not list(place.iterdir())


def test_a_path_left_by_a_process_with_our_number(
    relayed: Relayed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    (folder / "vhostspy").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(folder / "vhostspy" / f"{os.getpid()}.sock"))
    control = relayed.call(lambda: Control(relayed.relay, ""))
    with Caller(control.path) as caller:
        assert caller.ask({"do": "status"})["ok"]
    relayed.call(control.close)
