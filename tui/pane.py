"""A widget that shows lines, with a cursor. Lines are made outside; here is how they are drawn and moved about in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.markup import escape as unmarked
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from vhostspy.output.units import escape

from .line import ROLES, Line, Span

#: makes the lines for a width
Maker = Callable[[int], list[Line]]


#: what the style sheet says how it looks; components of the application, since Textual styles those of every widget
#: anew with each change of focus or size
COMPONENTS = frozenset((*(f"role--{role}" for role in ROLES), "line--cursor", "line--here"))


class Drawn(ScrollView, can_focus=True):
    """A line-API view with a style for each role. Styles are looked up once, until the theme changes."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        #: by what a line is (its component; "": nothing special) and by role
        self._styles: dict[str, dict[str, Style]] = {}

    def notify_style_update(self) -> None:
        self._styles = {}
        super().notify_style_update()

    def _styles_of(self, line: str) -> dict[str, Style]:
        found = self._styles.get(line)
        if found is None:
            found = self._styles[line] = {"": self.rich_style + self._style(line) if line else self.rich_style}
        return found

    def _style(self, name: str) -> Style:
        """What the style sheet says of a component, its transparent colours laid upon this widget's background."""
        styles = self.app.get_component_styles(name)
        below = self.background_colors[1]
        color = (below + styles.color).rich_color if styles.has_rule("color") else None
        background = (below + styles.background).rich_color if styles.has_rule("background") else None
        return Style(color=color, bgcolor=background) + styles.text_style

    def take_count(self, nothing: int = 1) -> int:
        """The number that was typed before this key, or ``nothing``."""
        count = getattr(self.app, "count", 0) or nothing
        return int(count)

    def strip(self, spans: Iterable[Span], width: int, line: str = "") -> Strip:
        """Spans as a strip of just that width, upon what the line is; no text in them moves the cursor."""
        styles = self._styles_of(line)
        segments: list[Segment] = []
        text, style = "", styles[""]
        for more, role in spans:
            its = styles.get(role)
            if its is None:
                its = styles[role] = styles[""] + self._style(f"role--{role}")
            if its is style:
                text += more
                continue
            if text:
                segments.append(Segment(escape(text), style))
            text, style = more, its
        if text:
            segments.append(Segment(escape(text), style))
        return Strip(segments).adjust_cell_length(width, styles[""])


class Pane(Drawn):
    """Lines, one of them under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "cursor(-1)", "up", show=False),
        Binding("down,j", "cursor(1)", "down", show=False),
        Binding("pageup,ctrl+b,ctrl+u", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+f,ctrl+d,space", "page(1)", "page down", show=False),
        Binding("home,g", "edge(0)", "first line", show=False),
        Binding("end,G", "edge(1)", "last line", show=False),
        Binding("enter", "enter", "fold, or jump", show=False),
        Binding("left,h", "fold(1)", "close", show=False),
        Binding("right,l", "fold(0)", "open", show=False),
    ]

    class Moved(Message):
        """The cursor is on another line."""

        def __init__(self, pane: Pane, line: Line | None) -> None:
            super().__init__()
            self.pane = pane
            self.line = line

        @property
        def control(self) -> Pane:
            return self.pane

    class OfLine(Message):
        """Something is to be done with a line."""

        def __init__(self, pane: Pane, line: Line) -> None:
            super().__init__()
            self.pane = pane
            self.line = line

        @property
        def control(self) -> Pane:
            return self.pane

    class Chosen(OfLine):
        """Enter, or a double click, on a line."""

    class Folded(OfLine):
        """A line is to be opened or closed."""

    def __init__(self, title: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.entitle(title)
        self.lines: list[Line] = []
        #: the line of the cursor is lit although the focus is elsewhere
        self.marked = False
        self.cursor = 0
        self._make: Maker | None = None
        self._width = 0

    # -- what is shown

    def entitle(self, title: str) -> None:
        """A title is text, never markup."""
        self.border_title = unmarked(escape(title))

    def make(self, maker: Maker, *, keep: bool = True) -> None:
        """Show what ``maker`` makes, now and for any later width; ``keep``: the cursor stays on its line's key."""
        self._make = maker
        self.remake(keep)

    def remake(self, keep: bool = True) -> None:
        width = self.scrollable_content_region.width
        if self._make is None or width <= 0:
            return
        self._width = width
        key = self.line.key if keep and self.line is not None else None
        self.lines = self._make(width)
        place = next((at for at, one in enumerate(self.lines) if key is not None and one.key == key), None)
        if place is None:
            place = min(self.cursor, max(0, len(self.lines) - 1)) if keep else 0
        if not keep:
            self.scroll_to(0, 0, animate=False)
        self.cursor = place
        longest = max((len(one.text) for one in self.lines), default=0)
        self.virtual_size = Size(max(width if longest <= width else longest, 1), len(self.lines))
        self.refresh()

    @property
    def line(self) -> Line | None:
        return self.lines[self.cursor] if 0 <= self.cursor < len(self.lines) else None

    def on_resize(self, event: events.Resize) -> None:
        if self.scrollable_content_region.width != self._width:
            self.remake()

    def render_line(self, y: int) -> Strip:
        x, top = self.scroll_offset
        width = self.scrollable_content_region.width
        place = top + y
        if place >= len(self.lines):
            return self.strip((), width)
        under = ""
        if place == self.cursor and (self.has_focus or self.marked):
            under = "line--cursor" if self.has_focus else "line--here"
        spans = self.lines[place].spans
        total = max(width + x, self.virtual_size.width)
        return self.strip(spans, total, under).crop(x, x + width)

    # -- moving

    def move_to(self, place: int) -> None:
        place = max(0, min(place, len(self.lines) - 1))
        if place != self.cursor:
            self.cursor = place
            self.refresh()
            self.post_message(self.Moved(self, self.line))
        self.keep_in_sight()

    def keep_in_sight(self) -> None:
        height = self.scrollable_content_region.height
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif height and self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)

    def show_first(self, sign: str) -> None:
        """Scroll so that the first line that begins so is seen; to the top where none does."""
        place = next((at for at, one in enumerate(self.lines) if one.text.startswith(sign)), None)
        height = self.scrollable_content_region.height
        top = 0 if place is None or place < height else max(0, place - height // 3)
        self.scroll_to(y=top, animate=False, immediate=True)

    def on_focus(self) -> None:
        self.refresh()
        self.post_message(self.Moved(self, self.line))

    def on_blur(self) -> None:
        self.refresh()

    def action_cursor(self, step: int) -> None:
        self.move_to(self.cursor + step * self.take_count())

    def action_page(self, step: int) -> None:
        self.move_to(self.cursor + step * max(1, self.scrollable_content_region.height - 1) * self.take_count())

    def action_edge(self, last: int) -> None:
        line = self.take_count(0)
        self.move_to(line - 1 if line else len(self.lines) - 1 if last else 0)

    def action_enter(self) -> None:
        if self.line is not None:
            self.post_message(
                self.Folded(self, self.line) if self.line.open is not None else self.Chosen(self, self.line)
            )

    def action_fold(self, close: int) -> None:
        one = self.line
        if one is not None and one.open is bool(close):
            self.post_message(self.Folded(self, one))
        else:
            self.scroll_to(x=self.scroll_offset.x + (-8 if close else 8), animate=False)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        place = self.scroll_offset.y + offset.y
        if place < len(self.lines):
            self.move_to(place)
            if event.chain > 1 or self.lines[place].open is not None:
                self.action_enter()


class Octets(Pane):
    """The pane of a message's octets: its cursor is on one of them."""

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(title, id=id)
        self.octet = 0

    @property
    def per_row(self) -> int:
        octets = self.lines[0].octets if self.lines else None
        return octets[1] - octets[0] if octets is not None and len(self.lines) > 1 else 16

    @property
    def count(self) -> int:
        return max((one.octets[1] for one in self.lines if one.octets is not None), default=0)

    def put(self, octet: int) -> None:
        """The cursor onto an octet."""
        self.octet = max(0, min(octet, self.count - 1))
        place = next((at for at, one in enumerate(self.lines) if one.octets and one.octets[1] > self.octet), 0)
        self.cursor = place
        self.keep_in_sight()

    def _go(self, octet: int) -> None:
        self.put(octet)
        self.post_message(self.Moved(self, self.line))

    def action_cursor(self, step: int) -> None:
        self._go(self.octet + step * self.per_row * self.take_count())

    def action_page(self, step: int) -> None:
        self._go(self.octet + step * self.per_row * max(1, self.scrollable_content_region.height - 1))

    def action_edge(self, last: int) -> None:
        self._go(self.count - 1 if last else 0)

    def action_fold(self, close: int) -> None:
        self._go(self.octet + (-1 if close else 1) * self.take_count())

    def action_enter(self) -> None:
        self.post_message(self.Moved(self, self.line))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        place = self.scroll_offset.y + offset.y
        octets = self.lines[place].octets if place < len(self.lines) else None
        if octets is not None:
            # offset, two blanks, then three cells an octet, and one more in the middle of sixteen
            column = offset.x - 6
            column -= column > 24
            self._go(min(octets[0] + max(0, column) // 3, octets[1] - 1))
