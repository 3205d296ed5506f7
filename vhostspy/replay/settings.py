"""How to play: which side, how strictly, and how long to wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from vhostspy.compare import Strictness
from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.message import Message

#: what the sides are called
SIDES = {"front-end": FRONT_END, "back-end": BACK_END, "client": FRONT_END, "server": BACK_END}
#: how long an answer may take, and how long a front-end may take to go on, in seconds
ANSWER_S, FRONT_END_S = 10.0, 60.0

#: what a hook makes of a message that is to be sent: see ``edit``
Edit = Callable[[Message], object]


class Settings(NamedTuple):
    """How to play."""

    #: rows.FRONT_END or rows.BACK_END: the side that is played
    side: int
    strictness: Strictness = Strictness.SEMANTIC
    #: what becomes of a request that the record does not have
    unmatched: Literal["fail", "nack", "close"] = "fail"
    timing: Literal["causes", "original"] = "causes"
    #: the longest wait for one message, in seconds; None: ANSWER_S as front-end, FRONT_END_S as back-end
    timeout_s: float | None = None
    edit: Edit | None = None
    #: is told in a sentence what is waited for, where that takes longer
    say: Callable[[str], None] | None = None

    @property
    def longest_s(self) -> float:
        if self.timeout_s is not None:
            return self.timeout_s
        return ANSWER_S if self.side == FRONT_END else FRONT_END_S
