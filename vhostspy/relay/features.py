"""The first policy: change which features the back-end seems to offer.

``--mask-features`` and ``--offer-features`` act on the virtio feature word in the reply to GET_FEATURES,
``--mask-protocol-features`` and ``--offer-protocol-features`` on the reply to GET_PROTOCOL_FEATURES. What comes after
is the peers' own doing: what the front-end acknowledges goes on as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Mapping

from vhostspy.dissectors.rows import BACK_END
from vhostspy.dissectors.vhost_user import PROTOCOL_FEATURES
from vhostspy.errors import WrongUse

from .policy import Intercepted, Policy, PolicyMaker, Verdict

GET_FEATURES = 1
GET_PROTOCOL_FEATURES = 15
_HEADER = 12


class OfferedFeatures:
    """``changes``: message id -> (bits to clear, bits to set)."""

    def __init__(self, changes: Mapping[int, tuple[int, int]]) -> None:
        self._changes = changes

    def wants(self, protocol: str, channel: str, sender: int) -> Container[int]:
        return self._changes if (protocol, channel, sender) == ("vhost-user", "main", BACK_END) else ()

    def decide(self, message: Intercepted) -> Verdict:
        if not message.is_reply or len(message.data) != _HEADER + 8:
            return Verdict()
        clear, add = self._changes[message.id]
        came = int.from_bytes(message.data[_HEADER:], sys.byteorder)
        goes = came & ~clear | add
        if goes == came:
            return Verdict()
        by = "mask" if came & ~goes else "offer"
        return Verdict(data=message.data[:_HEADER] + goes.to_bytes(8, sys.byteorder), by=by)


def policy_maker(mask: int, offer: int, mask_protocol: int, offer_protocol: int) -> PolicyMaker | None:
    """For each session the same changes; None if there are none.

    Raises WrongUse for a bit that is to be both cleared and set.
    """
    for word, cleared, added in (("features", mask, offer), ("protocol-features", mask_protocol, offer_protocol)):
        if cleared & added:
            bit = (cleared & added).bit_length() - 1
            raise WrongUse(f"bit {bit} is in --mask-{word} and in --offer-{word}: it can be only one of them")
    changes: dict[int, tuple[int, int]] = {}
    if mask or offer:
        changes[GET_FEATURES] = (mask, offer)
    if mask_protocol or offer_protocol:
        changes[GET_PROTOCOL_FEATURES] = (mask_protocol, offer_protocol)
    if not changes:
        return None
    policy: Policy = OfferedFeatures(changes)
    return lambda hands: policy


def protocol_feature_bits(texts: Iterable[str]) -> int:
    """The bits of ``--mask-protocol-features``: names or bit numbers, with commas; 0x… is a whole word of bits."""
    return _bits(texts, _by_name({"": PROTOCOL_FEATURES.names}), "", "protocol feature")


def virtio_feature_bits(texts: Iterable[str], device: str) -> int:
    """The bits of ``--mask-features``. The same name can be another bit elsewhere: then ``device`` must say which."""
    from vhostspy.dissectors.virtio import COMMON_FEATURES, DEVICES, find

    given = find(device)
    tables = {"": COMMON_FEATURES.names}
    for name, known in DEVICES.items():
        if given is None or known is given:
            tables[name] = known.features
    return _bits(texts, _by_name(tables), device, "feature")


def _by_name(tables: Mapping[str, Mapping[int, str]]) -> dict[str, dict[int, list[str]]]:
    found: dict[str, dict[int, list[str]]] = {}
    for table, names in tables.items():
        for bit, name in names.items():
            found.setdefault(name, {}).setdefault(bit, []).append(table)
    return found


def _bits(texts: Iterable[str], known: Mapping[str, Mapping[int, list[str]]], device: str, what: str) -> int:
    word = 0
    for item in (item.strip() for text in texts for item in text.split(",")):
        if not item:
            continue
        if item.lower().startswith("0x"):
            try:
                bits = int(item, 16)
            except ValueError:
                raise WrongUse(f"{item} is no hexadecimal number") from None
            if bits >> 64:
                raise WrongUse(f"{item} has more than 64 bits")
            word |= bits
            continue
        if item.isdecimal():
            if int(item) > 63:
                raise WrongUse(f"bit {item}: a feature word has the bits 0 to 63 (a whole word is written 0x…)")
            word |= 1 << int(item)
            continue
        name = item.upper().replace("-", "_")
        # as headers write them: VIRTIO_F_VERSION_1, VIRTIO_NET_F_MQ, VHOST_USER_PROTOCOL_F_CONFIG
        prefix, parted, bare = name.partition("_F_")
        if parted and prefix.startswith(("VIRTIO", "VHOST")):
            name = bare
        places = known.get(name)
        if places is None:
            from vhostspy.nearest import nearest

            raise WrongUse(
                f"{item} is no {what} that vhostspy knows{nearest(name, known)}; a bit's number will do as well"
            )
        if len(places) > 1 and parted:
            from vhostspy.dissectors.virtio import find

            said = find(prefix.removeprefix("VIRTIO_").lower())
            places = {bit: tables for bit, tables in places.items() if said and said.name in tables} or places
        if len(places) > 1:
            each = ", ".join(f"bit {bit} of {'/'.join(tables)}" for bit, tables in sorted(places.items()))
            raise WrongUse(f"{item} is {each}: say which with --device, or give the bit's number")
        bit = next(iter(places))
        if bit > 63:
            raise WrongUse(f"{item} is bit {bit}, and vhost-user's feature word ends at bit 63")
        word |= 1 << bit
    return word
