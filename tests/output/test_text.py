"""What people see of a conversation, line by line."""

from __future__ import annotations

from vhostspy.capture.record import DROPPED, INCOMPLETE, LATE_FDS, SNAPPED, UNSURE_FDS
from vhostspy.filter import compile
from vhostspy.message import Finding, Message
from vhostspy.output.members import members
from vhostspy.output.printer import Printer, Show
from vhostspy.output.text import Look, Text

from ..pipeline.conversation import CALL, KICK, MS, RAM, SECOND, Conversation, features

REPLY_ACK, MEM_SLOTS = 1 << 3, 1 << 15
PLAIN = Look()


def shown(
    conversation: Conversation, look: Look = PLAIN, query: str | None = None, summary: bool = False,
    heading: bool = False,
) -> list[str]:  # fmt: skip
    """The lines of a conversation, as ``vhostspy show`` prints them."""
    again = Conversation(step=0)
    again.pipeline.sessions.clear()
    written: list[str] = []
    show = Show(look=look, filter=None if query is None else compile(query), summary=summary, heading=heading)
    printer = Printer(show, again.pipeline, written.append)
    for record in conversation.records:
        printer.items(again.pipeline.feed(record))
    printer.end()
    return "".join(written).splitlines()


def session() -> Conversation:
    conversation = Conversation(step=150_000)
    features(conversation, protocol=REPLY_ACK | MEM_SLOTS)
    conversation.front_end(
        "ADD_MEM_REG", need_reply=True, fds=[RAM],
        guest_address=0, length=512 << 20, user_address=0x7F0000000000, mmap_offset=0,
    )  # fmt: skip
    conversation.pause(540_000)
    conversation.reply("ADD_MEM_REG", value=0)
    conversation.front_end("SET_VRING_KICK", need_reply=True, fds=[KICK], index=0)
    conversation.pause(SECOND)
    conversation.event("eof", sender=1, after=10)
    conversation.event("close", text="session 1 ends")
    return conversation


def test_the_heading_is_above_its_columns() -> None:
    heading, *lines = shown(session(), heading=True)
    answer = lines[9]
    assert heading == "   #       time        Δ  channel  from         message                   info"
    for name, begin in (("channel", "main"), ("from", "← back-end"), ("message", "ADD_MEM_REG ack"), ("info", "ok")):
        assert heading.index(name) == answer.index(begin)
    for name, end in (("#", "9"), ("time", "0.001740"), ("Δ", "690 µs")):
        assert heading.index(name) + len(name) == answer.index(end) + len(end)


def test_a_session() -> None:
    assert shown(session()) == [
        "                 ── session 1 begins",
        "   1   0.000000     0 ns  main     → front-end  GET_FEATURES",
        "   2   0.000150   150 µs  main     ← back-end   GET_FEATURES              0x140000000  ↩ #1 150 µs",
        "   3   0.000300   150 µs  main     → front-end  GET_PROTOCOL_FEATURES",
        "   4   0.000450   150 µs  main     ← back-end   GET_PROTOCOL_FEATURES     0x8008  ↩ #3 150 µs",
        "   5   0.000600   150 µs  main     → front-end  SET_PROTOCOL_FEATURES     0x8008",
        "   6   0.000750   150 µs  main     → front-end  SET_OWNER",
        "   7   0.000900   150 µs  main     → front-end  SET_FEATURES              0x140000000",
        "   8   0.001050   150 µs  main     → front-end  ADD_MEM_REG               512 MiB at 0x0  [memory memfd]",
        "   9   0.001740   690 µs  main     ← back-end   ADD_MEM_REG ack           ok  ↩ #8 690 µs",
        "  10   0.001890   150 µs  main     → front-end  SET_VRING_KICK            ring 0  [kick eventfd]",
        "       1.001890  ── SET_VRING_KICK #10 unanswered for 1.0 s",
        "       1.002040  ── back-end closed first, SET_VRING_KICK #10 unanswered for 1.0 s",
        "       1.002190  ── session 1 ends",
    ]


def test_of_several_sessions_an_event_says_which_it_is_about_once() -> None:
    conversation = session()
    conversation.session = 2
    conversation.event("open", text="session 2 begins")
    conversation.front_end("GET_FEATURES")
    conversation.event("eof", 1, text="closed its side")
    lines = [line.partition("── ")[2] for line in shown(conversation) if "── " in line]
    assert lines[4:6] == [
        "session 2 begins",
        "session 2: back-end closed first, GET_FEATURES #11 unanswered for 150 µs",
    ]


def test_with_a_filter_only_messages_that_match_and_time_still_counts_from_the_first() -> None:
    assert shown(session(), query="fds") == [
        "   8   0.001050   1.1 ms  main     → front-end  ADD_MEM_REG               512 MiB at 0x0  [memory memfd]",
        "  10   0.001890   840 µs  main     → front-end  SET_VRING_KICK            ring 0  [kick eventfd]",
    ]


def test_pending_shows_what_was_not_answered() -> None:
    assert [line.split()[0] for line in shown(session(), query="pending")] == ["10"]
    assert [line.split()[0] for line in shown(session(), query="pending || ack || no == 1")] == ["1", "9", "10"]


def test_a_missing_answer_is_pending_after_a_second_even_if_it_comes_later() -> None:
    conversation = Conversation()
    conversation.front_end("GET_FEATURES")
    conversation.pause(2 * SECOND)
    conversation.reply("GET_FEATURES", features=0)
    assert [line.split()[0] for line in shown(conversation, query="pending")] == ["1"]


def test_all_members() -> None:
    lines = shown(session(), Look(verbose=True), "no in {2 4 8 9}")
    assert [line for line in lines if line.startswith("      ")] == [
        "      id 1, flags 0x5, 8 bytes of payload",
        "      features  0x140000000  PROTOCOL_FEATURES, VERSION_1",
        "      id 15, flags 0x5, 8 bytes of payload",
        "      protocol_features  0x8008  REPLY_ACK, CONFIGURE_MEM_SLOTS",
        "      id 37, flags 0x9, asks for a reply, 40 bytes of payload",
        "      guest_address  0x0",
        "      length         512 MiB (0x20000000)",
        "      user_address   0x7f0000000000",
        "      mmap_offset    0x0",
        "      descriptor     memory memfd, /memfd:pc.ram (deleted), 512 MiB, read-write, sealed: shrink, grow, "
        "inode 77",
        "      id 37, flags 0x5, 8 bytes of payload",
        "      value  ok",
    ]


def test_octets() -> None:
    assert shown(session(), Look(octets=True), "no == 10")[1:] == [
        "      0000  0c 00 00 00 09 00 00 00  08 00 00 00 00 00 00 00  ................",
        "      0010  00 00 00 00                                       ....",
    ]


def test_tables_configuration_and_long_lists() -> None:
    conversation = Conversation()
    region = {"guest_address": 0, "length": 1 << 20, "user_address": 0x10000, "mmap_offset": 0}
    table = conversation.front_end("SET_MEM_TABLE", count=2, regions=[region, region | {"guest_address": 1 << 32}])
    assert members(table, "") == [
        "count    2",
        "regions  0  guest_address 0x0  length 1 MiB  user_address 0x10000  mmap_offset 0x0",
        "         1  guest_address 0x100000000  length 1 MiB  user_address 0x10000  mmap_offset 0x0",
    ]
    conversation.front_end("GET_SHMEM_CONFIG")
    shmem = conversation.reply("GET_SHMEM_CONFIG", count=1, lengths=[0, 0x200000] + [0] * 254)
    assert members(shmem, "") == ["count    1", "lengths  [1] 0x200000"]
    config = conversation.front_end("SET_CONFIG", offset=0, length=70, config_flags=1, config=bytes(range(70)))
    assert members(config, "") == [
        "offset        0",
        "length        70 bytes",
        "config_flags  migration, or writable (1)",
        "config        00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f",
        "              10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f",
        "              20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f",
        "              30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f",
        "              … (70 bytes)",
    ]


def test_a_key_is_not_shown() -> None:
    conversation = Conversation()
    created = bytearray(1072)
    created[0:8] = b"\x02\0\0\0\0\0\0\0"
    created[56:60] = b"\xaa\xbb\xcc\xdd"
    message = conversation.octets(b"\x1a\0\0\0\1\0\0\0\x30\4\0\0" + created)
    text = "\n".join(members(message))
    assert "64 bytes, not shown" in text
    assert "aa bb" not in text
    assert "aabb" not in text


def line(conversation: Conversation, message: Message) -> str:
    return Text(Look()).message(message).split("  ", 3)[3].rstrip("\n")


def test_what_is_unknown_unread_or_cut_is_shown_as_that() -> None:
    conversation = Conversation()
    unknown = bytes.fromhex("63000000 01000000 03000000 616263")
    assert line(conversation, conversation.octets(unknown)).endswith("front-end  unknown message 99        3 bytes")
    assert line(conversation, conversation.raw(b"\x1b[2J")).endswith(
        "front-end  (unread octets)           4 bytes: 1b 5b 32 4a"
    )
    longer = line(conversation, conversation.raw(bytes(17)))
    assert longer.endswith("  17 bytes: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 …")
    kick = bytes.fromhex("0c000000 01000000 08000000 0000000000000000")
    for marks, words in (
        (INCOMPLETE, "(incomplete: 20 of 20 bytes)"),
        (SNAPPED, "(first 20 bytes kept)"),
        (DROPPED | 4 << 24, "(dropped by drop)"),
        (DROPPED, "(did not go on)"),
        (LATE_FDS, "(descriptors came at byte 12)"),
        (UNSURE_FDS, "(descriptors may belong to a message before)"),
    ):
        message = conversation.octets(kick, fds=(KICK,), flags=marks, fds_at=12 if marks == LATE_FDS else 0)
        assert line(conversation, message).endswith(f"SET_VRING_KICK            ring 0  [kick eventfd]  {words}")
    pieces = conversation.octets(kick, fds=(KICK, CALL, CALL), reads=2)
    assert line(conversation, pieces).endswith("ring 0  [kick eventfd, call eventfd ×2]  (came in 2 pieces)")


def test_findings_stand_below_their_message() -> None:
    message = Conversation().front_end("SET_OWNER")
    finding = Finding("VU-OWN-01", "warning", 0, "again\x1b", "vhost-user, SET_OWNER", 1)
    assert Text(Look()).message(message._replace(findings=(finding,))).splitlines()[1:] == [
        "      ● warning: front-end: again\\e (VU-OWN-01; vhost-user, SET_OWNER)"
    ]


def test_the_summary_of_all_says_how_many_a_filter_has_shown() -> None:
    assert "10 messages, 2 shown, 1.9 ms, 1 unanswered" in shown(session(), query="fds", summary=True)
    assert "10 messages, 3 shown, 1.9 ms, 1 unanswered" in shown(
        session(), query="pending || ack || no == 1", summary=True
    )
    assert "10 messages, 1.9 ms, 1 unanswered" in shown(session(), summary=True)


def test_the_summary_counts_any_number_of_unknown_messages() -> None:
    conversation = Conversation()
    for number in range(100, 1200):
        conversation.octets(number.to_bytes(4, "little") + b"\1\0\0\0\0\0\0\0")
    lines = shown(conversation, query="no > 9999", summary=True)
    assert "  others                         900" in lines
    assert len(lines) < 220


def test_sessions_and_channels_are_told_apart() -> None:
    conversation = Conversation(session=3)
    conversation.front_end("SET_OWNER")
    request = conversation.back_end("CONFIG_CHANGE_MSG")
    assert line(conversation, request._replace(channel_no=2)).endswith("  3:backend#2 ← back-end   CONFIG_CHANGE_MSG")
    assert Text(Look()).event(conversation.event("eof", sender=0)[0]).endswith("── session 3: front-end closed first\n")


def test_names_that_others_chose_do_not_reach_the_terminal() -> None:
    conversation = Conversation()
    evil = RAM._replace(name="/memfd:\x1b]0;owned\x07\u202e")
    message = conversation.front_end("SET_LOG_FD", fds=[evil])
    text = Text(Look(verbose=True)).message(message)
    assert "/memfd:\\e]0;owned\\x07\\u202e" in text
    (event,) = conversation.event("fault", text="\x1b[2J\r")
    assert Text(Look()).event(event).endswith("── \\e[2J\\r\n")


def test_colour_is_only_added_around_words() -> None:
    conversation = session()
    plain = shown(conversation)
    coloured = shown(conversation, Look(colour=True))
    for before, after in zip(plain, coloured, strict=True):
        stripped = after.replace("\x1b[1m", "").replace("\x1b[31m", "").replace("\x1b[36m", "").replace("\x1b[33m", "")
        assert stripped.replace("\x1b[0m", "").rstrip() == before
    assert coloured[10].count("\x1b[1m") == 1


def test_the_summary() -> None:
    conversation = session()
    assert shown(conversation, query="no > 99", summary=True) == [
        "",
        "10 messages, none shown, 1.9 ms, 1 unanswered",
        "",
        "session 1",
        "  front-end  qemu (7), a.sock",
        "  virtio     agreed 0x140000000: PROTOCOL_FEATURES, VERSION_1",
        "  protocol   agreed 0x8008: REPLY_ACK, CONFIGURE_MEM_SLOTS",
        "  memory     1 region, 512 MiB",
        "             0x0  512 MiB, memfd /memfd:pc.ram (deleted) (#8)",
        "  rings      0: no size, kick, started, disabled",
        "  end        back-end closed first, after #10",
        "",
        "messages",
        "  GET_FEATURES                     1  1 answer",
        "  GET_PROTOCOL_FEATURES            1  1 answer",
        "  SET_PROTOCOL_FEATURES            1",
        "  SET_OWNER                        1",
        "  SET_FEATURES                     1",
        "  ADD_MEM_REG                      1  1 ack",
        "  SET_VRING_KICK                   1",
        "",
        "slowest answers",
        "  ADD_MEM_REG               #8   690 µs",
        "  GET_FEATURES              #1   150 µs",
        "  GET_PROTOCOL_FEATURES     #3   150 µs",
        "",
        "unanswered",
        "  SET_VRING_KICK            #10",
    ]


def test_the_summary_names_what_was_not_taken_and_what_was_never_offered() -> None:
    conversation = Conversation()
    conversation.ask("GET_FEATURES", {"features": 1 << 26 | 1 << 30 | 1 << 32})
    conversation.front_end("SET_FEATURES", features=1 << 30 | 1 << 34)
    lines = shown(conversation, query="no > 99", summary=True)
    assert lines[5:9] == [
        "  virtio     agreed 0x440000000: PROTOCOL_FEATURES, RING_PACKED",
        "             not taken: LOG_ALL, VERSION_1",
        "             never offered: RING_PACKED",
        "",
    ]


def test_the_summary_of_a_capture_that_began_in_the_middle_says_so() -> None:
    conversation = Conversation(whole=False)
    conversation.front_end("SET_VRING_NUM", index=0, num=256)
    conversation.pause(MS)
    assert "  its beginning is not in the capture" in shown(conversation, query="no > 99", summary=True)


def test_a_vfio_user_session() -> None:
    """Ends are client and server; a reply is found by its number; capabilities are shown one below the other."""
    conversation = Conversation(step=150_000, whole=False)
    octets = bytes.fromhex

    def say(sender: int, text: str) -> None:
        conversation.octets(octets(text), sender=sender, protocol="vfio-user")

    say(0, "0100 0500 30000000 00000000 00000000" + "50000000 00000000 02000000" + "00" * 20)
    say(0, "0200 0a00 24000000 10000000 00000000" + "1000000000000000 00000000 04000000 01000000")
    say(
        1, "0100 0500 60000000 01000000 00000000"
        "50000000 0c000000 02000000 20000000 0010000000000000 0000000000000000"
        "0100 0100 00000000 02000000 00000000"
        "0000000000000000 0004000000000000 0008000000000000 0002000000000000",
    )  # fmt: skip
    say(1, "0900 0b00 20000000 00000000 00000000" + "0010000000000000 0400000000000000")
    say(0, "0900 0b00 10000000 21000000 0e000000")
    assert shown(conversation) == [
        "   1   0.000000     0 ns  main     → client     DEVICE_GET_REGION_INFO    region BAR2",
        "   2   0.000150   150 µs  main     → client     REGION_WRITE              BAR0, 4 bytes at 0x10: 01000000",
        "   3   0.000300   150 µs  main     ← server     DEVICE_GET_REGION_INFO    region BAR2, 4 KiB, MMAP, CAPS"
        "  ↩ #1 300 µs",
        "   4   0.000450   150 µs  main     ← server     DMA_READ                  4 bytes at 0x1000",
        "   5   0.000600   150 µs  main     → client     DMA_READ                  failed: EFAULT (14)  ↩ #4 150 µs",
    ]
    lines = shown(conversation, Look(verbose=True))
    assert "      id 10, message id 2, flags 0x10, declines a reply, 20 bytes of payload" in lines
    assert "      id 11, message id 9, flags 0x21, error 14, no payload" in lines


def test_capabilities_of_a_region_are_shown_with_their_areas() -> None:
    conversation = Conversation(whole=False)
    reply = conversation.octets(
        bytes.fromhex(
            "0100 0500 50000000 01000000 00000000 40000000 08000000 09000000 20000000"
            "0010000000000000 0000000000000000 0100 0100 00000000 01000000 00000000 0000000000000000 0004000000000000"
        ),
        sender=1,
        protocol="vfio-user",
    )
    assert members(reply)[-1] == (
        "capabilities  0  capability SPARSE_MMAP  version 1  next 0  count 1  areas [offset 0x0  length 1 KiB]"
    )


def test_what_a_version_tells_of_its_sender_is_shown_as_it_was_written() -> None:
    conversation = Conversation(whole=False)
    text = b'{"capabilities":{"max_msg_fds":8}}\0'
    octets = bytes.fromhex("0000 0100 37000000 00000000 00000000 0000 0100") + text
    version = conversation.octets(octets, protocol="vfio-user")
    assert version.names == {"version_data": {"capabilities": {"max_msg_fds": 8}}}
    assert members(version)[-1] == 'version_data  {"capabilities":{"max_msg_fds":8}}'


def test_of_a_message_that_was_cut_the_line_shows_what_was_kept() -> None:
    conversation = Conversation(whole=False)
    octets = bytes.fromhex("0100 0a00 20001000 00000000 00000000 0000000000000000 00000000 00001000 aabb")
    cut = conversation.octets(octets, protocol="vfio-user", flags=SNAPPED, length=1 << 20 | 32)
    assert cut.info == "BAR0, 1048576 bytes at 0x0"
    broken = conversation.octets(octets, protocol="vfio-user")
    assert broken.info == "1048574 bytes missing"
