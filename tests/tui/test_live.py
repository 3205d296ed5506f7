"""A relay that is watched: what the top line says, leaving, and what is asked of the relay."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from tests.pipeline.conversation import Conversation
from vhostspy.cli import main
from vhostspy.message import Event
from vhostspy.tui.app import Screen
from vhostspy.tui.feed import Feed
from vhostspy.tui.live import Relay

from .pretend import WRONG, Pretend, feed
from .screen import on_screen, picture, press, settle


class Pretended(Relay):
    """No process: what is asked is kept."""

    def __init__(self, ours: bool = True, path: str = "") -> None:
        self.ours = ours
        self.path = path
        self.pid = 7
        self.runs = True
        self.asked_for: list[tuple[str, dict[str, Any]]] = []
        self.says: list[str] = []

    @property
    def alive(self) -> bool:
        return self.runs

    def ask(self, do: str, **members: Any) -> str:
        self.asked_for.append((do, members))
        return "" if do == "annotate" else "detach: nothing is recorded"

    def heard(self) -> list[str]:
        says, self.says = self.says, []
        return says

    def end(self) -> None:
        self.runs = False


def watching(relay: Pretended, test: Any, shown: Feed | None = None) -> Screen:
    live = shown if shown is not None else feed(live=True)
    return on_screen(test, live, screen=lambda each: Screen(each, relay=relay))


def test_the_top_line_says_who_is_there_and_what_waits() -> None:
    growing = feed(known=22, live=True)
    growing.name = "a.sock ⇄ b.sock"

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        app.now_ns = lambda: growing.items[22].monotonic_ns + 3_000_000_000
        app.update_all()
        await settle(app, pilot)
        assert "● a.sock ⇄ ● b.sock   live" in picture(app).splitlines()[0]
        growing.rows = 23
        app.update_all()
        await settle(app, pilot)
        assert "1 waiting for 3.0 s" in picture(app).splitlines()[0]
        growing.rows = 25
        app.update_all()
        await settle(app, pilot)
        assert "○ a.sock ⇄ ○ b.sock" in picture(app).splitlines()[0]

    watching(Pretended(), test, growing)


def test_findings_are_told_as_they_come() -> None:
    growing = feed(known=5, live=True)

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        growing.rows = 12
        app.while_live()
        await settle(app, pilot)
        last = picture(app).splitlines()[-1]
        assert WRONG.text in last and "@ goes there" in last
        await press(app, pilot, "at")
        assert app.store.focus == 7

    watching(Pretended(), test, growing)


def test_a_long_finding_leaves_room_for_the_key_that_leads_to_it() -> None:
    growing = feed(known=5, live=True)
    growing.find(7, WRONG._replace(text="expected " + 40 * "and so on "))

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "g")
        growing.rows = 12
        app.while_live()
        await settle(app, pilot)
        assert picture(app).splitlines()[-1].endswith(f"… ({WRONG.rule}; ! goes there)")
        await press(app, pilot, "exclamation_mark")
        assert app.store.focus == 7

    watching(Pretended(), test, growing)


def test_what_the_relay_tried_is_no_longer_said_when_something_comes() -> None:
    relay = Pretended()
    growing = feed(known=5, live=True)

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        relay.says = ["vhostspy: b.sock: No such file or directory; trying again for 10 s"]
        app.while_live()
        await settle(app, pilot)
        assert "trying again for 10 s" in picture(app).splitlines()[-1]
        growing.rows = 6
        app.while_live()
        await settle(app, pilot)
        assert "trying again" not in picture(app).splitlines()[-1]
        gone = "b.sock: could not be reached within 10 s"
        event = growing.items[23]
        assert isinstance(event, Event)
        growing.items[6] = event._replace(event="fault", text=gone)
        growing.rows = 7
        app.while_live()
        await settle(app, pilot)
        assert gone in picture(app).splitlines()[-1]

    watching(relay, test, growing)


def test_until_somebody_connects_it_says_what_is_waited_for() -> None:
    said = Conversation()
    said.event("start", listen=["a.sock"], connect=["b.sock"])
    said.front_end("GET_FEATURES")
    growing = Pretend(said, known=0, live=True)

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        growing.rows = 2
        app.while_live()
        await settle(app, pilot)
        assert "one begins when somebody connects to a.sock" in picture(app).splitlines()[-1]
        growing.rows = len(growing.items)
        app.while_live()
        await settle(app, pilot)
        assert "connects" not in picture(app).splitlines()[-1]

    watching(Pretended(), test, growing)


def test_who_waits_is_in_sight_when_a_request_stands() -> None:
    growing = feed(known=23, live=True)

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        app.now_ns = lambda: growing.items[22].monotonic_ns + 3_000_000_000
        app.update_all()
        await settle(app, pilot)
        assert "not answered" in picture(app) and "front-end from here on" in picture(app)

    on_screen(test, growing, size=(120, 24))


def test_what_the_relay_says_is_told() -> None:
    relay = Pretended()

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        relay.says = ["vhostspy: b.sock: nobody listens there yet"]
        app.while_live()
        await settle(app, pilot)
        assert "b.sock: nobody listens there yet" in picture(app).splitlines()[-1]

    watching(relay, test, feed(known=5, live=True))


@pytest.mark.parametrize("key, runs, leaves", [("e", False, True), ("l", True, True), ("escape", True, False)])
def test_leaving_asks_what_becomes_of_the_relay(key: str, runs: bool, leaves: bool) -> None:
    relay = Pretended()

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "q")
        assert "The relay still runs" in picture(app) and "is kept in no file" in picture(app)
        await pilot.press(key)
        await pilot.pause()
        assert (relay.runs, app._exit) == (runs, leaves)

    watching(relay, test)


def test_a_relay_that_others_started_goes_on_without_a_question() -> None:
    relay = Pretended(ours=False)

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await pilot.press("q")
        await pilot.pause()
        assert app._exit and relay.runs

    watching(relay, test)


def test_what_would_be_lost_is_asked_about() -> None:
    relay = Pretended()
    relay.runs = False

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "q")
        assert "would be lost" in picture(app)
        await press(app, pilot, "x")
        assert "write what is shown to:" in picture(app)

    watching(relay, test)


def test_a_capture_with_a_name_is_not() -> None:
    relay = Pretended(path="/tmp/a.pcapng")
    relay.runs = False

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await pilot.press("q")
        await pilot.pause()
        assert app._exit

    watching(relay, test)


def test_notes_and_detaching_go_to_the_relay() -> None:
    relay = Pretended()

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        assert app.command("note the disk is slow") is None
        assert app.command("detach") == "detach: nothing is recorded"

    watching(relay, test)
    assert relay.asked_for == [("annotate", {"text": "the disk is slow"}), ("detach", {})]


# -- the mouse


def test_the_mouse_chooses_lines_keys_and_members() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await pilot.click("#list", offset=(10, 5))
        await settle(app, pilot)
        assert app.store.focus == 5
        await pilot.click("#message", offset=(4, 4))
        await settle(app, pilot)
        assert app.focused is app.pane("message")
        await pilot.click("#keys", offset=(2, 0))
        await settle(app, pilot)
        assert app.prompt.display
        await press(app, pilot, "escape")
        await pilot.click("#bytes", offset=(3 + 6 + 3 * 2, 1))
        await settle(app, pilot)
        assert app.focused is app.octets

    on_screen(test)


# -- what cannot be


Output = pytest.CaptureFixture[str]


def test_without_textual_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setitem(__import__("sys").modules, "textual", None)
    assert main(["tui", "a.pcapng"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install textual" in error


def test_without_a_terminal(capsys: Output) -> None:
    assert main(["tui", "a.pcapng"]) == 2
    assert "needs a terminal" in capsys.readouterr().err


def test_no_relay_to_watch(capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("vhostspy.commands.tui.require_terminal", lambda: None)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert main(["tui"]) == 3
    assert "no relay of this user runs" in capsys.readouterr().err
    assert main(["tui", "a.sock"]) == 2
    assert capsys.readouterr().err == "vhostspy tui: a.sock: there is no such capture, and no relay listens there\n"


@pytest.mark.parametrize("words, trouble", [
    (["--json"], "--json prints lines"), (["-w", "-"], "give -w a file"), (["--no-capture"], "nothing that --tui"),
    (["--junit", "a.xml"], "are for lines"),
])  # fmt: skip
def test_what_does_not_go_with_the_screen(
    words: list[str], trouble: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vhostspy.commands.live.require_terminal", lambda: None)
    assert main(["--listen", "a", "--connect", "b", "--tui", *words]) == 2
    assert trouble in capsys.readouterr().err
