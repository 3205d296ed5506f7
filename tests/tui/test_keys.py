"""Every key does what the help says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from vhostspy.message import Message
from vhostspy.tui.app import Screen
from vhostspy.tui.help import help_lines
from vhostspy.tui.keys import GROUPS, KEYS
from vhostspy.tui.page import Page

from .pretend import feed
from .screen import all_there, on_screen, picture, press, settle, write

Case = Callable[[Screen, Pilot[int]], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(*keys: str) -> Callable[[Case], Case]:
    def add(test: Case) -> Case:
        for key in keys:
            assert key not in CASES
            CASES[key] = test
        return test

    return add


@pytest.mark.parametrize("key", [key.keys for key in KEYS if key.action])
def test_key(key: str) -> None:
    assert key in CASES, f"no test here presses {key}: write one, with @case({key!r})"
    on_screen(CASES[key])


def test_no_key_has_two_meanings() -> None:
    names = [name for key in KEYS if key.keys and key.action for name in key.keys.split(",")]
    assert len(names) == len(set(names))


def test_the_help_lists_every_key_in_a_group() -> None:
    shown = "\n".join(line.text for line in help_lines(100))
    for key in KEYS:
        assert key.group in GROUPS
        assert not key.shown or f"  {key.shown} " in shown


# -- moving


@case("tab")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    for name in ("message", "bytes", "state", "list"):
        await press(app, pilot, "tab")
        assert app.focused is not None and app.focused.id == name


@case("shift+tab")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "shift+tab")
    assert app.focused is app.pane("state")


@case("z")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "tab", "z")
    assert app.pane("message").region.height > 30
    await press(app, pilot, "z")
    assert app.pane("message").region.height < 20


@case("percent_sign")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    app.go_to(8)
    await press(app, pilot, "percent_sign")
    assert app.store.focus == 9
    await press(app, pilot, "percent_sign")
    assert app.store.focus == 8
    app.go_to(22)
    await press(app, pilot, "percent_sign")
    assert app.store.focus == 22 and "no other half" in picture(app)


@case("backspace,ctrl+o")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    app.go_to(8)
    app.go_to(20)
    await press(app, pilot, "backspace")
    assert app.store.focus == 8
    await press(app, pilot, "ctrl+o")
    assert app.store.focus == 0
    await press(app, pilot, "backspace")
    assert "nowhere to go back to" in picture(app)


# -- choosing


@case("f")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "f")
    await write(app, pilot, "message == set_vring_kick")
    await press(app, pilot, "enter")
    assert [app.store.row(place) for place in range(app.store.places)] == [13, 19]
    assert "filter: message == set_vring_kick  2 of 25" in picture(app)
    assert app.focused is app.listed


@case("slash")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "slash")
    await write(app, pilot, "call")
    await press(app, pilot, "enter")
    assert app.store.focus == 14


@case("n")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    app.store.find_text = "kick"
    await press(app, pilot, "n", "n")
    assert app.store.focus == 19


@case("N")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    app.store.find_text = "kick"
    await press(app, pilot, "N")
    assert app.store.focus == 19


@case("d")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "d")
    assert app.store.places == 5 and "with descriptors  5 of 25" in picture(app)
    await press(app, pilot, "d")
    assert app.store.places == 25


@case("v")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "v")
    assert app.store.places == 22 and "without events" in picture(app)


@case("o")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "o")
    assert app.store.folded and "folded" in picture(app)


@case("exclamation_mark")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "exclamation_mark")
    assert app.store.focus == 7
    await press(app, pilot, "exclamation_mark")
    assert app.store.focus == 7 and "no other finding" in picture(app)
    await press(app, pilot, "G", "exclamation_mark")
    assert app.store.focus == 7 and "the first finding: none is below" in picture(app)


@case("at,@")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "G", "at")
    assert app.store.focus == 7
    await press(app, pilot, "g", "at")
    assert app.store.focus == 7 and "the last finding: none is above" in picture(app)


@case("m")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "m")
    assert app.store.marks == {0: ""} and "◆" in picture(app)
    await press(app, pilot, "m")
    assert app.store.marks == {}


@case("apostrophe")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "j", "m", "g", "apostrophe")
    assert app.store.focus == 1


@case("quotation_mark")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "j", "m", "G", "quotation_mark")
    assert app.store.focus == 1


@case("M")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "M")
    assert "nothing is marked" in picture(app)
    await press(app, pilot, "j", "m", "M")
    assert app.store.places == 1


@case("c")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    app.go_to(8)
    await press(app, pilot, "c")
    await write(app, pilot, "why so large")
    await press(app, pilot, "enter")
    assert app.store.marks == {8: "why so large"} and "“why so large”" in picture(app)


@case("escape")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "d", "tab", "z", "escape")
    assert not app.home.has_class("zoomed") and app.store.only_fds
    await press(app, pilot, "escape")
    assert app.focused is app.listed and app.store.only_fds
    await press(app, pilot, "escape")
    assert app.store.places == 25


# -- looking


def page(app: Screen) -> Page:
    assert isinstance(app.screen, Page)
    return app.screen


@case("e")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    app.go_to(10)
    await press(app, pilot, "e")
    assert "message 8 of vhost-user" in picture(app)
    await press(app, pilot, "q")
    assert app.screen is app.home and app.store.focus == 10


def test_a_rule_is_explained_where_its_finding_is_in_focus() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        app.go_to(7)
        await press(app, pilot, "tab")
        pane = app.pane("message")
        pane.move_to(next(at for at, one in enumerate(pane.lines) if one.key == ("finding", 0)))
        await press(app, pilot, "e")
        assert "explain VU-NEG-01" in picture(app)

    on_screen(test)


@case("r")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    app.go_to(21)
    await press(app, pilot, "r")
    assert "ring 0  started and enabled: it runs" in picture(app) and "rings at #21" in picture(app)
    await press(app, pilot, "escape")
    assert app.screen is app.home


@case("t")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    app.go_to(8)
    await press(app, pilot, "t")
    assert "─ #8 ADD_MEM_REG 512 MiB at 0x0 [memory memfd] ─" in picture(app)
    line = page(app).pane.line
    assert line is not None and line.row == 8
    await press(app, pilot, "j", "enter")
    assert app.screen is app.home and app.store.focus == 9


@case("s")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "s")
    await all_there(app, pilot)
    shown = picture(app)
    assert "SET_VRING_NUM" in shown and "22 messages" in shown and "VU-NEG-01" in shown


@case("question_mark")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "question_mark")
    assert "from a request to its answer, and back" in picture(app)


# -- live


@case("F")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "F")
    assert "nothing is live" in picture(app)


def test_follow() -> None:
    growing = feed(known=10, live=True)

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        assert app.store.focus == 9 and "   live" in picture(app)
        await press(app, pilot, "g")
        growing.rows = 15
        await settle(app, pilot)
        assert app.store.focus == 0
        await press(app, pilot, "F")
        assert app.store.focus == 14
        growing.rows = 20
        await settle(app, pilot)
        assert app.store.focus == 19 and "following" in picture(app)

    on_screen(test, growing)


@case("p")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "p")
    assert app.store.paused_at == 25 and "paused" in picture(app)
    await press(app, pilot, "p")
    assert app.store.paused_at is None


def test_while_paused_the_new_ones_are_counted() -> None:
    growing = feed(known=10, live=True)

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "p")
        growing.rows = 25
        await settle(app, pilot)
        assert app.store.places == 10 and "paused, 15 new" in picture(app)

    on_screen(test, growing)


# -- giving away


@case("x")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "x")
    assert "write what is shown to:" in picture(app)
    await press(app, pilot, "enter")
    assert "a name for the new capture is needed" in picture(app)


@case("y")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    app.go_to(10)
    await press(app, pilot, "y")
    await write(app, pilot, "c")
    await press(app, pilot, "enter")
    assert "static const unsigned char message_10[20] = {" in app.clipboard
    assert "clipboard" in picture(app)


@case("w")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "w")
    assert ":write FILE gives it one" in picture(app)


# -- the screen


@case("colon")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "colon")
    await write(app, pilot, "goto 12")
    await press(app, pilot, "enter")
    assert isinstance(app.store.item, Message) and app.store.item.no == 12


@case("T")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    before = app.theme
    await press(app, pilot, "T")
    assert app.theme != before and f"theme {app.theme}" in picture(app)


@case("plus", "minus")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    before = app.listed.region.height
    await press(app, pilot, "plus")
    assert app.listed.region.height > before
    await press(app, pilot, "minus", "minus")
    assert app.listed.region.height < before


def test_keys_that_come_at_once_meet_what_those_before_have_done() -> None:
    """Pasted, or typed fast: the line is there when its first letter comes."""

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        for key in ("colon", *"goto", "space", *"12", "enter", "m", "question_mark"):
            letters = {"colon": ":", "space": " ", "question_mark": "?"}
            app.post_message(events.Key(key, letters.get(key, key if len(key) == 1 else None)))
        for _ in range(4):
            await settle(app, pilot)
        assert app.store.focus == 12 and app.store.marks == {12: ""} and isinstance(app.screen, Page)

    on_screen(test)


@case("q")
async def _(app: Screen, pilot: Pilot[int]) -> None:
    await press(app, pilot, "tab", "q")
    assert app.focused is app.listed and app.is_running
    await pilot.press("q")
    await pilot.pause()
    assert app.return_code == 0 and app._exit


def test_control_c_leaves_from_anywhere() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "question_mark", "ctrl+c")
        assert app._exit

    on_screen(test)


def test_marks_are_kept_beside_the_capture(tmp_path: Path) -> None:
    capture = str(tmp_path / "one.pcapng")

    async def mark(app: Screen, pilot: Pilot[int]) -> None:
        app.go_to(8)
        await press(app, pilot, "c")
        await write(app, pilot, "look here")
        await press(app, pilot, "enter", "j", "m")

    async def again(app: Screen, pilot: Pilot[int]) -> None:
        assert app.store.marks == {8: "look here", 9: ""}

    on_screen(mark, screen=lambda shown: Screen(shown, marks_beside=capture))
    on_screen(again, screen=lambda shown: Screen(shown, marks_beside=capture))
