"""In-band notifications; network, crypto and gpu devices."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from vhostspy.capture.record import Descriptor

from .steps import FRONT, MODERN, agreed, running
from .talk import Talk, broken

INBAND, MTU, CRYPTO = 1 << 14 | 1 << 5 | 1 << 3, 1 << 4, 1 << 7
SOCKET = Descriptor("socket", "socket", "rw", 8, 5, name="socket:[5]")


@pytest.mark.parametrize("protocol, num, wrong", [(INBAND, 0, 0), (INBAND, 1, 1), (0, 0, 1)])
def test_in_band_kicks(protocol: int, num: int, wrong: int) -> None:
    talk = running(protocol)
    no = talk.front_end("VRING_KICK", index=0, num=num).no
    assert broken(talk, "VU-IB-01") == [("error", FRONT, no)] * wrong


@pytest.mark.parametrize("need_reply", [False, True])
def test_in_band_kicks_that_are_not_waited_for(need_reply: bool) -> None:
    talk = running(INBAND)
    no = talk.front_end("VRING_KICK", need_reply=need_reply, index=0, num=0).no
    assert broken(talk, "VU-IB-02") == [("warning", FRONT, no)] * (not need_reply)


@pytest.mark.parametrize(
    "virtio, mtu, wrong",
    [(MODERN | 1 << 3, 1500, 0), (MODERN | 1 << 3, 67, 1), (MODERN | 1 << 3, 65536, 1), (MODERN, 1500, 1)],
)
def test_an_mtu(virtio: int, mtu: int, wrong: int) -> None:
    talk = agreed(MTU, virtio)
    no = talk.front_end("NET_SET_MTU", mtu=mtu).no
    assert broken(talk, "VU-NET-01") == [("warning", FRONT, no)] * wrong


def session(**changed: int) -> bytes:
    """A symmetric crypto session, 1072 bytes: the members that matter, the rest zeros."""
    from vhostspy.dissectors import codec, registry

    rows = registry.channel("vhost-user", "main")
    assert rows is not None
    row = next(row for row in rows.messages.values() if row.name == "CREATE_CRYPTO_SESSION")
    read = codec.decode(row, False, bytes(1072), codec.NOTHING_KNOWN, "<")
    fields: dict[str, Any] = {**read.fields, **changed}
    return codec.encode(row, False, fields, codec.NOTHING_KNOWN)


def create(talk: Talk, answer: int, **changed: int) -> tuple[int, int]:
    asked = talk.octets(pack("<III", 26, 1, 1072) + session(**changed)).no
    body = session()[:-8] + pack("<q", answer)
    return asked, talk.octets(pack("<III", 26, 5, 1072) + body, sender=1).no


@pytest.mark.parametrize("answer", [0, -1])
def test_a_crypto_session_that_is_refused(answer: int) -> None:
    talk = agreed(CRYPTO)
    _, no = create(talk, answer)
    assert broken(talk, "VU-CR-02") == [("error", None, no)] * (answer < 0)


@pytest.mark.parametrize("length", [64, 65])
def test_a_key_that_is_too_long(length: int) -> None:
    """CVE-2020-10724."""
    talk = agreed(CRYPTO)
    no, _ = create(talk, 0, cipher_key_length=length)
    assert broken(talk, "VU-CR-02") == [("error", FRONT, no)] * (length > 64)


@pytest.mark.parametrize("number", [7, 8])
def test_a_crypto_session_that_nobody_made(number: int) -> None:
    talk = agreed(CRYPTO)
    create(talk, 7)
    no = talk.front_end("CLOSE_CRYPTO_SESSION", session_id=number).no
    assert broken(talk, "VU-CR-03") == [("warning", FRONT, no)] * (number != 7)


@pytest.mark.parametrize("times", [1, 2])
def test_a_gpu_gets_its_socket(times: int) -> None:
    talk = agreed()
    assert broken(talk, "VU-GPU-02") == []
    no = [talk.front_end("GPU_SET_SOCKET", fds=[SOCKET]).no for _ in range(times)][-1]
    assert broken(talk, "VU-GPU-01") == [("warning", FRONT, no)] * (times - 1)
    assert broken(talk, "VU-GPU-02") == [("note", FRONT, no - times + 1)]


def test_another_device_gets_a_gpus_socket() -> None:
    talk = agreed(virtio=MODERN | 1 << 15)
    assert talk.state.device == "net"
    no = talk.front_end("GPU_SET_SOCKET", fds=[SOCKET]).no
    assert broken(talk, "VU-GPU-01") == [("warning", FRONT, no)]
