"""The bytes pane: a message's octets in hex and as text, the member in focus lit."""

from __future__ import annotations

from vhostspy.message import Message
from vhostspy.output.units import plural
from vhostspy.pipeline import Item

from .line import Line, Span, line

#: of longer messages so much is shown
MOST = 1 << 16


def bytes_lines(item: Item, width: int, lit: tuple[int, int] | None = None, cursor: int | None = None) -> list[Line]:
    """Rows of sixteen octets, or of eight or four where there is little room.

    ``lit``: octets to show as in focus; ``cursor``: the one that the cursor is on.
    """
    if not isinstance(item, Message):
        return [line(("an event has no octets", "dim"))]
    data = item.data[:MOST]
    per = per_row(width)
    lines = [_row(data, at, per, lit, cursor, item.payload_at) for at in range(0, len(data), per)]
    if len(item.data) > MOST:
        lines.append(line((f"… {plural(len(item.data) - MOST, 'more octet')}", "dim")))
    if item.snapped:
        lines.append(line((f"the capture kept {len(item.data)} of {plural(item.length, 'octet')}", "warning")))
    return lines


def per_row(width: int) -> int:
    """Octets in a row: 4 of offset, 3 each in hex, 1 each as text."""
    return 16 if width >= 6 + 16 * 4 + 2 else 8 if width >= 6 + 8 * 4 + 2 else 4


def _row(data: bytes, at: int, per: int, lit: tuple[int, int] | None, cursor: int | None, header: int) -> Line:
    spans: list[Span] = [(f"{at:04x}  ", "dim")]
    text: list[Span] = []
    begin, end = lit if lit is not None else (0, 0)
    for place in range(at, at + per):
        gap = " " if place % 8 == 7 and per > 8 and place != at + per - 1 else ""
        if place >= len(data):
            spans.append((f"   {gap}", "plain"))
            continue
        octet = data[place]
        inside = begin <= place < end
        role = "cursor" if place == cursor else "hit" if inside else "dim" if place < header else "plain"
        spans.append((f"{octet:02x}", role))
        spans.append((" " + gap, "hit" if inside and place + 1 < min(end, at + per) and not gap else "plain"))
        shown = chr(octet) if 32 <= octet < 127 else "·"
        text.append((shown, role if inside or place == cursor or 32 <= octet < 127 else "dim"))
    return Line((*spans, (" ", "plain"), *text), key=("octets", at), octets=(at, min(at + per, len(data))))
