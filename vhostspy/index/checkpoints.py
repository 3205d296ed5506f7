"""What the pipeline knew at many moments: as octets, a tenth of what the values take.

Packed is what changes from one moment to the next. Sessions in which nothing happens any more, and the rows of the
protocols, stay as they are and are referred to. ``pickle`` only reads what it wrote: nothing of it comes from outside.
"""

from __future__ import annotations

import copyreg
import pickle
import zlib
from io import BytesIO
from typing import Any, Final

from vhostspy.dissectors.rows import Message as Row
from vhostspy.message import Message
from vhostspy.pipeline import Snapshot
from vhostspy.session.state import Session

#: zlib's; others take longer for little
_LEVEL: Final = 1


class Checkpoints:
    """A sequence of snapshots that only grows."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._kept: list[Session | Row] = []
        #: id -> place in ``_kept``
        self._places: dict[int, int] = {}
        self._last: tuple[Session, ...] = ()
        self._changing: set[int] = set()

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, place: int) -> Snapshot:
        known: Snapshot = _Unpacker(BytesIO(zlib.decompress(self._packed[place])), self._kept).load()
        return known

    def append(self, known: Snapshot) -> None:
        before, ended = {id(session) for session in self._last}, {*known.ended}
        self._changing = {id(one) for one in known.sessions if id(one) not in before and one.number not in ended}
        self._last = known.sessions
        octets = BytesIO()
        _Packer(octets, self).dump(known)
        self._packed.append(zlib.compress(octets.getvalue(), _LEVEL))

    def keep(self, value: Session | Row) -> int | None:
        """Where that is kept; None: it is one to be packed."""
        if id(value) in self._changing:
            return None
        place = self._places.get(id(value))
        if place is None:
            place = self._places[id(value)] = len(self._kept)
            self._kept.append(value)
        return place


def _reduced(message: Message) -> tuple[Any, ...]:
    """Without what was decoded, which is found again when somebody asks."""
    return copyreg.__newobj__, (Message, *message)  # type: ignore[attr-defined]


class _Packer(pickle.Pickler):
    dispatch_table = {Message: _reduced}

    def __init__(self, octets: BytesIO, checkpoints: Checkpoints) -> None:
        super().__init__(octets, pickle.HIGHEST_PROTOCOL)
        self._checkpoints = checkpoints

    def persistent_id(self, value: object) -> int | None:
        return self._checkpoints.keep(value) if isinstance(value, Session | Row) else None


class _Unpacker(pickle.Unpickler):
    def __init__(self, octets: BytesIO, kept: list[Session | Row]) -> None:
        super().__init__(octets)
        self._kept = kept

    def persistent_load(self, place: int) -> Session | Row:
        return self._kept[place]
