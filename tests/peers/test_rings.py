"""Rings of real guests, looked at from outside: the indices are what the guest did, and what hangs is named."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .bench import FIRMWARE, LINUX, MIGRATION, Bench
from .guest.mbr import make_disk
from .place import HERE_PLACE, ROOT, missing
from .programs import PATIENCE_S, Program, Relay, until

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


def holders(inode: int) -> list[str]:
    """Processes that have the file open or mapped."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            open_there = [os.stat(one).st_ino for one in (process / "fd").iterdir()]
            mapped = [line.split()[4] for line in (process / "maps").read_text().splitlines()]
        except OSError:
            continue  # it has just ended
        if inode in open_there or str(inode) in mapped:
            found.append((process / "comm").read_text().strip())
    return found


@contextmanager
def the_end_of(path: str) -> Iterator[Callable[[], bool]]:
    """Whether the kernel has freed the file since; it is one without a name, so that is when nobody holds it."""
    delete_self = 0x400
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    try:
        assert libc.inotify_add_watch(fd, os.fsencode(path), delete_self) > 0, os.strerror(ctypes.get_errno())
        yield lambda: bool(select.select([fd], [], [], 0)[0])
    finally:
        os.close(fd)


def test_s_nothing_is_held_after_the_guest(bench: Bench) -> None:
    """Neither by the relay nor by those who look: then the kernel has its memory back."""
    relay, qemu = firmware_guest(bench)
    pid = relay.program.process.pid
    paths = [
        f"/proc/{pid}/fd/{number}" for number, link in relay.open_descriptors().items() if "memory-backend" in link
    ]
    (file,) = {os.stat(path).st_ino for path in paths}
    assert not any("memfd:" in line for line in Path(f"/proc/{pid}/maps").read_text().splitlines()), "it maps nothing"
    watching = Watching(bench)
    until(lambda: bool(watching.samples()), PATIENCE_S, lambda: f"no samples: {watching.program}")
    assert len(holders(file)) >= 3
    with the_end_of(paths[0]) as freed:
        qemu.stop()
        until(lambda: not holders(file), PATIENCE_S, lambda: f"held by {holders(file)}")
        until(freed, PATIENCE_S, lambda: "the kernel still has it")
    assert watching.program.process.poll() is None
    assert relay.program.process.poll() is None


def test_s_without_memory_nothing_is_held(bench: Bench) -> None:
    bench.needs_relay("it is the relay that keeps the memory")
    bench.storage_daemon(make_disk(bench.path("mbr.img"), stay=True), queues=2)
    relay = needed(bench.relay("--no-memory", once=False))
    qemu = bench.firmware(bench.blk(",bootindex=0"))
    qemu.expect("MARK-OK mbr", FIRMWARE)
    until(lambda: not held_memory(relay.program.process.pid), PATIENCE_S, lambda: "memory is held")
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

    until(sampled, PATIENCE_S, lambda: f"no sample: {relay.program}")
    qemu.stop()
    lines = relay.finish()
    samples = [line for line in lines if line.get("event") == "sample"]
    assert samples[-1]["rings"][0]["used"] == 3
    assert not any(line.get("findings") for line in lines)
    command = [sys.executable, "-m", "vhostspy", "rings", str(relay.capture)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout
    assert "r.sock" in shown and " 3 " in shown


def counted(qemu: Program, kind: str) -> list[int]:
    """What the guest's drivers have counted, as it tells again and again at its end."""
    lines = [line for line in qemu.output.splitlines() if line.startswith(f"COUNT {kind} ")]
    # the last may not be whole yet
    return [int(word) for word in lines[-2].split()[2:]] if len(lines) > 1 else []


def by_number(sample: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {ring["ring"]: ring for ring in sample["rings"]}


def test_c_indices_are_the_requests_that_the_guests_driver_counted(bench: Bench) -> None:
    bench.needs_relay("it is the relay that keeps the memory")
    bench.storage_daemon(bench.disk())
    needed(bench.relay(once=False))
    qemu = bench.linux("stay=1 t=blk", bench.blk())
    qemu.expect("MARK-STAYS", LINUX)
    until(lambda: bool(counted(qemu, "blk")), PATIENCE_S, lambda: "no count")
    stat = counted(qemu, "blk")
    (sample,) = rings(bench)
    (ring,) = sample["rings"]
    # requests read, written, discarded, flushed
    assert ring["used"] == ring["available"] == stat[0] + stat[4] + stat[11] + stat[15] > 30
    assert ring["in_flight"] == 0
    assert "findings" not in sample


def test_g_a_filled_receive_ring_is_well(bench: Bench) -> None:
    """The card's rings: 0 receives and is full of buffers, 1 sent what the driver counted."""
    bench.needs_relay("it is the relay that keeps the memory")
    bench.testpmd_backend()
    needed(bench.relay(once=False))
    qemu = bench.linux("stay=1 t=netstatic", bench.net())
    qemu.expect("MARK-STAYS", LINUX)
    seen: list[Any] = []

    def agree() -> bool:
        """The guest still says a word now and then."""
        (sample,) = rings(bench)
        found = by_number(sample)
        seen[:] = sample, counted(qemu, "net")
        return bool([found[0]["used"], found[1]["used"]] == seen[1])

    until(agree, PATIENCE_S, lambda: f"what is seen and what was counted: {seen}")
    assert by_number(seen[0])[0]["in_flight"] > 200
    assert "findings" not in seen[0]


def test_dc_the_share(bench: Bench) -> None:
    if os.geteuid() != 0:
        missing("root, which virtiofsd's sandbox needs")
    bench.needs_relay("it is the relay that keeps the memory")
    share, socket = bench.share(), bench.path("be.sock")
    virtiofsd = bench.start(
        f"/usr/lib/qemu/virtiofsd --socket-path={socket} -o source={share} -o sandbox=chroot -o cache=none"
    )
    bench.wait_for_socket("be.sock", virtiofsd)
    needed(bench.relay(once=False))
    qemu = bench.linux("stay=1 t=fs", f"{bench.chardev()} -device vhost-user-fs-pci,chardev=c,tag=myfs")
    qemu.expect("MARK-STAYS", LINUX)
    (sample,) = rings(bench)
    found = by_number(sample)
    # 1 MiB there and back in FUSE requests of 4 KiB and more, and those to find the way
    assert found[1]["used"] == found[1]["available"] > 100
    assert found[1]["in_flight"] == found[0]["in_flight"] == 0
    assert "findings" not in sample


class Watching:
    """``vhostspy rings --watch`` beside a test."""

    def __init__(self, bench: Bench, every_s: float = 0.2, options: str = "", name: str = "watch") -> None:
        self.program = bench.start(
            f"{sys.executable} -m vhostspy rings {bench.path('r.sock')} --json --watch {every_s} {options}",
            name=name, place=HERE_PLACE, PYTHONPATH=str(ROOT),
        )  # fmt: skip

    def samples(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.program.output.splitlines()[:-1] if line.startswith("{")]

    def findings(self) -> list[dict[str, Any]]:
        return [finding for sample in self.samples() for finding in sample.get("findings", ())]


def busy_guest(bench: Bench, chardev: str = "", every_s: float = 0.2, options: str = "") -> tuple[Program, Watching]:
    """A guest that writes its disk and reads it again, with short rests, and somebody who has looked: all is well."""
    qemu = bench.linux("n=2000 t=blkloop", bench.blk(chardev=chardev))
    qemu.expect("LOOP 2", LINUX)
    watching = Watching(bench, every_s, options)
    until(lambda: len(watching.samples()) > 2, PATIENCE_S, lambda: f"no samples: {watching.program}")
    assert not watching.findings()
    return qemu, watching


def named_within_two_seconds(watching: Watching, since_ns: int) -> None:
    """A second in which the ring stands still, from the request that the guest makes within a tenth.

    On a busy machine the guest makes it later, and the looks, of which it takes three, come later.
    """
    samples = watching.samples()
    (found,) = [at for at, sample in enumerate(samples) if sample.get("findings")]
    stood = [at for at in range(found + 1) if indices(samples[at]) == indices(samples[found])]
    since_ns = max(since_ns, samples[stood[0]]["time_ns"])
    assert sum(sample["time_ns"] - since_ns > 2_000_000_000 for sample in samples[: found + 1]) <= 3


def indices(sample: dict[str, Any]) -> list[tuple[int, int]]:
    return [(ring["available"], ring["used"]) for ring in sample["rings"]]


def test_c_a_back_end_that_is_stopped_is_named_within_two_seconds(bench: Bench) -> None:
    bench.needs_relay("it is the relay that keeps the memory")
    storage = bench.storage_daemon(bench.disk())
    needed(bench.relay(once=False))
    qemu, watching = busy_guest(bench)
    storage.process.send_signal(signal.SIGSTOP)
    stopped = time.time_ns()
    try:
        until(lambda: bool(watching.findings()), PATIENCE_S, lambda: f"nothing found: {watching.samples()[-1]}")
    finally:
        storage.process.send_signal(signal.SIGCONT)
    (finding,) = watching.findings()
    assert (finding["rule"], finding["who"]) == ("VU-MEMR-01", "back-end")
    assert "ring 0" in finding["text"] and "nobody takes" in finding["text"]
    (sample,) = [one for one in watching.samples() if one.get("findings")]
    ring = sample["rings"][0]
    assert f"available index {ring['available']}, used index {ring['used']}" in finding["text"]
    named_within_two_seconds(watching, stopped)
    qemu.expect("LOOP 5", LINUX)
    assert len(watching.findings()) == 1


@pytest.mark.parametrize("option", ["event-idx", ""])
def test_a_kick_that_the_back_end_read_away_is_named_within_two_seconds(bench: Bench, option: str) -> None:
    """A Linux guest hangs, since its disk has read its eventfd once too often; with EVENT_IDX that can be told."""
    bench.needs_relay("it is the relay that keeps the memory")
    disk = bench.start(
        f"{sys.executable} -m tests.peers.reads_twice {bench.path('be.sock')} {option}",
        name="disk", place=HERE_PLACE, PYTHONPATH=str(ROOT),
    )  # fmt: skip
    bench.wait_for_socket("be.sock", disk)
    needed(bench.relay(once=False))
    qemu, watching = busy_guest(bench)
    disk.process.send_signal(signal.SIGUSR1)
    disk.expect("KICK-LOST", PATIENCE_S)
    rounds = qemu.output.count("LOOP")
    until(lambda: bool(watching.findings()), PATIENCE_S, lambda: f"nothing found: {watching.samples()[-1]}")
    (sample,) = [one for one in watching.samples() if one.get("findings")]
    (finding,) = watching.findings()
    (ring,) = sample["rings"]
    expected = "VU-MEMR-02" if option else "VU-MEMR-01"
    assert (finding["rule"], finding["severity"], finding["who"]) == (expected, "warning", "back-end")
    assert "ring 0" in finding["text"] and "taken" in finding["text"]
    assert f"available index {ring['available']}, used index {ring['used']}" in finding["text"]
    assert ring["in_flight"] > 0 and ring["kick_count"] == 0
    lost = int(disk.output.split("KICK-LOST")[1].split()[0])
    named_within_two_seconds(watching, lost)
    assert qemu.output.count("LOOP") == rounds, "the guest hangs"


def test_ji_what_was_in_flight_when_the_back_end_was_killed(bench: Bench) -> None:
    """Under load; in the region and in the ring, the same requests, by name."""
    bench.needs_relay("it is the relay that offers INFLIGHT_SHMFD")
    disk = bench.disk()
    storage = bench.storage_daemon(disk, locking="off")
    needed(bench.relay("--offer-protocol-features 0x1000", once=False))
    _, watching = busy_guest(bench, bench.reconnecting(), 0.1, "--requests")
    storage.process.send_signal(signal.SIGSTOP)
    stopped = time.time_ns()

    def waits() -> bool:
        """A request that was seen before the signal came may have been answered."""
        latest = watching.samples()[-1]
        return bool(latest["time_ns"] > stopped + 200_000_000 and latest["rings"][0]["in_flight"] > 0)

    until(waits, PATIENCE_S, lambda: "nothing is in flight")
    storage.stop(signal.SIGKILL)
    bench.storage_daemon(disk, locking="off", name="storage-2")

    def second() -> list[dict[str, Any]]:
        """It begins without rings."""
        return [one for one in watching.samples() if one["session"] == 2 and one["rings"]]

    until(lambda: bool(second()), PATIENCE_S, lambda: f"no second session: {watching.program}")
    last = [one for one in watching.samples() if one["session"] == 1][-1]
    ring = last["rings"][0]
    assert ring["in_flight"] > 0
    requests = last["requests"]["0"]
    assert len(requests) == ring["in_flight"]
    assert all(text.split()[0] in ("read", "write", "flush") for text in requests), requests
    until(
        lambda: second()[-1]["rings"][0]["used"] > ring["used"], PATIENCE_S,
        lambda: f"it does not go on: {second()[-1]}",
    )  # fmt: skip
    assert not [one for one in watching.findings() if one["rule"].startswith("VU-MEMR")]


def test_ji_what_the_back_end_had_taken_when_it_was_killed(bench: Bench) -> None:
    """A slow disk, many requests: its in-flight region has those that the ring has, and its successor does them."""
    bench.needs_relay("it is the relay that offers INFLIGHT_SHMFD")
    disk = bench.disk()
    storage = bench.storage_daemon(disk, locking="off", per_second=4)
    needed(bench.relay("--offer-protocol-features 0x1000", once=False))
    qemu = bench.linux("t=blkjobs", bench.blk(chardev=bench.reconnecting()))
    qemu.expect("MARK-READY", LINUX)
    watching = Watching(bench, 0.1, "--requests --chains")

    def latest() -> dict[str, Any]:
        return watching.samples()[-1]

    def in_flight() -> int:
        return int(latest()["rings"][0]["in_flight"]) if watching.samples() else 0

    until(lambda: in_flight() > 3, PATIENCE_S, lambda: f"few are in flight: {watching.program}")
    storage.stop(signal.SIGKILL)
    bench.storage_daemon(disk, locking="off", name="storage-2")
    until(lambda: bool(latest()["session"] == 2), PATIENCE_S, lambda: f"no second session: {watching.program}")
    last = [one for one in watching.samples() if one["session"] == 1][-1]
    (ring,), (queue,) = last["rings"], last["inflight"]
    assert queue["used_index"] == ring["used"]
    assert len(set(queue["heads"])) == ring["in_flight"] == ring["available"] - ring["used"] > 3
    assert set(queue["heads"]) == {chain["head"] for chain in last["chains"]["0"]}
    # they are what the guest's six readers ask for, a page each
    requests = last["requests"]["0"]
    assert len(requests) == ring["in_flight"]
    for chain in last["chains"]["0"]:
        header, data, status = ((buffer["length"], buffer["writable"]) for buffer in chain["buffers"])
        assert (header, data, status) == ((16, False), (4096, True), (1, True))
    assert {text.removeprefix("read 8 sectors at ") for text in requests} <= {str(8 * page) for page in range(1, 14)}
    until(
        lambda: bool(latest()["rings"][0]["used"] > ring["available"]),
        PATIENCE_S,
        lambda: f"it does not go on: {latest()}",
    )
    assert latest()["rings"][0]["base"] == ring["used"]
    assert not watching.findings()


def test_c_kicks_that_are_all_counted(bench: Bench) -> None:
    """With --exact-kicks the guest gets on as before, and kicks and calls are no more than its requests."""
    bench.needs_relay("it is the relay that passes kicks on")
    bench.storage_daemon(bench.disk())
    needed(bench.relay("--exact-kicks", once=False))
    qemu = bench.linux("stay=1 t=blk", bench.blk())
    qemu.expect("MARK-OK blk", LINUX)
    (sample,) = rings(bench)
    (ring,) = sample["rings"]
    assert ring["exact"]
    # the firmware had the ring before, and QEMU kicks once itself as it starts it
    assert 20 < ring["kicks"] < ring["available"] + 10
    assert 20 < ring["calls"] < ring["used"] + 10
    assert ring["kick_count"] == 0


@pytest.mark.soak
def test_l_rings_behind_an_iommu(bench: Bench) -> None:
    """Their addresses are the IOMMU's, translated as IOTLB_MSG told the back-end."""
    bench.needs_relay("it is the relay that keeps the memory")
    bench.testpmd_backend(device=",iommu-support=1")
    needed(bench.relay(once=False))
    iommu = "-device intel-iommu,device-iotlb=on,intremap=off"
    card = bench.net(",disable-legacy=on,iommu_platform=on,ats=on")
    qemu = bench.linux("intel_iommu=on iommu.strict=1 stay=1 t=netstatic", f"{iommu} {card}")
    qemu.expect("MARK-STAYS", LINUX)
    seen: list[Any] = []

    def agree() -> bool:
        (sample,) = rings(bench)
        found = by_number(sample)
        seen[:] = sample, counted(qemu, "net")
        return bool([found[0]["used"], found[1]["used"]] == seen[1])

    until(agree, PATIENCE_S, lambda: f"what is seen and what was counted: {seen}")


@pytest.mark.soak
def test_ib_the_dirty_log_of_a_migration(bench: Bench) -> None:
    bench.needs_relay("it is the relay that keeps the log")
    disk = bench.disk()
    incoming = f"unix:{bench.path('migration.sock')}"
    relays, guests = [], []
    for end, more in (("source", ""), ("destination", f"-incoming {incoming}")):
        bench.storage_daemon(disk, locking="off", socket=f"{end}-be.sock", name=f"storage-{end}")
        options = "--sample-rings 0.05"
        relays.append(bench.relay(options, f"{end}-r.sock", f"{end}-be.sock", name=f"relay-{end}"))
        monitor = f"-qmp unix:{bench.path(end)}.qmp,server=on,wait=off"
        card = bench.blk(socket=f"{end}-r.sock")
        guests.append(bench.linux("n=40 t=blkloop", f"{card} {monitor} {more}", name=f"qemu-{end}"))
    source, destination = guests
    source.expect("MARK-READY", LINUX)
    monitor_of_source = bench.monitor("source.qmp")
    # slowly, so that the back-end writes meanwhile
    monitor_of_source("migrate-set-parameters", **{"downtime-limit": 500, "max-bandwidth": 40 << 20})
    monitor_of_source("migrate", uri=incoming)
    status = ""

    def arrived() -> bool:
        nonlocal status
        status = str(monitor_of_source("query-migrate").get("status"))
        return status == "completed"

    until(arrived, MIGRATION, lambda: f"the migration is {status}")
    monitor_of_source("quit")
    destination.expect("LOOP", MIGRATION)
    samples = [line for line in needed(relays[0]).finish() if line.get("event") == "sample"]
    dirty = [region["dirty"] for sample in samples for region in sample.get("dirty", ())]
    assert max(dirty, default=0) > 0, f"{len(samples)} samples, dirty {dirty}"
