"""The session pane: what is agreed, mapped, set up and waited for, right after the row in focus; what that row changed
is lit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vhostspy.capture.record import Descriptor
from vhostspy.dissectors import registry, virtio
from vhostspy.dissectors.rows import Names
from vhostspy.message import Message, end_name
from vhostspy.output.overview import ended
from vhostspy.output.units import duration, escape, plural, size
from vhostspy.session import ledger as ledgers
from vhostspy.session.device import infer
from vhostspy.session.state import Line as Signal
from vhostspy.session.state import Ring, Session

from .feed import Feed
from .line import BLANK, Line, Span, line

#: what stands before a fact that the row in focus has changed
CHANGED = "▌"
#: the section of what has no answer yet
WAITING = "waiting"
#: what stands before the rest of a line that was broken
_BELOW = "    "


class Entry(NamedTuple):
    """One fact; ``key`` is what it is about, the same before and after it changes."""

    key: tuple[object, ...]
    spans: tuple[Span, ...]
    row: int | None = None
    subject: str = ""

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.spans)


class Section(NamedTuple):
    title: str
    entries: tuple[Entry, ...]


def state_lines(feed: Feed, row: int, width: int, number: int | None = None) -> list[Line]:
    """The session of a row, or session ``number``, as it stood right after that row."""
    item = feed.item(row)
    sessions = feed.sessions(row)
    number = number or item.session or max(sessions, default=0)
    session = sessions.get(number)
    if session is None:
        return [line(("no session yet", "dim"))]
    before = feed.sessions(row - 1).get(number) if row else None
    now = item.monotonic_ns
    old = (
        {entry.key: entry.text for section in _sections(feed, before, now) for entry in section.entries}
        if before
        else {}
    )
    lines = list(_head(session, sessions, width))
    if not feed.glance(row).studied:
        lines.insert(0, line(("still being read: this is an earlier moment", "warning")))
    for section in _sections(feed, session, now):
        shown = list(_lit(section, old if before is not None else None, width))
        if shown:
            lines.append(BLANK)
            lines.append(line((section.title, "title"), key=("section", section.title)))
            lines += shown
    return lines


def _lit(section: Section, old: Mapping[tuple[object, ...], str] | None, width: int) -> Iterator[Line]:
    for entry in section.entries:
        changed = old is not None and entry.key[0] != "age" and old.get(entry.key) != entry.text
        spans = entry.spans
        if changed:
            spans = tuple((text, "new" if role in ("plain", "value", "name", "dim") else role) for text, role in spans)
        mark: Span = (f"{CHANGED} ", "new") if changed else ("  ", "plain")
        yield from _broken((mark, *spans), width, entry)


def _broken(spans: tuple[Span, ...], width: int, entry: Entry) -> Iterator[Line]:
    """A line whose texts go on below its beginning where they don't fit, broken between words where they must be."""
    held: list[Span] = []
    room = width
    for text, role in spans:
        # what stands before the line, a sign or an indent, is no line of its own
        if len(text) > room and any(part.strip() for part, _ in held[1:]):
            yield Line(tuple(held), key=entry.key, row=entry.row, subject=entry.subject)
            held, room, text = [(_BELOW, "plain")], width - len(_BELOW), text.lstrip()
        while len(text) > max(room, 8):
            at = text.rfind(" ", 1, room)
            at = at if at > 0 else room
            held.append((text[:at], role))
            yield Line(tuple(held), key=entry.key, row=entry.row, subject=entry.subject)
            held, room, text = [(_BELOW, "plain")], max(9, width - len(_BELOW)), text[at:].lstrip()
        held.append((text, role))
        room -= len(text)
    yield Line(tuple(held), key=entry.key, row=entry.row, subject=entry.subject)


def _head(session: Session, sessions: Mapping[int, Session], width: int) -> Iterator[Line]:
    others = f" of {len(sessions)}" if len(sessions) > 1 else ""
    follows = f"  follows session {session.previous.number}" if session.previous is not None else ""
    yield line((f"session {session.number}{others}", "strong"), (f"  {session.protocol}{follows}", "dim"))
    for end, peer in enumerate(session.peers):
        program = f"{escape(peer.program) or 'process'} ({peer.pid})" if peer.pid else ""
        label: Span = (f"{end_name(session.protocol, end):<10}  ", "front" if end == 0 else "back")
        path = f"{'  ' if program else ''}{escape(peer.path)}"
        yield from _broken((("  ", "plain"), label, (program, "plain"), (path, "dim")), width, Entry(("peer", end), ()))
    if session.device is not None:
        guess = infer(session.evidence)
        why = "" if session.device_given or guess is None else f"  {guess.why}"
        device = (("  ", "plain"), ("device      ", "dim"), (session.device, "value"), (why, "dim"))
        yield from _broken(device, width, Entry(("device",), (), subject=session.device))
    if not session.whole:
        yield line(("  its beginning is not in the capture", "warning"))


def _sections(feed: Feed, session: Session | None, now_ns: int) -> Iterator[Section]:
    if session is None:
        return
    yield Section(WAITING, tuple(_waiting(feed, session, now_ns)))
    yield Section("ended", ((Entry(("ended",), ((text, "warning"),)),) if (text := ended(session)) else ()))
    yield Section("virtio features", tuple(_features("virtio", session, None)))
    protocol = registry.PROTOCOLS.get(session.protocol)
    if protocol is not None and protocol.features is not None:
        yield Section("protocol features", tuple(_features("protocol", session, protocol.features)))
    yield Section("memory", tuple(_memory(feed, session)))
    yield Section("rings", tuple(_rings(feed, session)))
    yield Section("descriptors", tuple(_descriptors(feed, session)))
    yield Section("channels", tuple(_channels(feed, session)))
    yield Section("device", tuple(_others(feed, session)))


def _waiting(feed: Feed, session: Session, now_ns: int) -> Iterator[Entry]:
    for request in ledgers.outstanding(session.ledger):
        age = max(0, now_ns - request.monotonic_ns)
        who = end_name(session.protocol, min(request.sender, 2))
        name = escape(request.name or f"message {request.id}")
        spans: tuple[Span, ...] = (
            (f"#{request.no} ", "link"),
            (f"{name}  ", "warning"),
            (f"{who} since {duration(age)}" if age else f"{who} from here on", "dim"),
        )
        yield Entry(("age", request.no), spans, feed.row_of(request.no), request.name or "")


def _features(word: str, session: Session, names: Names | None) -> Iterator[Entry]:
    offered = session.virtio_offered if names is None else session.protocol_offered
    agreed = session.virtio_agreed if names is None else session.protocol_agreed
    if not agreed and not (names is None and session.features_set):
        agreed = None  # a word of zeros that nobody has sent yet
    if offered is None and not agreed:
        return

    def named(bits: int) -> list[str]:
        return names.bits(bits) if names is not None else virtio.feature_names(bits, session.device)

    if agreed is None:
        yield _word(word, "offered", offered or 0, named(offered or 0), "value")
        return
    yield _word(word, "agreed", agreed, named(agreed), "ok")
    if offered is not None and (refused := offered & ~agreed):
        yield _word(word, "not taken", refused, named(refused), "dim")
    if offered is not None and (extra := agreed & ~offered):
        yield _word(word, "never offered", extra, named(extra), "error")


def _word(word: str, what: str, bits: int, names: list[str], role: str) -> Entry:
    spans: list[Span] = [(f"{what} {bits:#x}", "plain" if role == "ok" else "dim" if role == "dim" else role)]
    for place, name in enumerate(names):
        spans += [("  " if place == 0 else " ", "plain"), (escape(name), role)]
    return Entry((word, what), tuple(spans))


def _memory(feed: Feed, session: Session) -> Iterator[Entry]:
    if not session.regions and session.rings and session.whole:
        yield Entry(("memory",), (("no region was sent: no memory is shared", "warning"),), subject="ADD_MEM_REG")
    if session.regions:
        total = sum(region.size for region in session.regions)
        yield Entry(("memory",), ((f"{plural(len(session.regions), 'region')}, {size(total)}", "dim"),))
    for number, region in enumerate(session.regions):
        last = region.guest_address + region.size - 1
        spans: list[Span] = [
            (f"{number} ", "dim"),
            (f"guest {region.guest_address:#x}…{last:#x}", "plain"),
            (f"  {size(region.size)}", "value"),
            (f"  at {region.user_address:#x}", "dim"),
            (f"  +{region.offset:#x}", "dim"),
        ]
        if region.fd is not None:
            spans.append((f"  {region.fd.kind} {escape(region.fd.name)}".rstrip(), "dim"))
        spans.append((f"  #{region.no}", "link"))
        yield Entry(("region", region.guest_address), tuple(spans), feed.row_of(region.no))


def _rings(feed: Feed, session: Session) -> Iterator[Entry]:
    for number, ring in sorted(session.rings.items()):
        yield ring_entry(feed, number, ring)


def ring_entry(feed: Feed, number: int, ring: Ring) -> Entry:
    """One ring in a line: state, size, where it is, its descriptors."""
    running = ring.started and ring.enabled
    state = (
        "runs"
        if running
        else "started, disabled"
        if ring.started
        else "enabled, stopped"
        if ring.enabled
        else "stopped"
    )
    spans: list[Span] = [(f"{number} ", "dim"), (f"{state:<10}", "ok" if running else "plain")]
    spans.append((f"  {ring.size} entries" if ring.size is not None else "  no size", "value"))
    if ring.base is not None:
        spans.append((f"  at {ring.base}" if ring.base < 1 << 16 else f"  at {ring.base:#x}", "value"))
    for name, signal in (("kick", ring.kick), ("call", ring.call), ("err", ring.err)):
        if signal is not None:
            spans.append((f"  {name} {_signal(signal)}", "dim"))
    if ring.no:
        spans.append((f"  #{ring.no}", "link"))
    return Entry(("ring", number), tuple(spans), feed.row_of(ring.no))


def _signal(signal: Signal) -> str:
    if signal.fd is None:
        return "none"
    return str(signal.fd.eventfd_id) if signal.fd.eventfd_id is not None else signal.fd.kind or "fd"


def _descriptors(feed: Feed, session: Session) -> Iterator[Entry]:
    """What was handed over and is still of use, and which end has it."""
    held: list[tuple[str, int, Descriptor | None]] = []
    held += [(f"memory of region {n}", region.no, region.fd) for n, region in enumerate(session.regions)]
    for number, ring in sorted(session.rings.items()):
        for name, signal in (("kick", ring.kick), ("call", ring.call), ("err", ring.err)):
            if signal is not None and signal.fd is not None:
                held.append((f"{name} of ring {number}", signal.no, signal.fd))
    if session.log is not None:
        held.append(("dirty log", session.log.no, session.log.fd))
    if session.inflight is not None:
        held.append(("in-flight region", session.inflight.no, session.inflight.fd))
    for what, no, fd in held:
        if fd is None:
            continue
        row = feed.row_of(no)
        message = feed.item(row) if row is not None else None
        sender = message.sender if isinstance(message, Message) and message.sender < 2 else 0
        holder = end_name(session.protocol, 1 - sender)
        kind = fd.kind or "descriptor"
        if fd.eventfd_id is not None:
            kind += f" {fd.eventfd_id}"
        spans: tuple[Span, ...] = (
            (f"{what:<18}", "plain"),
            (f"  {kind}", "value"),
            (f"  {holder} has it", "dim"),
            (f"  #{no}", "link"),
        )
        yield Entry(("fd", what), spans, row)


def _channels(feed: Feed, session: Session) -> Iterator[Entry]:
    for (name, number), channel in session.channels.items():
        if name == "main" and not channel.unread and not channel.closed:
            continue
        spans: list[Span] = [(f"{name} {number}" if number > 1 else name, "plain")]
        for end, how in channel.closed:
            spans.append((f"  {end_name(session.protocol, end)} {'closed' if how == 'eof' else how}", "dim"))
        for end in channel.unread:
            spans.append((f"  what {end_name(session.protocol, end)} sent could not be read to its end", "error"))
        row = None
        if channel.by:
            spans.append((f"  #{channel.by}", "link"))
            row = feed.row_of(channel.by)
        yield Entry(("channel", name, number), tuple(spans), row)


def _others(feed: Feed, session: Session) -> Iterator[Entry]:
    if session.status is not None:
        bits = ", ".join(virtio.STATUS_BITS.bits(session.status)) or "reset"
        yield Entry(("status",), (("status ", "dim"), (f"{session.status:#x}  {bits}", "value")), subject="SET_STATUS")
    if session.queues is not None:
        yield Entry(("queues",), ((f"at most {plural(session.queues, 'queue')}", "value"),))
    if session.slots is not None:
        yield Entry(("slots",), ((f"at most {plural(session.slots, 'memory slot')}", "value"),))
    if session.log is not None:
        state = "logging" if session.logging else "not logging"
        text = f"dirty log of {size(session.log.size)}, {state}"
        yield Entry(("log",), ((text, "value"), (f"  #{session.log.no}", "link")), feed.row_of(session.log.no))
    if session.inflight is not None:
        one = session.inflight
        text = f"in-flight region of {size(one.size)}, {plural(one.queues, 'queue')} of {one.queue_size}"
        yield Entry(("inflight",), ((text, "value"), (f"  #{one.no}", "link")), feed.row_of(one.no))
    if session.postcopy != "none":
        yield Entry(("postcopy",), ((f"postcopy {session.postcopy}", "value"),))
