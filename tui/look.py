"""Rings as they are: of a live session by its memory, of a recorded one by the samples in its capture."""

from __future__ import annotations

from collections.abc import Iterator
from time import localtime, monotonic, strftime
from typing import TYPE_CHECKING

from vhostspy.inspection import Asked, Attachment, NoRelay, Seen
from vhostspy.inspection.sampling import facts_of
from vhostspy.memory.inflight import Queue
from vhostspy.memory.progress import Pace, Progress
from vhostspy.memory.ring import Ring
from vhostspy.memory.sample import rings_of
from vhostspy.message import SEVERITIES, Event, Finding, end_name
from vhostspy.output.rings import dirty_lines, inflight_lines, table
from vhostspy.output.units import escape, seconds
from vhostspy.rules.negotiation import IOMMU
from vhostspy.session.state import Session

from .columns import SIGNS
from .feed import Feed
from .line import Line, line, wrapped

if TYPE_CHECKING:
    from vhostspy.rules.engine import Rules

#: seconds between two looks into memory
EVERY_S = 0.5
#: so many rows back a sample is looked for
_BACK = 5000
#: so many records of samples tell how a ring came to where it is
_MOST_SAMPLES = 100
#: so many findings of a session are shown, the latest ones
_MOST_FOUND = 8


class Looking:
    """Looks into a live session's memory, which the relay's keeper hands over; from this process, and only reads.

    ``rules``: what is seen is held against them.
    """

    def __init__(self, asked: Asked, rules: Rules | None = None) -> None:
        self._attachment = Attachment(asked)
        self._rules = rules
        self._progress = Progress()
        self._lines: list[Line] = []
        #: session -> when something was found in its memory, and what
        self._found: dict[int, list[tuple[str, Finding]]] = {}
        self._at = -EVERY_S

    def lines(self, session: Session, width: int) -> list[Line]:
        """What is seen now, and was found so far; at most so often is it looked at anew."""
        if monotonic() - self._at >= EVERY_S:
            self._at = monotonic()
            self._lines = self._look(session)
        return [*self._lines, *_found(session, self._found.get(session.number, []), width)]

    def _judge(self, seen: Seen) -> None:
        if self._rules is None:
            return
        session = seen.session
        sample = Event(
            "sample", seen.time_ns, seen.monotonic_ns, session.number, "", 0, None, session.protocol, "", facts_of(seen)
        )
        at = strftime("%H:%M:%S", localtime(seen.time_ns / 1e9))
        found = self._found.setdefault(session.number, [])
        found += [(at, each) for each in self._rules.judge_event(session, sample, session)]
        del found[:-_MOST_FOUND]

    def _look(self, session: Session) -> list[Line]:
        try:
            if (session.virtio_agreed or 0) & IOMMU:
                self._attachment.follow()  # the rings' addresses are translated by messages
            seen = self._attachment.look_at(session)
            seen = seen if seen.why else self._attachment.with_problems(seen)
        except NoRelay as gone:
            return [line((str(gone), "warning"))]
        if seen.why:
            return [line((escape(seen.why), "warning"))]
        self._judge(seen)
        paces: dict[int, Pace] = {
            ring.number: self._progress.feed(session.number, ring, seen.monotonic_ns) for ring in seen.rings
        }
        return [
            line(("in memory, now", "title")),
            *_lines(table(seen.rings, paces, {}, session.device), seen.inflight),
            *(line(("  ", "plain"), (text, "dim")) for text in dirty_lines(seen.dirty)),
        ]

    def close(self) -> None:
        self._attachment.close()


def _found(session: Session, found: list[tuple[str, Finding]], width: int) -> Iterator[Line]:
    """Below the rings: what is wrong with them, and since when."""
    for place, (at, one) in enumerate(found):
        who = "" if one.who not in (0, 1) else f"{end_name(session.protocol, one.who)}: "
        role, key = one.severity, ("found", place)
        sign = SIGNS[SEVERITIES[one.severity]]
        first = ((f"  {at}  ", "dim"), (f"{sign} ", role))
        text = f"{one.severity}: {who}{escape(one.text)} ({one.rule})"
        yield from wrapped(text, role, width, first=first, key=key, subject=one.rule)


def _lines(texts: list[str], inflight: tuple[Queue, ...]) -> list[Line]:
    head, *rest = texts
    lines = [line(("  ", "plain"), (head, "dim"))]
    lines += [line(("  ", "plain"), (text, "value")) for text in rest]
    lines += [line(("  ", "plain"), (text, "dim")) for text in inflight_lines(inflight)]
    return lines


def sampled_lines(feed: Feed, row: int, session: Session) -> list[Line]:
    """The rings of a session as last seen before a row, if that is near, and since when they stood still."""
    found = _samples(feed, row, session.number)
    if not found:
        return []
    progress = Progress()
    rings: dict[int, Ring] = {}
    paces: dict[int, Pace] = {}
    # of many rings a sample is several records
    for _, sample in reversed(found):
        for ring in rings_of(sample.facts):
            rings[ring.number] = ring
            paces[ring.number] = progress.feed(session.number, ring, sample.monotonic_ns)
    at, last = found[0]
    when = seconds(last.monotonic_ns - feed.start_ns)
    shown = [rings[number] for number in sorted(rings)]
    texts = table(shown, paces, {}, session.device) if rings_of(last.facts) else [escape(last.text)]
    return [line(("in memory, at ", "title"), (f"{when} s", "title"), row=at), *_lines(texts, ())]


def _samples(feed: Feed, row: int, session: int) -> list[tuple[int, Event]]:
    """The last samples of a session before a row, and their rows; the latest first."""
    found: list[tuple[int, Event]] = []
    for at in range(row, max(-1, row - _BACK), -1):
        glance = feed.glance(at)
        if glance.no or glance.session != session:
            continue
        item = feed.item(at)
        if isinstance(item, Event) and item.event == "sample":
            found.append((at, item))
            if len(found) == _MOST_SAMPLES:
                break
    return found
