"""Recorded front-ends of real programs, played to a back-end: no virtual machine, a second for each."""

import sys

import pytest

from vhostspy.corpus import Scenario, scenarios
from vhostspy.testing import Spy

BACK_END = [sys.executable, "-m", "vhostspy.demo.back_end", "--listen", "{back_end}"]


# what a recorded front-end does wrong by today's rules is no fault of this back-end
@pytest.mark.vhostspy(blame="back-end")
@pytest.mark.parametrize("front_end", scenarios("blk")[:3], ids=lambda one: one.name)
def test_a_recorded_front_end(vhostspy: Spy, front_end: Scenario) -> None:
    vhostspy.start(*BACK_END)
    vhostspy.replay(front_end)
