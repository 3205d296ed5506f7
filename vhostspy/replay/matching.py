"""Which recorded message one that came repeats: by channel, name and meaning, in the record's order.

A real peer does not say everything in the order of the record, nor as often: a front-end changes call descriptors when
its guest likes. So a request is first looked for by all that counts of it, then by what it is about, then by its name;
once the record's are used up, the last one of the same meaning answers again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from vhostspy.compare import Strictness, facts
from vhostspy.compare.sequence import SUBJECTS
from vhostspy.message import Message

#: requests whose number and moment the guest makes, not what the record had them be about
ANY_TIME = frozenset({"SET_VRING_CALL", "IOTLB_MSG", "VRING_CALL", "VRING_KICK", "VRING_ERR", "CONFIG_CHANGE_MSG"})


#: what a device's own work brings about: a replay, in which no guest works, may not see it again
WORK = frozenset({"REGION_READ", "REGION_WRITE", "REGION_WRITE_MULTI", "DMA_READ", "DMA_WRITE"})


class Found(NamedTuple):
    """``at``: the recorded message's place in the part. ``again``: it has been used already."""

    at: int
    again: bool = False
    #: it says the very same
    same: bool = True


class Expected:
    """The requests that one end made in the record, of one session."""

    def __init__(self, messages: Iterable[tuple[int, Message]], strictness: Strictness) -> None:
        self._strictness = strictness
        self.messages = dict(messages)
        #: (channel, its number, name or id) -> places not used yet, in order
        self._unused: dict[Hashable, list[int]] = {}
        self._used: dict[Hashable, list[int]] = {}
        for at, message in self.messages.items():
            self._unused.setdefault(_name(message), []).append(at)
        self._facts: dict[int, Hashable] = {}
        #: (channel, its number, octets) -> places, for what comes exactly as it was
        self._octets: dict[Hashable, list[int]] = {}
        for at, message in self.messages.items():
            if not message.fds:
                self._octets.setdefault((message.channel, message.channel_no, message.data), []).append(at)

    def take_octets(self, channel: tuple[str, int], data: bytes) -> int | None:
        """The place of a request of these very octets, without descriptors, used from now on; None: look closer."""
        for at in self._octets.get((*channel, data), ()):
            name = _name(self.messages[at])
            if at in self._unused[name]:
                self._use(name, at)
                return at
        return None

    def take(self, came: Message) -> Found | None:
        """The recorded request that ``came`` repeats, used from now on; None: the record has none like it."""
        name = _name(came)
        unused = self._unused.get(name, [])
        for at in unused:
            if self.messages[at].data == came.data:
                return self._use(name, at)
        used = self._used.get(name, [])
        if not unused and not used:
            return None
        meaning = self._meaning(came)
        for at in unused:
            if self._of(at) == meaning:
                return self._use(name, at)
        for at in reversed(used):
            if self._of(at) == meaning:
                return Found(at, again=True)
        about = _about(came)
        for at in unused:
            if _about(self.messages[at]) == about:
                return self._use(name, at, same=False)
        if unused:
            return self._use(name, unused[0], same=False)
        return None

    def waits_for(self, at: int) -> bool:
        """Whether the recorded request at that place has not come yet."""
        return at in self._unused.get(_name(self.messages[at]), ())

    def left(self) -> list[int]:
        """Places of those that did not come, in order."""
        return sorted(at for unused in self._unused.values() for at in unused)

    def _use(self, name: Hashable, at: int, same: bool = True) -> Found:
        self._unused[name].remove(at)
        self._used.setdefault(name, []).append(at)
        return Found(at, same=same)

    def _of(self, at: int) -> Hashable:
        found = self._facts.get(at)
        if found is None:
            found = self._facts[at] = self._meaning(self.messages[at])
        return found

    def _meaning(self, message: Message) -> Hashable:
        return tuple(facts(message, self._strictness).items())


def _name(message: Message) -> Hashable:
    return message.channel, message.channel_no, message.name or message.id


def _about(message: Message) -> Hashable:
    fields = message.fields
    return tuple((name, fields[name]) for name in SUBJECTS if isinstance(fields.get(name), int))
