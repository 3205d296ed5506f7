"""Rings: set up, started, enabled, stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vhostspy.message import Message

from .state import PROTOCOL_FEATURES, Fields, Handler, Line, Ring, Session

#: ring numbers are the peers' word for it; more different ones than this are not kept
MOST_RINGS = 4096

_RINGS = Session._fields.index("rings")
_RING = {name: position for position, name in enumerate(Ring._fields)}


def _ring(session: Session, message: Message, fields: Fields, **changes: Any) -> Session:
    """The session with these members of the message's ring changed."""
    index = fields.get("index")
    if index is None:
        return session
    ring = session.rings.get(index)
    if ring is None:
        if len(session.rings) >= MOST_RINGS:
            return session
        # a ring that is first heard of after SET_FEATURES without the bit is enabled from the start
        ring = Ring(index, enabled=session.features_set and not (session.virtio_agreed or 0) & PROTOCOL_FEATURES)
    # most of what is sent is about rings: as in ``with_ledger``
    values = list(ring)
    values[_RING["no"]] = message.no
    for name, value in changes.items():
        values[_RING[name]] = value
    rings = {**session.rings, index: tuple.__new__(Ring, values)}
    return tuple.__new__(Session, (*session[:_RINGS], rings, *session[_RINGS + 1 :]))


def _vring_num(session: Session, message: Message, fields: Fields) -> Session:
    return _ring(session, message, fields, size=fields.get("num"))


def _vring_base(session: Session, message: Message, fields: Fields) -> Session:
    return _ring(session, message, fields, base=_base(fields))


def _base(fields: Fields) -> int | None:
    """The base as one word: as it is for split rings; packed ones have it in parts."""
    if "num" in fields:
        return int(fields["num"])
    if "available_index" not in fields:
        return None
    available = int(fields["available_index"]) | int(fields["available_wrap"]) << 15
    return available | int(fields["used_index"]) << 16 | int(fields["used_wrap"]) << 31


def _vring_stopped(session: Session, message: Message, fields: Fields) -> Session:
    """The reply of GET_VRING_BASE: the ring has stopped, and here it stands."""
    return _ring(session, message, fields, base=_base(fields), started=False)


def _vring_stops(session: Session, message: Message, fields: Fields) -> Session:
    return _ring(session, message, fields, started=False)


def _vring_addr(session: Session, message: Message, fields: Fields) -> Session:
    try:
        addresses = (fields["descriptor"], fields["used"], fields["available"], fields["log_address"])
    except KeyError:
        return session
    return _ring(session, message, fields, addresses=addresses, logged=bool(fields.get("log_used")))


def _line(message: Message, fields: Fields) -> Line:
    return Line(message.no, message.fds[0] if message.fds and not fields.get("nofd") else None)


def _vring_kick(session: Session, message: Message, fields: Fields) -> Session:
    return _ring(session, message, fields, kick=_line(message, fields), started=True)


def _vring_call(session: Session, message: Message, fields: Fields) -> Session:
    return _ring(session, message, fields, call=_line(message, fields))


def _vring_err(session: Session, message: Message, fields: Fields) -> Session:
    return _ring(session, message, fields, err=_line(message, fields))


def _in_band_kick(session: Session, message: Message, fields: Fields) -> Session:
    index = fields.get("index")
    ring = session.rings.get(index) if isinstance(index, int) else None
    # one a notification: only the first changes anything
    return session if ring is not None and ring.started else _ring(session, message, fields, started=True)


def _vring_enable(session: Session, message: Message, fields: Fields) -> Session:
    return _ring(session, message, fields, enabled=fields.get("num", 0) != 0)


def _vring_endian(session: Session, message: Message, fields: Fields) -> Session:
    return _ring(session, message, fields, big_endian=fields.get("num") == 1)


REQUESTS: Mapping[str, Handler] = {
    "SET_VRING_NUM": _vring_num,
    "SET_VRING_BASE": _vring_base,
    "SET_VRING_ADDR": _vring_addr,
    "SET_VRING_KICK": _vring_kick,
    "SET_VRING_CALL": _vring_call,
    "SET_VRING_ERR": _vring_err,
    "SET_VRING_ENABLE": _vring_enable,
    "SET_VRING_ENDIAN": _vring_endian,
    "GET_VRING_BASE": _vring_stops,
    "GET_VRING_BASE_SKIP_DRAIN": _vring_stops,
    "VRING_KICK": _in_band_kick,
}
REPLIES: Mapping[str, Handler] = {
    "GET_VRING_BASE": _vring_stopped,
    "GET_VRING_BASE_SKIP_DRAIN": _vring_stopped,
}
