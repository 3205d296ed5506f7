"""Rings of back-ends that are made with rust-vmm's libraries: well or slow, none is said to have lost a kick."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .bench import LINUX, SID_ONLY, Bench
from .programs import PATIENCE_S, Program, until
from .test_pairs_sid import echo_once, in_background, vsock_pair
from .test_rings import Watching, by_number, needed, rings

pytestmark = [pytest.mark.peers, SID_ONLY]


def virtiofsd_in_rust(bench: Bench) -> Program:
    virtiofsd = bench.start(
        f"virtiofsd --socket-path={bench.path('be.sock')} --shared-dir {bench.share()} --sandbox none --cache never"
    )
    bench.wait_for_socket("be.sock", virtiofsd)
    return virtiofsd


def guest_with_share(bench: Bench, arguments: str = "t=fs") -> Program:
    return bench.linux(arguments, f"{bench.chardev()} -device vhost-user-fs-pci,chardev=c,tag=myfs")


@contextmanager
def nobody_can_open(path: Path) -> Iterator[None]:
    """Whoever opens the file waits: there is a lease on it, which the kernel lets last 45 s then."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # it says that somebody waits
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, before)


def watching_rings(bench: Bench, every_s: float) -> Watching:
    """Since the guest's driver has set its rings up."""
    watching = Watching(bench, every_s)
    until(
        lambda: any(sample["rings"] for sample in watching.samples()), LINUX, lambda: f"no samples: {watching.program}"
    )
    return watching


def test_dr_the_share(bench: Bench) -> None:
    bench.needs_relay("it is the relay that keeps the memory")
    virtiofsd_in_rust(bench)
    needed(bench.relay(once=False))
    qemu = guest_with_share(bench, "stay=1 t=fs")
    qemu.expect("MARK-STAYS", LINUX)
    (sample,) = rings(bench)
    found = by_number(sample)
    assert found[1]["used"] == found[1]["available"] > 100
    assert found[1]["in_flight"] == found[0]["in_flight"] == 0
    assert "findings" not in sample


def test_dr_is_slow_for_a_moment_again_and_again(bench: Bench) -> None:
    """Stopped for three tenths of a second at a time, it is well; on a busy machine that may take longer."""
    bench.needs_relay("it is the relay that keeps the memory")
    virtiofsd = virtiofsd_in_rust(bench)
    needed(bench.relay(once=False))
    qemu = guest_with_share(bench)
    watching = watching_rings(bench, 0.1)
    stops = 0
    while "MARK-OK fs" not in qemu.output and stops < 100:
        virtiofsd.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)  # nothing is waited for: this is how it is slow
        virtiofsd.process.send_signal(signal.SIGCONT)
        time.sleep(0.2)  # and how it goes on
        stops += 1
    qemu.expect("MARK-OK fs", LINUX)
    assert stops > 3
    assert not [finding for finding in watching.findings() if finding["severity"] == "error"]


def test_dr_that_is_stopped_is_named(bench: Bench) -> None:
    """Though nothing on the wire says which device it is."""
    bench.needs_relay("it is the relay that keeps the memory")
    virtiofsd = virtiofsd_in_rust(bench)
    needed(bench.relay(once=False))
    qemu = guest_with_share(bench)
    watching = watching_rings(bench, 0.2)
    virtiofsd.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: bool(watching.findings()), PATIENCE_S, lambda: f"nothing found: {watching.samples()[-1]}")
    finally:
        virtiofsd.process.send_signal(signal.SIGCONT)
    finding = watching.findings()[0]
    assert (finding["severity"], finding["who"]) == ("warning", "back-end")
    assert "ring 1" in finding["text"]
    qemu.expect("MARK-OK fs", LINUX)


def test_dr_a_request_that_takes_its_time(bench: Bench) -> None:
    """It says how far it has come when it is done, so this looks like a kick that is lost, and is no error."""
    bench.needs_relay("it is the relay that keeps the memory")
    virtiofsd_in_rust(bench)
    needed(bench.relay(once=False))
    with nobody_can_open(bench.path("share") / "hello"):
        qemu = guest_with_share(bench)
        watching = Watching(bench, 0.2, "--requests --device fs")

        def waits() -> dict[str, Any]:
            samples = [sample for sample in watching.samples() if sample.get("requests")]
            return samples[-1] if samples else {}

        until(lambda: "OPEN" in str(waits().get("requests")), LINUX, lambda: f"no OPEN: {watching.program}")
        until(lambda: bool(watching.findings()), PATIENCE_S, lambda: f"nothing found: {watching.samples()[-1]}")
        (finding,) = watching.findings()
        assert (finding["severity"], finding["who"]) == ("warning", "back-end")
        assert "hello" not in qemu.output
    qemu.expect("MARK-OK fs", LINUX)
    assert len(watching.findings()) == 1


def test_f_vsock(bench: Bench) -> None:
    bench.needs_relay("it is the relay that keeps the memory")
    path = vsock_pair(bench)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(LINUX)
        listener.bind(f"{path}_1234")
        listener.listen()
        needed(bench.relay(once=False))
        with in_background(lambda: echo_once(listener), lambda: None):
            qemu = bench.linux("stay=1 t=vsock", f"{bench.chardev()} -device vhost-user-vsock-pci,chardev=c")
            qemu.expect("MARK-STAYS", LINUX)
    (sample,) = rings(bench)
    found = by_number(sample)
    assert sorted(found) == [0, 1]
    # 64 KiB each way; the guest's buffers to receive into wait for more
    assert found[0]["used"] > 10 and found[0]["in_flight"] > 0
    assert found[1]["used"] == found[1]["available"] > 5
    watching = Watching(bench)
    until(lambda: len(watching.samples()) > 10, PATIENCE_S, lambda: f"no samples: {watching.program}")
    assert not watching.findings()
