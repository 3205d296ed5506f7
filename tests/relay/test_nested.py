"""Sockets inside messages: those that become channels are relayed and recorded, all others pass untouched."""

from __future__ import annotations

import os
import socket

import pytest

from vhostspy.capture import record

from .harness import (
    BACK,
    FRONT,
    Relayed,
    at_end,
    close_all,
    events,
    message,
    messages,
    receive,
    receive_bytes,
    receive_in_two_calls,
    rights,
    send,
    sized,
    tag_of,
    tagged,
    unpacked,
)

SET_VRING_CALL, SET_BACKEND_REQ_FD, GPU_SET_SOCKET = 13, 21, 33
CONFIG_CHANGE = 2


def pass_sockets(sender: socket.socket, receiver: socket.socket, number: int, *given: socket.socket) -> list[int]:
    """Send sockets with a message, and give the descriptors that come; the senders' copies are closed."""
    sender.sendmsg(
        [message(number, bytes(8) if number == SET_VRING_CALL else b"")], rights([one.fileno() for one in given])
    )
    for one in given:
        one.close()
    _, ancillary, _, _ = receiver.recvmsg(4096, 4096)
    return unpacked(ancillary)


def as_socket(fd: int) -> socket.socket:
    made = socket.socket(fileno=fd)
    made.settimeout(10)
    return made


def backend_channel(front: socket.socket, back: socket.socket) -> tuple[socket.socket, socket.socket]:
    """The front-end's socket of a new back-end channel, and the back-end's."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    (fd,) = pass_sockets(front, back, SET_BACKEND_REQ_FD, theirs)
    return ours, as_socket(fd)


def inode(sock: socket.socket | int) -> int:
    return os.fstat(sock if isinstance(sock, int) else sock.fileno()).st_ino


def test_a_back_end_channel_is_relayed_and_recorded(relayed: Relayed) -> None:
    """Both directions, with descriptors, header and payload in two sends, and a burst."""
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ours, theirs = backend_channel(front, back)
    with ours, theirs:
        for at in range(20):
            send(theirs, message(CONFIG_CHANGE), [at])
            assert receive(ours).tags == (at,)
            send(ours, message(CONFIG_CHANGE, bytes(8), reply=True), [at + 100])
            assert receive(theirs).tags == (at + 100,)
        data = sized(4096, 40)
        for _ in range(10):
            theirs.sendall(data[:12])
            theirs.sendall(data[12:])
        for _ in range(10):
            assert receive_in_two_calls(ours).data == data
    records = relayed.stop()
    on_it = messages(records, channel="backend")
    assert [(one.sender, one.channel_no, one.session) for one in on_it[:4]] == [(BACK, 1, 1), (FRONT, 1, 1)] * 2
    assert len(on_it) == 50
    assert sum(len(one.fds) for one in on_it) == 40
    (opened,) = events(records, "channel")
    assert opened["channel"] == "backend"
    carrier = next(one for one in messages(records) if one.number == opened["after"])
    assert carrier.data[:4] == message(SET_BACKEND_REQ_FD)[:4]
    # what was passed is recorded as the front-end sent it
    assert [fd.kind for fd in carrier.fds] == ["socket"]


def test_what_is_passed_on_is_ours(relayed: Relayed) -> None:
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ours, theirs = socket.socketpair()
    given = inode(theirs)
    (fd,) = pass_sockets(front, back, SET_BACKEND_REQ_FD, theirs)
    with ours, as_socket(fd) as came:
        assert inode(came) != given


def test_channels_after_one_another_are_numbered(relayed: Relayed) -> None:
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    for at in range(3):
        ours, theirs = backend_channel(front, back)
        with ours, theirs:
            send(theirs, message(CONFIG_CHANGE, bytes(at)))
            receive(ours)
    records = relayed.stop()
    assert [(one.channel_no, one.length) for one in messages(records, channel="backend")] == [(1, 12), (2, 13), (3, 14)]
    assert [event["text"] for event in events(records, "channel")] == [
        f"backend channel {at} is relayed" for at in (1, 2, 3)
    ]


def test_two_channels_at_once(relayed: Relayed) -> None:
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    first, second = backend_channel(front, back), backend_channel(front, back)
    for at, (ours, theirs) in enumerate((first, second)):
        send(theirs, message(CONFIG_CHANGE), [at])
        assert receive(ours).tags == (at,)
    for ours, theirs in (first, second):
        ours.close()
        theirs.close()
    found = [(one.channel_no, len(one.fds)) for one in messages(relayed.stop(), channel="backend")]
    assert found == [(1, 1), (2, 1)]


def test_the_same_in_the_next_session_begins_with_1_again(relayed: Relayed) -> None:
    for _ in range(2):
        front, back = relayed.open()
        send(front, sized(20))
        receive(back)
        ours, theirs = backend_channel(front, back)
        with ours, theirs:
            send(theirs, message(CONFIG_CHANGE))
            receive(ours)
        front.close()
        back.close()
        relayed.no_session()
    found = [(one.session, one.channel_no) for one in messages(relayed.stop(), channel="backend")]
    assert found == [(1, 1), (2, 1)]


def test_bytes_that_were_sent_before_the_socket_was_passed_come_too(relayed: Relayed) -> None:
    """Whoever holds the other end may have spoken already."""
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ours, theirs = socket.socketpair()
    send(ours, message(CONFIG_CHANGE), [6])
    (fd,) = pass_sockets(front, back, SET_BACKEND_REQ_FD, theirs)
    with ours, as_socket(fd) as came:
        assert receive(came).tags == (6,)


@pytest.mark.parametrize("what", ["memory", "datagram socket", "pipe", "network socket"])
def test_what_cannot_be_a_channel_passes_untouched(relayed: Relayed, what: str) -> None:
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    other: list[int] = []
    match what:
        case "memory":
            (fd,) = tagged(77)
        case "pipe":
            fd, end = os.pipe()
            other.append(end)
        case "datagram socket":
            fd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()
        case _:
            fd = socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach()
    given = os.fstat(fd)
    front.sendmsg([message(SET_BACKEND_REQ_FD)], rights([fd]))
    os.close(fd)
    _, ancillary, _, _ = back.recvmsg(4096, 4096)
    (came,) = unpacked(ancillary)
    assert (os.fstat(came).st_dev, os.fstat(came).st_ino) == (given.st_dev, given.st_ino)
    if what == "memory":
        assert tag_of(came) == 77
    close_all([came, *other])
    # and the session goes on
    send(front, sized(20), [4])
    assert receive(back).tags == (4,)
    assert not events(relayed.stop(), "channel")


def test_a_socket_sent_as_a_call_descriptor_passes_untouched(relayed: Relayed) -> None:
    """User-mode Linux does that: its interrupts are messages on a socket."""
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ours, theirs = socket.socketpair()
    given = inode(theirs)
    (fd,) = pass_sockets(front, back, SET_VRING_CALL, theirs)
    with ours, as_socket(fd) as came:
        assert inode(came) == given
        came.sendall(b"not our business")
        assert receive_bytes(ours, 16) == b"not our business"
        came.close()
        assert at_end(ours), "we keep no copy of it"
    records = relayed.stop()
    assert not events(records, "channel")
    assert [fd.kind for fd in messages(records)[-1].fds] == ["socket"]


def test_a_back_ends_message_of_the_same_number_opens_nothing(relayed: Relayed) -> None:
    """The number means something else from the other end."""
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ours, theirs = socket.socketpair()
    given = inode(theirs)
    (fd,) = pass_sockets(back, front, SET_BACKEND_REQ_FD, theirs)
    assert inode(fd) == given
    os.close(fd)
    ours.close()
    assert not events(relayed.stop(), "channel")


def test_a_reply_of_that_number_opens_nothing(relayed: Relayed) -> None:
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ours, theirs = socket.socketpair()
    given = inode(theirs)
    front.sendmsg([message(SET_BACKEND_REQ_FD, reply=True)], rights([theirs.fileno()]))
    theirs.close()
    _, ancillary, _, _ = back.recvmsg(4096, 4096)
    (fd,) = unpacked(ancillary)
    assert inode(fd) == given
    os.close(fd)
    ours.close()


def test_more_descriptors_than_the_socket(relayed: Relayed) -> None:
    """Against the rules, and still everything reaches the other side, in order."""
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ours, theirs = socket.socketpair()
    extra = tagged(5, 6)
    front.sendmsg([message(SET_BACKEND_REQ_FD)], rights([theirs.fileno(), *extra]))
    close_all(extra)
    theirs.close()
    _, ancillary, _, _ = back.recvmsg(4096, 4096)
    first, *others = unpacked(ancillary)
    assert [tag_of(fd) for fd in others] == [5, 6]
    close_all(others)
    with ours, as_socket(first) as came:
        send(came, message(CONFIG_CHANGE), [7])
        assert receive(ours).tags == (7,)
    assert relayed.descriptors_in_hand() == 0


def test_both_ends_of_one_pair(relayed: Relayed) -> None:
    """Nonsense, and no reason to hang or leak: a channel whose other end comes along in the next message."""
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ours, theirs = socket.socketpair()
    (first,) = pass_sockets(front, back, SET_BACKEND_REQ_FD, theirs)
    (second,) = pass_sockets(front, back, SET_BACKEND_REQ_FD, ours)
    with as_socket(first) as one, as_socket(second) as other:
        send(one, message(CONFIG_CHANGE), [8])
        assert receive(other).tags == (8,)
        one.close()
        assert at_end(other)


def test_the_main_socket_itself_as_a_channel(relayed: Relayed) -> None:
    """A front-end that passes its own end of the connection: read by two, and nothing crashes."""
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    front.sendmsg([message(SET_BACKEND_REQ_FD)], rights([front.fileno()]))
    _, ancillary, _, _ = back.recvmsg(4096, 4096)
    close_all(unpacked(ancillary))
    front.close()
    back.close()
    relayed.no_session()


def test_garbage_on_a_nested_channel_ends_the_framing_of_it_alone(relayed: Relayed) -> None:
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ours, theirs = backend_channel(front, back)
    with ours, theirs:
        send(theirs, b"\xff" * 50, [1])
        data, ancillary, _, _ = ours.recvmsg(100, 4096)
        close_all(unpacked(ancillary))
        assert data == b"\xff" * 50
        send(front, sized(20), [2])
        assert receive(back).tags == (2,)
        send(ours, message(CONFIG_CHANGE, bytes(8), reply=True))
        receive(theirs)
    records = relayed.stop()
    (unread,) = events(records, "unread")
    assert (unread["channel"], unread["sender"]) == ("backend", BACK)
    assert [one.kind for one in messages(records, channel="backend")] == [record.RAW, record.MESSAGE]
    assert all(one.kind == record.MESSAGE for one in messages(records))


@pytest.mark.parametrize("side", [FRONT, BACK], ids=["front-end", "back-end"])
def test_a_reset_of_a_nested_channel_is_recorded_there(relayed: Relayed, side: int) -> None:
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ends = backend_channel(front, back)
    send(ends[1 - side], message(CONFIG_CHANGE))
    ends[side].recv(1, socket.MSG_PEEK)
    ends[side].close()
    with pytest.raises((EOFError, ConnectionResetError)):
        receive(ends[1 - side])
    ends[1 - side].close()
    send(front, sized(20), [3])
    assert receive(back).tags == (3,)
    (reset,) = events(relayed.stop(), "reset")
    assert (reset["channel"], reset["sender"]) == ("backend", side)
