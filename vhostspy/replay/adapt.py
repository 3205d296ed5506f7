"""A played front-end that takes what this back-end offers, and no more, as the recorded one would have done.

The record has what its own back-end offered. Before another one, features that are not offered are not acknowledged,
messages that need what is not agreed on are left out, and those about rings that the back-end does not have; an
acknowledgement is asked for only where that is agreed on, and memory is shared by a table where there are no slots. One
object serves one replay: ``see`` what passes, ``edit`` what is to be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from vhostspy.dissectors import codec, registry
from vhostspy.dissectors.rows import FRONT_END, Gate
from vhostspy.message import Message

_PROTOCOL_FEATURES = 1 << 30
_REPLY_ACK = Gate("protocol", 3, "REPLY_ACK")


class _Agreed:
    """What one session has come to so far."""

    def __init__(self) -> None:
        #: what the live back-end has offered, and what was acknowledged to it; None: not yet
        self.virtio_offered: int | None = None
        self.protocol_offered: int | None = None
        self.virtio_agreed: int | None = None
        self.protocol_agreed: int | None = None
        #: what it answered to GET_QUEUE_NUM
        self.queues: int | None = None
        #: regions that were to be added
        self.regions = 0


class Adapted:
    def __init__(
        self, see: Callable[[Message], None] | None = None, edit: Callable[[Message], object] | None = None
    ) -> None:
        """see, edit: called as well, ``edit`` with what is not left out anyway."""
        self._see = see
        self._edit = edit
        #: by the session's number
        self._sessions: dict[int, _Agreed] = {}

    def _of(self, message: Message) -> _Agreed:
        return self._sessions.setdefault(message.session, _Agreed())

    def see(self, message: Message) -> None:
        """A message of the replay, from either side."""
        agreed = self._of(message)
        word = message.fields.get("features", message.fields.get("protocol_features"))
        if message.protocol == "vhost-user" and isinstance(word, int):
            if message.name == "GET_FEATURES":
                agreed.virtio_offered = word
            elif message.name == "SET_FEATURES":
                agreed.virtio_agreed = word
            elif message.name == "GET_PROTOCOL_FEATURES":
                agreed.protocol_offered = word
            elif message.name == "SET_PROTOCOL_FEATURES":
                agreed.protocol_agreed = word
        elif message.name == "GET_QUEUE_NUM" and message.kind == "reply" and message.channel == "main":
            queues = message.fields.get("queues")
            agreed.queues = queues if isinstance(queues, int) else None
        if self._see is not None:
            self._see(message)

    def edit(self, message: Message) -> object:
        """What is to be sent in the place of a recorded message (``replay.edit``)."""
        if message.protocol == "vhost-user" and message.sender == FRONT_END and message.kind == "request":
            fitting = self._fitting(message)
            if fitting is not None:
                return fitting
        return self._edit(message) if self._edit is not None else None

    def _fitting(self, message: Message) -> object:
        """None: as it was recorded."""
        agreed = self._of(message)
        if message.name == "SET_FEATURES":
            return _masked(message, "features", agreed.virtio_offered)
        if message.name == "SET_PROTOCOL_FEATURES" and _has(agreed, Gate("virtio", 30, "", offered=True)):
            return _masked(message, "protocol_features", agreed.protocol_offered)
        if message.row is not None and not all(_has(agreed, gate) for gate in message.row.needs):
            return _as_table(agreed, message) if message.name == "ADD_MEM_REG" else False
        if _beyond_its_rings(agreed, message):
            return False
        if message.need_reply and not _has(agreed, _REPLY_ACK):
            return _without_need_reply(message)
        return None


def _beyond_its_rings(agreed: _Agreed, message: Message) -> bool:
    """There are back-ends that abort when a ring is named that they do not have."""
    index = message.fields.get("index") if message.name and "VRING" in message.name else None
    if not agreed.queues or not isinstance(index, int):
        return False
    # a network device's queue is a pair of rings
    return index >= (2 * agreed.queues if message.context.device in (None, "net") else agreed.queues)


def _masked(message: Message, member: str, offered: int | None) -> object:
    value = message.fields.get(member)
    if offered is None or not isinstance(value, int) or not value & ~offered:
        return None
    return {member: value & offered}


def _has(agreed: _Agreed, gate: Gate) -> bool:
    """What is not known yet is taken to be there: then the record is all there is to go by."""
    if gate.word == "virtio":
        word = agreed.virtio_offered if gate.offered or agreed.virtio_agreed is None else agreed.virtio_agreed
    elif agreed.virtio_offered is not None and not agreed.virtio_offered & _PROTOCOL_FEATURES:
        return False
    else:
        word = agreed.protocol_offered if gate.offered or agreed.protocol_agreed is None else agreed.protocol_agreed
    return word is None or gate.agreed(word)


def _as_table(agreed: _Agreed, message: Message) -> object:
    """The first region as a table of one; a message can't pass on the descriptors of another."""
    channel = registry.channel(message.protocol, message.channel)
    table = registry.row("vhost-user", "main", FRONT_END, 5)
    agreed.regions += 1
    if agreed.regions > 1 or channel is None or table is None:
        return False
    names = ("guest_address", "length", "user_address", "mmap_offset")
    region: dict[str, Any] = {name: message.fields.get(name, 0) for name in names}
    order = message.byte_order
    payload = codec.encode(table, False, {"regions": [region]}, codec.NOTHING_KNOWN, order)
    header = {"request": table.id, "flags": channel.header.plain_flags, "size": len(payload)}
    return codec.encode_header(channel, header, order) + payload


def _without_need_reply(message: Message) -> bytes:
    channel = registry.channel(message.protocol, message.channel)
    if channel is None:
        return message.data
    at, mask = channel.header.flags_at, channel.header.need_reply_mask
    order: Literal["little", "big"] = "little" if message.byte_order == "<" else "big"
    octets = bytearray(message.data)
    flags = int.from_bytes(octets[at : at + 4], order) & ~mask
    octets[at : at + 4] = flags.to_bytes(4, order)
    return bytes(octets)
