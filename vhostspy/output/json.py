"""Messages and events as JSON lines: the contract that scripts rest on, described in ``docs/json.md``.

One object a line, members always in the same order, integers exact, octets in lower-case hex. New members may come;
none changes its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vhostspy.capture.record import LATE_FDS, UNSURE_FDS, Descriptor
from vhostspy.dissectors.codec import Context
from vhostspy.message import SPY, Event, Finding, Message, blamed, end_name

from .form import Form

if TYPE_CHECKING:
    from vhostspy.session.state import Session

    from .summary import Summary

#: without -x, this much of a message's octets
MOST_OCTETS = 4096

_KINDS = frozenset(("memfd", "eventfd", "socket", "pipe", "userfaultfd", "dma-buf", "file"))


def _octets(value: object) -> Any:
    """What JSON has no form for: octets."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return value.hex()
    return str(value)


_encode = json.JSONEncoder(default=_octets).encode

#: of messages of these octets the part that is always the same is written once
_MOST_KEPT = 256
_MOST_PARTS = 8192


class Json(Form):
    """Writes one capture's items as lines."""

    samples = True

    def __init__(self, octets: bool = False) -> None:
        self.most_octets = None if octets else MOST_OCTETS
        #: octets, what they depend on -> what of the line comes of them: sender, name and members; octets in hex
        self._parts: dict[tuple[bytes, str, str, int, str, Context, str | None], tuple[str, str]] = {}

    def message(self, message: Message) -> str:
        data = message.data
        if message.kind == "raw" or len(data) > _MOST_KEPT or message.original is not None:
            return _encode(self.values(message)) + "\n"
        if message.marks or message.reads > 1 or message.sender == SPY:
            return _encode(self.values(message)) + "\n"
        # what follows writes the same as the line above, in a third of the time
        protocol = message.protocol
        key = (data, protocol, message.channel, message.sender, message.byte_order, message.context, message.name)
        parts = self._parts.get(key)
        if parts is None:
            if len(self._parts) >= _MOST_PARTS:
                self._parts.clear()
            parts = self._parts[key] = _encode(_same(message))[1:-1], data.hex()
        same, octets = parts
        findings = _encode([finding(one, protocol) for one in message.findings]) if message.findings else "[]"
        fds = f"[{', '.join(map(_descriptor, message.fds))}]" if message.fds else "[]"
        return (
            f'{{"no": {message.no}, "time_ns": {message.time_ns}, "session": {message.session}, '
            f'"channel": "{message.channel}", "channel_no": {message.channel_no}, {same}, '
            f'"answers": {_number(message.answers)}, "latency_ns": {_number(message.latency_ns)}, '
            f'"findings": {findings}, "fds": {fds}, "bytes": "{octets}"}}\n'
        )

    def values(self, message: Message) -> dict[str, Any]:
        """The object, before it is written."""
        data = message.data
        values: dict[str, Any] = {
            "no": message.no,
            "time_ns": message.time_ns,
            "session": message.session,
            "channel": message.channel,
            "channel_no": message.channel_no,
            **_same(message),
            "answers": message.answers,
            "latency_ns": message.latency_ns,
            "findings": [finding(one, message.protocol) for one in message.findings],
            "fds": [descriptor(fd) for fd in message.fds],
            "bytes": data if self.most_octets is None else data[: self.most_octets],
        }
        if (self.most_octets is not None and len(data) > self.most_octets) or message.snapped:
            values["bytes_cut"] = True
        if message.marks or message.reads > 1 or message.original is not None:
            values.update(_remarkable(message))
        return values

    def event(self, event: Event) -> str:
        values: dict[str, Any] = {"event": event.event, "time_ns": event.time_ns, "session": event.session}
        if event.channel:
            values["channel"] = event.channel
            values["channel_no"] = event.channel_no
        if event.sender is not None:
            values["from"] = end_name(event.protocol, event.sender)
        for name, value in event.facts.items():
            values.setdefault(name, value)
        values.pop("kind", None)  # what has a kind is a message
        values.pop("text", None)
        values["text"] = event.text
        if event.findings:
            values["findings"] = [finding(one, event.protocol) for one in event.findings]
        return _encode(values) + "\n"

    def summary(self, summary: Summary, sessions: Mapping[int, Session]) -> str:
        return self.event(summary.as_event(sessions))


def _same(message: Message) -> dict[str, Any]:
    """What follows from a message's octets, its sender and what was agreed on."""
    decoded = message.decoded
    number = {} if message.msgid is None else {"msgid": message.msgid, "error": message.error or 0}
    fields: Mapping[str, object] = decoded.fields
    if message.kind == "raw":
        fields = {}
    elif not fields and decoded.rest:
        # octets that nobody explains are there once, as bytes
        fields = {"rest": decoded.rest}
    return {
        "from": end_name(message.protocol, message.sender),
        "protocol": message.protocol,
        "message": message.name,
        "id": message.id,
        "kind": message.kind,
        "flags": message.flags,
        "need_reply": message.need_reply,
        "size": message.size,
        **number,
        "fields": fields,
        "names": decoded.names,
        "info": message.info,
    }


def descriptor(fd: Descriptor) -> dict[str, Any]:
    return {
        "role": fd.role,
        "kind": fd.kind if fd.kind in _KINDS else "other",
        "device": fd.device,
        "inode": fd.inode,
        "size": fd.size,
        "access": fd.access,
        "seals": fd.seals,
        "eventfd_id": fd.eventfd_id,
        "name": fd.name,
    }


def _descriptor(fd: Descriptor) -> str:
    """``descriptor``, written; what is not a number or null has no character that JSON would escape, but for names."""
    role, kind, access, device, inode, size, seals, number, name = fd
    return (
        f'{{"role": "{role}", "kind": "{kind if kind in _KINDS else "other"}", "device": {device}, "inode": {inode}, '
        f'"size": {_number(size)}, "access": "{access}", "seals": {_number(seals)}, "eventfd_id": {_number(number)}, '
        f'"name": {_encode(name)}}}'
    )


def _number(value: int | None) -> int | str:
    return "null" if value is None else value


def finding(one: Finding, protocol: str) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "severity": one.severity,
        "who": blamed(one, protocol),
        "text": one.text,
        "source": one.source,
        "no": one.no,
        "evidence": list(one.evidence),
    }


def _remarkable(message: Message) -> dict[str, Any]:
    """Members that only some messages have: what a policy did, and how it came."""
    values: dict[str, Any] = {}
    if message.changed or message.original is not None:
        values["changed"] = {"by": message.by or "policy", "bytes": message.original}
    if message.dropped:
        values["dropped"] = {"by": message.by or None}
    if message.injected:
        values["injected"] = {"by": message.by or "policy"}
    if message.incomplete:
        values["incomplete"] = True
        values["length"] = message.length
    if message.reads > 1:
        values["reads"] = message.reads
    if message.marks & LATE_FDS:
        values["fds_at"] = message.fds_at
    if message.marks & UNSURE_FDS:
        values["fds_unsure"] = True
    return values
