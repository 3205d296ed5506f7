"""Feature bits and config spaces as their device has them, although it shows only later which device that is.

vhost-user never says it: most often it can be told from the very message that offers the bits, else from what is asked
some messages later. Where nobody waits for a line, so many are kept back until then. This is for people's views; the
pipeline, and so JSON and filters, say of each message what was known when it came.
"""

from __future__ import annotations

from collections.abc import Iterable

from vhostspy.dissectors.rows import Field
from vhostspy.message import Event, Message
from vhostspy.pipeline import Item, Pipeline

#: items that are kept back at most; front-ends ask for the config space among the first fifty messages
MOST_WAITING = 256


class Naming:
    """Takes the items of a pipeline and gives them back in order, each once its bits can be named, or will not be.

    wait: whether later items may tell; a live view has to show what came at once.
    """

    def __init__(self, pipeline: Pipeline, wait: bool) -> None:
        self._pipeline = pipeline
        self._wait = wait
        self._waiting: list[Item] = []
        #: sessions whose device was waited for in vain
        self._given_up: set[int] = set()

    def passes(self, message: Message) -> bool:
        """Whether it can be shown as it is; most can, so this is quick. Only vhost-user leaves the device open."""
        return not self._waiting and (message.context.device is not None or message.protocol != "vhost-user")

    def feed(self, item: Item) -> Iterable[Item]:
        """What can be shown now that this has come, and the pipeline has taken it in."""
        waiting = self._waiting
        if not waiting:
            if isinstance(item, Event) or item.context.device is not None:
                return (item,)
            device = self._device(item.session)
            if device is not None:
                return (with_device(item, device),)
            if not self._wait or item.session in self._given_up or not lacks_names(item):
                return (item,)
        waiting.append(item)
        if len(waiting) >= MOST_WAITING or not self._still(item):
            return self.finish()
        return ()

    def finish(self) -> list[Item]:
        """All that was kept back: no more is to come."""
        items, self._waiting = self._waiting, []
        named: list[Item] = []
        for item in items:
            if isinstance(item, Message) and item.context.device is None:
                device = self._device(item.session)
                if device is None:
                    self._given_up.add(item.session)
                else:
                    item = with_device(item, device)
            named.append(item)
        return named

    def _still(self, last: Item) -> bool:
        """Whether waiting makes sense after this one: there is a session left whose device may yet show."""
        if isinstance(last, Event) and last.event == "close":
            self._given_up.add(last.session)
        return any(
            isinstance(item, Message)
            and item.session not in self._given_up
            and self._device(item.session) is None
            and lacks_names(item)
            for item in self._waiting
        )

    def _device(self, number: int) -> str | None:
        session = self._pipeline.sessions.get(number)
        return None if session is None else session.device


def lacks_names(message: Message) -> bool:
    """Whether it has bits that a device would give a name, and no device is known."""
    if message.row is None or message.kind == "raw" or message.context.device is not None:
        return False
    decoded = message.decoded
    members = decoded.layout.members if decoded.layout else ()
    return any(isinstance(member, Field) and lacks_name(member, decoded.names.get(member.name)) for member in members)


def lacks_name(member: Field, names: object) -> bool:
    """Whether some bits of it are the device's to name, and were given a number."""
    if member.names is None or not member.names.device or not isinstance(names, list):
        return False
    return any(name.startswith("bit ") for name in names)


def with_device(message: Message, device: str) -> Message:
    """The same message, read as one of this device."""
    return message._replace(context=message.context._replace(device=device))
