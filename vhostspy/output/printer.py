"""What all views of a capture on standard output share: which items are shown, in which form, and the summary at the
end.

A filter that asks for ``pending`` needs to know what comes later: messages then wait, in order, until each request
before them is answered, or has been silent for a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from vhostspy.baseline import Known
from vhostspy.message import Event, Message
from vhostspy.pipeline import Item, Pipeline

from .findings import Report, without_accepted
from .form import Form
from .json import Json
from .naming import Naming
from .summary import Summary
from .text import LateText, Look, Text

if TYPE_CHECKING:
    from vhostspy.filter import Filter

#: with a filter only messages that match are shown, and what is missing from the capture
ALWAYS = frozenset(("gap", "fault"))


class Show(NamedTuple):
    """What is asked for on the command line."""

    json: bool = False
    look: Look = Look()
    filter: Filter | None = None
    summary: bool = True
    #: only what has findings
    findings: bool = False
    #: findings that are accepted are not shown (``findings.Known``)
    baseline: Known = frozenset()
    #: nobody waits for a line: some may be kept back until their bits can be named (``naming``)
    patient: bool = False
    #: what the columns are comes first
    heading: bool = False


def form(show: Show, pipeline: Pipeline) -> Form:
    """The form that was asked for."""
    if show.json:
        return Json(show.look.octets)
    return LateText(show.look, Naming(pipeline, show.patient)) if show.look.verbose else Text(show.look)


class _Held:
    """A message that waits for its verdict; None: not known yet."""

    __slots__ = ("answered", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.answered: bool | None = None if message.awaited else False


class Printer:
    """Turns a pipeline's items into text for ``write``."""

    def __init__(self, show: Show, pipeline: Pipeline, write: Callable[[str], object]) -> None:
        self.pipeline = pipeline
        self.summary = Summary() if show.summary else None
        if self.summary is not None and show.filter is not None:
            self.summary.matched = 0
        #: what the rules have found so far
        self.report = Report()
        self._baseline = show.baseline
        self._only_findings = show.findings
        self._write = write
        self._filter = show.filter
        self._form = form(show, pipeline)
        self._line = self._form.message
        #: times count from a message that was there already
        self._begun = False
        self._held: deque[_Held] | None = deque() if show.filter is not None and show.filter.pending else None
        self._undecided: dict[tuple[int, int], _Held] = {}
        if show.heading:
            write(self._form.heading())

    def items(self, items: Iterable[Item]) -> None:
        for item in items:
            if item.findings:
                if self._baseline:
                    item = without_accepted(item, self._baseline)
                self.report.add(item)
            if self._only_findings and not item.findings and not (isinstance(item, Event) and item.event in ALWAYS):
                self._pass_over(item)
            elif isinstance(item, Message):
                self._message(item)
            else:
                self._event(item)

    def end(self) -> None:
        """The capture is at its end: say what is still unanswered, and what came of it all."""
        self.items(self.pipeline.finish())
        for held in self._undecided.values():
            held.answered = False
        self._undecided.clear()
        self._release()
        rest = self._form.rest()
        if rest:
            self._write(rest)
        if self.summary is not None:
            self._write(self._form.summary(self.summary, self.pipeline.sessions))

    def _pass_over(self, item: Item) -> None:
        """It is counted, and not shown."""
        if isinstance(item, Message):
            self._form.seen(item)
            if self.summary is not None:
                self.summary.add(item)

    def _message(self, message: Message) -> None:
        if self.summary is not None:
            self.summary.add(message)
        if self._filter is None:
            self._write(self._line(message))
            return
        if not self._begun:
            self._begun = True
            self._form.seen(message)
        if self._held is not None:
            self._hold(message, self._held)
        elif self._filter(message):
            self._matches(message)

    def _matches(self, message: Message) -> None:
        if self.summary is not None and self.summary.matched is not None:
            self.summary.matched += 1
        self._write(self._line(message))

    def _event(self, event: Event) -> None:
        if event.event == "sample" and not (event.findings or self._form.samples):
            return  # there are many, and programs can have them all
        if self._held is not None and event.event in ("waiting", "unanswered"):
            self._decide((event.session, event.facts.get("no", 0)), False)
        if self._filter is None or event.event in ALWAYS:
            self._write(self._form.event(event))

    def _hold(self, message: Message, queue: deque[_Held]) -> None:
        held = _Held(message)
        queue.append(held)
        if held.answered is None:
            self._undecided[message.session, message.no] = held
        elif message.answers is not None:
            self._decide((message.session, message.answers), True)
        self._release()

    def _decide(self, request: tuple[int, int], answered: bool) -> None:
        held = self._undecided.pop(request, None)
        if held is not None:
            held.answered = answered
            self._release()

    def _release(self) -> None:
        """Show what is decided, up to the first that is not."""
        queue = self._held
        while queue and queue[0].answered is not None:
            held = queue.popleft()
            if self._filter is None or self._filter.settled(held.message, bool(held.answered)):
                self._matches(held.message)
