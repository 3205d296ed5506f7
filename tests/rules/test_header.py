"""Versions, flags, numbers, sizes."""

from __future__ import annotations

from struct import pack

import pytest

from .talk import Talk, broken

FRONT, BACK = 0, 1
SET_OWNER = 3


def header(id: int, flags: int = 1, size: int = 0) -> bytes:
    return pack("<III", id, flags, size)


@pytest.mark.parametrize("flags, wrong", [(1, False), (0, True), (2, True), (3, True)])
def test_the_version_is_1(flags: int, wrong: bool) -> None:
    talk = Talk()
    talk.octets(header(SET_OWNER, flags))
    assert broken(talk, "VU-HDR-01") == [("error", FRONT, 1)] * wrong
