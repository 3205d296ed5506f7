"""Rings as a table for people: a line a ring, and below it what is in flight, where that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, zip_longest

from vhostspy.memory.chain import Chain
from vhostspy.memory.dirty_log import Dirty
from vhostspy.memory.habits import waits
from vhostspy.memory.inflight import Queue
from vhostspy.memory.progress import Pace
from vhostspy.memory.ring import Ring

from .units import duration, escape, plural, size

HEAD = ("ring", "state", "size", "available", "used", "in flight", "kicks", "calls", "used last", "")
#: the last column is text
_LEFT = (1, len(HEAD) - 1)
#: of a chain that are told
_MOST_BUFFERS = 16


def table(
    rings: Sequence[Ring],
    paces: Mapping[int, Pace] = {},
    requests: Mapping[int, Sequence[str]] = {},
    device: str | None = None,
    chains: Mapping[int, Sequence[Chain]] = {},
) -> list[str]:
    """Lines without an end. ``paces``, ``requests`` and ``chains`` by ring; those are as many or none."""
    rows = [HEAD, *(_row(ring, paces.get(ring.number), device) for ring in rings)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    lines = []
    for at, row in enumerate(rows):
        cells = [cell.ljust(width) if i in _LEFT else cell.rjust(width) for i, (cell, width) in
                 enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
        if at:
            ring = rings[at - 1]
            below = _in_flight(ring, requests.get(ring.number, ()), chains.get(ring.number, ()))
            lines += [f"        {line}" for line in below]
    return lines


def _in_flight(ring: Ring, requests: Sequence[str], chains: Sequence[Chain]) -> Iterator[str]:
    """A line a chain; requests that read alike share one."""
    if chains:
        for text, chain in zip_longest(requests, chains):
            yield from () if text is None else (escape(text),)
            yield from () if chain is None else (f"{'' if text is None else '    '}{chain_line(chain)}",)
    else:
        for text, alike in groupby(requests):
            count = len(list(alike))
            yield escape(text) + (f", {count} times" if count > 1 else "")
    told = max(len(requests), len(chains))
    more = (ring.in_flight or 0) - told
    if told and more > 0 and ring.layout == "split":
        yield f"and {more} more"


def chain_line(chain: Chain) -> str:
    """``chain 4: reads 16 at 0x1000, writes 512 at 0x2000 and 1 at 0x1010``; the device does."""
    words = []
    for writes, buffers in groupby(chain.buffers[:_MOST_BUFFERS], lambda buffer: buffer.writable):
        places = " and ".join(f"{buffer.length:,} at {buffer.address:#x}" for buffer in buffers)
        words.append(f"{'writes' if writes else 'reads'} {places}")
    more = len(chain.buffers) - _MOST_BUFFERS
    words += [f"{more} more"] if more > 0 else []
    words += [chain.problem or chain.unknown] if chain.problem or chain.unknown else []
    indirect = ", by an indirect table" if chain.indirect else ""
    return f"chain {chain.head}{indirect}: {', '.join(words) or 'no buffers'}"


def _row(ring: Ring, pace: Pace | None, device: str | None) -> tuple[str, ...]:
    state = "runs" if ring.started and ring.enabled else "disabled" if ring.started else "stopped"
    return (
        str(ring.number),
        state,
        str(ring.size or "?"),
        _index(ring.available, ring.available_wrap),
        _index(ring.used, ring.used_wrap),
        "?" if ring.in_flight is None else f"{'≤ ' if _at_most(ring) else ''}{ring.in_flight}",
        _count(ring.kicks, ring.kick_count, ring.exact),
        _count(ring.calls, ring.call_count, ring.exact),
        _since(pace if ring.used is not None else None),
        ", ".join(_remarks(ring, device)),
    )


def _at_most(ring: Ring) -> bool:
    return ring.layout == "packed" and bool(ring.in_flight)


def _index(index: int | None, wrap: bool | None) -> str:
    if index is None:
        return "?"
    return str(index) if wrap is None else f"{index}/{int(wrap)}"


def _count(seen: int | None, pending: int | None, exact: bool) -> str:
    """At least so many, and how many of them nobody has taken."""
    if seen is None:
        return "?"
    return f"{'' if exact else '≥ '}{seen}" + (f" ({pending} untaken)" if pending else "")


def _since(pace: Pace | None) -> str:
    if pace is None or pace.still_ns is None:
        return "?"
    rate = f" {pace.per_second:,.0f}/s" if pace.per_second else ""
    return (f"{duration(pace.still_ns)} ago" if pace.still_ns else "now") + rate


def _remarks(ring: Ring, device: str | None) -> Iterator[str]:
    if ring.problem:
        yield escape(ring.problem)
    if ring.chain:
        yield escape(ring.chain)
    if ring.full:
        yield "full" + (" of buffers to receive into" if _receives(ring, device) else "")
    if ring.layout == "packed":
        yield "packed"
    if ring.no_notify:
        yield "device wants no kicks"
    elif ring.available_event is not None:
        yield f"kick wanted behind {ring.available_event}"
    if ring.no_interrupt:
        yield "driver wants no calls"
    elif ring.used_event is not None:
        yield f"call wanted behind {ring.used_event}"
    if ring.moving:
        yield "moving"


def _receives(ring: Ring, device: str | None) -> bool:
    known = waits(device, ring.number)
    return bool(ring.receives) if known is None else known


def inflight_lines(queues: Sequence[Queue]) -> list[str]:
    """The in-flight region: what a back-end that starts now would do again."""
    lines = []
    for queue in queues:
        if not queue.fresh or queue.heads:
            heads = " ".join(map(str, queue.heads[:16])) + (" …" if len(queue.heads) > 16 else "")
            what = f"{plural(len(queue.heads), 'request')} to do again ({heads})" if queue.heads else "nothing open"
            lines.append(f"in-flight region, queue {queue.number}: {what}, used index {queue.used_index}")
    return lines


def dirty_lines(regions: Sequence[Dirty], rates: Sequence[float | None] = ()) -> list[str]:
    """The dirty log, a line a region, with a small map. ``rates``: of each, pages a second."""
    lines = []
    for at, one in enumerate(regions):
        rate = rates[at] if at < len(rates) else None
        pace = f", ≥ {rate:,.0f}/s" if rate else ""
        where = f"{size(one.size)} at {one.guest_address:#x}"
        lines.append(f"dirty log: {one.dirty} of {one.pages} pages{pace} of {where} ▕{one.map()}▏")
    return lines
