"""Which device it is, by what a back-end offers and answers."""

from __future__ import annotations

import pytest

from vhostspy.dissectors import virtio
from vhostspy.pipeline import Pipeline
from vhostspy.session.device import CONFIG_SIZES, MESSAGES, Evidence, infer

from ..pipeline.conversation import Conversation, features

#: features as offered, configuration space in bytes, what it is
SEEN = [
    ("block by its configuration space", 0x170001A44, 0x8F2B, 60, "block"),
    ("block by SEG_MAX and BLK_SIZE", 0x170001A44, 0x8D2B, None, "block"),
    ("common features only", 0x174000000, 0x8A42B, None, None),
    ("net by MRG_RXBUF", 0x144008000, 0x8000E, None, "net"),
    ("vsock", 0x170000000, 0x209, 8, "vsock"),
    ("net, though CRYPTO_SESSION is offered too, as DPDK does", 0x144008000, 0x10CBF, None, "net"),
    ("a file system with a tag", 0x170000000, 0x200, 40, "fs"),
    ("an input device", 0x170000000, 0x200, 136, "input"),
    ("a crypto device", 0x170000000, 0x80, 56, "crypto"),
]


@pytest.mark.parametrize(("name", "virtio_features", "protocol", "config", "device"), SEEN)
def test_device_by_its_marks(
    name: str, virtio_features: int, protocol: int, config: int | None, device: str | None
) -> None:
    guess = infer(Evidence(virtio_features, protocol, config))
    assert (guess.device if guess else None) == device


def test_nothing_is_guessed_from_nothing() -> None:
    assert infer(Evidence()) is None
    assert infer(Evidence(virtio=1 << 30, protocol=0, config_size=7)) is None


def test_guesses_are_devices_there_are() -> None:
    for device in (*MESSAGES.values(), *(device for devices in CONFIG_SIZES.values() for device in devices)):
        assert device in virtio.DEVICES


def test_the_reply_that_shows_the_device_is_not_yet_read_by_it_but_the_next_is() -> None:
    conversation = Conversation()
    features(conversation, protocol=1 << 9)
    config = bytes(36) + b"\1\0\0\0"
    asked = {"offset": 0, "length": 40, "config_flags": 0, "config": bytes(40)}
    conversation.ask("GET_CONFIG", asked | {"config": config}, **asked)
    assert conversation.state.device == "fs"
    _, again = conversation.ask("GET_CONFIG", asked | {"config": b"myfs" + config[4:]}, **asked)
    assert again.names["config"]["tag"] == "myfs"


def test_what_the_user_says_is_not_guessed_over() -> None:
    conversation = Conversation(Pipeline(device="gpio"))
    conversation.front_end("NET_SET_MTU", mtu=1500)
    assert conversation.state.device == "gpio"
