"""Which protocols there are, and the row of a message. Users add rows of their own by ``additions``."""

from __future__ import annotations

from collections.abc import Mapping

from .rows import ACK, EMPTY, Channel, Message, Protocol
from .vfio_user import VFIO_USER
from .vhost_user import VHOST_USER
from .vhost_user_gpu import VHOST_USER_GPU

PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in (VHOST_USER, VHOST_USER_GPU, VFIO_USER)}


def channel(protocol: str, name: str) -> Channel | None:
    """The channel of that name; None when the protocol, or its channel, is not known."""
    known = PROTOCOLS.get(protocol)
    return known.channels.get(name) if known else None


def row(
    protocol: str, channel: str, sender: int, id: int, size: int | None = None, reply: bool = False
) -> Message | None:
    """The row of a message; ``sender`` is the end that sent the request, also when asking for its reply's row.

    ``size``: bytes of payload, by which messages that have the same number are told apart.
    """
    known = PROTOCOLS.get(protocol)
    found = known.channels.get(channel) if known else None
    message = found.messages.get((sender, id)) if found else None
    if message is None or not message.others or size is None:
        return message
    return next((each for each in (message, *message.others) if _fits(each, size, reply)), message)


def _fits(message: Message, size: int, reply: bool) -> bool:
    from .plan import plan  # here: the relay, which asks for no sizes, starts without it

    layouts = message.request if not reply else (ACK,) if message.reply is None else message.reply
    plans = [plan(layout, "<") for layout in layouts or (EMPTY,)]
    return any(size == each.size if each.size is not None else size >= each.least for each in plans)
