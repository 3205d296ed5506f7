"""What the pipeline knew at many moments: as octets, a tenth of what the values take.

Packed is what changes from one moment to the next. Sessions in which nothing happens any more, and the rows of the
protocols, stay as they are and are referred to. ``pickle`` only reads what it wrote: nothing of it comes from outside.
"""

from __future__ import annotations

import copyreg
import pickle
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final, cast

from vhostspy.capture.record import Descriptor
from vhostspy.dissectors.codec import Context
from vhostspy.message import Message
from vhostspy.pipeline import Snapshot
from vhostspy.session.device import Evidence
from vhostspy.session.ledger import Queue
from vhostspy.session.state import Line, Opened, Peer, Region, Ring, Session

#: zlib's; others take longer for little
_LEVEL: Final = 1
#: what a snapshot is made of, mostly: referred to by number, where pickle would look for their names each time
_TYPES: Final[tuple[type[tuple[Any, ...]], ...]] = (
    Snapshot, Session, Ring, Line, Descriptor, Region, Message, Context, Queue, Opened, Peer, Evidence,
)  # fmt: skip


class Checkpoints:
    """A sequence of snapshots that only grows."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        #: what is referred to
        self._kept = _Kept()
        self._last: tuple[Session, ...] = ()
        self._octets = BytesIO()
        self._packer = _Packer(self._octets, self._kept)

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, place: int) -> Snapshot:
        return cast("Snapshot", _Unpacker(BytesIO(zlib.decompress(self._packed[place])), self._kept.values).load())

    def append(self, known: Snapshot) -> None:
        before, ended = {id(session) for session in self._last}, {*known.ended}
        for session in known.sessions:
            if id(session) in before or session.number in ended:
                self._kept.keep(session)
            elif session.previous is not None:
                self._kept.keep(session.previous)
        self._last = known.sessions
        self._octets.seek(0)
        self._octets.truncate()
        self._packer.clear_memo()
        self._packer.dump(known)
        self._packed.append(zlib.compress(self._octets.getbuffer(), _LEVEL))


class _Kept:
    """Values that are referred to: each once, whoever has it."""

    def __init__(self) -> None:
        self.values: list[object] = [*_TYPES]
        #: id -> place in ``values``
        self.places = {id(kind): place for place, kind in enumerate(_TYPES)}

    def keep(self, value: object) -> None:
        if id(value) not in self.places:
            self.places[id(value)] = len(self.values)
            self.values.append(value)


class _Packer(pickle.Pickler):
    def __init__(self, octets: BytesIO, kept: _Kept) -> None:
        self._kept = kept
        self._places = kept.places
        self.dispatch_table = {**dict.fromkeys(_TYPES, _reduced), Message: self._reduced}
        super().__init__(octets, pickle.HIGHEST_PROTOCOL)

    def persistent_id(self, value: object) -> int | None:
        return self._places.get(id(value))

    def _reduced(self, message: Message) -> tuple[Any, ...]:
        """Without what was decoded, which is found again when somebody asks."""
        if message.row is not None:
            self._kept.keep(message.row)
        return _reduced(message)


def _reduced(value: tuple[Any, ...]) -> tuple[Any, ...]:
    # what pickle has an opcode for; typeshed does not know it
    return copyreg.__newobj__, (type(value), *value)  # type: ignore[attr-defined]


class _Unpacker(pickle.Unpickler):
    def __init__(self, octets: BytesIO, kept: Sequence[object]) -> None:
        super().__init__(octets)
        self._kept = kept

    def persistent_load(self, place: int) -> object:
        return self._kept[place]
