"""The list's columns: which there are, how wide, and the line that a row becomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vhostspy.message import Event, Message, end_name
from vhostspy.output.text import EVENT_SEVERITIES, channel_label, descriptors, happened, title
from vhostspy.output.units import duration, escape, seconds
from vhostspy.pipeline import Item

from .line import Span


class Column(NamedTuple):
    name: str
    head: str
    width: int
    right: bool = False
    #: the least width of the screen on which it is shown without being asked for
    least: int = 0


#: in the order of the list; ``info`` takes what is left
COLUMNS = (
    Column("mark", "", 1),
    Column("no", "#", 3, right=True),
    Column("time", "time", 10, right=True),
    Column("delta", "Δ", 8, right=True, least=100),
    Column("session", "s", 2, right=True, least=1000),
    Column("channel", "channel", 9, least=90),
    Column("from", "from", 11),
    Column("message", "message", 24),
    Column("info", "info", 0),
    Column("fds", "fds", 3, right=True, least=70),
    Column("finding", "!", 1),
)
BY_NAME = {column.name: column for column in COLUMNS}
SIGNS = ("", "·", "▲", "●")
SEVERITY_ROLES = ("plain", "note", "warning", "error")


class Layout(NamedTuple):
    """The columns that are shown, with their widths."""

    columns: tuple[tuple[Column, int], ...]

    def head(self) -> Iterator[Span]:
        for column, width in self.columns:
            yield _cell(column.head, width, column.right), "dim"
            yield " ", "dim"


def layout(width: int, chosen: dict[str, bool], widths: dict[str, int], sessions: int = 1, digits: int = 3) -> Layout:
    """The columns for a list of that many cells.

    ``chosen``: columns that were asked for, or not wanted; ``widths``: as somebody set them.
    """
    shown: list[tuple[Column, int]] = []
    for column in COLUMNS:
        wanted = chosen.get(column.name, width >= column.least or (column.name == "session" and sessions > 1))
        if wanted or column.name == "info":
            size = widths.get(column.name, max(column.width, digits) if column.name == "no" else column.width)
            if column.name == "message" and "message" not in widths and width < 90:
                size = 20
            shown.append((column, size))
    taken = sum(size + 1 for column, size in shown if column.name != "info")
    return Layout(tuple((c, max(8, width - taken - 1) if c.name == "info" else size) for c, size in shown))


class Facts(NamedTuple):
    """What a line says beside its item."""

    start_ns: int
    before_ns: int | None
    severity: int = 0
    mark: str | None = None
    times: int = 1
    #: what there is to say of an answer that is due and not there
    waiting: str = ""
    #: it asks, or answers, what is in focus
    related: bool = False


def cells(item: Item, facts: Facts, shown: Layout) -> Iterator[Span]:
    """The spans of a row, padded to their columns."""
    if isinstance(item, Event):
        yield from _event(item, facts, shown)
        return
    for column, width in shown.columns:
        yield from _fit(_message_cell(column.name, item, facts), width, column.right)
        yield " ", "plain"


def _message_cell(name: str, message: Message, facts: Facts) -> list[Span]:
    if name == "mark":
        return [("◆", "title") if facts.mark is not None else ("⇅", "link") if facts.related else (" ", "plain")]
    if name == "no":
        return [(str(message.no), "dim")]
    if name == "time":
        return [(seconds(message.monotonic_ns - facts.start_ns), "plain")]
    if name == "delta":
        before = facts.before_ns
        return [("" if before is None else duration(message.monotonic_ns - before), "dim")]
    if name == "session":
        return [(str(message.session), "plain")]
    if name == "channel":
        return [
            (channel_label(1, message.channel, message.channel_no), "dim" if message.channel == "main" else "plain")
        ]
    if name == "from":
        sender = min(message.sender, 2)
        role = ("front", "back", "spy")[sender]
        return [(("→ ", "← ", "· ")[sender], role), (end_name(message.protocol, sender), role)]
    if name == "message":
        bad = message.failed or message.kind == "raw" or message.name is None
        role = "error" if bad else "dim" if message.is_reply else "name"
        spans = [(escape(title(message)), role)]
        if facts.times > 1:
            spans.append((f" ×{facts.times}", "title"))
        return spans
    if name == "info":
        return list(info(message, facts))
    if name == "fds":
        return [(str(len(message.fds)) if message.fds else "", "value")]
    if name == "finding":
        return [(SIGNS[facts.severity], SEVERITY_ROLES[facts.severity])]
    return []


def info(message: Message, facts: Facts) -> Iterator[Span]:
    """What matters of the members, the descriptors, the way to the other half."""
    text = escape(message.info)
    if message.kind == "raw":
        text = f"{text}: {message.data[:16].hex(' ')}"
    if facts.mark:
        yield f"“{escape(facts.mark)}”  ", "title"
    if text:
        yield text, "error" if message.failed else "plain"
    if message.fds:
        yield f"{'  ' if text else ''}{descriptors(message)}", "value"
    if message.answers is not None:
        yield f"{'  ' if text else ''}↩ #{message.answers} {duration(message.latency_ns or 0)}", "dim"
    if facts.waiting:
        yield f"{'  ' if text or message.fds else ''}… {facts.waiting}", "warning"
    if message.changed or message.original is not None:
        yield f"  changed by {message.by or 'a policy'}", "note"
    if message.dropped:
        yield f"  dropped by {message.by}" if message.by else "  did not go on", "note"
    if message.injected:
        yield f"  made by {message.by or 'a policy'}", "note"
    if message.incomplete:
        yield f"  incomplete: {len(message.data)} of {message.length} bytes", "warning"


def _event(event: Event, facts: Facts, shown: Layout) -> Iterator[Span]:
    """An event: time, and its sentence from the channel's column on."""
    role = EVENT_SEVERITIES.get(event.event, "note")
    left = [(c, w) for c, w in shown.columns if c.name in ("mark", "no", "time", "delta")]
    right = [(c, w) for c, w in shown.columns if c.name == "finding"]
    for column, width in left:
        if column.name == "mark" and facts.mark is not None:
            yield from _fit([("◆", "title")], width)
        elif column.name == "time" and facts.start_ns and event.monotonic_ns >= facts.start_ns:
            yield from _fit([(seconds(event.monotonic_ns - facts.start_ns), "dim")], width, True)
        else:
            yield " " * width, "plain"
        yield " ", "plain"
    total = sum(w + 1 for _, w in shown.columns) - sum(w + 1 for _, w in left) - sum(w + 1 for _, w in right)
    spans = [("── ", "dim"), (happened(event), role)]
    if facts.mark:
        spans.append((f"  “{escape(facts.mark)}”", "title"))
    yield from _fit(spans, total - 1)
    yield " ", "plain"
    for _, width in right:
        yield from _fit([(SIGNS[facts.severity], SEVERITY_ROLES[facts.severity])], width)
        yield " ", "plain"


def searchable(item: Item) -> str:
    """The text that finding looks at."""
    if isinstance(item, Event):
        return item.text or item.event
    fds = f" {descriptors(item)}" if item.fds else ""
    found = "".join(f" {one.rule} {one.text}" for one in item.findings)
    return f"#{item.no} {title(item)} {item.info}{fds} {end_name(item.protocol, min(item.sender, 2))}{found}"


def _fit(spans: list[Span], width: int, right: bool = False) -> Iterator[Span]:
    """Spans cut or padded to a width; what is cut ends in an ellipsis."""
    total = sum(len(text) for text, _ in spans)
    if total <= width:
        pad = " " * (width - total)
        if right and pad:
            yield pad, "plain"
        yield from spans
        if not right and pad:
            yield pad, "plain"
        return
    room = width - 1
    for text, role in spans:
        if len(text) >= room:
            yield f"{text[:room]}…", role
            return
        room -= len(text)
        yield text, role


def _cell(text: str, width: int, right: bool) -> str:
    text = text[:width]
    return text.rjust(width) if right else text.ljust(width)
