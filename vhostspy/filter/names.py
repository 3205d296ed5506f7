"""What the names in a filter stand for: of each, the values that a message has under it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from vhostspy.dissectors import registry, virtio
from vhostspy.dissectors.rows import member_names, with_nested
from vhostspy.message import SEVERITIES, Message, end_name
from vhostspy.nearest import alike

from .words import FilterError, Token

Test = Callable[[Message], bool]
Values = Callable[[Message], Iterable[Any]]


class Name(NamedTuple):
    """What a name stands for."""

    name: str
    values: Values
    #: number, flag, text; named: a number, or the name of one; severity
    kind: str
    takes: str
    #: the texts there are, in lower case -> as they are written
    choices: Mapping[str, str] = {}


def _fd_values(message: Message) -> Iterator[Any]:
    for fd in message.fds:
        yield from (fd.role, fd.kind, fd.name)


def _names_of(message: Message) -> Iterator[Any]:
    return _flattened(message.names)


def _flattened(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _flattened(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _flattened(part)
    elif value is not None:
        yield value


def _known(value: Any) -> tuple[Any, ...]:
    return () if value is None else (value,)


def _severities(message: Message) -> Iterator[Any]:
    for finding in message.findings:
        yield SEVERITIES[finding.severity]
        yield finding.rule


_NUMBERS: dict[str, Values] = {
    "no": lambda m: (m.no,),
    "session": lambda m: (m.session,),
    "channel_no": lambda m: (m.channel_no,),
    "size": lambda m: _known(m.size),
    "length": lambda m: (m.length,),
    "flags": lambda m: _known(m.flags),
    "reads": lambda m: (m.reads,),
    "answers": lambda m: _known(m.answers),
    "latency": lambda m: _known(m.latency_ns),
    # what vhost-user calls an index is a ring's number, everywhere
    "ring": lambda m: _known(m.fields.get("index")) if m.protocol == "vhost-user" else (),
}
_FLAGS: dict[str, Test] = {
    "request": lambda m: m.kind == "request",
    "reply": lambda m: m.kind == "reply" or m.kind == "ack",
    "ack": lambda m: m.kind == "ack",
    "raw": lambda m: m.kind == "raw",
    "pending": lambda m: m.awaited,
    "need_reply": lambda m: m.need_reply,
    "failed": lambda m: m.failed,
    "changed": lambda m: m.changed,
    "dropped": lambda m: m.dropped,
    "injected": lambda m: m.injected,
    "incomplete": lambda m: m.incomplete,
    "unknown": lambda m: m.name is None and m.kind != "raw",
}
_TEXTS: dict[str, Values] = {
    "protocol": lambda m: (m.protocol,),
    "info": lambda m: (m.info,),
    "bytes": lambda m: (m.data.hex(),),
    "names": _names_of,
}
_OTHERS = ("message", "from", "channel", "id", "kind", "fds", "finding")
#: names that no protocol's rows have
OWN_NAMES = (*_NUMBERS, *_FLAGS, *_TEXTS, *_OTHERS)
_HEADER = ("request", "flags", "size")
_PREFIXES = ("vhost_user", "vhost_user_gpu", "vfio_user")
SOME_NAMES = "message, from, channel, session, no, ring, fds, reply, pending, latency, finding, fields.…, vhost_user.…"
NUMBER = "a number (8, 0x8, 4KiB, 5ms)"


def named(token: Token, text: str) -> Name:
    """What a word stands for; FilterError, with the nearest right name, where it stands for nothing."""
    name = token.value
    if name in _NUMBERS:
        takes = "a time (5ms, 800us, 2s)" if name == "latency" else NUMBER
        return Name(name, _NUMBERS[name], "number", takes)
    if name in _FLAGS:
        flag = _FLAGS[name]
        return Name(name, lambda m: (flag(m),), "flag", "true or false", {"true": "true", "false": "false"})
    if name == "protocol":
        protocols = {protocol: protocol for protocol in registry.PROTOCOLS}
        return Name(name, _TEXTS[name], "text", "a protocol", protocols)
    if name in _TEXTS:
        return Name(name, _TEXTS[name], "text", "a text")
    if name == "message":
        return Name(name, lambda m: _known(m.name), "text", "a message's name, or a pattern", message_names())
    if name == "id":
        return Name(name, _request, "named", "a message's number or name", message_names())
    if name == "from":
        ends = {end: end for protocol in registry.PROTOCOLS.values() for end in protocol.ends}
        ends |= {"front-end": "front-end", "back-end": "back-end", "client": "client", "server": "server"}
        return Name(name, _from, "text", "front-end or back-end", ends)
    if name == "channel":
        channels = {"main": "main", "backend": "backend", "gpu": "gpu", "second": "second"}
        return Name(name, lambda m: (m.channel,), "text", "main, backend, gpu or second", channels)
    if name == "kind":
        kinds = {kind: kind for kind in ("request", "reply", "ack", "raw")}
        return Name(name, lambda m: (m.kind,), "text", "request, reply, ack or raw", kinds)
    if name == "fds":
        return Name(name, lambda m: (len(m.fds), *_fd_values(m)), "fds", "a number, a role or a kind of descriptor")
    if name == "finding":
        return Name(name, _severities, "severity", "note, warning, error, or a rule's name")
    prefix, dot, path = name.partition(".")
    if dot and (prefix == "fields" or prefix in _PREFIXES):
        return _member(token, text, prefix, path)
    raise _unknown(token, text)


def _request(message: Message) -> tuple[Any, ...]:
    return _known(message.id)


def _from(message: Message) -> tuple[Any, ...]:
    """An end goes by vhost-user's and by vfio-user's name."""
    own = end_name(message.protocol, message.sender)
    return (own, *(("front-end", "client"), ("back-end", "server"))[message.sender]) if message.sender < 2 else (own,)


def _unknown(token: Token, text: str) -> FilterError:
    name = token.value
    members = names_of_members(None)
    if name in members:
        return FilterError(text, token.at, f"there is no {name}", f"a message's member is fields.{name}")
    known = [*OWN_NAMES, *(f"fields.{member}" for member in members)]
    if any(name.upper() == other.upper() for other in message_names().values()):
        return FilterError(text, token.at, f"{name} is a message's name", f"write message == {name}")
    near = alike(name, known)
    return FilterError(
        text, token.at, f"there is no {name}", f"did you mean {near}?" if near else f"there are {SOME_NAMES}"
    )


def _member(token: Token, text: str, prefix: str, path: str) -> Name:
    protocol = None if prefix == "fields" else prefix.replace("_", "-")
    ours = _in_protocol(protocol)
    if prefix != "fields" and path in _HEADER:
        if path == "request":
            takes = "a message's number or name"
            return Name(token.value, _only(ours, _request), "named", takes, message_names())
        return Name(token.value, _only(ours, _NUMBERS[path]), "number", NUMBER)
    members = names_of_members(protocol)
    steps = path.split(".")
    for step in steps:
        # what a device's config holds is named too; a member of nobody's is a slip
        if step not in members and step not in _EXTRA_MEMBERS and not step.isdecimal():
            near = alike(step, [*members, *(_HEADER if prefix != "fields" else ())])
            at = token.at + len(prefix) + 1
            hint = f"did you mean {near}?" if near else ""
            raise FilterError(text, at, f"no message has a member {step or '(nothing)'}", hint)
    return Name(token.value, _only(ours, _fields(tuple(steps))), "any", "a number, a name or a text")


_EXTRA_MEMBERS = ("rest", "reserved", "padding")


def _in_protocol(protocol: str | None) -> Test | None:
    return None if protocol is None else lambda message: message.protocol == protocol


def _only(test: Test | None, values: Values) -> Values:
    return values if test is None else lambda message: values(message) if test(message) else ()


def _fields(path: tuple[str, ...]) -> Values:
    """The values of a member, wherever it is nested, and what its bits and numbers are called."""

    def values(message: Message) -> list[Any]:
        found: list[Any] = []
        row = message.row
        if row is None:
            # whatever it holds, it is not called that
            if path == ("rest",) and message.kind != "raw" and message.payload:
                found.append(message.payload)
            return found
        _find(message.fields, path, found)
        _find(message.names, path, found)
        return found

    return values


def _find(value: Any, path: tuple[str, ...], found: list[Any]) -> None:
    """All values at ``path`` in ``value``, which may begin at any depth."""
    if isinstance(value, Mapping):
        here = value.get(path[0])
        if here is not None:
            if len(path) == 1:
                found.extend(_flattened(here) if isinstance(here, (list, tuple)) else (here,))
            else:
                _find(here, path[1:], found)
        for key, part in value.items():
            if key != path[0] and isinstance(part, (Mapping, list, tuple)):
                _find(part, path, found)
    elif isinstance(value, (list, tuple)):
        if path[0].isdecimal():
            position = int(path[0][:9])
            if position < len(value):
                if len(path) == 1:
                    found.append(value[position])
                else:
                    _find(value[position], path[1:], found)
            return
        for part in value:
            if isinstance(part, (Mapping, list, tuple)):
                _find(part, path, found)


def message_names() -> Mapping[str, str]:
    """Every message of every protocol, also by the names it had before."""
    return _all_message_names(_revision())


@lru_cache(maxsize=4)
def _all_message_names(revision: int) -> Mapping[str, str]:
    names: dict[str, str] = {}
    for protocol in registry.PROTOCOLS.values():
        for channel in protocol.channels.values():
            for known in channel.messages.values():
                for row in (known, *known.others):
                    names[row.name.lower()] = row.name
                    for older in row.older:
                        names.setdefault(older.lower(), row.name)
    return names


def _revision() -> int:
    """Rows may be added while we run; how many there are tells."""
    return sum(
        len(channel.messages) for protocol in registry.PROTOCOLS.values() for channel in protocol.channels.values()
    )


def names_of_members(protocol: str | None) -> frozenset[str]:
    """What the members of all messages are called; ``protocol``: of its messages alone."""
    return _names_of_members(protocol, _revision())


@lru_cache(maxsize=8)
def _names_of_members(protocol: str | None, revision: int) -> frozenset[str]:
    names: set[str] = set()
    for known in registry.PROTOCOLS.values():
        if protocol is not None and known.name != protocol:
            continue
        for channel in known.channels.values():
            for known_row in channel.messages.values():
                for row in (known_row, *known_row.others):
                    for layout in (*row.request, *(row.reply or ())):
                        names.update(name for each in with_nested(layout) for name in member_names(each))
    if protocol in (None, "vhost-user"):
        # GET_CONFIG and SET_CONFIG hold a device's configuration space
        for device in virtio.DEVICES.values():
            for layout in device.config:
                names.update(name for each in with_nested(layout) for name in member_names(each))
    return frozenset(names)
