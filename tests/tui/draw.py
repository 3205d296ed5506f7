"""The pictures in the documents: real sessions on the screen, as SVG. ``python -m tests.tui.draw docs/tui``."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import NamedTuple

from vhostspy.rules.engine import Rules
from vhostspy.tui.app import Screen
from vhostspy.tui.feed import Indexed

from .screen import all_there

ROOT = Path(__file__).parent.parent.parent
#: what a drawing takes from elsewhere: a font that not every reader's page may load
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


class Picture(NamedTuple):
    name: str
    capture: str
    size: tuple[int, int]
    #: keys, and commands with their colon
    done: tuple[str, ...]
    theme: str = "textual-dark"


PICTURES = (
    Picture("overview", "captures/c-sid.pcapng", (132, 36), (":goto 38",)),
    Picture("light", "captures/gpu-sid.pcapng", (100, 30), ("exclamation_mark",), "textual-light"),
    Picture("unshared", "docs/tui/unshared.pcapng", (132, 34), ("exclamation_mark",)),
    Picture("stalled", "docs/tui/stalled.pcapng", (132, 34), ("exclamation_mark",)),
    Picture("rings", "captures/c-sid.pcapng", (110, 30), (":goto 42", "r")),
    Picture("timeline", "captures/l-sid.pcapng", (110, 30), (":filter message == IOTLB_MSG", "t")),
    Picture("statistics", "captures/l-sid.pcapng", (100, 26), ("s",)),
)


async def draw(picture: Picture) -> str:
    feed = Indexed(str(ROOT / picture.capture), rules=Rules())
    app = Screen(feed, source=str(ROOT / picture.capture))
    try:
        async with app.run_test(size=picture.size) as pilot:
            while feed.advance(1):
                pass
            app.theme = picture.theme
            for done in picture.done:
                if done.startswith(":"):
                    trouble = app.command(done[1:])
                    assert not trouble, trouble
                else:
                    await pilot.press(done)
                app.work(1)
                await pilot.pause()
            await all_there(app, pilot)
            svg = app.export_screenshot(title=f"vhostspy tui {Path(picture.capture).name}")
    finally:
        feed.close()
    return _FONTS.sub("", svg).replace("Fira Code", "monospace")


def main() -> None:
    folder = Path(sys.argv[1])
    for picture in PICTURES:
        (folder / f"{picture.name}.svg").write_text(asyncio.run(draw(picture)), encoding="utf-8")
        print(folder / f"{picture.name}.svg")


if __name__ == "__main__":
    main()
