"""Where the programs come from: this machine, or a chroot with those of Debian's unstable release."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

from tests import conftest

from .guest import initrd

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "vhostspy"

#: programs that no package puts on the search path
ELSEWHERE = ("/usr/lib/qemu", "/usr/libexec")

PACKAGES = {
    "busybox": "busybox-static",
    "dpdk-testpmd": "dpdk-dev",
    "gcc": "gcc",
    "qemu-storage-daemon": "qemu-system-common or qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "vhost-user-gpu": "qemu-system-gui",
    "virtiofsd": "virtiofsd",
    "/usr/lib/qemu/virtiofsd": "qemu-system-common up to 7.2",
}


def missing(what: str) -> NoReturn:
    """End the test: skipped, but failed where everything must be there (CI)."""
    conftest.missing(f"missing: {what}")


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
        # a path stays what it is when it is joined to a folder
        candidates = [str(Path(folder, program)) for folder in (*path.split(":"), *ELSEWHERE)]
        for candidate in candidates:
            if os.access(self.outside(candidate), os.X_OK):
                return candidate
        where = "" if self.root is None else f" in {self.root}"
        missing(f"{program}{where} (Debian package {PACKAGES.get(program, program)})")

    def command(self, folder: Path, arguments: list[str]) -> list[str]:
        """The command line that runs a program of the place; it sees ``folder`` under the same path.

        The mounts are in a mount namespace of the process's own, and vanish with it.
        """
        if "/" not in arguments[0] or arguments[0].startswith("/usr/"):
            arguments = [self.find(arguments[0]), *arguments[1:]]
        if self.root is None:
            return arguments
        mounts = 'for f in /dev /proc /sys "$1"; do mkdir -p "$0$f" && mount --rbind "$f" "$0$f" || exit 125; done'
        script = f'{mounts}; cd "$0" && root=$0 && f=$1 && shift && exec chroot "$root" env -C "$f" "$@"'
        return ["unshare", "--mount", "sh", "-c", script, str(self.root), str(folder), *arguments]

    def version(self, program: str) -> tuple[int, ...]:
        """The version that the program gives of itself, as numbers: (7, 2, 22)."""
        if program not in self._versions:
            command = self.command(Path("/tmp"), [program, "--version"])
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
SID_PLACE = Place(CACHE / "sid")
