"""Members of messages out of octets: our functions against scapy's layers, which are made of the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

from vhostspy import message as messages
from vhostspy.capture.record import MESSAGE, Record
from vhostspy.dissectors.codec import Context
from vhostspy.dissectors.heads import Heads, heads

from . import mix
from .peers import Failed
from .table import Result, say

#: what the mix has agreed on
CONTEXT = Context(mix.FEATURES, mix.AGREED, "block")
#: of the header of vhost-user
HEADER = 12

Work = Callable[[], None]


def whole(said: list[mix.Said]) -> Work:
    """Header and payload, with all members."""
    known = {channel: _heads(channel) for channel in {one.channel for one in said}}
    given = [(known[one.channel].decode, one.octets, one.sender) for one in said]

    def work() -> None:
        for decode, octets, sender in given:
            decode(octets, sender, CONTEXT)

    return work


def payloads(said: list[mix.Said]) -> Work:
    """The members of payloads alone, whose layouts are known."""
    given = []
    for one in said:
        plan = _heads(one.channel).decode(one.octets, one.sender, CONTEXT).plan
        if plan is None:
            raise Failed(f"{one.row.name}: {one.octets.hex()} has no layout")
        given.append((plan.whole, one.octets))

    def work() -> None:
        for members, octets in given:
            members(octets, HEADER)

    return work


def records(said: list[mix.Said]) -> Work:
    """As everything here reads them: a record of a capture becomes a message, which is asked for its members."""
    given = [
        Record(
            MESSAGE, no, 0, 0, 0, 1, 0, mix.PROTOCOL, one.channel, 1, one.sender, 0, 1, "<", len(one.octets), one.octets
        )
        for no, one in enumerate(said)
    ]  # fmt: skip

    def work() -> None:
        messages._meanings.clear()  # what was met before would not be decoded again
        for record in given:
            messages.read(record, CONTEXT).fields  # noqa: B018

    return work


def layers(said: list[mix.Said]) -> Work:
    """scapy's, header and payload."""
    from scapy.config import conf

    from vhostspy.dissectors.scapy_layers import HEADERS
    from vhostspy.dissectors.scapy_layers.fields import SETTINGS

    conf.contribs[SETTINGS] = CONTEXT._asdict()
    given = [(HEADERS[mix.PROTOCOL, one.channel], one.octets) for one in said]

    def work() -> None:
        for layer, octets in given:
            layer(octets)

    return work


def _heads(channel: str) -> Heads:
    found = heads(mix.PROTOCOL, channel, "<")
    if found is None:
        raise Failed(f"{mix.PROTOCOL} has no channel {channel}")
    return found


def took(work: Work, count: int) -> float:
    """Seconds of CPU a message."""
    start = time.process_time()
    work()
    return (time.process_time() - start) / count


def measured(rounds: int, quick: bool) -> list[Result]:
    """Rates and ratios; each round runs all of them."""
    said = mix.messages(500 if quick else 7000)
    some = said[: 50 if quick else 500]
    works: dict[str, tuple[Work, int]] = {
        "whole": (whole(said), len(said)),
        "payloads": (payloads(said), len(said)),
        "records": (records(said), len(said)),
    }
    if find_spec("scapy") is None:
        say("SKIPPED: decoding against scapy, which this interpreter cannot import")
    else:
        works["layers"] = layers(some), len(some)
    times: dict[str, list[float]] = {name: [] for name in works}
    for work, _ in works.values():
        work()  # now its functions are there
    for _ in range(rounds):
        for name, (work, count) in works.items():
            times[name].append(min(took(work, count) for _ in range(1 if name == "layers" else 3)))
    for name, values in times.items():
        say(f"decoding, {name:8} {sorted(values)[len(values) // 2] * 1e6:.2f} µs a message")
    results = [
        Result("decode, members of payloads, a second", _rates(times["payloads"]), 1.5, 3, at_least=True, unit="M"),
        Result("decode, header and members, a second", _rates(times["whole"]), None, None, at_least=True, unit="M"),
    ]
    if "layers" in times:
        goals: dict[str, tuple[str, float | None, float | None]] = {
            "whole": ("decode, header and members, times faster than scapy's layers", 40, 80),
            "records": ("the same from records to messages with members, times faster", None, None),
        }
        for name, (area, bar, stretch) in goals.items():
            ratios = tuple(theirs / ours for theirs, ours in zip(times["layers"], times[name], strict=True))
            results.append(Result(area, ratios, bar, stretch, at_least=True))
    return results


def _rates(times: list[float]) -> tuple[float, ...]:
    return tuple(1e-6 / each for each in times)
