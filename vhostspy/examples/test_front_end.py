"""For authors of front-ends: the test is the back-end. FRONT_END is to be your program; here it is the demo's."""

import sys

from vhostspy.testing import Spy

FRONT_END = [sys.executable, "-m", "vhostspy.demo.front_end", "--connect", "{front_end}"]


def test_it_takes_no_feature_that_is_not_offered(vhostspy: Spy) -> None:
    program = vhostspy.start(*FRONT_END)
    back_end = vhostspy.back_end()
    offer = {"GET_FEATURES": {"features": ["VERSION_1"]}}
    taken = back_end.serve("SET_FEATURES", offer)
    assert taken.names("features") == ["VERSION_1"]
    back_end.close()
    assert program.wait() != 0  # and it says so when its back-end goes away
