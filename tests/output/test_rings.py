"""Chains of descriptors for people: what the device does with each buffer, in the order of the chain."""

from __future__ import annotations

import pytest

from vhostspy.memory.chain import Buffer, Chain
from vhostspy.output.rings import chain_line


@pytest.mark.parametrize(
    "chain, text",
    [
        (
            Chain(4, (Buffer(0x1000, 16, False), Buffer(0x2000, 4096, True), Buffer(0x1010, 1, True))),
            "chain 4: reads 16 at 0x1000, writes 4,096 at 0x2000 and 1 at 0x1010",
        ),
        (Chain(0, (Buffer(0, 1526, True),), True), "chain 0, by an indirect table: writes 1,526 at 0x0"),
        (Chain(7, (), False, "descriptor 64 in a table of 64"), "chain 7: descriptor 64 in a table of 64"),
        (
            Chain(1, tuple(Buffer(page << 12, 4096, False) for page in range(20))),
            "chain 1: reads " + " and ".join(f"4,096 at {page << 12:#x}" for page in range(16)) + ", 4 more",
        ),
    ],
)
def test_a_chain(chain: Chain, text: str) -> None:
    assert chain_line(chain) == text
