"""--mask-features and its neighbours: which bits a name means, and what becomes of the back-end's offer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from vhostspy.capture import record
from vhostspy.dissectors.rows import BACK_END, FRONT_END
from vhostspy.errors import WrongUse
from vhostspy.relay.features import OfferedFeatures, policy_maker, protocol_feature_bits, virtio_feature_bits
from vhostspy.relay.policy import Intercepted

from .harness import Relayed, message, messages, receive, send

GET_FEATURES, GET_PROTOCOL_FEATURES = 1, 15
VERSION_1, RING_PACKED = 1 << 32, 1 << 34


@pytest.mark.parametrize(
    ("texts", "device", "bits"),
    [
        (["VERSION_1"], "", VERSION_1),
        (["version_1"], "", VERSION_1),
        (["version-1"], "", VERSION_1),
        (["VIRTIO_F_VERSION_1"], "", VERSION_1),
        (["VIRTIO_RING_F_EVENT_IDX"], "", 1 << 29),
        (["VHOST_USER_F_PROTOCOL_FEATURES"], "", 1 << 30),
        (["VHOST_F_LOG_ALL"], "", 1 << 26),
        (["VIRTIO_NET_F_MRG_RXBUF"], "", 1 << 15),
        (["VERSION_1,RING_PACKED"], "", VERSION_1 | RING_PACKED),
        (["VERSION_1", "RING_PACKED"], "", VERSION_1 | RING_PACKED),
        ([" VERSION_1 , 3 ,"], "", VERSION_1 | 8),
        (["0"], "", 1),
        (["63"], "", 1 << 63),
        (["0x0"], "", 0),
        (["0xff,8"], "", 0x1FF),
        (["0xFFFFFFFFFFFFFFFF"], "", (1 << 64) - 1),
        (["MQ"], "net", 1 << 22),
        (["MQ"], "block", 1 << 12),
        (["VIRTIO_NET_F_MQ"], "", 1 << 22),
        (["VIRTIO_BLK_F_MQ"], "", 1 << 12),
        (["flush"], "block", 1 << 9),
        (["flush"], "", 1 << 9),
        ([], "", 0),
        ([""], "", 0),
    ],
    ids=str,
)
def test_names_and_numbers_of_virtio_features(texts: list[str], device: str, bits: int) -> None:
    assert virtio_feature_bits(texts, device) == bits


@pytest.mark.parametrize(
    ("texts", "bits"),
    [
        (["MQ"], 1),
        (["VHOST_USER_PROTOCOL_F_CONFIG"], 1 << 9),
        (["reply-ack,inflight_shmfd"], 8 | 1 << 12),
        (["40"], 1 << 40),
    ],
    ids=str,
)
def test_names_and_numbers_of_protocol_features(texts: list[str], bits: int) -> None:
    assert protocol_feature_bits(texts) == bits


@pytest.mark.parametrize(
    ("item", "device", "words"),
    [
        ("VERSON_1", "", ["VERSON_1 is no feature that vhostspy knows", "did you mean VERSION_1?", "bit's number"]),
        ("MQ", "", ["MQ is bit 12 of block, bit 22 of net", "--device"]),
        ("FLUSH", "net", ["FLUSH is no feature"]),
        ("64", "", ["bit 64", "0 to 63"]),
        ("0x", "", ["hexadecimal"]),
        ("0xg", "", ["hexadecimal"]),
        ("0x10000000000000000", "", ["64 bits"]),
        ("IPSEC", "net", ["bit 70", "bit 63"]),
        ("-1", "", ["-1 is no feature"]),
        ("1.5", "", ["1.5 is no feature"]),
        ("VIRTIO_F_", "", ["is no feature"]),
    ],
)
def test_the_sentence_for_what_is_no_feature(item: str, device: str, words: list[str]) -> None:
    with pytest.raises(WrongUse) as wrong:
        virtio_feature_bits([item], device)
    for word in words:
        assert word in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_bit_cannot_be_both_cleared_and_set() -> None:
    with pytest.raises(WrongUse, match="bit 5 is in --mask-features and in --offer-features"):
        policy_maker(0x30, 0x20, 0, 0)
    with pytest.raises(WrongUse, match="protocol-features"):
        policy_maker(0, 0x20, 1, 1)


def test_without_changes_there_is_no_policy() -> None:
    assert policy_maker(0, 0, 0, 0) is None


def offer(number: int, value: int, *, reply: bool = True, size: int = 8) -> bytes:
    return message(number, value.to_bytes(8, sys.byteorder)[:size], reply=reply)


class Offered(Relayed):
    """A relay that changes offers, with one session."""

    def __init__(self, folder: Path, *changes: int, **more: Any) -> None:
        super().__init__(folder, new_policy=policy_maker(*changes), **more)
        self.session_ends = self.open()

    def passed(self, data: bytes, sender: int = BACK_END) -> bytes:
        """What the other side gets."""
        send(self.session_ends[sender], data)
        return receive(self.session_ends[1 - sender]).data


def test_the_offer_is_changed_and_both_forms_are_recorded(folder: Path) -> None:
    with Offered(folder, 0x0F, 0x100, 0x1, 0x200) as relayed:
        assert relayed.passed(offer(GET_FEATURES, 0xFF)) == offer(GET_FEATURES, 0x1F0)
        assert relayed.passed(offer(GET_PROTOCOL_FEATURES, 0x3)) == offer(GET_PROTOCOL_FEATURES, 0x202)
        records = messages(relayed.stop())
    assert [(one.number, one.data[12:]) for one in records] == [
        (number, value.to_bytes(8, sys.byteorder)) for number, value in ((1, 0xFF), (1, 0x1F0), (2, 0x3), (2, 0x202))
    ]
    flags = [one.flags & (record.ORIGINAL | record.CHANGED) for one in records]
    assert flags == [record.ORIGINAL, record.CHANGED] * 2
    assert {record.BY[one.flags >> record.BY_SHIFT] for one in records} == {"mask"}


def test_what_only_adds_says_so(folder: Path) -> None:
    with Offered(folder, 0, 0x100, 0, 0) as relayed:
        relayed.passed(offer(GET_FEATURES, 0xFF))
        assert {record.BY[one.flags >> record.BY_SHIFT] for one in messages(relayed.stop())} == {"offer"}


@pytest.mark.parametrize(
    ("data", "sender"),
    [
        (offer(GET_FEATURES, 0xF0), BACK_END),  # nothing to clear in it
        (offer(GET_FEATURES, 0xFF, reply=False), BACK_END),  # no reply
        (offer(GET_FEATURES, 0xFF, size=4), BACK_END),  # no feature word
        (offer(GET_FEATURES, 0xFF), FRONT_END),  # not the back-end's
        (offer(GET_PROTOCOL_FEATURES, 0xFF), BACK_END),  # the other word
        (offer(2, 0xFF, reply=False), FRONT_END),  # SET_FEATURES: the front-end's own doing
        (message(GET_FEATURES), FRONT_END),
    ],
)
def test_everything_else_passes_as_it_is(folder: Path, data: bytes, sender: int) -> None:
    with Offered(folder, 0x0F, 0, 0, 0) as relayed:
        assert relayed.passed(data, sender) == data
        (only,) = messages(relayed.stop())
        assert not only.flags & (record.ORIGINAL | record.CHANGED)


def test_an_offer_on_a_nested_channel_is_none() -> None:
    policy = OfferedFeatures({GET_FEATURES: (1, 0)})
    assert policy.wants("vhost-user", "backend", BACK_END) == ()
    assert policy.wants("vfio-user", "main", BACK_END) == ()
    assert policy.wants("vhost-user", "main", FRONT_END) == ()


def test_a_policy_touches_no_descriptors() -> None:
    policy = OfferedFeatures({GET_FEATURES: (1, 0)})
    verdict = policy.decide(
        Intercepted("vhost-user", "main", 1, BACK_END, GET_FEATURES, True, offer(GET_FEATURES, 3), (5,))
    )
    assert verdict.fds is None
    assert verdict.data == offer(GET_FEATURES, 2)
