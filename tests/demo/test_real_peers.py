"""The synthetic peers with real ones on the other side: what they say is what QEMU says and understands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vhostspy.demo.back_end import BackEnd, serving
from vhostspy.demo.block import SECTOR, Disk
from vhostspy.demo.endpoint import Listener, connect
from vhostspy.demo.exercise import exercise, pattern
from vhostspy.demo.front_end import FrontEnd

pytestmark = pytest.mark.peers

WAIT_S = 30
#: mov al, 0; out 0xf4, al (the device that ends QEMU, with status 1); jump to itself
BOOT_SECTOR = bytes.fromhex("b000 e6f4 ebfe").ljust(510, b"\0") + b"\x55\xaa"


@pytest.mark.needs("qemu-storage-daemon")
def test_the_front_end_uses_a_disk_of_qemu_storage_daemon(tmp_path: Path) -> None:
    disk, path = tmp_path / "disk.img", tmp_path / "disk.sock"
    disk.write_bytes(bytes(2048 * SECTOR))
    with subprocess.Popen(
        [
            "qemu-storage-daemon",
            "--blockdev",
            f"driver=file,node-name=disk,filename={disk}",
            "--export",
            f"type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path={path},writable=on,num-queues=2",
        ]
    ) as daemon:
        try:
            with FrontEnd(connect(str(path), WAIT_S), queues=2) as front_end:
                outcome = exercise(front_end, sectors=64)
        finally:
            daemon.terminate()
            daemon.wait(WAIT_S)
    assert (outcome.disk_id, outcome.capacity_before) == ("vhost_user_blk", 2048)
    assert disk.read_bytes()[: 64 * SECTOR] == pattern(0, 64)


@pytest.mark.needs("qemu-system-x86_64")
def test_a_pc_boots_from_the_back_end(tmp_path: Path) -> None:
    disk = Disk(2048)
    disk.octets[:SECTOR] = BOOT_SECTOR
    path = tmp_path / "disk.sock"
    command = "-M pc,memory-backend=m -accel tcg -m 32M -object memory-backend-memfd,id=m,size=32M,share=on"
    command += " -nodefaults -display none -device isa-debug-exit,iobase=0xf4,iosize=1"
    device = ["-chardev", f"socket,id=c,path={path}", "-device", "vhost-user-blk-pci,chardev=c,bootindex=0"]
    with Listener(str(path)) as listener:
        qemu = subprocess.Popen(["qemu-system-x86_64", *command.split(), *device])
        try:
            sock = listener.accept(WAIT_S)
            assert sock is not None
            with serving(BackEnd(disk, queues=1), sock) as back_end:
                assert qemu.wait(WAIT_S) == 1
        finally:
            qemu.kill()
            qemu.wait(WAIT_S)
    assert back_end.trouble == []
    assert disk.sectors_read >= 1
