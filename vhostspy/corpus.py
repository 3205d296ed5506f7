"""Recorded front-ends by name, for whoever writes a back-end: what real programs say to a disk, a file system, a net.

The captures lie in the package (``vhostspy/captures``), each with a line in its README of the programs that made it.
``vhostspy replay --corpus`` plays them.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from vhostspy.errors import WrongUse
from vhostspy.nearest import nearest


class Scenario(NamedTuple):
    """One recorded front-end."""

    #: unique in the whole corpus
    name: str
    #: the capture, without its ending
    capture: str
    text: str
    #: what the back-end is, where it does not show in the session
    device: str | None = None

    @property
    def path(self) -> Path:
        """The capture's file. Raises WrongUse where this vhostspy came without it."""
        found = Path(str(files("vhostspy"))) / "captures" / f"{self.capture}.pcapng"
        if not found.is_file():
            raise WrongUse(f"{self.name}: {found} is not there: this vhostspy was installed without its captures")
        return found


#: the set's name -> what it is, and its front-ends
CORPUS: dict[str, tuple[str, tuple[Scenario, ...]]] = {
    "blk": (
        "a disk (virtio-blk)",
        (
            Scenario("qemu-7.2-seabios", "s", "QEMU 7.2, SeaBIOS alone: one queue, one start"),
            Scenario("qemu-7.2-blk", "c", "QEMU 7.2, two queues: started by SeaBIOS, and again by Linux"),
            Scenario("qemu-11.1-blk", "c-sid", "QEMU 11.1, the same: acknowledgements for kicks, calls and enabling"),
            Scenario("qemu-7.2-blk-reconnect", "j", "QEMU 7.2: three sessions, as after two crashes of the back-end"),
            Scenario("qemu-11.1-blk-reconnect", "j-sid", "QEMU 11.1, the same"),
            Scenario("qemu-7.2-blk-inflight", "ji", "QEMU 7.2 with an in-flight region"),
            Scenario("libblkio-1.5", "a-sid", "libblkio 1.5, two queues: acknowledgements wherever they may be had"),
        ),
    ),
    "fs": (
        "a file system (virtio-fs)",
        (
            Scenario("qemu-7.2-fs", "dC", "QEMU 7.2: a high priority queue", "fs"),
            Scenario("qemu-11.1-fs", "dR-sid", "QEMU 11.1: RESET_DEVICE before the start and after the end", "fs"),
        ),
    ),
    "net": (
        "a network (virtio-net)",
        (
            Scenario("qemu-7.2-net", "g", "QEMU 7.2: one memory table, status, rings enabled again and again"),
            Scenario("qemu-11.1-net", "g-sid", "QEMU 11.1, with interrupts"),
            Scenario("qemu-7.2-net-two-pairs", "gx", "QEMU 7.2, two queue pairs and an MTU"),
            Scenario("qemu-11.1-net-no-slots", "e-sid", "QEMU 11.1 before passt: no memory slots, no back-end channel"),
            Scenario("qemu-7.2-net-iommu", "l", "QEMU 7.2 with an IOMMU: IOTLB messages"),
            Scenario("qemu-11.1-net-iommu", "l-sid", "QEMU 11.1 with an IOMMU"),
            Scenario("dpdk-22.11-virtio-user", "b", "DPDK 22.11, net_virtio_user: two requests in one read"),
        ),
    ),
    "vsock": (
        "sockets (virtio-vsock)",
        (
            Scenario("qemu-7.2-vsock", "f-older-sid", "QEMU 7.2: no ring is acknowledged; the guest is connected to"),
            Scenario("qemu-11.1-vsock", "f-sid", "QEMU 11.1: the third queue stays with QEMU; the guest connects"),
            Scenario("qemu-11.1-vsock-listening", "f-listen-sid", "QEMU 11.1: the guest is connected to"),
        ),
    ),
    "gpu": (
        "a display (virtio-gpu)",
        (Scenario("qemu-11.1-gpu", "gpu-sid", "QEMU 11.1 with a screen: the display's own channel"),),
    ),
    "vfio-user": (
        "a PCI device (vfio-user), whose client is played",
        (Scenario("qemu-11.1-vfio-user", "v-sid", "QEMU 11.1: DMA regions, BARs sized by firmware and guest"),),
    ),
}


def scenarios(name: str) -> tuple[Scenario, ...]:
    """A set by its name, or one scenario by its own. Raises WrongUse where there is none."""
    if name in CORPUS:
        return CORPUS[name][1]
    found = tuple(one for _, ones in CORPUS.values() for one in ones if one.name == name)
    if not found:
        names = [*CORPUS, *(one.name for _, ones in CORPUS.values() for one in ones)]
        raise WrongUse(f"there is no set of front-ends {name!r}{nearest(name, names)}; --corpus alone lists them")
    return found


def listing() -> Iterator[str]:
    """What there is, for people."""
    width = max(len(one.name) for _, ones in CORPUS.values() for one in ones)
    for name, (text, ones) in CORPUS.items():
        yield f"{name}: {text}"
        yield from (f"  {one.name:<{width}}  {one.text}" for one in ones)
