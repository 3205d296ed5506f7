"""Pairs of packaged programs with vhostspy between them: the data comes through, and the capture tells how.

The letters are the pairs' names; ``expected/LETTER.txt`` is the conversation.
"""

from __future__ import annotations

import os
import signal

import pytest

from .bench import FIRMWARE, HERE_AND_SID, LINUX, MIGRATION, Bench
from .guest.mbr import make_disk, sector
from .place import missing
from .programs import Program, Relay, until

pytestmark = pytest.mark.peers


def test_s_firmware_and_storage_daemon(bench: Bench) -> None:
    """No guest kernel: SeaBIOS's virtio-blk driver reads a sector and writes it to the next."""
    disk = make_disk(bench.path("mbr.img"))
    bench.storage_daemon(disk, queues=2)
    relay = bench.relay()
    qemu = bench.firmware(bench.blk(",bootindex=0"))
    qemu.expect("MARK-OK mbr", FIRMWARE)
    assert qemu.ended(FIRMWARE) == 1
    assert sector(disk, 2) == sector(disk, 1)
    bench.matches(relay, "s")


def test_s_both_listen(bench: Bench) -> None:
    """QEMU listens too, so the relay connects to both; the conversation is the same."""
    bench.needs_relay("somebody must connect")
    disk = make_disk(bench.path("mbr.img"))
    bench.storage_daemon(disk, queues=2)
    qemu = bench.firmware(bench.blk(",bootindex=0", ",server=on", socket="q.sock"))
    bench.wait_for_socket("q.sock", qemu)
    relay = bench.relay_between(f"--connect {bench.path('q.sock')} --connect {bench.path('be.sock')}")
    qemu.expect("MARK-OK mbr", FIRMWARE)
    assert qemu.ended(FIRMWARE) == 1
    assert sector(disk, 2) == sector(disk, 1)
    bench.matches(relay, "s", "-both-listen")


@HERE_AND_SID
def test_c_linux_and_storage_daemon(bench: Bench) -> None:
    """The guest writes 1 MiB to its disk and reads it back; the image holds it."""
    disk = bench.disk()
    bench.storage_daemon(disk, queues=2)
    relay = bench.relay()
    qemu = bench.linux("t=blk", bench.blk(",num-queues=2"))
    qemu.expect("MARK-OK blk", LINUX)
    assert qemu.ended(LINUX) == 0
    assert disk.read_bytes().rstrip(b"\0"), "nothing reached the image"
    bench.matches(relay, "c")


def test_dc_linux_and_virtiofsd_in_c(bench: Bench) -> None:
    """The guest reads a file of the share, writes one and moves it."""
    if os.geteuid() != 0:
        missing("root, which virtiofsd's sandbox needs")
    share = bench.share()
    socket = bench.path("be.sock")
    virtiofsd = bench.start(
        f"/usr/lib/qemu/virtiofsd --socket-path={socket} -o source={share} -o sandbox=chroot -o cache=none"
    )
    bench.wait_for_socket("be.sock", virtiofsd)
    relay = bench.relay()
    qemu = bench.linux("t=fs", f"{bench.chardev()} -device vhost-user-fs-pci,chardev=c,tag=myfs")
    qemu.expect("MARK-OK fs", LINUX)
    assert qemu.ended(LINUX) == 0
    assert (share / "d/e/h").stat().st_size == 1 << 20
    bench.matches(relay, "dC")


@HERE_AND_SID
def test_g_linux_and_testpmd(bench: Bench) -> None:
    """DPDK answers the guest's pings."""
    bench.testpmd_backend()
    relay = bench.relay()
    qemu = bench.linux("t=netstatic", bench.net())
    qemu.expect("MARK-OK netstatic", LINUX)
    assert qemu.ended(LINUX) == 0
    bench.matches(relay, "g")


@HERE_AND_SID
def test_k_qemu_listens_and_testpmd_connects(bench: Bench) -> None:
    """The back-end is the one that connects, so the side we connect to is the front-end."""
    qemu = bench.linux("t=netstatic", bench.net(chardev=",server=on", socket="q.sock"))
    bench.wait_for_socket("q.sock", qemu)
    relay = bench.relay("--front-end connect", connect="q.sock")
    bench.testpmd_backend(device=",client=1", socket="r.sock")
    qemu.expect("MARK-OK netstatic", LINUX)
    assert qemu.ended(LINUX) == 0
    bench.matches(relay, "k")


def test_k_both_connect(bench: Bench) -> None:
    """QEMU and DPDK both connect, and meet at the relay; the conversation is the same."""
    bench.needs_relay("somebody must listen")
    relay = bench.relay_between(f"--listen {bench.path('q.sock')} --listen {bench.path('r.sock')}", appears="r.sock")
    bench.testpmd_backend(device=",client=1", socket="r.sock")
    qemu = bench.linux("t=netstatic", bench.net(socket="q.sock"))
    qemu.expect("MARK-OK netstatic", LINUX)
    assert qemu.ended(LINUX) == 0
    bench.matches(relay, "k", "-both-connect")


@HERE_AND_SID
def test_l_iommu(bench: Bench) -> None:
    """With an IOMMU before the card the back-end asks for translations over its own channel."""
    bench.testpmd_backend(device=",iommu-support=1")
    relay = bench.relay()
    iommu = "-device intel-iommu,device-iotlb=on,intremap=off"
    card = bench.net(",disable-legacy=on,iommu_platform=on,ats=on")
    qemu = bench.linux("intel_iommu=on iommu.strict=1 t=netstatic", f"{iommu} {card}")
    qemu.expect("MARK-OK netstatic", LINUX)
    assert qemu.ended(LINUX) == 0
    bench.matches(relay, "l")


@HERE_AND_SID
def test_j_backend_killed_twice(bench: Bench) -> None:
    """QEMU comes back through us each time, the guest loses nothing, and we keep nothing."""
    disk = bench.disk()
    storage = bench.storage_daemon(disk, locking="off")
    relay = bench.relay(once=False)
    qemu = bench.linux("n=30 t=blkloop", bench.blk(chardev=bench.reconnecting()))
    qemu.expect("LOOP 7", LINUX)
    in_first = relay.open_descriptors() if relay else {}
    storage.stop(signal.SIGTERM)
    storage = bench.storage_daemon(disk, locking="off", name="storage-2")
    qemu.expect("LOOP 14", LINUX)
    storage.stop(signal.SIGKILL)
    bench.storage_daemon(disk, locking="off", name="storage-3")
    qemu.expect("LOOP 20", LINUX)
    if relay:
        until(
            lambda: len(relay.open_descriptors()) == len(in_first),
            5,
            lambda: f"descriptors in the first session {in_first}, in the third {relay.open_descriptors()}",
        )
    qemu.expect("MARK-OK blkloop", LINUX)
    assert qemu.ended(LINUX) == 0
    assert "LOOP-FAIL" not in qemu.output
    bench.matches(relay, "j")


def test_ji_inflight_offered_by_us(bench: Bench) -> None:
    """qemu-storage-daemon answers the inflight messages but doesn't offer them: we set the bit on its way."""
    bench.needs_relay("it is the relay that offers INFLIGHT_SHMFD")
    bench.storage_daemon(bench.disk())
    relay = bench.relay("--offer-protocol-features 0x1000")
    qemu = bench.linux("t=blk", bench.blk())
    qemu.expect("MARK-OK blk", LINUX)
    assert qemu.ended(LINUX) == 0
    bench.matches(relay, "ji")


@HERE_AND_SID
def test_ib_migration_with_a_dirty_log(bench: Bench) -> None:
    """A guest moves to a second QEMU with a second back-end, while it writes."""
    disk = bench.disk()
    incoming = f"unix:{bench.path('migration.sock')}"
    relays: list[Relay | None] = []
    guests: list[Program] = []
    for end, more in (("source", ""), ("destination", f"-incoming {incoming}")):
        bench.storage_daemon(disk, locking="off", socket=f"{end}-be.sock", name=f"storage-{end}")
        relays.append(bench.relay(listen=f"{end}-r.sock", connect=f"{end}-be.sock", name=f"relay-{end}"))
        monitor = f"-qmp unix:{bench.path(end)}.qmp,server=on,wait=off"
        card = bench.blk(socket=f"{end}-r.sock")
        guests.append(bench.linux("n=40 t=blkloop", f"{card} {monitor} {more}", name=f"qemu-{end}"))
    source, destination = guests
    source.expect("MARK-READY", LINUX)
    bench.migrate(bench.monitor("source.qmp"), incoming, MIGRATION)
    assert source.ended(LINUX) == 0
    destination.expect("MARK-OK blkloop", MIGRATION)
    assert destination.ended(LINUX) == 0
    assert "LOOP-FAIL" not in source.output + destination.output
    for relay, end in zip(relays, ("source", "destination"), strict=True):
        bench.matches(relay, f"ib-{end}")
