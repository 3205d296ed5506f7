"""Addresses of the front-end's that a played back-end asks about: where the live front-end has what they were.

A record's back-end asks for translations (IOTLB misses) and for memory (DMA_READ, DMA_WRITE) at addresses that its own
front-end gave it. A live front-end puts its rings and its memory elsewhere. What it sets up is held against what was
set up in the record; so an address within a recorded ring, or DMA region, is known again at the same distance from the
live one's beginning. Where nothing has moved, addresses are as recorded; where something has, what lies in nothing that
was set up (a buffer of the guest's) is left out: who knows what the live front-end has there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

from vhostspy.compare.message import named
from vhostspy.dissectors.rows import BACK_END
from vhostspy.message import Message

from .edit import with_members
from .script import Part

#: requests of a back-end -> the member that is an address of the front-end's
ASKS = {"IOTLB_MSG": "iova", "DMA_READ": "address", "DMA_WRITE": "address"}
#: requests of a front-end that say where something is
SETS = frozenset({"SET_VRING_NUM", "SET_VRING_ADDR", "DMA_MAP"})
#: bytes of a ring's parts: so many, and so many for each entry (a packed ring has as many, or fewer)
_PARTS = {"descriptor": (0, 16), "available": (6, 2), "used": (6, 8)}
#: of requests that lead nowhere so many are told
_MOST_TOLD = 3
#: a front-end may map as often as it likes
_MOST_PLACES = 65536


class Moved(NamedTuple):
    """What was recorded from ``was`` on is live from ``now`` on, for so many bytes."""

    was: int
    now: int
    length: int


class Addresses:
    """Those of one session. ``met`` what the live front-end sets up; ``live`` then says where a message leads."""

    def __init__(self) -> None:
        #: what it is -> where it is, the newest last
        self._places: dict[Hashable, Moved] = {}
        self._ring_sizes: dict[int, int] = {}
        #: requests that lead nowhere, as many as are told, and how many there are
        self._lost: list[Message] = []
        self._lost_count = 0

    @classmethod
    def of(cls, part: Part, side: int) -> Addresses | None:
        """For a part; None: what is played asks about no address."""
        asks = side == BACK_END and any(_asks(message) for message in part.messages)
        return cls() if asks else None

    def met(self, recorded: Message, came: Message) -> None:
        """The live front-end has repeated this recorded request, with values of its own."""
        for what, moved in self._set_up(recorded, came):
            self._places.pop(what, None)
            if len(self._places) < _MOST_PLACES:
                self._places[what] = moved

    def _set_up(self, recorded: Message, came: Message) -> Iterator[tuple[Hashable, Moved]]:
        was, now = recorded.fields, came.fields
        if not was.keys() <= now.keys():
            return  # one of them is cut
        if recorded.name == "SET_VRING_NUM" and "num" in was:
            self._ring_sizes[was["index"]] = was["num"]
        elif recorded.name == "SET_VRING_ADDR" and "index" in was:
            entries = self._ring_sizes.get(was["index"], 1)
            for part, (fixed, each) in _PARTS.items():
                yield (was["index"], part), Moved(was[part], now[part], fixed + each * entries)
        elif recorded.name == "DMA_MAP" and "address" in was:
            yield was["address"], Moved(was["address"], now["address"], min(was["length"], now["length"]))

    def live(self, message: Message) -> Message | None:
        """The message with the live front-end's address; itself if nothing has moved, None: there is nothing there."""
        if not _asks(message) or all(place.was == place.now for place in self._places.values()):
            return message
        member = ASKS[message.name or ""]
        address = message.fields[member]
        for place in reversed(self._places.values()):
            if place.was <= address < place.was + place.length:
                there = place.now + address - place.was
                return message if there == address else message._replace(data=with_members(message, {member: there}))
        self._lost_count += 1
        if len(self._lost) < _MOST_TOLD:
            self._lost.append(message)
        return None

    @property
    def lost(self) -> str:
        """What led nowhere, in a sentence, or nothing."""
        if not self._lost:
            return ""
        told = [f"{named(one)} #{one.no} (0x{one.fields[ASKS[one.name or '']]:x})" for one in self._lost]
        rest = self._lost_count - len(told)
        more = f" and {rest} more" if rest else ""
        left_out = "was" if self._lost_count == 1 else "were"
        return (
            f"{', '.join(told)}{more} {left_out} left out: at an address that is in none of the record's rings or DMA "
            "regions, and the live ones are elsewhere"
        )


def _asks(message: Message) -> bool:
    return (
        message.name in ASKS
        and message.sender == BACK_END
        and message.kind == "request"
        and not message.snapped
        and ASKS[message.name] in message.fields
    )
