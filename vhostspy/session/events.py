"""What happens to a session beside its messages: it begins, channels open and end, records are missing.

As for messages, each function returns the session after it.
"""

from __future__ import annotations

from vhostspy.message import Event

from . import display as displays
from . import ledger as ledgers
from .state import Ended, Opened, Peer, Session, with_ledger

#: an end closes once; what a capture says of it is kept as far as this
MOST_ENDS = 4


def step_event(session: Session, event: Event) -> Session:
    """The session after an event: its beginning, a nested channel, ends."""
    facts = event.facts
    key = (event.channel, event.channel_no)
    if event.event == "open":
        context = session.context._replace(virtio_features=0, protocol_features=0)
        return session._replace(
            whole=True,
            protocol=event.protocol or session.protocol,
            opened_ns=event.time_ns,
            peers=(_peer(facts.get("front_end")), _peer(facts.get("back_end"))),
            context=context,
        )
    if event.event == "channel":
        if event.channel == "gpu":
            session = session._replace(displays=displays.opened(session.displays, event.channel_no))
        return _with_channel(session, Opened(event.channel, event.channel_no, _number(facts.get("after"))))
    if event.event in ("eof", "reset"):
        channel = session.channels.get(key, Opened(*key))
        end = event.sender
        if end is not None:
            channel = channel._replace(closed=(*channel.closed, (end, event.event))[:MOST_ENDS])
        ended = session.ended
        if ended is None and event.channel in ("main", ""):
            last = session.ledger.get(key, ledgers.Queue()).last
            own = _number(facts.get("after")) or (last[end] if end in (0, 1) else 0)
            ended = Ended(end, event.event, own, max(last), event.time_ns)
        return _with_channel(session, channel)._replace(ended=ended)
    if event.event == "undelivered":
        first = _number(facts.get("first"))
        if event.sender is None or not first:
            return session
        return with_ledger(session, ledgers.without_undelivered(session.ledger, key, event.sender, first))
    if event.event == "unread":
        channel = session.channels.get(key, Opened(*key))
        end = event.sender
        if end is None:
            return session
        return _with_channel(session, channel._replace(unread=(*channel.unread, end)[:MOST_ENDS]))
    return session


def after_gap(session: Session) -> Session:
    """Records are missing: anything may have been agreed on, answered, started or stopped meanwhile."""
    context = session.context._replace(virtio_features=None, protocol_features=None)
    ledger = {key: queue._replace(waiting=(), unasked=None) for key, queue in session.ledger.items()}
    shown = displays.unsure(session.displays)
    session = session._replace(whole=False, context=context, displays=shown, rings={}, device_state=None)
    return with_ledger(session, ledger)


def channel_ended(session: Session, channel: tuple[str, int]) -> Session:
    """Nobody waits on that channel any more."""
    return with_ledger(session, ledgers.without(session.ledger, channel))


def _with_channel(session: Session, channel: Opened) -> Session:
    key = (channel.name, channel.channel_no)
    if len(session.channels) >= ledgers.MOST_CHANNELS and key not in session.channels:
        return session
    return session._replace(channels={**session.channels, key: channel})


def _peer(facts: object) -> Peer:
    """Who is at an end, from the relay's words; a capture may say anything."""
    if not isinstance(facts, dict):
        return Peer()
    return Peer(_text(facts.get("path")), _number(facts.get("pid")), _text(facts.get("program")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
