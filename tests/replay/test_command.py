"""``vhostspy replay`` as people call it: exit statuses, text, JSON, JUnit."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vhostspy.demo.back_end import BackEnd
from vhostspy.demo.block import Disk

from .support import SECTORS, recorded, whole_session

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "demo.pcapng"
    path.write_bytes(recorded(whole_session))
    return path


@pytest.fixture
def back_end(tmp_path: Path) -> Iterator[str]:
    """A back-end that serves one connection after the other; the name that it listens by."""
    path = str(tmp_path / "be.sock")
    served = BackEnd(Disk(SECTORS))

    def run() -> None:
        while True:
            connection, _ = listener.accept()
            if served.stopping:
                connection.close()
                return
            served.serve(connection)

    with socket.socket(socket.AF_UNIX) as listener, served:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=run)
        thread.start()
        yield path
        served.stop()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(path)
        thread.join(10)
        assert not thread.is_alive()


def vhostspy(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vhostspy", "replay", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_as_recorded(capture: Path, back_end: str) -> None:
    found = vhostspy(capture, "--as", "front-end", "--connect", back_end)
    assert (found.returncode, found.stderr) == (0, ""), found.stdout
    assert found.stdout.endswith(f"{capture}: as recorded\n")


def test_all_messages(capture: Path, back_end: str) -> None:
    found = vhostspy(capture, "--as", "front-end", "--connect", back_end, "-v")
    assert found.returncode == 0
    lines = found.stdout.splitlines()
    assert "→ front-end  GET_FEATURES" in lines[0] and "← back-end   GET_FEATURES" in lines[1]


def test_json(capture: Path, back_end: str) -> None:
    found = vhostspy(capture, "--as", "front-end", "--connect", back_end, "--json")
    assert found.returncode == 0
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert lines[0]["message"] == "GET_FEATURES" and lines[0]["no"] == 1
    assert lines[-1]["event"] == "summary" and lines[-1]["status"] == 0 and lines[-1]["mismatches"] == 0
    assert "as recorded" in found.stderr


def test_a_mismatch(capture: Path, back_end: str, tmp_path: Path) -> None:
    rule = tmp_path / "rule.py"
    rule.write_text("def edit(m):\n    return {'length': 8, 'config': bytes(8)} if m.name == 'GET_CONFIG' else None\n")
    junit = tmp_path / "junit.xml"
    found = vhostspy(capture, "--as", "front-end", "--connect", back_end, "--edit", rule, "--json", "--junit", junit)
    assert found.returncode == 1
    events = [line for line in map(json.loads, found.stdout.splitlines()) if line.get("event") == "mismatch"]
    assert events[0]["expected"]["message"] == events[0]["came"]["message"] == "GET_CONFIG"
    assert {one["member"] for one in events[0]["differences"]} >= {"size", "length"}
    suites = ElementTree.parse(junit).getroot()
    assert suites.tag == "testsuites" and suites[0].get("failures") == "1"
    assert "GET_CONFIG" in (suites[0][0][0].text or "")


def test_nobody_there(capture: Path, tmp_path: Path) -> None:
    found = vhostspy(capture, "--as", "front-end", "--connect", tmp_path / "no", "--connect-timeout", "0.05")
    assert found.returncode == 3
    assert "cannot connect within 0.05 s" in found.stdout


def test_nobody_there_is_told_once_for_all_recordings(tmp_path: Path) -> None:
    found = vhostspy("--corpus", "blk", "--as", "front-end", "--connect", tmp_path / "no", "--connect-timeout", "0.05")
    assert found.returncode == 3
    assert found.stdout.count("cannot connect") == 1
    assert re.search(r"nobody is there to play to: \d+ recordings left out", found.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["FILE", "--as", "front-end"], "say where the other side is"),
        (["FILE", "--connect", "x"], "say which side is to be played"),
        (["--as", "front-end", "--connect", "x"], "say what is to be played"),
        (["FILE", "--as", "frontend", "--connect", "x"], "did you mean front-end?"),
        (["FILE", "--as", "front-end", "--connect", "x", "--listen", "y"], "not allowed with"),
        (["FILE", "--as", "back-end", "--listen", "x", "--adapt"], "--adapt is for --as front-end"),
        (["no.pcapng", "--as", "front-end", "--connect", "x"], "no.pcapng: No such file"),
        (["Makefile", "--as", "front-end", "--connect", "x"], "Makefile: "),
        (["FILE", "--as", "front-end", "--connect", "x", "-Y", "messige"], "-Y"),
        (["FILE", "--as", "front-end", "--connect", "x", "--timeout", "-1"], "no number of seconds"),
        (["FILE", "--as", "front-end", "--connect", "x", "--until-no", "x"], "no message's number"),
        (["--corpus", "blx", "--as", "front-end", "--connect", "x"], "blx"),
        (["FILE", "--as", "front-end", "--connect", "x", "--from-no", "9999"], "no message to be played"),
    ],
)
def test_wrong_use(capture: Path, arguments: list[str], said: str) -> None:
    found = vhostspy(*(capture if word == "FILE" else word for word in arguments))
    assert found.returncode == 2, found.stdout
    assert said in found.stderr


def test_the_corpus_is_listed_without_a_peer() -> None:
    found = vhostspy("--corpus")
    assert found.returncode == 0
    assert found.stdout.startswith("blk: ")


def test_a_set_of_the_corpus_with_its_table(back_end: str) -> None:
    """The demo's disk has other features than qemu-storage-daemon, the same in shape, and is played as what it is."""
    found = vhostspy("--corpus", "libblkio-1.5", "--as", "front-end", "--connect", back_end, "--timeout", "2")
    assert found.stdout.splitlines()[-1] in ("1 of 1 as recorded", "0 of 1 as recorded"), found.stdout
    assert found.returncode in (0, 1)


def test_an_inherited_connection(capture: Path) -> None:
    ours, theirs = socket.socketpair()
    served = BackEnd(Disk(SECTORS))
    with served:
        thread = threading.Thread(target=served.serve, args=(ours,))
        thread.start()
        with theirs:
            command = [sys.executable, "-m", "vhostspy", "replay", str(capture), "--as", "front-end"]
            found = subprocess.run(
                [*command, "--connect", f"fd:{theirs.fileno()}"], pass_fds=[theirs.fileno()], cwd=ROOT,
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
        thread.join(10)
    assert found.returncode == 0, found.stdout + found.stderr
