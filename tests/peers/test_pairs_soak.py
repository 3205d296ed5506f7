"""Pairs that last, or want both cores of the machine to themselves."""

from __future__ import annotations

import re
import signal

import pytest

from .bench import LINUX, MIGRATION, Bench
from .programs import PATIENCE_S, Program, Relay, until
from .test_rings import rings

pytestmark = [pytest.mark.peers, pytest.mark.soak]

#: entries of a virtio-user queue
RING = 256


def accumulated(testpmd: Program, counter: str) -> int:
    """The counter's last value in testpmd's statistics: RX-packets or TX-packets of all its ports."""
    values = re.findall(rf"{counter}: *(\d+)", testpmd.output)
    return int(values[-1]) if values else 0


def test_b_testpmd_and_testpmd(bench: Bench) -> None:
    """No virtual machine: what one DPDK sends, the other receives, but for what is in the ring as it stops."""
    backend = bench.testpmd_backend("rxonly")
    relay = bench.relay()
    device = f"net_virtio_user0,path={bench.path('r.sock')},queues=1"
    frontend = bench.testpmd("testpmd-front-end", 1, device, "--stats-period 1 --forward-mode=txonly")
    until(lambda: accumulated(frontend, "TX-packets") > 10_000, LINUX, lambda: f"no packets: {frontend}")
    assert frontend.stop(signal.SIGINT) == 0
    assert backend.stop(signal.SIGINT) == 0
    assert 0 <= accumulated(frontend, "TX-packets") - accumulated(backend, "RX-packets") <= RING
    bench.matches(relay, "b")


def test_gx_two_queue_pairs_and_mtu(bench: Bench) -> None:
    bench.testpmd_backend(queues=2)
    relay = bench.relay()
    card = bench.net(",mq=on,host_mtu=1400", netdev=",queues=2")
    qemu = bench.linux("t=netstatic", f"-smp 2 {card}")
    qemu.expect("MARK-OK netstatic", LINUX)
    assert qemu.ended(LINUX) == 0
    bench.matches(relay, "gx")


def test_in_migration_of_a_network_guest(bench: Bench) -> None:
    """The destination's QEMU announces the guest through its back-end (SEND_RARP), as the guest doesn't."""
    incoming = f"unix:{bench.path('migration.sock')}"
    relays: list[Relay | None] = []
    guests: list[Program] = []
    for end, more in (("source", ""), ("destination", f"-incoming {incoming}")):
        bench.testpmd_backend(socket=f"{end}-be.sock", name=f"testpmd-{end}")
        relays.append(bench.relay(listen=f"{end}-r.sock", connect=f"{end}-be.sock", name=f"relay-{end}"))
        monitor = f"-qmp unix:{bench.path(end)}.qmp,server=on,wait=off"
        card = bench.net(",guest_announce=off", socket=f"{end}-r.sock")
        guests.append(bench.linux("n=150 t=netloop", f"{card} {monitor} {more}", name=f"qemu-{end}"))
    source, destination = guests
    source.expect("MARK-READY", LINUX)
    bench.migrate(bench.monitor("source.qmp"), incoming, MIGRATION)
    assert source.ended(LINUX) == 0
    destination.expect("MARK-OK netloop", MIGRATION)
    assert destination.ended(LINUX) == 0
    for relay, end in zip(relays, ("source", "destination"), strict=True):
        bench.matches(relay, f"in-{end}")


def test_ji_inflight_survives_a_killed_backend(bench: Bench) -> None:
    """The new back-end gets the inflight region of the old one; it is the relay that offers INFLIGHT_SHMFD."""
    bench.needs_relay("it is the relay that offers INFLIGHT_SHMFD")
    disk = bench.disk()
    storage = bench.storage_daemon(disk, locking="off")
    relay = bench.relay("--offer-protocol-features 0x1000", once=False)
    qemu = bench.linux("n=30 t=blkloop", bench.blk(chardev=bench.reconnecting()))
    qemu.expect("LOOP 7", LINUX)
    storage.stop(signal.SIGKILL)
    bench.storage_daemon(disk, locking="off", name="storage-2")
    qemu.expect("MARK-OK blkloop", LINUX)
    assert qemu.ended(LINUX) == 0
    assert "LOOP-FAIL" not in qemu.output
    bench.matches(relay, "ji-killed")


@pytest.mark.parametrize("layout", ["split", "packed"])
def test_b_rings_are_where_the_packets_are(bench: Bench, layout: str) -> None:
    """Millions of packets, then the sender is stopped: its ring is empty, and where the receiver counted."""
    bench.needs_relay("it is the relay that keeps the memory")
    backend = bench.testpmd("testpmd", 0, f"net_vhost0,iface={bench.path('be.sock')},queues=1",
                            "--stats-period 1 --forward-mode=rxonly")  # fmt: skip
    bench.wait_for_socket("be.sock", backend)
    bench.relay(once=False)
    packed = ",packed_vq=1" if layout == "packed" else ""
    device = f"net_virtio_user0,path={bench.path('r.sock')},queues=1{packed}"
    frontend = bench.testpmd("testpmd-front-end", 1, device, "--stats-period 60 --forward-mode=txonly")
    until(lambda: shown(backend) > 100_000, LINUX, lambda: f"no packets: {backend}")
    (sample,) = rings(bench)
    assert "findings" not in sample
    frontend.process.send_signal(signal.SIGSTOP)
    seen: list[object] = []

    def agree() -> bool:
        """The receiver counts once a second, and later on a busy machine."""
        (sample,) = rings(bench)
        filled, ring = sample["rings"]
        assert (filled["in_flight"], filled["used"], ring["layout"]) == (RING, 0, layout)
        received = shown(backend)
        seen[:] = ring, received
        if layout == "packed":
            # a position, and a counter that turns with each round
            counted = [received % RING, received // RING % 2 == 0]
            return bool(ring["in_flight"] == 0 and [ring["available"], ring["available_wrap"]] == counted)
        return bool(ring["used"] == ring["available"] == received % 65_536)

    until(agree, PATIENCE_S, lambda: f"what is seen and what was counted: {seen}")
    frontend.process.send_signal(signal.SIGCONT)


def shown(testpmd: Program) -> int:
    """Packets received, in the latest statistics that testpmd printed while running."""
    values = re.findall(r"RX-packets: *(\d+)", testpmd.output)
    return int(values[-1]) if values else 0
