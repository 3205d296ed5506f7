"""A bench on which real programs and the relay between them are started, watched and put away.

A test writes down one pair of programs; everything that isn't about the pair is here: where the programs come from, how
long they are waited for, that each is ended by its own process number and that nothing of it stays behind.

With ``--direct`` the relay is replaced by a link from its socket to the peer's, so that the same test shows whether the
two programs get on with each other without us.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest

from .conversation import conversation
from .guest import initrd

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vhostspy"

#: for tests that run with this machine's programs and, when asked for, with sid's; or with those only
HERE_AND_SID = pytest.mark.parametrize("origin", ["here", pytest.param("sid", marks=pytest.mark.sid)])
SID_ONLY = pytest.mark.parametrize("origin", [pytest.param("sid", marks=pytest.mark.sid)])

#: bounds of waiting for a guest, in seconds; a run takes a tenth of these
FIRMWARE, LINUX, MIGRATION = 10, 40, 120

#: programs that no package puts on the search path
ELSEWHERE = ("/usr/lib/qemu", "/usr/libexec")

PACKAGES = {
    "busybox": "busybox-static",
    "dpdk-testpmd": "dpdk-dev",
    "gcc": "gcc",
    "qemu-storage-daemon": "qemu-system-common or qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "virtiofsd": "qemu-system-common or virtiofsd",
}


def missing(what: str) -> NoReturn:
    """End the test: skipped, but failed where everything must be there (CI)."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"missing: {what}", pytrace=False)
    pytest.skip(f"missing: {what}")


def until(condition: Callable[[], bool], within_s: float, what: Callable[[], str]) -> None:
    """Wait for the condition; ``what`` is the sentence for when it doesn't come in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what()} (waited {within_s} s)", pytrace=False)
        time.sleep(0.01)


class Place:
    """Where programs come from: this machine, or a chroot with those of Debian's unstable release (``sid.sh``)."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root
        self._versions: dict[str, tuple[int, ...]] = {}

    def __str__(self) -> str:
        return "sid" if self.root else "here"

    def outside(self, path: str | Path) -> Path:
        """The path as this process sees it, for one as the place's programs see it."""
        return Path(path) if self.root is None else self.root / str(path).lstrip("/")

    def find(self, program: str) -> str:
        """The program's path as the place's programs see it; skips the test where there is none."""
        path = "/usr/bin:/usr/sbin" if self.root else os.environ.get("PATH", "")
        for folder in (*path.split(":"), *ELSEWHERE):
            if os.access(self.outside(f"{folder}/{program}"), os.X_OK):
                return f"{folder}/{program}"
        where = "" if self.root is None else f" in {self.root}"
        missing(f"{program}{where} (Debian package {PACKAGES.get(program, program)})")

    def command(self, folder: Path, arguments: tuple[str, ...]) -> list[str]:
        """The command line that runs a program of the place; it sees ``folder`` under the same path.

        The mounts are in a mount namespace of the process's own, and vanish with it.
        """
        arguments = (self.find(arguments[0]) if "/" not in arguments[0] else arguments[0], *arguments[1:])
        if self.root is None:
            return list(arguments)
        mounts = 'for f in /dev /proc /sys "$1"; do mkdir -p "$0$f" && mount --rbind "$f" "$0$f" || exit 125; done'
        script = f'{mounts}; cd "$0" && root=$0 && f=$1 && shift && exec chroot "$root" env -C "$f" "$@"'
        return ["unshare", "--mount", "sh", "-c", script, str(self.root), str(folder), *arguments]

    def version(self, program: str) -> tuple[int, ...]:
        """The version that the program gives of itself, as numbers: (7, 2, 22)."""
        if program not in self._versions:
            command = self.command(Path("/tmp"), (program, "--version"))
            text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
            word = next(word for word in text.split() if word[0].isdigit())
            self._versions[program] = tuple(int(part) for part in word.split("+")[0].split(".") if part.isdigit())
        return self._versions[program]

    def kernel(self) -> str:
        """The guest's kernel."""
        folder = "/boot" if self.root else str(CACHE / "kernel/boot")
        images = sorted(self.outside(folder).glob("vmlinuz-*"))
        if not images:
            missing("a guest kernel (tests/peers/install.sh fetches it)")
        return f"{folder}/{images[-1].name}"

    def initrd(self) -> str:
        """The guest's file system, built on the first call and again when one of its parts has changed."""
        kernel = self.outside(self.kernel())
        version = kernel.name.removeprefix("vmlinuz-")
        modules = self.outside("/usr/lib/modules" if self.root else CACHE / "kernel/lib/modules") / version
        busybox = Path(HERE_PLACE.find("busybox"))
        sources = [HERE / "guest" / name for name in ("init", "dhcp.sh", "vs.c", "initrd.py")]
        digest = hashlib.sha256(version.encode())
        for part in (*sources, busybox):
            digest.update(part.read_bytes())
        folder = self.outside("/var/cache/vhostspy") if self.root else CACHE
        path = folder / f"initrd-{digest.hexdigest()[:16]}.cpio"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as work:
                vs = Path(work, "vs")
                compiler = [HERE_PLACE.find("gcc"), "-static", "-Os", "-o", str(vs), str(HERE / "guest/vs.c")]
                subprocess.run(compiler, check=True, timeout=60)
                part = Path(work, "initrd")
                part.write_bytes(
                    initrd.build(modules, busybox, HERE / "guest/init", {"vs": vs, "dhcp.sh": HERE / "guest/dhcp.sh"})
                )
                for old in folder.glob("initrd-*.cpio"):
                    old.unlink()
                part.rename(path)
        return str(path) if self.root is None else f"/var/cache/vhostspy/{path.name}"


HERE_PLACE = Place()


class Program:
    """A started program, in a process group of its own; its output goes into a file in the bench's folder."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def __str__(self) -> str:
        status = self.process.poll()
        state = "is running" if status is None else f"ended with {status}"
        return f"{self.name} {state}, its last output:\n{self.output[-2000:]}"

    def expect(self, text: str, within_s: float) -> None:
        """Wait until the program has written the text; fail at once if it ends without."""

        def seen() -> bool:
            alive = self.process.poll() is None
            if text in self.output:
                return True
            if not alive:
                pytest.fail(f"no {text!r}: {self}", pytrace=False)
            return False

        until(seen, within_s, lambda: f"no {text!r}: {self}")

    def ended(self, within_s: float) -> int:
        """Wait for the end; the exit status."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"no end in {within_s} s: {self}", pytrace=False)

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = 10) -> int:
        """Send the signal and wait for the end; the exit status (negative: the signal that ended it)."""
        self.process.send_signal(number)
        return self.ended(within_s)

    def put_away(self) -> None:
        """End whatever is left of the program and its children."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(3)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


def messages(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if "kind" in line]


class Relay:
    """vhostspy between two sockets, writing a capture and JSON lines."""

    def __init__(self, program: Program, capture: Path, once: bool) -> None:
        self.program = program
        self.capture = capture
        self.once = once

    def open_descriptors(self) -> dict[str, str]:
        """Number and target of each of its descriptors."""
        folder = f"/proc/{self.program.process.pid}/fd"
        return {number: os.readlink(f"{folder}/{number}") for number in os.listdir(folder)}

    def finish(self) -> list[dict[str, Any]]:
        """Let it end (with ``--once`` by itself) and give what it recorded: JSON objects in order.

        The lines it wrote while it ran must be those that its capture gives.
        """
        status = self.program.ended(10) if self.once else self.program.stop(signal.SIGINT)
        assert status == 0, str(self.program)
        show = [sys.executable, "-m", "vhostspy", "show", "--json", str(self.capture)]
        shown = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert shown.returncode == 0, shown.stderr
        recorded = [json.loads(line) for line in shown.stdout.splitlines()]
        live = [json.loads(line) for line in self.program.output.splitlines() if line.startswith("{")]
        for was, is_now in zip_longest(messages(live), messages(recorded)):
            assert was == is_now, "the live view and the capture tell different things"
        return recorded


class Qmp:
    """QEMU's monitor, a line of JSON each way; events in between are passed over."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        until(path.exists, 10, lambda: f"QEMU made no {path.name}")
        self._socket.connect(str(path))
        self._lines: IO[str] = self._socket.makefile("rw")
        self._lines.readline()
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: object) -> Any:
        request: dict[str, object] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self._lines.write(json.dumps(request) + "\n")
        self._lines.flush()
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                pytest.fail(f"QMP {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Bench:
    """One test's folder, programs, relays; puts all away at the end.

    Sockets have the same names in every test: the back-end's is ``be.sock``, ours ``r.sock``.
    """

    def __init__(self, place: Place, direct: bool, update: bool, keep: str | None) -> None:
        self.place = place
        self.keep = keep
        self.direct = direct
        self.update = update
        # not under pytest's own temporary folder: a socket's path has at most 107 bytes
        self.folder = Path(tempfile.mkdtemp(prefix="vspy-"))
        self._programs: list[Program] = []
        self._monitors: list[Qmp] = []

    def path(self, name: str) -> Path:
        return self.folder / name

    # what any program needs

    def start(self, *arguments: str, name: str = "", place: Place | None = None, **environment: str) -> Program:
        """Start a program of the place; ``name`` tells apart several of one kind."""
        place = place or self.place
        name = name or Path(arguments[0]).name
        program = Program(name, place.command(self.folder, arguments), self.folder, environment)
        self._programs.append(program)
        return program

    def wait_for_socket(self, name: str, program: Program, within_s: float = 10) -> None:
        """Wait for the path to appear. Nobody connects to try it: some back-ends serve one connection only."""

        def there() -> bool:
            if program.process.poll() is not None:
                pytest.fail(f"no {name}: {program}", pytrace=False)
            return self.path(name).exists()

        until(there, within_s, lambda: f"no {name}: {program}")

    def relay(
        self, *options: str, listen: str = "r.sock", connect: str = "be.sock", name: str = "relay", once: bool = True
    ) -> Relay | None:
        """Put vhostspy between the two sockets; None with ``--direct``."""
        if self.direct:
            self.path(listen).symlink_to(self.path(connect))
            return None
        capture = self.path(f"{name}.pcapng")
        arguments = [
            sys.executable,
            "-m",
            "vhostspy",
            "--listen",
            str(self.path(listen)),
            "--connect",
            str(self.path(connect)),
            "-w",
            str(capture),
            "--json",
            *options,
        ]
        if once:
            arguments.append("--once")
        program = self.start(*arguments, name=name, place=HERE_PLACE, PYTHONPATH=str(ROOT))
        self.wait_for_socket(listen, program)
        return Relay(program, capture, once)

    def matches(self, relay: Relay | None, pair: str) -> None:
        """Compare what the relay recorded with ``expected/PAIR.txt``; with ``--update`` write that file anew."""
        if relay is None:
            return
        text = conversation(relay.finish())
        if self.place.root is not None:
            pair += "-sid"
        expected = HERE / "expected" / f"{pair}.txt"
        if self.update:
            expected.write_text(text)
        if self.keep:
            shutil.copy(relay.capture, Path(self.keep, f"{pair}.pcapng"))
        known = expected.read_text() if expected.exists() else ""
        if text != known:
            lines = (known.splitlines(), text.splitlines())
            difference = "\n".join(difflib.unified_diff(*lines, f"expected/{pair}.txt", "recorded", lineterm=""))
            pytest.fail(f"another conversation (--update writes it):\n{difference}", pytrace=False)

    # the programs and what they work on

    def disk(self, name: str) -> Path:
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
        self, image: Path, queues: int = 1, locking: str = "auto", socket: str = "be.sock", name: str = "storage"
    ) -> Program:
        path = self.path(socket)
        # after SIGKILL the old one is still there
        path.unlink(missing_ok=True)
        program = self.start(
            "qemu-storage-daemon",
            "--blockdev",
            f"driver=file,node-name=disk,filename={image},locking={locking}",
            "--export",
            f"type=vhost-user-blk,id=export,addr.type=unix,addr.path={path},node-name=disk,writable=on,"
            f"num-queues={queues}",
            name=name,
        )
        self.wait_for_socket(socket, program)
        return program

    def testpmd(self, name: str, cpu: int, vdev: str, mode: str, *options: str, stats_period_s: int = 60) -> Program:
        """dpdk-testpmd with one virtual device; the lcore for commands and that for packets are on one CPU."""
        return self.start(
            "dpdk-testpmd",
            "--no-huge",
            "-m",
            "128",
            "--no-pci",
            "--lcores",
            f"0@{cpu},1@{cpu}",
            "--file-prefix",
            f"{self.folder.name}-{name}",
            "--vdev",
            vdev,
            "--",
            "--total-num-mbufs=2048",
            "--stats-period",
            str(stats_period_s),
            f"--forward-mode={mode}",
            *options,
            name=name,
            RUNTIME_DIRECTORY=str(self.folder),
        )

    def testpmd_backend(
        self, mode: str = "icmpecho", options: str = "", socket: str = "be.sock", queues: int = 1, name: str = "testpmd"
    ) -> Program:
        more = (f"--rxq={queues}", f"--txq={queues}") if queues > 1 else ()
        program = self.testpmd(name, 0, f"net_vhost0,iface={self.path(socket)},queues={queues}{options}", mode, *more)
        if "client=1" not in options:
            self.wait_for_socket(socket, program)
        return program

    def memory(self, mebibytes: int) -> tuple[str, ...]:
        """Guest memory that a back-end can map."""
        return ("-m", str(mebibytes), "-object", f"memory-backend-memfd,id=m,size={mebibytes}M,share=on")

    def firmware(self, *device: str) -> Program:
        """QEMU with nothing but SeaBIOS and the device."""
        return self.start(
            "qemu-system-x86_64",
            "-M",
            "pc,memory-backend=m",
            "-accel",
            "tcg",
            *self.memory(32),
            "-nodefaults",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=1",
            *device,
            name="qemu",
        )

    def linux(self, arguments: str, *device: str, name: str = "qemu") -> Program:
        """QEMU with the Linux guest; ``arguments`` for its init, ``t=`` last of those that end so."""
        return self.start(
            "qemu-system-x86_64",
            "-M",
            "q35,memory-backend=m",
            "-accel",
            "tcg",
            *self.memory(256),
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
            "-kernel",
            self.place.kernel(),
            "-initrd",
            self.place.initrd(),
            "-append",
            f"console=ttyS0 quiet panic=-1 {arguments}",
            *device,
            name=name,
        )

    def chardev(self, socket: str = "r.sock", options: str = "") -> tuple[str, str]:
        return ("-chardev", f"socket,id=c,path={self.path(socket)}{options}")

    def reconnecting(self) -> str:
        """Chardev option: come back after the peer has gone."""
        return ",reconnect-ms=200" if self.place.version("qemu-system-x86_64") >= (9, 2) else ",reconnect=1"

    def net(self, socket: str = "r.sock", device: str = "", chardev: str = "", netdev: str = "") -> tuple[str, ...]:
        """Arguments for a vhost-user network card."""
        # QEMU 7.2 crashes when the guest starts the card under TCG, with us or without, unless it has no interrupts
        # of its own
        if self.place.version("qemu-system-x86_64") < (8,):
            device += ",vectors=0"
        return (
            *self.chardev(socket, chardev),
            "-netdev",
            f"vhost-user,id=n,chardev=c{netdev}",
            "-device",
            f"virtio-net-pci,netdev=n{device}",
        )

    def monitor(self, name: str) -> Qmp:
        monitor = Qmp(self.path(name))
        self._monitors.append(monitor)
        return monitor

    def migrate(self, source: Qmp, to: str, within_s: float) -> None:
        """Move the guest, and end its first QEMU when it is gone."""
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
