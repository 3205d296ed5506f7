"""The peers as programs, each way round, and how they end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest


class Start(Protocol):
    def __call__(self, peer: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]: ...


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def run(peer: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-W", "error", "-m", f"vhostspy.demo.{peer}", *arguments],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    pass_fds=pass_fds,
                )
            )
            stack.callback(process.kill)
            return process

        yield run


@pytest.mark.parametrize("listener", ["back_end", "front_end"])
@pytest.mark.parametrize("name", ["peers.sock", f"@vhostspy-tests-demo-{os.getpid()}"], ids=["path", "abstract"])
def test_either_peer_may_listen(tmp_path: Path, start: Start, listener: str, name: str) -> None:
    path = name if name.startswith("@") else str(tmp_path / name)
    back_end = start(
        "back_end", "--listen" if listener == "back_end" else "--connect", path, "--once", "--grow-after", "4"
    )
    front_end = start("front_end", "--listen" if listener == "front_end" else "--connect", path, "--expect-growth")
    said, errors = front_end.communicate(timeout=20)
    assert (front_end.returncode, errors) == (0, "")
    outcome = json.loads(said)
    assert (outcome["sectors"], outcome["capacity_before"], outcome["capacity_after"]) == (64, 2048, 4096)
    assert back_end.communicate(timeout=20) == ("", "")
    assert back_end.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_back_end_serves_until_sigterm(tmp_path: Path, start: Start) -> None:
    path = str(tmp_path / "peers.sock")
    back_end = start("back_end", "--listen", path)
    for _ in range(2):
        front_end = start("front_end", "--connect", path)
        front_end.communicate(timeout=20)
        assert front_end.returncode == 0
    back_end.send_signal(signal.SIGTERM)
    assert back_end.communicate(timeout=20) == ("", "")
    assert back_end.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_sockets_may_be_inherited(start: Start) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        back_end = start("back_end", "--fd", str(theirs.fileno()), pass_fds=(theirs.fileno(),))
        front_end = start("front_end", "--fd", str(ours.fileno()), pass_fds=(ours.fileno(),))
    assert front_end.wait(20) == 0
    assert back_end.wait(20) == 0


def test_nobody_there_is_said(tmp_path: Path, start: Start) -> None:
    front_end = start("front_end", "--connect", str(tmp_path / "nobody.sock"), "--timeout", "0.05")
    said, errors = front_end.communicate(timeout=20)
    assert (front_end.returncode, said) == (3, "")
    assert errors == f"front-end: nobody listens on {tmp_path}/nobody.sock: No such file or directory\n"
