"""Who answers what, as real peers do it and as they should not."""

from __future__ import annotations

from struct import pack

import pytest

from vhostspy.capture.record import DROPPED
from vhostspy.message import Message
from vhostspy.session import ledger
from vhostspy.session.ledger import MOST_WAITING
from vhostspy.session.state import new
from vhostspy.session.transitions import step

from ..pipeline.conversation import MS, Conversation, features

REPLY_ACK = 1 << 3
LOG_SHMFD = 1 << 1


@pytest.fixture
def agreed() -> Conversation:
    """A conversation in which acknowledgements were agreed on; messages 1 to 7 are spent."""
    conversation = Conversation()
    features(conversation, protocol=REPLY_ACK)
    return conversation


def waiting(conversation: Conversation) -> list[int]:
    return [request.no for request in ledger.outstanding(conversation.state.ledger)]


def test_a_reply_names_its_request_and_the_time_since() -> None:
    conversation = Conversation(step=MS)
    request = conversation.front_end("GET_FEATURES")
    conversation.pause(4 * MS)
    reply = conversation.reply("GET_FEATURES", features=0)
    assert request.awaited
    assert (reply.kind, reply.answers, reply.latency_ns) == ("reply", request.no, 5 * MS)
    assert waiting(conversation) == []


def test_an_acknowledgement_is_told_from_a_reply(agreed: Conversation) -> None:
    request = agreed.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256)
    ack = agreed.reply("SET_VRING_NUM", value=0)
    assert (ack.kind, ack.answers, ack.failed) == ("ack", request.no, False)


def test_a_refusal_is_an_acknowledgement_that_failed(agreed: Conversation) -> None:
    agreed.front_end("SET_VRING_NUM", need_reply=True, index=0, num=3)
    assert agreed.reply("SET_VRING_NUM", value=2**64 - 22).failed


def test_without_need_reply_nobody_waits(agreed: Conversation) -> None:
    assert not agreed.front_end("SET_VRING_NUM", index=0, num=256).awaited
    assert waiting(agreed) == []


def test_need_reply_counts_only_once_acknowledgements_are_agreed_on() -> None:
    conversation = Conversation()
    assert not conversation.front_end("SET_OWNER", need_reply=True).awaited
    features(conversation, protocol=REPLY_ACK)
    assert conversation.front_end("SET_OWNER", need_reply=True).awaited


def test_where_the_capture_began_in_the_middle_need_reply_is_taken_at_its_word() -> None:
    conversation = Conversation(whole=False)
    assert conversation.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256).awaited
    assert not conversation.front_end("SET_VRING_NUM", index=1, num=256).awaited


def test_need_reply_on_a_get_is_answered_once(agreed: Conversation) -> None:
    """libblkio asks for an acknowledgement of GET_CONFIG; the daemon answers once, with NEED_REPLY set in it."""
    request = agreed.front_end("GET_QUEUE_NUM", need_reply=True)
    reply = agreed.reply("GET_QUEUE_NUM", need_reply=True, queues=4)
    assert (reply.flags, reply.kind, reply.answers) == (0xD, "reply", request.no)
    assert waiting(agreed) == []


def test_requests_back_to_back(agreed: Conversation) -> None:
    """DPDK and libblkio send SET_OWNER and GET_FEATURES in one go."""
    agreed.step = 0
    owner = agreed.front_end("SET_OWNER")
    asked = agreed.front_end("GET_FEATURES")
    reply = agreed.reply("GET_FEATURES", features=1)
    assert not owner.awaited
    assert (reply.answers, reply.latency_ns) == (asked.no, 0)


def test_of_requests_with_one_name_the_oldest_is_answered_first(agreed: Conversation) -> None:
    first = agreed.front_end("SET_VRING_NUM", need_reply=True, index=0, num=256)
    second = agreed.front_end("SET_VRING_NUM", need_reply=True, index=1, num=256)
    assert agreed.reply("SET_VRING_NUM", value=0).answers == first.no
    assert agreed.reply("SET_VRING_NUM", value=0).answers == second.no


def test_an_answer_out_of_order_leaves_the_one_skipped_waiting(agreed: Conversation) -> None:
    skipped = agreed.front_end("GET_FEATURES")
    asked = agreed.front_end("GET_QUEUE_NUM")
    assert agreed.reply("GET_QUEUE_NUM", queues=1).answers == asked.no
    assert waiting(agreed) == [skipped.no]


def test_a_reply_that_nobody_asked_for_answers_nothing(agreed: Conversation) -> None:
    reply = agreed.reply("GET_QUEUE_NUM", queues=1)
    assert (reply.answers, reply.latency_ns) == (None, None)


def test_a_repeated_reply_answers_nothing(agreed: Conversation) -> None:
    agreed.front_end("GET_FEATURES")
    agreed.reply("GET_FEATURES", features=1)
    assert agreed.reply("GET_FEATURES", features=1).answers is None


def test_a_reply_with_another_id_answers_nothing(agreed: Conversation) -> None:
    asked = agreed.front_end("GET_FEATURES")
    assert agreed.reply("GET_PROTOCOL_FEATURES", protocol_features=1).answers is None
    assert waiting(agreed) == [asked.no]


def test_an_answer_that_was_not_asked_for_still_names_its_request(agreed: Conversation) -> None:
    """libvhost-user acknowledges POSTCOPY_LISTEN without being asked to."""
    request = agreed.front_end("POSTCOPY_LISTEN")
    assert not request.awaited
    assert agreed.reply("POSTCOPY_LISTEN", value=0).answers == request.no
    assert agreed.reply("POSTCOPY_LISTEN", value=0).answers is None


def test_ends_do_not_answer_themselves(agreed: Conversation) -> None:
    asked = agreed.front_end("GET_FEATURES")
    echoed = agreed.octets(bytes.fromhex("01000000 05000000 08000000  0000000000000000"), sender=0)
    assert (echoed.kind, echoed.answers) == ("reply", None)
    assert waiting(agreed) == [asked.no]


def test_the_back_end_channel_has_a_queue_of_its_own(agreed: Conversation) -> None:
    """DPDK asks for a translation while QEMU is busy on the main channel; both have id 1."""
    on_main = agreed.front_end("GET_FEATURES")
    miss = agreed.back_end("CONFIG_CHANGE_MSG", need_reply=True)
    answer = agreed.say("backend", 0, "CONFIG_CHANGE_MSG", True, False, (), {"value": 0})
    assert answer.answers == miss.no
    assert waiting(agreed) == [on_main.no]


@pytest.mark.parametrize("reply", ["", "0000000000000000", "00100000000000000000000000000000"])
def test_the_log_is_answered_when_its_descriptor_is_a_feature(reply: str) -> None:
    """By nothing (DPDK), a u64 (libvhost-user) or the same structure (rust-vmm)."""
    conversation = Conversation()
    features(conversation, protocol=LOG_SHMFD)
    request = conversation.front_end("SET_LOG_BASE", mmap_length=0x1000, mmap_offset=0)
    assert request.awaited
    payload = bytes.fromhex(reply)
    header = bytes.fromhex("06000000 05000000") + len(payload).to_bytes(4, "little")
    assert conversation.octets(header + payload, sender=1).answers == request.no


def test_the_log_is_not_answered_without_that_feature() -> None:
    conversation = Conversation()
    features(conversation)
    assert not conversation.front_end("SET_LOG_BASE", mmap_length=0x1000, mmap_offset=0).awaited


def test_in_postcopy_the_table_is_answered_and_the_thanks_are_not(agreed: Conversation) -> None:
    region = {"guest_address": 0, "length": 4096, "user_address": 0x1000, "mmap_offset": 0}
    mapped = region | {"user_address": 0x7F00}
    assert not agreed.front_end("SET_MEM_TABLE", count=1, regions=[region]).awaited
    agreed.front_end("POSTCOPY_LISTEN", need_reply=True)
    agreed.reply("POSTCOPY_LISTEN", value=0)
    table = agreed.front_end("SET_MEM_TABLE", count=1, regions=[region])
    answer = agreed.reply("SET_MEM_TABLE", count=1, regions=[mapped])
    thanks = agreed.octets(bytes.fromhex("05000000 01000000 08000000 0000000000000000"))
    assert (table.awaited, answer.answers, answer.kind) == (True, table.no, "reply")
    assert (thanks.name, thanks.kind, thanks.awaited) == ("SET_MEM_TABLE", "request", False)
    assert agreed.state.regions[0].user_address == 0x1000


def test_iotlb_messages_of_the_front_end_are_always_answered(agreed: Conversation) -> None:
    assert agreed.front_end("IOTLB_MSG", iova=0, length=4096, user_address=0, permission=3, type=2).awaited


def test_what_no_row_explains_is_answered_when_it_asks_to_be(agreed: Conversation) -> None:
    request = agreed.octets(bytes.fromhex("63000000 09000000 00000000"))
    reply = agreed.octets(bytes.fromhex("63000000 05000000 08000000 0000000000000000"), sender=1)
    assert (request.name, request.awaited, reply.answers) == (None, True, request.no)


def test_a_dropped_request_waits_for_nothing(agreed: Conversation) -> None:
    dropped = agreed.octets(bytes.fromhex("01000000 01000000 00000000"), flags=DROPPED)
    assert not dropped.awaited
    assert waiting(agreed) == []


def test_a_peer_that_never_gets_answers_costs_a_bounded_amount(agreed: Conversation) -> None:
    for _ in range(MOST_WAITING + 10):
        agreed.front_end("GET_FEATURES")
    queue = agreed.state.ledger["main", 1]
    assert (len(queue.waiting), queue.forgotten) == (MOST_WAITING, 10)
    assert agreed.reply("GET_FEATURES", features=0).answers == 8 + 10


def test_who_spoke_last(agreed: Conversation) -> None:
    agreed.front_end("GET_FEATURES")
    agreed.reply("GET_FEATURES", features=0)
    assert agreed.state.ledger["main", 1].last == (8, 9)


def test_a_step_leaves_the_session_before_it_as_it_was(agreed: Conversation) -> None:
    before = agreed.state
    request = agreed.front_end("GET_FEATURES")
    assert step(before, request) == agreed.state
    assert [one.no for one in ledger.outstanding(before.ledger)] == []
    assert step(new(1), request).ledger["main", 1].waiting[0].no == request.no


# -- vfio-user: header of u16 message number, u16 command, u32 size with the header, u32 flags, u32 error


def vfio(
    conversation: Conversation, msgid: int, command: int, flags: int = 0, error: int = 0, sender: int = 0
) -> Message:
    return conversation.octets(pack("<HHIII", msgid, command, 16, flags, error), sender=sender, protocol="vfio-user")


DEVICE_RESET, GET_INFO = 13, 4


def test_commands_are_answered_by_their_number_in_any_order() -> None:
    conversation = Conversation(whole=False)
    first = vfio(conversation, 7, DEVICE_RESET)
    second = vfio(conversation, 8, DEVICE_RESET)
    assert (first.msgid, first.awaited, first.need_reply, first.error) == (7, True, True, None)
    assert vfio(conversation, 8, DEVICE_RESET, flags=1, sender=1).answers == second.no
    assert vfio(conversation, 9, DEVICE_RESET, flags=1, sender=1).answers is None
    assert waiting(conversation) == [first.no]


def test_a_command_may_decline_its_answer() -> None:
    assert not vfio(Conversation(whole=False), 1, DEVICE_RESET, flags=0x10).awaited


def test_a_reply_may_be_an_error_and_then_has_no_members() -> None:
    conversation = Conversation(whole=False)
    vfio(conversation, 1, DEVICE_RESET)
    reply = vfio(conversation, 1, DEVICE_RESET, flags=0x21, error=22, sender=1)
    assert (reply.answers, reply.error, reply.failed, reply.info) == (1, 22, True, "failed: EINVAL (22)")
    # an error whose number is 0 is one all the same
    nameless = vfio(conversation, 3, GET_INFO, flags=0x21, sender=1)
    assert (nameless.error, nameless.failed, nameless.info) == (0, True, "failed: error (0)")
    fine = vfio(conversation, 2, DEVICE_RESET, flags=1, sender=1)
    assert (fine.error, fine.failed) == (0, False)


# -- numbers that were given twice


def test_an_answer_has_the_name_of_what_it_answers_whatever_its_size_says() -> None:
    """The file system's FS_MAP of old had the number of SHARED_OBJECT_ADD; acknowledgements of both look the same."""
    conversation = Conversation(whole=False)
    request = conversation.octets(pack("<III", 6, 9, 256) + bytes(256), "backend", 1)
    assert (request.name, request.kind) == ("FS_MAP", "request")
    ack = conversation.octets(pack("<IIIQ", 6, 5, 8, 0), "backend", 0)
    assert (ack.name, ack.kind, ack.answers, ack.info) == ("FS_MAP", "ack", request.no, "ok")
    modern = conversation.octets(pack("<III", 6, 9, 16) + bytes(16), "backend", 1)
    ack = conversation.octets(pack("<IIIQ", 6, 5, 8, 0), "backend", 0)
    assert (modern.name, ack.name, ack.answers) == ("SHARED_OBJECT_ADD", "SHARED_OBJECT_ADD", modern.no)


def test_a_draft_is_told_by_its_size() -> None:
    conversation = Conversation(whole=False)
    draft = conversation.octets(pack("<IIIII", 44, 1, 8, 0, 0))
    assert draft.name == "GET_VRING_BASE_SKIP_DRAIN"
    answer = conversation.octets(pack("<IIIII", 44, 5, 8, 0, 3), sender=1)
    assert (answer.name, answer.kind, answer.info) == ("GET_VRING_BASE_SKIP_DRAIN", "reply", "ring 0 at 3")
    assert conversation.octets(pack("<III", 44, 1, 0)).name == "GET_SHMEM_CONFIG"
