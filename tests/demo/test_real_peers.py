"""The synthetic peers with real ones on the other side: what they say is what QEMU says and understands."""

from __future__ import annotations

import pytest

from vhostspy.demo.back_end import BackEnd, serving
from vhostspy.demo.block import SECTOR, Disk
from vhostspy.demo.endpoint import Listener, connect
from vhostspy.demo.exercise import exercise, pattern
from vhostspy.demo.front_end import FrontEnd
from vhostspy.testing import Spy

pytestmark = pytest.mark.peers

WAIT_S = 30
#: mov al, 0; out 0xf4, al (the device that ends QEMU, with status 1); jump to itself
BOOT_SECTOR = bytes.fromhex("b000 e6f4 ebfe").ljust(510, b"\0") + b"\x55\xaa"
MACHINE = "-M pc,memory-backend=m -accel tcg -m 32M -object memory-backend-memfd,id=m,size=32M,share=on"


# GET_INFLIGHT_FD before SET_FEATURES is the demo's habit
@pytest.mark.vhostspy(disable="VU-INF-04")
@pytest.mark.needs("qemu-storage-daemon")
def test_the_front_end_uses_a_disk_of_qemu_storage_daemon(vhostspy: Spy) -> None:
    disk = vhostspy.folder / "disk.img"
    disk.write_bytes(bytes(2048 * SECTOR))
    vhostspy.start(
        "qemu-storage-daemon", "--blockdev", f"driver=file,node-name=disk,filename={disk}", "--export",
        "type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path={back_end},writable=on,num-queues=2",
    )  # fmt: skip
    with FrontEnd(connect(vhostspy.front_end_socket, WAIT_S), queues=2) as front_end:
        outcome = exercise(front_end, sectors=64)
    assert (outcome.disk_id, outcome.capacity_before) == ("vhost_user_blk", 2048)
    assert disk.read_bytes()[: 64 * SECTOR] == pattern(0, 64)


@pytest.mark.needs("qemu-system-x86_64")
def test_a_pc_boots_from_the_back_end(vhostspy: Spy) -> None:
    disk = Disk(2048)
    disk.octets[:SECTOR] = BOOT_SECTOR
    devices = ["-nodefaults", "-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    devices += ["-chardev", "socket,id=c,path={front_end}", "-device", "vhost-user-blk-pci,chardev=c,bootindex=0"]
    with Listener(vhostspy.back_end_socket) as listener:
        qemu = vhostspy.start("qemu-system-x86_64", *MACHINE.split(), *devices)
        sock = listener.accept(WAIT_S)
        assert sock is not None
        with serving(BackEnd(disk, queues=1), sock) as back_end:
            assert qemu.wait(WAIT_S) == 1
    assert back_end.trouble == []
    assert disk.sectors_read >= 1
