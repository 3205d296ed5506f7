"""Choosing what is shown: filters as they are typed, searches, findings."""

from __future__ import annotations

from textual.pilot import Pilot

from vhostspy.filter import compile
from vhostspy.message import Event, Finding, Message
from vhostspy.tui.app import Screen

from .pretend import feed
from .screen import on_screen, picture, press, write


def test_a_finding_about_a_silence_leads_to_the_request_that_stands() -> None:
    stalled = feed()
    request, end = stalled.items[22], stalled.items[23]
    assert isinstance(request, Message) and isinstance(end, Event)
    late = Finding("VU-RPL-15", "warning", 1, "nobody answers", "it waits", request.no, ())
    stalled.silences[23] = (end._replace(event="waiting", facts={"no": request.no}, findings=(late,)),)

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "exclamation_mark", "exclamation_mark")
        assert app.store.focus == 22 and late.text in picture(app) and "VU-RPL-15" in picture(app)
        await press(app, pilot, "exclamation_mark")
        assert app.store.focus == 7
        await press(app, pilot, "at")
        assert app.store.focus == 22

    on_screen(test, stalled)


def test_escape_stops_a_search() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        app.store.set_filter(compile("fds"))
        app.store.advance(0)
        assert app.store.busy is not None
        app.action_escape()
        assert app.store.busy is None and app.store.filter is not None

    on_screen(test, feed(slow=1))


def test_a_mistake_in_a_filter_is_told_while_it_is_typed_and_keeps_the_line() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "f")
        await write(app, pilot, "mesage == x")
        assert "there is no mesage" in picture(app) and "did you mean message?" in picture(app)
        await press(app, pilot, "enter")
        assert app.prompt.display and app.store.filter is None
        await press(app, pilot, "escape")
        assert not app.prompt.display and app.focused is app.listed

    on_screen(test)


def test_names_and_values_of_a_filter_are_completed() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "f")
        await write(app, pilot, "mess")
        await press(app, pilot, "tab")
        assert app.prompt.line.value == "message"
        await write(app, pilot, " == SET_VRING_K")
        await press(app, pilot, "tab")
        assert app.prompt.line.value == "message == SET_VRING_KICK"

    on_screen(test)


def test_what_was_typed_comes_again() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        for text in ("fds", "reply"):
            await press(app, pilot, "f", *["ctrl+u"])
            await write(app, pilot, text)
            await press(app, pilot, "enter")
        await press(app, pilot, "f", "up", "up")
        assert app.prompt.line.value == "fds"
        await press(app, pilot, "down")
        assert app.prompt.line.value == "reply"

    on_screen(test)
