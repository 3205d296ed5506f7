"""vfio-user: both ends ask at once, and each waits for the other."""

from __future__ import annotations

from vhostspy.message import Message
from vhostspy.session import ledger as ledgers

from .replies import age
from .rule import BOTH, Breach, Case, Moment, Outcome, event, rule
from .stalls import CROSSED_NS
from .vfio_header import called
from .vfio_state import CLIENT, PROTOCOL, SERVER, vfio

CONCURRENCY = "vfio-user, Command Concurrency; libvfio-user #279 and #466"


def _waits(case: Case, end: int) -> Message | None:
    """What this end waits for on the message's socket."""
    queue = case.before.ledger.get((case.message.channel, case.message.channel_no))
    return next((one for one in queue.waiting if one.sender == end), None) if queue is not None else None


@rule(
    "VF-HDR-11", "note", "no command comes from an end while the other one waits for its reply on the same socket",
    CONCURRENCY, on=(vfio(lambda slot: True), event("eof", "reset")), malformed=True,
    notes="An error where the end that waits then hangs up, or refuses: it took the command for its reply. The "
    "server's own socket is made for this.",
)  # fmt: skip
def crossing(case: Case | Moment) -> Outcome:
    crossed: dict[int, tuple[int, str, int]] = case.memory.of("VF-HDR-11")
    if isinstance(case, Moment):
        if PROTOCOL not in case.memory.kept or case.event.sender is None or not crossed:
            return None
        return _harmed(crossed, case.event.sender, "hung up")
    message = case.message
    if message.kind != "request":
        found = next(
            (no for no, (asked, _, end) in crossed.items() if end == message.sender and no == message.answers), 0
        )
        outcome = _harmed(crossed, message.sender, "refused it") if found and message.refused else None
        # what one of them waited for has come: the rest is as usual
        for no in [no for no, (asked, _, _) in crossed.items() if message.answers in (no, asked)]:
            del crossed[no]
        return outcome
    waiting = _waits(case, 1 - message.sender)
    if waiting is None or waiting.row is None or message.row is None:
        return None
    crossed[message.no] = waiting.no, f"{waiting.name} #{waiting.no}", 1 - message.sender
    if len(crossed) > _MOST:
        del crossed[next(iter(crossed))]
    if not case.first("VF-HDR-11", message.sender):
        return None
    text = f"{called(case)}: came while the other end waits for the reply to {waiting.name} #{waiting.no}, on the same "
    text += "socket: it must not take the one for the other"
    return Breach(text, evidence=(waiting.no,))


_MOST = 64


def _harmed(crossed: dict[int, tuple[int, str, int]], end: int, how: str) -> Outcome:
    """The end that waited for a reply, and got a command, did not cope with it."""
    for no, (asked, title, waits) in crossed.items():
        if waits == end:
            crossed.clear()
            text = f"expected {title} to be answered before another command, came #{no}; the end that waits {how}"
            return Breach(text, who=1 - end, no=no, evidence=(asked, no), severity="error")
    return None


@rule("VF-STL-01", "error", "client and server do not wait for each other", CONCURRENCY, on=event("waiting"))
def both_wait(moment: Moment) -> Outcome:
    if PROTOCOL not in moment.memory.kept:
        return None
    now = moment.event.monotonic_ns
    waiting = list(ledgers.outstanding(moment.before.ledger))
    oldest = [min((one for one in waiting if one.sender == end), key=lambda one: one.monotonic_ns, default=None)
              for end in (CLIENT, SERVER)]  # fmt: skip
    client, server = oldest
    if client is None or server is None or any(channel.unread for channel in moment.before.channels.values()):
        return None
    if min(now - client.monotonic_ns, now - server.monotonic_ns) < CROSSED_NS:
        return None
    if not moment.first("VF-STL-01", client.no, server.no):
        return None
    text = (
        f"expected one of the ends to answer: the server owes a reply to {client.name} #{client.no} since "
        f"{age(now - client.monotonic_ns)}, the client one to {server.name} #{server.no} since "
        f"{age(now - server.monotonic_ns)}"
    )
    return Breach(text, who=BOTH, no=max(client.no, server.no), evidence=(client.no, server.no))
