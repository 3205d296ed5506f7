"""The rings page: each ring of a session right after a row, where its parts lie, and what was said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vhostspy.message import Message, end_name
from vhostspy.output.text import title
from vhostspy.output.units import duration, escape, seconds
from vhostspy.session.state import Ring, Session

from .feed import Feed
from .line import BLANK, Line, Span, line
from .look import sampled_lines
from .nodes import place_of
from .state import ring_entry

#: so far back is looked for messages about a ring, and so many of them are shown
_BACK = 5000
_MOST = 12
_PARTS = (("descriptors", "descriptor"), ("used", "used"), ("available", "available"))


def rings_lines(
    feed: Feed, row: int, width: int, number: int | None = None, now: Callable[[Session, int], list[Line]] | None = None
) -> list[Line]:
    """``now``: what is in the rings of a session that goes on, so wide; else what a sample before the row says."""
    item = feed.item(row)
    sessions = feed.sessions(row)
    session = sessions.get(number or item.session or max(sessions, default=0))
    if session is None or not session.rings:
        return [line(("no ring was spoken of yet", "dim"))]
    lines = now(session, width) if now is not None else sampled_lines(feed, row, session)
    if lines:
        lines = [*lines, BLANK]
    said = _said(feed, row, session)
    for index, ring in sorted(session.rings.items()):
        lines += [*_ring(feed, session, index, ring), *_history(feed, said.get(index, ())), BLANK]
    return lines


def _ring(feed: Feed, session: Session, number: int, ring: Ring) -> Iterator[Line]:
    state = _state(ring)
    yield line(
        (f"ring {number}  ", "strong"),
        (state, "ok" if ring.started and ring.enabled else "warning"),
        key=("ring", number),
    )
    entry = ring_entry(feed, number, ring)
    yield line("  ", *entry.spans[2:], key=("what", number), row=entry.row)
    if ring.addresses is not None:
        for (label, name), address in zip(_PARTS, ring.addresses, strict=False):
            yield line(
                ("  ", "plain"), (f"{label:<12}  ", "dim"), (f"{address:#x}", "value"),
                (f"  {place_of(session, name, address)}", "dim"),
            )  # fmt: skip
        if ring.logged:
            yield line(("  ", "plain"), (f"{'log':<12}  ", "dim"), (f"{ring.addresses[3]:#x}", "value"))
    for name, signal, text in (
        ("kick", ring.kick, "the guest wakes the device with it"),
        ("call", ring.call, "the device interrupts the guest with it"),
        ("err", ring.err, "the device tells of trouble with it"),
    ):
        if signal is None:
            continue
        what = (
            "none: polled"
            if signal.fd is None
            else f"eventfd {signal.fd.eventfd_id}"
            if signal.fd.eventfd_id is not None
            else signal.fd.kind
        )
        spans: list[Span] = [
            ("  ", "plain"),
            (f"{name:<12}  ", "dim"),
            (escape(what), "value"),
            (f"  #{signal.no}", "link"),
        ]
        spans.append((f"  {text}", "dim"))
        yield Line(tuple(spans), row=feed.row_of(signal.no))


def _state(ring: Ring) -> str:
    """Whether it runs; if not, what keeps it from that."""
    if ring.started and ring.enabled:
        return "started and enabled: it runs"
    if ring.started:
        return "started, but disabled"
    lacks = [
        word
        for word, there in (("size", ring.size), ("addresses", ring.addresses), ("kick descriptor", ring.kick))
        if there is None
    ]
    switch = "enabled" if ring.enabled else "disabled"
    return f"stopped, {switch}" + (f"; no {', no '.join(lacks)} yet" if lacks else "")


def _said(feed: Feed, row: int, session: Session) -> dict[int, list[int]]:
    """Rows of the latest messages about each ring, latest first."""
    found: dict[int, list[int]] = {}
    for at in range(row, max(-1, row - _BACK), -1):
        glance = feed.glance(at)
        if (
            glance.session != session.number
            or glance.kind != "request"
            or not glance.name
            or "VRING" not in glance.name
        ):
            continue
        item = feed.item(at)
        index = item.fields.get("index") if isinstance(item, Message) else None
        if isinstance(index, int) and len(found.setdefault(index, [])) < _MOST:
            found[index].append(at)
    return found


def _history(feed: Feed, rows: list[int] | tuple[int, ...]) -> Iterator[Line]:
    for row in reversed(rows):
        item = feed.item(row)
        if not isinstance(item, Message):
            continue
        answer = feed.glance(row).partner
        spans: list[Span] = [
            ("  ", "plain"),
            (f"#{item.no:<5}", "link"),
            (f"{seconds(item.monotonic_ns - feed.start_ns):>11}  ", "dim"),
            (f"{end_name(item.protocol, min(item.sender, 2)):<10} ", "front" if item.sender == 0 else "back"),
            (f"{escape(title(item)):<20} ", "name"),
            (escape(item.info), "plain"),
        ]
        if answer is not None:
            took = feed.glance(answer).latency_ns or 0
            spans.append((f"  answered after {duration(took)}", "dim"))
        yield Line(tuple(spans), key=("said", row), row=row)
