"""A question with a few answers, each a key, over whatever is on the screen."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static


class Choice(ModalScreen[str]):
    """Gives the key of the answer, or "" for Esc. ``answers``: key and words."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "stay", show=False)]

    def __init__(self, question: str, answers: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self.question = question
        self.answers = answers

    def compose(self) -> ComposeResult:
        with Vertical(id="choice"):
            yield Static(self.question, id="question", markup=False)
            for key, words in (*self.answers, ("Esc", "stay")):
                yield Static(f"  {key}  {words}", classes="answer", id=f"answer-{key}", markup=False)

    def on_key(self, event: events.Key) -> None:
        if event.character is not None and event.character in dict(self.answers):
            event.stop()
            self.dismiss(event.character)

    def on_click(self, event: events.Click) -> None:
        name = event.widget.id if event.widget is not None else None
        if name and name.startswith("answer-"):
            key = name.removeprefix("answer-")
            self.dismiss(key if key in dict(self.answers) else "")

    def action_leave(self) -> None:
        self.dismiss("")
