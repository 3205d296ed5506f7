"""What a message says, as facts that can be held against another's: dotted member names and their values.

How much counts is a matter of strictness. ``exact`` is each octet of it, and of its descriptors all that could be the
same in another run. ``semantic`` is what it means: left out are addresses, padding, how far a ring has come, handles
that a peer makes up, file names. ``shape`` is who says what, with how many descriptors for what, whether it is
well-formed, and whether an answer says yes; values are free.

No strictness looks at times, inodes, eventfd numbers and the like: the kernel makes them, and never twice the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any
from zlib import crc32

from vhostspy.dissectors.rows import Bytes, Field, Layout, Member, Padding, Word, nested
from vhostspy.message import Message, end_name

#: dotted member -> number, text or flag; octets are hex text; a bit that is set is ``member.NAME``: True, else absent
Facts = Mapping[str, int | str]


class Strictness(Enum):
    EXACT = "exact"
    SEMANTIC = "semantic"
    SHAPE = "shape"


#: members that are addresses: of the guest, of a process, of a device
ADDRESSES = frozenset(
    (
        "address", "auth_key_pointer", "available", "cipher_key_pointer", "descriptor", "guest_address", "iova",
        "key_pointer", "log_address", "log_base", "pointer", "used", "user_address",
    )
)  # fmt: skip
#: members that a peer makes up as it likes, only to recognise them again
HANDLES = frozenset(("session_id", "fence_id", "data_fd"))
#: messages that say how far a ring has come, and the members that do
PROGRESS = frozenset(("SET_VRING_BASE", "GET_VRING_BASE", "GET_VRING_BASE_SKIP_DRAIN"))
POSITIONS = frozenset(("num", "available_index", "available_wrap", "used_index", "used_wrap"))


def facts(message: Message, strictness: Strictness = Strictness.SEMANTIC) -> Facts:
    """All of a message that counts, in the order of the wire. Octets that no row explains count as octets."""
    exact = strictness is Strictness.EXACT
    found: dict[str, int | str] = {
        "message": message.name or f"{'octets' if message.kind == 'raw' else message.id}",
        "kind": message.kind,
        "channel": message.channel,
        "from": end_name(message.protocol, message.sender),
    }
    if message.kind == "raw":
        if strictness is not Strictness.SHAPE:
            found["bytes"] = message.data.hex()
        return found
    if message.error is not None:
        found["error"] = message.error
    elif message.is_reply:
        found["failed"] = message.failed
    if strictness is Strictness.SHAPE:
        decoded = message.decoded
        layout = decoded.layout
        found["layout"] = layout.name if layout is not None else ""
        if decoded.rest or decoded.missing:
            found["size"] = _payload_size(message)
        found["fds"] = len(message.fds)
        for i, fd in enumerate(message.fds):
            found[f"fds[{i}].role"] = fd.role
        return found
    found["need_reply"] = message.need_reply
    found["size"] = _payload_size(message)
    if exact:
        found["flags"] = message.flags or 0
        if message.msgid is not None:
            found["msgid"] = message.msgid
    found.update(_members(message, exact))
    found["fds"] = len(message.fds)
    for i, fd in enumerate(message.fds):
        name = f"fds[{i}]"
        found[f"{name}.role"] = fd.role
        found[f"{name}.kind"] = fd.kind
        found[f"{name}.access"] = fd.access
        if fd.size is not None and fd.kind in ("memfd", "file", "dma-buf") and (exact or fd.role != "object"):
            found[f"{name}.size"] = fd.size
        if exact:
            found[f"{name}.seals"] = fd.seals or 0
            found[f"{name}.name"] = fd.name
    if exact:
        found["bytes"] = message.data.hex()
    return found


def _payload_size(message: Message) -> int:
    return message.length - message.payload_at


def _members(message: Message, exact: bool) -> Iterator[tuple[str, int | str]]:
    decoded = message.decoded
    if message.row is None or not decoded.fields:
        if message.payload:
            yield "rest", message.payload.hex()
        return
    leave = frozenset() if exact else ADDRESSES | HANDLES
    if not exact and message.name in PROGRESS:
        leave |= POSITIONS
    if exact:
        # one fact for each, none of them meant
        yield from _plain(decoded.fields, "", leave)
        return
    yield from _by_layout(decoded.layout, decoded.fields, decoded.names, "", leave)


def _by_layout(
    layout: Layout | None, fields: Mapping[str, Any], names: Mapping[str, Any], prefix: str, leave: frozenset[str]
) -> Iterator[tuple[str, int | str]]:
    known = _by_name(layout) if layout is not None else {}
    for name, value in fields.items():
        member = known.get(name)
        if name in leave or isinstance(member, Padding):
            continue
        yield from _value(f"{prefix}{name}", member, value, names.get(name), leave)


#: by the layout's identity, with the layout, so that it stays its own
_known: dict[int, tuple[Layout, Mapping[str, Member]]] = {}


def _by_name(layout: Layout) -> Mapping[str, Member]:
    found = _known.get(id(layout))
    if found is None:
        members = {name: member for member in layout.members for name in _names(member)}
        found = _known[id(layout)] = layout, members
    return found[1]


def _names(member: Member) -> tuple[str, ...]:
    return tuple(part.name for part in member.parts) if isinstance(member, Word) else (member.name,)


def _value(
    name: str, member: Member | None, value: Any, names: Any, leave: frozenset[str]
) -> Iterator[tuple[str, int | str]]:
    if isinstance(value, bytes):
        if isinstance(names, dict):
            # the config space of a known device, or JSON: by what it says, however it is written
            yield from _plain(names, f"{name}.", leave)
        elif isinstance(member, Bytes) and member.show == "secret":
            # may be told to people; whether it is the same shows all the same
            yield name, f"{len(value)} bytes, {crc32(value) & 0xFFFF:04x}"
        else:
            yield name, value.hex()
    elif isinstance(member, Field) and member.names is not None and member.names.kind == "bits":
        listed = names if isinstance(names, list) else member.names.bits(value)
        for bit in listed:
            yield f"{name}.{bit}", True
    elif isinstance(value, list):
        layouts = nested(member) if member is not None else ()
        for i, each in enumerate(value):
            if isinstance(each, dict):
                fitting = next((one for one in layouts if each.keys() <= _by_name(one).keys()), None)
                yield from _by_layout(fitting, each, {}, f"{name}[{i}].", leave)
            else:
                yield from _value(f"{name}[{i}]", None, each, None, leave)
    elif isinstance(value, dict):
        yield from _plain(value, f"{name}.", leave)
    else:
        yield name, value if isinstance(value, int) else str(value)


def _plain(values: Mapping[str, Any], prefix: str, leave: frozenset[str]) -> Iterator[tuple[str, int | str]]:
    for name, value in values.items():
        if name not in leave:
            yield from _anything(f"{prefix}{name}", value, leave)


def _anything(name: str, value: Any, leave: frozenset[str]) -> Iterator[tuple[str, int | str]]:
    if isinstance(value, dict):
        yield from _plain(value, f"{name}.", leave)
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from _anything(f"{name}[{i}]", each, leave)
    elif isinstance(value, bytes):
        yield name, value.hex()
    else:
        yield name, value if isinstance(value, int) else str(value)
