"""What the capture of a test says: messages, what the rules find, and whether it is the golden one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from vhostspy.baseline import Known, key
from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.compare import Strictness, align, told
from vhostspy.compare.message import named
from vhostspy.message import Event, Finding, Message, blamed
from vhostspy.pipeline import Item, Pipeline
from vhostspy.rules.engine import Rules
from vhostspy.session.state import Session

#: of what differs from a golden capture so many messages are told
MOST_TOLD = 12


class Recorded(NamedTuple):
    """A capture, read."""

    items: tuple[Item, ...]
    sessions: dict[int, Session]
    #: where it was cut or damaged, in a sentence
    trouble: str = ""
    baseline: Known = frozenset()

    @property
    def messages(self) -> list[Message]:
        return [item for item in self.items if isinstance(item, Message)]

    @property
    def events(self) -> list[Event]:
        return [item for item in self.items if isinstance(item, Event)]

    @property
    def findings(self) -> list[tuple[Item, Finding]]:
        """Without those that the baseline accepts."""
        return [
            (item, finding)
            for item in self.items
            for finding in item.findings
            if key(finding, item.protocol) not in self.baseline
        ]


def read(
    capture: Path, device: str | None = None, disabled: Collection[str] = (), baseline: Known = frozenset()
) -> Recorded:
    """All of a capture, held against the rules. Raises OSError."""
    pipeline = Pipeline(device, Rules(frozenset(disabled)))
    items: list[Item] = []
    sessions: dict[int, Session] = {}
    trouble = ""
    try:
        with Reader(str(capture)) as reader:
            for record in reader:
                items += pipeline.feed(record)
                if record.session in pipeline.sessions:
                    sessions[record.session] = pipeline.sessions[record.session]
            trouble = reader.note or ""
    except CaptureError as error:
        trouble = str(error)
    items += pipeline.finish()
    return Recorded(tuple(items), sessions, trouble, baseline)


def finding_line(item: Item, finding: Finding) -> str:
    """``#3 error VU-OWN-02: front-end: …``."""
    where = f"#{finding.no} " if finding.no else ""
    who = blamed(finding, item.protocol)
    return f"{where}{finding.severity} {finding.rule}: {who}: {finding.text} ({finding.source})"


def against_golden(golden: Recorded, came: Recorded, strictness: Strictness) -> list[str]:
    """How the sessions differ from the golden capture's, for people; nothing when they do not."""
    expected, real = _by_session(golden.messages), _by_session(came.messages)
    lines: list[str] = []
    count = 0
    if len(expected) != len(real):
        lines.append(f"{len(expected)} sessions in the golden capture, {len(real)} came")
        count += 1
    for one, other in zip(expected, real, strict=False):
        for pair in align(one, other, strictness):
            if pair.how == "same":
                continue
            count += 1
            if count <= MOST_TOLD:
                said = [*told(pair.expected, pair.came, pair.differences)]
                if pair.moved:
                    said[0] += ", in another place"
                lines += said
    if count > MOST_TOLD:
        lines.append(f"and {count - MOST_TOLD} more")
    return lines


def _by_session(messages: list[Message]) -> list[list[Message]]:
    sessions: dict[int, list[Message]] = {}
    for message in messages:
        sessions.setdefault(message.session, []).append(message)
    return list(sessions.values())


def transcript(messages: list[Message], most: int = 10) -> list[str]:
    """The last messages, a line each."""
    lines = []
    for one in messages[-most:]:
        arrow = "→" if one.sender == 0 else "←"
        lines.append(f"  #{one.no:<3} {arrow} {named(one)}  {one.info}".rstrip())
    return lines
