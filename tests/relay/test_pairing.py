"""Who listens and who connects: four ways to reach two peers, and which connections belong together."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from vhostspy.capture.reader import Reader
from vhostspy.relay.endpoint import Connector, Listener

from .harness import (
    at_end,
    connected,
    events,
    exchange,
    listening,
    messages,
    quiet,
    receive,
    running,
    send,
    sized,
    until,
)


@contextmanager
def both_ends(folder: Path, roles: str) -> Iterator[tuple[socket.socket, socket.socket, Path]]:
    """A session in which the relay listens or connects on each side, front-end's first."""
    paths = [str(folder / "front"), str(folder / "back")]
    capture = folder / "capture"
    with ExitStack() as stack:
        theirs: list[socket.socket | None] = [None, None]
        sides: list[Listener | Connector] = []
        for at, role in enumerate(roles.split("/")):
            if role == "connect":
                theirs[at] = stack.enter_context(listening(paths[at]))
                sides.append(Connector(paths[at]))
            else:
                sides.append(Listener(paths[at]))
        stack.enter_context(running(*sides, capture=capture))
        ends = [stack.enter_context(connected(paths[at])) if theirs[at] is None else None for at in (0, 1)]
        for at, listener in enumerate(theirs):
            if listener is not None:
                accepted = stack.enter_context(listener.accept()[0])
                accepted.settimeout(10)
                ends[at] = accepted
        front, back = ends
        assert front is not None
        assert back is not None
        yield front, back, capture


@pytest.mark.parametrize("roles", ["listen/connect", "connect/listen", "listen/listen", "connect/connect"])
def test_the_four_ways_to_reach_two_peers(folder: Path, roles: str) -> None:
    with both_ends(folder, roles) as (front, back, capture):
        exchange(front, back)
        front.close()
        assert at_end(back)
    with Reader(capture) as reader:
        records = list(reader)
    assert [(one.sender, one.length) for one in messages(records)] == [(0, 20), (1, 24)]
    (opened,) = events(records, "open")
    assert opened["front_end"]["path"] == str(folder / "front")
    assert opened["front_end"]["pid"] == os.getpid()


@pytest.mark.parametrize("order", ["fffbbb", "bbbfff", "fbfbfb", "bbfffb"])
def test_both_listen_the_nth_connections_belong_together(folder: Path, order: str) -> None:
    paths = {"f": str(folder / "front"), "b": str(folder / "back")}
    with running(Listener(paths["f"]), Listener(paths["b"])), ExitStack() as stack:
        made: dict[str, list[socket.socket]] = {"f": [], "b": []}
        for side in order:
            made[side].append(stack.enter_context(connected(paths[side])))
        for at in range(3):
            send(made["f"][at], sized(20), [at])
            assert receive(made["b"][at]).tags == (at,)


def test_both_listen_a_connection_that_is_gone_is_no_nth(folder: Path) -> None:
    front_path, back_path = str(folder / "front"), str(folder / "back")
    with running(Listener(front_path), Listener(back_path)) as relay, ExitStack() as stack:
        connected(front_path).close()
        until(lambda: relay.call(lambda: [one.gone for one in relay.relay._queues[0]]) == [True])
        front = stack.enter_context(connected(front_path))
        back = stack.enter_context(connected(back_path))
        exchange(front, back)


def test_both_listen_and_one_waits_when_the_relay_ends(folder: Path) -> None:
    front_path, back_path = str(folder / "front"), str(folder / "back")
    with running(Listener(front_path), Listener(back_path)) as relay, connected(front_path) as front:
        until(lambda: relay.call(lambda: len(relay.relay._queues[0])))
        relay.stop()
        assert at_end(front)


def test_both_connect_one_session_after_another(folder: Path) -> None:
    front_path, back_path = str(folder / "front"), str(folder / "back")
    with (
        listening(front_path) as front_listener,
        listening(back_path) as back_listener,
        running(Connector(front_path), Connector(back_path)),
    ):
        for _ in range(3):
            front, back = front_listener.accept()[0], back_listener.accept()[0]
            with front, back:
                exchange(front, back)
                assert quiet(front_listener), "once a session, not more"


def test_both_connect_and_one_is_not_there_yet(folder: Path) -> None:
    front_path, back_path = str(folder / "front"), str(folder / "back")
    said: list[str] = []
    with (
        listening(front_path) as front_listener,
        running(Connector(front_path), Connector(back_path), say=said.append),
    ):
        front, _ = front_listener.accept()
        until(lambda: said)
        with listening(back_path) as back_listener, front:
            back, _ = back_listener.accept()
            with back:
                exchange(front, back)
            assert quiet(front_listener), "the connection that was there is kept"


def test_both_connect_and_one_never_comes(folder: Path) -> None:
    front_path, back_path = str(folder / "front"), str(folder / "back")
    said: list[str] = []
    sides = Connector(front_path), Connector(back_path)
    with (
        listening(front_path) as front_listener,
        running(*sides, once=True, connect_timeout_s=0.2, say=said.append) as relay,
    ):
        front, _ = front_listener.accept()
        with front:
            front.settimeout(10)
            assert at_end(front)
        relay.join()
        assert relay.relay.failure is not None
        assert "back: could not be reached within 0.2 s" in relay.relay.failure


def test_both_connect_and_the_relay_ends_before_the_second_is_there(folder: Path) -> None:
    """The first connection is given back."""
    front_path = str(folder / "front")
    said: list[str] = []
    with (
        listening(front_path) as front_listener,
        running(Connector(front_path), Connector(str(folder / "back")), say=said.append) as relay,
    ):
        front, _ = front_listener.accept()
        with front:
            until(lambda: said)
            relay.stop()
            front.settimeout(10)
            assert at_end(front)


def test_both_connect_and_the_first_goes_while_the_second_is_waited_for(folder: Path) -> None:
    """Whoever comes back is connected to again: an old connection of nobody's is no session."""
    front_path, back_path = str(folder / "front"), str(folder / "back")
    said: list[str] = []
    with (
        listening(front_path) as front_listener,
        running(Connector(front_path), Connector(back_path), say=said.append),
    ):
        front_listener.accept()[0].close()
        until(lambda: said)
        front, _ = front_listener.accept()
        with front, listening(back_path) as back_listener:
            back, _ = back_listener.accept()
            with back:
                front.settimeout(10)
                back.settimeout(10)
                exchange(front, back)
