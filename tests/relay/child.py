"""Cases that need a process of their own: a small table of descriptors, another user, memory that nobody else uses.

Prints what was found as JSON.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic_ns, thread_time_ns
from typing import Any

from tests.relay.harness import (
    Relayed,
    close_all,
    connected,
    message,
    pair,
    quiet,
    receive,
    rights,
    send,
    sized,
    tagged,
    until,
)
from vhostspy.dissectors import registry
from vhostspy.relay import outlet

Found = dict[str, Any]


def limit_to(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def fill_table(leave: int) -> list[int]:
    """Open descriptors until only so many more fit."""
    filler = []
    try:
        while True:
            filler.append(os.dup(0))
    except OSError:
        pass
    close_all([filler.pop() for _ in range(leave)])
    return filler


def busy(relayed: Relayed, duration_ns: int) -> float:
    """The share of so much time, or more, in which the relay's thread ran."""
    looks: list[tuple[int, int]] = []

    def look(now: int) -> None:
        looks.append((thread_time_ns(), monotonic_ns()))

    def look_twice() -> None:
        look(0)
        relayed.relay.loop.call_at(monotonic_ns() + duration_ns, look)

    relayed.call(look_twice)
    until(lambda: len(looks) == 2)
    (ran, begun), (ran_since, ended) = looks
    return (ran_since - ran) / (ended - begun)


def too_many_refs(folder: Path) -> Found:
    """One user may have about RLIMIT_NOFILE descriptors under way; the relay counts with the peers."""
    limit_to(200)
    refused = 0
    send_before = outlet.Outlet._try

    def counting(self: outlet.Outlet, data: memoryview, fds: list[int]) -> int:
        nonlocal refused
        sent = send_before(self, data, fds)
        refused += self.stalled
        return sent

    outlet.Outlet._try = counting  # type: ignore[method-assign]
    sent = 10
    with Relayed(folder) as relayed:
        front, back = relayed.open()
        with relayed.frozen():
            for at in range(sent):
                send(front, sized(20, fill=at), range(at * 4, at * 4 + 4))
            # others' descriptors under way, so many that those of the messages are no help
            ballast = pair()
            fds = tagged(0)
            for _ in range(2):
                ballast[0].sendmsg([b"!"], rights(fds * 101))
            close_all(fds)
        until(lambda: refused > 20)
        share = busy(relayed, 200_000_000)
        silent = quiet(back)
        for end in ballast:
            end.close()
        tags = [list(receive(back).tags) for _ in range(sent)]
    return {"refused": refused, "silent": silent, "tags": tags, "sent": sent, "busy": share}


def deadlock_of_refs(folder: Path) -> Found:
    """The sender's own unread descriptors are what is too many: they must be taken out, or nothing moves for ever."""
    limit_to(400)
    with Relayed(folder) as relayed:
        front, back = relayed.open()
        # with a timeout Python waits until a quarter of the buffer is free
        front.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sent = 95
        with relayed.frozen():
            for at in range(sent):
                send(front, sized(20), range(at * 4, at * 4 + 4))
            (fd,) = tagged(1000)
            front.sendmsg([sized(20)], rights([fd] * 60))  # 440 are under way now, of 400
            os.close(fd)
        tags = [list(receive(back).tags) for _ in range(sent + 1)]
    return {"tags": tags}


def table_full_on_receive(folder: Path) -> Found:
    limit_to(100)
    with Relayed(folder) as relayed:
        front, back = relayed.open()
        send(front, sized(20), [1])
        receive(back)
        fds = tagged(*range(8))
        filler = fill_table(4)
        front.sendmsg([sized(20)], rights(fds))
        until(lambda: relayed.relay.failure is not None)
        relayed.no_session()
        close_all(filler)
        close_all(fds)
        until(lambda: not any("memfd" in _leads_to(name) for name in os.listdir("/proc/self/fd")), "all are closed")
        return {"failure": relayed.relay.failure}


def _leads_to(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


def table_full_on_accept(folder: Path) -> Found:
    limit_to(100)
    with Relayed(folder) as relayed:
        filler = fill_table(1)
        front = connected(relayed.front_path)
        until(lambda: relayed.said)
        reached: list[int] = []
        relayed.call(lambda: relayed.relay.loop.call_at(monotonic_ns() + 350_000_000, reached.append))
        until(lambda: reached)
        said = sum("cannot accept" in line for line in relayed.said)
        close_all(filler)
        back, _ = relayed.back_listener.accept()
        with front, back:
            back.settimeout(10)
            send(front, sized(20), [3])
            return {"said": said, "served": receive(back).tags == (3,)}


def table_full_on_nested(folder: Path) -> Found:
    """There is room to receive the socket, and not for a pair of our own: it is passed on as it is."""
    limit_to(100)
    found = []
    for leave in (1, 2, 3, 4):
        place = folder / str(leave)
        place.mkdir()
        with Relayed(place) as relayed:
            front, back = relayed.open()
            send(front, sized(20))
            receive(back)
            ours, theirs = pair()
            filler = fill_table(leave)
            front.sendmsg([message(21)], rights([theirs.fileno()]))
            theirs.close()
            data, _, _, _ = back.recvmsg(4096, 0)
            found.append(len(data) == 12)
            close_all(filler)
            ours.close()
            send(front, sized(20), [4])
            found.append(receive(back).tags == (4,))
    return {"alive": all(found)}


def table_full_on_control(folder: Path) -> Found:
    """A caller that cannot be let in must not keep the relay busy."""
    from vhostspy.relay.control import Control

    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    limit_to(100)
    with Relayed(folder) as relayed:
        control = relayed.call(lambda: Control(relayed.relay, ""))
        filler = fill_table(1)
        caller = connected(control.path)
        share = busy(relayed, 500_000_000)
        close_all(filler)
        with caller:
            caller.sendall(b'{"do": "status"}\n')
            answered = b"ok" in caller.recv(4096)
        relayed.call(control.close)
    return {"busy": share, "answered": answered}


def sessions(folder: Path, at_once: int) -> Found:
    """With the collector off, as the command has it, and as little to look through when the relay calls it."""
    from tests.relay.test_sessions import many_sessions

    gc.collect()
    gc.freeze()
    gc.disable()
    with Relayed(folder, capture=False) as relayed:
        return many_sessions(relayed, 10_000, at_once)._asdict()


CASES: dict[str, Callable[[Path], Found]] = {
    "too_many_refs": too_many_refs,
    "deadlock_of_refs": deadlock_of_refs,
    "table_full_on_receive": table_full_on_receive,
    "table_full_on_accept": table_full_on_accept,
    "table_full_on_nested": table_full_on_nested,
    "table_full_on_control": table_full_on_control,
    "sessions_one_after_another": partial(sessions, at_once=1),
    "sessions_50_at_once": partial(sessions, at_once=50),
}

if __name__ == "__main__":
    if len(sys.argv) > 3:
        # read now: the user may not look into the folder that this checkout lies in
        registry.channel("vhost-user", "main")
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    print(json.dumps(CASES[sys.argv[1]](Path(sys.argv[2]))))
