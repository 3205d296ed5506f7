"""Samples: what was seen of a session becomes a record of a capture, and is judged like one read from there."""

from __future__ import annotations

import json
from typing import Any

from vhostspy.capture.long import LONG
from vhostspy.capture.record import FROM_SPY, SAMPLE, Record
from vhostspy.memory.chain import chain_facts
from vhostspy.memory.sample import MOST_RINGS, sample
from vhostspy.message import Event
from vhostspy.pipeline import Pipeline

from .attachment import Attachment, Seen


def facts_of(seen: Seen) -> dict[str, Any]:
    """All that was seen, as JSON."""
    facts = sample(seen.rings, seen.inflight, seen.dirty, seen.why)
    requests = {str(ring): texts for ring, texts in seen.requests.items() if texts}
    if requests:
        facts["requests"] = requests
    chains = {str(ring): [chain_facts(chain) for chain in chains] for ring, chains in seen.chains.items() if chains}
    if chains:
        facts["chains"] = chains
    return facts


def event_of(seen: Seen, pipeline: Pipeline) -> Event:
    """The same as an event, with what the pipeline's rules find in it."""
    data = json.dumps(facts_of(seen)).encode()
    record = Record(
        SAMPLE, 0, seen.time_ns, seen.monotonic_ns, 0, seen.session.number, 0, "vhost-user", "", 0, FROM_SPY, 0, 1, "<",
        len(data), data,
    )  # fmt: skip
    return next(item for item in pipeline.feed(record) if isinstance(item, Event) and item.event == "sample")


def put(attachment: Attachment, seen: Seen) -> None:
    """Put it into the relay's capture; of many rings in several records. Raises NoRelay."""
    seen = seen._replace(chains={})  # where a guest has its buffers helps nobody later
    rings = seen.rings
    for start in range(0, max(len(rings), 1), MOST_RINGS):
        part = seen._replace(rings=rings[start : start + MOST_RINGS])
        if start:
            part = part._replace(inflight=(), dirty=(), requests={})
        facts = facts_of(part)
        text = json.dumps(facts, separators=(",", ":"))
        if len(text) > LONG:
            text = json.dumps(facts_of(part._replace(inflight=(), dirty=(), requests={})), separators=(",", ":"))
        attachment.asked("sample", session=seen.session.number, facts=text, text=facts["text"][:400])
