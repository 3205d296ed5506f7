"""The relay as a process: signals, exit statuses, captures in every kind of file, and viewers that stall or die."""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vhostspy.capture.reader import Reader
from vhostspy.capture.record import Record
from vhostspy.relay.control import folder as control_folder

from .harness import (
    at_end,
    close_all,
    connected,
    events,
    exchange,
    listening,
    message,
    messages,
    quiet,
    reached,
    receive,
    receive_bytes,
    rights,
    send,
    sized,
    tagged,
    taken,
    until,
)

CHECKOUT = Path(__file__).parents[2]
#: starting Python on a busy machine
PATIENCE_S = 30


class Spy:
    """``vhostspy --listen front --connect back …`` in a folder, and the back-end's listener."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        listen: bool = True,
        stdout: int = subprocess.DEVNULL,
        limits: Callable[[], None] | None = None,
    ) -> None:
        self.folder = folder
        self.front_path, self.back_path = str(folder / "front"), str(folder / "back")
        self.capture = folder / "capture.pcapng"
        self.listener = listening(self.back_path) if listen else None
        self.errors = folder / "errors"
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vhostspy", "--listen", self.front_path, "--connect", self.back_path, *options],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=errors,
                cwd=CHECKOUT,
                env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
                preexec_fn=limits,
            )
        until(lambda: "waiting for" in self.said or self.process.poll() is not None, deadline_s=PATIENCE_S)

    @property
    def said(self) -> str:
        return self.errors.read_text("utf-8")

    def open(self) -> tuple[socket.socket, socket.socket]:
        """A session; the sockets are the caller's."""
        assert self.listener is not None
        front = connected(self.front_path)
        back, _ = self.listener.accept()
        back.settimeout(10)
        return front, back

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit status after a signal."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def records(self) -> list[Record]:
        with Reader(self.capture) as reader:
            records = list(reader)
            assert not reader.note
        return records


@contextmanager
def spying(
    folder: Path,
    *options: str,
    listen: bool = True,
    stdout: int = subprocess.DEVNULL,
    limits: Callable[[], None] | None = None,
) -> Iterator[Spy]:
    spy = Spy(folder, *options, listen=listen, stdout=stdout, limits=limits)
    try:
        yield spy
    finally:
        if spy.listener is not None:
            spy.listener.close()
        if spy.process.poll() is None:
            spy.process.kill()
        spy.process.wait()
        if spy.process.stdout is not None:
            spy.process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_it_cleanly_in_the_middle_of_a_session(folder: Path, number: int) -> None:
    with spying(folder, "-q", "-w", str(folder / "capture.pcapng")) as spy:
        front, back = spy.open()
        with front, back:
            exchange(front, back)
            send(front, sized(20)[:15], [1])
            taken(front)
            assert spy.end(number) == 0
            assert at_end(front)
            # half a message goes on when it has lain for long enough, which it may have on a busy machine
            assert at_end(back) or receive_bytes(back, 14) and at_end(back)
        assert not os.path.exists(spy.front_path)
        assert not list((folder / "vhostspy").iterdir()), "the control socket is gone"
        records = spy.records()
        assert [event["event"] for event in events(records)] == ["start", "open", "close", "end"]
        assert [one.length for one in messages(records)] == [20, 24, 15]
        assert spy.said.count("\n") == 1, spy.said


def test_a_signal_that_comes_while_it_is_still_loading_ends_it_cleanly(folder: Path) -> None:
    """It listens before it has read most of its modules."""
    program = (
        "import os, signal, sys\n"
        "from vhostspy.cli import main\n"
        "from vhostspy.launch import running\n"
        "def late(*arguments, run=running.run):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return run(*arguments)\n"
        "running.run = late\n"
        "sys.exit(main())"
    )
    words = ["--listen", str(folder / "front"), "--connect", str(folder / "back"), "-q", "-w", str(folder / "capture")]
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=CHECKOUT, timeout=PATIENCE_S)
    assert done.returncode == 0
    assert not os.path.exists(folder / "front")
    with Reader(folder / "capture") as reader:
        assert [event["event"] for event in events(list(reader))] == ["start", "end"]


def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    """The first makes it wait for the view, which is stalled by whoever reads it."""
    with spying(folder, "-v", stdout=subprocess.PIPE) as spy:
        front, back = spy.open()
        with front, back:
            for at in range(3000):
                send(front, sized(60, fill=at))
                receive(back)
        spy.process.send_signal(signal.SIGINT)
        until(lambda: not os.path.exists(spy.front_path))
        with pytest.raises(subprocess.TimeoutExpired):
            spy.process.wait(0.3)
        assert spy.end(signal.SIGINT) in (-signal.SIGINT, 128 + signal.SIGINT)


def test_once_ends_by_itself_with_status_0(folder: Path) -> None:
    with spying(folder, "-q", "--once", "-w", str(folder / "capture.pcapng")) as spy:
        front, back = spy.open()
        with front, back:
            exchange(front, back)
        assert spy.process.wait(PATIENCE_S) == 0
        assert [event["event"] for event in events(spy.records())][-1] == "end"


def test_it_does_not_die_of_its_own_alarm(folder: Path) -> None:
    """The alarm that writes what waits may be due while Python ends, which is rarely hit: so many times."""
    for at in range(6):
        place = folder / str(at)
        place.mkdir()
        with spying(place, "-q", "--once", "-w", str(place / "capture.pcapng")) as spy:
            front, back = spy.open()
            with front, back:
                exchange(front, back)
            assert spy.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("how", ["reset", "garbage"])
def test_what_peers_do_to_each_other_leaves_the_status_0(folder: Path, how: str) -> None:
    with spying(folder, "-q", "--once", "-w", str(folder / "capture.pcapng")) as spy:
        front, back = spy.open()
        with front, back:
            exchange(front, back)
            if how == "garbage":
                send(front, b"\xff" * 1000)
                receive_bytes(back, 1000)
            else:
                send(back, sized(20))
                until(lambda: not quiet(front))
        assert spy.process.wait(PATIENCE_S) == 0


def test_once_with_nobody_at_the_other_side_is_status_3(folder: Path) -> None:
    with spying(folder, "-q", "-w", str(folder / "c"), "--once", "--connect-timeout", "0.2", listen=False) as spy:
        with connected(spy.front_path) as front:
            assert at_end(front)
        assert spy.process.wait(PATIENCE_S) == 3
        lines = spy.said.splitlines()
        assert lines[-1] == f"vhostspy: {spy.back_path}: could not be reached within 0.2 s: No such file or directory"
        assert len(lines) == 3


# -- what is little ---------------------------------------------------------------------------------------------------


def test_a_full_disk_does_not_touch_the_traffic(folder: Path) -> None:
    """One sentence, status 3, and what fitted can be read."""

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with spying(folder, "-q", "-w", str(folder / "capture.pcapng"), limits=limits) as spy:
        front, back = spy.open()
        with front, back:
            for at in range(1500):
                exchange(front, back, at % 50)
            for at in range(20):
                send(front, sized(65_548, fill=at), [at])
                assert receive(back).tags == (at,)
        assert spy.end() == 3
        lines = spy.said.splitlines()
        assert len(lines) == 2, lines
        assert "the capture is not complete: File too large" in lines[1]
        assert "the traffic was not affected" in lines[1]
        recorded = messages(spy.records())
        assert 100 < len(recorded) < 3020
        assert [one.number for one in recorded] == list(range(1, len(recorded) + 1))


def test_a_small_table_of_descriptors_ends_the_session_with_status_3(folder: Path) -> None:
    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    with spying(folder, "-q", "-w", str(folder / "capture.pcapng"), limits=limits) as spy:
        front, back = spy.open()
        with front, back:
            exchange(front, back)
            fds = tagged(1)
            front.sendmsg([sized(20)], rights(fds * 100))
            close_all(fds)
            try:
                assert at_end(front)
            except ConnectionResetError:
                pass
        # it goes on with the next session
        front, back = spy.open()
        with front, back:
            exchange(front, back)
        assert spy.end() == 3
        lines = spy.said.splitlines()
        assert len(lines) == 2, lines
        assert "descriptors were lost on the main channel" in lines[1]
        assert "limit 40" in lines[1]
        (fault,) = events(spy.records(), "fault")
        assert "descriptors were lost" in fault["text"]


def test_the_soft_limit_is_raised(folder: Path) -> None:
    """A message may bring 253 at once."""

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 1000))

    with spying(folder, "-q", "-w", str(folder / "capture.pcapng"), limits=limits) as spy:
        front, back = spy.open()
        with front, back:
            for _ in range(2):
                send(front, sized(20), range(253))
                assert receive(back).tags == tuple(range(253))
        assert spy.end() == 0


# -- where the capture goes -------------------------------------------------------------------------------------------


def test_a_capture_is_its_owners_alone_and_replaces_a_file(folder: Path) -> None:
    path = folder / "capture.pcapng"
    path.write_bytes(b"old" * 100_000)
    path.chmod(0o600)
    with spying(folder, "-q", "-w", str(path)) as spy:
        front, back = spy.open()
        with front, back:
            exchange(front, back)
        assert spy.end() == 0
        assert len(messages(spy.records())) == 2
    fresh = folder / "fresh"
    (folder / "second").mkdir()
    with spying(folder / "second", "-q", "-w", str(fresh)) as spy:
        assert stat.S_IMODE(fresh.stat().st_mode) == 0o600
        assert spy.end() == 0


def swamp(spy: Spy) -> None:
    """Far more than any pipe holds, each message answered: it takes as long as the relay makes the peers wait."""
    front, back = spy.open()
    with front, back:
        for at in range(40):
            send(front, sized(65_000, fill=at))
            receive(back)
        for at in range(2000):
            send(front, sized(60, fill=at))
            receive(back)
            send(back, message(40, bytes(8), reply=True))
            receive(front)


def test_a_stalled_reader_of_a_fifo_stalls_no_peer(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    # for reading and writing: so nobody waits for the other to open it, and nobody reads
    fifo = os.open(folder / "fifo", os.O_RDWR)
    try:
        with spying(folder, "-q", "-w", str(folder / "fifo")) as spy:
            swamp(spy)
            spy.process.send_signal(signal.SIGTERM)
            until(lambda: not os.path.exists(spy.front_path))
    finally:
        os.close(fifo)


def test_a_stalled_reader_of_standard_output_stalls_no_peer(folder: Path) -> None:
    with spying(folder, "-w", "-", stdout=subprocess.PIPE) as spy:
        swamp(spy)
        spy.process.send_signal(signal.SIGTERM)
        assert spy.process.stdout is not None
        whole = spy.process.stdout.read()
        assert spy.process.wait(PATIENCE_S) == 0
        with Reader(whole) as reader:
            records = list(reader)
        assert len(messages(records)) == 40 + 2 * 2000
        assert events(records)[-1]["event"] == "end"


def test_a_stalled_reader_of_the_lines_stalls_no_peer(folder: Path) -> None:
    with spying(folder, "-v", stdout=subprocess.PIPE) as spy:
        swamp(spy)


def test_a_reader_of_the_lines_that_leaves_changes_nothing(folder: Path) -> None:
    with spying(folder, "-w", str(folder / "capture.pcapng"), stdout=subprocess.PIPE) as spy:
        assert spy.process.stdout is not None
        spy.process.stdout.close()
        swamp(spy)
        assert spy.end() == 0
        assert len(messages(spy.records())) == 4040


def test_closed_standard_descriptors(folder: Path) -> None:
    """As a service may start it: no capture, socket or pipe may take their numbers."""

    def limits() -> None:
        for fd in (0, 1, 2):
            os.close(fd)

    path = folder / "capture.pcapng"
    with listening(str(folder / "back")) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "vhostspy", "--listen", "front", "--connect", "back", "-w", str(path)],
            cwd=folder,
            preexec_fn=limits,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "XDG_RUNTIME_DIR": str(folder)},
        )
        try:
            with reached(str(folder / "front"), PATIENCE_S) as front:
                back, _ = listener.accept()
                with back:
                    back.settimeout(10)
                    exchange(front, back)
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    with Reader(path) as reader:
        assert len(messages(list(reader))) == 2


def test_two_processes_in_a_row(folder: Path) -> None:
    """A debugger under a debugger."""
    (folder / "1").mkdir()
    (folder / "2").mkdir()
    with (
        spying(folder / "2", "-q", "-w", str(folder / "2" / "capture.pcapng")) as second,
        listening(str(folder / "1" / "unused")),
    ):
        first = subprocess.Popen(
            [sys.executable, "-m", "vhostspy", "--listen", str(folder / "1" / "front"), "--connect", second.front_path]
            + ["-q", "-w", str(folder / "1" / "capture.pcapng"), "--once"],
            cwd=CHECKOUT,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
        )
        try:
            with reached(str(folder / "1" / "front"), PATIENCE_S) as front:
                assert second.listener is not None
                back, _ = second.listener.accept()
                with back:
                    back.settimeout(10)
                    for at in range(20):
                        exchange(front, back, at)
            assert first.wait(PATIENCE_S) == 0
        finally:
            if first.poll() is None:
                first.kill()
                first.wait()
        assert second.end() == 0
        notes = []
        for number in "12":
            with Reader(folder / number / "capture.pcapng") as reader:
                notes.append([one.data for one in messages(list(reader))])
        assert notes[0] == notes[1]
        assert len(notes[0]) == 40


def test_features_are_masked_for_a_real_session(folder: Path) -> None:
    path = str(folder / "capture.pcapng")
    with spying(
        folder, "-q", "-w", path, "--mask-features", "VERSION_1,5", "--offer-protocol-features", "CONFIG"
    ) as spy:
        front, back = spy.open()
        with front, back:
            send(back, message(1, (1 << 32 | 0xFF).to_bytes(8, sys.byteorder), reply=True))
            assert int.from_bytes(receive(front).data[12:], sys.byteorder) == 0xDF
            send(back, message(15, (2).to_bytes(8, sys.byteorder), reply=True))
            assert int.from_bytes(receive(front).data[12:], sys.byteorder) == 2 | 1 << 9
            # what the front-end says is its own
            send(front, message(2, (1 << 32 | 0x20).to_bytes(8, sys.byteorder)))
            assert int.from_bytes(receive(back).data[12:], sys.byteorder) == 1 << 32 | 0x20
        assert spy.end() == 0
        assert [(one.number, len(one.data)) for one in messages(spy.records())] == [
            (1, 20),
            (1, 20),
            (2, 20),
            (2, 20),
            (3, 20),
        ]


def test_the_control_socket_is_its_owners_alone(folder: Path) -> None:
    with spying(folder, "--no-capture") as spy:
        place = folder / "vhostspy"
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        (only,) = place.iterdir()
        assert only.name == f"{spy.process.pid}.sock"
        assert stat.S_IMODE(only.stat().st_mode) == 0o600
        assert spy.end() == 0
        assert not only.exists()


def test_where_the_control_socket_is(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    assert control_folder() == str(folder / "vhostspy")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "not there"))
    assert control_folder() == str(folder / f"vhostspy-{os.getuid()}")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert control_folder() == str(folder / f"vhostspy-{os.getuid()}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert control_folder() == str(folder / f"vhostspy-{os.getuid()}"), "somebody else's folder is none of ours"
