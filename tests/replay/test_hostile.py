"""Peers, files and people that do what they should not: a sentence, the right status, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from xml.etree import ElementTree

import pytest

from vhostspy.capture.reader import Reader
from vhostspy.demo.back_end import BackEnd
from vhostspy.demo.block import Disk
from vhostspy.demo.front_end import FrontEnd
from vhostspy.errors import WrongUse
from vhostspy.replay import Outcome, replay
from vhostspy.replay.edit import load
from vhostspy.replay.meeting import Meeting

from .support import SECTORS, recorded, to_back_end, to_front_end, whole_session

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "vhostspy", "replay"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "demo.pcapng"
    path.write_bytes(recorded(whole_session))
    return path


@contextmanager
def serving(path: Path, sectors: int = SECTORS) -> Iterator[str]:
    """A back-end that serves one connection."""
    with socket.socket(socket.AF_UNIX) as listener, BackEnd(Disk(sectors)) as served:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(30)

        def run() -> None:
            served.serve(listener.accept()[0])

        thread = threading.Thread(target=run)
        thread.start()
        yield str(path)
        served.stop()
        thread.join(30)
        assert not thread.is_alive()


# -- people


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1/0", "ZeroDivisionError"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("import nothing_by_this_name", "nothing_by_this_name"),
    ],
)
def test_a_file_for_edit_that_fails(tmp_path: Path, text: str, said: str) -> None:
    rule = tmp_path / "rule.py"
    rule.write_text(text)
    with pytest.raises(WrongUse, match=said) as wrong:
        load(rule)
    assert str(rule) in str(wrong.value)


def test_a_folder_for_edit(tmp_path: Path) -> None:
    with pytest.raises(WrongUse):
        load(tmp_path)


def test_an_edit_that_wants_to_end_the_program(capture: Path) -> None:
    def leave(_: object) -> object:
        raise SystemExit(0)

    with pytest.raises(WrongUse, match="SystemExit"):
        to_back_end(capture.read_bytes(), edit=leave)


@pytest.mark.parametrize("timeout_s", [9e8, 1e300])
def test_a_wait_that_is_longer_than_the_kernel_counts(capture: Path, timeout_s: float) -> None:
    assert to_back_end(capture.read_bytes(), timeout_s=timeout_s).status == 0


def test_a_wait_for_a_connection_that_is_longer_than_the_kernel_counts(tmp_path: Path) -> None:
    meeting = Meeting(listen=str(tmp_path / "l.sock"), timeout_s=9e8)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(tmp_path / "l.sock"))
        meeting.meet(False).close()
    meeting.close()


def refused(*arguments: object) -> str:
    found = subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 2, found.stdout
    return found.stderr


def test_the_capture_is_not_overwritten_with_its_own_replay(capture: Path) -> None:
    before = capture.read_bytes()
    link = capture.with_name("link.pcapng")
    link.symlink_to(capture)
    said = refused(capture, "--as", "front-end", "--connect", "x", "-w", link)
    assert "is what is read, and would be lost" in said
    assert capture.read_bytes() == before


def test_one_file_for_many_captures(tmp_path: Path) -> None:
    said = refused("--corpus", "blk", "--as", "front-end", "--connect", "x", "-w", tmp_path / "x.pcapng")
    assert "one file cannot hold all" in said


def test_junit_of_a_file_with_any_name(capture: Path, tmp_path: Path) -> None:
    odd = tmp_path / 'a"b<&>\x01.pcapng'
    odd.write_bytes(capture.read_bytes())
    junit = tmp_path / "junit.xml"
    with serving(tmp_path / "be.sock") as path:
        command = [*COMMAND, str(odd), "--as", "front-end", "--connect", path, "--junit", str(junit)]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode == 0
    (case,) = ElementTree.parse(junit).getroot().iter("testcase")
    assert 'a"b<&>\\x01.pcapng session 1' in (case.get("name") or "")


# -- files


def damaged(whole: bytes) -> bytes:
    """With garbage over a part of its last message."""
    at = whole.rindex(b"\x06\0\0\0", 0, len(whole) - 400)
    return whole[: at + 4] + b"\xa5" * 300 + whole[at + 304 :]


def test_a_damaged_capture_is_played_up_to_there(capture: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pcapng"
    broken.write_bytes(damaged(capture.read_bytes()))
    with serving(tmp_path / "be.sock") as path:
        command = [*COMMAND, str(broken), "--as", "front-end", "--connect", path]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "what comes behind it is not played" in found.stdout
    assert "0 did not; all was played" in found.stdout
    assert found.returncode == 2


def test_a_damaged_capture_is_compared_up_to_there(capture: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pcapng"
    broken.write_bytes(damaged(capture.read_bytes()))
    command = [sys.executable, "-m", "vhostspy", "diff", str(broken), str(broken)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "compared up to there" in found.stderr
    assert "1 session, the same" in found.stdout
    assert found.returncode == 2


def cut_behind(whole: bytes, no: int) -> bytes:
    """The capture up to the message with this number; nothing says how it ended."""
    with Reader(whole) as reader:
        for record in reader:
            if record.number == no:
                return whole[: reader.offset]
    raise AssertionError(f"there is no message {no}")


def test_an_answer_that_a_cut_capture_does_not_have_is_no_mismatch(capture: Path) -> None:
    """GET_FEATURES stands alone; its answer was to come next."""
    outcome = to_back_end(cut_behind(capture.read_bytes(), 1))
    assert outcome.status == 0, outcome.text
    assert "GET_FEATURES reply #2: the record ends before it" in outcome.text


def test_a_request_whose_answer_a_cut_capture_does_not_have(capture: Path) -> None:
    outcome, _ = to_front_end(cut_behind(capture.read_bytes(), 1), lambda front_end: front_end.negotiate())
    assert outcome.status == 0, outcome.text


# -- peers


def test_who_only_looks_whether_we_are_ready_does_not_count(capture: Path, tmp_path: Path) -> None:
    path = tmp_path / "l.sock"
    outcomes: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(replay(capture, "back-end", listen=path, until_no="set-up", timeout_s=5))
    )
    thread.start()
    until(path.exists)
    for _ in range(2):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        with FrontEnd(sock, queues=2, timeout_s=5) as front_end:
            front_end.negotiate()
            front_end.start()
    thread.join(30)
    assert outcomes[0].status == 0, outcomes[0].text


def beside(data: bytes, pause_s: float) -> Callable[[socket.socket], None]:
    """Says the same again and again, and nothing else, for as long as somebody listens."""

    def run(sock: socket.socket) -> None:
        with sock:
            sock.recv(1 << 16)
            try:
                while True:
                    sock.sendall(data)
                    sleep(pause_s)
            except OSError:
                pass

    return run


def played_to(run: Callable[[socket.socket], None], capture: Path, **options: Any) -> Outcome:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=run, args=(theirs,))
    thread.start()
    outcome = replay(capture, "front-end", connect=ours, **options)
    thread.join(10)
    assert not thread.is_alive()
    return outcome


def test_a_peer_that_answers_without_end(capture: Path) -> None:
    answer = struct.pack("=IIIQ", 1, 5, 8, 1 << 32)
    outcome = played_to(beside(answer * 100, 0), capture, timeout_s=30)
    assert outcome.status == 1
    assert len(outcome.mismatches) < 2000
    assert "there is no end to what the back-end says beside the record" in outcome.text


def test_a_peer_that_never_answers_but_keeps_talking(capture: Path) -> None:
    """Answers to what was not asked keep nobody from losing patience."""
    outcome = played_to(beside(struct.pack("=IIIQ", 15, 5, 8, 1), 0.02), capture, timeout_s=0.5)
    assert "GET_FEATURES #1 stands unanswered for 0.5 s" in outcome.text


# -- the system


def test_who_reads_no_more_changes_nothing(capture: Path, tmp_path: Path) -> None:
    """The replay goes on to its end, and the mismatch is told by the status."""
    with serving(tmp_path / "be.sock", 2 * SECTORS) as path:
        reading, writing = os.pipe()
        os.close(reading)
        kept = tmp_path / "kept.pcapng"
        command = [*COMMAND, str(capture), "--as", "front-end", "--connect", path, "-v", "-w", str(kept)]
        found = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
        os.close(writing)
    assert (found.returncode, found.stderr) == (1, b"")
    assert b"the capture is complete" in kept.read_bytes()


def test_a_full_disk_is_told(capture: Path) -> None:
    outcome = to_back_end(capture.read_bytes(), write="/dev/full")
    assert outcome.status == 3
    assert "the capture is not complete: No space left on device" in outcome.text
    assert outcome.sent and not outcome.mismatches


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(capture: Path, tmp_path: Path, number: signal.Signals) -> None:
    path, kept = tmp_path / "l.sock", tmp_path / "kept.pcapng"
    process = subprocess.Popen(
        [*COMMAND, str(capture), "--as", "back-end", "--listen", str(path), "-w", str(kept)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    until(lambda: listens(path))
    with socket.socket(socket.AF_UNIX) as front_end:
        front_end.connect(str(path))
        front_end.sendall(struct.pack("=III", 1, 1, 0))
        front_end.recv(20)  # it is in the middle of the session
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert said == b""
    assert not path.exists()
    assert b"the capture is complete" in kept.read_bytes()


def listens(path: Path) -> bool:
    sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return any(columns[-1] == str(path) and columns[3] == "00010000" for columns in sockets)


def until(true: Callable[[], bool]) -> None:
    deadline = monotonic() + 20
    while not true():
        assert monotonic() < deadline
        sleep(0.01)
