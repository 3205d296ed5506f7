"""What was seen in a session's memory at one moment, as facts: JSON, as it goes into captures and to other programs.

Members that are not known are left out. Readers skip those they don't know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .dirty_log import Dirty
from .inflight import Queue, queue_facts
from .ring import Ring

#: rings in one record of a capture, which may not be longer than 16 KiB
MOST_RINGS = 40

_NAMES = {"number": "ring"}
#: of these False says nothing
_QUIET = ("no_interrupt", "no_notify", "moving", "exact")


def ring_facts(ring: Ring) -> dict[str, Any]:
    """A ring as a JSON object."""
    facts = {_NAMES.get(name, name): value for name, value in zip(ring._fields, ring, strict=True)}
    for name in (*_QUIET, "problem", "chain"):
        if not facts[name]:
            del facts[name]
    return {name: value for name, value in facts.items() if value is not None}


def ring_of(facts: Mapping[str, Any]) -> Ring | None:
    """A ring from its JSON object; None if that is none. A capture may say anything."""
    number, layout, size = facts.get("ring"), facts.get("layout"), facts.get("size")
    if not isinstance(number, int) or not isinstance(layout, str) or not isinstance(size, int):
        return None
    known = {name: facts[name] for name in Ring._fields[3:] if _fits(name, facts.get(name))}
    return Ring(number, layout, size, known.pop("started", False), known.pop("enabled", False), **known)


def _fits(name: str, value: object) -> bool:
    if name in ("problem", "chain"):
        return isinstance(value, str)
    if name in ("started", "enabled", "available_wrap", "used_wrap", "receives", *_QUIET):
        return isinstance(value, bool)
    return isinstance(value, int) and not isinstance(value, bool)


def rings_of(facts: Mapping[str, Any]) -> tuple[Ring, ...]:
    """The rings of a sample."""
    listed = facts.get("rings")
    if not isinstance(listed, list):
        return ()
    found = [ring_of(one) for one in listed if isinstance(one, dict)]
    return tuple(ring for ring in found if ring is not None)


def sample(
    rings: Iterable[Ring], inflight: Iterable[Queue] = (), dirty: Iterable[Dirty] = (), why: str = ""
) -> dict[str, Any]:
    """The facts of one moment; ``why``: nothing could be looked at."""
    listed = list(rings)
    facts: dict[str, Any] = {"event": "sample", "text": why or line(listed), "rings": [*map(ring_facts, listed)]}
    queues = [queue_facts(queue) for queue in inflight]
    if queues:
        facts["inflight"] = queues
    regions = [{"guest_address": one.guest_address, "pages": one.pages, "dirty": one.dirty} for one in dirty]
    if regions:
        facts["dirty"] = regions
    if why:
        facts["why"] = why
    return facts


def line(rings: Iterable[Ring]) -> str:
    """For people: what is going on, in one line."""
    words = []
    for ring in rings:
        if ring.available is None:
            words.append(f"ring {ring.number}: {ring.problem or 'not known'}")
        else:
            words.append(f"ring {ring.number}: {ring.available} available, {ring.used} used")
    return "; ".join(words[:4]) + (f"; {len(words) - 4} more" if len(words) > 4 else "")
