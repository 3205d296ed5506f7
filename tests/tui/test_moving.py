"""Moving about: in the list, in a pane, from one to the other."""

from __future__ import annotations

import asyncio

from textual.pilot import Pilot

from vhostspy.tui.app import Screen

from .pretend import feed
from .screen import on_screen, press, settle


def test_enter_goes_into_the_message() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "enter")
        assert app.focused is app.pane("message")

    on_screen(test)


def test_the_list_moves_as_vim_does() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        for keys, row in (
            ("j", 1),
            ("j", 2),
            ("k", 1),
            ("down", 2),
            ("up", 1),
            ("G", 24),
            ("g", 0),
            ("end", 24),
            ("home", 0),
        ):
            await press(app, pilot, keys)
            assert app.store.focus == row
        height = app.listed.scrollable_content_region.height
        for keys, row in (("space", height - 1), ("ctrl+b", 0), ("ctrl+f", height - 1), ("pageup", 0),
                          ("pagedown", height - 1), ("ctrl+u", (height - 1) - (height - 1) // 2)):  # fmt: skip
            await press(app, pilot, keys)
            assert app.store.focus == row

    on_screen(test)


def test_a_number_before_a_movement() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        for keys, row in (("10j", 10), ("3k", 7), ("j", 8), ("12G", 12), ("G", 24), ("2g", 2), ("g", 0)):
            await press(app, pilot, *keys)
            assert app.store.focus == row, keys
        await press(app, pilot, "tab", *"4j")
        assert app.pane("message").cursor == 4

    on_screen(test)


def test_one_begins_at_the_first_message() -> None:
    """What was before it is told by events."""

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        assert app.store.focus == 1

    app = Screen(feed())

    async def run() -> None:
        async with app.run_test() as pilot:
            await settle(app, pilot)
            await test(app, pilot)

    asyncio.run(run())


def test_a_pane_moves_as_the_list_does() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        app.go_to(4)
        await press(app, pilot, "tab")
        pane = app.pane("message")
        last = len(pane.lines) - 1
        for key, place in (("j", 1), ("k", 0), ("G", last), ("g", 0)):
            await press(app, pilot, key)
            assert pane.cursor == place

    on_screen(test)


def test_members_open_and_close() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        app.go_to(4)
        await press(app, pilot, "tab")
        pane = app.pane("message")
        pane.move_to(next(at for at, one in enumerate(pane.lines) if one.key == ("member", "protocol_features")))
        before = len(pane.lines)
        await press(app, pilot, "h")
        assert len(pane.lines) == before - 4
        await press(app, pilot, "l")
        assert len(pane.lines) == before
        await press(app, pilot, "enter")
        assert len(pane.lines) == before - 4
        assert pane.line is not None and pane.line.key == ("member", "protocol_features")

    on_screen(test)


def test_octets_and_members_light_each_other() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        app.go_to(10)  # SET_VRING_NUM: index at octet 12, num at 16
        await press(app, pilot, "tab", "j", "j", "j", "j")
        assert member(app) == "num" and lit(app) == "00010000"
        await press(app, pilot, "tab", "h")
        assert app.octets.octet == 15
        assert member(app) == "index" and lit(app) == "00000000"

    def member(app: Screen) -> str:
        line = app.pane("message").line
        return "" if line is None else str(line.key[1])

    def lit(app: Screen) -> str:
        spans = [span for line in app.octets.lines for span in line.spans]
        return "".join(text for text, role in spans if role in ("hit", "cursor") and len(text) == 2)

    on_screen(test)


def test_enter_on_a_number_goes_there() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        app.go_to(8)
        await press(app, pilot, "tab", "j", "enter")
        assert app.store.focus == 9 and app.focused is app.listed

    on_screen(test)


def test_the_column_of_names_gets_wider_and_narrower() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        def width() -> int:
            return next(width for column, width in app.listed.columns.columns if column.name == "message")

        before = width()
        await press(app, pilot, "l")
        assert width() == before + 4
        await press(app, pilot, "h", "h")
        assert width() == before - 4

    on_screen(test)
