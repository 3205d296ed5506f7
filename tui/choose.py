"""Choosing what is shown and where one is: filter, find, marks, findings, jumps."""

from __future__ import annotations

import re

from vhostspy.filter import FilterError, compile
from vhostspy.filter.completion import completions
from vhostspy.filter.words import number
from vhostspy.output.units import escape

from .list import MessageList
from .notes import load, save
from .parts import BUDGET_S, Parts

_LAST_WORD = re.compile(r"[^\s()!&|=<>{},]*$")


class Choosing(Parts):
    """What the keys of the group "choosing" do."""

    #: marks are kept beside this file; "" if the capture has no name
    marks_beside = ""
    _loaded = False
    #: the row that a finding led to, and the one where it was found
    _stood = (-1, -1)

    # -- filter and find

    def action_filter(self) -> None:
        text = self.store.filter.text if self.store.filter is not None else ""
        self.prompt.ask("filter:", self.set_filter, text=text, check=filter_trouble, complete=complete_filter)

    def set_filter(self, text: str) -> str | None:
        """Show what matches; gives what is wrong with the filter."""
        trouble = filter_trouble(text)
        if trouble:
            return trouble
        self.store.set_filter(compile(text) if text.strip() else None)
        self.narrowed()
        return None

    def action_find(self) -> None:
        self.prompt.ask("find:", self.find_text)

    def find_text(self, text: str) -> str | None:
        self.store.find(text or self.store.find_text)
        self.narrowed()
        return None

    def action_find_next(self, step: int) -> None:
        if not self.store.find_text:
            self.action_find()
            return
        self.store.find(self.store.find_text, step)
        self.narrowed()

    def narrowed(self) -> None:
        """What is shown, or searched for, was changed: begin, and show what is there."""
        self.work(BUDGET_S)
        self.listed.moved(middle=True)

    def action_only_fds(self) -> None:
        self.store.toggle_fds()
        self.narrowed()

    def action_events(self) -> None:
        self.store.toggle_events()
        self.narrowed()

    def action_fold(self) -> None:
        self.store.toggle_fold()
        self.narrowed()

    def action_only_marked(self) -> None:
        if not self.store.marks and not self.store.only_marked:
            self.say("nothing is marked; m marks the message in focus", "warning")
            return
        self.store.toggle_marked()
        self.narrowed()

    def action_escape(self) -> None:
        self.say("")
        if self.store.stop():
            self.say("stopped; what was found so far is shown")
        elif self.home.has_class("zoomed"):
            self.action_zoom()
        elif not isinstance(self.focused, MessageList):
            self.give_focus(self.listed)
        elif self.store.narrowed:
            self.store.show_all()
            self.narrowed()

    # -- jumps

    def go_to(self, row: int | None, nothing: str = "", said: str = "") -> None:
        """Jump to a row, and say something about it, or that there is none."""
        if row is None:
            self.say(nothing, "warning")
            return
        shown = self.store.go_to_row(row)
        self.listed.moved(middle=True)
        if not shown:
            self.say("that message was hidden: all are shown again", "warning")
        elif said:
            self.say(said)

    def go_to_text(self, text: str) -> str | None:
        """To a message's number, or to a time since the first message (``3.5s``); gives what is wrong."""
        text = text.strip()
        if text.removeprefix("#").isdecimal():
            row = self.feed.row_of(int(text.removeprefix("#")[:18]))
            if row is None:
                return f"there is no message {text}; the last is #{self.feed.counts().messages}"
        else:
            time = number(text)
            if time is None:
                return f"{text} is neither a number nor a time, such as 12, 3.5s or 20ms"
            row = self._row_at(self.feed.start_ns + int(time))
        self.go_to(row, "an empty capture")
        return None

    def _row_at(self, time_ns: int) -> int | None:
        """The first row of that time or later; rows are in the order of the file, which is nearly that of time."""
        low, high = 0, self.feed.rows
        while low < high:
            middle = (low + high) // 2
            if self.feed.glance(middle).monotonic_ns < time_ns:
                low = middle + 1
            else:
                high = middle
        return min(low, self.feed.rows - 1) if self.feed.rows else None

    def action_finding(self, step: int) -> None:
        """The next one; behind the last comes the first. Who looks at the end of a live session has all before him."""
        more = " so far; the capture is still being read" if self.feed.progress < 1 else ""
        said = ""
        row: int | None = self._stood[1] if self._stood[0] == self.store.focus else self.store.focus
        while row is not None:
            row = self.feed.next_finding(row, step)
            if row is None and not said:
                said = f"the {'first finding: none is below' if step > 0 else 'last finding: none is above'}{more}"
                row = self.store.edge_finding(step)
            if row is not None and (about := self._about(row)) != self.store.focus:
                self._stood = about, row
                self.go_to(about, said=said)
                return
        self.say(f"no {'other ' if self.store.edge_finding() is not None else ''}finding{more}", "warning")

    def _about(self, row: int) -> int:
        """The row that the findings of a row are about: of those about silence, which have no row, the request's."""
        feed = self.feed
        if feed.item(row).findings:
            return row
        events = [*feed.asides(row), *(feed.asides(feed.rows) if row == feed.rows - 1 else ())]
        numbers = {event.facts.get("no") for event in events if event.findings}
        no = numbers.pop() if len(numbers) == 1 else None
        about = feed.row_of(no) if isinstance(no, int) else None
        return row if about is None else about

    def action_other(self) -> None:
        self.go_to(self.store.other, "it has no other half: no answer is due, or none has come")

    def action_return(self) -> None:
        if self.store.go_back():
            self.listed.moved(middle=True)
        else:
            self.say("there is nowhere to go back to")

    # -- marks

    def all_known(self) -> None:
        """What was marked the last time is marked again."""
        if self._loaded or not self.marks_beside:
            return
        self._loaded = True
        marks, trouble = load(self.marks_beside, self.feed)
        if trouble:
            self.marks_beside = ""
            self.say(trouble, "warning")
        self.store.marks = {**marks, **self.store.marks}
        self.store.version += bool(marks)

    def _marks_changed(self) -> None:
        self.update_all()
        if not self.marks_beside:
            self.say("marked until you leave: this capture has no file to keep marks beside", "dim")
            return
        try:
            save(self.marks_beside, self.store.marks, self.feed)
        except OSError as error:
            self.say(f"marks are not kept: {escape(error.filename or '')}: {error.strerror}", "warning")

    def action_mark(self) -> None:
        if self.feed.rows:
            self.store.toggle_mark()
            self._marks_changed()

    def action_mark_next(self, step: int) -> None:
        self.go_to(self.store.next_mark(step), f"no mark {'after' if step > 0 else 'before'} this message")

    def action_comment(self) -> None:
        self.prompt.ask("comment:", self.set_comment, text=self.store.marks.get(self.store.focus, ""))

    def set_comment(self, text: str) -> str | None:
        if self.feed.rows:
            self.store.comment(text)
            self._marks_changed()
        return None


def filter_trouble(text: str) -> str:
    """What is wrong with a filter, "" if nothing is."""
    try:
        compile(text)
    except FilterError as mistake:
        return str(mistake)
    return ""


def complete_filter(text: str) -> list[str]:
    """The filter with its last word completed: a name, or, behind ``==``, one of its values."""
    found = _LAST_WORD.search(text)
    word = found[0] if found is not None else ""
    before = text[: len(text) - len(word)]
    words = completions(before, word)
    return [before + each for each in words if each != word]
