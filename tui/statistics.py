"""The statistics page: messages by kind, latency by message, findings by rule, kicks. Counted in slices."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from time import monotonic
from typing import NamedTuple

from vhostspy.memory.ring import Ring
from vhostspy.memory.sample import rings_of
from vhostspy.message import SEVERITIES, Event, end_name
from vhostspy.output.units import duration, plural
from vhostspy.rules.catalogue import BY_ID

from .columns import SIGNS
from .feed import Feed
from .line import BLANK, Line, line

#: edges of the histogram's bars: 10 µs, 30 µs, … 10 s
EDGES_NS = tuple(base * 10**power for power in range(4, 10) for base in (1, 3))
_BARS = " ▁▂▃▄▅▆▇█"
_STRIDE = 256
#: requests that wake a ring without a descriptor
_KICKS = ("VRING_KICK",)


class Key(NamedTuple):
    protocol: str
    channel: str
    #: the end that asks
    asker: int
    name: str


class Count:
    """One sort of message."""

    __slots__ = ("acks", "answers", "findings", "latencies", "requests", "slowest", "unanswered")

    def __init__(self) -> None:
        self.requests = self.answers = self.acks = self.unanswered = 0
        self.latencies: array[int] = array("Q")
        #: (nanoseconds, row of the answer)
        self.slowest: tuple[int, int] = (-1, 0)


class Tally:
    """What a feed came to so far."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.at = 0
        self.counts: dict[Key, Count] = {}
        self.raw = self.fds = 0
        #: (session, ring) -> its last sample
        self.rings: dict[tuple[int, int], Ring] = {}

    def advance(self, budget_s: float = 0.03) -> bool:
        """Count on for a while; True while there is more."""
        end = monotonic() + budget_s
        feed = self.feed
        while self.at < feed.studied:
            for row in range(self.at, min(self.at + _STRIDE, feed.studied)):
                self._add(row)
                self.at = row + 1
            if monotonic() > end:
                break
        return self.at < feed.studied or feed.live

    def _add(self, row: int) -> None:
        glance = self.feed.glance(row)
        if not glance.no:
            item = self.feed.item(row)
            if isinstance(item, Event) and item.event == "sample":
                for ring in rings_of(item.facts):
                    self.rings[item.session, ring.number] = ring
            return
        self.fds += glance.fds
        if glance.kind == "raw":
            self.raw += 1
            return
        asks = glance.kind == "request"
        key = Key(
            glance.protocol, glance.channel, glance.sender if asks else 1 - min(glance.sender, 1),
            glance.name or f"unknown {glance.id}",
        )  # fmt: skip
        count = self.counts.get(key)
        if count is None:
            count = self.counts[key] = Count()
        if asks:
            count.requests += 1
            if glance.awaited and glance.partner is None:
                count.unanswered += 1
            return
        if glance.kind == "ack":
            count.acks += 1
        else:
            count.answers += 1
        if glance.latency_ns is not None:
            count.latencies.append(glance.latency_ns)
            count.slowest = max(count.slowest, (glance.latency_ns, row))


def histogram(latencies: array[int]) -> str:
    """A bar for each step from 10 µs to 10 s, the highest for the most."""
    counts = [0] * (len(EDGES_NS) + 1)
    for latency in latencies:
        counts[sum(latency >= edge for edge in EDGES_NS)] += 1
    most = max(counts, default=0)
    return "".join(_BARS[-(-count * 8 // most) if most else 0] for count in counts)


def statistics_lines(tally: Tally, width: int) -> list[Line]:
    return list(_lines(tally, width))


def _lines(tally: Tally, width: int) -> Iterator[Line]:
    feed = tally.feed
    done = f"  {tally.at * 100 // max(1, feed.rows)} % counted" if tally.at < feed.rows else ""
    counts = feed.counts()
    words = [plural(counts.messages, "message"), plural(counts.sessions, "session"), plural(tally.fds, "descriptor")]
    if tally.raw:
        words.append(f"{plural(tally.raw, 'piece')} that could not be read")
    yield line(", ".join(words), (done, "title"))
    yield BLANK
    wide = width >= 90
    head = f"{'message':<26}{'asked':>8}{'answers':>9}{'waits':>7}{'median':>10}{'worst':>10}"
    yield line((head + ("   10 µs … 10 s" if wide else ""), "dim"))
    group = None
    for key, count in sorted(tally.counts.items(), key=lambda pair: (pair[0][:3], -pair[1].requests)):
        if key[:3] != group:
            group = key[:3]
            end = end_name(key.protocol, min(key.asker, 2))
            yield line((f"{key.protocol} {key.channel}, {end} asks", "title"))
        yield _count(key, count, wide)
    kicks = sum(count.requests for key, count in tally.counts.items() if key.name in _KICKS)
    if kicks:
        yield BLANK
        yield line(("kicks by message  ", "dim"), (str(kicks), "value"))
    yield from _kicks(tally)
    yield from _findings(feed)


def _count(key: Key, count: Count, wide: bool) -> Line:
    answers = count.answers + count.acks
    sorted_ = sorted(count.latencies)
    median = duration(sorted_[len(sorted_) // 2]) if sorted_ else ""
    worst = duration(count.slowest[0]) if sorted_ else ""
    return line(
        (f"{key.name:<26}", "name"),
        (f"{count.requests:>8}", "plain"),
        (f"{answers or '':>9}", "dim"),
        (f"{count.unanswered or '':>7}", "warning"),
        (f"{median:>10}", "value"),
        (f"{worst:>10}", "plain"),
        (f"   {histogram(count.latencies)}" if wide and sorted_ else "", "ok"),
        key=("count", *key),
        row=count.slowest[1] if sorted_ else None,
    )


def _kicks(tally: Tally) -> Iterator[Line]:
    """Kicks and calls through eventfds, where samples have counted them."""
    counted = {key: ring for key, ring in tally.rings.items() if ring.kicks is not None or ring.calls is not None}
    if counted:
        yield BLANK
        yield line(("kicks and calls, by the samples", "title"))
    for (session, number), ring in sorted(counted.items()):
        least = "" if ring.exact else "at least "
        both = ((ring.kicks, "kicks"), (ring.calls, "calls"))
        words = "  ".join(f"{least}{count} {what}" for count, what in both if count is not None)
        yield line((f"session {session} ring {number:<4}", "name"), (words, "value"), key=("ring", session, number))


def _findings(feed: Feed) -> Iterator[Line]:
    by_rule = feed.findings_by_rule()
    if not by_rule:
        return
    yield BLANK
    yield line(("findings by rule", "title"))
    for (rule, severity), count in sorted(by_rule.items(), key=lambda pair: (-SEVERITIES[pair[0][1]], -pair[1])):
        known = BY_ID.get(rule)
        sign = SIGNS[SEVERITIES[severity]]
        yield line(
            (f"{sign} ", severity), (f"{rule:<12}", "name"), (f"{count:>6}  ", "plain"),
            (known.text if known is not None else "", "dim"), key=("rule", rule), subject=rule,
        )  # fmt: skip
