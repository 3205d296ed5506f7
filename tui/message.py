"""The message pane: a tree of members with their meaning, descriptors, the source; what is wrong, with its proof."""

from __future__ import annotations

from collections.abc import Iterator

from vhostspy.capture.record import flag_words
from vhostspy.message import SEVERITIES, Event, Finding, Message, blamed, end_name
from vhostspy.output.text import channel_label, descriptor, title
from vhostspy.output.units import duration, escape, plural, seconds
from vhostspy.pipeline import Item
from vhostspy.session.state import Session

from .columns import SIGNS
from .feed import Feed
from .line import BLANK, Line, Span, line, wrapped
from .nodes import Node, header_nodes, payload_nodes

#: a member's meaning stands beside it where there is so much room, else it is left out
_ABOUT = 24
#: objects within objects of an event's facts
_DEEPEST = 4
#: an answer that came sooner leaves no silence; and so many rows behind a request what was said of it is looked for
_STOOD_NS, _FAR = 1_000_000_000, 2000
#: closed until somebody opens it
CLOSED = frozenset(("header",))


def message_lines(
    feed: Feed, row: int, width: int, closed: frozenset[str] = CLOSED, mark: str | None = None
) -> list[Line]:
    """What is known about one row, in lines of at most ``width`` cells as far as texts can be broken."""
    item = feed.item(row)
    if isinstance(item, Event):
        lines = list(_event(feed, item, width, mark))
    else:
        session = feed.sessions(row).get(item.session)
        lines = list(_message(feed, row, item, session, width, closed, mark))
    return [*lines, *_meanwhile(feed, row, width)]


def _meanwhile(feed: Feed, row: int, width: int) -> Iterator[Line]:
    """Silences just before a row, and, behind the last one, those since: they have no row of their own."""
    events = [*feed.asides(row), *(feed.asides(feed.rows) if row == feed.rows - 1 else ())]
    if events:
        yield BLANK
        yield line(("meanwhile", "title"))
    for event in events:
        no = event.facts.get("no")
        request = feed.row_of(no) if isinstance(no, int) else None
        yield from wrapped(escape(event.text), "warning", width, first=[("── ", "dim")], key=("aside",), row=request)
        yield from _findings(feed, event, width)


def _message(
    feed: Feed, row: int, message: Message, session: Session | None, width: int, closed: frozenset[str],
    mark: str | None,
) -> Iterator[Line]:  # fmt: skip
    other = feed.glance(row).partner
    sender = min(message.sender, 2)
    role = ("front", "back", "spy")[sender]
    bad = message.failed or message.kind == "raw" or message.name is None
    yield line(
        (escape(title(message)), "error" if bad else "strong"),
        ("  ", "plain"),
        (f"{('→', '←', '·')[sender]} from {end_name(message.protocol, sender)}", role),
        key=("title",),
        subject=message.name or "",
        octets=(0, len(message.data)),
    )
    yield _way(feed, message, other)
    if mark is not None:
        yield from wrapped(escape(mark) or "marked", "title", width, first=[("◆ ", "title")], key=("mark",))
    yield from _remarks(message, width)
    yield from _findings(feed, message, width)
    yield from _since(feed, row, message, other, width)
    header = header_nodes(message)
    if header:
        closed_header = "header" in closed
        short = ", ".join(f"{node.name} {node.text}" for node in header)
        yield line(
            ("▸ " if closed_header else "▾ ", "dim"), ("header  ", "dim"), (short if closed_header else "", "dim"),
            key=("member", "header"), open=not closed_header, octets=(0, message.payload_at),
        )  # fmt: skip
        if not closed_header:
            yield from _tree(header, closed, width, 1)
    nodes = payload_nodes(message, session)
    yield from _tree(nodes, closed, width)
    if message.kind == "raw":
        yield line(("octets that could not be framed", "warning"), octets=(0, len(message.data)))
    for place, fd in enumerate(message.fds):
        yield from wrapped(
            descriptor(fd), "value", width, first=[("  ", "plain"), (f"fd {place}  ", "dim")], key=("fd", place)
        )
    row_ = message.row
    if row_ is not None:
        yield BLANK
        if row_.text:
            yield from wrapped(row_.text, "plain", width, key=("text",), subject=row_.name)
        yield from wrapped(row_.source, "dim", width, key=("source",), subject=row_.name)


def _way(feed: Feed, message: Message, other: int | None) -> Line:
    """What kind of message it is, and where its other half is."""
    time = seconds(message.monotonic_ns - feed.start_ns)
    spans: list[Span] = [(f"#{message.no}  {time} s  ", "dim")]
    label = channel_label(message.session, message.channel, message.channel_no)
    if label != "main":
        spans.append((f"{label}  ", "dim"))
    if message.answers is not None:
        spans += [
            ("answers ", "dim"),
            (f"#{message.answers}", "link"),
            (f" after {duration(message.latency_ns or 0)}", "dim"),
        ]
    elif other is not None:
        answer = feed.item(other)
        if isinstance(answer, Message):
            took = duration(answer.latency_ns or 0)
            spans += [("answered by ", "dim"), (f"#{answer.no}", "link"), (f" after {took}", "dim")]
    elif message.awaited:
        spans.append(("not answered", "warning"))
    elif message.kind == "request":
        spans.append(("no answer is due", "dim"))
    elif message.is_reply:
        spans.append(("answers nothing that was asked", "warning"))
    return Line(tuple(spans), key=("way",), row=other)


def _since(feed: Feed, row: int, message: Message, other: int | None, width: int) -> Iterator[Line]:
    """What is wrong with the silence behind a request; found later, and said before a row that has nothing to do with
    it. At the end of the capture it is said with what came meanwhile."""
    answer = feed.item(other) if other is not None else None
    stood = answer.latency_ns if isinstance(answer, Message) else None
    if message.kind != "request" or row == feed.rows - 1:
        return
    if not message.awaited if stood is None else stood < _STOOD_NS:
        return
    for each in range(row + 1, min(feed.rows if other is None else other, row + _FAR) + 1):
        for event in feed.asides(each):
            if event.facts.get("no") == message.no:
                yield from _findings(feed, event, width)


def _remarks(message: Message, width: int) -> Iterator[Line]:
    words = flag_words(message.marks)
    if words:
        yield from wrapped(words, "warning", width, key=("flags",))
    if message.original is not None:
        yield from wrapped(f"came as {message.original.hex(' ')}", "note", width, key=("original",))
    if message.reads > 1:
        yield line((f"came in {message.reads} pieces", "note"), key=("reads",))


def _findings(feed: Feed, item: Item, width: int) -> Iterator[Line]:
    for place, one in enumerate(item.findings):
        yield from _finding(feed, item.protocol, one, width, place)


def _finding(feed: Feed, protocol: str, one: Finding, width: int, place: int) -> Iterator[Line]:
    sign = SIGNS[SEVERITIES[one.severity]]
    role = one.severity
    text = f"{one.severity}: {blamed(one, protocol)}: {escape(one.text)}"
    key = ("finding", place)
    yield from wrapped(text, role, width, first=[(f"{sign} ", role)], key=key, subject=one.rule)
    yield from wrapped(f"{one.rule}  {escape(one.source)}", "dim", width, "  ", key=key, subject=one.rule)
    for no in one.evidence:
        row = feed.row_of(no)
        if row is not None:
            shown = feed.item(row)
            name = title(shown) if isinstance(shown, Message) else ""
            yield line("  ", ("shown by ", "dim"), (f"#{no}", "link"), (f" {escape(name)}", "dim"), key=key, row=row)


def _tree(nodes: tuple[Node, ...], closed: frozenset[str], width: int, depth: int = 0) -> Iterator[Line]:
    """A line a node, what is below it indented; the names of siblings, and their values, stand below each other."""
    names = min(max((len(node.name) for node in nodes), default=0), 24)
    values = min(max((len(node.text) for node in nodes if node.about), default=0), 24)
    for node in nodes:
        fold = node.path not in closed if node.children else None
        mark = "  " if fold is None else "▾ " if fold else "▸ "
        spans: list[Span] = [("  " * depth + mark, "dim"), (f"{node.name:<{names}}  ", "dim" if depth else "plain")]
        room = width - len(spans[0][0]) - names - 2 - max(values, len(node.text)) - 2
        if node.about and room >= _ABOUT:
            about = node.about if len(node.about) <= room else node.about[: room - 1] + "…"
            spans += [(f"{node.text:<{values}}", node.role), (f"  {about}", "dim")]
        else:
            spans.append((node.text, node.role))
        yield Line(tuple(spans), key=("member", node.path), octets=node.octets, open=fold, subject=node.subject)
        if fold:
            yield from _tree(node.children, closed, width, depth + 1)


def _event(feed: Feed, event: Event, width: int, mark: str | None) -> Iterator[Line]:
    yield line((escape(event.event), "strong"), key=("title",))
    where = f"session {event.session}" if event.session else "the whole capture"
    if event.channel:
        where += f", {channel_label(1, event.channel, event.channel_no)} channel"
    since = event.monotonic_ns - feed.start_ns
    time = "" if not feed.start_ns else f"{seconds(since)} s  " if since >= 0 else "before the first message, "
    yield line((f"{time}{where}", "dim"), key=("way",))
    if mark is not None:
        yield from wrapped(escape(mark) or "marked", "title", width, first=[("◆ ", "title")], key=("mark",))
    yield from wrapped(escape(event.text), "plain", width, key=("text",))
    yield from _findings(feed, event, width)
    for name, value in event.facts.items():
        if value != "":
            yield from _facts(feed, name, value, width, 1)


def _facts(feed: Feed, name: str, value: object, width: int, depth: int) -> Iterator[Line]:
    """A fact; one that is an object in lines of its own below it, each of a list of them in its line."""
    indent: Span = ("  " * depth, "plain")
    label: Span = (f"{escape(name):<12}  ", "dim")
    if isinstance(value, dict) and depth < _DEEPEST:
        yield line(indent, label, key=("fact", name))
        for inner, part in value.items():
            yield from _facts(feed, str(inner), part, width, depth + 1)
        return
    if value and isinstance(value, list) and all(isinstance(one, dict) for one in value):
        for place, one in enumerate(value):
            first = (" " * len(label[0]), "dim") if place else label
            text = "  ".join(f"{each} {_fact(each, part)}" for each, part in one.items())
            yield from wrapped(escape(text), "value", width, first=[indent, first], key=("fact", name, place))
        return
    row = feed.row_of(value) if name in ("no", "after", "waiting") and isinstance(value, int) else None
    text = f"#{value}" if row is not None else escape(_fact(name, value))
    role = "link" if row is not None else "value"
    yield from wrapped(text, role, width, first=[indent, label], key=("fact", name), row=row)


def _fact(name: str, value: object) -> str:
    if isinstance(value, list):
        return " ".join(_fact("", one) for one in value)
    if value is None or isinstance(value, bool):
        return "not known" if value is None else "yes" if value else "no"
    if name.endswith("_ns") and isinstance(value, int) and 0 <= value < 1 << 55:
        return duration(value)
    if name == "octets" and isinstance(value, int):
        return plural(value, "octet")
    return str(value)
