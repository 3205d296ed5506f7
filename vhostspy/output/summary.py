"""What a whole capture came to: agreements, memory, rings, channels, counts, slow and missing answers, who closed
first.

It is kept as items pass by, in counters only, so that it costs the same for a hundred messages and for a million.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vhostspy.dissectors import registry, virtio
from vhostspy.dissectors.rows import Names
from vhostspy.message import Event, Message, end_name
from vhostspy.session.device import infer
from vhostspy.session.state import Line, Ring, Session

from .units import duration, escape, plural, size

#: what is listed one by one; the rest is counted
MOST_SESSIONS = 8
MOST_SLOW = 3
MOST_UNANSWERED = 10
MOST_LINES = 32
_MOST_AWAITED = 10_000


class _Slow(NamedTuple):
    latency_ns: int
    no: int
    request: int
    name: str


class Summary:
    """Counts one capture's items; ``lines`` and ``values`` say what came of it."""

    def __init__(self) -> None:
        self.messages = 0
        self.raw = 0
        self.first_ns: int | None = None
        self.last_ns = 0
        self.last_wall_ns = 0
        #: (protocol, channel, who asked, name or number, kind) -> how many
        self.counts: dict[tuple[str, str, int, str, str], int] = {}
        self.slowest: list[_Slow] = []
        self.awaited: dict[tuple[int, int], str] = {}
        self.unanswered = 0
        self.failed = 0
        self.findings: dict[str, int] = {}

    def add(self, message: Message) -> None:
        self.messages += 1
        kind = message.kind
        if kind == "raw":
            self.raw += 1
            name = "(unread octets)"
        else:
            name = message.name or f"unknown {message.id}"
        key = (message.protocol, message.channel, message.sender, name, kind)
        counts = self.counts
        counts[key] = counts.get(key, 0) + 1
        if self.first_ns is None:
            self.first_ns = message.monotonic_ns
        self.last_ns = message.monotonic_ns
        self.last_wall_ns = message.time_ns
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

    def as_event(self, sessions: Mapping[int, Session]) -> Event:
        """The last line of JSON output; its time is the last message's."""
        text, facts = self.text(sessions), self.values(sessions)
        return Event("summary", self.last_wall_ns, self.last_ns, 0, "", 0, None, "", text, facts)

    def values(self, sessions: Mapping[int, Session]) -> dict[str, Any]:
        """The summary as an event's facts, for programs."""
        return {
            "messages": self.messages,
            "raw": self.raw,
            "failed": self.failed,
            "unanswered": [no for _, no in self.awaited],
            "duration_ns": self.last_ns - self.first_ns if self.first_ns is not None else 0,
            "names": [
                {"protocol": protocol, "channel": channel, "from": end_name(protocol, sender), "message": name,
                 "kind": kind, "count": count}
                for (protocol, channel, sender, name, kind), count in self.counts.items()
            ],
            "slowest": [
                {"message": slow.name, "no": slow.no, "answers": slow.request, "latency_ns": slow.latency_ns}
                for slow in self.slowest
            ],
            "sessions": [_session_values(session) for session in sessions.values()],
        }  # fmt: skip

    def text(self, sessions: Mapping[int, Session]) -> str:
        """One sentence."""
        lasted = self.last_ns - self.first_ns if self.first_ns is not None else 0
        parts = [plural(self.messages, "message")]
        if len(sessions) > 1:
            parts[0] += f" in {max(sessions)} sessions"
        if self.messages > 1:
            parts.append(duration(lasted))
        if self.failed:
            parts.append(f"{self.failed} refused")
        waiting = len(self.awaited) + self.unanswered
        if waiting:
            parts.append(f"{waiting} unanswered")
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


def session_lines(session: Session) -> list[str]:
    """One session as it stands."""
    lines = [f"session {session.number}"]
    for end, peer in enumerate(session.peers):
        program = f"{peer.program or 'process'} ({peer.pid})" if peer.pid else ""
        who = ", ".join(escape(part) for part in (program, peer.path) if part)
        lines += _labelled(end_name(session.protocol, end), [who] if who else [])
    if not session.whole:
        lines.append("  its beginning is not in the capture")
    if session.device is not None:
        guess = infer(session.evidence)
        why = "" if session.device_given or guess is None else f" ({guess.why})"
        lines += _labelled("device", [f"{session.device}{why}"])
    protocol = registry.PROTOCOLS.get(session.protocol)
    lines += _labelled("virtio", _features(session.virtio_offered, session.virtio_agreed, session, None))
    if protocol is not None and protocol.features is not None:
        lines += _labelled(
            "protocol", _features(session.protocol_offered, session.protocol_agreed, session, protocol.features)
        )
    lines += _labelled("memory", _memory(session))
    lines += _labelled("rings", [_ring(ring) for _, ring in sorted(session.rings.items())])
    lines += _labelled("others", _others(session))
    lines += _labelled("channels", _channels(session))
    lines += _labelled("end", [ending] if (ending := ended(session)) else [])
    return lines


def ended(session: Session) -> str:
    """Who closed first, and after what."""
    if session.ended is None:
        return ""
    end = session.ended
    who = "a peer" if end.sender is None else end_name(session.protocol, end.sender)
    verb = "was reset first" if end.how == "reset" else "closed first"
    if not end.last:
        return f"{who} {verb}, without a message"
    return f"{who} {verb}, after #{end.last}"


def _labelled(label: str, lines: list[str]) -> list[str]:
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES} more"]
    return [f"  {label if i == 0 else '':<11}{line}" for i, line in enumerate(lines)]


def _features(offered: int | None, agreed: int | None, session: Session, names: Names | None) -> list[str]:
    """Agreed bits by name, and those that were on offer and not taken."""

    def named(bits: int) -> str:
        found = names.bits(bits) if names is not None else virtio.feature_names(bits, session.device)
        return ", ".join(found) or "none"

    if offered is None and not agreed:
        return []
    if agreed is None:
        return _broken(f"offered {offered or 0:#x}", named(offered or 0))
    lines = _broken(f"agreed {agreed:#x}", named(agreed))
    if offered is not None and offered & ~agreed:
        lines += _broken("not taken", named(offered & ~agreed))
    if offered is not None and agreed & ~offered:
        lines += _broken("never offered", named(agreed & ~offered))
    return lines


def _broken(label: str, names: str) -> list[str]:
    """``label: names``, broken below each other at some 100 columns."""
    lines = []
    line = label + ":"
    for name in names.split(", "):
        if len(line) + len(name) > 100:
            lines.append(line + ",")
            line = "   "
        line += (" " if line.endswith((":", " ")) or not line.strip() else ", ") + name
    return [*lines, line]


def _memory(session: Session) -> list[str]:
    regions = session.regions
    if not regions:
        return []
    lines = [f"{plural(len(regions), 'region')}, {size(sum(region.size for region in regions))}"]
    for region in regions:
        file = f", {region.fd.kind} {escape(region.fd.name)}".rstrip() if region.fd else ""
        lines.append(f"{region.guest_address:#x}  {size(region.size)}{file} (#{region.no})")
    return lines


def _ring(ring: Ring) -> str:
    words = [f"{ring.size} entries" if ring.size is not None else "no size"]
    if ring.base is not None:
        words.append(f"at {ring.base}" if ring.base < 1 << 16 else f"at {ring.base:#x}")
    for name, line in (("kick", ring.kick), ("call", ring.call), ("err", ring.err)):
        words += _line(name, line)
    words.append("started" if ring.started else "stopped")
    words.append("enabled" if ring.enabled else "disabled")
    return f"{ring.number}: {', '.join(words)}"


def _line(name: str, line: Line | None) -> list[str]:
    if line is None:
        return []
    return [name if line.fd is not None else f"no {name}"]


def _others(session: Session) -> list[str]:
    lines = []
    if session.status is not None:
        lines.append(f"status {session.status:#x}: {', '.join(virtio.STATUS_BITS.bits(session.status)) or 'reset'}")
    if session.queues is not None:
        lines.append(f"at most {plural(session.queues, 'queue')}")
    if session.log is not None:
        state = "logging" if session.logging else "not logging"
        lines.append(f"dirty log of {size(session.log.size)} (#{session.log.no}), {state}")
    if session.inflight is not None:
        inflight = session.inflight
        lines.append(
            f"inflight buffer of {size(inflight.size)}, {plural(inflight.queues, 'queue')} of {inflight.queue_size}"
            f" (#{inflight.no})"
        )
    if session.postcopy != "none":
        lines.append(f"postcopy {session.postcopy}")
    return lines


def _channels(session: Session) -> list[str]:
    """Nested ones, and what could not be read."""
    lines = []
    for (name, number), channel in session.channels.items():
        unread = ", ".join(end_name(session.protocol, end) for end in channel.unread)
        about = f"; what {unread} sent could not be read to its end" if unread else ""
        if name != "main":
            label = f"{name} {number}" if number > 1 else name
            by = f" (#{channel.by})" if channel.by else ""
            lines.append(f"{label}{by}{about}")
        elif about:
            lines.append(f"main{about}")
    return lines


def _session_values(session: Session) -> dict[str, Any]:
    """One session for programs."""
    return {
        "session": session.number,
        "peers": {
            end_name(session.protocol, end): {"path": peer.path, "pid": peer.pid, "program": peer.program}
            for end, peer in enumerate(session.peers)
        },
        "previous": session.previous.number if session.previous else None,
        "whole": session.whole,
        "device": session.device,
        "virtio_features": {"offered": session.virtio_offered, "agreed": session.virtio_agreed},
        "protocol_features": {"offered": session.protocol_offered, "agreed": session.protocol_agreed},
        "regions": [
            {"guest_address": region.guest_address, "length": region.size, "user_address": region.user_address,
             "mmap_offset": region.offset, "no": region.no}
            for region in session.regions
        ],
        "rings": [
            {"index": ring.number, "num": ring.size, "base": ring.base, "started": ring.started,
             "enabled": ring.enabled, "kick": _has(ring.kick), "call": _has(ring.call), "err": _has(ring.err)}
            for _, ring in sorted(session.rings.items())
        ],
        "channels": [
            {"channel": name, "channel_no": number, "no": channel.by}
            for (name, number), channel in session.channels.items()
        ],
        "closed_first": None if session.ended is None else {
            "from": None if session.ended.sender is None else end_name(session.protocol, session.ended.sender),
            "how": session.ended.how,
            "after": session.ended.last,
        },
    }  # fmt: skip


def _has(line: Line | None) -> bool | None:
    """None: never set; false: explicitly none."""
    return None if line is None else line.fd is not None
