"""The timeline: what is shown as a sequence diagram, with the parties side by side and the silences between messages.

Each end of each kind of channel is a party: two for the main channel, one more for a display, one more for each further
program that takes a place after a reconnect, and vhostspy where it changed something.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vhostspy.message import Event, Message, end_name
from vhostspy.output.text import descriptors, title
from vhostspy.output.units import duration, escape, seconds
from vhostspy.session.state import Session

from .columns import SEVERITY_ROLES, SIGNS
from .feed import Feed
from .line import Line, Span, line

#: a silence of so long gets a line of its own
GAP_NS = 10_000_000
#: rows on either side of the one in focus
REACH = 500
_TIME = 12
#: cells between two lifelines at least, and at most
_LEAST, _MOST = 24, 56


class Party(NamedTuple):
    """A lifeline: an end, the channel that is its own (a display's; "" for all others), and which program it is."""

    end: int
    channel: str
    pid: int


class Stretch(NamedTuple):
    """Rows in order, and who takes part."""

    rows: tuple[int, ...]
    parties: tuple[Party, ...]
    names: tuple[str, ...]


def stretch(feed: Feed, rows: Sequence[int]) -> Stretch:
    """The parties of these rows, in the order in which they stand: front-end, vhostspy, back-end, the others."""
    found: dict[Party, str] = {}
    for row in rows:
        item = feed.item(row)
        if isinstance(item, Message):
            session = feed.sessions(row).get(item.session)
            for end in (0, 1):
                party = _party(item, end, session)
                if party not in found:
                    found[party] = _name(item, party, session)
            if item.original is not None or item.injected or item.dropped:
                found.setdefault(Party(2, "", 0), "vhostspy")
    order = sorted(found, key=lambda party: (party.channel != "", {0: 0, 2: 1, 1: 2}[party.end]))
    return Stretch(tuple(rows), tuple(order), tuple(found[party] for party in order))


def _party(message: Message, end: int, session: Session | None) -> Party:
    """Who is at that end. A display's socket leads to somebody else than the front-end."""
    if message.channel == "gpu" and end == 0:
        return Party(0, "gpu", 0)
    pid = session.peers[end].pid if session is not None else 0
    return Party(end, "", pid)


def _name(message: Message, party: Party, session: Session | None) -> str:
    if party.channel == "gpu":
        return "display"
    program = escape(session.peers[party.end].program) if session is not None else ""
    name = end_name(message.protocol if message.channel != "gpu" else "vhost-user", party.end)
    return f"{name} {program}".strip()


def timeline_lines(feed: Feed, shown: Stretch, width: int) -> list[Line]:
    """A line a message, between its parties' lifelines."""
    if not shown.parties:
        return [line(("no message in this stretch", "dim"))]
    count = len(shown.parties)
    step = max(_LEAST, min(_MOST, (width - _TIME - 4) // max(1, count - 1))) if count > 1 else _LEAST
    lines = [_heads(shown.names, step)]
    before: int | None = None
    for row in shown.rows:
        item = feed.item(row)
        if before is not None and item.monotonic_ns - before >= GAP_NS:
            lines.append(_gap(item.monotonic_ns - before, count, step))
        if isinstance(item, Message):
            before = item.monotonic_ns
            lines += _message(feed, shown, row, item, step)
        else:
            lines.append(_event(feed, item, row))
    return lines


def _heads(names: Sequence[str], step: int) -> Line:
    text = " " * _TIME
    for place, name in enumerate(names):
        text = text.ljust(_TIME + place * step) + name[: step - 2]
    return line((text, "strong"))


def _lifelines(count: int, step: int, sign: str = "│") -> str:
    return (" " * _TIME) + "".join((sign + " " * (step - 1)) for _ in range(count - 1)) + sign


def _gap(silence_ns: int, count: int, step: int) -> Line:
    text = _lifelines(count, step, "┊")
    return line((f"{duration(silence_ns):>{_TIME - 2}}  ", "dim"), (text[_TIME:], "dim"))


def _message(feed: Feed, shown: Stretch, row: int, message: Message, step: int) -> Iterator[Line]:
    session = feed.sessions(row).get(message.session)
    count = len(shown.parties)
    if message.sender == 2:
        start = shown.parties.index(Party(2, "", 0)) if Party(2, "", 0) in shown.parties else 0
        sender, receiver = start, min(count - 1, start + 1)
    else:
        sender = shown.parties.index(_party(message, message.sender, session))
        receiver = shown.parties.index(_party(message, 1 - message.sender, session))
    time = f"{seconds(message.monotonic_ns - feed.start_ns):>{_TIME - 2}}  "
    label = _label(message)
    role = "error" if message.failed else "dim" if message.is_reply else "name"
    low, high = min(sender, receiver), max(sender, receiver)
    room = (high - low) * step - 1
    spans: list[Span] = [(time, "dim"), (_lifelines(count, step)[_TIME:][: low * step + 1], "dim")]
    spans += _arrow(label, role, room, sender < receiver, message.is_reply)
    spans.append((_lifelines(count, step)[_TIME:][high * step :], "dim"))
    severity = feed.glance(row).severity
    if severity:
        spans.append((f"  {SIGNS[severity]}", SEVERITY_ROLES[severity]))
    yield Line(tuple(spans), key=("row", row), row=row, subject=message.name or "")


def _arrow(label: str, role: str, room: int, right: bool, reply: bool) -> list[Span]:
    """A label upon an arrow; an answer's line is broken."""
    stroke = "╌" if reply else "─"
    most = room - 4
    if len(label) > most:
        label = label[: most - 1] + "…"
    left = max(1, (room - len(label) - 3) // 2)
    rest = room - len(label) - 3 - left
    ends = ("", "►") if right else ("◄", "")
    return [
        (ends[0] + stroke * left + " ", "dim"),
        (label, role),
        (" " + stroke * max(0, rest) + ends[1], "dim"),
    ]


def _label(message: Message) -> str:
    name = escape(title(message))
    if message.kind == "ack":
        name = name.removesuffix(" ack")
    info = escape(message.info)
    fds = f" {descriptors(message)}" if message.fds else ""
    number = f"#{message.no} "
    if message.is_reply:
        return f"{number}{info or name}{fds}" if message.kind == "ack" else f"{number}{name} {info}{fds}".rstrip()
    return f"{number}{name} {info}{fds}".replace("  ", " ").rstrip()


def _event(feed: Feed, event: Event, row: int) -> Line:
    time = seconds(event.monotonic_ns - feed.start_ns) if feed.start_ns and event.monotonic_ns >= feed.start_ns else ""
    text = escape(event.text) or escape(event.event)
    return line((f"{time:>{_TIME - 2}}  ", "dim"), (f"┄┄ {text}", "note"), key=("row", row), row=row)


def as_text(lines: Sequence[Line]) -> str:
    return "".join(f"{one.text.rstrip()}\n" for one in lines)


def as_mermaid(feed: Feed, shown: Stretch) -> str:
    """The same for Mermaid, which many a tracker and README draws."""
    parts = ["sequenceDiagram"]
    parts += [f"    participant P{place} as {_mermaid(name)}" for place, name in enumerate(shown.names)]
    before: int | None = None
    for row in shown.rows:
        item = feed.item(row)
        if not isinstance(item, Message):
            parts.append(f"    Note over P0: {_mermaid(item.text or item.event)}")
            continue
        if before is not None and item.monotonic_ns - before >= GAP_NS:
            parts.append(f"    Note over P0: {duration(item.monotonic_ns - before)}")
        before = item.monotonic_ns
        if item.sender == 2:
            continue
        session = feed.sessions(row).get(item.session)
        sender = shown.parties.index(_party(item, item.sender, session))
        receiver = shown.parties.index(_party(item, 1 - item.sender, session))
        arrow = "-->>" if item.is_reply else "->>"
        parts.append(f"    P{sender}{arrow}P{receiver}: {_mermaid(_label(item))}")
    return "\n".join(parts) + "\n"


def _mermaid(text: str) -> str:
    """``;`` ends a statement there, and ``#`` begins an entity."""
    return escape(text).translate({ord("#"): "#35;", ord(";"): "#59;"})
