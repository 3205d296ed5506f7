"""Rings as they are: of a live session by its memory, of a recorded one by the samples in its capture."""

from __future__ import annotations

from time import monotonic

from vhostspy.inspection import Asked, Attachment, NoRelay
from vhostspy.memory.inflight import Queue
from vhostspy.memory.progress import Pace, Progress
from vhostspy.memory.ring import Ring
from vhostspy.memory.sample import rings_of
from vhostspy.message import Event
from vhostspy.output.rings import dirty_lines, inflight_lines, table
from vhostspy.output.units import escape, seconds
from vhostspy.rules.negotiation import IOMMU
from vhostspy.session.state import Session

from .feed import Feed
from .line import Line, line

#: seconds between two looks into memory
EVERY_S = 0.5
#: so many rows back a sample is looked for
_BACK = 5000
#: so many records of samples tell how a ring came to where it is
_MOST_SAMPLES = 100


class Looking:
    """Looks into a live session's memory, which the relay's keeper hands over; from this process, and only reads."""

    def __init__(self, asked: Asked) -> None:
        self._attachment = Attachment(asked)
        self._progress = Progress()
        self._lines: list[Line] = []
        self._at = -EVERY_S

    def lines(self, session: Session) -> list[Line]:
        """What is seen now; at most so often is it looked at anew."""
        if monotonic() - self._at >= EVERY_S:
            self._at = monotonic()
            self._lines = self._look(session)
        return self._lines

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
