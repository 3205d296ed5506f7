"""What came of a replay: values, and the sentences that people read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vhostspy.compare import Difference, told
from vhostspy.message import Message


class Mismatch(NamedTuple):
    """Something is not as it was recorded. Numbers of what came are those of the replay (of its own capture)."""

    session: int
    expected: Message | None
    came: Message | None
    differences: tuple[Difference, ...] = ()
    #: where the two messages do not say it by themselves: why the one did not come, what became of the other
    text: str = ""

    def lines(self) -> Iterator[str]:
        lines = list(told(self.expected, self.came, self.differences))
        if self.text and lines:
            lines[0] += f": {self.text}"
        yield from lines or [self.text]

    def __str__(self) -> str:
        return "\n".join(self.lines())


class Played(NamedTuple):
    """One session of the record, as it went."""

    number: int
    #: messages sent, and messages that came and had a place in the record
    sent: int
    matched: int
    mismatches: tuple[Mismatch, ...]
    notes: tuple[str, ...]
    #: how it ended, in a sentence
    ended: str
    #: from its first message to its last, in nanoseconds
    took_ns: int = 0
    #: all that passed, as it passed
    messages: tuple[Message, ...] = ()


class Outcome(NamedTuple):
    """All of a replay."""

    name: str
    #: rows.FRONT_END or rows.BACK_END: the side that was played
    side: int
    sessions: tuple[Played, ...] = ()
    notes: tuple[str, ...] = ()
    #: a peer or the system failed; the replay ended there
    failure: str = ""

    @property
    def status(self) -> int:
        """The exit status: 0 as recorded, 1 a mismatch, 3 a failure."""
        return 3 if self.failure else 1 if self.mismatches else 0

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        return tuple(one for session in self.sessions for one in session.mismatches)

    @property
    def sent(self) -> int:
        return sum(session.sent for session in self.sessions)

    @property
    def matched(self) -> int:
        return sum(session.matched for session in self.sessions)

    @property
    def text(self) -> str:
        """For people: what is wrong, then a line a session, then the sum of it."""
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        for session in self.sessions:
            for one in session.mismatches:
                yield from one.lines()
            for note in session.notes:
                yield f"session {session.number}: {note}"
            yield (
                f"session {session.number}: {_count(session.sent)} sent, {session.matched} came as recorded, "
                f"{len(session.mismatches)} did not; {session.ended}"
            )
        yield from self.notes
        if self.failure:
            yield self.failure
        yield self.sentence

    @property
    def sentence(self) -> str:
        count = len(self.mismatches)
        if self.failure:
            return f"{self.name}: the replay failed"
        if count:
            return f"{self.name}: not as recorded, {count} mismatch{'' if count == 1 else 'es'}"
        return f"{self.name}: as recorded"


def _count(number: int) -> str:
    return f"{number} message{'' if number == 1 else 's'}"
