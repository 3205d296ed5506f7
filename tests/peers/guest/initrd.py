"""The guest's initial file system, built without root, cpio or kmod: busybox, ``init`` and the kernel modules it needs.

The archive is uncompressed "newc" cpio (kernel: Documentation/driver-api/early-userspace/buffer-format.rst). Modules
come with those they depend on, in the order they must be loaded, which ``init`` reads from ``/mod/order``; those that
one test alone needs are listed in ``/mod/TEST``.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

MODULES = ("virtio_pci", "virtio_blk", "virtiofs", "virtio_net", "vmw_vsock_virtio_transport")
#: loaded by one test alone, by its name: they are many, and take long under an emulator
LATER = {"gpu": ("virtio_gpu",)}
FOLDERS = ("bin", "data", "dev", "etc", "mnt", "mod", "proc", "sys", "usr", "usr/share", "usr/share/udhcpc")

FOLDER, FILE, LINK, CHARACTER_DEVICE = 0o040000, 0o100000, 0o120000, 0o020000


class Archive:
    """A cpio archive under construction."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._inode = 0

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        """One entry; ``device`` is the major and minor number of a device node."""
        self._inode += 1
        named = name.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device of the file (2), device node (2), name's size, checksum
        numbers = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(named), 0)
        head = b"070701" + b"".join(b"%08x" % number for number in numbers) + named
        self._parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]

    def finish(self) -> bytes:
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)


def _uncompressed(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _lines(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()


def load_order(folder: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """The wanted modules under ``folder`` and all they depend on, in loading order; what is built in has no file."""
    files = {
        match[1].replace("-", "_"): path
        for path in sorted(folder.rglob("*.ko*"))
        if (match := re.fullmatch(r"(.*)\.ko(\.xz)?", path.name))
    }
    order: dict[str, bytes] = {}
    begun: set[str] = set()

    def need(name: str) -> None:
        name = name.replace("-", "_")
        if name in begun or name not in files:
            return
        begun.add(name)
        data = _uncompressed(files[name])
        # the module's .modinfo section is a list of NUL-terminated KEY=VALUE strings
        before = b" ".join(re.findall(rb"\0softdep=pre: ([^\0]*)", b"\0" + data)).split()
        depends = b",".join(re.findall(rb"\0depends=([^\0]*)", b"\0" + data)).split(b",")
        for other in (*before, *depends):
            need(other.decode())
        order[name] = data

    for name in wanted:
        need(name)
    return order


def build(kernel_modules: Path, busybox: Path, init: Path, programs: Mapping[str, Path]) -> bytes:
    """The archive; ``programs`` are more files for the guest's /bin, by name. All become executable."""
    archive = Archive()
    for name in FOLDERS:
        archive.add(name, FOLDER | 0o755)
    archive.add("dev/console", CHARACTER_DEVICE | 0o600, device=(5, 1))
    archive.add("dev/null", CHARACTER_DEVICE | 0o666, device=(1, 3))
    archive.add("init", FILE | 0o755, init.read_bytes())
    archive.add("bin/sh", LINK | 0o777, b"busybox")
    for name, path in {"busybox": busybox, **programs}.items():
        archive.add(f"bin/{name}", FILE | 0o755, path.read_bytes())
    modules = load_order(kernel_modules, MODULES)
    archive.add("mod/order", FILE | 0o644, _lines(modules))
    for test, wanted in LATER.items():
        later = load_order(kernel_modules, wanted)
        archive.add(f"mod/{test}", FILE | 0o644, _lines(name for name in later if name not in modules))
        modules = {**later, **modules}
    for name, data in modules.items():
        archive.add(f"mod/{name}.ko", FILE | 0o644, data)
    return archive.finish()
