"""Giving away: a message to the clipboard or a file, messages to a new capture, the capture to Wireshark."""

from __future__ import annotations

import os
from itertools import chain

from vhostspy.errors import WrongUse
from vhostspy.output.units import plural

from .export import FORMS, copied, wireshark, write_capture
from .pages import Pages


class Giving(Pages):
    """What the keys of the group "giving away" do."""

    #: where the capture is: a path, or a descriptor of one without a name
    source: str | int = ""
    #: all of it has been written to a file
    written = False

    def action_copy(self) -> None:
        self.prompt.ask(
            "copy as:", self.copy, text="", complete=lambda text: [form for form in FORMS if form.startswith(text)]
        )

    def copy(self, text: str) -> str | None:
        """``FORM [FILE]``; gives what is wrong."""
        form, _, path = text.strip().partition(" ")
        form = next((each for each in FORMS if form and each.startswith(form)), form)
        if form not in FORMS:
            return f"{form or 'nothing'} is none of {', '.join(FORMS)}"
        item = self.store.item
        if item is None:
            return "an empty capture"
        try:
            made = copied(item, form)
        except WrongUse as wrong:
            return str(wrong)
        if path.strip():
            return self.write_text(path.strip(), made, form)
        self.copy_to_clipboard(made)
        self.say(
            f"{form}, {plural(len(made), 'letter')}: handed to the terminal's clipboard (:copy {form} FILE for a file)"
        )
        return None

    def action_export(self) -> None:
        self.prompt.ask("write what is shown to:", self.write, text="", complete=_files)

    def write(self, path: str) -> str | None:
        """What is shown, as a new capture; gives what is wrong."""
        path = os.path.expanduser(path.strip())
        if not path:
            return "a name for the new capture is needed"
        if self.store.busy is not None:
            return "what is shown is still being searched for; wait, or Esc"
        rows = (self.store.row(place) for place in range(self.store.places))
        try:
            count = write_capture(self.source, path, chain.from_iterable(map(self.feed.offsets, rows)))
        except WrongUse as wrong:
            return str(wrong)
        except OSError as error:
            return f"{path}: {error.strerror}"
        self.written = self.written or not self.store.narrowed
        self.say(f"{plural(count, 'record')} written to {path}")
        return None

    def action_wireshark(self) -> None:
        trouble = self.open_wireshark()
        if trouble:
            self.say(trouble, "warning")

    def open_wireshark(self) -> str | None:
        if not isinstance(self.source, str) or not self.source:
            return "this capture has no name; :write FILE gives it one"
        if not self.feed.rows:
            return "an empty capture"
        try:
            wireshark(self.source, self.feed.offsets(self.store.focus)[-1])
        except WrongUse as wrong:
            return str(wrong)
        except OSError as error:
            return f"wireshark: {error.strerror}"
        self.say("opened in Wireshark")
        return None


def _files(text: str) -> list[str]:
    from .commands import files

    return files(text)
