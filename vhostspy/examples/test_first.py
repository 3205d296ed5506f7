"""A back-end author's first test. BACK_END is to be your own program; here it is the one of ``vhostspy demo``."""

import sys

from vhostspy.testing import Spy

BACK_END = [sys.executable, "-m", "vhostspy.demo.back_end", "--listen", "{back_end}"]


def test_a_ring_starts_and_stops(vhostspy: Spy) -> None:
    vhostspy.start(*BACK_END)
    front_end = vhostspy.front_end()
    offered = front_end.ask("GET_FEATURES")
    assert "VERSION_1" in offered.names("features")
    front_end.negotiate()
    front_end.share_memory(1 << 20)
    front_end.start_ring(0, size=128)
    assert front_end.stop_ring(0) == 0
