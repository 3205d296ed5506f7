"""Rings of real guests, looked at from outside: the indices are what the guest did, and what hangs is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .bench import FIRMWARE, Bench
from .guest.mbr import make_disk
from .place import ROOT
from .programs import Program, Relay, until

pytestmark = pytest.mark.peers


def rings(bench: Bench, *options: str) -> list[dict[str, Any]]:
    """What ``vhostspy rings`` tells of the relay at r.sock: a sample a session."""
    command = [sys.executable, "-m", "vhostspy", "rings", str(bench.path("r.sock")), "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def held_memory(pid: int) -> list[str]:
    """Open files and mappings of a process that are a guest's memory or a log."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            pass
    found += Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [one for one in found if "memfd:" in one]


def needed(relay: Relay | None) -> Relay:
    assert relay is not None
    return relay


def firmware_guest(bench: Bench) -> tuple[Relay, Program]:
    """SeaBIOS has read two sectors and written one, and the guest stays as it is."""
    bench.needs_relay("it is the relay that keeps the memory")
    bench.storage_daemon(make_disk(bench.path("mbr.img"), stay=True), queues=2)
    relay = needed(bench.relay(once=False))
    qemu = bench.firmware(bench.blk(",bootindex=0"))
    qemu.expect("MARK-OK mbr", FIRMWARE)
    return relay, qemu


def test_s_indices_are_what_the_firmware_did(bench: Bench) -> None:
    firmware_guest(bench)
    (sample,) = rings(bench)
    (ring,) = sample["rings"]
    assert (ring["ring"], ring["layout"], ring["size"], ring["started"]) == (0, "split", 128, True)
    # the boot sector, sector 1, sector 2
    assert (ring["available"], ring["used"], ring["in_flight"]) == (3, 3, 0)
    assert "findings" not in sample


def test_s_nothing_is_held_after_the_guest(bench: Bench) -> None:
    relay, qemu = firmware_guest(bench)
    pid = relay.program.process.pid
    assert any("memfd:" in one for one in held_memory(pid))
    assert not any("memfd:" in line for line in Path(f"/proc/{pid}/maps").read_text().splitlines()), "it maps nothing"
    qemu.stop()
    until(lambda: not held_memory(pid), 5, lambda: f"still held: {held_memory(pid)}")


def test_s_without_memory_nothing_is_held(bench: Bench) -> None:
    bench.needs_relay("it is the relay that keeps the memory")
    bench.storage_daemon(make_disk(bench.path("mbr.img"), stay=True), queues=2)
    relay = needed(bench.relay("--no-memory", once=False))
    qemu = bench.firmware(bench.blk(",bootindex=0"))
    qemu.expect("MARK-OK mbr", FIRMWARE)
    until(lambda: not held_memory(relay.program.process.pid), 5, lambda: "memory is held")
    (sample,) = rings(bench)
    assert "--no-memory" in sample["why"]


def test_s_samples_in_a_capture(bench: Bench) -> None:
    bench.needs_relay("it is the relay that records")
    bench.storage_daemon(make_disk(bench.path("mbr.img"), stay=True), queues=2)
    relay = needed(bench.relay("--sample-rings 0.05", once=False))
    qemu = bench.firmware(bench.blk(",bootindex=0"))
    qemu.expect("MARK-OK mbr", FIRMWARE)

    def sampled() -> bool:
        return '"available": 3, "used": 3' in relay.program.output

    until(sampled, 5, lambda: f"no sample: {relay.program}")
    qemu.stop()
    lines = relay.finish()
    samples = [line for line in lines if line.get("event") == "sample"]
    assert samples[-1]["rings"][0]["used"] == 3
    assert not any(line.get("findings") for line in lines)
    command = [sys.executable, "-m", "vhostspy", "rings", str(relay.capture)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout
    assert "r.sock" in shown and " 3 " in shown
