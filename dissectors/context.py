"""What was agreed on before a message: by it a layout is chosen where several are possible."""

from __future__ import annotations

from typing import NamedTuple

from .rows import Gate, Layout


class Context(NamedTuple):
    """The agreement as far as it is known (None: it is not, the capture began in the middle)."""

    virtio_features: int | None = None
    protocol_features: int | None = None
    #: type of device, as in ``virtio.DEVICES``
    device: str | None = None
    #: the back-end listens for page faults
    postcopy: bool = False


NOTHING_KNOWN = Context()


def doubt(layout: Layout, context: Context) -> int:
    """0: this layout may be; 1: it needs what is not known; 2: it needs what was not agreed on."""
    if layout.postcopy and not context.postcopy:
        return 2
    return max((_DOUBT[agreed(gate, context)] for gate in layout.needs), default=0)


_DOUBT = {True: 0, None: 1, False: 2}


def agreed(gate: Gate, context: Context) -> bool | None:
    """Whether the feature was agreed on; None: that is not known."""
    word = context.virtio_features if gate.word == "virtio" else context.protocol_features
    return None if word is None else gate.agreed(word)


def rarity(layout: Layout) -> tuple[bool, bool, bool, bool]:
    """Of several forms of a payload the lowest is the usual one, that of peers which agreed on nothing special."""
    return not layout.members, layout.postcopy, bool(layout.needs), layout.when is not None
