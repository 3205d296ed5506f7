"""Which protocols there are, and the row of a message."""

from __future__ import annotations

from collections.abc import Mapping

from .rows import Channel, Message, Protocol
from .vfio_user import VFIO_USER
from .vhost_user import VHOST_USER
from .vhost_user_gpu import VHOST_USER_GPU

PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in (VHOST_USER, VHOST_USER_GPU, VFIO_USER)}


def channel(protocol: str, name: str) -> Channel | None:
    """The channel of that name; None when the protocol, or its channel, is not known."""
    known = PROTOCOLS.get(protocol)
    return known.channels.get(name) if known else None


def row(protocol: str, channel: str, sender: int, id: int) -> Message | None:
    """The row of a message; ``sender`` is the end that sent the request, also when asking for its reply's row."""
    known = PROTOCOLS.get(protocol)
    found = known.channels.get(channel) if known else None
    return found.messages.get((sender, id)) if found else None
