"""One row of the tables of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vhostspy.dissectors.codec import NOTHING_KNOWN, ByteOrder, Context


class Sample(NamedTuple):
    """A payload: its members and its octets, those of a little-endian machine unless ``byte_order`` says otherwise."""

    message: str
    #: "request" or "reply"
    kind: str
    fields: Mapping[str, Any]
    octets: str
    names: Mapping[str, Any] = {}
    info: str = ""
    channel: str = "main"
    context: Context = NOTHING_KNOWN
    byte_order: ByteOrder = "<"
    protocol: str = "vhost-user"
    #: the message's number, where two messages of a channel have this name
    id: int | None = None
