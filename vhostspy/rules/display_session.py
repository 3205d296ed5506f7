"""vhost-user-gpu: what was agreed on, who waits for an answer, and what the scanouts show."""

from __future__ import annotations

from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.dissectors.vhost_user_gpu import FEATURES
from vhostspy.message import Message
from vhostspy.session import ledger as ledgers
from vhostspy.session.display import PIXELS, Display, Scanout, rectangle

from .display import PROTOCOL, QEMU, TYPE, called, display
from .gates import FRONT
from .replies import LATE_NS, SECOND, age, title
from .rule import Breach, Case, Moment, Outcome, Severity, event, request, rule

COMMUNICATION = "vhost-user-gpu, Communication, Message types"
FEATURES_SOURCE = "vhost-user-gpu, Protocol features"
#: scanouts that a graphics device has at most
MOST_SCANOUTS = 16
#: an answer that says that the screen was drawn is late then
SLOW_NS = SECOND
#: a screen that was turned on, and on which nothing is drawn
STILL_NS = 10 * SECOND
_UNKNOWN = Display()
_EDID, _DMABUF2 = 1, 2


def _display(case: Case) -> Display:
    return case.before.displays.get(case.message.channel_no, _UNKNOWN)


def _queue(case: Case) -> tuple[Message, ...]:
    """The back-end's requests that are waited for, oldest first."""
    queue = case.before.ledger.get((case.message.channel, case.message.channel_no))
    return () if queue is None else tuple(one for one in queue.waiting if one.sender == BACK_END)


# -- answers


@rule("VG-04", "error", "GET_PROTOCOL_FEATURES, GET_DISPLAY_INFO, DMABUF_UPDATE and GET_EDID are answered, once and in "
      "order, and nothing else is", COMMUNICATION,
      on=(display(reply=True), event("eof", "reset", "unanswered")), malformed=True,
      notes="GET_EDID that is passed over, as QEMU does for a scanout that there is not: a note; so is what is owed "
      "when the front-end closes, as it does with each restart of the driver.")  # fmt: skip
def one_answer_each(case: Case | Moment) -> Outcome:
    if isinstance(case, Moment):
        return _unanswered(case)
    message = case.message
    if message.sender != FRONT_END or not _display(case).whole:
        return None
    waiting = _queue(case)
    if not waiting:
        return f"{called(case)}: expected no answer as nobody waits for one, one came"
    passed = waiting[: next((place for place, one in enumerate(waiting) if one.no == message.answers), 0)]
    if not passed:
        return None  # in order, or not its number: VG-06
    severity: Severity | None = "note" if all(one.name == "GET_EDID" for one in passed) else None
    text = f"{called(case)}: expected the answer to {title(passed[0])} first, it was passed over"
    return Breach(text, evidence=tuple(one.no for one in passed[:8]), severity=severity, no=passed[0].no)


def _unanswered(moment: Moment) -> Outcome:
    happened = moment.event
    if happened.event != "unanswered" and happened.channel != "gpu":
        return None
    breaches = []
    for asked in ledgers.outstanding(moment.before.ledger):
        mine = (asked.channel, asked.channel_no) == (happened.channel, happened.channel_no)
        if asked.protocol != PROTOCOL or not mine or not moment.first("VG-04", asked.no):
            continue
        waited = happened.monotonic_ns - asked.monotonic_ns
        expected = f"{title(asked)}: expected an answer, none came in {age(waited)}"
        likely = waited >= LATE_NS and asked.name != "GET_EDID"
        breaches.append(Breach(expected, who=FRONT_END, no=asked.no, severity=None if likely else "note"))
    return breaches


@rule("VG-06", "error", "an answer has the number of its request", "QEMU, contrib/vhost-user-gpu: reads just that one",
      on=display(reply=True), malformed=True)  # fmt: skip
def other_answer(case: Case) -> Outcome:
    waiting = _queue(case)
    if case.message.sender != FRONT_END or not waiting or case.message.answers is not None:
        return None
    if not _display(case).whole:
        return None
    text = f"expected the answer to {title(waiting[0])}, came the {called(case)}"
    return Breach(text, evidence=(waiting[0].no,))


@rule("VG-13", "warning", "a back-end waits for the answer to DMABUF_UPDATE before it sends the next",
      TYPE + "DMABUF_UPDATE", on=display("DMABUF_UPDATE"))  # fmt: skip
def not_waited_for(case: Case) -> Outcome:
    earlier = next((one for one in _queue(case) if one.name == "DMABUF_UPDATE"), None)
    if earlier is None or not case.first("VG-13", case.message.channel_no):
        return None
    text = f"DMABUF_UPDATE: expected the answer to {title(earlier)} to be waited for, came before it"
    return Breach(text, evidence=(earlier.no,))


@rule("VG-20", "warning", "DMABUF_UPDATE is answered within 1 s", QEMU + ": answers once the picture is shown",
      on=(display("DMABUF_UPDATE", reply=True), event("waiting")), bends=("qemu",), malformed=True,
      notes="A host's window that is out of sight may take longer.")  # fmt: skip
def shown_late(case: Case | Moment) -> Outcome:
    if isinstance(case, Case):
        late = case.message.latency_ns or 0
        if late < SLOW_NS or not case.first("VG-20", case.message.answers):
            return None
        text = f"DMABUF_UPDATE reply: expected within 1 s, came after {age(late)}"
        return Breach(text, evidence=(case.message.answers or 0,))
    no, age_ns = case.event.facts.get("no"), case.event.facts.get("age_ns", 0)
    asked = next((one for one in ledgers.outstanding(case.before.ledger) if one.no == no), None)
    if asked is None or (asked.protocol, asked.name) != (PROTOCOL, "DMABUF_UPDATE") or age_ns < SLOW_NS:
        return None
    if not case.first("VG-20", no):
        return None
    return Breach(f"{title(asked)}: expected an answer within 1 s, none came in {age(age_ns)}", who=FRONT_END)


# -- features


def _lacks(case: Case, bit: int, name: str) -> str | None:
    agreed = _display(case).agreed
    if agreed is None or agreed & bit or not case.first("display feature", case.message.channel_no, bit):
        return None
    return f"{case.name}: expected {name} to be agreed on before on the display channel, it was not"


@rule("VG-14", "warning", "GET_EDID only once EDID was agreed on", TYPE + "GET_EDID", on=display("GET_EDID"),
      bends=("rust-vmm",), malformed=True, notes="vhost-device-gpu agrees on nothing.")  # fmt: skip
def edid_not_agreed(case: Case) -> Outcome:
    return _lacks(case, _EDID, "EDID (bit 0)")


@rule("VG-15", "warning", "DMABUF_SCANOUT2 only once DMABUF2 was agreed on", TYPE + "DMABUF_SCANOUT2",
      on=display("DMABUF_SCANOUT2"), bends=("rust-vmm",), malformed=True,
      notes="rust-vmm has the bits' numbers for the bits.")  # fmt: skip
def modifier_not_agreed(case: Case) -> Outcome:
    return _lacks(case, _DMABUF2, "DMABUF2 (bit 1)")


@rule("VG-16", "warning", "SET_PROTOCOL_FEATURES has only bits that were offered", FEATURES_SOURCE,
      on=display("SET_PROTOCOL_FEATURES"), bends=("rust-vmm",))  # fmt: skip
def not_offered(case: Case) -> Outcome:
    offered = _display(case).offered
    if offered is None:
        return None
    surplus = case.fields["protocol_features"] & ~offered
    if not surplus:
        return None
    return f"{case.name}: expected bits of {offered:#x} as offered, came also {', '.join(FEATURES.bits(surplus))}"


@rule("VG-17", "note", "a back-end agrees on features", FEATURES_SOURCE, on=event("eof", "reset"), bends=("rust-vmm",),
      notes="QEMU does not care; vhost-device-gpu never does.")  # fmt: skip
def nothing_agreed(moment: Moment) -> Outcome:
    happened = moment.event
    shown = moment.before.displays.get(happened.channel_no) if happened.channel == "gpu" else None
    queue = moment.before.ledger.get(("gpu", happened.channel_no))
    if shown is None or not shown.whole or shown.settled or queue is None or not queue.last[BACK_END]:
        return None
    if not moment.first("VG-17", happened.channel_no):
        return None
    text = "expected SET_PROTOCOL_FEATURES on the display channel, it ended without"
    return Breach(text, who=BACK_END, no=queue.last[BACK_END])


# -- scanouts


def _number(case: Case) -> int | None:
    message = case.message
    if message.name in ("UPDATE", "DMABUF_UPDATE"):
        place = rectangle(message)
        return None if place is None else place[0]
    number = case.fields.get("scanout_id")
    return number if isinstance(number, int) else None


@rule("VG-10", "warning", "scanouts are below 16, and of those that the front-end has enabled",
      QEMU + "; virtio, GPU Device", on=display(), notes="An EDID may be asked for of others.")  # fmt: skip
def other_scanout(case: Case) -> Outcome:
    number = _number(case)
    if number is None or not case.first("VG-10", case.message.channel_no, case.message.id, min(number, MOST_SCANOUTS)):
        return None
    if number >= MOST_SCANOUTS:
        return f"{case.name}: expected a scanout of 0 to {MOST_SCANOUTS - 1}, came {number}"
    enabled = _display(case).enabled
    if enabled is None or number in enabled or number < len(enabled) or case.message.name == "GET_EDID":
        return None
    return f"{case.name}: expected one of {len(enabled)} enabled scanouts, came {number}"


_DRAWS = ("UPDATE", "DMABUF_UPDATE")


@rule("VG-11", "warning", "only a scanout that is turned on is drawn on", QEMU, on=display(*_DRAWS))
def turned_off(case: Case) -> Outcome:
    shown, number = _display(case), _number(case)
    if not shown.whole or number is None or number in shown.scanouts:
        return None
    if not case.first("VG-11", case.message.channel_no, number):
        return None
    before = "SCANOUT" if case.message.name == "UPDATE" else "DMABUF_SCANOUT"
    return f"{case.name}: expected {before} of scanout {number} before, it is turned off"


@rule("VG-12", "warning", "what is drawn lies within its scanout", TYPE + "UPDATE", on=display("UPDATE"))
def outside(case: Case) -> Outcome:
    place = rectangle(case.message)
    scanout = _display(case).scanouts.get(place[0]) if place is not None else None
    if place is None or scanout is None or scanout.shows != PIXELS:
        return None
    number, x, y, width, height = place
    if x + width <= scanout.width and y + height <= scanout.height:
        return None
    if not case.first("VG-12", case.message.channel_no, number, scanout.no):
        return None
    text = f"UPDATE: expected pixels within {scanout.width}×{scanout.height} of scanout {number}, came {width}×{height}"
    return Breach(f"{text} at {x},{y}", evidence=(scanout.no,))


@rule("VG-19", "warning", "a scanout that is turned on is drawn on", QEMU,
      on=(display(reply=None), event("eof", "reset")), malformed=True,
      notes="Where nothing comes in 10 s after it was turned on. Once drawn on, a screen may stand still.")  # fmt: skip
def never_drawn(case: Case | Moment) -> Outcome:
    if isinstance(case, Case):
        number, now = case.message.channel_no, case.message.monotonic_ns
    elif case.event.channel in ("gpu", "main", ""):
        number, now = case.event.channel_no if case.event.channel == "gpu" else 0, case.event.monotonic_ns
    else:
        return None
    latest = case.memory.of("VG-19")
    breaches = []
    for channel_no, shown in case.before.displays.items():
        silent_since = latest.get(channel_no, 0)
        if number in (0, channel_no) and now - silent_since >= STILL_NS:
            breaches += [_still(one, now) for one in _waiting(shown, now) if case.first("VG-19", one.no)]
    if isinstance(case, Case):
        latest[number] = now
    return breaches


def _waiting(shown: Display, now: int) -> list[Scanout]:
    return [one for one in shown.scanouts.values() if not one.drawn and now - one.since_ns >= STILL_NS]


def _still(scanout: Scanout, now: int) -> Breach:
    text = f"expected scanout {scanout.number}, turned on by #{scanout.no}, to be drawn on, nothing came in "
    return Breach(f"{text}{age(now - scanout.since_ns)}", who=BACK_END, no=scanout.no)


@rule("VG-21", "note", "a display's socket comes once a start of the guest", FRONT + "GPU_SET_SOCKET",
      on=request("GPU_SET_SOCKET"), malformed=True,
      notes="QEMU sends one each time the guest's driver starts; contrib's back-end takes none while it has "
      "one.")  # fmt: skip
def another_socket(case: Case) -> Outcome:
    channels = [one for (name, _), one in case.before.channels.items() if name == "gpu"]
    if not channels:
        return None
    earlier = channels[-1]
    how = "closed" if earlier.closed else "still open"
    text = f"GPU_SET_SOCKET: expected one display channel, this is another; channel {earlier.channel_no} is {how}"
    return Breach(text, evidence=(earlier.by,))
