"""The corpus before real back-ends of this machine: what a recorded front-end says is understood, and answered."""

from __future__ import annotations

import os

import pytest

from vhostspy.corpus import Scenario, scenarios
from vhostspy.testing import Spy

from .place import HERE_PLACE, SID_PLACE, missing

# rules about what the recorded front-end does say nothing about these back-ends
pytestmark = [pytest.mark.peers, pytest.mark.vhostspy(blame="back-end")]


@pytest.mark.parametrize("front_end", scenarios("blk"), ids=lambda one: one.name)
def test_a_disk_of_qemu_storage_daemon(vhostspy: Spy, front_end: Scenario) -> None:
    image = vhostspy.folder / "disk.img"
    image.write_bytes(bytes(1 << 20))
    export = "type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path={back_end},writable=on,num-queues=2"
    words = ["--blockdev", f"driver=file,node-name=disk,filename={image}", "--export", export]
    vhostspy.start(HERE_PLACE.find("qemu-storage-daemon"), *words)
    vhostspy.replay(front_end)


@pytest.mark.parametrize("front_end", scenarios("fs"), ids=lambda one: one.name)
def test_a_folder_of_virtiofsd(vhostspy: Spy, front_end: Scenario) -> None:
    if os.geteuid() != 0:
        missing("root, which virtiofsd's sandbox needs")
    shared = vhostspy.folder / "shared"
    shared.mkdir()
    vhostspy.start(
        HERE_PLACE.find("/usr/lib/qemu/virtiofsd"), "--socket-path={back_end}", "-o", f"source={shared}", "-o",
        "sandbox=chroot", "-f",
    )  # fmt: skip
    vhostspy.replay(front_end)


CARDS = ("qemu-11.1-net", "qemu-7.2-net-two-pairs", "qemu-7.2-net-iommu", "dpdk-22.11-virtio-user")


@pytest.mark.parametrize("front_end", [one for name in CARDS for one in scenarios(name)], ids=lambda one: one.name)
def test_a_card_of_dpdk(vhostspy: Spy, front_end: Scenario) -> None:
    words = "--no-huge -m 128 --no-pci --lcores 0@0,1@0 --vdev net_vhost0,iface={back_end},queues=2,iommu-support=1"
    words += " --file-prefix t -- --total-num-mbufs=2048 --stats-period 60 --rxq=2 --txq=2"
    folder = {"RUNTIME_DIRECTORY": str(vhostspy.sockets)}
    vhostspy.start(HERE_PLACE.find("dpdk-testpmd"), *words.split(), env=folder)
    vhostspy.replay(front_end)


@pytest.mark.sid
@pytest.mark.parametrize("front_end", scenarios("vsock"), ids=lambda one: one.name)
def test_sockets_of_vhost_device_vsock(vhostspy: Spy, front_end: Scenario) -> None:
    if SID_PLACE.root is None or not SID_PLACE.root.is_dir():
        missing(f"{SID_PLACE.root} (tests/peers/sid.sh makes it)")
    host = str(vhostspy.sockets / "vm.vsock")
    words = ["vhost-device-vsock", "--guest-cid", "4", "--uds-path", host, "--socket", vhostspy.back_end_socket]
    vhostspy.start(*SID_PLACE.command(vhostspy.sockets, words), name="vsock", until=vhostspy.back_end_socket)
    vhostspy.replay(front_end)
