"""QEMU's vfio-user client, and a PCI device of our own: the guest finds it and uses it."""

from __future__ import annotations

import json
import sys

import pytest

from vhostspy.capture.reader import Reader
from vhostspy.message import Message
from vhostspy.pipeline import Pipeline

from .bench import LINUX, SID_ONLY, Bench
from .place import HERE_PLACE, ROOT

pytestmark = [pytest.mark.peers, SID_ONLY]


def test_v_linux_and_a_device_in_python(bench: Bench) -> None:
    """The guest reads and writes registers; the device fetches from its memory, by descriptor and by message."""
    server = bench.start(
        f"{sys.executable} -m tests.vfio_user.server {bench.path('be.sock')}",
        name="server", place=HERE_PLACE, PYTHONPATH=str(ROOT),
    )  # fmt: skip
    bench.wait_for_socket("be.sock", server)
    relay = bench.relay()
    device = json.dumps({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(bench.path("r.sock"))}})
    qemu = bench.linux("t=pci", f"-device '{device}'")
    qemu.expect("MARK-OK pci", LINUX)
    assert qemu.ended(LINUX) == 0
    assert "identity 0x59505356" in qemu.output
    if relay is None:
        return
    bench.matches(relay, "v")
    pipeline = Pipeline()
    with Reader(relay.capture) as reader:
        messages = [item for record in reader for item in pipeline.feed(record) if isinstance(item, Message)]
    names = {message.name for message in messages}
    assert {"VERSION", "DMA_MAP", "DEVICE_GET_REGION_INFO", "REGION_READ", "REGION_WRITE", "DEVICE_SET_IRQS"} <= names
    for message in messages:
        assert message.row is not None
        assert not message.decoded.rest and not message.decoded.missing, message
        assert not message.is_reply or message.answers is not None, message
    # the guest's memory was there by descriptor, the firmware was not; here a processor begins
    (firmware,) = [message for message in messages if message.name == "DMA_READ" and message.is_reply]
    assert firmware.fields["data"][:5] == bytes.fromhex("ea5be000f0")
