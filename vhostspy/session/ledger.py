"""Who waits for whom: requests, and the replies that answer them.

Each channel has a queue of the requests whose senders wait. A reply answers the oldest of them that has its id, and
in vfio-user its message number (peers of vhost-user answer in order; where they do not, the ones skipped stay and are
seen to be late). Whether a request is waited for at all depends on its row, on NEED_REPLY, and on what was agreed;
peers also answer when nobody asked, so the latest request that wanted no answer is remembered too. A reply that fits
nothing answers nothing: that is for the rules to judge.

Values only: every function returns a new ledger that shares what did not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vhostspy.dissectors.context import Context, agreed
from vhostspy.dissectors.rows import FRONT_END
from vhostspy.message import Message

REPLY_ACK = 1 << 3
#: the front-end ends a step of postcopy with a message of that many bytes, which is final
ACK_SIZE = 8

#: a peer that asks and asks without being answered must not cost us its number squared: the oldest are then let go
MOST_WAITING = 1024
#: and channels are numbered by the capture: what is said on more of them is not accounted for
MOST_CHANNELS = 1024


class Queue(NamedTuple):
    """One channel: requests waited for, oldest first; the latest one nobody waits for; and who spoke last."""

    waiting: tuple[Message, ...] = ()
    unasked: Message | None = None
    #: the number of the last message of each end, 0 if there was none
    last: tuple[int, int] = (0, 0)
    #: requests that were let go because too many wait
    forgotten: int = 0


#: (channel, its number) -> queue
Ledger = Mapping[tuple[str, int], Queue]

EMPTY: Ledger = {}
_NEW = Queue()


def request_answered(ledger: Ledger, reply: Message) -> Message | None:
    """The request that ``reply`` answers; None for a reply that nobody asked for, or that came before."""
    queue = ledger.get((reply.channel, reply.channel_no))
    if queue is None:
        return None
    asker = 1 - reply.sender
    id_, msgid = reply.id, reply.msgid
    for request in queue.waiting:
        if request.id == id_ and request.sender == asker and request.msgid == msgid:
            return request
    unasked = queue.unasked
    if unasked is not None and unasked.id == id_ and unasked.sender == asker and unasked.msgid == msgid:
        return unasked
    return None


def after(ledger: Ledger, message: Message) -> Ledger:
    """The ledger once ``message`` has passed; its ``answers`` and ``awaited`` must have been filled in."""
    key = (message.channel, message.channel_no)
    queue = ledger.get(key)
    if queue is None:
        if len(ledger) >= MOST_CHANNELS:
            return ledger
        queue = _NEW
    waiting, unasked, last, forgotten = queue
    sender = message.sender
    if sender < 2:  # not vhostspy's own
        last = (message.no, last[1]) if sender == FRONT_END else (last[0], message.no)
    if message.kind == "request":
        if message.awaited:
            waiting = (*waiting, message)
            if len(waiting) > MOST_WAITING:
                waiting = waiting[1:]
                forgotten += 1
        else:
            unasked = message
    elif message.answers is not None:
        answered = message.answers
        if waiting and waiting[0].no == answered:
            waiting = waiting[1:]
        elif unasked is not None and unasked.no == answered:
            unasked = None
        else:
            waiting = tuple(request for request in waiting if request.no != answered)
    # every message comes by here: what Queue(...) does, in half the time
    return {**ledger, key: tuple.__new__(Queue, (waiting, unasked, last, forgotten))}


def outstanding(ledger: Ledger, channel: tuple[str, int] | None = None) -> Iterator[Message]:
    """Requests that are waited for, oldest first within each channel."""
    for key, queue in ledger.items():
        if channel is None or key == channel:
            yield from queue.waiting


def without(ledger: Ledger, channel: tuple[str, int]) -> Ledger:
    """The ledger once a channel has ended: nobody waits there any more."""
    queue = ledger.get(channel)
    if queue is None or not queue.waiting and queue.unasked is None:
        return ledger
    return {**ledger, channel: queue._replace(waiting=(), unasked=None)}


def without_undelivered(ledger: Ledger, channel: tuple[str, int], sender: int, first: int) -> Ledger:
    """The ledger once it is known that what ``sender`` said from ``first`` on was not taken: nobody answers it."""
    queue = ledger.get(channel)
    if queue is None:
        return ledger
    waiting = tuple(one for one in queue.waiting if one.sender != sender or one.no < first)
    return {**ledger, channel: queue._replace(waiting=waiting)}


def expects_answer(message: Message, context: Context) -> bool:
    """Whether the sender of this request now waits for an answer: as its row says (``rows.Answer``).

    Where a capture began in the middle, what was agreed is not known: then NEED_REPLY is taken at its word, and
    descriptors for a sign that they were agreed on.
    """
    row = message.row
    how = "ack" if row is None else row.answer
    if message.msgid is not None:
        # vfio-user: a command is answered unless its sender declines
        return message.need_reply and how != "never"
    if how == "reply":
        return True
    if how == "never":
        return False
    features = context.protocol_features
    if message.need_reply and (how == "asked" or features is None or features & REPLY_ACK != 0):
        return True
    if how == "with-fds" and row is not None and row.request_fds.needs is not None:
        shared = agreed(row.request_fds.needs, context)
        return bool(message.fds) if shared is None else shared
    return how == "postcopy" and context.postcopy and (message.size or 0) > ACK_SIZE
