"""Textual's own table, which our list is measured against; and both moved about in without a terminal.

python3 -m benchmarks.yardstick table             a table on the screen: digits and g go to a row
python3 -m benchmarks.yardstick jumps WHAT FILE   prints the milliseconds of CPU of each jump, until all is drawn:
                                                  in ``table``, in our ``list`` alone, on our whole ``screen``
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.events import Key
from textual.widgets import DataTable

import vhostspy.tui
from vhostspy.rules.engine import Rules
from vhostspy.tui.app import Screen
from vhostspy.tui.feed import Indexed
from vhostspy.tui.list import MessageList
from vhostspy.tui.pane import COMPONENTS
from vhostspy.tui.store import Store

from .peers import Failed

#: of the table, and messages of the capture
ROWS = 10_000
WIDTH, HEIGHT = 130, 40
#: how many jumps, and of which the first show what has to be made once
_JUMPS, _WARM = 40, 5


class Table(App[int]):
    """As many columns as the list has at that width, with what stands in them."""

    def __init__(self) -> None:
        super().__init__()
        self.table: DataTable[str] = DataTable(cursor_type="row")
        self._digits = ""

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self.table.add_columns("", "#", "time", "Δ", "channel", "from", "message", "info", "fds", "!")
        for no in range(1, ROWS + 1):
            ring = f"ring {no % 4}  descriptors 0x{no << 16:x}, used 0x{no << 16 | 0x2000:x}"
            time = f"{no / 50_000:.6f}"
            self.table.add_row("", f"row {no}", time, "20 µs", "main", "→ front-end", "SET_VRING_ADDR", ring, "1", "")
        self.table.focus()

    def on_key(self, event: Key) -> None:
        if event.character is not None and event.character.isdecimal():
            self._digits += event.character
        elif event.character == "g":
            self.go_to(int(self._digits))
            self._digits = ""

    def go_to(self, no: int) -> None:
        self.table.move_cursor(row=no - 1)


class Alone(App[int]):
    """Our list, and nothing else."""

    CSS_PATH = Path(vhostspy.tui.__file__).parent / "screen.tcss"
    COMPONENT_CLASSES: ClassVar[set[str]] = {*COMPONENTS}

    def __init__(self, feed: Indexed) -> None:
        super().__init__()
        self.listed = MessageList(Store(feed))

    def compose(self) -> ComposeResult:
        yield self.listed

    def on_mount(self) -> None:
        self.listed.focus()
        self.listed.update()

    def go_to(self, no: int) -> None:
        store = self.listed.store
        store.go_to_row(store.feed.row_of(no) or 0)
        self.listed.moved(middle=True)


async def jumps(app: App[int], go_to: Callable[[int], object]) -> list[float]:
    """Milliseconds of CPU of jumps to far rows: what is asked, answered, laid out, and made lines for a terminal."""
    found = []
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        await pilot.pause()
        for number in range(1, _JUMPS + 1):
            start = process_time()
            go_to(number * 3457 % ROWS + 1)
            await pilot.pause()
            await pilot.pause(0.05)
            found.append(1000 * (process_time() - start))
    return found[_WARM:]


def measured(what: str, path: str) -> list[float]:
    if what == "table":
        table = Table()
        return asyncio.run(jumps(table, table.go_to))
    feed = Indexed(path, rules=Rules())
    while feed.advance(1.0):
        pass
    try:
        if what == "list":
            alone = Alone(feed)
            return asyncio.run(jumps(alone, alone.go_to))
        if what == "screen":
            screen = Screen(feed)
            return asyncio.run(jumps(screen, lambda no: screen.do_goto(str(no))))
    finally:
        feed.close()
    raise Failed(f"no such thing to jump in: {what}")


if __name__ == "__main__":
    if sys.argv[1] == "table":
        Table().run()
    else:
        print(*measured(*sys.argv[2:]))
