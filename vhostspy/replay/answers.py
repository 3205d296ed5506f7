"""Octets of answers that a record does not have: an acknowledgement, a refusal; a recorded one for another request."""

from __future__ import annotations

import sys
from errno import EINVAL

from vhostspy.dissectors.rows import ACK, Channel
from vhostspy.message import Message


def acknowledgement(rows: Channel, came: Message) -> bytes | None:
    """A plain yes; None: an answer to that has a body, which nobody can make up."""
    row = came.row
    if row is None:
        return None
    if came.msgid is not None:
        return _answer(rows, came, b"") if row.reply == () else None
    if row.reply is None or any(one is ACK for one in row.reply):
        return _answer(rows, came, bytes(8))
    return None


def refusal(rows: Channel, came: Message) -> bytes:
    """No: an error number (vfio-user), a value other than 0, or nothing where a body is expected."""
    if came.msgid is not None:
        return _answer(rows, came, b"", EINVAL)
    acknowledged = came.row is None or came.row.reply is None
    return _answer(rows, came, (1).to_bytes(8, sys.byteorder) if acknowledged else b"")


def with_msgid(rows: Channel, data: bytes, msgid: int | None) -> bytes:
    """vfio-user: an answer has the number of the request that it answers now."""
    at = rows.header.msgid_at
    if at is None or msgid is None:
        return data
    return data[:at] + msgid.to_bytes(2, sys.byteorder) + data[at + 2 :]


def _answer(rows: Channel, came: Message, payload: bytes, error: int = 0) -> bytes:
    header = rows.header
    octets = bytearray(came.data[: header.length])
    flags = header.reply_value | header.plain_flags | (header.error_mask if error else 0)
    size = len(payload) + (header.length if header.counts_header else 0)
    members = [(header.flags_at, flags), (header.size_at, size)]
    if error and header.error_mask:
        members.append((header.error_at, error))
    for at, value in members:
        octets[at : at + 4] = value.to_bytes(4, sys.byteorder)
    return bytes(octets) + payload
