"""What two sessions have come to: features by name, and the few numbers that go with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vhostspy.dissectors import registry, virtio
from vhostspy.dissectors.rows import Names
from vhostspy.message import Message
from vhostspy.session.state import Session

from .facts import facts


class Words(NamedTuple):
    """The bits of a feature word in two sessions; None: nothing is known of it there."""

    about: str
    expected: tuple[str, ...] | None
    came: tuple[str, ...] | None

    @property
    def both(self) -> list[str]:
        return [bit for bit in self.expected or () if bit in (self.came or ())]

    @property
    def only_expected(self) -> list[str]:
        return [bit for bit in self.expected or () if bit not in (self.came or ())]

    @property
    def only_came(self) -> list[str]:
        return [bit for bit in self.came or () if bit not in (self.expected or ())]

    @property
    def same(self) -> bool:
        return (self.expected or ()) == (self.came or ())


class Numbers(NamedTuple):
    """Something else that was found out or agreed on; None: not spoken of."""

    about: str
    expected: int | str | None
    came: int | str | None

    @property
    def same(self) -> bool:
        return self.expected == self.came


Topic = Words | Numbers


def negotiation(
    expected: Session, came: Session, expected_messages: Iterable[Message], came_messages: Iterable[Message]
) -> list[Topic]:
    """Topic by topic; what neither session speaks of is left out. The sessions as they ended."""
    device = expected.device or came.device
    topics: list[Topic] = [Numbers("device", expected.device, came.device)]
    protocol = registry.PROTOCOLS.get(expected.protocol)
    words: list[tuple[str, Names, int | None, int | None]] = []
    if protocol is not None and protocol.features is not None:
        words = [
            ("virtio offered", virtio.features(device), expected.virtio_offered, came.virtio_offered),
            ("virtio agreed", virtio.features(device), expected.virtio_agreed, came.virtio_agreed),
            ("protocol offered", protocol.features, expected.protocol_offered, came.protocol_offered),
            ("protocol agreed", protocol.features, expected.protocol_agreed, came.protocol_agreed),
        ]
    for about, names, one, other in words:
        topics.append(Words(about, _bits(names, one), _bits(names, other)))
    topics += [
        Numbers("queues", expected.queues, came.queues),
        Numbers("memory slots", expected.slots, came.slots),
        Numbers("rings used", _rings(expected), _rings(came)),
        Numbers("memory", _memory(expected), _memory(came)),
    ]
    versions = dict(_versions(expected_messages)), dict(_versions(came_messages))
    for about in dict.fromkeys([*versions[0], *versions[1]]):
        topics.append(Numbers(about, versions[0].get(about), versions[1].get(about)))
    return [topic for topic in topics if topic.expected is not None or topic.came is not None]


def _bits(names: Names, word: int | None) -> tuple[str, ...] | None:
    return None if word is None else tuple(names.bits(word))


def _rings(session: Session) -> int | None:
    return sum(1 for ring in session.rings.values() if ring.size is not None) or None


def _memory(session: Session) -> int | None:
    """Bytes of guest memory."""
    return sum(region.size for region in session.regions) or None


def _versions(messages: Iterable[Message]) -> Iterator[tuple[str, int | str]]:
    """vfio-user's negotiation is one message each way."""
    for message in messages:
        if message.name == "VERSION" and message.protocol == "vfio-user":
            for name, value in facts(message).items():
                if name in ("major", "minor") or name.startswith("version_data."):
                    yield f"{'server' if message.is_reply else 'client'} {name.removeprefix('version_data.')}", value
