"""Sessions between synthetic peers, recorded by a relay in a thread; peers that can be made to do one thing wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.relay.harness import Relayed, temporary_folder
from vhostspy.demo.back_end import BackEnd, serving
from vhostspy.demo.block import Disk
from vhostspy.demo.front_end import FrontEnd
from vhostspy.demo.numbers import VERSION, Request
from vhostspy.demo.wire import Connection, Message, PeerError
from vhostspy.replay import Outcome, Script, replay

#: long enough for a busy machine
PATIENCE_S = 5.0
SECTORS = 2048

#: id, payload, descriptors (lent), flags of an answer -> what is sent instead; None: nothing
Answer = tuple[int, bytes, Sequence[int], int]
Change = Callable[[int, bytes, Sequence[int], int], Answer | None]


def recorded(talk: Callable[[FrontEnd, BackEnd], None], *, queues: int = 2, **options: Any) -> bytes:
    """The capture of a session in which a front-end does ``talk``."""
    with temporary_folder() as folder, Relayed(Path(folder)) as relayed:
        front, back = relayed.open()
        relayed.forget()
        with (
            serving(BackEnd(Disk(SECTORS)), back) as back_end,
            FrontEnd(front, queues=queues, **options) as front_end,
        ):
            talk(front_end, back_end)
            front_end.get_features()  # all of it has arrived
        relayed.no_session()
        relayed.stop()
        return relayed.capture.read_bytes()


def whole_session(front_end: FrontEnd, back_end: BackEnd) -> None:
    """Set up, data, and down again."""
    front_end.negotiate()
    front_end.start()
    front_end.write(3, bytes(512))
    front_end.flush(1)
    front_end.stop()


def growing_disk(front_end: FrontEnd, back_end: BackEnd) -> None:
    """The back-end says that its disk has grown, and the front-end looks at it."""
    front_end.negotiate()
    front_end.start()
    back_end.resize(2 * SECTORS)
    front_end.wait_config_change()
    front_end.stop()


class OneThingWrong(BackEnd):
    """Answers as it should but for what ``change`` makes of an answer."""

    def __init__(self, change: Change) -> None:
        super().__init__(Disk(SECTORS))
        self._change = change

    def _dispatch(self, main: Connection, message: Message) -> None:
        super()._dispatch(_Changed(main, self._change), message)


class _Changed(Connection):
    """Somebody else's connection, with another way to send."""

    def __init__(self, real: Connection, change: Change) -> None:
        super().__init__(real.socket, real.timeout_s)
        self._real = real
        self._change = change

    def send(self, id: int, payload: bytes = b"", fds: Sequence[int] = (), flags: int = VERSION) -> None:
        changed = self._change(id, payload, fds, flags)
        if changed is not None:
            self._real.send(*changed)


def to_back_end(capture: bytes | Script, back_end: BackEnd | None = None, **options: Any) -> Outcome:
    """Play the front-end of a capture to a back-end in a thread."""
    ours, theirs = socket.socketpair()
    with serving(back_end or BackEnd(Disk(SECTORS)), theirs):
        options.setdefault("timeout_s", PATIENCE_S)
        return replay(capture, "front-end", connect=ours, **options)


@contextmanager
def from_back_end(capture: bytes, **options: Any) -> Iterator[tuple[socket.socket, list[Outcome]]]:
    """Play the back-end of a capture in a thread: the front-end's socket, and an outcome once the block is left."""
    ours, theirs = socket.socketpair()
    outcomes: list[Outcome] = []
    options.setdefault("timeout_s", PATIENCE_S)

    def run() -> None:
        outcomes.append(replay(capture, "back-end", connect=theirs, **options))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ours, outcomes
    finally:
        ours.close()
        thread.join(20)
        assert not thread.is_alive()


def to_front_end(
    capture: bytes, talk: Callable[[FrontEnd], None], *, queues: int = 2, **options: Any
) -> tuple[Outcome, str]:
    """Let a front-end talk to the back-end of a capture; the outcome, and what the front-end complained of."""
    trouble = ""
    with from_back_end(capture, **options) as (sock, outcomes), FrontEnd(sock, queues=queues, timeout_s=5) as front_end:
        try:
            talk(front_end)
        except PeerError as error:
            trouble = str(error)
    return outcomes[0], trouble


def bit(payload: bytes, number: int) -> bytes:
    """A u64 with one bit turned round."""
    return (int.from_bytes(payload, "little") ^ 1 << number).to_bytes(8, "little")


__all__ = ["OneThingWrong", "Request", "recorded", "to_back_end", "to_front_end", "whole_session"]
