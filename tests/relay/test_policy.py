"""What a policy can do to a message before it goes on, and what the capture then says: both forms, and who it was."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from time import monotonic_ns

import pytest

from vhostspy.capture import record
from vhostspy.relay.policy import DROP, END, HOLD, Hands, Injection, Intercepted, Verdict

from .harness import (
    BACK,
    FRONT,
    Relayed,
    at_end,
    events,
    message,
    messages,
    pair,
    quiet,
    receive,
    receive_bytes,
    rights,
    send,
    sized,
    tag_of,
    tagged,
    taken,
    until,
)

Decide = Callable[[Intercepted, Hands], Verdict]
#: ids that the policies here look at; 43 and 44 they don't
A, B, C = 40, 41, 42
PLAIN = 43
SET_BACKEND_REQ_FD = 21


class Scripted:
    """Decides by a function for each (channel, sender, id)."""

    def __init__(self, hands: Hands, script: dict[tuple[str, int, int], Decide]) -> None:
        self.hands = hands
        self.script = script
        self.seen: list[Intercepted] = []

    def wants(self, protocol: str, channel: str, sender: int) -> Container[int]:
        wanted = [number for where, who, number in self.script if (where, who) == (channel, sender)]
        return tuple(wanted)

    def decide(self, message: Intercepted) -> Verdict:
        self.seen.append(message)
        return self.script[message.channel, message.sender, message.id](message, self.hands)


class Scene:
    """A session under a policy."""

    def __init__(self, folder: Path, script: dict[tuple[str, int, int], Decide]) -> None:
        self.policies: list[Scripted] = []

        def new_policy(hands: Hands) -> Scripted:
            self.policies.append(Scripted(hands, script))
            return self.policies[-1]

        self.relayed = Relayed(folder, new_policy=new_policy)
        self.front, self.back = self.relayed.open()

    @property
    def policy(self) -> Scripted:
        """Of the first session."""
        return until(lambda: self.policies)[0]

    @property
    def seen(self) -> list[Intercepted]:
        """What it was asked about."""
        return self.policy.seen


@contextmanager
def scene(folder: Path, script: dict[tuple[str, int, int], Decide]) -> Iterator[Scene]:
    made = Scene(folder, script)
    with made.relayed:
        yield made


def always(verdict: Verdict) -> Decide:
    return lambda message, hands: verdict


def marks(one: record.Record) -> str:
    """The flags that a policy is about, as letters: Original, Changed, Injected, Dropped."""
    bits = (record.ORIGINAL, record.CHANGED, record.INJECTED, record.DROPPED)
    return "".join(letter for letter, bit in zip("OCID", bits, strict=True) if one.flags & bit)


def told(records: list[record.Record], sender: int = FRONT) -> list[tuple[int, int, str, int]]:
    """(no, id, marks, descriptors) of each record of a side."""
    return [
        (one.number, int.from_bytes(one.data[:4], "little"), marks(one), len(one.fds))
        for one in messages(records, sender)
    ]


def test_pass(folder: Path) -> None:
    def passing(message: Intercepted, hands: Hands) -> Verdict:
        inherited.extend(os.get_inheritable(fd) for fd in message.fds)
        return Verdict()

    inherited: list[bool] = []
    with scene(folder, {("main", FRONT, A): passing}) as on:
        send(on.front, sized(20, A), [1])
        send(on.front, sized(20, PLAIN), [2])
        assert [receive(on.back).tags for _ in range(2)] == [(1,), (2,)]
        (seen,) = on.seen
        assert (seen.protocol, seen.channel, seen.channel_no, seen.sender) == ("vhost-user", "main", 1, FRONT)
        assert (seen.id, seen.is_reply, seen.data, len(seen.fds)) == (A, False, sized(20, A), 1)
        assert told(on.relayed.stop()) == [(1, A, "", 1), (2, PLAIN, "", 1)]
    assert inherited == [False], "a view that is started meanwhile would keep it open"


def test_replace_the_octets(folder: Path) -> None:
    other = sized(60, B)
    with scene(folder, {("main", FRONT, A): always(Verdict(data=other))}) as on:
        send(on.front, sized(20, A), [1])
        got = receive(on.back)
        assert (got.data, got.tags) == (other, (1,))
        assert on.relayed.descriptors_in_hand() == 0
        records = on.relayed.stop()
    assert told(records) == [(1, A, "O", 1), (1, B, "C", 1)]
    assert [one.data for one in messages(records)] == [sized(20, A), other]


def test_replace_the_descriptors(folder: Path) -> None:
    def other(message: Intercepted, hands: Hands) -> Verdict:
        assert [tag_of(fd) for fd in message.fds] == [1]
        return Verdict(fds=tuple(tagged(7, 8)))

    with scene(folder, {("main", FRONT, A): other}) as on:
        send(on.front, sized(20, A), [1])
        assert receive(on.back).tags == (7, 8)
        assert told(on.relayed.stop()) == [(1, A, "O", 1), (1, A, "C", 2)]


def test_take_the_descriptors_away(folder: Path) -> None:
    with scene(folder, {("main", FRONT, A): always(Verdict(fds=()))}) as on:
        send(on.front, sized(20, A), [1])
        assert receive(on.back).tags == ()
        assert told(on.relayed.stop()) == [(1, A, "O", 1), (1, A, "C", 0)]


def test_drop(folder: Path) -> None:
    """What was dropped has a number of its own: it is a message that came, and no first form of the next one."""
    with scene(folder, {("main", FRONT, A): always(Verdict(DROP))}) as on:
        for number, tag in ((PLAIN, 1), (A, 2), (PLAIN, 3)):
            send(on.front, sized(20, number), [tag])
        assert [receive(on.back).tags for _ in range(2)] == [(1,), (3,)]
        assert told(on.relayed.stop()) == [(1, PLAIN, "", 1), (2, A, "D", 1), (3, PLAIN, "", 1)]


def test_the_record_says_by_what_it_was_changed(folder: Path) -> None:
    script = {
        ("main", FRONT, A): always(Verdict(data=sized(20, A, fill=9), by="mask")),
        ("main", FRONT, B): always(Verdict(DROP, by="drop")),
        ("main", FRONT, C): always(Verdict(inject=(Injection("main", 1, BACK, sized(20, C), by="edit"),))),
    }
    with scene(folder, script) as on:
        for number in (A, B, C):
            send(on.front, sized(20, number))
        for _ in range(3):
            receive(on.back)
        found = [record.BY[one.flags >> record.BY_SHIFT] for one in messages(on.relayed.stop())]
    assert found == ["mask", "mask", "drop", "", "edit"]


@pytest.mark.parametrize("glued", [True, False], ids=["in one send", "in many"])
def test_what_is_held_is_released_from_a_timer_and_order_is_kept(folder: Path, glued: bool) -> None:
    def hold(message: Intercepted, hands: Hands) -> Verdict:
        hands.call_at(monotonic_ns() + 20_000_000, lambda now: hands.release("main", 1, FRONT))
        return Verdict(HOLD)

    with scene(folder, {("main", FRONT, A): hold}) as on:
        sent = [sized(20, A, fill=at) if at % 3 == 1 else sized(20, PLAIN, fill=at) for at in range(9)]
        if glued:
            on.front.sendall(b"".join(sent))
        else:
            for data in sent:
                send(on.front, data)
        assert [receive(on.back).data for _ in sent] == sent
        assert [one.data for one in messages(on.relayed.stop())] == sent


def test_what_is_held_is_released_by_another_channels_message(folder: Path) -> None:
    def release(message: Intercepted, hands: Hands) -> Verdict:
        hands.release("main", 1, FRONT, Verdict(data=sized(28, A)))
        return Verdict()

    with scene(folder, {("main", FRONT, A): always(Verdict(HOLD)), ("backend", BACK, B): release}) as on:
        ours, theirs = pair()
        on.front.sendmsg([message(SET_BACKEND_REQ_FD)], rights([theirs.fileno()]))
        theirs.close()
        _, ancillary, _, _ = on.back.recvmsg(4096, 4096)
        nested = socket.socket(fileno=int.from_bytes(ancillary[0][2], "little"))
        nested.settimeout(10)
        with ours, nested:
            send(on.front, sized(20, A), [1])
            send(on.front, sized(20, PLAIN), [2])
            until(lambda: on.seen)
            assert quiet(on.back)
            nested.sendall(sized(20, B))
            assert receive(ours).number == B
            got = [receive(on.back) for _ in range(2)]
        assert [(len(one.data), one.tags) for one in got] == [(28, (1,)), (20, (2,))]


def test_the_other_direction_lives_while_one_is_held(folder: Path) -> None:
    with scene(folder, {("main", FRONT, A): always(Verdict(HOLD))}) as on:
        send(on.front, sized(20, A))
        until(lambda: on.seen)
        for at in range(3):
            send(on.back, sized(20, PLAIN, fill=at), [at])
            assert receive(on.front).tags == (at,)
        assert quiet(on.back)


def test_a_message_that_lies_held_stops_the_reading_of_its_side_only_until_then(folder: Path) -> None:
    with scene(folder, {("main", FRONT, A): always(Verdict(HOLD))}) as on:
        send(on.front, sized(20, A))
        until(lambda: on.seen)
        for at in range(5):
            send(on.front, sized(30, PLAIN, fill=at))
        on.front.shutdown(socket.SHUT_WR)
        on.relayed.call(lambda: on.policy.hands.release("main", 1, FRONT, Verdict(DROP)))
        assert [receive(on.back).data for _ in range(5)] == [sized(30, PLAIN, fill=at) for at in range(5)]
        assert at_end(on.back)
        # the answers still find their way
        send(on.back, sized(20, PLAIN))
        receive(on.front)


@pytest.mark.parametrize("behind", ["garbage", "half a message", "a message too long to hold"])
def test_nothing_overtakes_what_is_held(folder: Path, behind: str) -> None:
    """Bytes that no policy is asked about wait behind the held message all the same."""
    following = {
        "garbage": b"\xff" * 100,
        "half a message": sized(100, PLAIN)[:50],
        "a message too long to hold": sized(65548, PLAIN)[:60000],
    }[behind]
    with scene(folder, {("main", FRONT, A): always(Verdict(HOLD))}) as on:
        with on.relayed.frozen():
            send(on.front, sized(20, A) + following[:30], [1])
            send(on.front, following[30:], [2])
            on.front.shutdown(socket.SHUT_WR)
        until(lambda: on.seen)
        on.relayed.call(lambda: None)
        assert quiet(on.back)
        on.relayed.call(lambda: on.policy.hands.release("main", 1, FRONT))
        data = b""
        while piece := on.back.recv(65536):
            data += piece
        assert data == sized(20, A) + following


def test_end(folder: Path) -> None:
    """Nothing more goes on: not what is decided, not what was read with it, in neither direction."""
    with scene(folder, {("main", FRONT, A): always(Verdict(END, reason="enough"))}) as on:
        with on.relayed.frozen():
            send(on.front, sized(20, PLAIN), [1])
            send(on.front, sized(20, A), [2])
            send(on.front, sized(20, B)[:15], [3])
        assert receive(on.back).tags == (1,)
        assert at_end(on.back)
        on.relayed.no_session()
        records = on.relayed.stop()
    assert told(records) == [(1, PLAIN, "", 1), (2, A, "D", 1)]
    assert "enough" in [event["text"] for event in events(records, "fault")]


def test_end_takes_what_was_read_with_it_along(folder: Path) -> None:
    """In one read: the message that ends it, and half of another with a descriptor, which nobody may keep."""
    with scene(folder, {("main", FRONT, A): always(Verdict(END))}) as on:
        send(on.front, sized(20, A) + sized(20, B)[:15], [3])
        assert at_end(on.back)
        on.relayed.no_session()


def test_what_is_held_when_the_relay_ends_is_recorded_as_dropped(folder: Path) -> None:
    with scene(folder, {("main", FRONT, A): always(Verdict(HOLD))}) as on:
        send(on.front, sized(20, A), [1])
        send(on.front, sized(20, PLAIN), [2])
        until(lambda: on.seen)
        assert told(on.relayed.stop())[0] == (1, A, "D", 1)


INJECTED = sized(36, C)


@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("to", [FRONT, BACK], ids=["to the front-end", "to the back-end"])
def test_inject(folder: Path, to: int, after: bool) -> None:
    def inject(message: Intercepted, hands: Hands) -> Verdict:
        return Verdict(inject=(Injection("main", 1, to, INJECTED, tuple(tagged(5, 6)), after),))

    with scene(folder, {("main", FRONT, A): inject}) as on:
        for number, tag in ((PLAIN, 1), (A, 2), (PLAIN, 3)):
            send(on.front, sized(20, number), [tag])
        if to == FRONT:
            got = receive(on.front)
            assert (got.data, got.tags) == (INJECTED, (5, 6))
            assert [receive(on.back).tags for _ in range(3)] == [(1,), (2,), (3,)]
        else:
            expected = [(1,), (2,), (5, 6), (3,)] if after else [(1,), (5, 6), (2,), (3,)]
            assert [receive(on.back).tags for _ in range(4)] == expected
        records = on.relayed.stop()
    assert [(one[1], one[2], one[3]) for one in told(records, 1 - to) if one[2]] == [(C, "I", 2)]
    numbers = [one.number for one in messages(records)]
    assert numbers == [1, 2, 3, 4]


def test_inject_waits_for_the_end_of_the_message_that_is_passing(folder: Path) -> None:
    """Half a message went on already, since its sender stopped in it: an injected one must not land inside it."""
    whole = sized(200, PLAIN)
    with scene(folder, {("main", BACK, A): always(Verdict())}) as on:
        send(on.front, whole[:100])
        assert receive_bytes(on.back, 100) == whole[:100]
        on.relayed.call(lambda: on.policy.hands.inject(Injection("main", 1, BACK, INJECTED, tuple(tagged(5)))))
        on.relayed.call(lambda: None)
        assert quiet(on.back)
        send(on.front, whole[100:])
        assert receive_bytes(on.back, 100) == whole[100:]
        got = receive(on.back)
        assert (got.data, got.tags) == (INJECTED, (5,))


def test_inject_that_never_gets_its_turn_is_forgotten(folder: Path) -> None:
    whole = sized(200, PLAIN)
    with scene(folder, {("main", BACK, A): always(Verdict())}) as on:
        send(on.front, whole[:100])
        assert receive_bytes(on.back, 100) == whole[:100]
        on.relayed.call(lambda: on.policy.hands.inject(Injection("main", 1, BACK, INJECTED, tuple(tagged(5)))))
        on.front.close()
        assert at_end(on.back)


def test_nothing_is_read_in_the_round_of_the_loop_in_which_its_way_was_blocked(folder: Path) -> None:
    """Both ways are full; then there is room, and bytes are ready in the same round: they come behind what waits."""
    big = sized(65548, C)
    with scene(folder, {("main", BACK, A): always(Verdict())}) as on:
        send(on.front, sized(20, PLAIN))
        receive(on.back)
        received = bytearray()
        last = sized(24, PLAIN, fill=5)

        def fill_and_make_room() -> None:
            channel = on.relayed.session().main
            for end in (FRONT, BACK):
                channel.sockets[end].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
                on.policy.hands.inject(Injection("main", 1, end, big))
                assert channel.directions[1 - end].outlet.backlog
            while not quiet(on.back):
                received.extend(on.back.recv(1 << 20))
            done.set()

        done = Event()
        with on.relayed.frozen():
            on.relayed.thread.post(fill_and_make_room)  # type: ignore[union-attr]
            send(on.front, last)
        assert done.wait(10)
        received += receive_bytes(on.back, len(big) + len(last) - len(received))
        assert bytes(received) == big + last


def test_inject_into_a_channel_that_is_gone_is_forgotten(folder: Path) -> None:
    with scene(folder, {("main", FRONT, A): always(Verdict())}) as on:
        send(on.front, sized(20, PLAIN))
        receive(on.back)
        on.relayed.call(lambda: on.policy.hands.inject(Injection("backend", 1, BACK, INJECTED, tuple(tagged(5)))))
        send(on.front, sized(21, PLAIN))
        assert receive(on.back).data == sized(21, PLAIN)
        assert on.relayed.descriptors_in_hand() == 0


def test_end_from_outside_a_verdict(folder: Path) -> None:
    with scene(folder, {("main", FRONT, A): always(Verdict(HOLD))}) as on:
        send(on.front, sized(20, A), [1])
        until(lambda: on.seen)
        on.relayed.call(lambda: on.policy.hands.end("time is up"))
        assert at_end(on.back)
        assert at_end(on.front)
        on.relayed.no_session()


def test_a_timer_of_a_session_that_is_over_is_not_called(folder: Path) -> None:
    called: list[int] = []
    with scene(folder, {("main", FRONT, A): always(Verdict())}) as on:
        send(on.front, sized(20, PLAIN))
        receive(on.back)
        due = monotonic_ns() + 3_600_000_000_000
        on.relayed.call(lambda: on.policy.hands.call_at(due, called.append))
        on.front.close()
        on.relayed.no_session()
        reached: list[int] = []
        loop = on.relayed.relay.loop
        on.relayed.call(lambda: loop.call_at(due, reached.append))
        on.relayed.call(lambda: loop._run_timers(due))
    assert reached and not called


def test_a_policy_that_fails_ends_its_session_and_is_told(folder: Path) -> None:
    """A mistake in a policy must not take the relay, and all other sessions, along."""

    def wrong(message: Intercepted, hands: Hands) -> Verdict:
        raise ZeroDivisionError("by the policy")

    with scene(folder, {("main", FRONT, A): wrong}) as on:
        other_front, other_back = on.relayed.open()
        send(other_front, sized(20, PLAIN))
        receive(other_back)
        send(on.front, sized(20, A), [1])
        assert at_end(on.back)
        send(other_front, sized(20, PLAIN), [2])
        assert receive(other_back).tags == (2,)
        assert on.relayed.relay.failure is not None
        assert "ZeroDivisionError" in on.relayed.relay.failure


@pytest.mark.parametrize("action", [DROP, HOLD, END])
def test_a_verdict_owns_all_that_it_brings(folder: Path, action: str) -> None:
    """Whatever it says, nothing of it stays open; what it injects arrives."""

    def decide(message: Intercepted, hands: Hands) -> Verdict:
        injection = Injection("main", 1, FRONT, INJECTED, tuple(tagged(5)))
        return Verdict(action, fds=tuple(tagged(7)), inject=(injection,))

    with scene(folder, {("main", FRONT, A): decide}) as on:
        send(on.front, sized(20, A), [1])
        assert receive(on.front).tags == (5,)


def test_end_from_inside_a_verdict(folder: Path) -> None:
    """The hands may be used at any time, and the verdict that follows comes too late."""

    def end(message: Intercepted, hands: Hands) -> Verdict:
        hands.end("from inside")
        return Verdict()

    with scene(folder, {("main", FRONT, A): end}) as on:
        send(on.front, sized(20, A) + sized(20, A), [1])
        assert at_end(on.back)
        on.relayed.no_session()
        assert on.relayed.relay.failure is None
        assert told(on.relayed.stop()) == [(1, A, "D", 0), (2, A, "D", 1)]
        assert len(on.seen) == 1


def test_release_from_inside_a_verdict_is_for_what_was_held_before(folder: Path) -> None:
    """The message that is being decided on is not held yet, so there is nothing to release."""

    def release(message: Intercepted, hands: Hands) -> Verdict:
        hands.release("main", 1, FRONT, Verdict(DROP))
        return Verdict()

    with scene(folder, {("main", FRONT, A): release}) as on:
        for at in range(3):
            send(on.front, sized(20, A, fill=at), [at])
        assert [receive(on.back).tags for _ in range(3)] == [(0,), (1,), (2,)]


def test_inject_from_inside_a_verdict_goes_before(folder: Path) -> None:
    def inject(message: Intercepted, hands: Hands) -> Verdict:
        hands.inject(Injection("main", 1, BACK, INJECTED, tuple(tagged(5))))
        return Verdict()

    with scene(folder, {("main", FRONT, A): inject}) as on:
        send(on.front, sized(20, A), [1])
        assert [receive(on.back).tags for _ in range(2)] == [(5,), (1,)]


@pytest.mark.parametrize(
    "where", ["in the making", "when asked what it wants", "with a verdict that is none", "on a timer"]
)
def test_wherever_a_policy_fails_only_its_session_ends(folder: Path, where: str) -> None:
    wrong = ZeroDivisionError("by the policy")

    def fail(*about: object) -> None:
        raise wrong

    class Failing(Scripted):
        def wants(self, protocol: str, channel: str, sender: int) -> Container[int]:
            if where == "when asked what it wants":
                raise wrong
            return super().wants(protocol, channel, sender)

        def decide(self, message: Intercepted) -> Verdict:
            if where == "with a verdict that is none":
                return None  # type: ignore[return-value]
            self.hands.call_at(0, fail)
            return Verdict(HOLD)

    made: list[int] = []

    def new_policy(hands: Hands) -> Scripted:
        made.append(1)
        if len(made) > 1:
            return Scripted(hands, {})
        if where == "in the making":
            raise wrong
        return Failing(hands, {("main", FRONT, A): always(Verdict())})

    with Relayed(folder, new_policy=new_policy) as relayed:
        front, back = relayed.open()
        with suppress(BrokenPipeError):  # it may be over before
            send(front, sized(20, A), [1])
        assert at_end(back)
        relayed.no_session()
        assert relayed.relay.failure is not None
        assert "the policy failed" in relayed.relay.failure
        front, back = relayed.open()
        send(front, sized(20, A), [2])
        assert receive(back).tags == (2,)


def test_the_whole_of_a_message_is_waited_for(folder: Path) -> None:
    """However long its sender stops in the middle: a policy never sees half a message, nor does half of one go on."""
    whole = sized(200, A)
    with scene(folder, {("main", FRONT, A): always(Verdict(data=sized(20, B)))}) as on:
        reached: list[int] = []
        send(on.front, whole[:100])
        taken(on.front)
        on.relayed.call(lambda: on.relayed.relay.loop.call_at(monotonic_ns() + 150_000_000, reached.append))
        until(lambda: reached)
        assert quiet(on.back)
        send(on.front, whole[100:])
        assert receive(on.back).data == sized(20, B)
