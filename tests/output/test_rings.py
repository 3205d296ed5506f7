"""Chains of descriptors for people: what the device does with each buffer, in the order of the chain."""

from __future__ import annotations

import pytest

from vhostspy.memory.chain import Buffer, Chain
from vhostspy.memory.ring import Ring
from vhostspy.output.rings import chain_line, table


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


def below(ring: Ring, requests: list[str], chains: list[Chain]) -> list[str]:
    lines = table([ring], requests={0: requests}, chains={0: chains})
    return [line.strip() for line in lines[2:]]


def test_what_is_in_flight_below_its_ring() -> None:
    ring = Ring(0, "split", 64, True, True, 64, 0, 64)
    assert below(ring, ["4096 to write"] * 8, []) == ["4096 to write, 8 times", "and 56 more"]
    mixed = ["read 8 sectors at 0", "read 8 sectors at 0", "flush"]
    assert below(ring._replace(in_flight=3), mixed, []) == ["read 8 sectors at 0, 2 times", "flush"]
    chains = [Chain(head, (Buffer(0x1000, 16, False),)) for head in (4, 3)]
    assert below(ring._replace(in_flight=2), mixed[:2], chains) == [
        "read 8 sectors at 0", "chain 4: reads 16 at 0x1000", "read 8 sectors at 0", "chain 3: reads 16 at 0x1000",
    ]  # fmt: skip
    assert below(ring._replace(in_flight=0), [], []) == []
    # of a packed ring only descriptors are counted
    assert below(ring._replace(layout="packed"), ["4096 to write"], []) == ["4096 to write"]
