"""Messages and events as lines for people.

A line a message: number, time since the first message, time since the line before, channel, who sent it, name, what
matters of its members, descriptors; an answer names its request and how long it took. ``-v`` puts all members below,
``-x`` the octets. Whatever a peer or a file system chose is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from vhostspy.capture.record import LATE_FDS, UNSURE_FDS, Descriptor
from vhostspy.message import Event, Message, blamed, end_name

from .form import Form
from .members import members
from .naming import Naming
from .units import duration, escape, hex_dump, plural, seconds, size

if TYPE_CHECKING:
    from vhostspy.pipeline import Item
    from vhostspy.session.state import Session

    from .summary import Summary

#: below a message, its members begin here
INDENT = " " * 6
#: of octets that could not be framed, so many are in the line
MOST_RAW = 16
_SEALS = ("seal", "shrink", "grow", "write", "future-write", "exec")


class Look(NamedTuple):
    """How much is shown of each message."""

    verbose: bool = False
    octets: bool = False
    colour: bool = False


class Text(Form):
    """Writes one capture's items; times count from its first message."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.samples = look.verbose
        self._paint: Callable[[str, str], str] = _painted if look.colour else _plain
        self._start_ns: int | None = None
        self._before_ns = 0
        self._more = look.verbose or look.octets
        #: where a message was -> the middle of the line, which repeats
        self._middles: dict[tuple[object, ...], str] = {}

    def heading(self) -> str:
        """What the columns are."""
        line = f"{'#':>4}  {'time':>9}  {'Δ':>7}  {'channel':<8} {'from':<11}  {'message':<24}  info"
        return f"{self._paint(line, '2')}\n"

    def seen(self, message: Message) -> None:
        # times count from the first one of all
        if self._start_ns is None:
            self._start_ns = self._before_ns = message.monotonic_ns

    def message(self, message: Message) -> str:
        """The line, and with -v and -x what belongs below it; each line ends in a newline."""
        now = message.monotonic_ns
        start = self._start_ns
        if start is None:
            start = self._start_ns = self._before_ns = now
        delta = now - self._before_ns
        self._before_ns = now
        where = message[3:8]  # session, channel, its number, sender, protocol
        middle = self._middles.get(where)
        if middle is None:
            if len(self._middles) > 1000:  # sessions come and go
                self._middles.clear()
            middle = self._middles[where] = _middle(message)
        kind = message.kind
        name = message.name if kind == "request" or kind == "reply" else None
        if name is None:
            name = title(message)
        about = message.info if kind != "raw" else _raw(message)
        if message.fds:
            about = f"{about}  {descriptors(message)}" if about else descriptors(message)
        if message.answers is not None:
            answer = f"↩ #{message.answers} {duration(message.latency_ns or 0)}"
            about = f"{about}  {answer}" if about else answer
        if message.marks or message.reads > 1 or message.original is not None:
            marks = _marks(message)
            about = f"{about}  {marks}" if about and marks else about or marks
        if self.look.colour:
            colour = "31" if message.failed or kind == "raw" or message.name is None else "1"
            if colour == "31" or not message.is_reply:
                name = self._paint(name, colour) + " " * max(0, 24 - len(name))
        line = (
            f"{message.no:>4}  {(now - start) / 1e9:9.6f}  {duration(delta):>7}  {middle}{name:<24}  {about}".rstrip()
        )
        if self._more or message.findings:
            return "\n".join((line, *self._below(message), ""))
        return line + "\n"

    def event(self, event: Event) -> str:
        """An event: a line without a number, and without a time before the first message."""
        time = "" if self._start_ns is None else seconds(event.monotonic_ns - self._start_ns)
        text = happened(event)
        colour = _SEVERITY_COLOURS[EVENT_SEVERITIES.get(event.event, "note")]
        line = f"      {time:>9}  {self._paint(f'── {text}', colour)}\n"
        return line + "".join(f"{one}\n" for one in self._findings(event)) if event.findings else line

    def summary(self, summary: Summary, sessions: Mapping[int, Session]) -> str:
        return "\n".join((*summary.lines(sessions), ""))

    def _findings(self, item: Message | Event) -> Iterator[str]:
        for one in item.findings:
            text = f"● {one.severity}: {blamed(one, item.protocol)}: {escape(one.text)} ({one.rule}; {one.source})"
            yield f"{INDENT}{self._paint(text, _SEVERITY_COLOURS[one.severity])}"

    def _below(self, message: Message) -> Iterator[str]:
        yield from self._findings(message)
        if self.look.verbose:
            if message.flags is not None:
                yield INDENT + _header(message)
            yield from members(message, INDENT, len("descriptor") if message.fds else 0)
            width = max([10, *map(len, message.fields)])
            for fd in message.fds:
                yield f"{INDENT}{'descriptor':<{width}}  {descriptor(fd)}"
        if self.look.octets:
            yield from hex_dump(message.data, INDENT)
            if message.original is not None:
                yield f"{INDENT}came as"
                yield from hex_dump(message.original, INDENT)


class LateText(Text):
    """Text in which some items are kept back until their bits can be named (``naming``)."""

    def __init__(self, look: Look, naming: Naming) -> None:
        super().__init__(look)
        self._naming = naming

    def message(self, message: Message) -> str:
        if self._naming.passes(message):
            return super().message(message)
        self.seen(message)
        return self._lines(self._naming.feed(message))

    def event(self, event: Event) -> str:
        return self._lines(self._naming.feed(event))

    def rest(self) -> str:
        return self._lines(self._naming.finish())

    def _lines(self, items: Iterable[Item]) -> str:
        one, other = super().message, super().event
        return "".join([one(item) if isinstance(item, Message) else other(item) for item in items])


#: events that are as bad as a finding of that severity; all others are notes
EVENT_SEVERITIES = {
    "fault": "error", "gap": "error", "unread": "error",
    "unanswered": "warning", "waiting": "warning", "reset": "warning", "undelivered": "warning",
}  # fmt: skip
_SEVERITY_COLOURS = {"error": "31", "warning": "33", "note": "36"}


def _raw(message: Message) -> str:
    """Octets that could not be framed, by how they begin."""
    first = message.data[:MOST_RAW]
    return f"{message.info}: {first.hex(' ')}{' …' if len(message.data) > MOST_RAW else ''}" if first else message.info


def _painted(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


def _plain(text: str, colour: str) -> str:
    return text


def _middle(message: Message) -> str:
    label = channel_label(message.session, message.channel, message.channel_no)
    end = min(message.sender, 2)
    return f"{label:<8} {('→', '←', '·')[end]} {end_name(message.protocol, end):<9}  "


def channel_label(session: int, channel: str, channel_no: int) -> str:
    """``main``, ``backend#3``; of a second session ``2:main``."""
    label = channel or "?"
    if channel not in ("", "main") and channel_no > 1:
        label = f"{label}#{channel_no}"
    return label if session <= 1 else f"{session}:{label}"


def happened(event: Event) -> str:
    """An event's text; where there are several sessions it says of which."""
    text = escape(event.text) or escape(event.event)
    whose = f"session {event.session}"
    return text if event.session < 2 or text.startswith(f"{whose} ") else f"{whose}: {text}"


def title(message: Message) -> str:
    """The message's name; of an acknowledgement, that it is one."""
    if message.kind == "raw":
        return "(unread octets)"
    if message.name is None:
        return f"unknown {'reply' if message.is_reply else 'message'} {message.id}"
    return f"{message.name} ack" if message.kind == "ack" else message.name


def descriptors(message: Message) -> str:
    """``[kick eventfd]``, ``[memory memfd ×8]``: what came with it."""
    return _counted(tuple([(fd.role, fd.kind) for fd in message.fds]))


@lru_cache(maxsize=256)
def _counted(what: tuple[tuple[str, str], ...]) -> str:
    names = [escape(" ".join(filter(None, each)) or "descriptor") for each in what]
    counted = {name: names.count(name) for name in names}
    return f"[{', '.join(name if n == 1 else f'{name} ×{n}' for name, n in counted.items())}]"


def _marks(message: Message) -> str:
    """What is remarkable about the way it came or went, in a word each."""
    words = []
    if message.changed or message.original is not None:
        words.append(f"changed by {message.by or 'a policy'}")
    if message.dropped:
        words.append(f"dropped by {message.by}" if message.by else "did not go on")
    if message.injected:
        words.append(f"made by {message.by or 'a policy'}")
    if message.incomplete:
        words.append(f"incomplete: {len(message.data)} of {plural(message.length, 'byte')}")
    elif message.snapped:
        words.append(f"first {plural(len(message.data), 'byte')} kept")
    if message.marks & LATE_FDS:
        words.append(f"descriptors came at byte {message.fds_at}")
    if message.marks & UNSURE_FDS:
        words.append("descriptors may belong to a message before")
    if message.reads > 1:
        words.append(f"came in {message.reads} pieces")
    return f"({', '.join(words)})" if words else ""


def _header(message: Message) -> str:
    flags = message.flags or 0
    words = [f"id {message.id}", f"flags {flags:#x}"]
    if message.msgid is not None:
        words.insert(1, f"message id {message.msgid}")
        if message.kind == "request" and not message.need_reply:
            words.append("declines a reply")
    elif message.need_reply:
        words.append("asks for a reply")
    if message.error:
        words.append(f"error {message.error}")
    # of vfio-user it counts the header as well
    payload = (message.size or 0) - (message.payload_at if message.msgid is not None else 0)
    words.append(f"{plural(payload, 'byte')} of payload" if payload > 0 else "no payload")
    return ", ".join(words)


def descriptor(fd: Descriptor) -> str:
    """All the facts about one descriptor that say something."""
    words = [escape(" ".join(part for part in (fd.role, fd.kind) if part)) or "unknown"]
    if fd.name and not fd.name.startswith("anon_inode:"):
        words.append(escape(fd.name))
    if fd.size is not None:
        words.append(size(fd.size))
    if fd.eventfd_id is not None:
        words.append(f"eventfd {fd.eventfd_id}")
    if fd.access:
        words.append({"r": "read only", "w": "write only", "rw": "read-write"}.get(fd.access, escape(fd.access)))
    if fd.seals:
        words.append("sealed: " + ", ".join(name for bit, name in enumerate(_SEALS) if fd.seals >> bit & 1))
    if fd.inode and fd.eventfd_id is None:
        words.append(f"inode {fd.inode}")
    return ", ".join(words)
