"""The screen in a real terminal: a capture, a live pair of programs, a relay that is left and watched again."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.bench import FIRMWARE, Bench
from tests.peers.guest.mbr import make_disk
from tests.peers.place import HERE_PLACE, ROOT

from .terminal import Terminal

pytestmark = pytest.mark.needs("tmux")
VHOSTSPY = f"{sys.executable} -m vhostspy"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own: a socket's path has at most 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="vspy-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_a_capture(folder: Path) -> None:
    terminal = Terminal(folder, f"{VHOSTSPY} tui {ROOT}/captures/s.pcapng", PYTHONPATH=str(ROOT))
    try:
        terminal.wait_for("GET_FEATURES")
        terminal.press("/", "kick", "Enter")
        terminal.wait_for("session at #")
        terminal.press("?")
        terminal.wait_for("from a request to its answer, and back")
        terminal.press("q")
        terminal.wait_for("session at #")
        terminal.press("q")
        terminal.wait_for("ended with 0")
    finally:
        terminal.close()


def test_what_cannot_be_opened_is_told_in_a_line(folder: Path) -> None:
    terminal = Terminal(folder, f"{VHOSTSPY} tui {ROOT}/Makefile", PYTHONPATH=str(ROOT))
    try:
        shown = terminal.wait_for("ended with 2")
        assert "not a capture" in shown
    finally:
        terminal.close()


@pytest.mark.peers
def test_pair_s_live(folder: Path) -> None:
    """SeaBIOS and qemu-storage-daemon, watched while they talk; then the relay is left, watched again, and ended."""
    bench = Bench(HERE_PLACE, direct=False, update=False, keep=None)
    ours = {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(folder)}
    terminal = again = None
    try:
        disk = make_disk(bench.path("mbr.img"))
        daemon = bench.storage_daemon(disk, queues=2)
        sockets = f"--listen {bench.path('r.sock')} --connect {bench.path('be.sock')}"
        terminal = Terminal(folder, f"{VHOSTSPY} {sockets} --tui", **ours)
        terminal.wait_for("live")
        bench.wait_for_socket("r.sock", daemon)
        qemu = bench.firmware(bench.blk(",bootindex=0"))
        qemu.expect("MARK-OK mbr", FIRMWARE)
        assert qemu.ended(FIRMWARE) == 1
        terminal.wait_for("session 1 ends")
        terminal.press("/", "set_vring_kick", "Enter")
        terminal.wait_for("SET_VRING_KICK  → from front-end")
        terminal.press("r")
        terminal.wait_for("rings at #")
        terminal.press("q")
        terminal.wait_for("session at #")
        terminal.press("q")
        terminal.wait_for("The relay still runs: no session is open.")
        terminal.press("l")
        shown = terminal.wait_for("ended with 0")
        assert "the relay goes on (process" in shown
        terminal.close()

        again = Terminal(folder, f"{VHOSTSPY} tui {bench.path('r.sock')}", **ours)
        again.wait_for("session 1 ends")
        again.wait_for("live")
        (control,) = (folder / "vhostspy").glob("*.sock")
        os.kill(int(control.stem), signal.SIGTERM)
        again.wait_for("the capture is complete")
        # the view stays usable
        again.press("g", "j", "j")
        again.wait_for("GET_FEATURES")
        # its file never had a name, whoever watches it
        again.press("q")
        again.wait_for("What has passed is kept in no file, and would be lost.")
    finally:
        for each in (terminal, again):
            if each is not None:
                try:
                    each.close()
                except AssertionError:
                    pass
        for control in (folder / "vhostspy").glob("*.sock"):
            os.kill(int(control.stem), signal.SIGTERM)
        bench.close()


@pytest.mark.soak
def test_a_million_messages(folder: Path) -> None:
    from benchmarks.mix import write

    capture = folder / "million.pcapng"
    write(capture, 1_000_000)
    terminal = Terminal(folder, f"{VHOSTSPY} tui {capture}", PYTHONPATH=str(ROOT))
    try:
        terminal.wait_for("SET_OWNER", 10)
        terminal.wait_for("1000000 messages", 60)
        terminal.press("G")
        terminal.wait_for("1000000 ", 5)
        terminal.press(":", "goto 500000", "Enter")
        terminal.wait_for("session at #500000", 5)
        terminal.press("q")
        terminal.wait_for("ended with 0", 20)
    finally:
        terminal.close()
