"""A feed that is only pretended: the items of a conversation, as many of them as the test lets be known."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from tests.pipeline.conversation import CALL, KICK, MS, RAM, Conversation
from vhostspy.filter import Filter
from vhostspy.index import Glance
from vhostspy.message import SEVERITIES, Event, Finding, Message, judged
from vhostspy.pipeline import Item
from vhostspy.session import ledger as ledgers
from vhostspy.session.state import Session
from vhostspy.tui.feed import Counts, ends_there


class Found:
    """A search that looks at so many rows a slice."""

    def __init__(self, feed: Pretend, filter: Filter, step: int) -> None:
        self.feed, self.filter, self.step = feed, filter, step
        self.rows = array("I")
        self.searched = 0

    def advance(self, budget_s: float) -> bool:
        end = min(self.searched + self.step, self.feed.studied)
        for row in range(self.searched, end):
            item = self.feed.item(row)
            if isinstance(item, Message) and self.filter(item):
                self.rows.append(row)
        self.searched = end
        return end < self.feed.studied


class Pretend:
    """Rows are the conversation's items. ``known``: so many of them are there; ``slow``: rows a search sees a slice."""

    def __init__(self, conversation: Conversation, *, known: int | None = None, live: bool = False, slow: int = 10**9):
        self.conversation = conversation
        self.name = "pretend.pcapng"
        self.live = live
        self.note = ""
        self.slow = slow
        self.closed = False
        self.items: list[Item] = list(conversation.items)
        self.states: list[Mapping[int, Session]] = []
        replay = Conversation()
        replay.pipeline.sessions.clear()
        for record in conversation.records:
            for _ in replay.pipeline.feed(record):
                self.states.append(dict(replay.pipeline.sessions))
        self.rows = len(self.items) if known is None else known
        #: what was said just before a row
        self.silences: dict[int, tuple[Event, ...]] = {}
        self.partners: dict[int, int] = {}
        for row, item in enumerate(self.items):
            if isinstance(item, Message) and item.answers is not None:
                request = self._row(item.answers)
                self.partners[row], self.partners[request] = request, row

    def find(self, row: int, *findings: Finding) -> None:
        """Something is wrong with a row."""
        item = self.items[row]
        self.items[row] = judged(item, findings) if isinstance(item, Message) else item._replace(findings=findings)

    def _row(self, no: int) -> int:
        return next(row for row, item in enumerate(self.items) if isinstance(item, Message) and item.no == no)

    @property
    def studied(self) -> int:
        return self.rows

    @property
    def start_ns(self) -> int:
        return next((item.monotonic_ns for item in self.items[: self.rows] if isinstance(item, Message)), 0)

    @property
    def progress(self) -> float:
        return 1.0

    def advance(self, budget_s: float) -> bool:
        return False

    def item(self, row: int) -> Item:
        if not 0 <= row < self.rows:
            raise IndexError(row)
        return self.items[row]

    def glance(self, row: int) -> Glance:
        item = self.item(row)
        severity = max((SEVERITIES[one.severity] for one in item.findings), default=0)
        if isinstance(item, Event):
            sender = 2 if item.sender is None else item.sender
            return Glance(
                row, 0, item.monotonic_ns, item.session, item.protocol, item.channel, item.channel_no, sender, "event",
                None, None, None, 0, 0, None, None, severity, False, True,
            )  # fmt: skip
        partner = self.partners.get(row)
        return Glance(
            row, item.no, item.monotonic_ns, item.session, item.protocol, item.channel, item.channel_no, item.sender,
            item.kind, item.name, item.id, item.size, len(item.fds), item.marks,
            partner if partner is not None and partner < self.rows else None, item.latency_ns, severity, item.awaited,
            True,
        )  # fmt: skip

    def sessions(self, row: int) -> Mapping[int, Session]:
        return self.states[min(row, len(self.states) - 1)] if self.states else {}

    def asides(self, row: int) -> Sequence[Event]:
        return self.silences.get(row, ())

    def counts(self) -> Counts:
        known = self.items[: self.rows]
        findings = [one for item in known for one in item.findings]
        sessions = self.sessions(self.rows - 1) if self.rows else {}
        waiting = [one for session in sessions.values() for one in ledgers.outstanding(session.ledger)]
        return Counts(
            sum(isinstance(item, Message) for item in known),
            len(sessions),
            sum(one.severity == "error" for one in findings),
            sum(one.severity == "warning" for one in findings),
            len(waiting),
            min((one.monotonic_ns for one in waiting), default=0),
            ends_there(sessions.get(1)),
        )

    def row_of(self, no: int) -> int | None:
        for row, item in enumerate(self.items[: self.rows]):
            if isinstance(item, Message) and item.no == no:
                return row
        return None

    def next_finding(self, row: int, step: int) -> int | None:
        rows = range(row + 1, self.rows) if step > 0 else range(min(row, self.rows) - 1, -1, -1)
        return next(
            (each for each in rows if any(one.findings for one in (self.items[each], *self.asides(each)))), None
        )

    def findings_by_rule(self) -> Mapping[tuple[str, str], int]:
        counts: dict[tuple[str, str], int] = {}
        for item in self.items[: self.rows]:
            for one in item.findings:
                counts[one.rule, one.severity] = counts.get((one.rule, one.severity), 0) + 1
        return counts

    def matching(self, filter: Filter) -> Found:
        return Found(self, filter, self.slow)

    def offsets(self, row: int) -> Sequence[int]:
        return (row * 4,)

    def close(self) -> None:
        self.closed = True


WRONG = Finding(
    "VU-NEG-01", "error", 0, "a bit was acknowledged that was not offered", "vhost-user, features", 9, (2, 9)
)


def session() -> Conversation:
    """A session that sets up two rings and asks for something that is never answered. Rows and what is in them:

    0 open · 1–2 GET_FEATURES · 3–4 GET_PROTOCOL_FEATURES · 5 SET_PROTOCOL_FEATURES · 6 SET_OWNER · 7 SET_FEATURES ·
    8 ADD_MEM_REG (fd) · 9 its ack · 10–15 for ring 0, 16–21 for ring 1: NUM, BASE, ADDR, KICK (fd), CALL (fd), ENABLE ·
    22 GET_CONFIG, unanswered · 23 the back-end closes
    """
    said = Conversation()
    said.ask("GET_FEATURES", {"features": 1 << 30 | 1 << 32 | 1 << 9})
    said.ask("GET_PROTOCOL_FEATURES", {"protocol_features": 0x8209})
    said.front_end("SET_PROTOCOL_FEATURES", protocol_features=0x8209)
    said.front_end("SET_OWNER")
    said.front_end("SET_FEATURES", features=1 << 30 | 1 << 32)
    region = {"guest_address": 0, "length": 512 << 20, "user_address": 0x7F0000000000, "mmap_offset": 0}
    said.front_end("ADD_MEM_REG", need_reply=True, fds=[RAM], **region)
    said.reply("ADD_MEM_REG", value=0)
    for ring in (0, 1):
        said.front_end("SET_VRING_NUM", index=ring, num=256)
        said.front_end("SET_VRING_BASE", index=ring, num=0)
        at = 0x7F0000001000 + 0x10000 * ring
        said.front_end(
            "SET_VRING_ADDR", index=ring, descriptor=at, used=at + 0x2000, available=at + 0x1000, log_address=0
        )
        said.front_end("SET_VRING_KICK", index=ring, nofd=False, fds=[KICK])
        said.front_end("SET_VRING_CALL", index=ring, nofd=False, fds=[CALL])
        said.front_end("SET_VRING_ENABLE", index=ring, num=1)
    said.pause(200 * MS)
    said.front_end("GET_CONFIG", offset=0, length=8, config_flags=0, config=bytes(8))
    said.pause(1800 * MS)
    said.event("eof", sender=1)
    return said


def feed(**more: Any) -> Pretend:
    """That session, with an error in SET_FEATURES."""
    pretend = Pretend(session(), **more)
    pretend.find(7, WRONG)
    return pretend
