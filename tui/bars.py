"""The lines around the panes: what is watched, at the top; what can be pressed and what is typed, at the bottom."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.strip import Strip
from textual.widgets import Input, Static

from .keys import KEYS, Key
from .line import Span
from .pane import Drawn


class Title(Drawn, can_focus=False):
    """One line: what is watched, whether it is live, how much there is."""

    def __init__(self) -> None:
        super().__init__(id="title")
        self.left: tuple[Span, ...] = ()
        self.right: tuple[Span, ...] = ()

    def show(self, left: tuple[Span, ...], right: tuple[Span, ...]) -> None:
        if (left, right) != (self.left, self.right):
            self.left, self.right = left, right
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        right = sum(len(text) for text, _ in self.right)
        room = max(0, width - right - 1)
        left = self.strip(self.left, max(room, sum(len(text) for text, _ in self.left)))
        return Strip.join([left.crop(0, room).adjust_cell_length(room, self.rich_style),
                           self.strip(self.right, width - room)])  # fmt: skip


class Keys(Drawn, can_focus=False):
    """The bottom line: keys and words, which the mouse may press; or what has just been said."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        self.said: Span | None = None
        self._places: list[tuple[int, int, str]] = []

    def say(self, text: str, role: str = "plain") -> None:
        said = (text, role) if text else None
        if said != self.said:
            self.said = said
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self.said is not None:
            return self.strip(((" ", "plain"), self.said), width)
        spans: list[Span] = [(" ", "plain")]
        self._places = []
        at = 1
        room = width - 1 - sum(_room(key) for key in KEYS if key.always)
        for key in KEYS:
            if not key.label:
                continue
            if not key.always:
                room -= _room(key)
                if room < 0:
                    continue
            shown = key.shown.split()[0]
            size = _room(key) - 2
            self._places.append((at, at + size, key.action))
            spans += [(shown, "title"), (f" {key.label}", "dim"), ("  ", "plain")]
            at += size + 2
        return self.strip(spans, width)

    async def on_click(self, event: events.Click) -> None:
        if self.said is not None:
            self.say("")
            return
        for begin, end, action in self._places:
            if begin <= event.x < end:
                await self.app.run_action(action)


def _room(key: Key) -> int:
    """Cells that a key and its word take in the bottom line, with the gap behind them."""
    return len(key.shown.split()[0]) + 1 + len(key.label) + 2


class Completer(Protocol):
    """What may be typed next: whole texts, best first."""

    def __call__(self, text: str) -> list[str]: ...


class Line(Input):
    """The input itself: Tab completes, up and down go through what was typed before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete(1)", "complete", show=False, priority=True),
        Binding("shift+tab", "complete(-1)", "complete", show=False, priority=True),
        Binding("up", "history(-1)", "earlier", show=False),
        Binding("down", "history(1)", "later", show=False),
        Binding("escape", "leave", "leave", show=False),
    ]

    def action_complete(self, step: int) -> None:
        self.prompt.complete(step)

    def action_history(self, step: int) -> None:
        self.prompt.history(step)

    def action_leave(self) -> None:
        self.prompt.leave()

    @property
    def prompt(self) -> Prompt:
        return self.screen.query_one(Prompt)


class Prompt(Vertical):
    """A line to type in, with its completions, or what is wrong with it, above. Hidden until ``ask``."""

    def __init__(self, left: Callable[[], object], stayed: Callable[[], object]) -> None:
        """``left`` is called when nothing is typed any more, and takes the focus; ``stayed`` where a line was wrong."""
        super().__init__(id="prompt")
        self.display = False
        self._left = left
        self._stayed = stayed
        self.histories: dict[str, list[str]] = {}
        self._kind = ""
        self._done: Callable[[str], str | None] = lambda text: None
        self._check: Callable[[str], str] = lambda text: ""
        self._completer: Completer = lambda text: []
        self._choices: list[str] = []
        self._choice = -1
        self._at = 0
        self._own = False

    def compose(self) -> ComposeResult:
        yield Static("", id="hint", markup=False)
        with Horizontal(id="ask"):
            yield Static("", id="what", markup=False)
            yield Line(id="line", compact=True)

    @property
    def line(self) -> Line:
        return self.query_one(Line)

    def ask(
        self,
        what: str,
        done: Callable[[str], str | None],
        *,
        text: str = "",
        check: Callable[[str], str] | None = None,
        complete: Completer | None = None,
    ) -> None:
        """Have a text typed. ``done`` gets it, and gives what is wrong with it, or None; ``check`` says so earlier."""
        self._kind = what
        self._done = done
        self._check = check or (lambda text: "")
        self._completer = complete or (lambda text: [])
        self.query_one("#what", Static).update(f" {what} ")
        self.display = True
        self._choice = -1
        self._at = len(self.histories.get(what, ()))
        self.line.value = text
        self.line.cursor_position = len(text)
        self.screen.set_focus(self.line)
        self._hint()

    def leave(self) -> None:
        self._left()
        self.display = False

    def complete(self, step: int) -> None:
        """Put the next of the completions into the line."""
        if not self._choices:
            return
        self._choice = (self._choice + step) % len(self._choices)
        self._put(self._choices[self._choice])
        if len(self._choices) == 1:
            self._choice = -1
            self._choices = self._completer(self.line.value)
        self._hint(keep=True)

    def history(self, step: int) -> None:
        past = self.histories.get(self._kind, [])
        self._at = max(0, min(len(past), self._at + step))
        self._put(past[self._at] if self._at < len(past) else "")
        self._hint()

    def put(self, text: str) -> None:
        """Begin the line with a text."""
        self._put(text)
        self._hint()

    def _put(self, text: str) -> None:
        self._own = self.line.value != text
        self.line.value = text
        self.line.cursor_position = len(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._own:
            self._own = False
            return
        self._choice = -1
        self._hint()

    def _hint(self, keep: bool = False) -> None:
        hint = self.query_one("#hint", Static)
        text = self.line.value
        trouble = self._check(text)
        if not keep:
            self._choices = self._completer(text)
        words = [f"[{each}]" if place == self._choice else each for place, each in enumerate(_short(self._choices))]
        shown = trouble or "  ".join(words[:40])
        hint.set_class(bool(trouble), "trouble")
        hint.display = bool(shown)
        hint.update(f" {shown}")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value
        past = self.histories.setdefault(self._kind, [])
        if text and text not in past[-1:]:
            past.append(text)
        trouble = self._done(text)
        if not trouble:
            self.leave()
            return
        hint = self.query_one("#hint", Static)
        hint.set_class(True, "trouble")
        hint.display = True
        hint.update(f" {trouble}")
        self._stayed()


def _short(choices: list[str]) -> list[str]:
    """Of whole texts the last word: the part that is being completed."""
    return [choice.rstrip().rpartition(" ")[2] for choice in choices]
