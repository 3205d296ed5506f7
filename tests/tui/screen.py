"""A screen without a terminal: press keys, look at what is drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from textual.pilot import Pilot

from vhostspy.tui.app import Screen
from vhostspy.tui.feed import Feed
from vhostspy.tui.page import Page

from .pretend import feed

Test = Callable[[Screen, Pilot[int]], Awaitable[None]]
SIZE = (120, 36)


def on_screen(
    test: Test,
    shown: Feed | None = None,
    *,
    size: tuple[int, int] = SIZE,
    screen: Callable[[Feed], Screen] = Screen,
    start: int = 0,
) -> Screen:
    """Run a test with a screen on a feed (default: the pretended session); the list's focus is on row ``start``."""
    app = screen(shown if shown is not None else feed())

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await settle(app, pilot)
            if not app.store.follow:
                app.store.focus = start
                app.listed.moved()
                await settle(app, pilot)
            await test(app, pilot)

    asyncio.run(asyncio.wait_for(run(), 30))
    return app


async def settle(app: Screen, pilot: Pilot[int]) -> None:
    """Until all that was asked of the screen is on it."""
    app.work(1)
    await pilot.pause()


async def until(pilot: Pilot[int], holds: Callable[[], bool], timeout_s: float = 10) -> None:
    """Until something holds that the screen does by itself."""
    deadline = monotonic() + timeout_s
    while not holds():
        assert monotonic() < deadline, "it never came"
        await pilot.pause(0.005)


async def all_there(app: Screen, pilot: Pilot[int]) -> None:
    """Until the page, if there is one, has counted what it counts."""
    await settle(app, pilot)
    await until(pilot, lambda: not isinstance(app.screen, Page) or not app.screen.working)
    await settle(app, pilot)


async def press(app: Screen, pilot: Pilot[int], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(app, pilot)


async def write(app: Screen, pilot: Pilot[int], text: str) -> None:
    """Type a text into the line that asks for one."""
    assert app.focused is app.prompt.line
    app.prompt.line.insert_text_at_cursor(text)
    await settle(app, pilot)


def picture(app: Screen) -> str:
    """What is drawn, as text; lines without what is blank at their ends."""
    strips: Any = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)
