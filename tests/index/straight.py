"""What a straight run says of a capture, to compare an index with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vhostspy.capture.reader import CaptureError, Reader
from vhostspy.capture.record import EVENT, MESSAGE, ORIGINAL, RAW, SAMPLE
from vhostspy.message import Event
from vhostspy.pipeline import Item, Pipeline
from vhostspy.rules.engine import Rules
from vhostspy.session.state import Session


class Straight(NamedTuple):
    """Rows from the first to the last; of each the item, the sessions after it, and the events said before it."""

    items: list[Item]
    sessions: list[Mapping[int, Session]]
    asides: list[list[Item]]
    damage: str


def straight(source: str | bytes, rules: Rules | None = None, device: str | None = None) -> Straight:
    pipeline = Pipeline(device, rules)
    run = Straight([], [], [[]], "")
    with Reader(source) as reader:
        try:
            for record in reader:
                given = list(pipeline.feed(record))
                if record.kind in (MESSAGE, RAW, EVENT, SAMPLE) and not record.flags & ORIGINAL:
                    run.items.append(given.pop())
                    run.sessions.append(dict(pipeline.sessions))
                    run.asides[-1].extend(given)
                    run.asides.append([])
                else:
                    run.asides[-1].extend(given)
        except CaptureError as error:
            run = run._replace(damage=str(error))
    run.asides[-1].extend(pipeline.finish())
    assert all(isinstance(item, Event) for items in run.asides for item in items)
    return run
