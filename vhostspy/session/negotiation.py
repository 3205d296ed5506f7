"""What was offered and agreed on, who owns the session, and what stops it: features, ownership, resets, status."""

from __future__ import annotations

from collections.abc import Mapping

from vhostspy.message import Message

from .evidence import learn
from .state import PROTOCOL_FEATURES, Fields, Handler, Ring, Session


def _get_features(session: Session, message: Message, fields: Fields) -> Session:
    offered = fields.get("features")
    if offered is None or offered == session.virtio_offered:
        return session  # also a way to wait: it is asked for again and again
    session = session._replace(virtio_offered=offered)
    return learn(session, session.evidence._replace(virtio=offered))


def _set_features(session: Session, message: Message, fields: Fields) -> Session:
    agreed = fields.get("features")
    if agreed is None:
        return session
    if session.features_set and agreed == session.virtio_agreed and agreed & PROTOCOL_FEATURES:
        return session  # nothing new, and no rings to enable
    session = session._replace(context=session.context._replace(virtio_features=agreed), features_set=True)
    if not agreed & PROTOCOL_FEATURES and session.rings:
        # without the bit there is no SET_VRING_ENABLE: all rings are enabled at once
        session = session._replace(rings={i: ring._replace(enabled=True) for i, ring in session.rings.items()})
    return session


def _get_protocol_features(session: Session, message: Message, fields: Fields) -> Session:
    offered = fields.get("protocol_features")
    if offered is None:
        return session
    session = session._replace(protocol_offered=offered)
    return learn(session, session.evidence._replace(protocol=offered))


def _set_protocol_features(session: Session, message: Message, fields: Fields) -> Session:
    agreed = fields.get("protocol_features")
    if agreed is None:
        return session
    return session._replace(context=session.context._replace(protocol_features=agreed))


def _set_owner(session: Session, message: Message, fields: Fields) -> Session:
    return session._replace(owner=message.no)


def _reset_owner(session: Session, message: Message, fields: Fields) -> Session:
    # what else it resets differs from back-end to back-end; all stop processing
    rings = {i: ring._replace(enabled=False, no=message.no) for i, ring in session.rings.items()}
    return session._replace(owner=None, rings=rings)


def _reset_device(session: Session, message: Message, fields: Fields) -> Session:
    """Rings stop and are forgotten; ownership, memory and the back-end channel stay."""
    rings = {i: Ring(i, kick=r.kick, call=r.call, err=r.err, no=message.no) for i, r in session.rings.items()}
    return session._replace(rings=rings, shmem={})


def _max_slots(session: Session, message: Message, fields: Fields) -> Session:
    return session._replace(slots=fields.get("slots"))


def _status(session: Session, message: Message, fields: Fields) -> Session:
    return session._replace(status=fields.get("status"))


REQUESTS: Mapping[str, Handler] = {
    "SET_FEATURES": _set_features,
    "SET_PROTOCOL_FEATURES": _set_protocol_features,
    "SET_OWNER": _set_owner,
    "RESET_OWNER": _reset_owner,
    "RESET_DEVICE": _reset_device,
    "SET_STATUS": _status,
}
REPLIES: Mapping[str, Handler] = {
    "GET_FEATURES": _get_features,
    "GET_PROTOCOL_FEATURES": _get_protocol_features,
    "GET_MAX_MEM_SLOTS": _max_slots,
    "GET_STATUS": _status,
}
