"""Samples: what was seen of a session becomes a record of a capture, and is judged like one read from there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vhostspy.capture.long import LONG
from vhostspy.capture.record import FROM_SPY, SAMPLE, Record
from vhostspy.memory.chain import chain_facts
from vhostspy.memory.ring import Ring
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
    for facts in in_records(seen):
        text = json.dumps(facts, separators=(",", ":"))
        attachment.asked("sample", session=seen.session.number, facts=text, text=facts["text"][:400])


def in_records(seen: Seen) -> Iterator[dict[str, Any]]:
    """The facts in parts that fit a record each. What is not about rings comes with the first, if it fits."""
    for shorter in (seen, seen._replace(inflight=(), dirty=())):
        facts = facts_of(shorter)
        if len(seen.rings) <= MOST_RINGS and len(json.dumps(facts, separators=(",", ":"))) <= LONG:
            yield facts
            return
    half = len(seen.rings) // 2
    if not half:  # a ring alone, with what is in flight by its requests
        yield facts_of(seen._replace(inflight=(), dirty=(), requests={}))
        return
    yield from in_records(seen._replace(rings=seen.rings[:half], requests=_of(seen.rings[:half], seen.requests)))
    yield from in_records(seen._replace(rings=seen.rings[half:], requests=_of(seen.rings[half:], seen.requests),
                                        inflight=(), dirty=()))  # fmt: skip


def _of(rings: tuple[Ring, ...], requests: Mapping[int, list[str]]) -> dict[int, list[str]]:
    return {ring.number: requests[ring.number] for ring in rings if ring.number in requests}
