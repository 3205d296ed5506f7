"""What each message does to a session.

``step(session, message)`` returns the session after it; the one before stays as it was and shares what did not change.
So a view can keep checkpoints and go back in time, and a rule can compare before with after.

A handler a message, in the tables of the modules that have its subject; whatever has no handler changes only the
ledger. Requests count when they are sent, as peers act on them without always being answered; what an answer adds or
takes back is said at the handler. Source of the transitions: vhost-user, sections on ring states, migration, and the
message types. What else happens to a session: ``events``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vhostspy.capture.record import DROPPED, INCOMPLETE
from vhostspy.message import Message

from . import display as displays
from . import evidence, memory, migration, negotiation, vrings
from . import ledger as ledgers
from .state import Handler, Session, with_ledger

#: main channel: what a request does to the session
_REQUESTS: Final[Mapping[str, Handler]] = {
    **negotiation.REQUESTS,
    **memory.REQUESTS,
    **vrings.REQUESTS,
    **migration.REQUESTS,
    **evidence.REQUESTS,
}
#: and what its answer does
_REPLIES: Final[Mapping[str, Handler]] = {
    **negotiation.REPLIES,
    **memory.REPLIES,
    **vrings.REPLIES,
    **migration.REPLIES,
    **evidence.REPLIES,
}


def step(session: Session, message: Message) -> Session:
    """The session after ``message``, whose ``answers`` and ``awaited`` are filled in."""
    kind = message.kind
    if kind == "raw" or message.marks & DROPPED:
        return session
    name = message.name
    if name is not None and message.channel == "main" and message.protocol == "vhost-user":
        handler = (_REQUESTS if kind == "request" else _REPLIES).get(name)
        if handler is not None and not message.marks & INCOMPLETE:
            session = handler(session, message, message.fields)
    elif message.channel == "gpu" and not message.marks & INCOMPLETE:
        shown = displays.after(session.displays, message)
        if shown is not session.displays:
            session = session._replace(displays=shown)
    return with_ledger(session, ledgers.after(session.ledger, message))
