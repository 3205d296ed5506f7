"""QEMU's screen, and the graphics back-end of QEMU's contributions: the guest draws, and its pixels pass."""

from __future__ import annotations

import pytest

from .bench import LINUX, SID_ONLY, Bench

pytestmark = [pytest.mark.peers, SID_ONLY]


def test_gpu_linux_and_contribs_back_end(bench: Bench) -> None:
    """A small screen, so that what is drawn is small too; there is no graphics card, so pixels come by message."""
    back_end = bench.start(f"vhost-user-gpu --socket-path={bench.path('be.sock')}")
    bench.wait_for_socket("be.sock", back_end)
    relay = bench.relay()
    device = "vhost-user-gpu-pci,chardev=c,xres=640,yres=480"
    qemu = bench.linux("video=Virtual-1:160x120 t=gpu", f"{bench.chardev()} -device {device}")
    qemu.expect("MARK-OK gpu", LINUX)
    assert qemu.ended(LINUX) == 0
    assert "screen virtio_gpudrmfb 160,120" in qemu.output
    bench.matches(relay, "gpu")
