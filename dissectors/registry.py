"""Which protocols there are, and the row of a message. Users add rows of their own by ``additions``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .rows import Channel, Message, Protocol


def _vhost_user() -> Protocol:
    from .vhost_user import VHOST_USER

    return VHOST_USER


def _vhost_user_gpu() -> Protocol:
    from .vhost_user_gpu import VHOST_USER_GPU

    return VHOST_USER_GPU


def _vfio_user() -> Protocol:
    from .vfio_user import VFIO_USER

    return VFIO_USER


class _Protocols(Mapping[str, "Protocol"]):
    """Each is loaded when it is first asked for: the tables take longer than all else before the relay listens."""

    def __init__(self, sources: dict[str, Callable[[], Protocol]]) -> None:
        self._sources = sources
        self._loaded: dict[str, Protocol] = {}

    def __getitem__(self, name: str) -> Protocol:
        found = self._loaded.get(name)
        if found is None:
            found = self._loaded[name] = self._sources[name]()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


PROTOCOLS: Mapping[str, Protocol] = _Protocols(
    {"vhost-user": _vhost_user, "vhost-user-gpu": _vhost_user_gpu, "vfio-user": _vfio_user}
)
#: those that a session begins with; the others are spoken on a socket that is passed in one
MAIN = ("vhost-user", "vfio-user")


def channel(protocol: str, name: str) -> Channel | None:
    """The channel of that name; None when the protocol, or its channel, is not known."""
    known = PROTOCOLS.get(protocol)
    return known.channels.get(name) if known else None


def row(
    protocol: str, channel: str, sender: int, id: int, size: int | None = None, reply: bool = False
) -> Message | None:
    """The row of a message; ``sender`` is the end that sent the request, also when asking for its reply's row.

    ``size``: bytes of payload, by which messages that have the same number are told apart.
    """
    known = PROTOCOLS.get(protocol)
    found = known.channels.get(channel) if known else None
    message = found.messages.get((sender, id)) if found else None
    if message is None or size is None:
        return message
    return by_size(message, size, reply)


def by_size(message: Message, size: int, reply: bool) -> Message:
    """The row itself, or that of the others with its number which a payload of so many bytes fits."""
    if not message.others:
        return message
    return next((each for each in (message, *message.others) if _fits(each, size, reply)), message)


def _fits(message: Message, size: int, reply: bool) -> bool:
    from .plan import plan  # here: the relay, which asks for no sizes, starts without it
    from .rows import ACK, EMPTY

    layouts = message.request if not reply else (ACK,) if message.reply is None else message.reply
    plans = [plan(layout, "<") for layout in layouts or (EMPTY,)]
    return any(size == each.size if each.size is not None else size >= each.least for each in plans)
