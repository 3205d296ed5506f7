"""Commands: what they do, how they are completed, and what they say when they cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from tests.peers.place import ROOT
from vhostspy.capture.reader import Reader
from vhostspy.tui.app import Screen
from vhostspy.tui.commands import COMMANDS, complete, find
from vhostspy.tui.explain import explain_lines
from vhostspy.tui.export import blocks
from vhostspy.tui.feed import Indexed
from vhostspy.tui.help import help_lines
from vhostspy.tui.page import Page
from vhostspy.tui.statistics import Tally, histogram, statistics_lines

from .pretend import feed
from .screen import on_screen, picture, press, settle, until, write

CAPTURE = str(ROOT / "captures/s.pcapng")


def nothing(kind: str, word: str) -> list[str]:
    return []


def test_every_command_has_its_method_and_its_line_in_the_help() -> None:
    shown = "\n".join(line.text for line in help_lines(100))
    for command in COMMANDS:
        methods = [getattr(Screen, f"{kind}_{command.name}", None) for kind in ("do", "action")]
        assert any(map(callable, methods)), f"Screen has neither do_{command.name} nor action_{command.name}"
        assert f"  {command.name}" in shown and command.text in shown


@pytest.mark.parametrize("text, name", [
    ("goto 5", "goto"), ("go 5", "goto"), ("stat", "statistics"), ("q", "quit"), ("w x", "write"),
    ("50", "goto"),
])  # fmt: skip
def test_a_beginning_that_fits_one_command_will_do(text: str, name: str) -> None:
    command, _, trouble = find(text)
    assert command is not None and command.name == name and not trouble


@pytest.mark.parametrize("text, trouble", [
    ("nonsense", "there is no command 'nonsense'"),
    ("filtre fds", "there is no command 'filtre' (did you mean filter?)"),
    ("co", "which one: comment, columns, copy?"),
])  # fmt: skip
def test_what_is_no_command_is_told(text: str, trouble: str) -> None:
    assert find(text)[2] == trouble


def test_completion_of_commands_and_of_what_they_take(tmp_path: Path) -> None:
    assert complete("fi", nothing) == ["filter ", "find "]
    assert complete("copy j", nothing) == ["copy json"]
    assert complete("columns +delta -ch", nothing) == ["columns +delta -channel"]
    assert complete("theme x", lambda kind, word: [f"{kind}y", "xz"]) == ["theme xz"]
    (tmp_path / "one.pcapng").touch()
    assert complete(f"write {tmp_path}/o", nothing) == [f"write {tmp_path}/one.pcapng"]


#: what is typed, and what then holds
DONE: list[tuple[str, Callable[[Screen], bool]]] = [
    ("filter fds", lambda app: app.store.places == 5),
    ("filter", lambda app: app.store.places == 25),
    ("find kick", lambda app: app.store.focus == 13),
    ("goto 12", lambda app: app.store.focus == 12),
    ("goto #3", lambda app: app.store.focus == 3),
    ("goto 0.1s", lambda app: app.store.focus == 22),
    ("mark", lambda app: app.store.marks == {0: ""}),
    ("comment hm", lambda app: app.store.marks == {0: "hm"}),
    ("only fds", lambda app: app.store.places == 5),
    ("only messages", lambda app: app.store.places == 22),
    ("only all", lambda app: app.store.places == 25),
    ("fold", lambda app: app.store.folded),
    ("columns -channel +session", lambda app: app.listed.chosen_columns == {"channel": False, "session": True}),
    ("width message 40", lambda app: app.listed.widths == {"message": 40}),
    ("session 1", lambda app: app.session_shown == 1),
    ("explain SET_VRING_NUM", lambda app: isinstance(app.screen, Page) and "message 8 of" in picture(app)),
    ("rings", lambda app: isinstance(app.screen, Page)),
    ("timeline", lambda app: isinstance(app.screen, Page)),
    ("statistics", lambda app: isinstance(app.screen, Page)),
    ("help", lambda app: isinstance(app.screen, Page)),
    ("copy text", lambda app: "session 1 begins" in app.clipboard),
    ("theme nord", lambda app: app.theme == "nord"),
    ("pause", lambda app: app.store.paused_at == 25),
    ("quit", lambda app: app._exit),
]


def test_commands_do_what_they_say() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        for text, holds in DONE:
            assert app.command(text) is None, text
            await settle(app, pilot)
            assert holds(app), text
            if isinstance(app.screen, Page):
                app.screen.dismiss(None)
                await settle(app, pilot)
            app.store.show_all()
            app.store.folded = False
            app.store.marks = {}
            app.store.focus = 0
            await settle(app, pilot)

    on_screen(test)


@pytest.mark.parametrize("text, trouble", [
    ("goto 99", "there is no message 99; the last is #22"),
    ("goto soon", "soon is neither a number nor a time"),
    ("goto", "goto wants NO"),
    ("filter mesage", "there is no mesage"),
    ("only some", "some is none of"),
    ("columns +nothing", "there is no column 'nothing'"),
    ("width info 9", "there is no column 'info' with a width"),
    ("width message wide", "wide is no number of cells"),
    ("copy morse", "morse is none of text, json, scapy, c"),
    ("copy c", "an event is not written as c"),
    ("write", "write wants FILE"),
    ("wireshark", "this capture has no name"),
    ("note hello", "nothing is relayed here"),
    ("detach", "nothing is relayed here"),
    ("theme mauve", "there is no theme 'mauve'"),
    ("session one", "one is no session's number"),
])  # fmt: skip
def test_what_a_command_cannot_do_it_says(text: str, trouble: str) -> None:
    said: list[str | None] = []

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        said.append(app.command(text))

    on_screen(test)
    assert said[0] is not None and said[0].startswith(trouble)


def test_the_palette_has_every_command() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "ctrl+p")
        await pilot.press(*"statistics")
        await until(pilot, lambda: "counts, latencies, findings by rule" in picture(app))
        await press(app, pilot, "escape", "escape")

    on_screen(test)


# -- files


def recorded(test: Callable[[Screen, Pilot[int]], object]) -> None:
    shown = Indexed(CAPTURE)
    try:
        on_screen(test, shown, screen=lambda each: Screen(each, source=CAPTURE))  # type: ignore[arg-type]
    finally:
        shown.close()


def test_what_is_shown_goes_into_a_new_capture(tmp_path: Path) -> None:
    target = tmp_path / "rings.pcapng"

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        app.command("filter message == SET_VRING_*")
        await settle(app, pilot)
        assert app.command(f"write {target}") is None
        assert app.command(f"write {target}") == f"{target} is there already; choose another name"

    recorded(test)
    with Reader(str(target)) as reader:
        written = {record.number: record.data for record in reader}
    numbers = (8, 9, 10, 12, 13, 14, 18)
    with Reader(CAPTURE) as reader:
        rings = {record.number: record.data for record in reader if record.number and record.data[0] in numbers}
    assert written and written == {number: data for number, data in rings.items() if number in written}
    assert {number for number, data in rings.items() if not data[4] & 4} == {
        n for n in written if not written[n][4] & 4
    }


def test_all_of_it_written_is_the_same_capture(tmp_path: Path) -> None:
    target = tmp_path / "all.pcapng"

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        assert app.command(f"write {target}") is None

    recorded(test)
    assert target.read_bytes() == Path(CAPTURE).read_bytes()


@pytest.mark.parametrize("form, has", [
    ("text", "GET_FEATURES"), ("json", '"message": "GET_FEATURES"'),
    ("c", "static const unsigned char message_2[20] = {"), ("scapy", "VHOST_USER_GET_FEATURES_REPLY("),
])  # fmt: skip
def test_a_message_in_other_forms(tmp_path: Path, form: str, has: str) -> None:
    target = tmp_path / "copy"

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        app.command("goto 2")
        assert app.command(f"copy {form} {target}") is None

    recorded(test)
    assert has in target.read_text()


def test_a_diagram_in_a_file(tmp_path: Path) -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        assert app.command(f"timeline {tmp_path}/a.txt") is None
        assert app.command(f"timeline {tmp_path}/a.mmd") is None

    recorded(test)
    assert "#1 GET_FEATURES" in (tmp_path / "a.txt").read_text()
    assert (tmp_path / "a.mmd").read_text().startswith("sequenceDiagram")


# -- pages


def test_statistics_count_in_slices() -> None:
    tally = Tally(feed())
    while tally.advance(0):
        pass
    text = "\n".join(line.text for line in statistics_lines(tally, 100))
    assert "22 messages, 1 session, 5 descriptors" in text
    assert "GET_CONFIG                       1               1" in text
    assert "VU-NEG-01" in text


def test_a_histogram_has_its_highest_bar_where_most_are() -> None:
    from array import array

    bars = histogram(array("Q", [20_000] * 8 + [2_000_000_000]))
    assert bars[1] == "█" and bars.count("▁") == 1 and len(bars) == 13


def test_what_is_not_known_has_no_explanation() -> None:
    assert "nothing is called nonsense_of_it" in explain_lines("nonsense_of_it", 80)[0].text


def test_marks_of_something_else_are_left_alone(tmp_path: Path) -> None:
    beside = tmp_path / "a.pcapng.marks"
    beside.write_text("precious")

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "m")

    on_screen(test, screen=lambda shown: Screen(shown, marks_beside=str(tmp_path / "a.pcapng")))
    assert beside.read_text() == "precious"


# -- damage


def test_a_damaged_capture_opens_up_to_the_damage_and_says_so(tmp_path: Path) -> None:
    data = bytearray(Path(CAPTURE).read_bytes())
    with open(CAPTURE, "rb") as file:
        offsets = [offset for offset, _, _ in blocks(file.fileno())]
    data[offsets[12] + 4] ^= 0xFF  # the length of a block
    broken = tmp_path / "broken.pcapng"
    broken.write_bytes(data)
    shown = Indexed(str(broken))

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        assert app.store.places > 5 and shown.note
        assert "GET_FEATURES" in picture(app) and "octet" in picture(app).splitlines()[0]

    try:
        on_screen(test, shown)
    finally:
        shown.close()


def test_a_line_for_what_is_typed_has_its_history_to_itself() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, "colon")
        await write(app, pilot, "goto 3")
        await press(app, pilot, "enter", "f", "up")
        assert app.prompt.line.value == ""
        await press(app, pilot, "escape", "colon", "up")
        assert app.prompt.line.value == "goto 3"

    on_screen(test)


class Eager(Screen):
    """Somebody types before anything is drawn."""

    CSS_PATH = str(ROOT / "tui" / "screen.tcss")

    def on_mount(self) -> None:
        for character in ":theme nord":
            key = {":": "colon", " ": "space"}.get(character, character)
            self.post_message(events.Key(key, character))
        self.post_message(events.Key("enter", "\r"))


def test_what_is_typed_before_the_first_picture_is_done_behind_it() -> None:
    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: app.theme == "nord")
        assert not app.prompt.display

    on_screen(test, screen=Eager)
