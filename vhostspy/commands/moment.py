"""``vhostspy show FILE --at N``: the session as it stood right after one message."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vhostspy.capture.reader import CaptureError
from vhostspy.errors import WrongUse
from vhostspy.index import Index
from vhostspy.message import Event, Message
from vhostspy.output.json import Json
from vhostspy.output.naming import MOST_WAITING, lacks_names, with_device
from vhostspy.output.overview import session_lines, session_values, waiting_lines, waiting_values
from vhostspy.output.text import Look, Text

if TYPE_CHECKING:
    from vhostspy.rules.engine import Rules
    from vhostspy.session.state import Session

#: seconds of work between two looks at how far it went
_SLICE_S = 0.1


def show(file: str, at: int, look: Look, as_json: bool, device: str | None, rules: Rules | None) -> Iterator[str]:
    """Lines about message ``at``. Raises WrongUse where there is no such message, or no capture."""
    name = "standard input" if file == "-" else file
    try:
        with Index(sys.stdin.buffer.read() if file == "-" else _octets(file), device=device, rules=rules) as index:
            row = _studied_to(index, at, name)
            message = index.item(row)
            assert isinstance(message, Message)
            sessions = index.sessions(row)
            if as_json:
                json = Json(look.octets)
                yield json.message(message)
                yield json.event(_event(message, sessions))
                return
            text = Text(look)
            for before in _before(index, row):
                text.message(before)  # times count from the first, and from the one before
            yield text.message(_named(index, row, message) if look.verbose else message)
            session = sessions[message.session]
            head, *lines = session_lines(session)
            lines += waiting_lines(session, message.monotonic_ns)
            yield "".join(f"{line}\n" for line in ("", f"{head} after #{at}", *lines))
            others = [str(number) for number, one in sessions.items() if number != message.session and not one.ended]
            if others:
                yield f"also open: session {', '.join(others)}\n"
    except CaptureError as error:
        raise WrongUse(f"{name}: {error}") from None


def _octets(file: str) -> str | bytes:
    """A pipe can be read once only."""
    if os.path.isfile(file) or os.path.isdir(file):
        return file
    with open(file, "rb") as pipe:
        return pipe.read()


def _studied_to(index: Index, at: int, name: str) -> int:
    """The row of message ``at``, once all up to it is known. Raises WrongUse."""
    more = True
    while True:
        row = index.row_of(at)
        if row is not None and row < index.studied:
            return row
        if not more:
            break
        more = index.advance(_SLICE_S)
    last = index.glance(index.rows - 1).no or max((index.glance(row).no for row in range(index.rows)), default=0)
    there_is = f"the last is #{last}" if last else "there is none"
    raise WrongUse(f"{name}: there is no message #{at}; {there_is}" + (f" ({index.note})" if index.note else ""))


def _before(index: Index, row: int) -> Iterator[Message]:
    """The first message, and the last one before ``row``, where there are any."""
    for rows in (range(row), range(row - 1, -1, -1)):
        found = next((item for each in rows if isinstance(item := index.item(each), Message)), None)
        if found is not None:
            yield found


def _named(index: Index, row: int, message: Message) -> Message:
    """The message with its bits by name, where it can be told at once, or soon after, which device has them."""
    for later in (row, min(row + MOST_WAITING, index.rows - 1)) if lacks_names(message) else ():
        while index.studied <= later and index.advance(_SLICE_S):
            pass
        session = index.sessions(later).get(message.session)
        if session is not None and session.device is not None:
            return with_device(message, session.device)
    return message


def _event(message: Message, sessions: Mapping[int, Session]) -> Event:
    """The moment as an event's facts, for programs."""
    states: list[dict[str, Any]] = [
        {**session_values(session), "waiting": waiting_values(session, message.monotonic_ns)}
        for session in sessions.values()
    ]
    facts = {"no": message.no, "sessions": states}
    text = f"as of #{message.no}"
    return Event(
        "state", message.time_ns, message.monotonic_ns, message.session, message.channel, message.channel_no, None,
        message.protocol, text, facts,
    )  # fmt: skip
