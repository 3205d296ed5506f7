"""What a form of output has to do; ``printer`` chooses one, and tells it of the items that are to be shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vhostspy.message import Event, Message

if TYPE_CHECKING:
    from vhostspy.session.state import Session

    from .summary import Summary


class Form(ABC):
    """How the items of one capture are written, in their order. What it gives ends in a newline, or is empty."""

    #: samples of rings are shown, of which there are many, although nothing is wrong in them
    samples = False

    def heading(self) -> str:
        """What comes before the first item, where a person looks."""
        return ""

    @abstractmethod
    def message(self, message: Message) -> str: ...

    @abstractmethod
    def event(self, event: Event) -> str: ...

    def seen(self, message: Message) -> None:  # noqa: B027  (most forms have nothing to remember)
        """A message has passed that is not shown, or not yet."""

    def rest(self) -> str:
        """What was kept back so far: no more items are to come."""
        return ""

    @abstractmethod
    def summary(self, summary: Summary, sessions: Mapping[int, Session]) -> str:
        """What came of it all, behind the last item."""
