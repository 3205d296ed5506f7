"""Any cut of the bytes gives the same messages, and a receiver with one call for header and payload never gets a piece.

The receivers read as real ones do: DPDK, virtiofsd, passt and libvhost-user read the payload with one call and give up
if it comes short. The longest send that the kernel keeps in one piece is ``PORTION``.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from time import monotonic_ns
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vhostspy.capture import record
from vhostspy.dissectors import registry
from vhostspy.relay import direction as direction_module
from vhostspy.relay.direction import HOLD_NS
from vhostspy.relay.outlet import PORTION, Outlet

from .harness import (
    BACK,
    FRONT,
    HEADER,
    Got,
    Relayed,
    at_end,
    events,
    message,
    messages,
    quiet,
    read,
    receive,
    receive_bytes,
    receive_in_two_calls,
    send,
    sized,
    taken,
    temporary_folder,
    until,
)

# -- any cut ----------------------------------------------------------------------------------------------------------


class Send(NamedTuple):
    """One sendmsg; ``wait``: the next comes only when the relay has read this one."""

    data: bytes
    tags: tuple[int, ...]
    wait: bool


class Stream(NamedTuple):
    messages: list[tuple[bytes, tuple[int, ...]]]
    sends: list[Send]


@st.composite
def streams(draw: st.DrawFn, alone: bool = False) -> Stream:
    """Messages, and how a sender may cut and glue them.

    Descriptors go with a message's first byte, or with a later piece of it. A send may begin in one message and end in
    another; if it carries descriptors, they are those of the message in which it ends, which a reader of exact lengths
    cannot know: with ``alone`` a send with descriptors has only bytes of their message.
    """
    lengths = draw(
        st.lists(
            st.one_of(st.integers(12, 80), st.sampled_from([12, 4096, 36_544, 36_545, 65_548])), min_size=1, max_size=8
        )
    )
    whole: list[tuple[bytes, tuple[int, ...]]] = []
    sends: list[Send] = []
    open_piece = b""
    tag = 1
    for at, length in enumerate(lengths):
        count = draw(st.sampled_from([0, 0, 0, 1, 2, 3]))
        tags = tuple(range(tag, tag + count))
        tag += count
        number = draw(st.sampled_from([1, 5, 12, 15, 18, 40, 77]))
        data = message(number, bytes((at + i) & 0xFF for i in range(length - HEADER.size)), reply=draw(st.booleans()))
        whole.append((data, tags))
        cuts = sorted(draw(st.sets(st.integers(1, length - 1), max_size=3)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, length], strict=True)]
        late: bool = draw(st.booleans())
        carrier: int = draw(st.integers(0, len(pieces) - 1)) if late else 0
        for index, piece in enumerate(pieces):
            mine = tags if index == carrier else ()
            wait = draw(st.booleans())
            if not mine and draw(st.booleans()) and len(open_piece) + len(piece) < PORTION:
                open_piece += piece
                continue
            if len(open_piece) + len(piece) > PORTION and open_piece:
                sends.append(Send(open_piece, (), wait))
                open_piece = b""
            if alone and mine and open_piece:
                sends.append(Send(open_piece, (), wait))
                open_piece = b""
            # a send of more than one buffer has its descriptors on the first: keep it within the message
            sends.append(Send(open_piece + piece, mine, wait))
            open_piece = b""
    if open_piece:
        sends.append(Send(open_piece, (), False))
    return Stream(whole, sends)


def play(sock: socket.socket, sends: list[Send]) -> None:
    for one in sends:
        send(sock, one.data, one.tags)
        if one.wait:
            taken(sock)
    sock.shutdown(socket.SHUT_WR)


def listen_to(sock: socket.socket) -> list[Got]:
    found = []
    while sock.recv(1, socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC):
        found.append(receive(sock))
    return found


def in_threads(*work: Callable[[], object]) -> list[object]:
    """Run at once, and give what each gave."""
    results: SimpleQueue[tuple[int, object]] = SimpleQueue()

    def do(index: int) -> None:
        try:
            results.put((index, work[index]()))
        except BaseException as error:
            results.put((index, error))

    threads = [threading.Thread(target=do, args=(index,), daemon=True) for index in range(len(work))]
    for thread in threads:
        thread.start()
    found = dict(results.get(timeout=30) for _ in work)
    for thread in threads:
        thread.join(10)
    for result in found.values():
        if isinstance(result, BaseException):
            raise result
    return [found[index] for index in range(len(work))]


def check_both_ways(front_says: Stream, back_says: Stream, exact: bool, hold_ns: int) -> None:
    with temporary_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(direction_module, "HOLD_NS", hold_ns)
        with Relayed(Path(folder), exact_reads=exact) as relayed:
            front, back = relayed.open()
            got = in_threads(
                lambda: play(front, front_says.sends),
                lambda: play(back, back_says.sends),
                lambda: listen_to(back),
                lambda: listen_to(front),
            )
            relayed.no_session()
            records = relayed.stop()
    for sender, said, heard in ((FRONT, front_says, got[2]), (BACK, back_says, got[3])):
        assert [(one.data, one.tags) for one in heard] == said.messages  # type: ignore[attr-defined]
        recorded = messages(records, sender)
        assert [(one.data, len(one.fds)) for one in recorded] == [(data, len(tags)) for data, tags in said.messages]
        assert not any(one.flags & (record.INCOMPLETE | record.DROPPED) for one in recorded)
    assert [one.number for one in messages(records)] == list(range(1, len(messages(records)) + 1))


@settings(max_examples=100)
@given(front_says=streams(), back_says=streams())
def test_any_cut_gives_the_same_messages_with_their_descriptors(front_says: Stream, back_says: Stream) -> None:
    check_both_ways(front_says, back_says, False, HOLD_NS)


@settings(max_examples=50)
@given(front_says=streams(alone=True), back_says=streams(alone=True))
def test_exact_reads_give_the_same(front_says: Stream, back_says: Stream) -> None:
    check_both_ways(front_says, back_says, True, HOLD_NS)


@settings(max_examples=50)
@given(front_says=streams(), back_says=streams())
def test_the_same_when_nobody_waits_for_the_rest_of_a_message(front_says: Stream, back_says: Stream) -> None:
    """What is held goes on after a millionth of the usual time, so that pieces race with their expiry."""
    check_both_ways(front_says, back_says, False, 100)


@pytest.mark.fuzz
@given(front_says=streams(), back_says=streams(), hold_ns=st.sampled_from([0, 100, 1_000_000, HOLD_NS]))
def test_any_cut_for_long(front_says: Stream, back_says: Stream, hold_ns: int) -> None:
    check_both_ways(front_says, back_says, False, hold_ns)


# -- receivers with one call for the payload --------------------------------------------------------------------------


@pytest.mark.parametrize("sender", [FRONT, BACK], ids=["from the front-end", "from the back-end"])
@pytest.mark.parametrize(
    ("length", "count"), [(20, 20_000), (4096, 2000), (36_544, 300)], ids=["20 bytes", "4 KiB", "one portion"]
)
def test_header_and_payload_in_two_sends_reach_one_call_whole(
    relayed: Relayed, length: int, count: int, sender: int
) -> None:
    """A stream of them, with bursts of three: the receiver asserts that no call comes short."""
    ends = relayed.open()
    data = sized(length)

    def say() -> None:
        for at in range(count):
            ends[sender].sendall(data[:12])
            ends[sender].sendall(data[12:])
            if at % 50 == 0:
                for size in (20, 52, 20):
                    ends[sender].sendall(sized(size)[:12])
                    ends[sender].sendall(sized(size)[12:])

    def hear() -> int:
        for at in range(count):
            assert receive_in_two_calls(ends[1 - sender]).data == data
            if at % 50 == 0:
                for size in (20, 52, 20):
                    assert len(receive_in_two_calls(ends[1 - sender]).data) == size
        return count

    assert in_threads(say, hear)[1] == count


@pytest.mark.parametrize("length", [20, 4096, 36_544])
def test_a_glued_stream_reaches_one_call_whole(relayed: Relayed, length: int) -> None:
    front, back = relayed.open()
    data = sized(length)
    count = max(1_000_000 // length, 100)

    def say() -> None:
        block = data * (300_000 // length + 1)
        for _ in range(count * length // len(block)):
            front.sendall(block)

    total = count * length // (len(data) * (300_000 // length + 1)) * (300_000 // length + 1)
    in_threads(say, lambda: [receive_in_two_calls(back) for _ in range(total)])


def test_a_64_kib_stream_is_whole_for_a_patient_receiver(relayed: Relayed) -> None:
    """Above a portion the kernel itself makes pieces if the receiver is quick; the bytes are right all the same."""
    front, back = relayed.open()
    data = sized(65_536)

    def say() -> None:
        for _ in range(100):
            front.sendall(data[:12])
            front.sendall(data[12:])

    def hear() -> None:
        for _ in range(100):
            assert receive(back).data == data

    in_threads(say, hear)


@pytest.mark.usefixtures("long_hold")
@pytest.mark.parametrize("length", [36_545, 50_000, 65_548])
def test_a_held_message_longer_than_a_portion_goes_in_one_send(relayed: Relayed, length: int) -> None:
    """It came in pieces and goes at once: when its first byte is there, all are."""
    front, back = relayed.open()
    data = sized(length)
    for at in range(0, length, 7000):
        front.sendall(data[at : at + 7000])
        if at + 7000 < length:
            taken(front)
            assert quiet(back)
    back.recv(1, socket.MSG_PEEK)
    assert receive(back).data == data
    (one,) = messages(relayed.stop())
    assert one.data == data
    assert one.reads >= 2


@pytest.mark.parametrize("count", [1, 11, 12, 13, 19], ids=lambda count: f"{count} bytes")
def test_half_a_message_and_then_silence(relayed: Relayed, count: int, request: pytest.FixtureRequest) -> None:
    """It goes on as it is after the time that it may be held, and its remainder as it comes."""
    front, back = relayed.open()
    data = sized(20)
    begun = monotonic_ns()
    send(front, data[:count], [1])
    assert receive_bytes_and_tags(back, count) == (data[:count], (1,))
    assert monotonic_ns() - begun >= HOLD_NS
    request.getfixturevalue("long_hold")  # nothing that is held from now on would come
    for at in range(count, 20):
        send(front, data[at : at + 1], [at] if at == 19 else [])
        assert receive_bytes_and_tags(back, 1) == (data[at : at + 1], (19,) if at == 19 else ())
    # the next message is held again
    send(front, data[:15])
    taken(front)
    assert quiet(back)
    send(front, data[15:])
    assert receive_in_two_calls(back).data == data
    first, second = messages(relayed.stop())
    assert (first.data, len(first.fds), first.kind) == (data, 2, record.MESSAGE)
    assert first.span_ns >= HOLD_NS
    assert second.reads == 2


def receive_bytes_and_tags(sock: socket.socket, count: int) -> tuple[bytes, tuple[int, ...]]:
    """One read, of so many bytes."""
    data, tags = read(sock, 65536)
    assert len(data) == count
    return data, tags


@pytest.mark.usefixtures("long_hold")
def test_each_new_byte_buys_a_held_message_more_time(relayed: Relayed) -> None:
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    ours = relayed.session().main.directions[FRONT]
    data = sized(20)
    # each time the one before it is over; at the end its own is
    times: list[int] = []
    for at in range(4):
        send(front, data[at * 4 : at * 4 + 4])
        taken(front)
        times.append(relayed.call(lambda: ours.held.last) + direction_module.HOLD_NS)
        if at:
            relayed.call(partial(ours._let_held_go, times[-2]))
            assert quiet(back)
    assert times == sorted(set(times))
    relayed.call(partial(ours._let_held_go, times[-1]))
    assert receive_bytes_and_tags(back, 16) == (data[:16], ())
    send(front, data[16:])
    assert receive_bytes_and_tags(back, 4) == (data[16:], ())


def test_what_came_while_the_relay_stood_still_is_read_before_half_a_message_goes_on(
    relayed: Relayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine: its receiver reads a payload with one call, and all of it was there."""
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    monkeypatch.setattr(direction_module, "HOLD_NS", 1)
    send_before = Outlet.send
    sent: list[int] = []

    def watched(self: Outlet, data: memoryview, fds: list[int], *, keep: bool = False) -> bool:
        sent.append(len(data))
        return send_before(self, data, fds, keep=keep)

    monkeypatch.setattr(Outlet, "send", watched)
    data = sized(20)
    ours = relayed.session().main.directions[FRONT]

    def all_at_once() -> None:
        """The first half is read; then, in the same round of the loop, nobody looks until its time is over."""
        front.sendall(data[:15])
        ours.pump()
        front.sendall(data[15:])

    relayed.call(all_at_once)
    assert receive_in_two_calls(back).data == data
    assert 15 not in sent


@pytest.mark.parametrize("count", [1, 11, 12, 19])
@pytest.mark.parametrize("silence", [False, True], ids=["at once", "after silence"])
def test_half_a_message_and_then_the_end(relayed: Relayed, count: int, silence: bool) -> None:
    front, back = relayed.open()
    data = sized(20)
    send(front, data[:count], [1])
    if silence:
        assert receive_bytes_and_tags(back, count) == (data[:count], (1,))
    front.close()
    if not silence:
        assert receive_bytes_and_tags(back, count) == (data[:count], (1,))
    assert at_end(back)
    relayed.no_session()
    records = relayed.stop()
    (one,) = messages(records)
    assert (one.kind, one.data, len(one.fds)) == (record.RAW, data[:count], 1)
    assert one.flags & record.INCOMPLETE
    assert not one.flags & record.DROPPED


def test_half_a_message_and_then_a_reset(relayed: Relayed) -> None:
    front, back = relayed.open()
    data = sized(20)
    send(back, sized(20, 50))
    taken(back)
    until(lambda: not quiet(front))
    send(front, data[:15], [1])
    front.close()  # with an unread message: a reset
    assert receive_bytes_and_tags(back, 15) == (data[:15], (1,))
    with pytest.raises((ConnectionResetError, EOFError)):
        receive(back)
    relayed.no_session()
    records = relayed.stop()
    assert [event["sender"] for event in events(records, "reset")] == [FRONT]
    (one,) = messages(records, FRONT)
    assert one.flags & record.INCOMPLETE


@pytest.mark.usefixtures("long_hold")
def test_half_a_message_and_then_garbage(relayed: Relayed) -> None:
    """The size says where the message ends; only what follows is no message."""
    front, back = relayed.open()
    data = sized(20)
    send(front, data[:15], [1])
    taken(front)
    garbage = data[15:] + b"\xff" * 30
    send(front, garbage, [2])
    got = receive(back)
    assert (got.data, got.tags) == (data, (1,))
    assert receive_bytes_and_tags(back, 30) == (b"\xff" * 30, (2,))
    # from there on nothing is held
    send(front, data[:5], [3])
    assert receive_bytes_and_tags(back, 5) == (data[:5], (3,))
    assert events(relayed.stop(), "unread")[0]["offset"] == 20


def test_a_header_with_an_impossible_size_after_silence(relayed: Relayed) -> None:
    """Its first half went on already, with a descriptor: neither goes twice when it turns out to be no message."""
    front, back = relayed.open()
    send(front, sized(20))
    receive(back)
    bad = message(40, size=0xFFFFFF)
    send(front, bad[:6], [1])
    assert receive_bytes_and_tags(back, 6) == (bad[:6], (1,))
    send(front, bad[6:], [2])
    assert receive_bytes_and_tags(back, 6) == (bad[6:], (2,))
    records = relayed.stop()
    assert [(one.kind, one.data, len(one.fds)) for one in messages(records)][1:] == [(record.RAW, bad, 2)]


@pytest.mark.usefixtures("long_hold")
def test_exact_reads_pass_pieces_on_as_they_come(relayed_exactly: Relayed) -> None:
    front, back = relayed_exactly.open()
    data = sized(20)
    for at in range(20):
        send(front, data[at : at + 1], [at] if at in (0, 17) else [])
        assert receive_bytes_and_tags(back, 1) == (data[at : at + 1], (at,) if at in (0, 17) else ())
    (one,) = messages(relayed_exactly.stop())
    assert (one.data, len(one.fds), one.reads) == (data, 2, 20)
    assert (one.flags & record.LATE_FDS, one.fds_at) == (record.LATE_FDS, 17)


def test_exact_reads_of_what_is_no_message(relayed_exactly: Relayed) -> None:
    front, back = relayed_exactly.open()
    bad = sized(20) + message(40, size=0xFFFFFF) + b"more"
    send(front, bad, [1])
    assert receive_bytes(back, len(bad)) == bad


# -- messages longer than are held ------------------------------------------------------------------------------------


@pytest.fixture
def long_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """vhost-user's messages are all short enough to be held; pretend that they need not be."""
    row = registry.channel("vhost-user", "main")
    assert row is not None
    monkeypatch.setattr(registry, "channel", lambda protocol, kind: row._replace(limit=8 << 20))


@pytest.mark.parametrize("exact", [False, True], ids=["", "exact reads"])
def test_a_message_too_long_to_hold_goes_through_as_it_comes(folder: Path, long_limit: None, exact: bool) -> None:
    with Relayed(folder, exact_reads=exact) as relayed:
        front, back = relayed.open()
        data = sized(1 << 20)
        send(front, sized(20), [1])
        assert receive(back).tags == (1,)
        send(front, data[:100_000], [2, 3])
        begun = receive_bytes_and_tags_of(back, 100_000)
        assert begun == (data[:100_000], (2, 3))

        def rest() -> None:
            front.sendall(data[100_000:])
            send(front, sized(20), [4])

        got = in_threads(rest, lambda: receive_bytes(back, len(data) - 100_000))
        assert got[1] == data[100_000:]
        assert receive_in_two_calls(back).tags == (4,)
        recorded = messages(relayed.stop())
    assert [(one.length, len(one.data), len(one.fds)) for one in recorded] == [
        (20, 20, 1),
        (1 << 20, 1 << 20, 2),
        (20, 20, 1),
    ]
    assert recorded[1].data == data


def receive_bytes_and_tags_of(sock: socket.socket, count: int) -> tuple[bytes, tuple[int, ...]]:
    """So many bytes, in however many reads."""
    data = b""
    tags: tuple[int, ...] = ()
    while len(data) < count:
        piece, more = read(sock, count - len(data))
        data, tags = data + piece, tags + more
    return data, tags


def test_a_long_message_of_which_half_a_header_came_first(folder: Path, long_limit: None) -> None:
    with Relayed(folder) as relayed:
        front, back = relayed.open()
        send(front, sized(20))
        receive(back)
        data = sized(300_000)
        send(front, data[:7], [1])
        assert receive_bytes_and_tags(back, 7) == (data[:7], (1,))
        send(front, data[7:50], [2])
        assert receive_bytes_and_tags(back, 43) == (data[7:50], (2,))
        in_threads(lambda: front.sendall(data[50:]), lambda: receive_bytes(back, len(data) - 50))
        _, one = messages(relayed.stop())
    assert (one.data, len(one.fds)) == (data, 2)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_long_message_that_ends_early(folder: Path, long_limit: None, how: str) -> None:
    with Relayed(folder) as relayed:
        front, back = relayed.open()
        data = sized(300_000)
        send(front, sized(20))
        receive(back)
        if how == "reset":
            send(back, sized(20))
            until(lambda: not quiet(front))
        in_threads(lambda: front.sendall(data[:200_000]), lambda: receive_bytes(back, 200_000))
        front.close()
        with pytest.raises((ConnectionResetError, EOFError)):
            receive(back)
        relayed.no_session()
        one = messages(relayed.stop(), FRONT)[-1]
    assert one.flags & record.INCOMPLETE
    assert (one.length, one.data) == (300_000, data[:200_000])
