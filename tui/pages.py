"""Pages over the list: explain, rings, timeline, statistics, help.

What makes a page's lines is imported with the first such page: nobody waits for it when the screen begins.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from vhostspy.message import Message
from vhostspy.session.state import Session

from .choose import Choosing
from .line import Line
from .list import MessageList
from .page import Page
from .pane import Pane

if TYPE_CHECKING:
    from .timeline import Stretch

#: cells of a line in a diagram that is written into a file
_FILE_WIDTH = 120


class Pages(Choosing):
    """What the keys of the group "looking" do."""

    def open_page(self, page: Page) -> None:
        self.push_screen(page, self._page_left)

    def _page_left(self, line: Line | None) -> None:
        """A line was chosen there: go to its row, or have its subject explained."""
        if line is None:
            return
        if line.row is not None:
            self.go_to(line.row)
        elif line.subject:
            self.explain(line.subject)

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        if event.line.row is not None:
            self.go_to(event.line.row)
            self.give_focus(self.listed)
        elif event.line.subject:
            self.explain(event.line.subject)

    # -- explain

    def action_explain(self) -> None:
        """What the cursor is on, or the message in focus."""
        line = None if isinstance(self.focused, MessageList) else getattr(self.focused, "line", None)
        item = self.store.item
        subject = line.subject if isinstance(line, Line) else ""
        if not subject and isinstance(item, Message):
            subject = item.findings[0].rule if item.findings and item.name is None else item.name or ""
        if not subject:
            self.say("nothing here has an explanation; :explain NAME has one for all there is", "warning")
            return
        self.explain(subject)

    def explain(self, name: str) -> None:
        from .explain import explain_lines

        self.open_page(Page(f"explain {name}", partial(explain_lines, name)))

    # -- rings

    def action_rings(self) -> None:
        from .look import EVERY_S
        from .rings import rings_lines

        row = min(self.store.focus, self.feed.rows - 1)
        if row < 0:
            self.say("an empty capture", "warning")
            return
        item = self.store.item
        at = f"#{item.no}" if isinstance(item, Message) else "this event"
        now = self.looking(row)
        self.open_page(
            Page(f"rings at {at}", lambda width: rings_lines(self.feed, row, width, self.session_shown, now),
                 work=None if now is None else lambda: True, every_s=EVERY_S, hint="Enter goes to a #number")
        )  # fmt: skip

    def looking(self, row: int) -> Callable[[Session, int], list[Line]] | None:
        """What looks into the memory of the session as it is now, where that is what the row is about."""
        return None

    # -- timeline

    def stretch(self) -> Stretch:
        """What is shown around the row in focus; between the two marks around it, where there are such."""
        from .timeline import REACH, stretch

        store = self.store
        place = store.place(store.focus)
        low, high = max(0, place - REACH), min(store.places, place + REACH + 1)
        return stretch(self.feed, [store.row(each) for each in range(low, high)])

    def action_timeline(self) -> None:
        from .timeline import timeline_lines

        shown = self.stretch()
        self.open_page(
            Page("timeline", partial(timeline_lines, self.feed, shown), start=("row", self.store.focus),
                 hint="Enter goes to a message; :timeline FILE writes it")
        )  # fmt: skip

    def write_timeline(self, path: str) -> str | None:
        """The diagram as text, or for Mermaid where the file is called so; gives what is wrong."""
        from .timeline import as_mermaid, as_text, timeline_lines

        shown = self.stretch()
        if path.endswith((".mmd", ".mermaid")):
            text = as_mermaid(self.feed, shown)
        else:
            text = as_text(timeline_lines(self.feed, shown, _FILE_WIDTH))
        return self.write_text(path, text, "a diagram")

    def write_text(self, path: str, text: str, what: str) -> str | None:
        """A new file; gives what is wrong, where nothing was written."""
        try:
            with open(path, "x", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except FileExistsError:
            return f"{path} is there already; choose another name"
        except OSError as error:
            return f"{path}: {error.strerror}"
        self.say(f"{what} was written to {path}")
        return None

    # -- statistics and help

    def action_statistics(self) -> None:
        from .statistics import Tally, statistics_lines

        tally = Tally(self.feed)
        self.open_page(
            Page("statistics", partial(statistics_lines, tally), work=tally.advance,
                 hint="Enter goes to the slowest answer, or explains a rule")
        )  # fmt: skip

    def action_help(self) -> None:
        from .help import help_lines

        self.open_page(Page("help", help_lines))
