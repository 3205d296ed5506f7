"""SET_OWNER, RESET_OWNER, RESET_DEVICE."""

from __future__ import annotations

import pytest

from ..pipeline.conversation import KICK
from .talk import Talk, broken, features

FRONT = 0


def test_a_ring_that_starts_in_a_session_that_nobody_owns() -> None:
    talk = Talk()
    talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    assert broken(talk, "VU-OWN-01") == [("warning", FRONT, 1)]


def test_a_ring_that_starts_in_an_owned_session() -> None:
    """SET_OWNER may come as late as libkrun sends it."""
    talk = Talk()
    features(talk)
    talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    assert broken(talk, "VU-OWN-01") == []


def test_owned_twice() -> None:
    """rust-vmm refuses the second."""
    talk = Talk()
    talk.front_end("SET_OWNER")
    assert broken(talk, "VU-OWN-02") == []
    talk.front_end("SET_OWNER")
    assert broken(talk, "VU-OWN-02") == [("error", FRONT, 2)]


def test_owned_again_after_it_was_given_up() -> None:
    talk = Talk()
    talk.front_end("SET_OWNER")
    assert broken(talk, "VU-OWN-04") == []
    talk.front_end("RESET_OWNER")
    talk.front_end("SET_OWNER")
    assert broken(talk, "VU-OWN-02") == []
    assert broken(talk, "VU-OWN-04") == [("warning", FRONT, 2)]


@pytest.mark.parametrize("front_end, note", [(None, True), ("qemu", False)])
def test_owned_late(front_end: str | None, note: bool) -> None:
    talk = Talk(profile=(front_end, None))
    features(talk)
    assert broken(talk, "VU-OWN-03") == [("note", FRONT, 6)] * note


def test_owned_first() -> None:
    talk = Talk()
    talk.front_end("SET_OWNER")
    talk.front_end("GET_FEATURES")
    assert broken(talk, "VU-OWN-03") == []


@pytest.mark.parametrize("again", [False, True])
def test_a_ring_after_a_reset(again: bool) -> None:
    talk = Talk()
    features(talk, protocol=1 << 13)
    talk.front_end("SET_VRING_NUM", index=0, num=256)
    talk.front_end("RESET_DEVICE")
    if again:
        talk.front_end("SET_VRING_NUM", index=0, num=256)
    talk.front_end("SET_VRING_KICK", index=0, fds=[KICK])
    assert broken(talk, "VU-OWN-06") == ([] if again else [("warning", FRONT, 10)])
