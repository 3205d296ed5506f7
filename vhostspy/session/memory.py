"""Memory that the ends share: the guest's regions, the in-flight region, the device's own shared memory."""

from __future__ import annotations

from collections.abc import Mapping

from vhostspy.capture.record import Descriptor
from vhostspy.message import Message

from .state import Fields, Handler, Inflight, Region, Session

#: more than any peer has; the capture says how many there are
MOST_REGIONS = 4096


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


def _shmem(session: Session, message: Message, fields: Fields) -> Session:
    sizes = fields.get("lengths", ())
    return session._replace(shmem={i: size for i, size in enumerate(sizes) if size})


REQUESTS: Mapping[str, Handler] = {
    "SET_MEM_TABLE": _set_mem_table,
    "ADD_MEM_REG": _add_mem_reg,
    "REM_MEM_REG": _rem_mem_reg,
    "SET_INFLIGHT_FD": _inflight,
}
REPLIES: Mapping[str, Handler] = {
    "GET_INFLIGHT_FD": _inflight,
    "ADD_MEM_REG": _add_refused,
    "GET_SHMEM_CONFIG": _shmem,
}
