"""The numbers of vhost-user and virtio-blk that the synthetic peers use, written down a second time.

Source: QEMU docs/interop/vhost-user.rst; virtio 1.3, Block Device.
"""

from __future__ import annotations

from enum import IntEnum

# header flags
VERSION = 0x1
REPLY = 0x4
NEED_REPLY = 0x8

#: bit 8 of the word that comes with KICK, CALL and ERR: no descriptor, poll instead
NOFD = 0x100


class Request(IntEnum):
    """Front-end to back-end, main channel."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SET_BACKEND_REQ_FD = 21
    GET_CONFIG = 24
    SET_CONFIG = 25
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    RESET_DEVICE = 34
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40


class BackendRequest(IntEnum):
    """Back-end to front-end, back-end channel."""

    CONFIG_CHANGE_MSG = 2


class Feature(IntEnum):
    """Bits of the virtio feature word."""

    BLK_SEG_MAX = 2
    BLK_BLK_SIZE = 6
    BLK_FLUSH = 9
    BLK_CONFIG_WCE = 11
    BLK_MQ = 12
    LOG_ALL = 26
    INDIRECT_DESC = 28
    PROTOCOL_FEATURES = 30
    VERSION_1 = 32


class ProtocolFeature(IntEnum):
    MQ = 0
    LOG_SHMFD = 1
    REPLY_ACK = 3
    BACKEND_REQ = 5
    CONFIG = 9
    BACKEND_SEND_FD = 10
    INFLIGHT_SHMFD = 12
    RESET_DEVICE = 13
    CONFIGURE_MEM_SLOTS = 15
    STATUS = 16


def bits(*numbers: int) -> int:
    """The word in which exactly these bits are set."""
    word = 0
    for number in numbers:
        word |= 1 << number
    return word


def has(word: int, bit: int) -> bool:
    return bool(word >> bit & 1)


def request_name(number: int) -> str:
    """For sentences: the request's name, or ``message 77`` for one these peers don't know."""
    try:
        return Request(number).name
    except ValueError:
        return f"message {number}"
