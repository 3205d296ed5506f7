"""The display channels of a gpu's session (vhost-user-gpu): what was agreed on there, and what each scanout shows.

Every GPU_SET_SOCKET begins another one, of which nothing is agreed on and nothing is shown. Of one whose beginning was
not seen nothing is known.

Source: QEMU, docs/interop/vhost-user-gpu.rst; what QEMU does with the messages, hw/display/vhost-user-gpu.c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import NamedTuple

from vhostspy.message import Message

#: numbers are the back-end's word for it; more different ones are not kept
MOST_SCANOUTS = 64
#: a guest that restarts its driver makes ever new channels; the latest are kept
MOST_DISPLAYS = 16
PIXELS, BUFFER = "pixels", "buffer"


class Scanout(NamedTuple):
    """What one output of the display shows: pixels that come by UPDATE, or a buffer of the graphics device."""

    number: int
    shows: str
    width: int
    height: int
    #: the message that turned it on, and the monotonic time then
    no: int
    since_ns: int
    #: the first message that drew on it, 0: none yet
    drawn: int = 0


class Display(NamedTuple):
    """One display channel."""

    #: its first moment was seen
    whole: bool = False
    offered: int | None = None
    agreed: int | None = None
    #: SET_PROTOCOL_FEATURES has come
    settled: bool = False
    #: numbers of the scanouts that GET_DISPLAY_INFO's reply has enabled
    enabled: frozenset[int] | None = None
    #: those that are turned on
    scanouts: Mapping[int, Scanout] = {}


#: by the channel's number
Displays = Mapping[int, Display]
Handler = Callable[[Display, Message], Display]


def opened(displays: Displays, channel_no: int) -> Displays:
    """A channel begins: what is not agreed on from now on is not agreed on at all."""
    kept = list(displays.items())[1 - MOST_DISPLAYS :]
    return {**dict(kept), channel_no: Display(whole=True, agreed=0)}


def unsure(displays: Displays) -> Displays:
    """Records are missing."""
    return {number: Display() for number in displays}


def after(displays: Displays, message: Message) -> Displays:
    """The displays once a whole message of a display channel has passed; the same object where nothing changed."""
    handler = (_REQUESTS if message.kind == "request" else _REPLIES).get(message.name or "")
    if handler is None:
        return displays
    before = displays.get(message.channel_no, _UNKNOWN)
    display = handler(before, message)
    return displays if display is before else {**displays, message.channel_no: display}


_UNKNOWN = Display()
_RECTANGLES = {"<": Struct("<5I"), ">": Struct(">5I")}


def rectangle(message: Message) -> tuple[int, int, int, int, int] | None:
    """Scanout, x, y, width, height of an UPDATE or DMABUF_UPDATE, without a look at its pixels; None: cut off."""
    layout = _RECTANGLES[message.byte_order]
    if len(message.data) < message.payload_at + layout.size:
        return None
    number, x, y, width, height = layout.unpack_from(message.data, message.payload_at)
    return number, x, y, width, height


def _offered(display: Display, message: Message) -> Display:
    return display._replace(offered=message.fields.get("protocol_features"))


def _agreed(display: Display, message: Message) -> Display:
    return display._replace(agreed=message.fields.get("protocol_features"), settled=True)


def _modes(display: Display, message: Message) -> Display:
    modes = message.fields.get("modes", ())
    return display._replace(enabled=frozenset(number for number, one in enumerate(modes) if one.get("enabled")))


def _scanout(display: Display, message: Message) -> Display:
    return _shown(display, message, PIXELS, message.fields.get("width", 0) != 0)


def _buffer(display: Display, message: Message) -> Display:
    return _shown(display, message, BUFFER, bool(message.fds))


def _shown(display: Display, message: Message, shows: str, on: bool) -> Display:
    fields = message.fields
    number = fields.get("scanout_id")
    if number is None:
        return display
    scanouts = {other: one for other, one in display.scanouts.items() if other != number}
    if on and len(scanouts) < MOST_SCANOUTS:
        scanouts[number] = Scanout(
            number, shows, fields.get("width", 0), fields.get("height", 0), message.no, message.monotonic_ns
        )
    return display._replace(scanouts=scanouts)


def _drawn(display: Display, message: Message) -> Display:
    place = rectangle(message)
    scanout = display.scanouts.get(place[0]) if place is not None else None
    if scanout is None or scanout.drawn:
        return display  # one a frame: only the first changes anything
    return display._replace(scanouts={**display.scanouts, scanout.number: scanout._replace(drawn=message.no)})


_REQUESTS: Mapping[str, Handler] = {
    "SET_PROTOCOL_FEATURES": _agreed,
    "SCANOUT": _scanout,
    "UPDATE": _drawn,
    "DMABUF_SCANOUT": _buffer,
    "DMABUF_SCANOUT2": _buffer,
    "DMABUF_UPDATE": _drawn,
}
_REPLIES: Mapping[str, Handler] = {"GET_PROTOCOL_FEATURES": _offered, "GET_DISPLAY_INFO": _modes}
