"""What was recorded between real programs plays again: either side, against a fresh other one of the same version.

Each pair is recorded first. Its front-end is then played to a new back-end, to the record's end; its back-end to a new
front-end, until the rings run: beyond that a guest waits for data, which nobody replays.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from .bench import FIRMWARE, LINUX, Bench
from .guest.mbr import make_disk
from .place import HERE, HERE_PLACE, ROOT, Place, missing
from .programs import PATIENCE_S, Program

pytestmark = pytest.mark.peers


class Pair(NamedTuple):
    """How to start either program of a pair; each gets a name of its own."""

    back_end: Callable[[Bench, str], Program]
    #: its end, and the exit status that it has then
    front_end: Callable[[Bench, str], Program]
    says: str
    status: int = 0
    within_s: float = LINUX
    #: the back-end connects, to a front-end that listens
    turned: bool = False
    #: the front-end ends by itself when it has said it
    ends: bool = True


def storage(bench: Bench, name: str) -> Program:
    return bench.storage_daemon(make_disk(bench.path(f"{name}.img")), queues=2, name=name)


def firmware(bench: Bench, name: str) -> Program:
    return bench.firmware(bench.blk(",bootindex=0"))


def disk(bench: Bench, name: str) -> Program:
    return bench.storage_daemon(bench.disk(f"{name}.img"), queues=2, name=name)


def linux_blk(bench: Bench, name: str) -> Program:
    return bench.linux("t=blk", bench.blk(",num-queues=2"), name=name)


def virtiofsd(bench: Bench, name: str) -> Program:
    if os.geteuid() != 0:
        missing("root, which virtiofsd's sandbox needs")
    share = bench.path("share") if bench.path("share").exists() else bench.share()
    options = f"-o source={share} -o sandbox=chroot -o cache=none"
    return serving(bench, f"/usr/lib/qemu/virtiofsd --socket-path=SOCKET {options}", name)


def linux_fs(bench: Bench, name: str) -> Program:
    return bench.linux("t=fs", f"{bench.chardev()} -device vhost-user-fs-pci,chardev=c,tag=myfs", name=name)


def dpdk(device: str) -> Callable[[Bench, str], Program]:
    def start(bench: Bench, name: str) -> Program:
        bench.path("be.sock").unlink(missing_ok=True)
        return bench.testpmd_backend(device=device, socket="r.sock" if "client" in device else "be.sock", name=name)

    return start


def linux_net(bench: Bench, name: str) -> Program:
    return bench.linux("t=netstatic", bench.net(), name=name)


def linux_net_listening(bench: Bench, name: str) -> Program:
    program = bench.linux("t=netstatic", bench.net(chardev=",server=on", socket="q.sock"), name=name)
    bench.wait_for_socket("q.sock", program)
    return program


def linux_dhcp(bench: Bench, name: str) -> Program:
    """A guest that gets an address by DHCP, and finds nobody where it asks for a file."""
    return bench.linux("p=9 t=net", bench.net(), name=name)


def linux_iommu(bench: Bench, name: str) -> Program:
    iommu = "-device intel-iommu,device-iotlb=on,intremap=off"
    card = bench.net(",disable-legacy=on,iommu_platform=on,ats=on")
    return bench.linux("intel_iommu=on iommu.strict=1 t=netstatic", f"{iommu} {card}", name=name)


def blkio(bench: Bench, name: str) -> Program:
    if not bench.path("blkio").exists():
        bench.path("blkio.c").write_bytes((HERE / "blkio.c").read_bytes())
        compiler = bench.start("gcc -o blkio blkio.c -lblkio")
        assert compiler.ended(PATIENCE_S) == 0, str(compiler)
    return bench.start(f"{bench.path('blkio')} {bench.path('r.sock')} 256 2", name=name)


def virtiofsd_rust(bench: Bench, name: str) -> Program:
    share = bench.path("share") if bench.path("share").exists() else bench.share()
    return serving(bench, f"virtiofsd --socket-path=SOCKET --shared-dir {share} --sandbox none --cache never", name)


def passt(bench: Bench, name: str) -> Program:
    # see test_pairs_sid: it runs outside of the chroot, by the chroot's loader, and becomes nobody
    bench.folder.chmod(0o777)
    root = bench.place.outside("/")
    loader = f"{root}/lib64/ld-linux-x86-64.so.2 --library-path {root}/usr/lib/x86_64-linux-gnu"
    options = "-a 10.9.8.2 -n 24 -g 10.9.8.1 -D none -t none -u none"
    return serving(bench, f"{loader} {root}/usr/bin/passt -f --vhost-user {options} -s SOCKET", name, HERE_PLACE)


def vsock(bench: Bench, name: str) -> Program:
    options = f"--guest-cid 4 --uds-path {bench.path(f'{name}.vsock')}"
    return serving(bench, f"vhost-device-vsock {options} --socket SOCKET", name)


def linux_vsock(bench: Bench, name: str) -> Program:
    return bench.linux("t=vsockl", f"{bench.chardev()} -device vhost-user-vsock-pci,chardev=c", name=name)


def gpu(bench: Bench, name: str) -> Program:
    return serving(bench, "vhost-user-gpu --socket-path=SOCKET", name)


def linux_gpu(bench: Bench, name: str) -> Program:
    device = "vhost-user-gpu-pci,chardev=c,xres=640,yres=480"
    return bench.linux("video=Virtual-1:160x120 t=gpu", f"{bench.chardev()} -device {device}", name=name)


def vfio_user(bench: Bench, name: str) -> Program:
    return serving(bench, f"{sys.executable} -m tests.vfio_user.server SOCKET", name, HERE_PLACE, PYTHONPATH=str(ROOT))


def linux_pci(bench: Bench, name: str) -> Program:
    device = json.dumps({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(bench.path("r.sock"))}})
    return bench.linux("t=pci", f"-device '{device}'", name=name)


def serving(bench: Bench, command: str, name: str, place: Place | None = None, **environment: str) -> Program:
    """A back-end that makes the socket ``be.sock``, which its command line calls SOCKET."""
    bench.path("be.sock").unlink(missing_ok=True)
    program = bench.start(command.replace("SOCKET", str(bench.path("be.sock"))), name, place, **environment)
    bench.wait_for_socket("be.sock", program)
    return program


PAIRS = {
    "s": Pair(storage, firmware, "MARK-OK mbr", 1, FIRMWARE),
    "c": Pair(disk, linux_blk, "MARK-OK blk"),
    "dC": Pair(virtiofsd, linux_fs, "MARK-OK fs"),
    "g": Pair(dpdk(""), linux_net, "MARK-OK netstatic"),
    "k": Pair(dpdk(",client=1"), linux_net_listening, "MARK-OK netstatic", turned=True),
    "l": Pair(dpdk(",iommu-support=1"), linux_iommu, "MARK-OK netstatic"),
    "a": Pair(disk, blkio, "OK 256 blocks"),
    "dR": Pair(virtiofsd_rust, linux_fs, "MARK-OK fs"),
    "e": Pair(passt, linux_dhcp, "lease of 10.9.8.2 obtained"),
    "f": Pair(vsock, linux_vsock, "MARK-READY", ends=False),
    "gpu": Pair(gpu, linux_gpu, "MARK-OK gpu"),
    "v": Pair(vfio_user, linux_pci, "MARK-OK pci"),
}
HERE_PAIRS = ("s", "c", "dC", "g", "k", "l")
SID_PAIRS = ("a", "c", "dR", "e", "f", "g", "k", "l", "gpu", "v")


def record(bench: Bench, letter: str) -> Path:
    """Let the two talk through the relay, to their ends; gives the capture."""
    pair = PAIRS[letter]
    bench.needs_relay("there is nothing to be replayed without a record")
    if pair.turned:
        front_end = pair.front_end(bench, "front-end")
        relay = bench.relay("--front-end connect", connect="q.sock")
        back_end = pair.back_end(bench, "back-end")
    else:
        back_end = pair.back_end(bench, "back-end")
        relay = bench.relay()
        front_end = pair.front_end(bench, "front-end")
    front_end.expect(pair.says, pair.within_s)
    if pair.ends:
        assert front_end.ended(pair.within_s) == pair.status
    else:
        front_end.put_away()
    assert relay is not None
    # what the rules have to say of these programs is test_pairs' business
    assert relay.program.ended(PATIENCE_S) in (0, 1), str(relay.program)
    back_end.put_away()
    for name in ("r.sock", "be.sock", "q.sock"):
        bench.path(name).unlink(missing_ok=True)
    return relay.capture


def replay(bench: Bench, options: str, name: str, appears: str = "") -> Program:
    program = bench.start(
        f"{sys.executable} -m vhostspy replay {options} -v --timeout 60 -w {bench.path(f'{name}.pcapng')}",
        name=name, place=HERE_PLACE, PYTHONPATH=str(ROOT),
    )  # fmt: skip
    if appears:
        bench.wait_for_socket(appears, program)
    return program


@pytest.mark.parametrize(
    ("letter", "origin"),
    [
        *((letter, "here") for letter in HERE_PAIRS),
        *(pytest.param(letter, "sid", marks=pytest.mark.sid) for letter in SID_PAIRS),
    ],
)
def test_replay(bench: Bench, letter: str) -> None:
    pair = PAIRS[letter]
    capture = record(bench, letter)

    if pair.turned:
        player = replay(bench, f"{capture} --as front-end --listen {bench.path('r.sock')}", "as-front-end", "r.sock")
        pair.back_end(bench, "back-end-2")
    else:
        pair.back_end(bench, "back-end-2")
        player = replay(bench, f"{capture} --as front-end --connect {bench.path('be.sock')}", "as-front-end")
    assert player.ended(LINUX) == 0, str(player)
    assert "as recorded" in player.output

    until = "--until-no set-up"
    if pair.turned:
        pair.front_end(bench, "front-end-2")
        player = replay(bench, f"{capture} --as back-end --connect {bench.path('q.sock')} {until}", "as-back-end")
    else:
        player = replay(
            bench, f"{capture} --as back-end --listen {bench.path('r.sock')} {until}", "as-back-end", "r.sock"
        )
        pair.front_end(bench, "front-end-2")
    assert player.ended(pair.within_s + 60) == 0, str(player)
    assert "all was played" in player.output, str(player)
