"""Translations of I/O virtual addresses, as IOTLB_MSG told them. Values only.

Source: vhost-user, IOTLB message, IOMMU support.
"""

from __future__ import annotations

from typing import NamedTuple

from vhostspy.message import Message

_UPDATE, _INVALIDATE = 2, 3
#: peers may tell ever more; the oldest are let go
MOST = 65_536


class Translation(NamedTuple):
    """``size`` bytes from ``iova`` on are at ``address``: the front-end's, or with GPA_ADDRESSES the guest's."""

    iova: int
    size: int
    address: int


#: in the order in which they came
Translations = tuple[Translation, ...]


def after(known: Translations, message: Message) -> Translations:
    """What is translated once ``message`` has passed."""
    if message.name != "IOTLB_MSG" or message.channel != "main" or message.kind != "request" or message.dropped:
        return known
    fields = message.fields
    kind, iova, size = fields.get("type"), fields.get("iova"), fields.get("length")
    if kind not in (_UPDATE, _INVALIDATE) or not isinstance(iova, int) or not isinstance(size, int):
        return known
    rest = tuple(one for one in known if one.iova + one.size <= iova or iova + size <= one.iova)
    if kind == _INVALIDATE:
        return rest
    return (*rest[-MOST + 1 :], Translation(iova, size, fields["user_address"]))


def translate(known: Translations, iova: int) -> tuple[int, int] | None:
    """The address there, and how many bytes from it on belong together; None: nobody has told."""
    for one in reversed(known):
        if one.iova <= iova < one.iova + one.size:
            return one.address + iova - one.iova, one.iova + one.size - iova
    return None
