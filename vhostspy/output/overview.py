"""A session as it stands, for people and for programs: agreements, memory, rings, channels, who closed first."""

from __future__ import annotations

from typing import Any

from vhostspy.dissectors import registry, virtio
from vhostspy.dissectors.rows import Names
from vhostspy.message import end_name
from vhostspy.session.device import infer
from vhostspy.session.display import Display
from vhostspy.session.ledger import outstanding
from vhostspy.session.state import Line, Ring, Session

from .units import duration, escape, plural, size

#: what is listed one by one; the rest is counted
MOST_LINES = 32


def session_lines(session: Session) -> list[str]:
    """One session as it stands."""
    lines = [f"session {session.number}"]
    for end, peer in enumerate(session.peers):
        program = f"{peer.program or 'process'} ({peer.pid})" if peer.pid else ""
        who = ", ".join(escape(part) for part in (program, peer.path) if part)
        lines += _labelled(end_name(session.protocol, end), [who] if who else [])
    if not session.whole:
        lines.append("  its beginning is not in the capture")
    if session.device is not None:
        guess = infer(session.evidence)
        why = "" if session.device_given or guess is None else f" ({guess.why})"
        lines += _labelled("device", [f"{session.device}{why}"])
    protocol = registry.PROTOCOLS.get(session.protocol)
    lines += _labelled("virtio", _features(session.virtio_offered, session.virtio_agreed, session, None))
    if protocol is not None and protocol.features is not None:
        lines += _labelled(
            "protocol", _features(session.protocol_offered, session.protocol_agreed, session, protocol.features)
        )
    lines += _labelled("memory", _memory(session))
    lines += _labelled("rings", [_ring(ring) for _, ring in sorted(session.rings.items())])
    lines += _labelled("others", _others(session))
    lines += _labelled("displays", [_display(number, one) for number, one in session.displays.items()])
    lines += _labelled("channels", _channels(session))
    lines += _labelled("end", [ending] if (ending := ended(session)) else [])
    return lines


def ended(session: Session) -> str:
    """Who closed first, and after what."""
    if session.ended is None:
        return ""
    end = session.ended
    who = "a peer" if end.sender is None else end_name(session.protocol, end.sender)
    verb = "reset the connection first" if end.how == "reset" else "closed first"
    if not end.last:
        return f"{who} {verb}, without a message"
    return f"{who} {verb}, after #{end.last}"


def _labelled(label: str, lines: list[str]) -> list[str]:
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES} more"]
    return [f"  {label if i == 0 else '':<11}{line}" for i, line in enumerate(lines)]


def _features(offered: int | None, agreed: int | None, session: Session, names: Names | None) -> list[str]:
    """Agreed bits by name, and those that were on offer and not taken."""

    def named(bits: int) -> str:
        found = names.bits(bits) if names is not None else virtio.feature_names(bits, session.device)
        return ", ".join(found) or "none"

    if offered is None and not agreed:
        return []
    if agreed is None or not (agreed or session.features_set):
        return _broken(f"offered {offered or 0:#x}", named(offered or 0))
    lines = _broken(f"agreed {agreed:#x}", named(agreed))
    if offered is not None and offered & ~agreed:
        lines += _broken("not taken", named(offered & ~agreed))
    if offered is not None and agreed & ~offered:
        lines += _broken("never offered", named(agreed & ~offered))
    return lines


def _broken(label: str, names: str) -> list[str]:
    """``label: names``, broken below each other at some 100 columns."""
    lines = []
    line = label + ":"
    for name in names.split(", "):
        if len(line) + len(name) > 100:
            lines.append(line + ",")
            line = "   "
        line += (" " if line.endswith((":", " ")) or not line.strip() else ", ") + name
    return [*lines, line]


def _memory(session: Session) -> list[str]:
    regions = session.regions
    if not regions:
        return []
    lines = [f"{plural(len(regions), 'region')}, {size(sum(region.size for region in regions))}"]
    for region in regions:
        file = f", {region.fd.kind} {escape(region.fd.name)}".rstrip() if region.fd else ""
        lines.append(f"{region.guest_address:#x}  {size(region.size)}{file} (#{region.no})")
    return lines


def _ring(ring: Ring) -> str:
    words = [f"{ring.size} entries" if ring.size is not None else "no size"]
    if ring.base is not None:
        words.append(f"at {ring.base}" if ring.base < 1 << 16 else f"at {ring.base:#x}")
    for name, line in (("kick", ring.kick), ("call", ring.call), ("err", ring.err)):
        words += _line(name, line)
    words.append("started" if ring.started else "stopped")
    words.append("enabled" if ring.enabled else "disabled")
    return f"{ring.number}: {', '.join(words)}"


def _line(name: str, line: Line | None) -> list[str]:
    if line is None:
        return []
    return [name if line.fd is not None else f"no {name}"]


def _others(session: Session) -> list[str]:
    lines = []
    if session.status is not None:
        lines.append(f"status {session.status:#x}: {', '.join(virtio.STATUS_BITS.bits(session.status)) or 'reset'}")
    if session.queues is not None:
        lines.append(f"at most {plural(session.queues, 'queue')}")
    if session.log is not None:
        state = "logging" if session.logging else "not logging"
        lines.append(f"dirty log of {size(session.log.size)} (#{session.log.no}), {state}")
    if session.inflight is not None:
        inflight = session.inflight
        lines.append(
            f"inflight buffer of {size(inflight.size)}, {plural(inflight.queues, 'queue')} of {inflight.queue_size}"
            f" (#{inflight.no})"
        )
    if session.postcopy != "none":
        lines.append(f"postcopy {session.postcopy}")
    return lines


def _display(number: int, display: Display) -> str:
    """A gpu's display channel: what was agreed on there, and what each scanout shows."""
    names = registry.PROTOCOLS["vhost-user-gpu"].features
    agreed = None if display.agreed is None or names is None else ", ".join(names.bits(display.agreed))
    words = ["features not known" if agreed is None else agreed or "no features"]
    words += [
        f"scanout {one.number}: {one.width}×{one.height} {one.shows}" for _, one in sorted(display.scanouts.items())
    ]
    return f"{number}: {'; '.join(words)}"


def _channels(session: Session) -> list[str]:
    """Nested ones, and what could not be read."""
    lines = []
    for (name, number), channel in session.channels.items():
        unread = ", ".join(end_name(session.protocol, end) for end in channel.unread)
        about = f"; what {unread} sent could not be read to its end" if unread else ""
        if name != "main":
            label = f"{name} {number}" if number > 1 else name
            by = f" (#{channel.by})" if channel.by else ""
            lines.append(f"{label}{by}{about}")
        elif about:
            lines.append(f"main{about}")
    return lines


def session_values(session: Session) -> dict[str, Any]:
    """One session for programs."""
    return {
        "session": session.number,
        "peers": {
            end_name(session.protocol, end): {"path": peer.path, "pid": peer.pid, "program": peer.program}
            for end, peer in enumerate(session.peers)
        },
        "previous": session.previous.number if session.previous else None,
        "whole": session.whole,
        "device": session.device,
        "virtio_features": {"offered": session.virtio_offered, "agreed": session.virtio_agreed},
        "protocol_features": {"offered": session.protocol_offered, "agreed": session.protocol_agreed},
        "regions": [
            {"guest_address": region.guest_address, "length": region.size, "user_address": region.user_address,
             "mmap_offset": region.offset, "no": region.no}
            for region in session.regions
        ],
        "rings": [
            {"index": ring.number, "num": ring.size, "base": ring.base, "started": ring.started,
             "enabled": ring.enabled, "kick": _has(ring.kick), "call": _has(ring.call), "err": _has(ring.err)}
            for _, ring in sorted(session.rings.items())
        ],
        "displays": [
            {"channel_no": number, "offered": one.offered, "agreed": one.agreed,
             "scanouts": [
                 {"scanout_id": scanout.number, "shows": scanout.shows, "width": scanout.width,
                  "height": scanout.height, "no": scanout.no}
                 for _, scanout in sorted(one.scanouts.items())
             ]}
            for number, one in session.displays.items()
        ],
        "channels": [
            {"channel": name, "channel_no": number, "no": channel.by}
            for (name, number), channel in session.channels.items()
        ],
        "closed_first": None if session.ended is None else {
            "from": None if session.ended.sender is None else end_name(session.protocol, session.ended.sender),
            "how": session.ended.how,
            "after": session.ended.last,
        },
    }  # fmt: skip


def waiting_lines(session: Session, now_ns: int, least_ns: int = 0) -> list[str]:
    """Who waits for what at monotonic time ``now_ns``, and since when: ``least_ns`` or longer."""
    lines = []
    for request in outstanding(session.ledger):
        if now_ns - request.monotonic_ns < least_ns:
            continue
        name = request.name or f"message {request.id}"
        channel = "" if request.channel == "main" else f" on {request.channel}"
        asker = end_name(request.protocol, request.sender)
        age = duration(max(0, now_ns - request.monotonic_ns))
        lines.append(f"{asker} for {name} #{request.no}{channel}, since {age}")
    return _labelled("waiting", lines)


def waiting_values(session: Session, now_ns: int) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {"no": request.no, "message": request.name, "id": request.id, "channel": request.channel,
         "channel_no": request.channel_no, "from": end_name(request.protocol, request.sender),
         "age_ns": max(0, now_ns - request.monotonic_ns)}
        for request in outstanding(session.ledger)
    ]  # fmt: skip


def _has(line: Line | None) -> bool | None:
    """None: never set; false: explicitly none."""
    return None if line is None else line.fd is not None
