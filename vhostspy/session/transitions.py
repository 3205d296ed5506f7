"""What each message does to a session.

``step(session, message)`` and ``step_event(session, event)`` return the session after it; the one before stays as it
was and shares what did not change. So a view can keep checkpoints and go back in time, and a rule can compare before
with after.

A handler a message, in two tables at the end; whatever has no handler changes only the ledger. Requests count when they
are sent, as peers act on them without always being answered; what an answer adds or takes back is said at the
handler. Source of the transitions: vhost-user, sections on ring states, migration, and the message types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vhostspy.capture.record import DROPPED, INCOMPLETE, Descriptor
from vhostspy.message import Event, Message

from . import display as displays
from . import ledger as ledgers
from .device import Evidence, infer
from .ledger import Ledger
from .state import PROTOCOL_FEATURES, Ended, Inflight, Line, Log, Opened, Peer, Region, Ring, Session

#: ring numbers are the peers' word for it; more different ones than this are not kept
MOST_RINGS = 4096
MOST_REGIONS = 4096
#: an end closes once; what a capture says of it is kept as far as this
MOST_ENDS = 4

Fields = Mapping[str, Any]
Handler = Callable[[Session, Message, Fields], Session]


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
    return _with_ledger(session, ledgers.after(session.ledger, message))


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
        return _channel(session, Opened(event.channel, event.channel_no, _number(facts.get("after"))))
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
        return _channel(session, channel)._replace(ended=ended)
    if event.event == "undelivered":
        first = _number(facts.get("first"))
        if event.sender is None or not first:
            return session
        return _with_ledger(session, ledgers.without_undelivered(session.ledger, key, event.sender, first))
    if event.event == "unread":
        channel = session.channels.get(key, Opened(*key))
        end = event.sender
        if end is None:
            return session
        return _channel(session, channel._replace(unread=(*channel.unread, end)[:MOST_ENDS]))
    return session


def after_gap(session: Session) -> Session:
    """Records are missing: anything may have been agreed on, answered, started or stopped meanwhile."""
    context = session.context._replace(virtio_features=None, protocol_features=None)
    ledger = {key: queue._replace(waiting=(), unasked=None) for key, queue in session.ledger.items()}
    shown = displays.unsure(session.displays)
    session = session._replace(whole=False, context=context, displays=shown, rings={}, device_state=None)
    return _with_ledger(session, ledger)


def channel_ended(session: Session, channel: tuple[str, int]) -> Session:
    """Nobody waits on that channel any more."""
    return _with_ledger(session, ledgers.without(session.ledger, channel))


def _with_ledger(session: Session, ledger: Ledger) -> Session:
    # every message comes by here: twice as fast as _replace
    return tuple.__new__(Session, session[:-1] + (ledger,))


def _channel(session: Session, channel: Opened) -> Session:
    if len(session.channels) >= ledgers.MOST_CHANNELS and (channel.name, channel.channel_no) not in session.channels:
        return session
    return session._replace(channels={**session.channels, (channel.name, channel.channel_no): channel})


def _peer(facts: object) -> Peer:
    """Who is at an end, from the relay's words; a capture may say anything."""
    if not isinstance(facts, dict):
        return Peer()
    return Peer(_text(facts.get("path")), _number(facts.get("pid")), _text(facts.get("program")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _learn(session: Session, evidence: Evidence) -> Session:
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


# -- negotiation


def _get_features(session: Session, message: Message, fields: Fields) -> Session:
    offered = fields.get("features")
    if offered is None or offered == session.virtio_offered:
        return session  # also a way to wait: it is asked for again and again
    session = session._replace(virtio_offered=offered)
    return _learn(session, session.evidence._replace(virtio=offered))


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
    return _learn(session, session.evidence._replace(protocol=offered))


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


def _queue_num(session: Session, message: Message, fields: Fields) -> Session:
    count = fields.get("queues")
    session = session._replace(queues=count)
    return _learn(session, session.evidence._replace(queues=count))


def _max_slots(session: Session, message: Message, fields: Fields) -> Session:
    return session._replace(slots=fields.get("slots"))


# -- memory


def _region(message: Message, fields: Fields, fd: Descriptor | None) -> Region | None:
    try:
        return Region(
            # the regions of 2014 had no offset
            fields["guest_address"],
            fields["length"],
            fields["user_address"],
            fields.get("mmap_offset", 0),
            message.no,
            fd,
        )
    except (KeyError, TypeError):
        return None


def _set_mem_table(session: Session, message: Message, fields: Fields) -> Session:
    listed = fields.get("regions")
    if not isinstance(listed, list) or (message.size == 8 and session.postcopy == "listening"):
        return session
    fds = message.fds
    regions = [
        _region(message, one, fds[i] if i < len(fds) else None) for i, one in enumerate(listed) if isinstance(one, dict)
    ]
    return session._replace(regions=tuple(region for region in regions if region is not None))


def _add_mem_reg(session: Session, message: Message, fields: Fields) -> Session:
    region = _region(message, fields, message.fds[0] if message.fds else None)
    if region is None or len(session.regions) >= MOST_REGIONS:
        return session
    return session._replace(regions=(*session.regions, region))


def _add_refused(session: Session, message: Message, fields: Fields) -> Session:
    """A region that the back-end did not take is not there."""
    if not message.failed:
        return session
    regions = tuple(region for region in session.regions if region.no != message.answers)
    return session if len(regions) == len(session.regions) else session._replace(regions=regions)


def _rem_mem_reg(session: Session, message: Message, fields: Fields) -> Session:
    """Removal goes by guest address, size and user address; the offset does not count."""
    gone = _region(message, fields, None)
    if gone is None:
        return session
    return session._replace(regions=tuple(region for region in session.regions if region[:3] != gone[:3]))


# -- rings


def _ring(session: Session, message: Message, fields: Fields, **changes: Any) -> Session:
    index = fields.get("index")
    if index is None:
        return session
    ring = session.rings.get(index)
    if ring is None:
        if len(session.rings) >= MOST_RINGS:
            return session
        # a ring that is first heard of after SET_FEATURES without the bit is enabled from the start
        ring = Ring(index, enabled=session.features_set and not (session.virtio_agreed or 0) & PROTOCOL_FEATURES)
    # most of what is sent is about rings: as in _with_ledger
    values = list(ring)
    values[_RING["no"]] = message.no
    for name, value in changes.items():
        values[_RING[name]] = value
    rings = {**session.rings, index: tuple.__new__(Ring, values)}
    return tuple.__new__(Session, (*session[:_RINGS], rings, *session[_RINGS + 1 :]))


_RINGS = Session._fields.index("rings")
_RING = {name: position for position, name in enumerate(Ring._fields)}


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


# -- the rest


def _log_base(session: Session, message: Message, fields: Fields) -> Session:
    fd = message.fds[0] if message.fds else None
    log = Log(message.no, fields.get("mmap_length", 0), fields.get("mmap_offset", 0), fd)
    return session._replace(log=log)


def _inflight(session: Session, message: Message, fields: Fields) -> Session:
    try:
        inflight = Inflight(
            message.no,
            fields["mmap_length"],
            fields["mmap_offset"],
            fields["num_queues"],
            fields["queue_size"],
            message.fds[0] if message.fds else None,
        )
    except KeyError:
        return session
    return session._replace(inflight=inflight)


def _status(session: Session, message: Message, fields: Fields) -> Session:
    return session._replace(status=fields.get("status"))


def _config(session: Session, message: Message, fields: Fields) -> Session:
    """The reply of GET_CONFIG: how long the device's config is tells much about its type."""
    data = fields.get("config", b"")
    if not data or fields.get("offset"):
        return session
    whole = data if session.config is None or len(data) >= len(session.config) else session.config
    session = session._replace(config=whole)
    return _learn(session, session.evidence._replace(config_size=len(whole)))


def _seen(session: Session, message: Message, fields: Fields) -> Session:
    """A message that only some devices' front-ends send."""
    return _learn(session, session.evidence._replace(messages=session.evidence.messages | {message.name or ""}))


def _postcopy(phase: str) -> Handler:
    def handle(session: Session, message: Message, fields: Fields) -> Session:
        context = session.context._replace(postcopy=phase == "listening")
        return session._replace(postcopy=phase, context=context)

    return handle


def _postcopy_refused(session: Session, message: Message, fields: Fields) -> Session:
    if not message.failed:
        return session
    return session._replace(postcopy="advised", context=session.context._replace(postcopy=False))


def _device_state(session: Session, message: Message, fields: Fields) -> Session:
    return session._replace(device_state=(fields.get("direction", 0), message.no))


def _device_state_refused(session: Session, message: Message, fields: Fields) -> Session:
    return session._replace(device_state=None) if fields.get("error") else session


def _device_state_checked(session: Session, message: Message, fields: Fields) -> Session:
    return session._replace(device_state=None)


def _shmem(session: Session, message: Message, fields: Fields) -> Session:
    sizes = fields.get("lengths", ())
    return session._replace(shmem={i: size for i, size in enumerate(sizes) if size})


#: main channel: what a request does to the session
_REQUESTS: Mapping[str, Handler] = {
    "SET_FEATURES": _set_features,
    "SET_PROTOCOL_FEATURES": _set_protocol_features,
    "SET_OWNER": _set_owner,
    "RESET_OWNER": _reset_owner,
    "RESET_DEVICE": _reset_device,
    "SET_MEM_TABLE": _set_mem_table,
    "ADD_MEM_REG": _add_mem_reg,
    "REM_MEM_REG": _rem_mem_reg,
    "SET_LOG_BASE": _log_base,
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
    "SET_INFLIGHT_FD": _inflight,
    "SET_STATUS": _status,
    "POSTCOPY_ADVISE": _postcopy("advised"),
    "POSTCOPY_LISTEN": _postcopy("listening"),
    "POSTCOPY_END": _postcopy("ended"),
    "SET_DEVICE_STATE_FD": _device_state,
    "SEND_RARP": _seen,
    "NET_SET_MTU": _seen,
    "GPU_SET_SOCKET": _seen,
    "CREATE_CRYPTO_SESSION": _seen,
}

#: and what its answer does
_REPLIES: Mapping[str, Handler] = {
    "GET_FEATURES": _get_features,
    "GET_PROTOCOL_FEATURES": _get_protocol_features,
    "GET_QUEUE_NUM": _queue_num,
    "GET_MAX_MEM_SLOTS": _max_slots,
    "GET_VRING_BASE": _vring_stopped,
    "GET_VRING_BASE_SKIP_DRAIN": _vring_stopped,
    "GET_INFLIGHT_FD": _inflight,
    "GET_STATUS": _status,
    "GET_CONFIG": _config,
    "ADD_MEM_REG": _add_refused,
    "POSTCOPY_LISTEN": _postcopy_refused,
    "SET_DEVICE_STATE_FD": _device_state_refused,
    "CHECK_DEVICE_STATE": _device_state_checked,
    "GET_SHMEM_CONFIG": _shmem,
}
