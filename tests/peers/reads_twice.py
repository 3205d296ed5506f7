"""A back-end with a bug that real ones had: it reads its kick eventfd twice, and the second kick is lost.

It serves a disk, as the demo's does, and well, until SIGUSR1: from then on it reads the eventfd, carries out what is
available, and reads once more before it waits again. The driver's next kick, if it is quick, goes with that.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from vhostspy.demo.back_end import FEATURES, BackEnd
from vhostspy.demo.block import Disk
from vhostspy.demo.endpoint import Listener
from vhostspy.demo.numbers import Feature, bits
from vhostspy.demo.rings import Rings

EVENT_IDX = 1 << 29


class ForgetfulRings(Rings):
    """With EVENT_IDX it says behind which index it wants to be kicked, as real devices do."""

    forgets = event_idx = False

    def process(self, index: int) -> None:
        super().process(index)
        vring = self.rings[index]
        while self.event_idx and vring.ring is not None and vring.addresses is not None:
            region, at = self._sharing.memory.at_user(vring.addresses.used + 4 + 8 * vring.size, 2)
            region.words[at // 2] = vring.ring.next_available
            if not vring.ring.pending():
                break
            super().process(index)  # it came before the driver could know

    def kicked(self, index: int, events: int) -> None:
        super().kicked(index, events)
        kick = self.rings[index].fds.get("kick")
        if not ForgetfulRings.forgets or kick is None:
            return
        if select.select([kick.fileno()], [], [], 5)[0]:
            os.read(kick.fileno(), 8)
            print(f"KICK-LOST {time.time_ns()}", flush=True)


class ReadsTwice(BackEnd):
    RINGS = ForgetfulRings


def main() -> None:
    """``reads_twice SOCKET`` serves one connection; ``reads_twice SOCKET event-idx`` with that feature."""
    socket, *options = sys.argv[1:]
    ForgetfulRings.event_idx = bool(options)
    features = FEATURES & ~bits(Feature.LOG_ALL) | (EVENT_IDX if options else 0)
    with ReadsTwice(Disk(), queues=1, features=features, log=print) as device, Listener(socket) as listener:
        signal.signal(signal.SIGUSR1, lambda *_: setattr(ForgetfulRings, "forgets", True))
        signal.signal(signal.SIGTERM, lambda *_: device.stop())
        connection = listener.accept(20)
        assert connection is not None
        device.serve(connection)


if __name__ == "__main__":
    main()
