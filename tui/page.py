"""A page: one pane on the whole screen, over the list. Esc or q leaves it; Enter on a line with a row goes there."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from .line import Line
from .pane import Maker, Pane


class Page(ModalScreen[Line | None]):
    """Shows what ``maker`` makes. ``work``: called again and again while it gives True, then the page is made anew.

    ``extra``: keys of this page alone, with what they call.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "back", show=False),
        Binding("ctrl+c", "app.leave", "quit", show=False, priority=True),
    ]

    def __init__(
        self,
        title: str,
        maker: Maker,
        *,
        work: Callable[[], bool] | None = None,
        extra: dict[str, Callable[[Page], None]] | None = None,
        hint: str = "",
        start: object = None,
        every_s: float = 0.05,
    ) -> None:
        super().__init__()
        # a pane has a line above it only: what can be done here stands behind the title
        self.pane = Pane("   ".join((title, *((hint,) if hint else ()), "Esc: back")), id="page")
        self._maker = maker
        self._work = work
        self._start = start
        self._every_s = every_s
        for key in extra or {}:
            self._bindings.bind(key, f"extra({key!r})", show=False)
            self._bindings.key_to_bindings[key] = self._bindings.key_to_bindings[key][-1:]
        self._extra = extra or {}

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.pane.focus()
        self.call_after_refresh(self._first)

    def _first(self) -> None:
        self.pane.make(self._maker, keep=False)
        if self._start is not None:
            place = next((at for at, one in enumerate(self.pane.lines) if one.key == self._start), 0)
            self.pane.move_to(place)
            self.pane.scroll_to(y=max(0, place - self.pane.size.height // 2), animate=False)
        if self._work is not None:
            self.set_timer(0.01, self._go_on)

    def _go_on(self) -> None:
        if self._work is not None and self.is_attached:
            more = self._work()
            self.pane.remake()
            if more:
                self.set_timer(self._every_s, self._go_on)
            else:
                self._work = None

    @property
    def working(self) -> bool:
        """More is to come, by itself."""
        return self._work is not None

    def again(self) -> None:
        """Make the lines anew."""
        self.pane.remake()

    def action_extra(self, key: str) -> None:
        self._extra[key](self)

    def action_leave(self) -> None:
        self.dismiss(None)

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        event.stop()
        if event.line.row is not None or event.line.subject:
            self.dismiss(event.line)

    def on_pane_moved(self, event: Pane.Moved) -> None:
        event.stop()

    def on_pane_folded(self, event: Pane.Folded) -> None:
        event.stop()
