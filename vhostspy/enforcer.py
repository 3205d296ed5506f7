"""``--enforce``: the policy that ends a session at the first error, before the offending message goes on.

Only with it does the relay's process decode what passes: each whole message is held against the rules, in the order in
which it would go on, and the time that takes is added to its way. ``--disable``, ``--peer-profile`` and ``--baseline``
hold here as they do for ``check``: what is accepted goes on.

A message ends its session, nothing else does: what shows in a silence or at an end of file (an answer that does not
come, two channels that wait for each other) has no message that could be held back, and is for ``--strict``. Nor does
one session's enforcer know the one before it, so rules of reconnects find nothing here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Container

from vhostspy.baseline import Known, key
from vhostspy.capture.facts import describe
from vhostspy.capture.record import EVENT, MESSAGE, Descriptor, Record
from vhostspy.dissectors import registry
from vhostspy.message import Event, Finding, end_name
from vhostspy.pipeline import Pipeline
from vhostspy.relay.policy import END, PASS, PASSED, Hands, Intercepted, Policy, PolicyMaker, Verdict
from vhostspy.rules.engine import Rules


class _Everything(Container[int]):
    """All message numbers there are."""

    def __contains__(self, number: object) -> bool:
        return True


EVERYTHING: Container[int] = _Everything()
_ORDER = "<" if sys.byteorder == "little" else ">"


class Enforcer:
    """One session's. ``before``: a policy that acts first; what it lets go on is judged. ``accepted``: findings that
    are known, and end nothing."""

    def __init__(
        self, rules: Rules, device: str | None, before: Policy | None = None, accepted: Known = frozenset()
    ) -> None:
        self._pipeline = Pipeline(device, rules)
        self._before = before
        self._accepted = accepted
        self._no = 0
        #: nested channels that have spoken
        self._channels = {("main", 1)}
        opened = b'{"event": "open"}'
        self._feed(_record(EVENT, 0, "vhost-user", "main", 0, 2, opened, ()))

    def wants(self, protocol: str, channel: str, sender: int) -> Container[int]:
        return EVERYTHING

    def decide(self, message: Intercepted) -> Verdict:
        verdict = PASSED
        if self._before is not None and message.id in self._before.wants(
            message.protocol, message.channel, message.sender
        ):
            verdict = self._before.decide(message)
            if verdict.action != PASS:
                return verdict
        broken = self._judge(message, message.data if verdict.data is None else verdict.data)
        if broken is None:
            return verdict
        who = "a peer" if broken.who not in (0, 1) else end_name(message.protocol, broken.who)
        return Verdict(END, reason=f"{who} broke {broken.rule}: {broken.text}", by="enforce")

    def _judge(self, message: Intercepted, data: bytes) -> Finding | None:
        """The first error, if there is one."""
        self._no += 1
        protocol, channel, channel_no = message.protocol, message.channel, message.channel_no
        if (channel, channel_no) not in self._channels:
            self._channels.add((channel, channel_no))
            self._feed(_record(EVENT, 0, protocol, channel, channel_no, 2, b'{"event": "channel"}', ()))
        fds = _descriptors(message)
        findings = self._feed(_record(MESSAGE, self._no, protocol, channel, channel_no, message.sender, data, fds))
        for finding in findings:
            if finding.severity == "error" and key(finding, protocol) not in self._accepted:
                return finding
        return None

    def _feed(self, record: Record) -> list[Finding]:
        """What is wrong with the record's own message; a silence that it ends is not its fault."""
        items = self._pipeline.feed(record)
        return [finding for item in items if not isinstance(item, Event) for finding in item.findings]


def _record(
    kind: int, no: int, protocol: str, channel: str, channel_no: int, sender: int, data: bytes,
    fds: tuple[Descriptor, ...],
) -> Record:  # fmt: skip
    now = time.monotonic_ns()
    return Record(
        kind, no, 0, now, 0, 1, 0, protocol, channel, channel_no, sender, 0, 1, _ORDER, len(data), data, 0, fds
    )


def _descriptors(message: Intercepted) -> tuple[Descriptor, ...]:
    if not message.fds:
        return ()
    asker = 1 - message.sender if message.is_reply else message.sender
    row = registry.row(message.protocol, message.channel, asker, message.id)
    fds = None if row is None else row.reply_fds if message.is_reply else row.request_fds
    return tuple(describe(fd, "" if fds is None else fds.role) for fd in message.fds)


def policy_maker(
    disabled: Container[str],
    profile: tuple[str | None, str | None],
    device: str | None,
    first: PolicyMaker | None,
    accepted: Known = frozenset(),
) -> PolicyMaker:
    """For each session an enforcer, behind the policy that ``first`` makes."""

    def make(hands: Hands) -> Policy:
        return Enforcer(Rules(disabled, profile), device, first(hands) if first is not None else None, accepted)

    return make
