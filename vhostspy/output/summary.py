"""What a whole capture came to: its sessions as they ended, counts, slow and missing answers.

It is kept as items pass by, in counters only, so that it costs the same for a hundred messages and for a million.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vhostspy.message import Event, Message, end_name
from vhostspy.session.state import Session

from .overview import session_lines, session_values
from .units import duration, plural

#: what is listed one by one; the rest is counted
MOST_SESSIONS = 8
MOST_SLOW = 3
MOST_UNANSWERED = 10
_MOST_AWAITED = 10_000
_MOST_NAMES = 200


class _Slow(NamedTuple):
    latency_ns: int
    no: int
    request: int
    name: str


class Summary:
    """Counts one capture's items; ``lines`` and ``values`` say what came of it."""

    def __init__(self) -> None:
        self.first: Message | None = None
        self.last: Message | None = None
        #: (protocol, channel, who asked, name or number, kind) -> how many
        self.counts: dict[tuple[str, str, int, str, str], int] = {}
        self.slowest: list[_Slow] = []
        self.awaited: dict[tuple[int, int], str] = {}
        self.unanswered = 0
        self.failed = 0
        #: with a filter, how many matched; all are counted
        self.matched: int | None = None
        self.findings: dict[str, int] = {}

    def add(self, message: Message) -> None:
        kind = message.kind
        name = message.name
        if name is None:
            name = "(unread octets)" if kind == "raw" else f"unknown {message.id}"
        key = (message.protocol, message.channel, message.sender, name, kind)
        counts = self.counts
        if key in counts:
            counts[key] += 1
        else:
            if len(counts) >= _MOST_NAMES:
                key = (*key[:3], "others", kind)  # numbers that no row knows may be anything
            counts[key] = counts.get(key, 0) + 1
        if self.first is None:
            self.first = message
        self.last = message
        if message.awaited:
            if len(self.awaited) < _MOST_AWAITED:
                self.awaited[message.session, message.no] = name
            else:
                self.unanswered += 1
        elif message.answers is not None:
            if self.awaited.pop((message.session, message.answers), None) is None and self.unanswered:
                self.unanswered -= 1
            latency = message.latency_ns or 0
            if len(self.slowest) < MOST_SLOW or latency > self.slowest[-1].latency_ns:
                self.slowest.append(_Slow(latency, message.no, message.answers, name))
                self.slowest.sort(key=lambda one: -one.latency_ns)
                del self.slowest[MOST_SLOW:]
            if message.failed:
                self.failed += 1
        for finding in message.findings:
            self.findings[finding.severity] = self.findings.get(finding.severity, 0) + 1

    @property
    def messages(self) -> int:
        return sum(self.counts.values())

    @property
    def raw(self) -> int:
        """Pieces that could not be framed."""
        return sum(count for (*_, kind), count in self.counts.items() if kind == "raw")

    @property
    def duration_ns(self) -> int:
        """From the first message to the last."""
        return (
            self.last.monotonic_ns - self.first.monotonic_ns if self.first is not None and self.last is not None else 0
        )

    def as_event(self, sessions: Mapping[int, Session]) -> Event:
        """The last line of JSON output; its time is the last message's."""
        text, facts = self.text(sessions), self.values(sessions)
        time_ns, monotonic_ns = (self.last.time_ns, self.last.monotonic_ns) if self.last is not None else (0, 0)
        return Event("summary", time_ns, monotonic_ns, 0, "", 0, None, "", text, facts)

    def values(self, sessions: Mapping[int, Session]) -> dict[str, Any]:
        """The summary as an event's facts, for programs."""
        return {
            "messages": self.messages,
            "raw": self.raw,
            "failed": self.failed,
            "unanswered": [no for _, no in self.awaited],
            "duration_ns": self.duration_ns,
            "names": [
                {"protocol": protocol, "channel": channel, "from": end_name(protocol, sender), "message": name,
                 "kind": kind, "count": count}
                for (protocol, channel, sender, name, kind), count in self.counts.items()
            ],
            "slowest": [
                {"message": slow.name, "no": slow.no, "answers": slow.request, "latency_ns": slow.latency_ns}
                for slow in self.slowest
            ],
            "sessions": [session_values(session) for session in sessions.values()],
        }  # fmt: skip

    def text(self, sessions: Mapping[int, Session]) -> str:
        """One sentence."""
        parts = [plural(self.messages, "message")]
        if len(sessions) > 1:
            parts[0] += f" in {max(sessions)} sessions"
        if self.matched is not None:
            parts.append(f"{self.matched or 'none'} shown")
        if self.messages > 1:
            parts.append(duration(self.duration_ns))
        if self.failed:
            parts.append(f"{self.failed} refused")
        waiting = len(self.awaited) + self.unanswered
        if waiting:
            parts.append(f"{waiting} unanswered")
        parts += [plural(self.findings[each], each) for each in ("error", "warning") if self.findings.get(each)]
        if self.raw:
            parts.append(f"{plural(self.raw, 'piece')} that could not be read")
        return ", ".join(parts)

    def lines(self, sessions: Mapping[int, Session]) -> list[str]:
        """The summary for people."""
        lines = ["", self.text(sessions)]
        shown = list(sessions.values())[-MOST_SESSIONS:]
        first = min(sessions, default=1)
        if shown and shown[0].number > first:
            lines += ["", f"session {first} to {shown[0].number - 1}: not listed"]
        for session in shown:
            lines += ["", *session_lines(session)]
        if self.counts:
            lines += ["", "messages", *self._count_lines()]
        if self.slowest:
            lines += ["", "slowest answers"]
            lines += [f"  {slow.name:<26}#{slow.request}  {duration(slow.latency_ns):>7}" for slow in self.slowest]
        if self.awaited:
            lines += ["", "unanswered"]
            lines += [f"  {name:<26}#{no}" for (_, no), name in list(self.awaited.items())[:MOST_UNANSWERED]]
            more = len(self.awaited) + self.unanswered - MOST_UNANSWERED
            if more > 0:
                lines.append(f"  and {more} more")
        return lines

    def _count_lines(self) -> Iterable[str]:
        """A line a message: requests and what came back, in the order they first came."""
        rows: dict[tuple[str, str, int, str], dict[str, int]] = {}
        for (protocol, channel, sender, name, kind), count in self.counts.items():
            asker = sender if kind in ("request", "raw") else 1 - sender
            row = rows.setdefault((protocol, channel, asker, name), {})
            row[kind] = row.get(kind, 0) + count
        several = len({(channel, asker) for _, channel, asker, _ in rows}) > 1
        for (_, channel, _, name), row in rows.items():
            asked = row.get("request", 0) + row.get("raw", 0)
            line = f"  {name:<26}{asked:>8}"
            answers = [plural(row[kind], word) for kind, word in (("reply", "answer"), ("ack", "ack")) if row.get(kind)]
            if answers:
                line += f"  {', '.join(answers)}"
            if several and channel != "main":
                line += f"  ({channel} channel)"
            yield line
