"""A bench on which the programs of one test and the relay between them stand.

A test writes down one pair of programs; everything that isn't about the pair is here and in the neighbours: where
programs come from, their command lines, how long they are waited for, that each is ended by its own process number and
that nothing of it stays behind.

With ``--direct`` the relay is replaced by a link from its socket to the peer's, so that the same test shows whether the
two programs get on with each other without us.
"""

from __future__ import annotations

import difflib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from .conversation import conversation
from .place import HERE, HERE_PLACE, ROOT, Place
from .programs import PATIENCE_S, Program, Qmp, Relay, until

#: for tests that run with this machine's programs and, when asked for, with sid's; or with those only
HERE_AND_SID = pytest.mark.parametrize("origin", ["here", pytest.param("sid", marks=pytest.mark.sid)])
SID_ONLY = pytest.mark.parametrize("origin", [pytest.param("sid", marks=pytest.mark.sid)])

#: bounds of waiting for a guest, in seconds; a run takes a thirtieth of these
FIRMWARE, LINUX, MIGRATION = 60, 120, 240


#: pair -> the rules that one of its programs breaks, each an error of that program, and how
FAULTS: Mapping[str, Mapping[str, str]] = {
    "gpu": {"VU-NEG-01": "QEMU passes on whatever the guest took, RING_RESET too, which vhost-user-gpu never offered"},
}


class Bench:
    """One test's folder, programs and relays; puts all away at the end.

    Sockets have the same names in every test: the back-end's is ``be.sock``, ours ``r.sock``.
    """

    def __init__(self, place: Place, direct: bool, update: bool, keep: str | None) -> None:
        self.place = place
        self.direct = direct
        self.update = update
        self.keep = keep
        # not under pytest's own temporary folder: a socket's path has at most 107 bytes
        self.folder = Path(tempfile.mkdtemp(prefix="vspy-"))
        self._programs: list[Program] = []
        self._monitors: list[Qmp] = []

    def path(self, name: str) -> Path:
        return self.folder / name

    # what any program needs

    def start(self, command: str, name: str = "", place: Place | None = None, **environment: str) -> Program:
        """Start a program of the place by its command line (no shell); ``name`` tells apart several of one kind."""
        arguments = shlex.split(command)
        name = name or Path(arguments[0]).name
        program = Program(name, (place or self.place).command(self.folder, arguments), self.folder, environment)
        self._programs.append(program)
        return program

    def wait_for_socket(self, name: str, program: Program, within_s: float = PATIENCE_S) -> None:
        """Wait for the path to appear. Nobody connects to try it: some back-ends serve one connection only."""

        def there() -> bool:
            if program.process.poll() is not None:
                pytest.fail(f"no {name}: {program}", pytrace=False)
            return self.path(name).exists()

        until(there, within_s, lambda: f"no {name}: {program}")

    # the relay

    def relay(
        self,
        options: str = "",
        listen: str = "r.sock",
        connect: str = "be.sock",
        name: str = "relay",
        once: bool = True,
    ) -> Relay | None:
        """Put vhostspy between the two sockets; None with ``--direct``."""
        if self.direct:
            self.path(listen).symlink_to(self.path(connect))
            return None
        return self.relay_between(
            f"--listen {self.path(listen)} --connect {self.path(connect)} {options}", listen, name, once
        )

    def relay_between(self, options: str, appears: str = "", name: str = "relay", once: bool = True) -> Relay:
        """The same with sockets as the options say; ``appears`` is one that the relay makes.

        With ``--strict`` it ends with status 1 if a rule was broken that weighs as an error.
        """
        capture = self.path(f"{name}.pcapng")
        program = self.start(
            f"{sys.executable} -m vhostspy {options} {'--once' if once else ''} -w {capture} --json "
            "--validate --strict",
            name=name,
            place=HERE_PLACE,
            PYTHONPATH=str(ROOT),
        )
        if appears:
            self.wait_for_socket(appears, program)
        return Relay(program, capture, once)

    def needs_relay(self, why: str) -> None:
        """Skip the test with ``--direct``."""
        if self.direct:
            pytest.skip(why)

    def matches(self, relay: Relay | None, pair: str, variant: str = "") -> None:
        """Compare what the relay recorded with ``expected/PAIR.txt``; with ``--update`` write that file anew.

        ``variant`` names another way to the same conversation.
        """
        if relay is None:
            return
        text = conversation(relay.finish(FAULTS.get(pair)))
        if self.place.root is not None:
            pair += "-sid"
        expected = HERE / "expected" / f"{pair}.txt"
        if self.update:
            expected.write_text(text)
        if self.keep:
            shutil.copy(relay.capture, Path(self.keep, f"{pair}{variant}.pcapng"))
        known = expected.read_text() if expected.exists() else ""
        if text != known:
            lines = (known.splitlines(), text.splitlines())
            difference = "\n".join(difflib.unified_diff(*lines, f"expected/{pair}.txt", "recorded", lineterm=""))
            pytest.fail(f"another conversation (--update writes it):\n{difference}", pytrace=False)

    # back-ends, and what they work on

    def disk(self, name: str = "disk.img") -> Path:
        """An empty disk image of 64 MiB."""
        path = self.path(name)
        path.touch()
        os.truncate(path, 64 << 20)
        return path

    def share(self) -> Path:
        """A folder to share, with a file ``hello``."""
        path = self.path("share")
        path.mkdir()
        path.joinpath("hello").write_text("hello\n")
        return path

    def storage_daemon(
        self,
        image: Path,
        queues: int = 1,
        locking: str = "auto",
        socket: str = "be.sock",
        name: str = "storage",
        per_second: int = 0,
    ) -> Program:
        """``per_second``: a slow disk, of so many requests."""
        slowly = f"--object throttle-group,id=slow,x-iops-total={per_second} " if per_second else ""
        slowly += "--blockdev driver=throttle,node-name=export,throttle-group=slow,file=disk " if per_second else ""
        path = self.path(socket)
        # after SIGKILL the old one is still there
        path.unlink(missing_ok=True)
        program = self.start(
            f"qemu-storage-daemon --blockdev driver=file,node-name=disk,filename={image},locking={locking} {slowly}"
            f"--export type=vhost-user-blk,id=export,addr.type=unix,addr.path={path},writable=on,"
            f"node-name={'export' if slowly else 'disk'},"
            f"num-queues={queues}",
            name=name,
        )
        self.wait_for_socket(socket, program)
        return program

    def testpmd(self, name: str, cpu: int, vdev: str, options: str) -> Program:
        """dpdk-testpmd with one virtual device; the lcore for commands and that for packets are on one CPU."""
        return self.start(
            f"dpdk-testpmd --no-huge -m 128 --no-pci --lcores 0@{cpu},1@{cpu} --file-prefix {self.folder.name}-{name} "
            f"--vdev {vdev} -- --total-num-mbufs=2048 {options}",
            name=name,
            RUNTIME_DIRECTORY=str(self.folder),
        )

    def testpmd_backend(
        self, mode: str = "icmpecho", device: str = "", socket: str = "be.sock", queues: int = 1, name: str = "testpmd"
    ) -> Program:
        """dpdk-testpmd that serves a network card: ``icmpecho`` answers pings. ``device`` are options of net_vhost."""
        vdev = f"net_vhost0,iface={self.path(socket)},queues={queues}{device}"
        # without --stats-period it would read commands, and end at the end of its standard input
        options = f"--stats-period 60 --forward-mode={mode} --rxq={queues} --txq={queues}"
        program = self.testpmd(name, 0, vdev, options)
        if "client=1" not in device:
            self.wait_for_socket(socket, program)
        return program

    # QEMU

    def memory(self, mebibytes: int) -> str:
        """Guest memory that a back-end can map."""
        return f"-m {mebibytes} -object memory-backend-memfd,id=m,size={mebibytes}M,share=on"

    def firmware(self, device: str) -> Program:
        """QEMU with nothing but SeaBIOS and the device."""
        return self.start(
            f"qemu-system-x86_64 -M pc,memory-backend=m -accel tcg {self.memory(32)} -nodefaults "
            f"-display none -serial stdio -device isa-debug-exit,iobase=0xf4,iosize=1 {device}",
            name="qemu",
        )

    def linux(self, arguments: str, device: str, name: str = "qemu", place: Place | None = None) -> Program:
        """QEMU with the Linux guest; ``arguments`` for its init, ``t=`` last of those that end so."""
        place = place or self.place
        return self.start(
            f"qemu-system-x86_64 -M q35,memory-backend=m -accel tcg {self.memory(256)} -nodefaults -no-user-config "
            f"-display none -no-reboot -serial stdio -kernel {place.kernel()} -initrd {place.initrd()} "
            f"-append 'console=ttyS0 quiet panic=-1 {arguments}' {device}",
            name=name,
            place=place,
        )

    def chardev(self, options: str = "", socket: str = "r.sock") -> str:
        return f"-chardev socket,id=c,path={self.path(socket)}{options}"

    def blk(self, device: str = ",num-queues=1", chardev: str = "", socket: str = "r.sock") -> str:
        """A vhost-user disk."""
        return f"{self.chardev(chardev, socket)} -device vhost-user-blk-pci,chardev=c{device}"

    def net(self, device: str = "", chardev: str = "", netdev: str = "", socket: str = "r.sock") -> str:
        """A vhost-user network card."""
        # QEMU 7.2 crashes when the guest starts the card under TCG, with us or without, unless it has no interrupts
        # of its own
        if self.place.version("qemu-system-x86_64") < (8,):
            device += ",vectors=0"
        return (
            f"{self.chardev(chardev, socket)} -netdev vhost-user,id=n,chardev=c{netdev} "
            f"-device virtio-net-pci,netdev=n{device}"
        )

    def reconnecting(self) -> str:
        """Chardev option: come back after the peer has gone."""
        return ",reconnect-ms=200" if self.place.version("qemu-system-x86_64") >= (9, 2) else ",reconnect=1"

    def monitor(self, name: str) -> Qmp:
        monitor = Qmp(self.path(name))
        self._monitors.append(monitor)
        return monitor

    def migrate(self, source: Qmp, to: str, within_s: float) -> None:
        """Move the guest, and end its first QEMU when it is gone."""
        # All at one go, the rest with the guest at rest: under TCG a page may be copied between being marked as written
        # and being written, and the guest then crashes. On a busy machine, with the usual many rounds, one in six did,
        # with us or without.
        source("migrate-set-parameters", **{"downtime-limit": 60_000, "max-bandwidth": 1 << 32})
        source("migrate", uri=to)

        def arrived() -> bool:
            status = source("query-migrate").get("status")
            assert status not in ("failed", "cancelled"), status
            return bool(status == "completed")

        until(arrived, within_s, lambda: "the migration is not complete")
        source("quit")

    # the end

    def close(self) -> None:
        for monitor in self._monitors:
            monitor.close()
        for program in reversed(self._programs):
            program.put_away()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.place.root is not None:
            with suppress(OSError):
                # where the folder was mounted
                self.place.outside(self.folder).rmdir()
