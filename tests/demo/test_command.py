"""``vhostspy demo`` as it is called: it ends by itself, well, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vhostspy.commands.demo import Part, _blame
from vhostspy.errors import Failure, WrongUse


def surroundings(folder: Path) -> dict[str, str]:
    """Environment in which all that a demo makes lies in ``folder``, but for the relay's control socket."""
    runtime = folder.with_name(f"{folder.name}.run")
    runtime.mkdir(mode=0o700, exist_ok=True)
    return {**os.environ, "TMPDIR": str(folder), "XDG_RUNTIME_DIR": str(runtime)}


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vhostspy", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=surroundings(folder),
    )


def processes_that_name(text: str) -> list[str]:
    """The command lines of running processes in which ``text`` occurs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has ended meanwhile
                continue
            if text in command:
                found.append(command)
    return found


def test_it_shows_a_whole_session_and_what_came_of_it(tmp_path: Path) -> None:
    ran = demo(tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    for name in ("GET_FEATURES", "SET_BACKEND_REQ_FD", "ADD_MEM_REG", "SET_VRING_KICK", "CONFIG_CHANGE_MSG"):
        assert name in ran.stdout
    told = re.search(
        r"^Wrote 64 sectors .* from 2048 to 4096 sectors: (\d+) messages on 2 channels\.$", ran.stdout, re.M
    )
    assert told is not None
    assert f"{told[1]} messages, " in ran.stdout  # the relay has counted as many
    assert "show demo.pcapng -v" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_it_keeps_the_capture_that_it_was_told_to(tmp_path: Path) -> None:
    capture = tmp_path / "kept.pcapng"
    ran = demo(tmp_path, "--keep", str(capture), "-v")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"show {capture} -v" in ran.stdout
    assert list(tmp_path.iterdir()) == [capture]
    shown = subprocess.run(
        [sys.executable, "-m", "vhostspy", "show", str(capture), "-v"], capture_output=True, text=True, timeout=60
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "CONFIG_CHANGE_MSG" in shown.stdout


@pytest.mark.parametrize("keep", ["-", "."])
def test_a_capture_that_cannot_be_kept_is_wrong_use(tmp_path: Path, keep: str) -> None:
    ran = demo(tmp_path, "--keep", keep)
    assert ran.returncode == 2
    assert ran.stderr.startswith("vhostspy demo: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_of_it(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "vhostspy", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings(tmp_path),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("A front-end")
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert processes_that_name(str(tmp_path)) == []


def test_who_stops_reading_ends_the_demo_well(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "vhostspy", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings(tmp_path),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(30) == 0
    assert errors == ""
    assert list(tmp_path.iterdir()) == []


def test_the_part_that_failed_is_named_with_its_last_words(tmp_path: Path) -> None:
    part = Part("back-end", tmp_path, ["vhostspy.demo.back_end", "--connect", "nobody.sock", "--timeout", "0.01"], None)
    try:
        assert part.wait(20)
        with pytest.raises(
            Failure, match=r"^the back-end ended with status 3:\n    back-end: nobody listens on nobody"
        ):
            _blame([part])
    finally:
        part.end()


def test_the_proxy_is_blamed_before_those_that_it_takes_with_it(tmp_path: Path) -> None:
    relay = Part("relay", tmp_path, ["vhostspy", "--listen", "here.sock"], None)
    front_end = Part("front-end", tmp_path, ["vhostspy.demo.front_end", "--fd", "1000"], None)
    try:
        assert relay.wait(20)
        assert front_end.wait(20)
        with pytest.raises(WrongUse, match="the relay could not be started like this"):
            _blame([relay, front_end])
    finally:
        relay.end()
        front_end.end()


def test_a_part_that_was_killed_is_named(tmp_path: Path) -> None:
    part = Part("front-end", tmp_path, ["vhostspy.demo.front_end", "--listen", str(tmp_path / "a.sock")], None)
    part.end()
    with pytest.raises(Failure, match=f"the front-end was ended by signal {signal.SIGTERM.value}$"):
        _blame([part])
