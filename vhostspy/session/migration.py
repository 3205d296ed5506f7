"""A guest that moves: the dirty log, postcopy, the device's own state."""

from __future__ import annotations

from collections.abc import Mapping

from vhostspy.message import Message

from .state import Fields, Handler, Log, Session


def _log_base(session: Session, message: Message, fields: Fields) -> Session:
    fd = message.fds[0] if message.fds else None
    log = Log(message.no, fields.get("mmap_length", 0), fields.get("mmap_offset", 0), fd)
    return session._replace(log=log)


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


REQUESTS: Mapping[str, Handler] = {
    "SET_LOG_BASE": _log_base,
    "POSTCOPY_ADVISE": _postcopy("advised"),
    "POSTCOPY_LISTEN": _postcopy("listening"),
    "POSTCOPY_END": _postcopy("ended"),
    "SET_DEVICE_STATE_FD": _device_state,
}
REPLIES: Mapping[str, Handler] = {
    "POSTCOPY_LISTEN": _postcopy_refused,
    "SET_DEVICE_STATE_FD": _device_state_refused,
    "CHECK_DEVICE_STATE": _device_state_checked,
}
