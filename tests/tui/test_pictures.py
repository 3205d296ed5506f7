"""What the screen looks like at three sizes, as text beside this file; `UPDATE_PICTURES=1 pytest tests/tui` draws anew.

Then ``git diff`` shows what has changed; whether that is what should be seen, somebody has to look.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.pilot import Pilot

from vhostspy.tui.app import Screen

from .screen import all_there, on_screen, picture, press

HERE = Path(__file__).parent / "pictures"
SIZES = ((80, 24), (120, 36), (200, 50))
#: what is pressed before the picture is taken
PICTURES = {
    "start": (),
    "finding": ("exclamation_mark",),
    "rings": ("G", "r"),
    "timeline": ("t",),
    "statistics": ("s",),
    "bytes": ("exclamation_mark", "j", "tab", "j", "j", "j", "tab"),
    "session": ("G", "shift+tab"),
    "filter": ("f",),
    "help": ("question_mark",),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, size: tuple[int, int]) -> None:
    file = HERE / f"{name}-{size[0]}x{size[1]}.txt"
    seen: list[str] = []

    async def test(app: Screen, pilot: Pilot[int]) -> None:
        await press(app, pilot, *PICTURES[name])
        await all_there(app, pilot)
        seen.append(picture(app))

    on_screen(test, size=size, start=1)
    lines = seen[0].split("\n")
    assert len(lines) == size[1] and all(len(line) <= size[0] for line in lines)
    if os.environ.get("UPDATE_PICTURES"):
        HERE.mkdir(exist_ok=True)
        file.write_text(f"{seen[0]}\n", encoding="utf-8")
    assert f"{seen[0]}\n" == file.read_text(encoding="utf-8"), "UPDATE_PICTURES=1 pytest tests/tui draws anew"
