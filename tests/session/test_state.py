"""What a session knows after a few messages."""

from __future__ import annotations

from typing import Any

import pytest

from vhostspy.dissectors.vhost_user import FRONT_END_MESSAGES
from vhostspy.session.state import Ended, Line, Region, Session

from ..pipeline.conversation import CALL, KICK, MS, RAM, START_NS, Conversation, features

REGION: dict[str, Any] = {"guest_address": 0, "length": 512 << 20, "user_address": 0x7F0000000000, "mmap_offset": 0}
PROTOCOL_FEATURES = 1 << 30
VERSION_1 = 1 << 32
LOG_ALL = 1 << 26


@pytest.fixture
def conversation() -> Conversation:
    return Conversation()


@pytest.fixture
def agreed(conversation: Conversation) -> Conversation:
    features(conversation)
    return conversation


def test_offered_and_agreed(conversation: Conversation) -> None:
    conversation.ask("GET_FEATURES", {"features": PROTOCOL_FEATURES | VERSION_1})
    session: Session = conversation.state
    assert (session.virtio_offered, session.virtio_agreed) == (PROTOCOL_FEATURES | VERSION_1, 0)
    conversation.front_end("SET_FEATURES", features=VERSION_1)
    conversation.ask("GET_PROTOCOL_FEATURES", {"protocol_features": 0b1011})
    conversation.front_end("SET_PROTOCOL_FEATURES", protocol_features=0b1000)
    session = conversation.state
    assert (session.virtio_agreed, session.protocol_offered, session.protocol_agreed) == (VERSION_1, 0b1011, 0b1000)


def test_what_was_agreed_before_the_capture_began_is_not_known() -> None:
    conversation = Conversation(whole=False)
    conversation.front_end("SET_OWNER")
    session: Session = conversation.state
    assert (session.whole, session.virtio_agreed, session.protocol_agreed) == (False, None, None)


def test_a_memory_table_replaces_the_one_before(agreed: Conversation) -> None:
    agreed.front_end("SET_MEM_TABLE", fds=[RAM], count=1, regions=[REGION])
    table = agreed.front_end("SET_MEM_TABLE", fds=[RAM], count=1, regions=[REGION | {"length": 4096}])
    assert agreed.state.regions == (Region(0, 4096, 0x7F0000000000, 0, table.no, RAM),)


def test_regions_come_and_go_by_slot(agreed: Conversation) -> None:
    above: dict[str, Any] = REGION | {"guest_address": 1 << 32}
    first: dict[str, Any] = REGION | {"mmap_offset": 0x5000}  # the offset does not count
    agreed.front_end("ADD_MEM_REG", fds=[RAM], **REGION)
    agreed.front_end("ADD_MEM_REG", fds=[RAM], **above)
    agreed.front_end("REM_MEM_REG", **first)
    assert [region.guest_address for region in agreed.state.regions] == [1 << 32]


def test_a_ring_from_size_to_start_to_stop(agreed: Conversation) -> None:
    agreed.front_end("SET_VRING_NUM", index=1, num=256)
    agreed.front_end("SET_VRING_BASE", index=1, num=7)
    agreed.front_end(
        "SET_VRING_ADDR", index=1, log_used=True, descriptor=0x1000, used=0x2000, available=0x3000, log_address=5
    )
    call = agreed.front_end("SET_VRING_CALL", fds=[CALL], index=1)
    ring = agreed.state.rings[1]
    assert (ring.size, ring.base, ring.addresses, ring.logged) == (256, 7, (0x1000, 0x2000, 0x3000, 5), True)
    assert (ring.call, ring.kick, ring.started, ring.enabled) == (Line(call.no, CALL), None, False, False)

    agreed.front_end("SET_VRING_KICK", fds=[KICK], index=1)
    agreed.front_end("SET_VRING_ENABLE", index=1, num=1)
    ring = agreed.state.rings[1]
    assert (ring.started, ring.enabled, ring.kick.fd) == (True, True, KICK)

    agreed.front_end("SET_VRING_ENABLE", index=1, num=0)
    agreed.front_end("GET_VRING_BASE", index=1, num=0)
    assert not agreed.state.rings[1].started
    agreed.reply("GET_VRING_BASE", index=1, num=19)
    ring = agreed.state.rings[1]
    assert (ring.base, ring.started, ring.enabled) == (19, False, False)


def test_a_polled_ring_has_a_kick_that_is_no_descriptor(agreed: Conversation) -> None:
    kick = agreed.front_end("SET_VRING_KICK", index=0, nofd=True)
    ring = agreed.state.rings[0]
    assert (ring.kick, ring.started) == (Line(kick.no, None), True)


def test_without_the_protocol_features_bit_all_rings_are_enabled(conversation: Conversation) -> None:
    conversation.front_end("SET_VRING_CALL", fds=[CALL], index=0)
    assert not conversation.state.rings[0].enabled
    conversation.front_end("SET_FEATURES", features=VERSION_1)
    conversation.front_end("SET_VRING_NUM", index=1, num=128)
    assert [ring.enabled for ring in conversation.state.rings.values()] == [True, True]


def test_a_packed_base_is_one_word(conversation: Conversation) -> None:
    features(conversation, virtio=PROTOCOL_FEATURES | VERSION_1 | 1 << 34)
    conversation.front_end(
        "SET_VRING_BASE", index=0, available_index=5, available_wrap=True, used_index=3, used_wrap=True
    )
    assert conversation.state.rings[0].base == 0x8003_8005


def test_a_device_reset_forgets_rings_and_keeps_memory(agreed: Conversation) -> None:
    owner = agreed.state.owner
    agreed.front_end("ADD_MEM_REG", fds=[RAM], **REGION)
    agreed.front_end("SET_VRING_NUM", index=0, num=256)
    agreed.front_end("SET_VRING_KICK", fds=[KICK], index=0)
    agreed.front_end("RESET_DEVICE")
    session: Session = agreed.state
    assert (session.rings[0].size, session.rings[0].started) == (None, False)
    assert (len(session.regions), session.owner) == (1, owner)


def test_logging_is_on_while_its_bit_is_agreed(agreed: Conversation) -> None:
    agreed.front_end("SET_LOG_BASE", fds=[RAM._replace(role="log")], mmap_length=0x8000, mmap_offset=0)
    assert not agreed.state.logging
    agreed.front_end("SET_FEATURES", features=PROTOCOL_FEATURES | VERSION_1 | LOG_ALL)
    assert agreed.state.logging
    assert agreed.state.log.size == 0x8000


def test_inflight_status_and_limits(agreed: Conversation) -> None:
    agreed.ask("GET_INFLIGHT_FD", {"mmap_length": 4096, "mmap_offset": 0, "num_queues": 2, "queue_size": 128},
               mmap_length=0, mmap_offset=0, num_queues=2, queue_size=128)  # fmt: skip
    agreed.front_end("SET_STATUS", status=0xB)
    agreed.ask("GET_QUEUE_NUM", {"queues": 8})
    agreed.ask("GET_MAX_MEM_SLOTS", {"slots": 32})
    session: Session = agreed.state
    assert session.inflight is not None
    assert (session.inflight.size, session.inflight.queues, session.inflight.queue_size) == (4096, 2, 128)
    assert (session.status, session.queues, session.slots) == (0xB, 8, 32)


def test_postcopy_ends_where_the_back_end_refuses_to_listen(agreed: Conversation) -> None:
    agreed.front_end("POSTCOPY_ADVISE")
    agreed.front_end("POSTCOPY_LISTEN", need_reply=True)
    assert (agreed.state.postcopy, agreed.state.context.postcopy) == ("listening", True)
    agreed.reply("POSTCOPY_LISTEN", value=2**64 - 1)
    assert (agreed.state.postcopy, agreed.state.context.postcopy) == ("advised", False)


def test_channels_and_who_closed_first(agreed: Conversation) -> None:
    agreed.event("channel", sender=0, channel="backend", after=9)
    agreed.front_end("SET_OWNER")
    agreed.event("eof", sender=1, after=8)
    agreed.event("eof", sender=0, after=8)
    session: Session = agreed.state
    assert session.channels["backend", 1].by == 9
    assert session.channels["main", 1].closed == ((1, "eof"), (0, "eof"))
    assert session.ended == Ended(1, "eof", 8, 8, START_NS + agreed.at - 2 * MS)


def test_a_session_knows_the_one_before_on_the_same_sockets(conversation: Conversation) -> None:
    conversation.front_end("SET_STATUS", status=1)
    conversation.event("close")
    again = Conversation(conversation.pipeline, session=2, whole=False)
    again.octets(bytes.fromhex("03000000 01000000 00000000"), previous=1)
    session: Session = again.state
    assert session.previous is not None
    assert (session.previous.number, session.previous.status) == (1, 1)


def test_short_and_odd_messages_change_nothing_and_break_nothing(agreed: Conversation) -> None:
    before: Session = agreed.state
    for request in (row.id for row in FRONT_END_MESSAGES):
        for size in (0, 1, 4, 7, 13):
            agreed.octets(request.to_bytes(4, "little") + b"\1\0\0\0" + size.to_bytes(4, "little") + b"\xff" * size)
            agreed.octets(request.to_bytes(4, "little") + b"\5\0\0\0" + size.to_bytes(4, "little") + b"\xff" * size,
                          sender=1)  # fmt: skip
    assert agreed.state.regions == before.regions
