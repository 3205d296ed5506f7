"""The corpus before real back-ends of this machine: what a recorded front-end says is understood, and answered."""

from __future__ import annotations

import pytest

from vhostspy.corpus import Scenario, scenarios
from vhostspy.testing import Spy

from .place import HERE_PLACE

# rules about what the recorded front-end does say nothing about these back-ends
pytestmark = [pytest.mark.peers, pytest.mark.vhostspy(blame="back-end")]


@pytest.mark.parametrize("front_end", scenarios("blk"), ids=lambda one: one.name)
def test_a_disk_of_qemu_storage_daemon(vhostspy: Spy, front_end: Scenario) -> None:
    image = vhostspy.folder / "disk.img"
    image.write_bytes(bytes(1 << 20))
    vhostspy.start(
        HERE_PLACE.find("qemu-storage-daemon"),
        "--blockdev", f"driver=file,node-name=disk,filename={image}",
        "--export", "type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path={back_end},writable=on,num-queues=2",
    )  # fmt: skip
    outcome = vhostspy.replay(front_end)
    assert len(outcome.sessions) == len({session.number for session in outcome.sessions}) > 0


@pytest.mark.parametrize("front_end", scenarios("fs"), ids=lambda one: one.name)
def test_a_folder_of_virtiofsd(vhostspy: Spy, front_end: Scenario) -> None:
    shared = vhostspy.folder / "shared"
    shared.mkdir()
    vhostspy.start(
        HERE_PLACE.find("/usr/lib/qemu/virtiofsd"), "--socket-path={back_end}", "-o", f"source={shared}", "-o",
        "sandbox=chroot", "-f",
    )  # fmt: skip
    vhostspy.replay(front_end)
