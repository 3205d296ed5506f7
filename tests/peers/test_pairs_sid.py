"""Pairs that need newer programs than Debian 12 has: libblkio, passt, the Rust virtiofsd, vhost-device-vsock."""

from __future__ import annotations

import hashlib
import http.server
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from .bench import LINUX, SID_ONLY, Bench
from .place import HERE, HERE_PLACE
from .programs import Program

pytestmark = [pytest.mark.peers, SID_ONLY]


@contextmanager
def in_background(run: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(10)


def test_a_libblkio_and_storage_daemon(bench: Bench) -> None:
    """No virtual machine: a program writes and reads 256 blocks over libblkio."""
    bench.path("blkio.c").write_bytes((HERE / "blkio.c").read_bytes())
    compiler = bench.start("gcc -o blkio blkio.c -lblkio")
    assert compiler.ended(20) == 0, str(compiler)
    disk = bench.disk()
    bench.storage_daemon(disk, queues=2)
    relay = bench.relay()
    front_end = bench.start(f"{bench.path('blkio')} {bench.path('r.sock')} 256 2")
    assert front_end.ended(10) == 0, str(front_end)
    assert "OK 256 blocks" in front_end.output
    blocks = b"".join(bytes([block % 256]) * 4096 for block in range(1, 257))
    assert disk.read_bytes()[: len(blocks)] == blocks
    bench.matches(relay, "a")


def test_dr_linux_and_virtiofsd_in_rust(bench: Bench) -> None:
    """The guest reads a file of the share, writes one and moves it."""
    share = bench.share()
    virtiofsd = bench.start(
        f"virtiofsd --socket-path={bench.path('be.sock')} --shared-dir {share} --sandbox none --cache never"
    )
    bench.wait_for_socket("be.sock", virtiofsd)
    relay = bench.relay()
    qemu = bench.linux("t=fs", f"{bench.chardev()} -device vhost-user-fs-pci,chardev=c,tag=myfs")
    qemu.expect("MARK-OK fs", LINUX)
    assert qemu.ended(LINUX) == 0
    assert (share / "d/e/h").stat().st_size == 1 << 20
    bench.matches(relay, "dR")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the test's own output tells."""


def test_e_linux_and_passt(bench: Bench) -> None:
    """The guest gets an address by DHCP and a file of 1 MiB by HTTP from this machine."""
    blob = os.urandom(1 << 20)
    bench.path("blob").write_bytes(blob)
    # passt makes user namespaces, which a chroot forbids: it runs outside, by the chroot's loader; it becomes nobody
    # before it makes its socket
    bench.folder.chmod(0o777)
    root = bench.place.outside("/")
    loader = f"{root}/lib64/ld-linux-x86-64.so.2 --library-path {root}/usr/lib/x86_64-linux-gnu"
    passt = bench.start(
        f"{loader} {root}/usr/bin/passt -f --vhost-user -a 10.9.8.2 -n 24 -g 10.9.8.1 -D none -t none -u none "
        f"-s {bench.path('be.sock')}",
        name="passt",
        place=HERE_PLACE,
    )
    bench.wait_for_socket("be.sock", passt)
    relay = bench.relay()
    handler = partial(Quiet, directory=str(bench.folder))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        in_background(server.serve_forever, server.shutdown),
    ):
        qemu = bench.linux(f"p={server.server_port} t=net", bench.net())
        qemu.expect("MARK-OK net", LINUX)
        assert qemu.ended(LINUX) == 0
    assert hashlib.sha256(blob).hexdigest() in qemu.output
    bench.matches(relay, "e")


def vsock_pair(bench: Bench) -> Path:
    """Start vhost-device-vsock; the path that its host side goes by."""
    path = bench.path("vm.vsock")
    vsock = bench.start(f"vhost-device-vsock --guest-cid 4 --uds-path {path} --socket {bench.path('be.sock')}")
    bench.wait_for_socket("be.sock", vsock)
    return path


def echo_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def test_f_guest_connects_by_vsock(bench: Bench) -> None:
    """64 KiB from the guest to this machine and back."""
    path = vsock_pair(bench)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(LINUX)
        listener.bind(f"{path}_1234")
        listener.listen()
        relay = bench.relay()
        with in_background(lambda: echo_once(listener), lambda: None):
            qemu = bench.linux("t=vsock", f"{bench.chardev()} -device vhost-user-vsock-pci,chardev=c")
            qemu.expect("MARK-OK vsock", LINUX)
            assert qemu.ended(LINUX) == 0
    bench.matches(relay, "f")


def guest_answers(qemu: Program, path: Path) -> None:
    """The guest, once it listens, sends back what it is sent, and ends."""
    qemu.expect("MARK-READY", LINUX)
    sent = os.urandom(65536)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"CONNECT 1235\n")
        with client.makefile("rb") as stream:
            assert stream.readline().startswith(b"OK ")
            with in_background(lambda: client.sendall(sent), lambda: None):
                assert stream.read(len(sent)) == sent
    qemu.expect("MARK-OK vsockl", LINUX)
    assert qemu.ended(LINUX) == 0


def test_f_guest_listens_by_vsock(bench: Bench) -> None:
    """64 KiB from this machine to the guest and back."""
    path = vsock_pair(bench)
    relay = bench.relay()
    qemu = bench.linux("t=vsockl", f"{bench.chardev()} -device vhost-user-vsock-pci,chardev=c")
    guest_answers(qemu, path)
    bench.matches(relay, "f-listen")


def test_f_older_qemu_listens_by_vsock(bench: Bench) -> None:
    """The same with this machine's QEMU and guest."""
    path = vsock_pair(bench)
    relay = bench.relay()
    qemu = bench.linux("t=vsockl", f"{bench.chardev()} -device vhost-user-vsock-pci,chardev=c", place=HERE_PLACE)
    guest_answers(qemu, path)
    bench.matches(relay, "f-older")
