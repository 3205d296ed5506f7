"""The list: a line a row, drawn when it comes into sight. Of a row that nobody sees there is no widget and no text."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from .columns import Facts, Layout, cells, layout
from .line import Span
from .pane import Drawn
from .store import Store


class Head(Drawn, can_focus=False):
    """The columns' names."""

    def __init__(self, list: MessageList) -> None:
        super().__init__(id="head")
        self.list = list

    def render_line(self, y: int) -> Strip:
        return self.strip(self.list.columns.head(), self.size.width)


class MessageList(Drawn):
    """A view over a store. The store says which rows there are; this only scrolls, draws, and moves the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+f,space", "page(1)", "page down", show=False),
        Binding("ctrl+u", "page(-0.5)", "half a page up", show=False),
        Binding("ctrl+d", "page(0.5)", "half a page down", show=False),
        Binding("home,g", "edge(0)", "first", show=False),
        Binding("end,G", "edge(1)", "last", show=False),
        Binding("enter", "choose", "into the message", show=False),
        Binding("left,h", "aside(-1)", "columns to the left", show=False),
        Binding("right,l", "aside(1)", "columns to the right", show=False),
    ]

    class Moved(Message):
        """Another row is in focus."""

    class Chosen(Message):
        """Enter, or a double click, on the row in focus."""

    def __init__(self, store: Store) -> None:
        super().__init__(id="list")
        self.store = store
        self.chosen_columns: dict[str, bool] = {}
        self.widths: dict[str, int] = {}
        self.columns: Layout = layout(80, {}, {})
        self._seen: tuple[object, ...] = ()

    # -- size

    def on_resize(self, event: events.Resize) -> None:
        self.lay_out()
        self.call_after_refresh(self.keep_in_sight)

    def lay_out(self) -> None:
        """Choose the columns for the width, and make room for all places."""
        width = self.scrollable_content_region.width
        counts = self.store.feed.counts()
        digits = max(3, len(str(counts.messages)))
        fresh = layout(width, self.chosen_columns, self.widths, counts.sessions, digits)
        if fresh != self.columns:
            self.columns = fresh
            for head in self.app.query(Head):
                head.refresh()
        self.virtual_size = Size(width, self.store.places)

    def update(self) -> None:
        """The store may have changed: draw what is new of it. Cheap where nothing is."""
        store = self.store
        region = self.scrollable_content_region
        seen = (store.version, store.places, store.focus, store.feed.rows, store.feed.studied, region.size)
        if seen == self._seen:
            return
        self._seen = seen
        self.lay_out()
        self.keep_in_sight()
        self.refresh()

    def keep_in_sight(self, *, middle: bool = False) -> None:
        """Scroll so that the row in focus is seen; ``middle``: in the middle if it was not."""
        height = self.scrollable_content_region.height
        place = self.store.place(self.store.focus)
        top = self.scroll_offset.y
        if not height or top <= place < top + height:
            return
        if middle or place < top - height or place > top + 2 * height:
            target = place - height // 2
        else:
            target = place if place < top else place - height + 1
        if self.store.follow:
            target = place - height + 1
        self.scroll_to(y=max(0, target), animate=False, immediate=True)

    # -- drawing

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        place = self.scroll_offset.y + y
        store = self.store
        if place >= store.places:
            text = "" if y else self._nothing()
            return self.strip(((text, "dim"),), width)
        row = store.row(place)
        under = ""
        if row == store.focus or (store.folded and place == store.place(store.focus)):
            under = "line--cursor" if self.has_focus else "line--here"
        return self.strip(cells(store.feed.item(row), self._facts(place, row), self.columns), width, under)

    def _nothing(self) -> str:
        if self.store.busy is not None:
            return "  …"
        if self.store.narrowed:
            return "  nothing matches; Esc shows all again"
        return "  nothing has passed yet" if self.store.feed.live else "  an empty capture"

    def _facts(self, place: int, row: int) -> Facts:
        store = self.store
        feed = store.feed
        before = None
        for earlier in range(place - 1, max(-1, place - 8), -1):
            glance = feed.glance(store.row(earlier))
            if glance.no:
                before = glance.monotonic_ns
                break
        glance = feed.glance(row)
        waits = ""
        if glance.awaited and glance.partner is None:
            waits = "waits" if feed.live else "no answer"
        return Facts(
            feed.start_ns, before, glance.severity, store.marks.get(row), store.times(place), waits,
            related=row != store.focus and row == store.other,
        )  # fmt: skip

    def spans(self, place: int) -> tuple[Span, ...]:
        """A line as it is drawn, for those who copy or write it."""
        row = self.store.row(place)
        return tuple(cells(self.store.feed.item(row), self._facts(place, row), self.columns))

    # -- moving

    def moved(self, *, middle: bool = False) -> None:
        """The store's focus was set: show it."""
        self.update()
        self.keep_in_sight(middle=middle)
        self.post_message(self.Moved())

    def action_move(self, step: int) -> None:
        self.store.move(step * self.take_count())
        self.moved()

    def action_page(self, pages: float) -> None:
        lines = int(pages * max(2, self.scrollable_content_region.height - 1))
        self.store.move(lines * self.take_count())
        self.moved()

    def action_edge(self, last: int) -> None:
        no = self.take_count(0)
        row = self.store.feed.row_of(no) if no else None
        if row is not None:
            self.store.go_to_row(row)
        else:
            self.store.go_to_place(self.store.places - 1 if last else 0)
        self.moved(middle=True)

    def action_choose(self) -> None:
        self.post_message(self.Chosen())

    def action_aside(self, step: int) -> None:
        """Wider or narrower columns of names: what is cut in them becomes readable."""
        width = self.widths.get("message", 24) + 4 * step
        self.widths["message"] = max(8, min(60, width))
        self.lay_out()
        self.refresh()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        place = self.scroll_offset.y + offset.y
        if place < self.store.places:
            self.store.go_to_place(place)
            self.moved()
            if event.chain > 1:
                self.post_message(self.Chosen())
