"""What messages tell of the device's type, which nobody says (``device`` draws the conclusion)."""

from __future__ import annotations

from collections.abc import Mapping

from vhostspy.message import Message

from .device import MESSAGES, Evidence, infer
from .state import Fields, Handler, Session


def learn(session: Session, evidence: Evidence) -> Session:
    """New evidence about the device's type: look again, unless the user has said what it is."""
    if evidence == session.evidence:
        return session
    session = session._replace(evidence=evidence)
    if session.device_given:
        return session
    guess = infer(evidence)
    device = guess.device if guess else None
    if device == session.context.device:
        return session
    return session._replace(context=session.context._replace(device=device))


def _queue_num(session: Session, message: Message, fields: Fields) -> Session:
    count = fields.get("queues")
    session = session._replace(queues=count)
    return learn(session, session.evidence._replace(queues=count))


def _config(session: Session, message: Message, fields: Fields) -> Session:
    """The reply of GET_CONFIG: how long the device's config is tells much about its type."""
    data = fields.get("config", b"")
    if not data or fields.get("offset"):
        return session
    whole = data if session.config is None or len(data) >= len(session.config) else session.config
    session = session._replace(config=whole)
    return learn(session, session.evidence._replace(config_size=len(whole)))


def _seen(session: Session, message: Message, fields: Fields) -> Session:
    """A message that only some devices' front-ends send."""
    return learn(session, session.evidence._replace(messages=session.evidence.messages | {message.name or ""}))


REQUESTS: Mapping[str, Handler] = dict.fromkeys(MESSAGES, _seen)
REPLIES: Mapping[str, Handler] = {
    "GET_QUEUE_NUM": _queue_num,
    "GET_CONFIG": _config,
}
